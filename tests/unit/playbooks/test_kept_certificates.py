"""Certificates that something else keeps on engines: nothing is requested, and clients trust what they come from."""

from __future__ import annotations

import json
from pathlib import Path

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
