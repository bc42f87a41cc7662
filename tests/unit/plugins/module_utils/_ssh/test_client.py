"""What ssh of a client's user reads: keys, known hosts, settings; and nobody else's files."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import pwd
import socket
import subprocess

import pytest
from ansible_collections.bulkhead.docker.plugins.filter import docker_endpoints, docker_ssh_users
from ansible_collections.bulkhead.docker.plugins.module_utils import _client
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import client

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrcl5/y08/rRDEcJnVT/b788ynKJfZ4EjATJj0roJGX root@web1"
BARE = KEY.rsplit(" ", 1)[0]
ENGINES = [client.Engine("web1", "192.0.2.1", 22, (KEY,)), client.Engine("web2", "2001:db8::2", 2222, (KEY,))]
ADMIN = client.Identity("admin", "docker-admin", None)


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
    foreseen = client.run([ADMIN], ENGINES, "bulkhead", check_mode=True)
    assert foreseen.changed
    assert foreseen.keys == [{"name": "admin", "account": "docker-admin", "public_key": ""}]
    assert files(home) == {}

    made = client.run([ADMIN], None, "bulkhead")
    assert sorted(files(home)) == [".bulkhead/ssh/admin", ".bulkhead/ssh/admin.pub"]
    assert made.keys[0]["public_key"].startswith("ssh-ed25519 ")
    done = client.run([ADMIN], ENGINES, "bulkhead")
    assert done.changed
    assert "PRIVATE" not in str(done.diff)
    first = files(home)
    assert not client.run([ADMIN], ENGINES, "bulkhead").changed
    assert files(home) == first
    assert first[".ssh/config"] == b"Include ~/.bulkhead/ssh/*.config\n"
    assert first[".bulkhead/ssh/bulkhead.known_hosts"].decode() == f"192.0.2.1 {BARE}\n[2001:db8::2]:2222 {BARE}\n"
    assert {path.stat().st_mode & 0o777 for path in (home / ".bulkhead/ssh").iterdir() if path.suffix != ".pub"} == {
        0o600
    }


def test_ssh_understands_the_settings_and_applies_them_to_the_account_only(home: pathlib.Path) -> None:
    client.run([ADMIN], ENGINES, "bulkhead")
    config = str(home / ".bulkhead/ssh/bulkhead.config")

    def settings(user: str, address: str) -> list[str]:
        command = ["ssh", "-G", "-F", config, "-l", user, address]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    ours = settings("docker-admin", "2001:db8::2")
    for line in ("port 2222", f"identityfile {home}/.bulkhead/ssh/admin", "stricthostkeychecking true"):
        assert line in ours
    assert f"userknownhostsfile {home}/.bulkhead/ssh/bulkhead.known_hosts" in ours
    assert "controlmaster auto" in ours
    for user, address in (("ops", "192.0.2.1"), ("docker-admin", "192.0.2.9")):
        assert not [line for line in settings(user, address) if "bulkhead" in line]


def test_the_user_s_own_file_stays_and_may_be_a_link(home: pathlib.Path) -> None:
    own = home / "dotfiles"
    own.write_bytes(b"Host x\n  User y\xff\n")
    own.chmod(0o644)
    (home / ".ssh").mkdir()
    (home / ".ssh/config").symlink_to(own)
    client.run([ADMIN], ENGINES, "bulkhead")
    assert (home / ".ssh/config").is_symlink()
    assert own.read_bytes() == b"Include ~/.bulkhead/ssh/*.config\nHost x\n  User y\xff\n"
    assert own.stat().st_mode & 0o777 == 0o644


def test_a_key_can_be_brought_along(home: pathlib.Path) -> None:
    path = home / "mine"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", path], check=True)
    public = (home / "mine.pub").read_text().strip()
    brought = client.Identity("admin", "docker-admin", path)
    assert client.run([brought], None, "bulkhead").keys[0]["public_key"] == public
    (home / "mine.pub").unlink()
    assert client.run([brought], None, "bulkhead").keys[0]["public_key"].split()[:2] == public.split()[:2]
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "sesame", "-f", path], check=True, capture_output=True)
    with pytest.raises(client.ClientError, match=r"not beside it as mine[.]pub"):
        client.run([brought], None, "bulkhead")
    with pytest.raises(client.ClientError, match="does not exist on this host"):
        client.run([client.Identity("admin", "docker-admin", home / "none")], None, "bulkhead", check_mode=True)


def test_what_was_made_is_removed_and_nothing_else(home: pathlib.Path) -> None:
    eve = client.Identity("eve", "docker-eve", None)
    (home / ".ssh").mkdir()
    (home / ".ssh/config").write_bytes(b"Host x\n  User y\xff\n")
    client.run([ADMIN], ENGINES, "other")
    client.run([ADMIN], ENGINES, "bulkhead")
    without_eve = files(home)
    client.run([ADMIN, eve], ENGINES, "bulkhead")
    with_eve = files(home)

    # One identity, whose place in the settings goes with it.
    assert client.remove([eve], "bulkhead", keep_others=True, check_mode=True).changed
    assert files(home) == with_eve
    done = client.remove([eve], "bulkhead", keep_others=True)
    assert done.changed
    assert "PRIVATE" not in str(done.diff)
    assert files(home) == without_eve
    assert not client.remove([eve], "bulkhead", keep_others=True).changed

    # The last one of a set, and then the other set, with which the line in the user's own file goes.
    assert client.remove([ADMIN], "bulkhead", keep_others=True).changed
    assert sorted(files(home)) == [".bulkhead/ssh/other.config", ".bulkhead/ssh/other.known_hosts", ".ssh/config"]
    with (home / ".bulkhead/ssh/stays").open("xb"):
        pass
    assert client.remove([ADMIN], "other").changed
    assert files(home) == {".bulkhead/ssh/stays": b"", ".ssh/config": b"Host x\n  User y\xff\n"}
    assert not client.remove([ADMIN], "other").changed


def test_folder_sockets_and_an_emptied_file_go_and_a_key_that_was_brought_stays(home: pathlib.Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "mine"], check=True)
    brought = client.Identity("admin", "docker-admin", home / "mine")
    client.run([brought], ENGINES, "bulkhead")
    with socket.socket(socket.AF_UNIX) as shared:
        shared.bind(str(home / ".bulkhead/ssh/x"))
        client.remove([brought], "bulkhead")
    assert sorted(files(home)) == ["mine", "mine.pub"]
    assert not (home / ".bulkhead/ssh").exists()
    assert not (home / ".ssh").exists()


WEB3 = client.Engine("web3", "192.0.2.3", 22, ())


def test_nobody_is_trusted_at_first_sight(home: pathlib.Path) -> None:
    with pytest.raises(client.ClientError, match="host keys of web3 are not known"):
        client.run([ADMIN], [*ENGINES, WEB3], "bulkhead")
    assert not (home / ".ssh").exists()

    # Where that may not stop a run, ssh is the one to refuse it.
    assert client.run([ADMIN], [*ENGINES, WEB3], "bulkhead", require_host_keys=False).unknown == ["web3"]
    folder = home / ".bulkhead/ssh"
    assert "192.0.2.3" not in (folder / "bulkhead.known_hosts").read_text()
    command = ["ssh", "-G", "-F", str(folder / "bulkhead.config"), "-l", "docker-admin", "192.0.2.3"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"stricthostkeychecking true", "globalknownhostsfile /dev/null"} <= set(told)


def test_host_keys_of_an_earlier_run_stay_where_none_are_given(home: pathlib.Path) -> None:
    client.run([ADMIN], ENGINES, "bulkhead")
    before = files(home)
    unasked = [dataclasses.replace(engine, host_keys=()) for engine in ENGINES]
    assert not client.run([ADMIN], unasked, "bulkhead").changed
    assert files(home) == before
    # Of this address and port alone.
    moved = [dataclasses.replace(unasked[0], port=2222), unasked[1]]
    with pytest.raises(client.ClientError, match="host keys of web1 are not known"):
        client.run([ADMIN], moved, "bulkhead")
    # Given ones count.
    other = KEY.replace("JGX", "JGY")
    client.run([ADMIN], [dataclasses.replace(ENGINES[0], host_keys=(other,)), unasked[1]], "bulkhead")
    known = (home / ".bulkhead/ssh/bulkhead.known_hosts").read_text()
    assert known == f"192.0.2.1 {other.rsplit(' ', 1)[0]}\n[2001:db8::2]:2222 {BARE}\n"


def test_another_home_than_ssh_s_own_is_refused(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home / "elsewhere"))
    with pytest.raises(client.ClientError, match="whatever HOME says"):
        client.run([ADMIN], ENGINES, "bulkhead")
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(client.ClientError, match="cannot be the name of a set"):
        client.run([ADMIN], ENGINES, "../x")


def test_keys_of_clients_join_the_declared_users() -> None:
    declared = [
        {"name": "docker-alice", "public_keys": ["a"], "comment": "Alice"},
        {"name": "docker-ci", "principals": ["ci"]},
    ]
    keys = [
        {"name": "alice", "account": "docker-alice", "public_key": "b"},
        {"name": "admin", "account": "docker-admin", "public_key": "c"},
        {"name": "new", "account": "docker-new", "public_key": ""},
    ]
    hostvars = {
        "c1": {"docker_client_ssh": {"results": [{"public_keys": keys}]}},
        "c2": {"docker_client_ssh": {"results": []}},
    }
    assert docker_ssh_users.docker_ssh_users(declared, ["c1", "c2"], hostvars) == [
        {"name": "docker-alice", "public_keys": ["a", "b"], "comment": "Alice"},
        {"name": "docker-ci", "principals": ["ci"]},
        {"name": "docker-admin", "public_keys": ["c"], "comment": "identity admin"},
        {"name": "docker-new", "public_keys": [], "comment": "identity new"},
    ]
    assert declared[0]["public_keys"] == ["a"]
    with pytest.raises(docker_ssh_users.AnsibleFilterError, match="c3 was not asked for its SSH keys"):
        docker_ssh_users.docker_ssh_users(declared, ["c3"], {"c3": {}})


def test_endpoints_tell_where_sshd_is_and_what_proves_it() -> None:
    server = {"docker_ssh_server": {"port": 2022, "host_keys": [KEY]}}
    look = {"engine": {"ssh_server": {"port": 2022, "host_keys": [KEY]}}}
    hosts = {
        "a": server,
        "b": {**server, "ansible_port": 22},
        "c": {},
        "looked": {"docker_engine_look": look},
        "reported": {"docker_engine_report": look, "docker_ssh_server": {"msg": "undone"}},
        "without": {"docker_engine_look": {"engine": {"ssh_server": None}}, "docker_engine_report": {"msg": "x"}},
    }
    found = docker_endpoints.docker_endpoints(hosts, hosts)
    assert [(endpoint["ssh_port"], endpoint["ssh_host_keys"]) for endpoint in found] == [
        (2022, [KEY]),
        (22, [KEY]),
        (22, []),
        (2022, [KEY]),
        (2022, [KEY]),
        (22, []),
    ]


def test_accounts_leave_that_nobody_uses_any_more() -> None:
    identities = [
        {"name": "admin", "ssh_account": "docker-ops"},
        {"name": "eve", "ssh_account": "docker-ops"},
        {"name": "ci", "ssh_account": "builder", "ssh_private_key": "/key"},
        {"name": "ci", "user": "other"},
    ]

    def accounts(*names: str) -> dict[str, list[str]]:
        return {record["user"]: record["accounts"] for record in _client.leaving(identities, names)}

    assert accounts("eve") == {"": [], "other": ["docker-eve"]}
    assert accounts("eve", "admin") == {"": ["docker-ops"], "other": ["docker-admin", "docker-eve"]}
    assert accounts("ci") == {"": ["builder"], "other": ["docker-ci"]}
    assert accounts() == {"": ["builder", "docker-ops"], "other": ["docker-ci"]}
    brought = _client.leaving(identities, ["ci"])[0]["ssh"]
    assert brought == [{"name": "ci", "account": "builder", "private_key": "/key"}]


def test_contexts_for_ssh_stand_beside_those_for_tls() -> None:
    engines = [{"name": "web1", "address": "192.0.2.1"}, {"name": "web2", "address": "2001:db8::2", "ssh_port": 2222}]
    identities = [{"name": "admin"}, {"name": "ci", "ssh_account": "builder"}]
    found = _client.stores(identities, engines, ["tls", "ssh"], "", "")[0]["contexts"]
    assert {context["name"]: context["docker_host"] for context in found if context["name"].endswith("-ssh")} == {
        "web1-admin-ssh": "ssh://docker-admin@192.0.2.1",
        "web2-admin-ssh": "ssh://docker-admin@[2001:db8::2]:2222",
        "web1-ci-ssh": "ssh://builder@192.0.2.1",
        "web2-ci-ssh": "ssh://builder@[2001:db8::2]:2222",
    }
    assert len(found) == 8
    said = _client.problems([{"name": "A@b"}], engines, ["ssh"], "", "", 365, 30)
    assert said == [
        "The identity 'A@b' would log in to engines as 'docker-A@b', which cannot be an account; set its ssh_account."
    ]
    assert _client.problems([{"name": "A@b"}], engines, ["tls"], "", "", 365, 30) == []
