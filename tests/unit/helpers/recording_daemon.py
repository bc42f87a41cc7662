"""A daemon that records every request that reaches it. It runs alone on a host of the lab, too.

recording_daemon.py SOCKET RECORD: writes requests and heads to RECORD, as JSON, when it is told to end.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import socket
import sys
import threading
import time
import typing as t


def container(tty: bool, more: str = "") -> bytes:
    """What an engine says about a container, which has a password in its environment."""
    config = {"Hostname": '"Tty": true', "Tty": tty, "Env": ["PASSWORD=hunter2"]}
    return json.dumps({"Id": "0123456789abcdef" * 4, "Args": ['"Tty": true', more], "Config": config}).encode()


class Daemon:
    """Answers every request with 200, on a unix socket, and records it as it came. It believes all that it is told."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.requests: list[tuple[str, str]] = []  # method, target
        self.heads: list[bytes] = []
        self.container = container(False)  # what it says about each
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()
        self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rwb") as file:
            while self._one(file):
                pass

    def _one(self, file: t.BinaryIO) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                return False
            head += line
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        self.heads.append(head)
        self.requests.append((words[0], words[1] if len(words) > 1 else ""))
        headers = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
        fields = {name.strip(): value.strip() for name, _, value in headers}
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            while (size := int(file.readline().split(b";")[0] or b"0", 16)) > 0:
                file.read(size + 2)
            while file.readline().strip():
                pass
        else:
            file.read(int(fields.get(b"content-length") or b"0"))
        path = words[1].partition("?")[0] if len(words) > 1 else ""
        if path.endswith("/stream"):
            file.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            file.flush()
            while True:
                file.write(b"line\n")
                file.flush()
                time.sleep(0.05)
        inspected = path.startswith("/") and path.endswith("/json") and "/containers/" in path
        answer = self.container if inspected else b"{}"
        body = b"" if words[0] == "HEAD" else answer
        length = b"Content-Length: %d\r\n" % len(answer)
        file.write(b"HTTP/1.1 200 OK\r\n" + length + b"Content-Type: application/json\r\n\r\n" + body)
        file.flush()
        return fields.get(b"connection") != b"close"


def main() -> None:
    path, record = map(pathlib.Path, sys.argv[1:])
    daemon = Daemon(path)
    path.chmod(0o666)
    signal.sigwait([signal.SIGTERM])
    heads = [head.decode("latin-1") for head in daemon.heads]
    record.write_text(json.dumps({"requests": daemon.requests, "heads": heads}), encoding="utf-8")


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    main()
