"""A fleet with access groups: who is let in where, and what a run changes for it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_fleet import CLIENTS, ENGINES, Fleet
from helpers.fake_host import certificates, first

CA = "home/.bulkhead/ca"
VARIABLES: dict[str, dict[str, Any]] = {
    "web1": {"docker_engine_access": ["staging"]},
    "web2": {"docker_engine_access": ["ops", "staging"]},
    "ops1": {"docker_client_identities": [{"name": "ops1", "access": ["ops"]}]},
    "build1": {
        "docker_client_identities": [
            {"name": "build1", "access": ["staging", "ops"]},
            {"name": "jenkins", "user": "jenkins", "access": ["staging"]},
        ]
    },
}


def bundle(fleet: Fleet, group: str) -> str:
    folder = fleet.root / CA if group == "default" else fleet.root / CA / "groups" / group
    return (folder / "ca.pem").read_text(encoding="ascii")


def trusted(fleet: Fleet) -> dict[str, set[str]]:
    """The groups whose CAs an engine has, by engine."""
    groups = {group: certificates(bundle(fleet, group)) for group in ("default", "ops", "staging")}
    found = {name: certificates(fleet.holds(name)["ca"]) for name in ENGINES}
    return {name: {group for group, cas in groups.items() if cas & held} for name, held in found.items()}


def pairs(fleet: Fleet, *hosts: str) -> dict[str, str]:
    """By pair of an OS user, the group whose CA has signed it. That CA has it in its record, too."""
    groups = {first(bundle(fleet, group)): group for group in ("default", "ops", "staging")}
    held = {name: signer for host in hosts for name, signer in fleet.holds(host)["identities"].items()}
    found = {name: groups.get(signer, "?") for name, signer in held.items()}
    for name, group in found.items():
        place = fleet.root / CA if group == "default" else fleet.root / CA / "groups" / group
        assert [*(place / "issued").glob(f"client-{name.partition('/')[0]}-*")], (name, group)
    return found


def accounts(fleet: Fleet, engine: str) -> set[str]:
    return {user["name"] for user in fleet.holds(engine)["accounts"]}


@pytest.fixture(scope="module")
def grouped_once(secured_once: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """One that has had no groups before."""
    fleet = secured_once.copy(tmp_path_factory.mktemp("grouped") / "fleet")
    fleet.variables = copy.deepcopy(VARIABLES)
    done = fleet.play("site")
    assert not done.failed, done.output
    return fleet


@pytest.fixture
def fleet(grouped_once: Fleet, tmp_path: Path) -> Fleet:
    fleet = grouped_once.copy(tmp_path / "fleet")
    fleet.variables = copy.deepcopy(VARIABLES)
    return fleet


def test_an_ordinary_run_brings_groups_to_a_fleet_without(grouped_once: Fleet) -> None:
    fleet = grouped_once
    assert trusted(fleet) == {"web1": {"staging"}, "web2": {"ops", "staging"}}
    # Servers keep their certificates, which are from the one CA that signs for all of them.
    assert {fleet.holds(name)["signer"] for name in ENGINES} == {first(bundle(fleet, "default"))}
    assert pairs(fleet, "ops1") == {"ops1": "ops"}
    assert pairs(fleet, "build1") == {"build1": "staging", "build1/ops": "ops"}
    assert pairs(fleet, "jenkins@build1") == {"jenkins": "staging"}
    assert {fleet.holds(name)["ca"] for name in CLIENTS} == {bundle(fleet, "default")}
    assert accounts(fleet, "web1") == {"docker-build1", "docker-jenkins"}
    assert accounts(fleet, "web2") == {"docker-ops1", "docker-build1", "docker-jenkins"}
    files = fleet.files()
    assert files[".bulkhead/ca/groups/ops/ca-key.pem"] == "0o100600"


def test_a_second_run_changes_nothing_and_asks_no_host_more_often(fleet: Fleet, secured: Fleet) -> None:
    without = secured.play("site")
    run = fleet.play("site")
    assert (run.failed, without.failed) == (False, False), run.output + without.output
    assert "nothing to change" in run.report["summary"]

    def modules(asked: dict[str, list[str]]) -> dict[str, list[str]]:
        return {name: [line.split()[0] for line in lines] for name, lines in asked.items()}

    # But for the proof over SSH, for which no identity opens both engines.
    expected = modules(without.asked)
    expected["build1"].append("bulkhead.docker.docker_ssh_endpoint_info")
    assert modules(run.asked) == expected
