"""Each finding about an endpoint, provoked once on a real TLS server on loopback."""

from __future__ import annotations

import dataclasses
import pathlib
import ssl
import stat
import subprocess
import tempfile
import threading
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import endpoint_check, handshake
from helpers.engines import PATIENCE, Lab
from helpers.pki import CLIENT, SERVER, Authority


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[Lab]:
    lab = Lab(tmp_path)
    with lab.stack:
        yield lab


def test_an_endpoint_that_is_right(lab: Lab) -> None:
    serving_pair = endpoint_check.CertificateFiles("server", *lab.server, "refused_pairs, ")
    result = lab.check(lab.engine(), hostname="web1", refused_pairs=[serving_pair])
    assert result["findings"] == []
    assert result["ok"]
    assert result["server_verified"]
    assert (result["engine_version"], result["api_version"]) == ("28.5.2", "1.51")
    assert result["acceptable_cas"] == ["CN=ours"]
    outcomes = {attempt["name"]: attempt["outcome"] for attempt in result["attempts"]}
    assert outcomes.pop("identity") == "accepted"
    assert outcomes == dict.fromkeys(("no_certificate", "foreign_ca", "server", "plain_http", "old_tls"), "refused")
    certificate = result["certificate"]
    assert (certificate["subject"], certificate["issuer"]) == ("CN=server", "CN=ours")
    assert (certificate["names"], certificate["usages"]) == (["127.0.0.1", "web1"], ["serverAuth"])
    assert certificate["days_left"] == 9


def test_each_ca_of_a_bundle_is_impersonated(lab: Lab) -> None:
    result = lab.check(lab.engine(cas=("-CAfile", lab.both_cas)), ca=lab.both_cas)
    assert result["ok"], result["findings"]
    assert [attempt["name"] for attempt in result["attempts"]].count("foreign_ca") == 2


def test_a_server_that_asks_for_a_certificate_and_takes_any(lab: Lab) -> None:
    assert lab.findings(lab.engine(verify="ask")) == [
        "accepts a client without a certificate (HTTP/1.0 200 OK)",
        "accepts a client of a foreign CA that only has the name of ours (HTTP/1.0 200 OK)",
    ]


def test_a_server_that_does_not_ask_for_a_certificate(lab: Lab) -> None:
    assert lab.findings(lab.engine(verify="no", cas=())) == [
        "accepts a client without a certificate (HTTP/1.0 200 OK)",
        "accepts a client of a foreign CA that only has the name of ours (HTTP/1.0 200 OK)",
        "does not ask for a client certificate",
    ]


def test_a_server_that_accepts_the_cas_of_the_system(lab: Lab) -> None:
    port = lab.engine(cas=("-verifyCAfile", lab.ca))
    assert lab.findings(port) == ["accepts clients of every CA of the system instead of CN=ours alone"]


def test_a_server_that_accepts_one_more_ca(lab: Lab) -> None:
    port = lab.engine(cas=("-CAfile", lab.both_cas))
    assert lab.findings(port) == ["accepts clients of CN=other and CN=ours instead of CN=ours alone"]


def test_a_client_may_trust_more_cas_than_the_server(lab: Lab) -> None:
    ours = pathlib.Path(lab.ca).read_text()
    assert lab.findings(lab.engine(), ca=lab.both_cas, client_cas=ours) == []
    port = lab.engine(cas=("-CAfile", lab.both_cas))
    assert lab.findings(port, ca=lab.both_cas, client_cas=ours) == [
        "accepts clients of CN=other and CN=ours instead of CN=ours alone"
    ]


def test_a_server_that_does_not_accept_the_identity_says_why(lab: Lab) -> None:
    expired = lab.ours.pair(lab.folder, "expired", CLIENT, days=-2)
    found = lab.findings(lab.engine(), identity=expired)
    assert len(found) == 1
    assert found[0].startswith(f"refuses the identity {expired[0]} (")
    assert "); it expired on " in found[0]


def test_a_revoked_client_that_still_gets_in(lab: Lab) -> None:
    pair = endpoint_check.CertificateFiles("former", *lab.revoked, "refused_pairs, ")
    found = lab.findings(lab.engine(), refused_pairs=[pair])
    assert found == [f"accepts the client 'former' ({lab.revoked[0]}) (HTTP/1.0 200 OK)"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": ("web2",)}, "IP address mismatch"),
        ({"days": -2}, "certificate has expired"),
    ],
)
def test_a_certificate_that_clients_do_not_accept(lab: Lab, changes: dict[str, t.Any], reason: str) -> None:
    pair = lab.ours.pair(lab.folder, "bad", SERVER, **{"names": ("127.0.0.1",), **changes})
    result = lab.check(lab.engine(pair=pair))
    assert not result["server_verified"]
    assert result["engine_version"] is None
    assert len(result["findings"]) == 1
    assert "serves a certificate that clients do not accept as that of 127.0.0.1 (" in result["findings"][0]
    assert reason in result["findings"][0]


