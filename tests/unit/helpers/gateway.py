"""A gateway of the real HAProxy in front of a daemon that records every request that reaches it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import config, control, scopes
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import ssh_gate
from ansible_collections.bulkhead.docker.plugins.plugin_utils import gateways
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from helpers import pki
from helpers.recording_daemon import Daemon

# Another release than the host's own, by BULKHEAD_HAPROXY.
HAPROXY = os.environ.get("BULKHEAD_HAPROXY") or shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin") or ""
BUILT_IN = ("status", "read-only", "inspect", "operate", "traefik", "prometheus")


def scope(name: str, log_only: bool = False) -> scopes.Scope:
    return scopes.Scope(name, scopes.rules(gateways.built_in(name), name, gateways.built_in_or_none), log_only)


@dataclasses.dataclass
class Gateway:
    """HAProxy as the unit runs it, and clients for it."""

    folder: pathlib.Path
    daemon: Daemon
    authority: pki.Authority
    port: int
    config: config.Config
    process: subprocess.Popen[bytes] | None = None

    @property
    def places(self) -> config.Places:
        return self.config.places

    def write(self, revoked: t.Sequence[int] = (), crl_ends: datetime.timedelta = datetime.timedelta(days=9)) -> None:
        self.places.haproxy.write_text(self.config.render(), encoding="utf-8")
        self.places.revocation_lists.write_bytes(crl(self.authority, revoked, crl_ends))

    def start(self) -> None:
        check = subprocess.run([HAPROXY, "-c", "-f", self.places.haproxy], capture_output=True, text=True, check=False)
        assert check.returncode == 0, check.stdout + check.stderr
        log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            [HAPROXY, "-W", "-db", "-f", self.places.haproxy, "-S", f"{self.places.master},mode,600"],
            stdout=log,
            stderr=log,
        )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            # Before the master has told of its worker, it may not hear a signal yet.
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                if self.workers():
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text(encoding="utf-8"))

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
            self.process = None

    def reload(self) -> None:
        """As the unit does it; returns when the new worker serves."""
        assert self.process
        before = self.workers()
        self.process.send_signal(signal.SIGUSR2)
        assert control.wait_for_new_worker(self.places.master, before, 10), self.log

    def workers(self) -> set[int]:
        return set(control.workers(self.places.master).current)

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text(encoding="utf-8").splitlines()

    def client(self, files: tuple[str, str] | None, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """A TLS connection; raises where the gateway refuses it."""
        context = client_context(files)
        raw = socket.create_connection(("127.0.0.1", self.port), 5)
        return context.wrap_socket(raw, session=session)

    def begin(self, files: tuple[str, str]) -> Handshake:
        """A TLS handshake of which the client's last message is still to come."""
        return Handshake(socket.create_connection(("127.0.0.1", self.port), 5), client_context(files))

    def ask(self, files: tuple[str, str] | None, request: bytes = b"") -> bytes:
        """What comes back for a request; '' where the connection ends without a word."""
        try:
            with self.client(files) as connection:
                connection.sendall(request or b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
                return received(connection)
        except (OSError, ssl.SSLError):
            return b""

    def of_account(self, name: str) -> socket.socket:
        """A connection of an SSH account, as its gate makes it."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(str(config.socket_of_account(self.places, name)))
        connection.sendall(ssh_gate.announcement("192.0.2.9 40001 192.0.2.1 22"))
        return connection

    def scope_socket(self, name: str, identity: str = "somebody") -> socket.socket:
        """A connection to a scope as the outer backend makes it."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(str(self.config.socket_of(name)))
        connection.sendall(proxy_header(identity))
        return connection


class Handshake:
    """As TLS 1.3 has it: the client's certificate is in its last message, and so is what it does then."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.raw = raw
        self.received, self.to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.to_send)
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                raw.sendall(self.to_send.read())
                self.received.write(raw.recv(65536))

    def finish(self, request: bytes = b"") -> bytes:
        """What comes back for a request; '' where the connection ends without a word."""
        self.tls.write(request or b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(OSError), self.raw:
            self.raw.sendall(self.to_send.read())
            self.received.write(received(self.raw))
            return self.tls.read(65536)
        return b""


def client_context(files: tuple[str, str] | None, tls12: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if files:
        context.load_cert_chain(*files)
    return context


def received(connection: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(OSError):
        while True:
            chunk = connection.recv(65536)
            if not chunk:
                break
            data += chunk
    return data


def proxy_header(identity: str) -> bytes:
    """PROXY protocol 2 with an address and the unique id that carries the identity."""
    addresses = bytes([192, 0, 2, 7, 127, 0, 0, 1]) + (40000).to_bytes(2, "big") + (2376).to_bytes(2, "big")
    value = identity.encode()
    extra = b"\x05" + len(value).to_bytes(2, "big") + value
    body = addresses + extra
    return b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + len(body).to_bytes(2, "big") + body


def crl(authority: pki.Authority, serials: t.Sequence[int], ends: datetime.timedelta) -> bytes:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(now - datetime.timedelta(days=30)).next_update(now + ends)
    for serial in serials:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - datetime.timedelta(days=1))
        builder = builder.add_revoked_certificate(one.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def serial(files: tuple[str, str]) -> int:
    return x509.load_pem_x509_certificate(pathlib.Path(files[0]).read_bytes()).serial_number


def make(
    folder: pathlib.Path,
    identities: t.Mapping[str, str],
    own: t.Sequence[scopes.Scope] = (),
    max_connections: int = 100,
    max_request_rate: int = 0,
    accounts: t.Mapping[str, tuple[str, str]] | None = None,
) -> Gateway:
    """``identities`` are names with their scopes, ``accounts`` those of SSH with identity and scope."""
    places = config.Places(folder / "config", folder / "run")
    places.config.mkdir()
    places.run.mkdir()
    authority = pki.Authority("bulkhead.docker CA 0123abcd")
    files = authority.pair(folder, "server", pki.SERVER, names=("localhost",))
    places.server.write_text(
        "".join(pathlib.Path(file).read_text(encoding="ascii") for file in files), encoding="ascii"
    )
    places.ca.write_text(authority.pem, encoding="ascii")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon = Daemon(folder / "docker.sock")
    known = {one.name: one for one in own}
    found = tuple(config.Account(name, *of) for name, of in (accounts or {}).items())
    of_all = [*identities.values(), *(account.scope for account in found)]
    used = dict.fromkeys(name for name in of_all if name != scopes.ADMIN)
    for account in found:
        config.socket_of_account(places, account.name).parent.mkdir()
    made = config.Config(
        binds=config.binds(["127.0.0.1"], port, False),
        socket=str(daemon.path),
        identities=tuple(
            config.Identity(name, its, ("CN=bulkhead.docker CA 0123abcd",)) for name, its in identities.items()
        ),
        scopes=tuple(known.get(name) or scope(name) for name in used),
        checks_revocation=True,
        max_connections=max_connections,
        max_request_rate=max_request_rate,
        accounts=found,
        places=places,
    )
    gateway = Gateway(folder, daemon, authority, port, made)
    gateway.write()
    return gateway
