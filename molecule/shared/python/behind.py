"""Clients of engines behind a gateway, over TLS, with the certificate that they have when they are made."""

from __future__ import annotations

import pathlib
import re
import socket
import ssl
import threading
import time
import typing as t

from background import Background

PING = b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"


class Client:
    """An identity, by the folder with its files."""

    def __init__(self, lab: t.Any, folder: pathlib.Path, tls12: bool = False) -> None:
        self.lab = lab
        self.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self.context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        if tls12:
            self.context.maximum_version = ssl.TLSVersion.TLSv1_2

    def connect(self, engine: str, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        address = self.lab.address(engine)
        raw = socket.create_connection((address, 2376), 10)
        return self.context.wrap_socket(raw, server_hostname=address, session=session)

    def ask(self, engine: str, request: bytes = PING, session: ssl.SSLSession | None = None) -> bytes:
        """What comes back; nothing where the connection is refused, or ends without a word."""
        answer = b""
        try:
            with self.connect(engine, session) as connection:
                connection.sendall(request)
                while data := connection.recv(65536):
                    answer += data
        except TimeoutError:
            raise
        except OSError:
            pass
        return answer

    def status(self, engine: str, path: str = "/_ping") -> int:
        """0 where there is no answer."""
        found = re.match(rb"HTTP/1\.[01] (\d+) ", self.ask(engine, PING.replace(b"/_ping", path.encode())))
        return int(found[1]) if found else 0


class Loop(Background):
    """Ten requests in a second to each engine, each over a connection of its own, until the block ends."""

    def __init__(self, clients: t.Mapping[str, Client], engines: t.Sequence[str], path: str = "/_ping") -> None:
        self.answers: dict[tuple[str, str], list[tuple[float, int]]] = {}  # when each was asked, and its status
        self._path = path
        super().__init__((self._ask, (name, client, engine)) for name, client in clients.items() for engine in engines)

    def _ask(self, name: str, client: Client, engine: str) -> None:
        answers = self.answers.setdefault((name, engine), [])
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due += 0.1
            asked = time.time()
            try:
                answers.append((asked, client.status(engine, self._path)))
            except TimeoutError:
                answers.append((asked, 0))

    @property
    def failures(self) -> dict[tuple[str, str], list[tuple[float, int]]]:
        wrong = {who: [answer for answer in found if answer[1] != 200] for who, found in self.answers.items()}
        return {who: found for who, found in wrong.items() if found}

    @property
    def fewest(self) -> int:
        """Requests of the client that has made fewest."""
        return min(len(found) for found in self.answers.values())


class Stream:
    """The log of a container that says something all the time, and when it has ended."""

    def __init__(self, client: Client, engine: str, container: str) -> None:
        self.ended = 0.0
        self.lines = 0
        self._connection = client.connect(engine)
        self._connection.settimeout(60)
        path = f"/containers/{container}/logs?follow=1&stdout=1&tail=1"
        self._connection.sendall(PING.replace(b"/_ping", path.encode()))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.goes_on()

    def _read(self) -> None:
        try:
            while data := self._connection.recv(4096):
                self.lines += data.count(b"UTC")
        except OSError:
            pass
        self.ended = time.time()

    def goes_on(self) -> None:
        """A line comes within ten seconds."""
        before, end = self.lines, time.monotonic() + 10
        while self.lines == before:
            assert not self.ended, "the stream has ended"
            assert time.monotonic() < end
            time.sleep(0.02)

    def end(self, timeout: float) -> None:
        """Wait for its end."""
        self._thread.join(timeout)
        assert self.ended, "the stream goes on"

    def close(self) -> None:
        self._connection.close()
