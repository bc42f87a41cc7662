"""Each finding about an endpoint, provoked once on a real TLS server on loopback."""

from __future__ import annotations

import dataclasses
import pathlib
import stat
import subprocess
import tempfile
import threading
import time
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import endpoint_check
from helpers.engines import Lab, free_port
from helpers.pki import CLIENT, SERVER, Authority


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[Lab]:
    lab = Lab(tmp_path)
    with lab.stack:
        yield lab


def test_an_endpoint_that_is_right(lab: Lab) -> None:
    serving_pair = endpoint_check.Pair("server", *lab.server, "refused_pairs, ")
    result = endpoint_check.examine(lab.endpoint(lab.engine(), hostname="web1", refused_pairs=(serving_pair,)))
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
    result = endpoint_check.examine(lab.endpoint(lab.engine(cas=("-CAfile", lab.both_cas)), ca=lab.both_cas))
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


def test_a_server_that_does_not_accept_the_identity_says_why(lab: Lab) -> None:
    expired = lab.ours.pair(lab.folder, "expired", CLIENT, days=-2)
    found = lab.findings(lab.engine(), identity=endpoint_check.Pair("identity", *expired, "client_"))
    assert len(found) == 1
    assert found[0].startswith(f"refuses the identity {expired[0]} (")
    assert "); it expired on " in found[0]


def test_a_revoked_client_that_still_gets_in(lab: Lab) -> None:
    pair = endpoint_check.Pair("former", *lab.revoked, "refused_pairs, ")
    found = lab.findings(lab.engine(), refused_pairs=(pair,))
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
    result = endpoint_check.examine(lab.endpoint(lab.engine(pair=pair)))
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
    identity = endpoint_check.Pair("identity", *lax.pair(lab.folder, "c", CLIENT), "client_")
    found = lab.findings(port, ca=ca, identity=identity)
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
    result = endpoint_check.examine(lab.endpoint(free_port()))
    assert len(result["findings"]) == 1
    assert result["findings"][0].endswith(" cannot be reached (Connection refused)")
    assert {attempt["outcome"] for attempt in result["attempts"]} == {"unreachable"}
    assert result["certificate"] is None


def test_a_silent_endpoint_costs_one_timeout(lab: Lab) -> None:
    start = time.monotonic()
    found = lab.findings(lab.silent(), timeout=0.5)
    assert time.monotonic() - start < 2
    assert len(found) == 1
    assert found[0].startswith("does not speak TLS (")


def test_ports_that_must_be_closed(lab: Lab) -> None:
    docker, other = lab.plain(("Api-Version", "1.51")), lab.plain(status=404)
    filtered, silent, tls = lab.silent(accepts=False), lab.silent(), lab.engine()
    result = endpoint_check.examine(
        lab.endpoint(lab.engine(), closed_ports=(docker, other, filtered, silent, tls), timeout=1)
    )
    base = "tcp://127.0.0.1"
    other_than = "is open and must be closed, though no Docker API without TLS answers there"
    assert result["findings"] == [
        f"{base}:{docker} is open and answers the Docker API without TLS (HTTP/1.0 200 OK)",
        f"{base}:{other} {other_than} (HTTP/1.0 404 Not Found)",
        f"{base}:{silent} {other_than} (timed out)",
        f"{base}:{tls} {other_than} (it does not answer in HTTP)",
    ]
    assert [entry["open"] for entry in result["closed_ports"]] == [True, True, False, True, True]
    assert [entry["docker"] for entry in result["closed_ports"]] == [True, False, False, False, False]


def test_the_foreign_key_is_nobody_elses_and_does_not_stay(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    worker = threading.Thread(target=lab.findings, args=(lab.silent(),), kwargs={"timeout": 1.5})
    worker.start()
    files: list[pathlib.Path] = []
    while worker.is_alive() and len(files) < 2:
        files = [path for path in temporary.rglob("*.pem") if path.exists()]
        modes = [stat.S_IMODE(path.stat().st_mode) for path in files]
    assert modes == [0o600, 0o600]
    worker.join()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("docker_host", "reason"),
    [
        ("unix:///var/run/docker.sock", "only an endpoint on the network can be asked from outside."),
        ("ssh://web1", "only an endpoint on the network can be asked from outside."),
        ("web1:2376", "only an endpoint on the network can be asked from outside."),
        ("tcp://web1", "tcp://[ADDRESS])."),
        ("tcp://:2376", "tcp://[ADDRESS])."),
        ("tcp://user@web1:2376", ""),
        ("tcp://web1:2376/v1.41", ""),
        ("tcp://2001:db8::1:2376", ""),
        ("tcp://web1:99999", ""),
    ],
)
def test_an_address_that_cannot_be_asked(docker_host: str, reason: str) -> None:
    with pytest.raises(endpoint_check.EndpointError, match=r"is not of the form tcp://ADDRESS:PORT") as error:
        endpoint_check.address(docker_host)
    assert docker_host in str(error.value)
    assert reason.replace("tcp://[ADDRESS]).", "") in str(error.value)


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
    identity = lab.endpoint(1).identity

    def pair(name: str = "identity", option: str = "client_", **changes: t.Any) -> endpoint_check.Pair:
        return dataclasses.replace(identity, name=name, option=option, **{k: str(v) for k, v in changes.items()})

    cases: list[tuple[dict[str, t.Any], str]] = [
        ({"ca": "/nonexistent/ca.pem"}, "ca_path: /nonexistent/ca.pem cannot be read on this host (No such file"),
        ({"ca": str(text)}, f"ca_path: {text}: the text holds no PEM certificate."),
        ({"identity": pair(certificate=lab.folder)}, f"client_cert: {lab.folder} cannot be read on this host (Is a"),
        ({"identity": pair(key=lab.revoked[1])}, f"client_key: {lab.revoked[1]} is not the key of the certificate"),
        ({"identity": pair(key=locked)}, f"client_key: {locked}: the private key cannot be read (Password was not"),
        (
            {"refused_pairs": (pair("old", "refused_pairs, ", key=text),)},
            f"refused_pairs, key: {text}: the private key cannot be read",
        ),
        ({"closed_ports": (2375, 1)}, "closed_ports names 1, which is the port of docker_host"),
    ]
    for changes, message in cases:
        with pytest.raises(endpoint_check.EndpointError) as error:
            endpoint_check.examine(lab.endpoint(1, **changes))
        assert str(error.value).startswith(message)
        assert str(error.value).endswith(".")
