"""Everything that a Docker client does works through the account."""

from __future__ import annotations

import http.client
import io
import os
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from people import Person
from testinfra.host import Host

pytestmark = pytest.mark.only_on("d11")

Docker = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def cli(lab: Any, alice: Person, name: str) -> Docker:
    environment = alice.environment(name)

    def run(*arguments: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["docker", *arguments],
            env=lab.environment(**(environment | more)),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=300,
        )

    return run


def test_ps_shows_the_containers(cli: Docker) -> None:
    done = cli("ps", "--format", "{{.Names}}")
    assert done.stdout.split() == [b"keep"], done.stderr


@pytest.mark.parametrize("path", ["/", "/var/run/docker.sock", "/run/docker.sock"])
def test_a_url_may_name_the_one_socket(lab: Any, cli: Docker, name: str, path: str) -> None:
    assert cli("ps", "--quiet", DOCKER_HOST=f"ssh://{lab.address(name)}{path}").returncode == 0


@pytest.mark.parametrize("between", [" ", "="])
def test_both_ways_to_name_a_socket_work(alice: Person, name: str, between: str) -> None:
    """CLIs before 28.3 put a space there, later ones an equals sign."""
    command = f"docker --host{between}unix:///var/run/docker.sock system dial-stdio"
    assert b"200 OK" in alice.asks(name, command, stdin=b"GET /_ping HTTP/1.0\r\n\r\n").stdout


def test_run_gives_input_output_and_exit_code(cli: Docker) -> None:
    done = cli("run", "--rm", "--interactive", "bulkhead/busybox", "sh", "-c", "wc -c; exit 7", stdin=b"x" * 100_000)
    assert (done.stdout.strip(), done.returncode) == (b"100000", 7), done.stderr


def test_exec_carries_megabytes_both_ways_and_half_closes(cli: Docker) -> None:
    data = os.urandom(4_000_000)
    assert cli("exec", "--interactive", "keep", "cat", stdin=data).stdout == data
    # What comes only after the input has ended, and long after:
    late = cli("exec", "--interactive", "keep", "sh", "-c", "wc -c; sleep 2; echo end", stdin=data)
    assert late.stdout.split() == [b"4000000", b"end"]


