"""Servers on loopback that stand in for a Docker engine's endpoint, as it should be and as it should not."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import pathlib
import re
import secrets
import socket
import socketserver
import subprocess
import threading
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import endpoint_check
from helpers.pki import CLIENT, SERVER, Authority

PATIENCE = 60  # seconds that nothing needs unless the machine is busy
VERSION = {"Version": "28.5.2", "ApiVersion": "1.51"}


class Lab:
    """One CA with the usual certificates, and servers that answer as a Docker engine does."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.ours, self.other = Authority("ours"), Authority("other")
        self.ca, self.other_ca = self.ours.file(folder), self.other.file(folder)
        self.both_cas = self.ours.file(folder, self.other)
        self.client = self.ours.pair(folder, "client", CLIENT)
        self.revoked = self.ours.pair(folder, "revoked", CLIENT)
        self.server = self.ours.pair(folder, "server", SERVER, names=("127.0.0.1", "web1"))
        self.answer("_ping", "OK")
        self.answer("version", json.dumps(VERSION))
        self.stack = contextlib.ExitStack()

    def answer(self, resource: str, body: str) -> None:
        head = "HTTP/1.0 200 OK\r\nApi-Version: 1.51\r\nServer: Docker/28.5.2 (linux)\r\n\r\n"
        (self.folder / resource).write_text(head + body, encoding="ascii")

    def engine(
        self,
        *options: str,
        pair: tuple[str, str] | None = None,
        cas: tuple[str, ...] | None = None,
        verify: str = "require",
    ) -> int:
        """A server that verifies as dockerd does, unless the options say otherwise; returns its port."""
        certificate, key = pair or self.server
        command = ["openssl", "s_server", "-HTTP", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key]
        command += {"require": ["-Verify", "1", "-verify_return_error"], "ask": ["-verify", "1"], "no": []}[verify]
        command += [*(("-CAfile", self.ca) if cas is None else cas), *options]
        output = self.folder / f"engine-{secrets.token_hex(8)}.log"
        with output.open("wb") as log:
            server = self.stack.enter_context(
                subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
            )
        self.stack.callback(server.kill)
        return accepting(server, output)

    def plain(self, *headers: tuple[str, str], status: int = 200) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for header in headers:
                    self.send_header(*header)
                self.end_headers()

            def log_message(self, *_: t.Any) -> None:
                return

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return server.server_port

    def silent(self, accepts: bool = True) -> int:
        """A port behind which nobody says anything; or, with its queue full, one as behind a firewall."""
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100 if accepts else 0))
        port: int = listener.getsockname()[1]
        if not accepts:
            self.stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        return port

    def says(self, words: bytes) -> int:
        """A port behind which everybody is told the same, whatever they say."""

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65536)
                self.request.sendall(words)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return server.server_address[1]

    def closed(self) -> int:
        """A port that refuses connections and that nobody else can get."""
        taken = self.stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])

    def endpoint(self, port: int, name: str = "web1", **changes: t.Any) -> endpoint_check.Endpoint:
        endpoint = endpoint_check.Endpoint(name, f"tcp://127.0.0.1:{port}", plain_ports=(self.closed(),))
        return dataclasses.replace(endpoint, **changes)

    def credentials(
        self,
        ca: str = "",
        identity: tuple[str, str] | None = None,
        refused_pairs: t.Sequence[endpoint_check.CertificateFiles] = (),
        client_cas: str = "",
    ) -> endpoint_check.Credentials:
        files = endpoint_check.CertificateFiles("identity", *(identity or self.client), "client_")
        return endpoint_check.read_credentials(ca or self.ca, files, refused_pairs, client_cas)

    def check(self, port: int, timeout: float = PATIENCE, **changes: t.Any) -> dict[str, t.Any]:
        """The result for one endpoint; what is changed is the endpoint's or the credentials'."""
        mine = {
            name: changes.pop(name) for name in ("ca", "identity", "refused_pairs", "client_cas") if name in changes
        }
        return endpoint_check.check_endpoint(self.endpoint(port, **changes), self.credentials(**mine), timeout)

    def findings(self, port: int, **changes: t.Any) -> list[str]:
        """What is wrong, with the endpoint's address left out."""
        found: list[str] = self.check(port, **changes)["findings"]
        return [finding.replace(f"tcp://127.0.0.1:{port} ", "") for finding in found]


def accepting(server: subprocess.Popen[bytes], output: pathlib.Path) -> int:
    """The port that the system gave to it, as soon as it says so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        if said := re.search(r"^ACCEPT 127\.0\.0\.1:(\d+)$", output.read_text(errors="replace"), re.MULTILINE):
            return int(said[1])
        time.sleep(0.02)
    raise AssertionError(f"openssl s_server did not start: {output.read_text(errors='replace')}")
