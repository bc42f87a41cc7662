"""Certificates and the probe, against real TLS servers on loopback."""

from __future__ import annotations

import datetime
import http.server
import pathlib
import ssl
import subprocess
import threading
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import handshake as probe
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509 as _x509
from cryptography import x509
from helpers.engines import accepting
from helpers.pki import CLIENT, SERVER, Authority

NOW = datetime.datetime.now(datetime.timezone.utc)


class _Ping(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *_: t.Any) -> None:
        return


@pytest.fixture
def authority() -> Authority:
    return Authority("ours")


@pytest.fixture
def serve(tmp_path: pathlib.Path, authority: Authority) -> t.Iterator[t.Callable[..., int]]:
    servers = []

    def start(tls: bool = True, ask: bool = True) -> int:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ping)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.pair(tmp_path, "server", SERVER))
            if ask:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(cadata=authority.pem)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_handshake_names_exactly_our_ca(authority: Authority, tmp_path: pathlib.Path) -> None:
    # Python's own server names no CA in its request, OpenSSL's and dockerd's do.
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.pem, encoding="ascii")
    certificate, key = authority.pair(tmp_path, "server", SERVER)
    command = f"openssl s_server -accept 127.0.0.1:0 -cert {certificate} -key {key} -Verify 1 -CAfile {ca}"
    output = tmp_path / "server.log"
    with (
        output.open("w", encoding="utf-8") as log,
        subprocess.Popen(command.split(), stdin=subprocess.PIPE, stdout=log, stderr=log) as server,
    ):
        try:
            found = probe.read_handshake("127.0.0.1", accepting(server, output), timeout=60)
        finally:
            server.kill()
    assert found.acceptable_cas == (_x509.load_bundle(authority.pem)[0].subject_der,)
    assert [probe.readable_name(name) for name in found.acceptable_cas] == ["CN=ours"]


def test_a_request_that_names_no_ca_is_an_empty_list(serve: t.Callable[..., int]) -> None:
    assert probe.read_handshake("127.0.0.1", serve()).acceptable_cas == ()


def test_a_server_that_asks_nobody_is_told_apart(serve: t.Callable[..., int]) -> None:
    assert probe.read_handshake("127.0.0.1", serve(ask=False)).acceptable_cas is None


def test_who_gets_in(serve: t.Callable[..., int], authority: Authority, tmp_path: pathlib.Path) -> None:
    port = serve()
    right = authority.pair(tmp_path, "client", CLIENT)
    server = authority.pair(tmp_path, "as-client", SERVER)
    foreign = Authority("ours").pair(tmp_path, "foreign", CLIENT)
    outcomes = [probe.try_client("127.0.0.1", port, who).outcome for who in (right, None, server, foreign)]
    assert outcomes == ["accepted", "refused", "refused", "refused"]


def test_plain_http_is_open_only_without_tls(serve: t.Callable[..., int]) -> None:
    assert probe.plain_http("127.0.0.1", serve(tls=False)).outcome == "open"
    assert probe.plain_http("127.0.0.1", serve()).outcome == "refused"


def test_nobody_there_is_unreachable_not_refused() -> None:
    assert probe.try_client("127.0.0.1", 1, None).outcome == "unreachable"
    assert probe.plain_http("127.0.0.1", 1).outcome == "closed"


def test_only_the_server_can_refuse(serve: t.Callable[..., int], authority: Authority, tmp_path: pathlib.Path) -> None:
    # Neither a server without TLS nor files that do not belong together say anything about who gets in.
    one, two = (authority.pair(tmp_path, name, CLIENT) for name in ("one", "two"))
    assert probe.try_client("127.0.0.1", serve(tls=False), None).outcome == "unreachable"
    assert probe.try_client("127.0.0.1", serve(), (one[0], two[1])).outcome == "unreachable"
    assert probe.try_client("127.0.0.1", serve(), (one[0], "/nonexistent")).outcome == "unreachable"


def test_what_clients_would_hold_against_a_certificate(authority: Authority, tmp_path: pathlib.Path) -> None:
    pem = pathlib.Path(authority.pair(tmp_path, "s", SERVER)[0]).read_text(encoding="ascii")
    assert _x509.problems(pem, authority.pem, "server", ["WEB1"]) == []
    assert _x509.problems(pem, authority.pem, "server", ["web2", "10.0.0.1"]) == ["it lacks the names web2, 10.0.0.1"]
    assert _x509.problems(pem, Authority("ours").pem, "client") == [
        "it is not issued by the CA of the trust bundle",
        "its extended key usage is not exactly clientAuth",
    ]
    late = NOW + datetime.timedelta(days=10)
    assert _x509.problems(pem, authority.pem, "server", at=late)[0].startswith("it expired on")


