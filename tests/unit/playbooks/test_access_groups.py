"""A fleet with access groups: who is let in where, and what a run changes for it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_fleet import CLIENTS, ENGINES, Fleet, Run
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


@pytest.fixture(scope="module")
def moved_once(grouped_once: Fleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Run, Run]:
    """build1 and web2 have left the group staging, and web1 has got a new one; a run in check mode, and the run."""
    fleet = grouped_once.copy(tmp_path_factory.mktemp("moved") / "fleet")
    fleet.variables = copy.deepcopy(VARIABLES)
    fleet.variables["build1"]["docker_client_identities"][0]["access"] = ["ops"]
    fleet.variables["web1"]["docker_engine_access"] = ["staging", "prod"]
    fleet.variables["web2"]["docker_engine_access"] = ["ops"]
    checked = fleet.play("site", options=["--check"])
    assert not checked.failed, checked.output
    run = fleet.play("site")
    assert not run.failed, run.output
    return fleet, checked, run


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


def asked_to_change(asked: dict[str, list[str]], host: str) -> list[str]:
    return [line.split()[0].rpartition(".")[2] for line in asked[host] if '"_ansible_check_mode": false' in line]


@pytest.mark.slow
def test_one_group_is_rotated_and_nobody_else_is_asked(moved_once: tuple[Fleet, Run, Run], tmp_path: Path) -> None:
    fleet = moved_once[0].copy(tmp_path / "fleet")
    fleet.variables = moved_once[0].variables
    groups = ("default", "ops", "staging", "prod")
    before = {group: bundle(fleet, group) for group in groups}

    run = fleet.play("rotate_ca", docker_rotate_groups="staging")

    assert not run.failed, run.output
    after = {group: bundle(fleet, group) for group in groups}
    assert [group for group in before if before[group] != after[group]] == ["staging"]
    assert run.asked["web2"] == []
    assert asked_to_change(run.asked, "web1").count("docker_daemon_config") == 3
    assert trusted(fleet) == {"web1": {"staging"}, "web2": {"ops"}}
    assert before["staging"] not in fleet.holds("web1")["ca"]
    assert before["prod"] in fleet.holds("web1")["ca"]
    assert pairs(fleet, "ops1", "build1") == {"ops1": "ops", "build1": "ops"}
    assert pairs(fleet, "jenkins@build1") == {"jenkins": "staging"}
    assert (fleet.root / CA / "groups/staging/retired.pem").read_text(encoding="ascii") == before["staging"]
    assert "Left out" not in run.output
    # What was rotated is what an ordinary run wants, and what had left is out for good.
    again = fleet.play("site")
    assert not again.failed, again.output
    assert "nothing to change" in again.report["summary"]
    assert "left the access group" not in again.output


@pytest.mark.slow
def test_who_is_in_two_groups_gets_a_new_pair_for_the_one_that_is_rotated(fleet: Fleet) -> None:
    before = {group: bundle(fleet, group) for group in ("default", "ops", "staging")}

    run = fleet.play("rotate_ca", docker_rotate_groups="ops")

    assert not run.failed, run.output
    assert [group for group in before if before[group] != bundle(fleet, group)] == ["ops"]
    assert run.asked["web1"] == []
    assert trusted(fleet) == {"web1": {"staging"}, "web2": {"ops", "staging"}}
    assert before["ops"] not in fleet.holds("web2")["ca"]
    assert pairs(fleet, "ops1", "build1") == {"ops1": "ops", "build1": "staging", "build1/ops": "ops"}


@pytest.mark.slow
def test_a_rotation_waits_for_nobody_whom_it_does_not_concern(fleet: Fleet) -> None:
    run = fleet.play("rotate_ca", {"web1": "unreachable"}, docker_rotate_groups="ops")
    assert not run.failed, run.output
    refused = fleet.play("rotate_ca", {"web2": "unreachable"}, docker_rotate_groups="ops")
    assert refused.failed
    assert "The CA is not replaced, because these hosts would be shut out. web2: it cannot be reached" in " ".join(
        refused.output.split()
    )


@pytest.mark.slow
def test_an_interrupted_rotation_goes_on_for_its_group_alone(fleet: Fleet) -> None:
    before = {group: bundle(fleet, group) for group in ("default", "staging")}
    killed = fleet.play("rotate_ca", {"build1": "honest unreachable@reissue"}, docker_rotate_groups="ops")
    phase = fleet.root / CA / "groups/ops/rotation"
    assert killed.failed or not phase.exists()
    (fleet.root / CA / "groups/ops/rotation").unlink(missing_ok=True)
    run = fleet.play("rotate_ca", docker_rotate_groups="ops")
    assert not run.failed, run.output
    assert {group: bundle(fleet, group) for group in before} == before


@pytest.mark.slow
def test_the_ca_of_servers_is_rotated_without_the_groups(fleet: Fleet) -> None:
    before = {group: bundle(fleet, group) for group in ("default", "ops", "staging")}

    run = fleet.play("rotate_ca")

    assert not run.failed, run.output
    assert [group for group in before if before[group] != bundle(fleet, group)] == ["default"]
    assert {fleet.holds(name)["signer"] for name in ENGINES} == {first(bundle(fleet, "default"))}
    assert {fleet.holds(name)["ca"] for name in CLIENTS} == {bundle(fleet, "default")}
    assert pairs(fleet, "ops1", "build1") == {"ops1": "ops", "build1": "staging", "build1/ops": "ops"}


@pytest.mark.slow
def test_a_revocation_replaces_the_cas_of_the_identity_s_groups(fleet: Fleet) -> None:
    before = {group: bundle(fleet, group) for group in ("default", "ops", "staging")}
    leaving = fleet.root / CA / "revoked/jenkins"

    told = fleet.play("revoke_client", docker_revoke_name="jenkins")
    assert not told.failed, told.output
    assert "Engines still accept 2 certificates of jenkins, because" in " ".join(told.output.split())
    assert {group: bundle(fleet, group) for group in before} == before
    assert accounts(fleet, "web1") == {"docker-build1"}

    run = fleet.play("revoke_client", docker_revoke_name="jenkins", docker_revoke_by_rotation=True)
    assert not run.failed, run.output
    assert leaving.exists()
    # From before the fleet had groups, it has one of the group default as well.
    assert [group for group in before if before[group] != bundle(fleet, group)] == ["default", "staging"]
    assert pairs(fleet, "ops1", "build1") == {"ops1": "ops", "build1": "staging", "build1/ops": "ops"}


@pytest.mark.slow
def test_who_leaves_a_group_loses_the_pair_and_the_account_and_the_report_says_what_is_left(
    moved_once: tuple[Fleet, Run, Run],
) -> None:
    fleet, _, run = moved_once
    assert pairs(fleet, "build1") == {"build1": "ops"}
    assert accounts(fleet, "web1") == {"docker-jenkins"}
    assert "docker-build1" in accounts(fleet, "web2")
    said = " ".join(run.output.split())
    assert "build1 left the access group staging, whose engines accept certificates of it until they end." in said
    assert "bulkhead.docker.rotate_ca -e docker_rotate_groups=staging ends that now." in said


@pytest.mark.slow
def test_a_group_leaves_an_engine_by_an_ordinary_run(moved_once: tuple[Fleet, Run, Run]) -> None:
    fleet, checked, run = moved_once
    assert "to be changed: web1, web2" in checked.report["summary"]
    assert trusted(fleet) == {"web1": {"staging"}, "web2": {"ops"}}
    assert accounts(fleet, "web2") == {"docker-ops1", "docker-build1"}
    assert "changed: web1, web2" in run.report["summary"]


@pytest.mark.slow
def test_a_new_group_is_made_in_check_mode_in_words_alone(
    grouped_once: Fleet, moved_once: tuple[Fleet, Run, Run]
) -> None:
    fleet, checked, _ = moved_once
    assert checked.files == grouped_once.files()
    assert bundle(fleet, "prod") in fleet.holds("web1")["ca"]


def test_groups_that_nobody_knows_are_refused_before_a_host_is_asked(fleet: Fleet) -> None:
    run = fleet.play("rotate_ca", docker_rotate_groups="stagin")
    assert run.failed
    said = " ".join(run.output.split())
    assert "docker_rotate_groups has 'stagin', which is no access group. Did you mean staging?" in said
    assert run.asked["web1"] == run.asked["web2"] == []
