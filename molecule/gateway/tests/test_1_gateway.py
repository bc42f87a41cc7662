"""Engines behind their gateways, as identities of each scope see them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import time
import typing as t

import docker
import pytest
import warm
from behind import Client
from testinfra.host import Host

if t.TYPE_CHECKING:
    from conftest import Lab

testinfra_hosts = ["docker_engines"]

UNIT = "docker-gateway.service"


@pytest.fixture
def name(host: Host) -> str:
    return str(host.backend.get_hostname())


def _docker(
    lab: Lab, engine: str, identity: str, *arguments: str, **options: t.Any
) -> subprocess.CompletedProcess[str]:
    """The docker CLI as an identity; what it says is for the test."""
    return lab.run("docker", "--context", f"{engine}-{identity}", *arguments, **options)


def _popen(lab: Lab, engine: str, identity: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["docker", "--context", f"{engine}-{identity}", *arguments],
        env=lab.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _curl(lab: Lab, engine: str, identity: str, path: str, *options: str) -> tuple[str, str]:
    """The status of a request, and the answer."""
    folder = lab.home / ".bulkhead/identities" / identity
    files = ("--cacert", f"{folder}/ca.pem", "--cert", f"{folder}/cert.pem", "--key", f"{folder}/key.pem")
    where = f"https://{lab.address(engine)}:2376{path}"
    done = lab.run("curl", "--silent", "--path-as-is", "-w", "\\n%{http_code}", *files, *options, where)
    answer, _, status = done.stdout.rpartition("\n")
    return status, answer


def test_containers_have_run_on(host: Host) -> None:
    with host.sudo():
        pid = host.file("/root/keep.pid").content_string.strip()
        assert host.check_output("docker inspect --format '{{.State.Pid}}' keep") == pid


def test_dockerd_listens_on_its_local_socket_alone(host: Host) -> None:
    with host.sudo():
        listens = host.check_output("ss -Hltnp 'sport = :2376'")
        assert "haproxy" in listens
        assert "dockerd" not in host.check_output("ss -Hltnp")


def test_the_gateway_is_not_root_and_in_a_sandbox(host: Host) -> None:
    with host.sudo():
        users = set(host.check_output("ps -o user= -p $(pidof haproxy | tr ' ' ',')").split())
        assert users == {"docker-g+"} or users == {"docker-gateway"}
        master = host.check_output(f"systemctl show --property=MainPID --value {UNIT}").strip()
        status = host.file(f"/proc/{master}/status").content_string
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        assert "CapEff:\t0000000000000000" in status
        assert host.file("/etc/docker-gateway/server.pem").mode == 0o440


def test_an_admin_may_do_everything(lab: Lab, name: str) -> None:
    def admin(*arguments: str, **options: t.Any) -> str:
        done = _docker(lab, name, "admin", *arguments, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert admin("run", "--rm", "bulkhead/busybox", "echo", "hello") == "hello"
    assert admin("exec", "keep", "echo", "there") == "there"
    # It answers when its input is over: what the client closes is one direction, and the other one goes on.
    late = ("sh", "-c", "cat >/tmp/in; sleep 1; cat /tmp/in")
    _docker(lab, name, "admin", "rm", "-f", "late")
    admin("create", "-i", "--name", "late", "bulkhead/busybox", *late)
    data = os.urandom(3_000_000)
    for command in (
        ("exec", "-i", "keep", *late),
        ("run", "-i", "--rm", "bulkhead/busybox", *late),
        ("start", "--attach", "--interactive", "late"),
    ):
        done = subprocess.run(
            ["docker", "--context", f"{name}-admin", *command],
            env=lab.environment(),
            input=data,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest(), (command, done.stderr)


def test_an_admin_follows_events_and_logs(lab: Lab, name: str) -> None:
    with contextlib.ExitStack() as stack:
        _docker(lab, name, "admin", "rm", "-f", "talks")
        events = _popen(lab, name, "admin", "events", "--filter", "container=talks", "--format", "{{.Action}}")
        stack.callback(events.kill)
        started = _docker(
            lab,
            name,
            "admin",
            "run",
            "-d",
            "--name",
            "talks",
            "bulkhead/busybox",
            "sh",
            "-c",
            "while :; do date; sleep 1; done",
        )
        assert started.returncode == 0, started.stderr
        assert events.stdout is not None
        assert events.stdout.readline().strip() == "create"
        logs = _popen(lab, name, "admin", "logs", "-f", "talks")
        stack.callback(logs.kill)
        assert logs.stdout is not None
        assert logs.stdout.readline()
        attached = _popen(lab, name, "admin", "attach", "--sig-proxy=false", "talks")
        stack.callback(attached.kill)
        assert attached.stdout is not None
        assert attached.stdout.readline()
    assert _docker(lab, name, "admin", "rm", "-f", "talks").returncode == 0


def test_an_admin_copies_and_builds(lab: Lab, name: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    (tmp_path / "Dockerfile").write_text("FROM bulkhead/busybox\nCOPY file /file\n", encoding="ascii")
    assert _docker(lab, name, "admin", "cp", f"{tmp_path}/file", "keep:/tmp/file").returncode == 0
    assert _docker(lab, name, "admin", "cp", "keep:/tmp/file", f"{tmp_path}/back").returncode == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    built = _docker(lab, name, "admin", "build", "-t", "built", str(tmp_path), DOCKER_BUILDKIT="0")
    assert built.returncode == 0, built.stderr


# Debian 12's CLI speaks to BuildKit itself; the plugins buildx and Compose are those of testing.
CLIENTS = ("g12", "gt")


@pytest.fixture(scope="module")
def clients(lab: Lab) -> tuple[str, ...]:
    """Hosts whose Docker clients have the identity admin."""
    for client in CLIENTS:
        lab.docker("--context", "default", "exec", f"bulkhead-{lab.name}-{client}", "rm", "-rf", "/root/admin")
        folder = str(lab.home / ".bulkhead/identities/admin")
        lab.docker("--context", "default", "cp", "--quiet", folder, f"bulkhead-{lab.name}-{client}:/root/admin")
    return CLIENTS


def _on_client(lab: Lab, client: str, engine: str, script: str) -> str:
    """A script on another host, whose Docker clients go to the engine as admin."""
    settings = {
        "DOCKER_HOST": f"tcp://{lab.address(engine)}:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": "/root/admin",
    }
    given = [f"--env={name}={value}" for name, value in settings.items()]
    words = ("exec", *given, f"bulkhead-{lab.name}-{client}", "sh", "-ec", script)
    return lab.docker("--context", "default", *words)


BUILD = """
rm -rf /root/build; mkdir /root/build; cd /root/build
head -c 3000000 /dev/urandom >file
printf 'FROM bulkhead/busybox\\nCOPY file /file\\nRUN sha256sum </file >/sum\\n' >Dockerfile
DOCKER_BUILDKIT=1 docker build --progress plain --tag built . >log 2>&1 || { cat log; exit 1; }
[ "$(sha256sum <file)" = "$(docker run --rm built cat /sum)" ]
grep -o 'exporting to image' log
"""


def test_an_admin_builds_with_buildkit(lab: Lab, name: str, clients: tuple[str, ...]) -> None:
    for client in clients:
        assert "exporting to image" in _on_client(lab, client, name, BUILD)


COMPOSE = """
rm -rf /root/shop; mkdir /root/shop; cd /root/shop
cat >compose.yaml <<'END'
services:
  web:
    image: bulkhead/busybox
    pull_policy: never
    stop_signal: KILL
    command: [sh, -c, "echo hello from web; sleep 1000"]
  job:
    image: bulkhead/busybox
    pull_policy: never
    command: [echo, done with it]
