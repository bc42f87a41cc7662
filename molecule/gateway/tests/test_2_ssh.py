"""The same scopes over SSH, from a client host with an account for each identity."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from helpers import docker_api
from recorded import recorded

if t.TYPE_CHECKING:
    from conftest import Lab

CONNECT = "import socket, sys; print(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"
ACCOUNTS = {
    "docker-anna": "read-only",
    "docker-ben": "operate",
    "docker-clara": "status",
    "docker-dora": "watch-logs",
    "scope-status": "status",
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


class Login:
    """A login with an account of a scope, over which every connection is a session of its own."""

    def __init__(self, lab: Lab, engine: str, scope: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="login")
        known_hosts = f"UserKnownHostsFile={lab.folder}/known_hosts"
        self._ssh = (
            *("ssh", "-F", "none", "-o", f"ControlPath={self._folder.name}/%h", "-o", known_hosts),
            *("-i", f"{lab.folder}/id_ed25519", "-l", f"scope-{scope}"),
        )
        self._address = lab.address(engine)
        self._sessions: list[subprocess.Popen[bytes]] = []
        subprocess.run((*self._ssh, "-f", "-N", "-M", self._address), check=True, capture_output=True)

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        command = (*self._ssh, self._address, "docker system dial-stdio")
        with theirs:
            self._sessions.append(subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL))
        return ours

    def __enter__(self) -> Login:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run((*self._ssh, "-O", "exit", self._address), check=True, capture_output=True)
        for session in self._sessions:
            session.wait(20)
        self._folder.cleanup()


@pytest.mark.parametrize("scope", ["status", "read-only", "inspect", "operate", "traefik", "prometheus"])
def test_every_endpoint_of_every_version_has_its_verdict_over_ssh(lab: Lab, scope: str) -> None:
    verdicts = docker_api.verdicts(scope)

    def test(engine: str) -> None:
        with recorded(lab, engine) as record, Login(lab, engine, scope) as login:
            statuses = docker_api.statuses(verdicts, login.connect)
        expected = docker_api.expected(verdicts)
        assert {line: status for line, status in statuses.items() if status != expected[line]} == {}, engine
        assert statuses.keys() == verdicts.keys()
        reached = {f"{method} {target}" for method, target in record["requests"]}
        assert reached == {line for line, allowed in verdicts.items() if allowed}, engine

    with ThreadPoolExecutor(len(lab.engines)) as pool:
        list(pool.map(test, lab.engines))


def test_the_docker_cli_does_what_the_scope_names(lab: Lab, client: str) -> None:
    for engine in lab.engines:
        lab.run(*_words(lab, engine, "docker", "rm", "-f", "spare"))
        _on(lab, engine, "docker", "run", "-d", "--name", "spare", "bulkhead/busybox")
        may = {
            "anna": {"ps": True, "images": True, "restart": False, "exec": False},
            "ben": {"ps": True, "images": True, "restart": True, "exec": False},
            "clara": {"ps": True, "images": False, "restart": False, "exec": False},
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
        assert _docker(lab, client, engine, "clara", "volume", "ls").returncode != 0
        said = _on(lab, engine, "journalctl", f"--unit={UNIT}", "--output=cat", "--no-pager")
        requests = [line for line in said.splitlines() if 'request identity="clara" scope=status' in line]
        assert f" src={lab.address(client)}:" in requests[-1]
        assert "verdict=refused status=403" in requests[-1]
        assert "/volumes" in requests[-1]
        assert 'connection identity="clara" scope=status account=docker-clara' in said
        assert "docker-ops" not in said


def test_a_hole_is_found_by_the_verification_and_mended_by_the_next_run(lab: Lab, client: str) -> None:
    """An account that somebody has made an admin on the engine. Whoever verifies is of the first client host."""
    verify = ("bulkhead.docker.verify", "-e", f"docker_client_hosts={client},localhost")
    _on(lab, client, "usermod", "--append", "--groups", "docker-ssh-admin", "docker-clara")
    done = lab.playbook(*verify)
    assert done.returncode != 0
    assert "the gateway answers 200 to clara over SSH and GET /info, which the scope does not name" in lab.said(done)
    done = lab.playbook("bulkhead.docker.site")
    assert done.returncode == 0, lab.said(done)
    assert _docker(lab, client, client, "clara", "images").returncode != 0
    done = lab.playbook(*verify)
    assert done.returncode == 0, lab.said(done)


def test_a_gateway_that_was_killed_serves_accounts_again(lab: Lab, client: str) -> None:
    for engine in lab.engines:
        _on(lab, engine, "systemctl", "kill", "--signal=KILL", UNIT)
        _wait(lambda engine=engine: _docker(lab, client, engine, "clara", "ps").returncode == 0)  # type: ignore[misc]
    assert _docker(lab, client, client, "clara", "images").returncode != 0


@pytest.mark.usefixtures("ticking")
def test_another_scope_ends_the_streams_of_the_identity_and_of_nobody_else(lab: Lab, client: str) -> None:
    with _streams(lab, client, "anna", "clara") as streams, _identities(lab) as change:
        change({"anna": "status"})
        done = lab.playbook("bulkhead.docker.site")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "anna")
        for engine in lab.engines:
            assert _docker(lab, client, engine, "anna", "ps").returncode == 0
            assert "the scope status has no rule" in _docker(lab, client, engine, "anna", "images").stderr
    with _streams(lab, client, "anna", "clara") as streams, _identities(lab) as change:
        change({"anna": "admin"})
        done = lab.playbook("bulkhead.docker.site")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "anna")
        for engine in lab.engines:
            assert _docker(lab, client, engine, "anna", "info").returncode == 0
    with _streams(lab, client, "anna", "clara") as streams:
        done = lab.playbook("bulkhead.docker.site")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "anna")
        for engine in lab.engines:
            assert "the scope read-only has no rule" in _docker(lab, client, engine, "anna", "volume", "ls").stderr


@pytest.mark.usefixtures("ticking")
def test_a_revoked_identity_is_refused_and_cut_over_ssh_and_nobody_else(lab: Lab, client: str) -> None:
    with _streams(lab, client, "heidi", "clara") as streams:
        done = lab.playbook("bulkhead.docker.revoke_client", "-e", "docker_revoke_name=heidi")
        assert done.returncode == 0, lab.said(done)
        _ends_alone(streams, "heidi")
        for engine in lab.engines:
            assert lab.run(*_words(lab, engine, "getent", "passwd", "docker-heidi")).returncode != 0
            settings = json.loads(_on(lab, engine, "cat", "/etc/docker-gateway/settings.json"))
            assert "docker-heidi" not in [account["name"] for account in settings["accounts"]]
    file = lab.folder / f"host_vars/{client}.yml"
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))
    declared["docker_client_identities"] = [
        one for one in declared["docker_client_identities"] if one["name"] != "heidi"
    ]
    file.write_text(yaml.safe_dump(declared), encoding="utf-8")


def test_no_account_becomes_root_without_the_gateway(lab: Lab) -> None:
    done = lab.playbook("bulkhead.docker.site", "-e", "docker_gateway_enabled=false")
    assert done.returncode != 0
    said = lab.said(done)
    assert "has the scope operate, and" in said
    assert "no gateway, where whoever gets in is root" in said
    assert "gives scope-status the scope status, and" in said


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
            output = stream.stdout.fileno()
            os.set_blocking(output, False)
            while _read(output):
                pass  # what came until now
            _wait(lambda output=output: bool(_read(output)))  # type: ignore[misc]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


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
