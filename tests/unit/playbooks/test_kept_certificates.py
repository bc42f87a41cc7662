"""Certificates that something else keeps on engines: nothing is requested, and clients trust what they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.fake_fleet import Fleet
from helpers.pki import Authority

PATHS = {
    "docker_engine_certificate_path": "/etc/pki/docker.pem",
    "docker_engine_private_key_path": "/etc/pki/docker.key",
}


def test_an_engine_is_told_where_they_are_and_requests_none(tmp_path: Path) -> None:
    root = Authority("company")
    fleet = Fleet.make(tmp_path / "fresh")
    run = fleet.play("site", **PATHS, docker_engine_server_ca=root.pem)

    assert not run.failed, run.output
    asked = [
        (module, json.loads(options)) for module, _, options in (text.partition(" ") for text in run.asked["web1"])
    ]
    assert not [module for module, _ in asked if module.endswith("docker_certificate_request")]
    told = [options for module, options in asked if module.endswith("docker_daemon_config")]
    assert len(told) > 1
    for one in told:
        assert (one["certificate_path"], one["private_key_path"]) == tuple(PATHS.values())
        assert "server_certificate" not in one
        assert "CERTIFICATE" in one["server_ca"] != one["ca_certificate"]
    # The CA that has signed, and the one that servers come from.
    identities = [text for text in run.asked["build1"] if "docker_identity_info" in text]
    assert identities
    assert all(text.count("<CERTIFICATE") == 2 for text in identities)


def keeps_certificates(fleet: Fleet, *names: str) -> None:
    """Something else installs those of these engines, and of the identity build1."""
    inventory = fleet.content()
    for name in names:
        inventory["docker_engines"]["hosts"][name].update(PATHS)
    own = inventory["docker_clients"]["hosts"]["build1"]["docker_client_identities"]
    own[0].update(certificate_path="/etc/pki/build1.pem", private_key_path="/etc/pki/build1.key")
    fleet.content = lambda: inventory  # type: ignore[method-assign]


@pytest.mark.slow
def test_the_old_ca_stays_until_what_installs_them_has_replaced_them(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    keeps_certificates(fleet, "web1")
    hosts = ("web1", "web2", "ops1", "build1")

    waits = fleet.play("rotate_ca", liars={"web1": "late@reissue", "build1": "late@reissue"})

    said = " ".join(waits.output.split())
    assert waits.failed
    assert "The rotation goes no further than the phase reissue" in said
    advice = "let whoever keeps it there replace it by one of the CA that signs now, CN=bulkhead.docker CA"
    for who in (
        "web1: its certificate in /etc/pki/docker.pem is",
        "build1: the certificate of build1 in /etc/pki/build1.pem is",
    ):
        assert f"{who} not one of that CA; {advice}" in said
    # Both are trusted, so that nobody is shut out.
    assert [fleet.holds(name)["ca"].count("-----END") for name in hosts] == [2, 2, 2, 2]
    assert any(name.endswith("/previous/ca-key.pem") for name in waits.files)

    # One has followed, and who is gone for good is left out by name.
    done = fleet.play("rotate_ca", liars={"web1": "late@reissue"}, docker_rotate_exclude=["web1"])

    assert not done.failed, done.output
    assert [fleet.holds(name)["ca"].count("-----END") for name in hosts] == [2, 1, 1, 1]
