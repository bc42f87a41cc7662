"""Revocation, renewal, another scope, removal of engines behind gateways. The tests follow each other in this order."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import time
import typing as t

import pytest
import yaml
from behind import Client, Loop, Stream

if t.TYPE_CHECKING:
    from conftest import Lab

ENGINES = ("g12", "g13", "gt")
OTHERS = ("frank", "carol")  # an admin, and somebody with a limited scope
LIMIT = 5.0  # seconds from the begin of the change on an engine


def client(lab: Lab, identity: str, tls12: bool = False) -> Client:
    return Client(lab, lab.home / ".bulkhead/identities" / identity, tls12)


def others(lab: Lab) -> Loop:
    """What others ask all the time, over connections of their own."""
    return Loop({name: client(lab, name) for name in OTHERS}, ENGINES)


@pytest.fixture
def streams(lab: Lab) -> t.Iterator[t.Callable[..., dict[tuple[str, str], Stream]]]:
    """Follows a log as each of some identities on each engine, until the end of the test."""
    with contextlib.ExitStack() as stack:

        def follow(*identities: str) -> dict[tuple[str, str], Stream]:
            found = {
                (who, engine): Stream(client(lab, who), engine, "talks") for who in identities for engine in ENGINES
            }
            for stream in found.values():
                stack.callback(stream.close)
            return found

        for engine in ENGINES:
            lab.run("docker", "--context", f"{engine}-admin", "rm", "-f", "talks")
            talk = ("sh", "-c", "while :; do date; sleep 0.2; done")
            words = ("run", "-d", "--name", "talks", "--stop-signal", "KILL", "bulkhead/busybox", *talk)
            lab.docker("--context", f"{engine}-admin", *words)
        yield follow


def begun(lab: Lab, engine: str, module: str) -> float:
    """When a module has begun on an engine's host, for the last time; it has the clock of this machine."""
    words = ("--no-pager", "--output=short-unix", f"--identifier=ansible-bulkhead.docker.{module}")
    lines = _on(engine, lab, "journalctl", *words).splitlines()
    return float([line for line in lines if "Invoked with" in line][-1].split()[0])


def session(of: Client, engine: str) -> ssl.SSLSession | None:
    """What a client has to come back with."""
    with of.connect(engine) as connection:
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        while connection.recv(4096):
            pass
        return connection.session


def test_a_revoked_identity_is_refused_and_cut_and_nobody_else(
    lab: Lab, streams: t.Callable[..., dict[tuple[str, str], Stream]]
) -> None:
    # A copy of the key is what a thief has: the playbook removes the identity itself.
    stolen = lab.folder / "stolen"
    shutil.rmtree(stolen, ignore_errors=True)
    shutil.copytree(lab.home / ".bulkhead/identities/eve", stolen)
    thieves = [Client(lab, stolen), Client(lab, stolen, tls12=True)]
    sessions = {(thief, engine): session(thief, engine) for thief in thieves for engine in ENGINES}
    following = streams("eve", "alice", "frank")
    with others(lab) as loop, Loop({"eve": thieves[0]}, ENGINES) as asking:
        done = lab.playbook("bulkhead.docker.revoke_client", "-e", "docker_revoke_name=eve")
        time.sleep(1)
    assert done.returncode == 0, lab.said(done)
    assert loop.failures == {}
    assert loop.fewest > 50
    for engine in ENGINES:
        start = begun(lab, engine, "docker_gateway")
        answers = asking.answers["eve", engine]
        refused = next(when for when, status in answers if status != 200)
        assert {status for when, status in answers if when < start} == {200}
        assert {status for when, status in answers if when >= refused} == {0}
        following["eve", engine].end(5)
        cut = following["eve", engine].ended
        print(f"{engine}: refused after {refused - start:.2f} s, cut after {cut - start:.2f} s")
        assert refused - start <= LIMIT
        assert cut - start <= LIMIT
        for name in ("alice", "frank"):
            following[name, engine].goes_on()
        for thief in thieves:
            assert thief.ask(engine) == b""
            assert thief.ask(engine, session=sessions[thief, engine]) == b""


