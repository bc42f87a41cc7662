"""The same scopes over SSH, from a client host with an account for each identity."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t

import pytest
import yaml

if t.TYPE_CHECKING:
    from conftest import Lab

# Of the unit tests; every endpoint with the scopes that may use it.
API = pathlib.Path(__file__).parents[3] / "tests/unit/plugins/module_utils/_gateway/docker_api.txt"
CONNECT = "import socket, sys; print(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"
ACCOUNTS = {
    "docker-alice": "read-only",
    "docker-bob": "operate",
    "docker-carol": "status",
    "docker-dave": "watch-logs",
    "ci": "status",
}
UNIT = "docker-gateway.service"


@pytest.fixture(scope="module")
def client(lab: Lab) -> str:
    """The host of the accounts' owner, which is an engine as well."""
    return next(name for name in lab.engines if name.endswith("13"))


def _words(lab: Lab, host: str, *command: str) -> tuple[str, ...]:
    """As root on a host of the lab, past every gateway."""
    return ("docker", "--context", "default", "exec", "-i", f"bulkhead-{lab.name}-{host}", *command)


def _on(lab: Lab, host: str, *command: str) -> str:
    done = lab.run(*_words(lab, host, *command))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _docker(lab: Lab, client: str, engine: str, identity: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    context = f"{engine}-{identity}-ssh"
    return lab.run(*_words(lab, client, "runuser", "-u", "ops", "--", "docker", "--context", context, *arguments))


def _events(lab: Lab, client: str, engine: str, identity: str) -> subprocess.Popen[str]:
    """A stream: what happens to the container `ticks`, which is something all the time."""
    context = f"{engine}-{identity}-ssh"
    words = ("docker", "--context", context, "events", "--filter", "container=ticks")
    return subprocess.Popen(
        _words(lab, client, "runuser", "-u", "ops", "--", *words),
        env=lab.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def ticking(lab: Lab) -> t.Iterator[None]:
    """Each engine has a container that is paused every now and then."""
    loops = []
    for engine in lab.engines:
        lab.run(*_words(lab, engine, "docker", "rm", "-f", "ticks"))
        _on(lab, engine, "docker", "run", "-d", "--name", "ticks", "bulkhead/busybox")
        text = "while docker pause ticks && docker unpause ticks; do sleep 0.3; done"
        loops.append(subprocess.Popen(_words(lab, engine, "sh", "-c", text), stdout=subprocess.DEVNULL))
    yield
    for engine in lab.engines:
        lab.run(*_words(lab, engine, "docker", "rm", "-f", "ticks"))
    for loop in loops:
        loop.wait(30)


def _calls(scope: str) -> list[dict[str, t.Any]]:
    """Every endpoint but the streams, of objects that are not there, in the first and the last version of the API."""
    found = []
    for line in API.read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words and words[1] != "/events":
            method, path, scopes = words[0], words[1], words[3:]
            allowed = scope in scopes or (
                scope == "watch-logs" and ("status" in scopes or path == "/containers/keep/logs")
            )
            # What is there would be stopped, and so on.
            path = re.sub(r"/(keep|data|busybox)(?=/|$)", "/nothing", path)
            found += [
                {"method": method, "path": f"{version}{path}", "allowed": allowed} for version in ("", "/v1.24", "/v1.41")
            ]
            found.append({"method": method, "path": f"/v1.23{path}", "allowed": False})
    return found


@pytest.mark.parametrize("identity", ["alice", "bob", "carol", "dave"])
def test_every_endpoint_has_its_verdict_over_ssh(lab: Lab, client: str, identity: str) -> None:
    scope = ACCOUNTS[f"docker-{identity}"]
    calls = [{"identity": identity, "account": f"docker-{identity}", **call} for call in _calls(scope)]
    endpoints = [{"name": engine, "address": lab.address(engine), "calls": calls} for engine in lab.engines]
    program = str(pathlib.Path(sys.executable).parent / "ansible")
    options = json.dumps({"endpoints": endpoints, "timeout": 30})
    done = lab.run(
        *(program, "-i", str(lab.folder / "inventory.yml"), client),
        *("-m", "bulkhead.docker.docker_gateway_info", "-a", options),
        ANSIBLE_CALLBACK_RESULT_FORMAT="json",
    )
    assert done.returncode == 0, lab.said(done)
    answer = json.loads(done.stdout.partition("=>")[2])
    for endpoint in answer["endpoints"]:
        assert endpoint["findings"] == []
        statuses = {call["allowed"]: 0 for call in endpoint["calls"]}
        for call in endpoint["calls"]:
            statuses[call["allowed"]] += 1
        assert statuses[True] > 10
        assert statuses[False] > 200


def test_the_docker_cli_does_what_the_scope_names(lab: Lab, client: str) -> None:
    for engine in lab.engines:
        lab.run(*_words(lab, engine, "docker", "rm", "-f", "spare"))
        _on(lab, engine, "docker", "run", "-d", "--name", "spare", "bulkhead/busybox")
        may = {
            "alice": {"ps": True, "images": True, "restart": False, "exec": False},
            "bob": {"ps": True, "images": True, "restart": True, "exec": False},
            "carol": {"ps": True, "images": False, "restart": False, "exec": False},
            "ops": {"ps": True, "images": True, "restart": True, "exec": True},
        }
        commands = {
            "ps": ("ps",),
            "images": ("images",),
            "restart": ("restart", "-t", "0", "spare"),
            "exec": ("exec", "spare", "true"),
        }
        for identity, verdicts in may.items():
            for command, allowed in verdicts.items():
                done = _docker(lab, client, engine, identity, *commands[command])
                assert (done.returncode == 0) == allowed, (engine, identity, command, done.stderr)
                if not allowed:
                    assert "the gateway of this engine refuses this request" in done.stderr
        _on(lab, engine, "docker", "rm", "-f", "spare")


def test_an_account_reaches_its_own_socket_and_nothing_else(lab: Lab) -> None:
    for engine in lab.engines:
        sockets = ["/run/docker.sock", "/run/docker-gateway/master.sock"]
        sockets += _on(lab, engine, "sh", "-c", "ls /run/docker-gateway/*.sock").split()
        sockets += [f"/run/docker-gateway/ssh-{name}/docker.sock" for name in ACCOUNTS]
        for account in ACCOUNTS:
            reached = {
                path
                for path in dict.fromkeys(sockets)
                if _on(
                    *(lab, engine, "setpriv", "--reuid", account, "--regid", "docker-ssh", "--init-groups"),
                    *("python3", "-c", CONNECT, path),
                )
                == "0"
            }
            assert reached == {f"/run/docker-gateway/ssh-{account}/docker.sock"}, (engine, account)


def test_the_journal_says_who_came_over_ssh_and_from_where(lab: Lab, client: str) -> None:
    for engine in lab.engines:
        assert _docker(lab, client, engine, "carol", "volume", "ls").returncode != 0
        said = _on(lab, engine, "journalctl", f"--unit={UNIT}", "--output=cat", "--no-pager")
        requests = [line for line in said.splitlines() if 'request identity="carol" scope=status' in line]
        assert f" src={lab.address(client)}:" in requests[-1]
        assert "verdict=refused status=403" in requests[-1]
        assert "/volumes" in requests[-1]
        assert 'connection identity="carol" scope=status account=docker-carol' in said
        assert "docker-ops" not in said


def test_a_hole_is_found_by_the_verification_and_mended_by_the_next_run(lab: Lab, client: str) -> None:
    """An account that somebody has made an admin on the engine."""
    _on(lab, client, "usermod", "--append", "--groups", "docker-ssh-admin", "docker-carol")
    done = lab.playbook("bulkhead.docker.verify")
    assert done.returncode != 0
    assert "the gateway answers 200 to carol over SSH and GET /info, which the scope does not name" in lab.said(done)
    done = lab.playbook("bulkhead.docker.site")
    assert done.returncode == 0, lab.said(done)
    assert _docker(lab, client, client, "carol", "images").returncode != 0
    done = lab.playbook("bulkhead.docker.verify")
    assert done.returncode == 0, lab.said(done)


def test_a_gateway_that_was_killed_serves_accounts_again(lab: Lab, client: str) -> None:
    for engine in lab.engines:
        _on(lab, engine, "systemctl", "kill", "--signal=KILL", UNIT)
        _wait(lambda engine=engine: _docker(lab, client, engine, "carol", "ps").returncode == 0)  # type: ignore[misc]
    assert _docker(lab, client, client, "carol", "images").returncode != 0


@pytest.mark.usefixtures("ticking")
def test_another_scope_ends_the_streams_of_the_identity_and_of_nobody_else(lab: Lab, client: str) -> None:
    with _streams(lab, client, "alice", "carol") as streams, _identities(lab) as change:
        change({"alice": "status"})
        done = lab.playbook("bulkhead.docker.site")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "alice")
        for engine in lab.engines:
            assert _docker(lab, client, engine, "alice", "ps").returncode == 0
            assert "the scope status has no rule" in _docker(lab, client, engine, "alice", "images").stderr
    with _streams(lab, client, "alice", "carol") as streams, _identities(lab) as change:
        change({"alice": "admin"})
        done = lab.playbook("bulkhead.docker.site")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "alice")
        for engine in lab.engines:
            assert _docker(lab, client, engine, "alice", "info").returncode == 0
    with _streams(lab, client, "alice", "carol") as streams:
        done = lab.playbook("bulkhead.docker.site")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "alice")
        for engine in lab.engines:
            assert "the scope read-only has no rule" in _docker(lab, client, engine, "alice", "volume", "ls").stderr