def test_the_name_that_must_be_covered_need_not_be_the_address(lab: Lab) -> None:
    port = lab.engine(pair=lab.ours.pair(lab.folder, "named", SERVER, names=("web1",)))
    assert lab.findings(port, hostname="web1") == []
    assert "as that of 127.0.0.1" in lab.findings(port)[0]


def test_a_certificate_of_another_ca_whatever_the_environment_trusts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(variable, lab.other_ca)
    pair = lab.other.pair(lab.folder, "stranger", SERVER, names=("127.0.0.1",))
    found = lab.findings(lab.engine(pair=pair))
    assert len(found) == 1
    assert found[0].startswith("serves a certificate that clients do not accept as that of 127.0.0.1 (unable to get")


def test_a_ca_that_strict_clients_do_not_accept(lab: Lab) -> None:
    lax = Authority("lax", strict=False)
    ca = lax.file(lab.folder)
    port = lab.engine(pair=lax.pair(lab.folder, "s", SERVER, names=("127.0.0.1",)), cas=("-CAfile", ca))
    found = lab.findings(port, ca=ca, identity=lax.pair(lab.folder, "c", CLIENT))
    assert len(found) == 1
    assert "key usage" in found[0]


def test_a_certificate_that_is_good_for_clients_too(lab: Lab) -> None:
    pair = lab.ours.pair(lab.folder, "both", SERVER, CLIENT, names=("127.0.0.1",))
    assert lab.findings(lab.engine(pair=pair)) == [
        "serves a certificate for serverAuth, clientAuth instead of serverAuth alone"
    ]


def test_an_outdated_protocol(lab: Lab) -> None:
    port = lab.engine("-min_protocol", "TLSv1.1", "-cipher", "ALL:@SECLEVEL=0")
    assert lab.findings(port) == ["accepts an outdated protocol (TLS 1.1)"]


def test_something_that_is_not_docker(lab: Lab) -> None:
    lab.answer("version", "Welcome")
    found = lab.findings(lab.engine())
    assert found == ["does not answer GET /version as a Docker engine does (HTTP/1.0 200 OK)"]


@pytest.mark.parametrize("status", [200, 403])
def test_plain_http(lab: Lab, status: int) -> None:
    first, second = lab.findings(lab.plain(status=status))
    assert first.startswith("does not speak TLS (")
    assert second.startswith(f"accepts plain HTTP (HTTP/1.0 {status} ")


def test_nobody_there_is_one_finding(lab: Lab) -> None:
    result = lab.check(lab.closed())
    assert len(result["findings"]) == 1
    assert result["findings"][0].endswith(" cannot be reached (Connection refused)")
    assert {attempt["outcome"] for attempt in result["attempts"]} == {"unreachable"}
    assert result["certificate"] is None


def test_a_silent_endpoint_is_one_finding(lab: Lab) -> None:
    found = lab.findings(lab.silent(), timeout=0.5)
    assert len(found) == 1
    assert found[0].startswith("does not speak TLS (")


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[int], None]:
    """Lets no request for /_ping go out before so many are on their way."""

    def meet(parties: int) -> None:
        barrier = threading.Barrier(parties, timeout=PATIENCE)
        ask, plain = handshake.ask, handshake.plain_http

        def met_ask(*arguments: t.Any, **options: t.Any) -> handshake.Answer:
            barrier.wait()
            return ask(*arguments, **options)

        def met_plain(*arguments: t.Any, **options: t.Any) -> handshake.Answer:
            barrier.wait()
            return plain(*arguments, **options)

        monkeypatch.setattr(handshake, "ask", met_ask)
        monkeypatch.setattr(handshake, "plain_http", met_plain)

    return meet


def test_everything_is_tried_at_the_same_time(lab: Lab, meeting: t.Callable[[int], None]) -> None:
    endpoints = [lab.endpoint(lab.engine() if number == 3 else lab.closed(), f"web{number}") for number in range(16)]
    meeting(16 * 6)  # the identity twice, nobody, an impostor, plain HTTP here and on the other port
    result = endpoint_check.check_endpoints(endpoints, lab.credentials(), PATIENCE)
    assert [entry["name"] for entry in result["endpoints"]] == [f"web{number}" for number in range(16)]
    assert [entry["name"] for entry in result["endpoints"] if entry["ok"]] == ["web3"]
    assert not result["ok"]