END
docker compose up --detach >log 2>&1 || { cat log; exit 1; }
echo inside | docker compose exec -T web cat
docker compose logs web
docker compose up --no-log-prefix --exit-code-from job job 2>&1
docker compose down >log 2>&1 || { cat log; exit 1; }
docker ps --all --format '{{.Names}}'
"""


def test_an_admin_uses_compose(lab: Lab, name: str, clients: tuple[str, ...]) -> None:
    said = _on_client(lab, clients[-1], name, COMPOSE)
    assert "inside" in said
    assert "hello from web" in said
    assert "done with it" in said
    assert "shop-web" not in said.splitlines()[-1]
    assert "keep" in said


def test_an_admin_uses_the_library_of_python(lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to the CA that it is given
        monkeypatch.delenv(variable, raising=False)
    folder = lab.home / ".bulkhead/identities/admin"
    files = {"client_cert": (f"{folder}/cert.pem", f"{folder}/key.pem"), "ca_cert": f"{folder}/ca.pem"}
    tls = docker.tls.TLSConfig(**files, verify=True)
    client = docker.DockerClient(base_url=f"tcp://{lab.address(name)}:2376", tls=tls, timeout=60)
    with contextlib.closing(client):
        assert client.containers.run("bulkhead/busybox", ["echo", "hello"], remove=True) == b"hello\n"
        keep = client.containers.get("keep")
        code, output = keep.exec_run(["sh", "-c", "echo there; exit 3"])
        assert (code, output) == (3, b"there\n")
        data = os.urandom(3_000_000)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("file")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        assert keep.put_archive("/tmp", archive.getvalue())
        back = io.BytesIO(b"".join(keep.get_archive("/tmp/file")[0]))
        with tarfile.open(fileobj=back) as tar:
            member = tar.extractfile("file")
            assert member
            assert member.read() == data
        events = client.events(since=time.time() - 60, until=time.time(), decode=True)
        assert "exec_die" in {event["Action"] for event in events}


ALLOWED = {
    "alice": {"ps", "logs", "inspect", "info", "images"},
    "bob": {"ps", "logs", "inspect", "info", "images", "restart"},
    "carol": {"ps"},
    "dave": {"ps", "logs", "inspect"},
}
COMMANDS = {
    "ps": ("ps",),
    "logs": ("logs", "keep"),
    "info": ("info", "--format", "{{.ServerVersion}}"),
    "images": ("images",),
    "restart": ("restart", "-t", "0", "spare"),
    "inspect": ("inspect", "--type", "container", "keep"),
    "exec": ("exec", "keep", "true"),
    "run": ("run", "--rm", "bulkhead/busybox", "true"),
    "rm": ("rm", "-f", "keep"),
    "cp": ("cp", "keep:/etc/hosts", "-"),
    "top": ("top", "keep"),
    "volumes": ("volume", "ls"),
}


@pytest.mark.parametrize("identity", ALLOWED)
def test_a_scope_allows_what_it_names(lab: Lab, name: str, identity: str) -> None:
    _docker(lab, name, "admin", "rm", "-f", "spare")
    assert _docker(lab, name, "admin", "run", "-d", "--name", "spare", "bulkhead/busybox").returncode == 0
    works = set()
    for command, words in COMMANDS.items():
        done = _docker(lab, name, identity, *words)
        if done.returncode == 0 and "refuses this request" not in done.stderr + done.stdout:
            works.add(command)
        else:
            assert "the gateway of this engine refuses this request" in done.stderr, (command, done.stderr)
    assert works == ALLOWED[identity]


def test_no_scope_shows_the_environment_of_a_container(lab: Lab, name: str) -> None:
    for identity in ALLOWED:
        for path in ("/containers/keep%2fjson", "//containers/keep/json", "/v1.23/containers/keep/json"):
            assert _curl(lab, name, identity, path)[0] == "403", (identity, path)
        for path in ("/containers/keep/json", "/v1.41/containers/keep/json?size=1"):
            status, answer = _curl(lab, name, identity, path)
            assert status == ("200" if "inspect" in ALLOWED[identity] else "403"), (identity, path)
            assert "hidden" not in answer
            assert status == "403" or list(json.loads(answer)) == ["Id", "Config"]
    status, answer = _curl(lab, name, "admin", "/containers/keep/json")
    assert status == "200"
    assert "SECRET=hidden" in answer


def test_a_session_is_not_resumed(lab: Lab, name: str) -> None:
    folder = lab.home / ".bulkhead/identities/frank"
    files = ("-CAfile", f"{folder}/ca.pem", "-cert", f"{folder}/cert.pem", "-key", f"{folder}/key.pem")
    for version in ("-tls1_2", "-tls1_3"):
        done = lab.run("openssl", "s_client", "-connect", f"{lab.address(name)}:2376", "-reconnect", version, *files)
        assert "Reused" not in done.stdout
        assert "New, TLSv1" in done.stdout


def test_the_journal_says_who_did_what(lab: Lab, host: Host, name: str) -> None:
    assert _docker(lab, name, "alice", "volume", "ls").returncode != 0
    assert _docker(lab, name, "alice", "logs", "keep").returncode == 0
    _docker(lab, name, "admin", "ps")
    with host.sudo():
        said = host.check_output(f"journalctl --unit={UNIT} --output=cat --no-pager")
    assert 'identity="alice" scope=read-only' in said
    assert re.search('verdict=refused status=403 method="GET" path="/v1.[0-9]+/volumes"', said)
    assert re.search('verdict=reduced status=200 method="GET" path="/v1.[0-9]+/containers/keep/json"', said)
    assert 'connection identity="admin" scope=admin' in said


def test_a_gateway_that_is_killed_comes_back_and_the_engine_stays(lab: Lab, host: Host, name: str) -> None:
    main = "systemctl show --property=MainPID --value"
    with host.sudo():
        before = host.check_output(f"{main} docker.service")
    # All of it, and the process alone that serves.
    for kill in (f"systemctl kill --signal=KILL {UNIT}", f"kill -KILL $(pgrep -P $({main} {UNIT}))"):
        with host.sudo():
            host.check_output(kill)
        _wait(lambda: _docker(lab, name, "admin", "ps").returncode == 0, 20)
        with host.sudo():
            assert host.check_output(f"{main} docker.service") == before
            assert host.check_output("docker inspect --format '{{.State.Running}}' keep") == "true"


def test_dockerd_that_is_restarted_is_there_again_by_itself(lab: Lab, host: Host, name: str) -> None:
    admin, alice = (Client(lab, lab.home / ".bulkhead/identities" / who) for who in ("admin", "alice"))
    with host.sudo():
        gateway = host.check_output(f"systemctl show --property=MainPID --value {UNIT}")
        host.check_output("systemctl stop docker.socket docker.service")
        try:
            assert (admin.status(name), alice.status(name)) == (0, 503)
            assert alice.status(name, "/volumes") == 403
        finally:
            host.check_output("systemctl start docker.socket docker.service")
        assert (admin.status(name), alice.status(name)) == (200, 200)
        host.check_output("systemctl restart docker.service")
        assert host.check_output(f"systemctl show --property=MainPID --value {UNIT}") == gateway
    _wait(lambda: _docker(lab, name, "admin", "ps").returncode == 0, 20)
    _wait(lambda: _docker(lab, name, "alice", "ps").returncode == 0, 20)


LIMIT = 0.002  # seconds that a request over a warm connection may take longer


def test_a_request_takes_little_longer_than_at_dockerd_itself(lab: Lab, host: Host, name: str) -> None:
    """On the host, so that all ways are of one machine; dockerd's own is its local socket, without any TLS."""
    container = f"bulkhead-{lab.name}-{name}"
    program = pathlib.Path(warm.__file__)
    lab.docker("--context", "default", "cp", "--quiet", str(program), f"{container}:/root/warm.py")
    for identity in ("admin", "alice"):
        lab.docker("--context", "default", "exec", container, "rm", "-rf", f"/root/{identity}")
        folder = str(lab.home / ".bulkhead/identities" / identity)
        lab.docker("--context", "default", "cp", "--quiet", folder, f"{container}:/root/{identity}")
    with host.sudo():
        medians = json.loads(host.check_output("python3 /root/warm.py %s", lab.address(name)))
    print(f"{name}: {', '.join(f'{way} {seconds * 1000:.2f} ms' for way, seconds in medians.items())}")
    assert medians["admin"] - medians["socket"] <= LIMIT
    assert medians["alice"] - medians["socket"] <= LIMIT


def _wait(works: t.Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not works():
        assert time.monotonic() < end
        time.sleep(0.2)