def test_logs_are_followed(lab: Any, alice: Person, name: str, cli: Docker) -> None:
    """Each line comes when it is written: the second one is written after the first one was read."""
    script = "echo one; until [ -e /tmp/go ]; do sleep 0.1; done; echo two"
    container = cli("run", "-d", "--rm", "bulkhead/busybox", "sh", "-c", script).stdout.decode().strip()
    environment = lab.environment(**alice.environment(name))
    follow = ["docker", "logs", "--follow", container]
    with subprocess.Popen(follow, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"one\n"
        assert cli("exec", container, "touch", "/tmp/go").returncode == 0
        assert process.stdout.readline() == b"two\n"
        assert process.wait(timeout=60) == 0


def test_a_client_that_is_gone_leaves_nothing_running(lab: Any, host: Host, alice: Person, name: str) -> None:
    with host.sudo():
        uid = host.check_output("id --user docker-alice")
        follow = ["docker", "logs", "--follow", "keep"]
        process = subprocess.Popen(follow, env=lab.environment(**alice.environment(name)))
        eventually(lambda: host.run(f"pgrep -u {uid} -f docker-ssh-gate").rc == 0)
        process.kill()
        process.wait()
        eventually(lambda: host.run(f"pgrep -u {uid} -f docker-ssh-gate").rc == 1)


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_files_are_copied_in_and_out(cli: Docker, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(1_000_000))
    assert cli("cp", str(tmp_path / "file"), "keep:/tmp/file").returncode == 0
    assert cli("cp", "keep:/tmp/file", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


def test_an_image_is_built(cli: Docker, tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM bulkhead/busybox\nRUN echo built >/word\nCMD cat /word\n")
    done = cli("build", "--quiet", "--tag", "built", str(tmp_path), DOCKER_BUILDKIT="0")
    assert done.returncode == 0, done.stderr
    assert cli("run", "--rm", "--stop-signal", "KILL", "built").stdout == b"built\n"


def test_one_connection_carries_many_requests(alice: Person, name: str, tmp_path: pathlib.Path) -> None:
    """As ssh's ControlMaster does: 15 sessions at once, where sshd's own limit is 10."""
    shared = (f"-oControlPath={tmp_path}/master", "-oControlMaster=auto", "-oControlPersist=20")
    assert alice.asks(name, "docker", "system", "dial-stdio", options=shared).returncode == 0
    command = alice.ssh(name, "docker", "system", "dial-stdio", options=shared)
    sessions = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(15)]
    for session in sessions:
        assert session.stdin
        session.stdin.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
        session.stdin.flush()
    assert [session.stdout.readline() for session in sessions if session.stdout] == [b"HTTP/1.1 200 OK\r\n"] * 15
    for session in sessions:
        session.communicate()
    alice.asks(name, options=(*shared, "-Oexit"))


DOCKER_PY = """
import docker
client = docker.DockerClient(base_url="ssh://docker-alice@{address}", timeout=120, use_ssh_client={program})
print(client.containers.get("keep").exec_run(["echo", "hello"]).output.decode().strip())
"""
COMPOSE = """
services:
  one: {image: bulkhead/busybox}
  two: {image: bulkhead/busybox}
"""


def on_client(lab: Any, client: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as root on a lab host that has other clients than the control node."""
    key = lab.folder / "id_ed25519"
    known = f"-oUserKnownHostsFile={lab.folder / 'known_hosts'}"
    command = ["ssh", "-F", "none", "-i", str(key), known, f"ops@{lab.address(client)}", "sudo", "bash", "-e"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("program", [False, True], ids=["paramiko", "ssh"])
def test_docker_py_works(lab: Any, name: str, program: bool) -> None:
    script = DOCKER_PY.format(address=lab.address(name), program=program)
    done = on_client(lab, "d12", f"python3 -W ignore - <<'END'{script}END")
    assert done.stdout == "hello\n", done.stderr


@pytest.mark.parametrize(
    ("client", "command"),
    [pytest.param("d12", "docker-compose", marks=pytest.mark.only_on("dt")), ("d13", "docker compose")],
)
def test_compose_brings_a_project_up_and_down(lab: Any, name: str, client: str, command: str) -> None:
    """Version 1 on Debian 12, which works for half a minute, and version 2 on Debian 13."""
    version = "version: '3'\n" if client == "d12" else ""
    done = on_client(
        lab,
        client,
        f"""
        export DOCKER_HOST=ssh://docker-alice@{lab.address(name)}
        mkdir -p /tmp/{name}; cd /tmp/{name}
        cat >docker-compose.yml <<'END'\n{version}{COMPOSE}END
        {command} up --detach
        {command} ps --quiet | wc --lines
        {command} down --timeout 1
        """,
    )
    assert done.stdout.split()[-1:] == ["2"], done.stderr
    assert done.returncode == 0, done.stderr


def test_buildkit_builds(lab: Any, name: str) -> None:
    done = on_client(
        lab,
        "d13",
        f"""
        export DOCKER_HOST=ssh://docker-alice@{lab.address(name)}
        mkdir -p /tmp/build-{name}; cd /tmp/build-{name}
        printf 'FROM bulkhead/busybox\\nRUN echo from BuildKit >/word\\nCMD cat /word\\n' >Dockerfile
        docker buildx build --quiet --load --tag built-{name} . >&2
        docker run --rm --stop-signal KILL built-{name}
        """,
    )
    assert done.stdout == "from BuildKit\n", done.stderr


PROCESSES = "{ docker inspect --format '{{.State.Pid}}' keep; systemctl show docker --property MainPID; }"


def test_dockerd_and_containers_did_not_notice(host: Host) -> None:
    with host.sudo():
        assert host.check_output(PROCESSES) == host.check_output("cat /root/before-docker")


def test_access_survives_a_new_socket(host: Host, alice: Person, name: str) -> None:
    """systemd makes the socket anew; containers end here, because live-restore is off in this scenario."""
    with host.sudo():
        host.check_output("systemctl stop docker.socket docker.service && systemctl start docker.socket docker.service")
        host.check_output(f"{PROCESSES} >/root/before-docker")
        assert "docker" not in host.check_output("id --name --groups docker-alice").split()
    assert alice.gets_in(name)


def test_no_answer_from_docker_is_said_in_a_sentence(host: Host, alice: Person, name: str) -> None:
    with host.sudo():
        host.check_output("systemctl stop docker.socket docker.service")
        try:
            done = alice.asks(name, "docker", "system", "dial-stdio")
        finally:
            host.check_output("systemctl reset-failed docker; systemctl start docker.socket docker.service")
            host.check_output(f"{PROCESSES} >/root/before-docker")
    assert done.returncode == 1
    assert b"the Docker API on this host does not answer at /run/docker.sock" in done.stderr


def test_http_library_can_speak_through_it(alice: Person, name: str) -> None:
    """A client that closes its side after the request still gets the whole answer."""
    done = alice.asks(name, "docker", "system", "dial-stdio", stdin=b"GET /containers/json?all=1 HTTP/1.0\r\n\r\n")

    class Answer:
        def makefile(self, *_: Any) -> io.BytesIO:
            return io.BytesIO(done.stdout)

    response = http.client.HTTPResponse(Answer())  # type: ignore[arg-type]
    response.begin()
    assert b"keep" in response.read()
