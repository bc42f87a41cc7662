"""Servers on loopback that stand in for a Docker engine's endpoint, as it should be and as it should not."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import endpoint_check
from helpers.pki import CLIENT, SERVER, Authority

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
        port = free_port()
        command = ["openssl", "s_server", "-HTTP", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key]
        command += {"require": ["-Verify", "1", "-verify_return_error"], "ask": ["-verify", "1"], "no": []}[verify]
        command += [*(("-CAfile", self.ca) if cas is None else cas), *options]
        server = self.stack.enter_context(
            subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        self.stack.callback(server.kill)
        until_open(port)
        return port

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
        threading.Thread(target=server.serve_forever, daemon=True).start()
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

    def endpoint(self, port: int, **changes: t.Any) -> endpoint_check.Endpoint:
        endpoint = endpoint_check.Endpoint(
            docker_host=f"tcp://127.0.0.1:{port}",
            ca=self.ca,
            identity=endpoint_check.Pair("identity", *self.client, "client_"),
            closed_ports=(free_port(),),
        )
        return dataclasses.replace(endpoint, **changes)

    def findings(self, port: int, **changes: t.Any) -> list[str]:
        """What is wrong, with the endpoint's address left out."""
        found = t.cast("list[str]", endpoint_check.examine(self.endpoint(port, **changes))["findings"])
        return [finding.replace(f"tcp://127.0.0.1:{port} ", "") for finding in found]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until_open(port: int) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