def test_an_impostor_differs_by_its_signature_alone(authority: Authority, tmp_path: pathlib.Path) -> None:
    text = pathlib.Path(authority.pair(tmp_path, "victim", CLIENT)[0]).read_text(encoding="ascii")
    victim, ca = _x509.load_bundle(text)[0].certificate, authority.certificate
    pem, key = _x509.impostor(victim, ca)
    forged, forged_ca = (entry.certificate for entry in _x509.load_bundle(pem.decode()))
    assert (forged.subject, forged.issuer, forged_ca.subject) == (victim.subject, victim.issuer, ca.subject)
    for kind in (x509.AuthorityKeyIdentifier, x509.ExtendedKeyUsage):
        assert forged.extensions.get_extension_for_class(kind) == victim.extensions.get_extension_for_class(kind)
    assert _x509.issued_by(forged, forged_ca)
    assert not _x509.issued_by(forged, ca)
    assert _x509.key_matches(pem.decode(), key)


def test_a_pair_that_does_not_belong_together(authority: Authority, tmp_path: pathlib.Path) -> None:
    one = authority.pair(tmp_path, "one", SERVER)
    two = authority.pair(tmp_path, "two", SERVER)
    pem = pathlib.Path(one[0]).read_text(encoding="ascii")
    assert _x509.key_matches(pem, pathlib.Path(one[1]).read_bytes())
    assert not _x509.key_matches(pem, pathlib.Path(two[1]).read_bytes())


def test_a_bundle_that_shares_no_certificate_is_told_by_what_can_be_read_of_it() -> None:
    ours, theirs = Authority("ours"), Authority("theirs")
    unreadable = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (stranger,) = _x509.strangers(f"{unreadable}{theirs.pem}", ours.pem, "")
    assert stranger.common_names == ["theirs"]
    assert _x509.strangers(f"{theirs.pem}{ours.pem}", ours.pem) == _x509.strangers(unreadable, ours.pem) == []
    assert _x509.strangers(theirs.pem, ours.pem, theirs.pem) == []


def test_a_root_that_two_issuing_cas_share_makes_no_friends_of_them() -> None:
    root = Authority("root", path_length=None)
    ours, theirs = Authority("ours", above=root), Authority("theirs", above=root)
    (stranger,) = _x509.strangers(f"{theirs.pem}{root.pem}", f"{ours.pem}{root.pem}")
    assert stranger.common_names == ["theirs"]
    assert _x509.strangers(f"{ours.pem}{root.pem}", f"{ours.pem}{root.pem}") == []
    # A rotation from the root itself to an issuing CA below it.
    assert _x509.strangers(root.pem, f"{root.pem}{ours.pem}") == []
    assert _x509.strangers(f"{root.pem}{ours.pem}", f"{ours.pem}{root.pem}") == []


def test_a_chain_leads_to_the_ca_by_what_stands_behind_the_certificate(tmp_path: pathlib.Path) -> None:
    root = Authority("root", path_length=None)
    issuing = Authority("issuing", above=root)
    leaf = pathlib.Path(issuing.pair(tmp_path, "leaf", SERVER)[0]).read_text(encoding="ascii")

    def says(pem: str, ca: str, through: bool = True) -> bool:
        found = _x509.problems(pem, ca, "server", through=through)
        return "it is not issued by the CA of the trust bundle" not in found

    assert says(leaf + issuing.pem, root.pem)
    assert says(leaf, issuing.pem)
    assert says(leaf + issuing.pem + root.pem, root.pem)
    assert not says(leaf, root.pem)
    assert not says(leaf + issuing.pem, root.pem, through=False)
    assert not says(leaf + issuing.pem, Authority("root").pem)
    assert not says(leaf + issuing.pem, Authority("other").pem)
    # A leaf that signs another one is no CA.
    files = issuing.pair(tmp_path, "sham", SERVER)
    sham = Authority("sham")
    sham.name = _x509.load_bundle(pathlib.Path(files[0]).read_text())[0].certificate.subject
    sham.key = _x509.serialization.load_pem_private_key(pathlib.Path(files[1]).read_bytes(), None)
    signed = pathlib.Path(sham.pair(tmp_path, "signed", SERVER)[0]).read_text(encoding="ascii")
    between = pathlib.Path(files[0]).read_text(encoding="ascii")
    assert not says(signed + between + issuing.pem, root.pem)
