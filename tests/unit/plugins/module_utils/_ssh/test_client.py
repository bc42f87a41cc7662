"""What ssh of a client's user reads: keys, known hosts, settings; and nobody else's files."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import pwd
import socket
import subprocess
import tempfile
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import client

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrcl5/y08/rRDEcJnVT/b788ynKJfZ4EjATJj0roJGX root@web1"
BARE = KEY.rsplit(" ", 1)[0]
ENGINES = [client.Engine("web1", "192.0.2.1", 22, (KEY,)), client.Engine("web2", "2001:db8::2", 2222, (KEY,))]
ADMIN = client.Identity("admin", "docker-admin", None)


def run(
    identities: t.Sequence[client.Identity],
    engines: t.Sequence[client.Engine] | None,
    set_name: str = "bulkhead",
    check_mode: bool = False,
    **options: t.Any,
) -> client.Result:
    return client.run(client.Wanted(identities, engines, set_name, **options), check_mode)


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    entry = pwd.getpwuid(os.getuid())
    fields = [*entry[:5], str(tmp_path), entry[6]]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(fields))
    return tmp_path


def files(home: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_key_and_settings_are_made_once_and_check_mode_makes_none(home: pathlib.Path) -> None:
    foreseen = run([ADMIN], ENGINES, "bulkhead", check_mode=True)
    assert foreseen.changed
    assert foreseen.keys == [{"name": "admin", "account": "docker-admin", "public_key": ""}]
    assert files(home) == {}

    made = run([ADMIN], None, "bulkhead")
    assert sorted(files(home)) == [".bulkhead/ssh/admin", ".bulkhead/ssh/admin.pub"]
    assert made.keys[0]["public_key"].startswith("ssh-ed25519 ")
    done = run([ADMIN], ENGINES, "bulkhead")
    assert done.changed
    assert "PRIVATE" not in str(done.diff)
    first = files(home)
    assert not run([ADMIN], ENGINES, "bulkhead").changed
    assert files(home) == first
    assert first[".ssh/config"] == b"Include ~/.bulkhead/ssh/*.config\n"
    assert first[".bulkhead/ssh/bulkhead.known_hosts"].decode() == f"192.0.2.1 {BARE}\n[2001:db8::2]:2222 {BARE}\n"
    assert {path.stat().st_mode & 0o777 for path in (home / ".bulkhead/ssh").iterdir() if path.suffix != ".pub"} == {
        0o600
    }


def test_ssh_understands_the_settings_and_applies_them_to_the_account_only(home: pathlib.Path) -> None:
    run([ADMIN], ENGINES, "bulkhead")
    ours = understood(home, "docker-admin", "2001:db8::2")
    for line in ("port 2222", f"identityfile {home}/.bulkhead/ssh/admin", "stricthostkeychecking true"):
        assert line in ours
    assert f"userknownhostsfile {home}/.bulkhead/ssh/bulkhead.known_hosts" in ours
    for user, address in (("ops", "192.0.2.1"), ("docker-admin", "192.0.2.9")):
        assert not [line for line in understood(home, user, address) if "bulkhead" in line]


def test_the_user_s_own_file_stays_and_may_be_a_link(home: pathlib.Path) -> None:
    own = home / "dotfiles"
    own.write_bytes(b"Host x\n  User y\xff\n")
    own.chmod(0o644)
    (home / ".ssh").mkdir()
    (home / ".ssh/config").symlink_to(own)
    run([ADMIN], ENGINES, "bulkhead")
    assert (home / ".ssh/config").is_symlink()
    assert own.read_bytes() == b"Include ~/.bulkhead/ssh/*.config\nHost x\n  User y\xff\n"
    assert own.stat().st_mode & 0o777 == 0o644


def test_a_diff_shows_nothing_of_the_user_s_own_file(home: pathlib.Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh/config").write_text("Host x\n  ProxyCommand planted-secret %h\n", encoding="utf-8")
    for check_mode in (True, False):
        done = run([ADMIN], ENGINES, "bulkhead", check_mode=check_mode)
        assert "planted-secret" not in str(done.diff)
        (own,) = [each for each in done.diff if each["after_header"].startswith(f"{home}/.ssh/config")]
        assert (own["before"], own["after"]) == ("", "Include ~/.bulkhead/ssh/*.config\n")
    assert "planted-secret" not in str(client.remove([ADMIN], "bulkhead").diff)


def test_a_key_can_be_brought_along(home: pathlib.Path) -> None:
    path = home / "mine"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", path], check=True)
    public = (home / "mine.pub").read_text().strip()
    brought = client.Identity("admin", "docker-admin", path)
    assert run([brought], None, "bulkhead").keys[0]["public_key"] == public
    (home / "mine.pub").unlink()
    assert run([brought], None, "bulkhead").keys[0]["public_key"].split()[:2] == public.split()[:2]
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "sesame", "-f", path], check=True, capture_output=True)
    with pytest.raises(client.ClientError, match=r"not beside it as mine[.]pub"):
        run([brought], None, "bulkhead")
    with pytest.raises(client.ClientError, match="does not exist on this host"):
        run([client.Identity("admin", "docker-admin", home / "none")], None, "bulkhead", check_mode=True)


def test_what_was_made_is_removed_and_nothing_else(home: pathlib.Path) -> None:
    eve = client.Identity("eve", "docker-eve", None)
    (home / ".ssh").mkdir()
    (home / ".ssh/config").write_bytes(b"Host x\n  User y\xff\n")
    run([ADMIN], ENGINES, "other")
    run([ADMIN], ENGINES, "bulkhead")
    without_eve = files(home)
    run([ADMIN, eve], ENGINES, "bulkhead")
    with_eve = files(home)

    # One identity, whose place in the settings goes with it.
    assert client.remove([eve], "bulkhead", exclusive=False, check_mode=True).changed
    assert files(home) == with_eve
    done = client.remove([eve], "bulkhead", exclusive=False)
    assert done.changed
    assert "PRIVATE" not in str(done.diff)
    assert files(home) == without_eve
    assert not client.remove([eve], "bulkhead", exclusive=False).changed

    # The last one of a set, and then the other set, with which the line in the user's own file goes.
    assert client.remove([ADMIN], "bulkhead", exclusive=False).changed
    assert sorted(files(home)) == [".bulkhead/ssh/other.config", ".bulkhead/ssh/other.known_hosts", ".ssh/config"]
    with (home / ".bulkhead/ssh/stays").open("xb"):
        pass
    assert client.remove([ADMIN], "other").changed
    assert files(home) == {".bulkhead/ssh/stays": b"", ".ssh/config": b"Host x\n  User y\xff\n"}
    assert not client.remove([ADMIN], "other").changed


def test_folder_sockets_and_an_emptied_file_go_and_a_key_that_was_brought_stays(home: pathlib.Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "mine"], check=True)
    brought = client.Identity("admin", "docker-admin", home / "mine")
    run([brought], ENGINES, "bulkhead")
    with socket.socket(socket.AF_UNIX) as shared:
        shared.bind(str(home / ".bulkhead/ssh/x"))
        client.remove([brought], "bulkhead")
    assert sorted(files(home)) == ["mine", "mine.pub"]
    assert not (home / ".bulkhead/ssh").exists()
    assert not (home / ".ssh").exists()


WEB3 = client.Engine("web3", "192.0.2.3", 22, ())


def test_nobody_is_trusted_at_first_sight(home: pathlib.Path) -> None:
    with pytest.raises(client.ClientError, match="host keys of web3 are not known"):
        run([ADMIN], [*ENGINES, WEB3], "bulkhead")
    assert not (home / ".ssh").exists()

    # Where that may not stop a run, ssh is the one to refuse it.
    assert run([ADMIN], [*ENGINES, WEB3], "bulkhead", require_host_keys=False).unknown == ["web3"]
    folder = home / ".bulkhead/ssh"
    assert "192.0.2.3" not in (folder / "bulkhead.known_hosts").read_text()
    command = ["ssh", "-G", "-F", str(folder / "bulkhead.config"), "-l", "docker-admin", "192.0.2.3"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"stricthostkeychecking true", "globalknownhostsfile /dev/null"} <= set(told)


def test_host_keys_of_an_earlier_run_stay_where_none_are_given(home: pathlib.Path) -> None:
    run([ADMIN], ENGINES, "bulkhead")
    before = files(home)
    unasked = [dataclasses.replace(engine, host_keys=()) for engine in ENGINES]
    assert not run([ADMIN], unasked, "bulkhead").changed
    assert files(home) == before
    # Of this address and port alone.
    moved = [dataclasses.replace(unasked[0], port=2222), unasked[1]]
    with pytest.raises(client.ClientError, match="host keys of web1 are not known"):
        run([ADMIN], moved, "bulkhead")
    # Given ones count.
    other = KEY.replace("JGX", "JGY")
    run([ADMIN], [dataclasses.replace(ENGINES[0], host_keys=(other,)), unasked[1]], "bulkhead")
    known = (home / ".bulkhead/ssh/bulkhead.known_hosts").read_text()
    assert known == f"192.0.2.1 {other.rsplit(' ', 1)[0]}\n[2001:db8::2]:2222 {BARE}\n"


def test_another_home_than_ssh_s_own_is_refused(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home / "elsewhere"))
    with pytest.raises(client.ClientError, match="whatever HOME says"):
        run([ADMIN], ENGINES, "bulkhead")
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(client.ClientError, match="cannot be the name of a set"):
        run([ADMIN], ENGINES, "../x")


HOSTILE = "*=exec=id>pwned;true"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"address": HOSTILE}, "neither an IP address nor a host name"),
        ({"address": "192.0.2.1,192.0.2.2"}, "neither an IP address nor a host name"),
        ({"address": "*"}, "neither an IP address nor a host name"),
        ({"address": "web1 web2"}, "neither an IP address nor a host name"),
        ({"address": "fe80::1%eth0"}, "neither an IP address nor a host name"),
        ({"name": "web1\nHost *"}, "has a control character"),
        ({"port": 0}, "has the SSH port 0"),
    ],
)
def test_an_engine_says_no_more_to_ssh_than_where_it_is(
    home: pathlib.Path, change: dict[str, t.Any], says: str
) -> None:
    with pytest.raises(client.ClientError, match=says):
        run([ADMIN], [dataclasses.replace(ENGINES[0], **change)])
    assert files(home) == {}


@pytest.mark.parametrize(
    "change",
    [{"name": "../x"}, {"name": "a b"}, {"account": "a b"}, {"account": "a\n"}, {"private_key": pathlib.Path('/a"b')}],
)
def test_neither_does_an_identity(home: pathlib.Path, change: dict[str, t.Any]) -> None:
    with pytest.raises(client.ClientError):
        run([dataclasses.replace(ADMIN, **change)], ENGINES)
    assert files(home) == {}


def test_a_host_key_that_is_none_is_no_key_of_anybody(home: pathlib.Path) -> None:
    nonsense = ("", "ssh-ed25519", "ssh-ed25519 not*base64", "x\ny z")
    run([ADMIN], [dataclasses.replace(ENGINES[0], host_keys=(*nonsense, KEY))])
    assert (home / ".bulkhead/ssh/bulkhead.known_hosts").read_text() == f"192.0.2.1 {BARE}\n"
    with pytest.raises(client.ClientError, match="host keys of web3 are not known"):
        run([ADMIN], [dataclasses.replace(WEB3, host_keys=nonsense)])


def test_a_port_that_nobody_knows_is_that_of_an_earlier_run(home: pathlib.Path) -> None:
    run([ADMIN], ENGINES)
    before = files(home)
    unasked = [dataclasses.replace(engine, host_keys=(), port=None) for engine in ENGINES]
    assert not run([ADMIN], unasked).changed
    assert files(home) == before
    run([ADMIN], [dataclasses.replace(WEB3, port=None, host_keys=(KEY,))])
    assert "    Port 22\n" in (home / ".bulkhead/ssh/bulkhead.config").read_text()


@pytest.mark.parametrize(
    ("kind", "begins"), [("ed25519", "ssh-ed25519 "), ("ecdsa", "ecdsa-sha2-nistp256 "), ("rsa", "ssh-rsa ")]
)
def test_a_key_type_can_be_chosen(home: pathlib.Path, kind: str, begins: str) -> None:
    made = run([ADMIN], None, key_type=kind)
    assert made.keys[0]["public_key"].startswith(begins)
    # A key that is there stays, whatever is wanted.
    assert run([ADMIN], None, key_type="ecdsa").keys == made.keys


def test_engines_can_be_behind_a_bastion_host(home: pathlib.Path) -> None:
    """B27."""
    run([ADMIN], ENGINES, jump="ops@bastion.example:2222,[2001:db8::9]")
    assert "proxyjump ops@bastion.example:2222,[2001:db8::9]" in understood(home, "docker-admin", "192.0.2.1")


@pytest.mark.parametrize(
    "jump",
    ["-oProxyCommand=x", "a b", "a@", "@a", "a:b", "a:99999", "a,,b", "a\n    ProxyCommand x", "[a]", "%h", "a;b"],
)
def test_a_bastion_host_says_no_more_than_where_it_is(home: pathlib.Path, jump: str) -> None:
    with pytest.raises(client.ClientError, match=r"docker_client_ssh_jump"):
        run([ADMIN], ENGINES, jump=jump)
    assert files(home) == {}


def understood(home: pathlib.Path, user: str, address: str) -> list[str]:
    command = ["ssh", "-G", "-F", str(home / ".bulkhead/ssh/bulkhead.config"), "-l", user, address]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("length", [30, 120])
def test_a_home_that_is_too_long_for_a_socket_has_a_connection_for_each_request(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """B11."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        home = pathlib.Path(short) / ("h" * (length - len(short) - 1))
        home.mkdir(parents=True)
        entry = pwd.getpwuid(os.getuid())
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd([*entry[:5], str(home), entry[6]]))
        run([ADMIN], ENGINES)
        told = understood(home, "docker-admin", "192.0.2.1")
        assert ("controlmaster auto" in told) is (length == 30)
        assert ("controlmaster false" in told) is (length == 120)
        assert not run([ADMIN], ENGINES).changed
        assert [path for path in (home / ".bulkhead/ssh").iterdir() if path.is_socket()] == []


def test_a_home_without_sockets_has_them_neither(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B11."""

    class NoSocket(socket.socket):
        def bind(self, _: t.Any) -> None:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(client, "_SOCKET_PATH", 4096)
    monkeypatch.setattr(socket, "socket", NoSocket)
    run([ADMIN], None)
    run([ADMIN], ENGINES)
    assert "    ControlMaster no\n" in (home / ".bulkhead/ssh/bulkhead.config").read_text()


def test_folders_are_their_user_s_alone_whatever_the_umask_is(home: pathlib.Path) -> None:
    """B07."""
    before = os.umask(0)
    try:
        run([ADMIN], ENGINES)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in home.rglob("*") if path.is_dir()} == {0o700}
