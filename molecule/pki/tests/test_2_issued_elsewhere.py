"""The CA's key is elsewhere: a person signs the requests, and then OpenBao does. Keys never leave their hosts."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest


def test_a_run_writes_all_requests_and_stops_without_a_change(elsewhere: Any, company: Any) -> None:
    before = company.state()["engines"]
    code, said = elsewhere.run(docker_engine_replace_ca=True, docker_client_replace_ca=True)
    assert code != 0
    assert "There is no certificate for the client 'admin' yet" in said
    assert "There is no certificate for the server 'pt' yet" in said
    assert len(list(elsewhere.requests.iterdir())) == 1 + len(elsewhere.lab.engines)
    served = [line for line in before if "/etc/docker" in line or "MainPID" in line]
    assert [line for line in company.state()["engines"] if "/etc/docker" in line or "MainPID" in line] == served
    elsewhere.assert_all_get_in()


def test_it_goes_on_with_the_certificates_that_are_there_and_right(elsewhere: Any) -> None:
    """The one for p13 could also be used by a client, who would be root everywhere."""
    elsewhere.sign_by_hand()
    request = elsewhere.request_of("p13")
    right = request.with_suffix(".pem").read_text()
    wrong = elsewhere.requests / "wrong"
    wrong.write_text(
        "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\nextendedKeyUsage=serverAuth,clientAuth\n"
    )
    signer = ["-CA", elsewhere.company.path("hand.pem"), "-CAkey", elsewhere.company.path("hand.key"), "-days", "300"]
    files = ["-in", request, "-out", request.with_suffix(".pem"), "-extfile", wrong]
    subprocess.run(["openssl", "x509", "-req", *files, *signer], check=True, capture_output=True)
    code, said = elsewhere.run(docker_engine_replace_ca=True, docker_client_replace_ca=True)
    assert code != 0
    assert "for the server 'p13' is not what was asked for: its extended key usage is not exactly serverAuth" in said
    assert elsewhere.issuers() == {"hand", "docker"}

    request.with_suffix(".pem").write_text(right)
    code, said = elsewhere.run(docker_engine_replace_ca=True, docker_client_replace_ca=True)
    assert code == 0, said
    assert elsewhere.issuers() == {"hand"}
    elsewhere.assert_all_get_in()


def test_a_run_after_it_changes_nothing_and_nothing_is_found(elsewhere: Any, company: Any) -> None:
    before, requests = company.state(), sorted(elsewhere.requests.iterdir())
    code, said = elsewhere.run()
    assert code == 0, said
    assert "nothing to change" in said
    assert company.state() == before
    assert sorted(elsewhere.requests.iterdir()) == requests
    code, said = elsewhere.run("verify")
    assert code == 0, said


@pytest.mark.parametrize(
    ("playbook", "variables", "says"),
    [
        ("rotate_ca", {}, "is elsewhere (docker_ca_issue_tasks of localhost), so that it is not replaced"),
        (
            "revoke_client",
            {"docker_revoke_name": "admin", "docker_revoke_by_rotation": True},
            "so that it is not replaced",
        ),
        ("change_passphrase", {}, "and so is its passphrase"),
        (
            "renew",
            {"docker_ca_issue_tasks": "", "docker_ca_existing_certificate": ""},
            "Set docker_ca_issue_tasks for that host",
        ),
    ],
)
def test_what_only_the_holder_of_the_key_can_do_is_refused_at_once(
    elsewhere: Any, company: Any, playbook: str, variables: dict[str, Any], says: str
) -> None:
    before = company.state()
    code, said = elsewhere.run(playbook, **variables)
    assert code != 0
    assert says in said
    assert company.state() == before


def test_another_ca_follows_it_and_nobody_is_shut_out(elsewhere: Any, openbao: str) -> None:
    """Trusted beside it, then asked instead of it, then trusted alone: three runs of site."""
    elsewhere.pin("hand", "vault", "root")
    code, said = elsewhere.run()
    assert code == 0, said
    assert elsewhere.issuers() == {"hand"}
    elsewhere.assert_all_get_in()
    elsewhere.pin("vault", "hand", "root")
    elsewhere.by("openbao")
    code, said = elsewhere.run()
    assert code == 0, said
    assert elsewhere.issuers() == {"vault"}
    elsewhere.assert_all_get_in()
    elsewhere.pin("vault", "root")
    code, said = elsewhere.run()
    assert code == 0, said
    elsewhere.assert_all_get_in()
    code, said = elsewhere.run("verify")
    assert code == 0, said


def test_renew_asks_that_ca_for_everything(elsewhere: Any, openbao: str) -> None:
    before = (elsewhere.lab.identity / "cert.pem").read_text()
    code, said = elsewhere.run("renew", docker_renew_force=True)
    assert code == 0, said
    assert (elsewhere.lab.identity / "cert.pem").read_text() != before
    assert elsewhere.issuers() == {"vault"}
    elsewhere.assert_all_get_in()


def test_a_certificate_for_both_usages_is_not_used(elsewhere: Any, company: Any, openbao: str) -> None:
    """What OpenBao issues by default."""
    before = company.state()
    code, said = elsewhere.run("renew", docker_renew_force=True, pki_role="default")
    assert code != 0
    assert "its extended key usage is not exactly clientAuth" in said
    assert "its extended key usage is not exactly serverAuth" in said
    after = company.state()
    assert [line for line in after["engines"] if "pending" not in line] == before["engines"]
    assert {path: text for path, text in after["files"].items() if "pending" not in str(path)} == before["files"]
    elsewhere.assert_all_get_in()


def test_another_ca_that_shares_nothing_is_refused_in_the_first_pass(elsewhere: Any, company: Any) -> None:
    before = company.state()
    elsewhere.pin("staff", "root")
    code, said = elsewhere.run()
    elsewhere.pin("vault", "root")
    assert code != 0
    assert "Put the new CA behind the present one" in said
    assert company.state() == before