def test_an_endpoint_that_cannot_be_asked_is_nobody_else_s_failure(lab: Lab) -> None:
    port = lab.engine()
    endpoints = [
        lab.endpoint(port, "unnamed", docker_host="tcp://"),
        lab.endpoint(port, "odd", docker_host=f"tcp://{'x' * 64}.example:{port}"),
        lab.endpoint(port, "both", plain_ports=(port,)),
        lab.endpoint(port, "no-port", plain_ports=(65536,)),
        lab.endpoint(port, "no-name", hostname=".example"),
        lab.endpoint(port, "right"),
    ]
    result = endpoint_check.check_endpoints(endpoints, lab.credentials(), PATIENCE)
    found = {entry["name"]: entry["findings"] for entry in result["endpoints"]}
    assert not result["ok"]
    assert found.pop("right") == []
    assert found.pop("unnamed")[0].startswith("docker_host 'tcp://' is not of the form tcp://ADDRESS:PORT")
    assert found.pop("odd")[0].endswith(f"'{'x' * 64}.example' is no name and no address")
    where = f"tcp://127.0.0.1:{port}"
    assert found == {
        "both": [f"plain_ports names {port}, which is the port of {where}; take it out of one of them"],
        "no-port": [f"plain_ports names 65536 for {where}, which is no port; take it out"],
        "no-name": [f"tls_hostname '.example' of {where} is no name and no address"],
    }
    assert all(entry["attempts"] == [] for entry in result["endpoints"] if not entry["ok"])


def test_ports_that_must_be_closed(lab: Lab) -> None:
    docker, other, tls = lab.plain(("Api-Version", "1.51")), lab.plain(status=404), lab.engine()
    result = lab.check(lab.engine(), plain_ports=(docker, other, tls, lab.closed()))
    base = "tcp://127.0.0.1"

    def way_out(port: int) -> str:
        return f"close it, or leave {port} out of plain_ports where it is another service of yours"

    no_docker = "is open, though no Docker API without TLS answers there"
    assert result["findings"] == [
        f"{base}:{docker} is open and answers the Docker API without TLS (HTTP/1.0 200 OK); {way_out(docker)}",
        f"{base}:{other} {no_docker} (HTTP/1.0 404 Not Found); {way_out(other)}",
        f"{base}:{tls} {no_docker} (it does not answer in HTTP); {way_out(tls)}",
    ]
    assert [entry["open"] for entry in result["plain_ports"]] == [True, True, True, False]
    assert [entry["docker"] for entry in result["plain_ports"]] == [True, False, False, False]


def test_a_port_that_a_firewall_filters_is_closed_and_one_that_says_nothing_is_not(lab: Lab) -> None:
    assert handshake.plain_http("127.0.0.1", lab.silent(accepts=False), 0.5).outcome == "closed"
    assert handshake.plain_http("127.0.0.1", lab.silent(), 0.5).outcome == "refused"


def test_the_foreign_key_is_nobody_elses_and_does_not_stay(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    made, modes = handshake.any_server, []

    def any_server(files: tuple[str, str] | None = None) -> ssl.SSLContext:
        foreign = [file for file in files or () if file.startswith(str(temporary))]
        modes.extend(stat.S_IMODE(pathlib.Path(file).stat().st_mode) for file in foreign)
        return made(files)

    monkeypatch.setattr(handshake, "any_server", any_server)
    lab.credentials()
    assert modes == [0o600, 0o600]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    ["[" * 60000, '{"ApiVersion": ["1.51"]}', '{"ApiVersion": 1}', "[]", "\x00\x1b[2J", '{"Version": "28"}'],
)
def test_a_version_that_makes_no_sense_is_none(lab: Lab, body: str) -> None:
    lab.answer("version", body)
    result = lab.check(lab.engine())
    assert (result["engine_version"], result["api_version"]) == (None, None)
    assert len(result["findings"]) == 1
    assert " does not answer GET /version as a Docker engine does (" in result["findings"][0]


