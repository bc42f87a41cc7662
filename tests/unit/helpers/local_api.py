"""A unix socket that answers as the engine's own does."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import socketserver
import threading
import typing as t


class LocalEngine:
    """``answers`` maps a resource to what is sent for it: text, what JSON can hold, or a number as its status."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = str(path)
        self.answers: dict[str, t.Any] = {"/_ping": "OK"}
        self.statuses: dict[str, int] = {}  # where it is another one than 200

    @contextlib.contextmanager
    def running(self) -> t.Iterator[LocalEngine]:
        engine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = engine.answers.get(self.path, 404)
                status = answer if isinstance(answer, int) else engine.statuses.get(self.path, 200)
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: t.Any) -> None:
                return

            def address_string(self) -> str:
                return "local"

        with socketserver.ThreadingUnixStreamServer(self.path, Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                pathlib.Path(self.path).unlink()
