# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only program that an account of the role docker_ssh can run: a pipe to the Docker API, or a refusal.

It is installed on the engine as that account's login shell and as sshd's ForceCommand, so it stands alone: nothing but
Python's own library, no other process, no environment but the request that sshd hands over. It never looks at its own
arguments.

Which API it is, is nothing that anybody asks for: members of one group are admins and get the Docker socket, every
other account the socket that the gateway has for it alone. Both are what the kernel lets the account reach.
"""

from __future__ import annotations

import grp
import os
import pwd
import select
import socket
import sys
import syslog

TYPE_CHECKING = False  # importing typing would take a fifth of the start of every session
if TYPE_CHECKING:
    import typing as t

SOCKET = "/run/docker.sock"  # replaced by the engine's own when this file is installed
ADMINS = "docker-ssh-admin"
LIMITED = "/run/docker-gateway/ssh-{}/docker.sock"

_REFUSED = 126
_CHUNK = 65536


def accepted(path: str) -> frozenset[str]:
    """Every command that a Docker client sends, character by character; whatever socket it names, it gets this one.

    Clients name the path of an ssh:// URL: none, a bare slash, or the socket by either of its names.
    """
    names = ("/", path, f"/var{path}") if path.startswith("/run/") else ("/", path)
    return frozenset(
        ["docker system dial-stdio"]
        + [f"docker --host{between}unix://{name} system dial-stdio" for name in names for between in (" ", "=")]
    )


def printable(text: str, longest: int = 200) -> str:
    """What was asked, fit for a log: one line, no control characters, nothing that only looks like ASCII."""
    shown = "".join(c if " " <= c <= "~" and c != "\\" else ascii(c)[1:-1] for c in text[:longest])
    return shown + (" [...]" if len(text) > longest else "")


def refuse(asked: str | None, user: str, address: str) -> int:
    what = "an interactive shell" if asked is None else f"'{printable(asked)}'"
    syslog.openlog("docker-ssh", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, f"refused {what} for {printable(user)} from {printable(address)}")
    _complain(f"the account {user} can use the Docker API and nothing else; {what} was refused.")
    return _REFUSED


def _complain(sentence: str) -> None:
    try:
        os.write(2, f"docker-ssh: {sentence}\n".encode())
    except OSError:
        return  # whoever asked is gone


def is_admin() -> bool:
    try:
        return grp.getgrnam(ADMINS).gr_gid in os.getgroups()
    except KeyError:
        return False


def announcement(connection: str) -> bytes:
    """What the gateway is told first, in the PROXY protocol: the addresses of the connection, as sshd has them."""
    words = connection.split(" ")
    if len(words) == 4:
        client, client_port, server, server_port = words
        client, server = client.partition("%")[0], server.partition("%")[0]  # without a zone
        for name, family in (("TCP4", socket.AF_INET), ("TCP6", socket.AF_INET6)):
            try:
                socket.inet_pton(family, client)
                socket.inet_pton(family, server)
            except OSError:
                continue
            return f"PROXY {name} {client} {server} {client_port} {server_port}\r\n".encode()
    # The gateway takes nobody without an address, because HAProxy would lose with it who that is.
    return b"PROXY TCP6 :: :: 0 0\r\n"


def connect(path: str) -> socket.socket | None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.connect(path)
    except OSError as error:
        peer.close()
        _complain(f"the Docker API on this host does not answer at {path} ({error.strerror}).")
        return None
    return peer


class Flow:
    """One direction: what was read and is not yet written. The end of the source ends the sink after the last byte."""

    def __init__(self, source: int, sink: int, end: t.Callable[[], None]) -> None:
        self.source = source
        self.sink = sink
        self.pending = b""
        self.reading = True
        self.ended = False
        self._end = end

    def read(self) -> None:
        try:
            self.pending = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.pending = b""
        if not self.pending:
            self.reading = False
            self._finish()

    def write(self) -> None:
        try:
            self.pending = self.pending[os.write(self.sink, self.pending) :]
        except BlockingIOError:
            return
        except OSError:  # nobody reads this any more
            self.pending, self.reading = b"", False
        if not self.reading and not self.pending:
            self._finish()

    def _finish(self) -> None:
        if not self.ended:
            self.ended = True
            self._end()


def pipe(peer: socket.socket, stdin: int = 0, stdout: int = 1) -> None:
    """Carry bytes both ways until the API has said its last, or the client is gone.

    A client that closes its direction still gets the rest of the answer: `docker exec -i` depends on it.
    """
    for descriptor in (stdin, stdout, peer.fileno()):
        os.set_blocking(descriptor, False)
    up = Flow(stdin, peer.fileno(), lambda: _shut(peer))
    down = Flow(peer.fileno(), stdout, lambda: None)
    while not down.ended:
        poller = select.poll()
        wanted: dict[int, int] = {stdout: 0}  # with no event asked for, poll still tells that the client is gone
        for flow in (up, down):
            if flow.pending:
                wanted[flow.sink] = wanted.get(flow.sink, 0) | select.POLLOUT
            elif flow.reading:
                wanted[flow.source] = wanted.get(flow.source, 0) | select.POLLIN
        for descriptor, events in wanted.items():
            poller.register(descriptor, events)
        ready = dict(poller.poll())
        if ready.get(stdout, 0) & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            return
        for flow in (up, down):
            if flow.pending:
                if ready.get(flow.sink):
                    flow.write()
            elif flow.reading and ready.get(flow.source):
                flow.read()


def _shut(peer: socket.socket) -> None:
    try:
        peer.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the API ended first


def main() -> int:
    asked = os.environ.get("SSH_ORIGINAL_COMMAND")
    connection = os.environ.get("SSH_CONNECTION", "")
    address = connection.partition(" ")[0] or "this host"
    os.environ.clear()
    user = pwd.getpwuid(os.getuid()).pw_name
    if asked not in accepted(SOCKET):
        return refuse(asked, user, address)
    admin = is_admin()
    peer = connect(SOCKET if admin else LIMITED.format(user))
    if peer is None:
        return 1
    with peer:
        if not admin:
            peer.sendall(announcement(connection))
        pipe(peer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
