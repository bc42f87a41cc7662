"""A repository over https that asks for a login, from git's own server program behind TLS."""

from __future__ import annotations

import base64
import http.server
import os
import pathlib
import ssl
import subprocess
import threading
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import FetchError
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.repository import Repository

if t.TYPE_CHECKING:
    from .conftest import Lab

LOGIN = "deploy:token"


class Handler(http.server.BaseHTTPRequestHandler):
    """Basic authentication, and then git http-backend as CGI."""

    protocol_version = "HTTP/1.1"
    root: str
    asked: t.ClassVar[list[str]] = []

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(LOGIN.encode()).decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="lab"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        self.asked.append(path)
        if path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("/elsewhere", "", 1))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environment = {
            **{"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.root, "GIT_HTTP_EXPORT_ALL": "1"},
            **{"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "deploy"},
            **{"CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body))},
            **{"HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""), "GIT_CONFIG_GLOBAL": "/dev/null"},
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, check=True)
        headers, _, content = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in headers.decode().split("\r\n"):
            self.send_header(*line.split(": ", 1))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815  # the name that the server looks for

    def log_message(self, *arguments: t.Any) -> None:
        return


@pytest.fixture
def server(lab: Lab, tmp_path: pathlib.Path) -> t.Iterator[str]:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "ca.pem")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = type("Served", (Handler,), {"root": str(tmp_path), "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"https://localhost:{serving.server_address[1]}"
        serving.shutdown()


def repository(lab: Lab, credentials: pathlib.Path, url: str, **changes: t.Any) -> Repository:
    given = {"url": url, "https_login": True, "ca_file": str(lab.places.state.parent / "ca.pem"), **changes}
    return Repository(lab.settings(**given), lab.places, str(credentials))


def test_a_login_from_a_file_reads_the_repository_and_nothing_else_does(
    lab: Lab, server: str, tmp_path: pathlib.Path
) -> None:
    head = lab.clone.commit("One", date="2027-01-01T12:00:00Z")
    lab.push()
    login = tmp_path / "https-login"
    login.write_text(server.replace("https://", f"https://{LOGIN}@") + "\n", encoding="utf-8")
    url = f"{server}/server.git"

    fetched = repository(lab, tmp_path, url)
    fetched.fetch()
    assert fetched.text("rev-parse", "refs/candidates/branch") == head

    with pytest.raises(FetchError, match="could not read Username"):
        repository(lab, tmp_path, url, https_login=False).fetch()
    with pytest.raises(FetchError, match="certificate"):
        repository(lab, tmp_path, url, ca_file="").fetch()
    with pytest.raises(FetchError, match=r"redirect|302"):
        repository(lab, tmp_path, f"{server}/elsewhere/server.git").fetch()
    login.write_text(server.replace("https://", "https://deploy:wrong@") + "\n", encoding="utf-8")
    with pytest.raises(FetchError) as error:
        repository(lab, tmp_path, url).fetch()
    assert "wrong" not in str(error.value)