def test_a_renewal_restarts_no_dockerd_and_cuts_nobody(
    lab: Lab, streams: t.Callable[..., dict[tuple[str, str], Stream]]
) -> None:
    started = [_started(lab, engine) for engine in ENGINES]
    served = [_served(lab, engine) for engine in ENGINES]
    following = streams("alice", "frank")
    with others(lab) as loop:
        done = lab.playbook("bulkhead.docker.renew", "-e", "docker_renew_force=true")
    assert done.returncode == 0, lab.said(done)
    assert loop.failures == {}
    assert loop.fewest > 50
    assert [_started(lab, engine) for engine in ENGINES] == started
    assert not set(served) & {_served(lab, engine) for engine in ENGINES}
    for stream in following.values():
        stream.goes_on()


def _served(lab: Lab, engine: str) -> bytes:
    """The certificate that a gateway has."""
    with client(lab, "admin").connect(engine) as connection:
        return connection.getpeercert(binary_form=True) or b""


def test_another_scope_holds_at_once_and_cuts_nobody_else(
    lab: Lab, streams: t.Callable[..., dict[tuple[str, str], Stream]]
) -> None:
    started = [_started(lab, engine) for engine in ENGINES]
    following = streams("alice", "frank", "grace")
    file = lab.folder / "host_vars/localhost.yml"
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))
    identities = [one for one in declared["docker_client_identities"] if one["name"] != "eve"]
    for one in identities:
        if one["name"] == "alice":
            one["scope"] = "status"
    file.write_text(yaml.safe_dump({"docker_client_identities": identities}), encoding="utf-8")
    with others(lab) as loop:
        done = lab.playbook("bulkhead.docker.site")
    assert done.returncode == 0, lab.said(done)
    assert loop.failures == {}
    assert loop.fewest > 50
    assert [_started(lab, engine) for engine in ENGINES] == started
    alice = client(lab, "alice")
    for engine in ENGINES:
        start = begun(lab, engine, "docker_daemon_config")
        following["alice", engine].end(5)
        print(f"{engine}: cut after {following['alice', engine].ended - start:.2f} s")
        assert following["alice", engine].ended - start <= LIMIT
        assert alice.status(engine, "/containers/talks/logs?stdout=1") == 403
        assert alice.status(engine, "/containers/json") == 200
        for name in ("frank", "grace"):
            following[name, engine].goes_on()


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
    everybody = '{"docker_client_identities": [{"name": "admin"}], "docker_ssh_users": []}'
    arguments = ("--limit", "g13,localhost", "-e", "docker_gateway_enabled=false", "-e", everybody)
    done = lab.playbook("bulkhead.docker.site", *arguments)
    assert done.returncode == 0, lab.said(done)
    lab.docker("--context", "g13", "ps")
    assert "dockerd" in _on("g13", lab, "ss", "-Hltnp", "sport = :2376")


def test_a_removal_takes_the_gateway_away(lab: Lab) -> None:
    done = lab.playbook("bulkhead.docker.remove", "-e", "docker_remove_hosts=g12")
    assert done.returncode == 0, lab.said(done)
    # On Debian 12 dockerd has a file of its own there.
    assert _on("g12", lab, "find", "/etc/docker", "-printf", "%p %M %u\\n") == _on("g12", lab, "cat", "/root/before")
    assert (
        _on("g12", lab, "sh", "-c", "ls -d /etc/docker-gateway /etc/systemd/system/docker-gateway* 2>/dev/null || true")
        == ""
    )
    assert _on("g12", lab, "sh", "-c", "ss -Hltn 'sport = :2376'") == ""
    assert "keep" in _on("g12", lab, "docker", "ps", "--format", "{{.Names}}")
