"""An authorization plugin that lets users with a client certificate in, and denies the local socket to everybody."""

import http.server
import json
import pathlib
import socketserver

ALLOW = pathlib.Path("/run/allow-local")
SOCKET = pathlib.Path("/run/docker/plugins/deny-local.sock")


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        reply = {"Implements": ["authz"]} if self.path == "/Plugin.Activate" else {"Allow": True}
        if self.path.endswith("AuthZReq") and not asked.get("User") and not ALLOW.exists():
            reply = {"Allow": False, "Msg": "only named users"}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


SOCKET.parent.mkdir(parents=True, exist_ok=True)
SOCKET.unlink(missing_ok=True)
socketserver.ThreadingUnixStreamServer(str(SOCKET), Handler).serve_forever()
