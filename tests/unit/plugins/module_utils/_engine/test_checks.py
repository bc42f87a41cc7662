"""The verification on the engine, against real TLS servers and a real local socket."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api, checks, inspect
from helpers.engines import Lab
from helpers.local_api import LocalEngine
from helpers.pki import SERVER

Findings = t.Callable[..., "list[str]"]


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[Lab]:
    lab = Lab(tmp_path)
    with lab.stack:
        yield lab


@pytest.fixture
def findings(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Findings:
    """What is wrong with an endpoint, with its address left out."""
    monkeypatch.setattr(inspect, "CERTIFICATE", pathlib.Path(lab.server[0]))
    monkeypatch.setattr(inspect, "PRIVATE_KEY", pathlib.Path(lab.server[1]))
    local = lab.stack.enter_context(LocalEngine(lab.folder / "docker.sock").running())
    certificate = pathlib.Path(lab.server[0]).read_text(encoding="ascii")

    def ask(port: int, listen: str = "127.0.0.1", socket: str = local.path, ca: str = lab.ours.pem) -> list[str]:
        found = checks.findings(api.LocalApi(socket), [listen], port, ca, certificate)
        return [finding.replace(f"tcp://127.0.0.1:{port} ", "") for finding in found]

    return ask


def test_an_endpoint_that_is_right(lab: Lab, findings: Findings) -> None:
    port = lab.engine()
    assert findings(port) == []
    assert findings(port, listen="0.0.0.0") == []  # noqa: S104


def test_a_local_socket_that_does_not_answer(lab: Lab, findings: Findings) -> None:
    assert findings(lab.engine(), socket="/nonexistent/docker.sock") == ["/nonexistent/docker.sock does not answer"]


def test_a_certificate_that_was_not_installed(lab: Lab, findings: Findings) -> None:
    port = lab.engine(pair=lab.ours.pair(lab.folder, "former", SERVER))
    assert findings(port) == ["serves another certificate than the installed one"]


def test_nobody_is_asked_for_a_certificate(lab: Lab, findings: Findings) -> None:
    found = findings(lab.engine(verify="no", cas=()))
    assert found[0] == "does not ask for a client certificate"
    assert [finding.split(" (")[0] for finding in found[1:]] == [
        "does not refuse a client without a certificate",
        "does not refuse a client with the server's certificate",
    ]


def test_a_certificate_is_asked_for_and_not_checked(lab: Lab, findings: Findings) -> None:
    assert [finding.split(" (")[0] for finding in findings(lab.engine(verify="ask"))] == [
        "does not refuse a client without a certificate",
        "does not refuse a client with the server's certificate",
    ]


def test_the_cas_of_the_system(lab: Lab, findings: Findings) -> None:
    port = lab.engine(cas=("-verifyCAfile", lab.ca))
    assert findings(port) == ["accepts clients of every CA of the system instead of our CA alone"]


def test_one_ca_more_than_the_bundle_and_one_less(lab: Lab, findings: Findings) -> None:
    assert findings(lab.engine(cas=("-CAfile", lab.both_cas))) == [
        "accepts clients of CN=ours, CN=other instead of our CA alone"
    ]
    both = lab.ours.pem + lab.other.pem
    assert findings(lab.engine(cas=("-CAfile", lab.both_cas)), ca=both) == []
    assert findings(lab.engine(), ca=both) == ["accepts clients of CN=ours instead of our CA alone"]


@pytest.mark.parametrize(("listen", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")])  # noqa: S104
def test_a_wildcard_is_asked_at_loopback(lab: Lab, findings: Findings, listen: str, asked: str) -> None:
    (finding,) = findings(port := lab.closed(), listen=listen)
    assert finding.startswith("does not speak TLS (" if asked == "127.0.0.1" else f"tcp://{asked}:{port} does not")


def test_plain_http_and_nobody(lab: Lab, findings: Findings) -> None:
    for port in (lab.plain(), lab.closed()):
        with contextlib.suppress(ConnectionError):
            found = findings(port)
        assert len(found) == 1
        assert found[0].startswith("does not speak TLS (")
