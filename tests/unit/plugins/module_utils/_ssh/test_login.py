"""The login that is tried on the engine, with a stand-in for ssh: the account's keys meanwhile and afterwards."""

from __future__ import annotations

import pathlib
import shutil
import types
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import login as _login
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd

AT = _login.Door("192.0.2.10", "2222", "ed25519")
RESTRICTIONS = 'restrict,command="/gate"'


class Ssh:
    """What ssh-keygen, ssh and journalctl say."""

    def __init__(self, keys: pathlib.Path) -> None:
        self.keys = keys
        self.stdout, self.stderr, self.log = b"", b"", ""
        self.command: list[str] = []
        self.seen = ""
        self.ends: type[BaseException] | None = None

    def run(self, command: t.Sequence[str], **_: t.Any) -> types.SimpleNamespace:
        if command[0] == "ssh-keygen":
            pathlib.Path(f"{command[-1]}.pub").write_text("ssh-ed25519 AAAA throw-away\n", encoding="ascii")
            return types.SimpleNamespace(returncode=0, stderr="")
        if command[0] == "journalctl":
            return types.SimpleNamespace(returncode=0, stdout=self.log)
        self.command = list(command)
        self.seen = (self.keys / "docker-a").read_text(encoding="utf-8")
        if self.ends:
            raise self.ends
        return types.SimpleNamespace(returncode=0, stdout=self.stdout, stderr=self.stderr)


@pytest.fixture
def ssh(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    fake = Ssh(tmp_path)
    real = _login.subprocess
    spaces = types.SimpleNamespace(
        run=fake.run,
        DEVNULL=real.DEVNULL,
        TimeoutExpired=real.TimeoutExpired,
        CompletedProcess=real.CompletedProcess,
    )
    monkeypatch.setattr(_login, "subprocess", spaces)
    return fake


def failure(ssh: Ssh) -> str:
    return _login.failure("docker-a", ssh.keys, RESTRICTIONS, AT)


@pytest.mark.parametrize("before", [None, "one\n"])
def test_a_throw_away_key_opens_the_account_from_here_alone_and_for_that_time(ssh: Ssh, before: str | None) -> None:
    file = ssh.keys / "docker-a"
    if before:
        file.write_text(before, encoding="utf-8")
    ssh.stdout = b"HTTP/1.0 200 OK\r\n"

    assert failure(ssh) == ""

    line = ssh.seen.removeprefix(before or "")
    assert line.startswith(f'{RESTRICTIONS},from="127.0.0.1,::1,192.0.2.10",expiry-time="')
    assert line.endswith('" ssh-ed25519 AAAA throw-away\n')
    assert ssh.command[-2:] == ["192.0.2.10", "docker system dial-stdio"]
    assert ssh.command[ssh.command.index("-p") + 1] == "2222"
    assert (file.read_text(encoding="utf-8") if file.exists() else None) == before
    assert [path.name for path in ssh.keys.iterdir()] == ([file.name] if before else [])


def test_the_key_is_gone_when_the_login_is_killed(ssh: Ssh) -> None:
    ssh.ends = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        failure(ssh)
    assert list(ssh.keys.iterdir()) == []


def test_the_gate_s_own_word_counts_where_dockerd_does_not_answer(ssh: Ssh) -> None:
    ssh.stderr = b"docker-ssh: the Docker API on this host does not answer at /run/docker.sock (no such file).\n"
    assert failure(ssh) == ""


def test_the_reason_is_what_ssh_says_and_what_sshd_or_pam_have_logged(ssh: Ssh) -> None:
    ssh.stderr = b"banner\nConnection closed by 192.0.2.10 port 2222\n"
    assert failure(ssh) == "Connection closed by 192.0.2.10 port 2222"
    ssh.log = (
        "Accepted publickey for ops\n"
        "pam_access(sshd:account): access denied for user `docker-b'\n"
        "fatal: Access denied for user docker-a by PAM account configuration [preauth]\n"
    )
    assert failure(ssh) == (
        "Connection closed by 192.0.2.10 port 2222 (its log says: fatal: Access denied for user docker-a by PAM "
        "account configuration [preauth])"
    )


@pytest.mark.parametrize(
    ("settings", "door"),
    [
        ({"listenaddress": ("0.0.0.0:22", "[::]:22")}, ("127.0.0.1", "22", "ed25519")),
        ({"listenaddress": ("[::]:2222",)}, ("::1", "2222", "ed25519")),
        (
            {"listenaddress": ("192.0.2.1:22",), "pubkeyacceptedalgorithms": ("rsa-sha2-512",)},
            ("192.0.2.1", "22", "rsa"),
        ),
        ({"pubkeyacceptedkeytypes": ("ecdsa-sha2-nistp256,rsa-sha2-512",)}, ("127.0.0.1", "22", "ecdsa")),
    ],
)
def test_it_goes_where_sshd_listens_with_a_key_that_it_accepts(
    settings: dict[str, tuple[str, ...]], door: tuple[str, str, str]
) -> None:
    assert _login.door(settings, None) == _login.Door(*door)
    via = _sshd.Connection("ops", "x", "192.0.2.9", "192.0.2.10", "2222")
    assert _login.door(settings, via) == _login.Door("192.0.2.10", "2222", door[2])


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs OpenSSH's client")
def test_the_key_that_is_made_is_a_real_one(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_login, "_logged", lambda *_: "")
    seen: list[str] = []

    def log_in(*_: t.Any) -> types.SimpleNamespace:
        seen.append((tmp_path / "docker-a").read_text(encoding="utf-8"))
        return types.SimpleNamespace(stdout=b"HTTP/1.1 200 OK", stderr=b"")

    monkeypatch.setattr(_login, "_log_in", log_in)
    assert _login.failure("docker-a", tmp_path, RESTRICTIONS, AT) == ""
    assert " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5" in seen[0]