@pytest.mark.parametrize("certificate", [b"", b"\x30\x00", b"no certificate", b"\xff" * 300, None])
@pytest.mark.parametrize("request_", [b"", b"\x01", b"\xff\xff\xff", b"\x01\x40\x00\x00\x00\x05\x06\x03\x55\x04\x03"])
def test_a_server_may_send_anything(lab: Lab, certificate: bytes | None, request_: bytes) -> None:
    """A handshake by hand, with a certificate and a request for one that nobody can read."""

    def message(kind: int, body: bytes) -> bytes:
        return bytes([kind]) + len(body).to_bytes(3, "big") + body

    def vector(body: bytes) -> bytes:
        return len(body).to_bytes(3, "big") + body

    served = lab.ours.unreadable() if certificate is None else certificate
    handshake_ = message(2, b"") + message(11, vector(vector(served))) + message(13, request_)
    port = lab.says(b"\x16\x03\x03" + len(handshake_).to_bytes(2, "big") + handshake_)
    result = lab.check(port)
    assert not result["ok"]
    assert result["certificate"] is None
    assert f"tcp://127.0.0.1:{port} serves a certificate that cannot be read (" in result["findings"][0]


def test_words_of_a_server_are_no_commands_to_a_terminal(lab: Lab) -> None:
    port = lab.says(b"HTTP/1.0 200 \x1b[2J\x07\xff\r\n\r\n")
    answer = handshake.plain_http("127.0.0.1", port)
    assert (
        answer.detail == "HTTP/1.0 200 \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    )


@pytest.mark.parametrize(
    ("docker_host", "reason"),
    [
        ("unix:///var/run/docker.sock", "only an endpoint on the network can be asked from outside"),
        ("ssh://web1", "only an endpoint on the network can be asked from outside"),
        ("web1:2376", "only an endpoint on the network can be asked from outside"),
        ("tcp://web1", ""),
        ("tcp://:2376", ""),
        ("tcp://user@web1:2376", ""),
        ("tcp://web1:2376/v1.41", ""),
        ("tcp://2001:db8::1:2376", ""),
        ("tcp://web1:99999", ": Port out of range"),
        ("tcp://we b1:2376", "'we b1' is no name and no address"),
        ("tcp://web..1:2376", "'web..1' is no name and no address"),
    ],
)
def test_an_address_that_cannot_be_asked(docker_host: str, reason: str) -> None:
    with pytest.raises(endpoint_check.EndpointError, match=r"is not of the form tcp://ADDRESS:PORT") as error:
        endpoint_check.address(docker_host)
    assert docker_host in str(error.value)
    assert reason in str(error.value)
    assert not str(error.value).endswith(".")


def test_addresses_of_both_kinds() -> None:
    assert endpoint_check.address("tcp://192.0.2.1:2376") == ("192.0.2.1", 2376)
    assert endpoint_check.address("tcp://[2001:db8::1]:2376") == ("2001:db8::1", 2376)
    assert endpoint_check.address("tcp://web1:2376/") == ("web1", 2376)


def test_files_that_cannot_be_used(lab: Lab) -> None:
    text = lab.folder / "text.pem"
    text.write_text("no certificate", encoding="ascii")
    locked = lab.folder / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", lab.client[1], "-aes256", "-passout", "pass:x", "-out", locked], check=True
    )

    def pair(name: str = "identity", option: str = "client_", **changes: t.Any) -> endpoint_check.CertificateFiles:
        files = endpoint_check.CertificateFiles(name, *lab.client, option)
        return dataclasses.replace(files, **{key: str(value) for key, value in changes.items()})

    cases: list[tuple[str, endpoint_check.CertificateFiles, list[endpoint_check.CertificateFiles], str]] = [
        ("/none/ca.pem", pair(), [], "ca_path: /none/ca.pem cannot be read on this host (No such file"),
        (str(text), pair(), [], f"ca_path: {text}: the text holds no PEM certificate."),
        (lab.ca, pair(certificate=lab.folder), [], f"client_cert: {lab.folder} cannot be read on this host (Is a"),
        (lab.ca, pair(key=lab.revoked[1]), [], f"client_key: {lab.revoked[1]} is not the key of the certificate"),
        (lab.ca, pair(key=locked), [], f"client_key: {locked}: the private key cannot be read (Password was not"),
        (
            lab.ca,
            pair(),
            [pair("old", "refused_pairs, ", key=text)],
            f"refused_pairs, key: {text}: the private key cannot be read",
        ),
    ]
    for ca, identity, refused, message in cases:
        with pytest.raises(endpoint_check.CredentialsError) as error:
            endpoint_check.read_credentials(ca, identity, refused)
        assert str(error.value).startswith(message)
        assert str(error.value).endswith(".")
