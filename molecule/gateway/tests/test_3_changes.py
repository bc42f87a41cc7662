"""Revocation, renewal and removal of engines behind gateways."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import typing as t

if t.TYPE_CHECKING:
    from conftest import Lab

ENGINES = ("g12", "g13", "gt")


def _popen(lab: Lab, engine: str, identity: str) -> subprocess.Popen[str]:
    """A stream: the log of a container that says something all the time."""
    return subprocess.Popen(
        ["docker", "--context", f"{engine}-{identity}", "logs", "--tail", "1", "-f", "talks"],
        env=lab.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Loop:
    """Somebody else's requests, ten in a second to each engine."""

    def __init__(self, lab: Lab, identity: str) -> None:
        self.lab, self.identity = lab, identity
        self.failures: list[str] = []
        self.requests = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(engine,)) for engine in ENGINES]

    def _ask(self, engine: str) -> None:
        folder = self.lab.home / ".bulkhead/identities" / self.identity
        files = ("--cacert", f"{folder}/ca.pem", "--cert", f"{folder}/cert.pem", "--key", f"{folder}/key.pem")
        while not self._stop.wait(0.1):
            done = self.lab.run(
                *("curl", "--silent", "--show-error", "--fail", "--max-time", "10", *files),
                f"https://{self.lab.address(engine)}:2376/_ping",
            )
            self.requests += 1
            if done.stdout != "OK":
                self.failures.append(f"{engine}: {done.stderr}")

    def __enter__(self) -> Loop:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_revoked_identity_is_refused_and_cut_and_nobody_else(lab: Lab) -> None:
    with contextlib.ExitStack() as stack:
        streams = {}
        for engine in ENGINES:
            lab.run("docker", "--context", f"{engine}-admin", "rm", "-f", "talks")
            lab.docker(
                *("--context", f"{engine}-admin", "run", "-d", "--name", "talks", "bulkhead/busybox"),
                *("sh", "-c", "while :; do date; sleep 0.2; done"),
            )
            for identity in ("eve", "alice", "frank"):
                streams[engine, identity] = _popen(lab, engine, identity)
                stack.callback(streams[engine, identity].kill)
        for stream in streams.values():
            assert stream.stdout is not None
            assert stream.stdout.readline()
        # A copy of the key is what a thief has: the playbook removes the identity itself.
        lab.run("cp", "-a", str(lab.home / ".bulkhead/identities/eve"), str(lab.home / ".bulkhead/identities/stolen"))
        with Loop(lab, "frank") as loop:
            done = lab.playbook("bulkhead.docker.revoke_client", "-e", "docker_revoke_name=eve")
        assert done.returncode == 0, lab.said(done)
        assert loop.failures == []
        assert loop.requests > 30
        for (engine, identity), stream in streams.items():
            if identity == "eve":
                stream.wait(5)
            else:
                assert stream.poll() is None, (engine, identity)
                assert stream.stdout is not None
                assert stream.stdout.readline()
        folder = lab.home / ".bulkhead/identities/stolen"
        files = ("--cacert", f"{folder}/ca.pem", "--cert", f"{folder}/cert.pem", "--key", f"{folder}/key.pem")
        for engine in ENGINES:
            assert lab.run("curl", "--silent", *files, f"https://{lab.address(engine)}:2376/_ping").stdout == ""


def test_a_renewal_restarts_no_dockerd_and_cuts_nobody(lab: Lab) -> None:
    started = [_started(lab, engine) for engine in ENGINES]
    stream = _popen(lab, "g13", "alice")
    assert stream.stdout is not None
    assert stream.stdout.readline()
    with Loop(lab, "frank") as loop:
        done = lab.playbook(
            "bulkhead.docker.renew", "-e", "docker_renew_force=true", "-e", "docker_client_hosts=localhost"
        )
    try:
        assert done.returncode == 0, lab.said(done)
        assert loop.failures == []
        assert [_started(lab, engine) for engine in ENGINES] == started
        assert stream.poll() is None
    finally:
        stream.kill()


def _on(engine: str, lab: Lab, *command: str) -> str:
    """As root on the engine's host, past every gateway."""
    done = lab.run("docker", "--context", "default", "exec", f"bulkhead-{lab.name}-{engine}", *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _started(lab: Lab, engine: str) -> str:
    return _on(engine, lab, "systemctl", "show", "--property=MainPID", "--value", "docker.service")


def test_the_verification_succeeds(lab: Lab) -> None:
    done = lab.playbook("bulkhead.docker.verify")
    assert done.returncode == 0, lab.said(done)


def test_the_gateway_goes_by_a_variable_and_dockerd_listens_again(lab: Lab) -> None:
    everybody = '{"docker_client_identities": [{"name": "admin"}]}'
    arguments = ("--limit", "g13,localhost", "-e", "docker_gateway_enabled=false", "-e", everybody)
    done = lab.playbook("bulkhead.docker.site", *arguments)
    assert done.returncode == 0, lab.said(done)
    lab.docker("--context", "g13", "ps")


def test_a_removal_takes_the_gateway_away(lab: Lab) -> None:
    done = lab.playbook("bulkhead.docker.remove", "-e", "docker_remove_hosts=g12")
    assert done.returncode == 0, lab.said(done)
    assert _on("g12", lab, "ls", "-la", "/etc/docker") == _on("g12", lab, "cat", "/root/before")
    assert (
        _on("g12", lab, "sh", "-c", "ls -d /etc/docker-gateway /etc/systemd/system/docker-gateway* 2>/dev/null || true")
        == ""
    )
    assert _on("g12", lab, "sh", "-c", "ss -Hltn 'sport = :2376'") == ""
    assert "keep" in _on("g12", lab, "docker", "ps", "--format", "{{.Names}}")