@pytest.mark.usefixtures("ticking")
def test_a_revoked_identity_is_refused_and_cut_over_ssh_and_nobody_else(lab: Lab, client: str) -> None:
    with _streams(lab, client, "heidi", "carol") as streams:
        done = lab.playbook("bulkhead.docker.revoke_client", "-e", "docker_revoke_name=heidi")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "heidi")
        for engine in lab.engines:
            assert lab.run(*_words(lab, engine, "getent", "passwd", "docker-heidi")).returncode != 0
            settings = json.loads(_on(lab, engine, "cat", "/etc/docker-gateway/settings.json"))
            assert "docker-heidi" not in [account["name"] for account in settings["accounts"]]


def test_no_account_becomes_root_without_the_gateway(lab: Lab) -> None:
    done = lab.playbook("bulkhead.docker.site", "-e", "docker_gateway_enabled=false")
    assert done.returncode != 0
    said = lab.said(done)
    assert "has the scope operate, and" in said
    assert "no gateway, where whoever gets in is root" in said
    assert "gives ci the scope status, and" in said


@contextlib.contextmanager
def _streams(lab: Lab, client: str, *identities: str) -> t.Iterator[dict[tuple[str, str], subprocess.Popen[str]]]:
    with contextlib.ExitStack() as stack:
        found = {}
        for engine in lab.engines:
            for identity in identities:
                found[engine, identity] = _events(lab, client, engine, identity)
                stack.callback(found[engine, identity].kill)
        for stream in found.values():
            assert stream.stdout is not None
            assert stream.stdout.readline()
        yield found


def _ends_alone(streams: dict[tuple[str, str], subprocess.Popen[str]], identity: str) -> None:
    for (engine, who), stream in streams.items():
        if who == identity:
            stream.wait(10)
        else:
            assert stream.poll() is None, (engine, who)
            assert stream.stdout is not None
            os.set_blocking(stream.stdout.fileno(), False)
            stream.stdout.read()  # what came until now
            _wait(lambda stream=stream: bool(stream.stdout.read()))  # type: ignore[misc]


@contextlib.contextmanager
def _identities(lab: Lab) -> t.Iterator[t.Callable[[dict[str, str]], None]]:
    """Changes scopes in the inventory, until the end of the block."""
    files = {path: path.read_text(encoding="utf-8") for path in (lab.folder / "host_vars").glob("*.yml")}

    def change(scopes: dict[str, str]) -> None:
        for path, text in files.items():
            content = yaml.safe_load(text)
            for identity in content["docker_client_identities"]:
                if identity["name"] in scopes:
                    identity["scope"] = scopes[identity["name"]]
            path.write_text(yaml.safe_dump(content), encoding="utf-8")

    try:
        yield change
    finally:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")


def _wait(works: t.Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not works():
        assert time.monotonic() < end
        time.sleep(0.2)
