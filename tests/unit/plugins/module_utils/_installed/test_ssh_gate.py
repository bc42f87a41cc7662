"""The gate: which requests it accepts, what it writes into a log, and that it carries every byte."""

from __future__ import annotations

import grp
import os
import pathlib
import pwd
import socket
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import ssh_gate

SOURCE = pathlib.Path(ssh_gate.__file__)


def test_every_form_that_clients_send_is_accepted_for_the_one_socket_and_no_other() -> None:
    assert ssh_gate.accepted("/run/docker.sock") == {
        "docker system dial-stdio",
        "docker --host unix:/// system dial-stdio",
        "docker --host=unix:/// system dial-stdio",
        "docker --host unix:///run/docker.sock system dial-stdio",
        "docker --host=unix:///run/docker.sock system dial-stdio",
        "docker --host unix:///var/run/docker.sock system dial-stdio",
        "docker --host=unix:///var/run/docker.sock system dial-stdio",
    }
    assert "docker --host unix:///var/srv/d.sock system dial-stdio" not in ssh_gate.accepted("/srv/d.sock")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("id", "id"),
        ("a\nb\r\x00\x1b[2J", r"a\nb\r\x00\x1b[2J"),
        ("back\\slash", r"back\\slash"),
        ("caf\xe9 \u202e \U0001f600", r"caf\xe9 \u202e \U0001f600"),
        ("\udcff", r"\udcff"),
        ("x" * 201, "x" * 200 + " [...]"),
    ],
)
def test_what_is_logged_is_one_line_of_ascii(text: str, shown: str) -> None:
    assert ssh_gate.printable(text) == shown


class Ends:
    """A pipe between two pairs of sockets: the client's side and the API's side."""

    def __init__(self) -> None:
        self.client, stdio = socket.socketpair()
        self.api, peer = socket.socketpair()
        self.thread = threading.Thread(target=self._run, args=(stdio, peer), daemon=True)
        self.thread.start()

    @staticmethod
    def _run(stdio: socket.socket, peer: socket.socket) -> None:
        with stdio, peer:  # sshd, too, gives one socket for both directions
            ssh_gate.pipe(peer, stdio.fileno(), stdio.fileno())

    def ended(self) -> bool:
        self.thread.join(5)
        return not self.thread.is_alive()


def everything(end: socket.socket) -> bytes:
    received = b""
    while chunk := end.recv(65536):
        received += chunk
    return received


def test_megabytes_pass_both_ways_at_once_and_a_half_closed_side_still_gets_its_answer() -> None:
    ends = Ends()
    up, down = os.urandom(5_000_000), os.urandom(5_000_000)
    writers = [
        threading.Thread(target=end.sendall, args=(data,)) for end, data in ((ends.client, up), (ends.api, down))
    ]
    for writer in writers:
        writer.start()
    received = bytearray()
    while len(received) < len(up):
        received += ends.api.recv(65536)
    answer = bytearray()
    while len(answer) < len(down):
        answer += ends.client.recv(65536)
    ends.client.shutdown(socket.SHUT_WR)
    assert ends.api.recv(1) == b"", "the end of the input has to reach the API"
    time.sleep(0.1)
    ends.api.sendall(b"late")
    ends.api.close()
    assert everything(ends.client) == b"late"
    assert (bytes(received), bytes(answer)) == (up, down)
    assert ends.ended()


def test_it_ends_when_the_api_has_said_its_last() -> None:
    ends = Ends()
    ends.api.sendall(b"bye")
    ends.api.close()
    assert everything(ends.client) == b"bye"
    assert ends.ended()


def test_it_ends_when_the_client_is_gone_although_the_api_says_nothing() -> None:
    ends = Ends()
    ends.client.close()
    assert ends.ended()
    assert ends.api.recv(1) == b""


def gate(
    asked: str | None, path: str, tmp_path: pathlib.Path, stdin: bytes = b"", admin: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """The gate as it is installed, for an admin or for an account that the gateway limits."""
    program = tmp_path / "gate"
    text = SOURCE.read_text(encoding="utf-8").replace('"/run/docker.sock"', f'"{path}"', 1)
    if admin:
        text = text.replace('"docker-ssh-admin"', f'"{grp.getgrgid(os.getgid()).gr_name}"', 1)
        text = text.replace("in os.getgroups()", "in [os.getgid(), *os.getgroups()]", 1)
    else:
        text = text.replace('"/run/docker-gateway/ssh-{}/docker.sock"', f'"{tmp_path}/ssh-{{}}"', 1)
    program.write_text(text, encoding="utf-8")
    environment = {"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22", "DOCKER_HOST": "tcp://elsewhere"}
    return subprocess.run(
        [sys.executable, "-IS", str(program), "-c", "id"],
        env=environment | ({} if asked is None else {"SSH_ORIGINAL_COMMAND": asked}),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=10,
    )


@pytest.mark.parametrize("admin", [True, False])
def test_installed_it_speaks_to_its_socket_only(tmp_path: pathlib.Path, admin: bool) -> None:
    """Whoever is no admin has one of the gateway's, which is told first where the login came from."""
    own = tmp_path / ("api.sock" if admin else f"ssh-{pwd.getpwuid(os.getuid()).pw_name}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(own))
        server.listen()
        server.settimeout(5)

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"you said " + everything(connection))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        done = gate("docker system dial-stdio", str(tmp_path / "api.sock"), tmp_path, b"hello", admin)
    first = b"" if admin else b"PROXY TCP4 192.0.2.1 192.0.2.2 1 22\r\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, b"you said " + first + b"hello", b"")


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        ("192.0.2.1 40000 192.0.2.2 22", b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 22\r\n"),
        ("2001:db8::1 40000 2001:db8::2 2222", b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 2222\r\n"),
        ("fe80::1%eth0 40000 fe80::2%eth0 22", b"PROXY TCP6 fe80::1 fe80::2 40000 22\r\n"),
        ("UNKNOWN 65535 UNKNOWN 65535", b"PROXY TCP6 :: :: 0 0\r\n"),
        ("", b"PROXY TCP6 :: :: 0 0\r\n"),
    ],
)
def test_the_gateway_is_told_where_a_login_comes_from(connection: str, told: bytes) -> None:
    assert ssh_gate.announcement(connection) == told


@pytest.mark.parametrize("asked", [None, "", "id", "docker system dial-stdio ", "docker system dial-stdio\nid"])
def test_installed_it_refuses_everything_else(tmp_path: pathlib.Path, asked: str | None) -> None:
    done = gate(asked, "/nonexistent", tmp_path)
    assert (done.returncode, done.stdout) == (126, b"")
    assert b"can use the Docker API and nothing else" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_installed_it_says_when_docker_does_not_answer(tmp_path: pathlib.Path) -> None:
    done = gate("docker system dial-stdio", "/nonexistent", tmp_path)
    assert done.returncode == 1
    assert b"does not answer at /nonexistent (No such file or directory)" in done.stderr
