"""What is made of ssh's answers; a script stands in for ssh, and the scenario `ssh` asks real engines."""

from __future__ import annotations

import shlex
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import probe

RIGHT = """
case "$*" in
*ExitOnForwardFailure*) echo 'Error: remote port forwarding failed for listen port 0' >&2; exit 255 ;;
*PubkeyAuthentication=no*) echo 'ops@web1: Permission denied (publickey).' >&2; exit 255 ;;
*ClearAllForwardings=no*) echo 'docker-ssh: refused' >&2; exit 126 ;;
*) printf 'HTTP/1.0 200 OK\\r\\n\\r\\nOK' ;;
esac
"""
Ssh = t.Callable[[str], Path]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    """Puts a script in the place of ssh; the file that is returned has a line for each of its calls."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    log = tmp_path / "log"
    log.touch()

    def install(script: str) -> Path:
        program = tmp_path / "ssh"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{shlex.quote(str(log))}\n{script}\n', encoding="utf-8")
        program.chmod(0o755)
        return log

    return install


def endpoint(name: str = "web1", port: int | None = None) -> probe.Endpoint:
    return probe.Endpoint(name, "192.0.2.1", "docker-admin", port)


def test_an_account_that_is_right(ssh: Ssh) -> None:
    log = ssh(RIGHT)
    result = probe.check_endpoint(endpoint(port=2222), 30)
    assert result["findings"] == []
    assert (result["name"], result["address"], result["account"]) == ("web1", "192.0.2.1", "docker-admin")
    assert len(result["refused"]) == len(probe.ATTEMPTS)
    assert all(result["refused"].values())
    calls = log.read_text(encoding="utf-8").splitlines()
    assert len(calls) == len(probe.ATTEMPTS) + 1
    assert all("-l docker-admin -p 2222 " in call and " -- 192.0.2.1" in call for call in calls)


def test_an_account_that_can_do_more_says_what(ssh: Ssh) -> None:
    ssh(RIGHT.replace("echo 'docker-ssh: refused' >&2; exit 126", "echo uid=0; echo 'last login: today' >&2"))
    result = probe.check_endpoint(endpoint(), 30)
    loose = [what for what, refused in result["refused"].items() if not refused]
    assert len(loose) == len(probe.ATTEMPTS) - 2
    assert result["findings"] == [f"docker-admin@192.0.2.1 is not refused {what} (last login: today)" for what in loose]


@pytest.mark.parametrize(
    "said",
    [
        "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 192.0.2.1 port 22",
        "Connection closed by 192.0.2.1 port 22",
        "Connection timed out during banner exchange",
        "ssh: connect to host 192.0.2.1 port 22: Connection refused",
    ],
)
def test_a_connection_that_is_lost_is_no_refusal(ssh: Ssh, said: str) -> None:
    """sshd shuts an address out that it has had enough of."""
    lines = "\n".join(f"echo {shlex.quote(line)} >&2" for line in ["Authorized use only", *said.splitlines()])
    ssh(RIGHT.replace("echo 'docker-ssh: refused' >&2; exit 126", f"{lines}\nexit 255"))
    result = probe.check_endpoint(endpoint(), 30)
    cause = "; ".join(["Authorized use only", *said.splitlines()])
    lost = [what for what, refused in result["refused"].items() if not refused]
    assert len(lost) == len(probe.ATTEMPTS) - 2
    assert result["findings"] == [
        f"docker-admin@192.0.2.1 gives no verdict on {', '.join(lost)} ({cause}); sshd may have shut this address out "
        "for a while: name it in docker_ssh_client_networks, or try again in a few minutes"
    ]


def test_a_refusal_of_everything_shows_nothing(ssh: Ssh) -> None:
    log = ssh("echo 'docker-admin@192.0.2.1: Permission denied (publickey).' >&2; exit 255")
    result = probe.check_endpoint(endpoint(port=2222), 30)
    assert (result["ok"], result["refused"]) == (False, {})
    assert result["findings"] == [
        "docker-admin@192.0.2.1 port 2222 does not reach the Docker API "
        "(docker-admin@192.0.2.1: Permission denied (publickey))"
    ]
    assert len(log.read_text(encoding="utf-8").splitlines()) == 1


CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:abc.
Please contact your system administrator.
Add correct host key in /home/ops/.bulkhead/ssh/known_hosts to get rid of this message.
Offending ED25519 key in /home/ops/.bulkhead/ssh/known_hosts:3
Host key verification failed.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            CHANGED,
            "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!; The fingerprint for the ED25519 key sent by the remote "
            "host is; SHA256:abc; Offending ED25519 key in /home/ops/.bulkhead/ssh/known_hosts:3; "
            "Host key verification failed",
        ),
        ("", "no answer, and ssh ended with 255"),
        ("a\033[2Jb\n", "a\N{REPLACEMENT CHARACTER}[2Jb"),
        ("banner\n" + "x" * 5000, "… " + "x" * 600),
    ],
)
def test_the_cause_is_all_that_ssh_said(ssh: Ssh, tmp_path: Path, said: str, cause: str) -> None:
    (tmp_path / "said").write_text(said, encoding="utf-8")
    ssh(f"cat {shlex.quote(str(tmp_path / 'said'))} >&2; exit 255")
    found = probe.check_endpoint(endpoint(), 30)["findings"]
    assert found == [f"docker-admin@192.0.2.1 does not reach the Docker API ({cause})"]


def test_an_endpoint_is_nobody_else_s_failure(ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh(RIGHT)
    odd = probe.Endpoint("odd", "192.0.2.2\0", "docker-admin")
    result = probe.check_endpoints([odd, endpoint()], 30)
    assert [(entry["name"], entry["ok"]) for entry in result["endpoints"]] == [("odd", False), ("web1", True)]
    assert "(ssh cannot be started: embedded null byte)" in result["endpoints"][0]["findings"][0]
    monkeypatch.setenv("PATH", "/nonexistent")
    result = probe.check_endpoints([endpoint()], 30)
    assert "(ssh cannot be started: " in result["endpoints"][0]["findings"][0]


def test_four_endpoints_are_asked_at_the_same_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(4, timeout=60)
    lock = threading.Lock()
    now, most = 0, 0

    def check(endpoint: probe.Endpoint, timeout: int) -> dict[str, t.Any]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait()
        with lock:
            now -= 1
        return {"name": endpoint.name, "ok": True}

    monkeypatch.setattr(probe, "check_endpoint", check)
    result = probe.check_endpoints([endpoint(str(number)) for number in range(12)], 30)
    assert [entry["name"] for entry in result["endpoints"]] == [str(number) for number in range(12)]
    assert (result["ok"], most) == (True, 4)


def test_requests_are_sent_whole_and_the_client_s_direction_stays_open(ssh: Ssh) -> None:
    """More than a pipe holds, and an API that answers nothing to a client that has closed its direction."""
    requests = b"x" * 300_000
    ssh(f"head -c {len(requests)} | wc -c; timeout 0.2 cat >/dev/null; echo $?")
    assert probe.ask(endpoint(), requests, 30)[0].split() == [b"300000", b"124"]
    ssh("echo 'Permission denied (publickey).' >&2; exit 255")
    assert probe.ask(endpoint(), requests, 30) == (b"", "Permission denied (publickey)")


def test_a_gateway_that_refuses_to_answer_a_ping_is_reached(ssh: Ssh) -> None:
    refusal = '{"message": "the gateway of this engine refuses this request, because the scope own has no rule for it"}'
    ssh(RIGHT.replace("HTTP/1.0 200 OK\\r\\n\\r\\nOK", f"HTTP/1.0 403 Forbidden\\r\\n\\r\\n{refusal}"))
    assert probe.check_endpoint(endpoint(), 30)["findings"] == []
    ssh(RIGHT.replace("HTTP/1.0 200 OK\\r\\n\\r\\nOK", "HTTP/1.0 403 Forbidden\\r\\n\\r\\nno"))
    assert "does not reach the Docker API" in probe.check_endpoint(endpoint(), 30)["findings"][0]
