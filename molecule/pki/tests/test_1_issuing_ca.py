"""An issuing CA under the company's root was taken over: it alone opens engines, whatever else the root has issued."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
from testinfra.host import Host

PID = "docker inspect --format '{{.State.Pid}}' keep"


def test_an_engine_trusts_the_issuing_ca_alone(company: Any, host: Host) -> None:
    with host.sudo():
        assert host.file("/etc/docker/tls/ca.pem").content_string == company.path("docker.pem").read_text()
        assert host.check_output(PID) == host.file("/root/keep.pid").content_string.strip()


def test_the_cli_and_docker_py_use_it(company: Any, lab: Any, name: str) -> None:
    assert lab.docker("--context", name, "ps", "--format", "{{.Names}}") == "keep"
    for bundle in (lab.identity / "ca.pem", company.path("root.pem")):
        assert company.docker_py(name, lab.identity, bundle) == ["keep"]


@pytest.mark.parametrize("sends", ["", "-chain"])
def test_whoever_else_the_root_has_certified_is_refused(company: Any, lab: Any, name: str, sends: str) -> None:
    """A client of another issuing CA, and one of the root itself, with and without what is above them."""
    bundle = lab.identity / "ca.pem"
    ours = company.path("client-of-docker")
    assert company.ask(name, ours.with_name(f"{ours.name}{sends}.pem"), ours.with_suffix(".key"), bundle) == b"OK"
    for stranger in ("client-of-staff", "client-of-root"):
        company.assert_refused(name, company.path(f"{stranger}{sends}.pem"), company.path(f"{stranger}.key"), bundle)


def test_what_a_client_has_to_trust(company: Any, lab: Any, name: str) -> None:
    """OpenSSL goes up to a root unless it is told not to; Go stops at whatever it trusts."""
    pair = (lab.identity / "cert.pem", lab.identity / "key.pem")
    issuing, root = company.path("docker.pem"), company.path("root.pem")
    for bundle in (lab.identity / "ca.pem", root):
        for partial in (False, True):
            assert company.ask(name, *pair, bundle, partial=partial) == b"OK"
    assert company.ask(name, *pair, issuing, partial=True) == b"OK"
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get issuer certificate"):
        company.ask(name, *pair, issuing)
    for bundle in (lab.identity / "ca.pem", issuing, root):
        assert company.cli(name, bundle) == "keep"


def test_nothing_is_found_against_it(lab: Any) -> None:
    done = lab.playbook("bulkhead.docker.verify")
    assert done.returncode == 0, lab.said(done)


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("staff-chain", "staff", "this engine trusts another CA than this run's"),
        ("docker", "docker", "lacks the certificate of CN=root,O=Example Ltd"),
        ("docker-chain", "staff", "staff.key is not the key of"),
    ],
)
def test_another_ca_to_take_over_is_refused_in_the_first_pass(
    company: Any, lab: Any, certificate: str, key: str, says: str
) -> None:
    """An empty control node that brings a CA along: no host is changed, and nothing is made of the CA."""
    before, home = company.state(), lab.folder / "empty"
    given = {
        "docker_ca_existing_certificate": str(company.path(f"{certificate}.pem")),
        "docker_ca_existing_private_key": str(company.path(f"{key}.key")),
    }
    done = lab.playbook("bulkhead.docker.site", "-e", json.dumps(given), HOME=str(home))
    assert done.returncode != 0
    assert says in lab.said(done)
    assert not (home / ".bulkhead").exists()
    assert company.state() == before


def test_the_ca_that_engines_know_is_taken_over_again(company: Any, lab: Any) -> None:
    """The control node is lost, and the CA's files are still there: nobody is shut out, and certificates stay."""
    before, home = company.state(), lab.folder / "again"
    done = lab.playbook("bulkhead.docker.site", HOME=str(home))
    assert done.returncode == 0, lab.said(done)
    assert company.state() == before
    identity = home / ".bulkhead/identities/admin"
    assert company.ask("p11", identity / "cert.pem", identity / "key.pem", identity / "ca.pem") == b"OK"
