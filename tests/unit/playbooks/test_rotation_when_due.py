"""A scheduled renewal of a CA that is due: it rotates where nobody would be shut out, and else renews as always."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import create, rotation
from ansible_collections.bulkhead.docker.plugins.module_utils._ca.directory import Directory
from helpers.fake_fleet import CLIENTS, ENGINES, Fleet, Run
from helpers.slow import slow

CA = "home/.bulkhead/ca"
DUE: dict[str, Any] = {"docker_ca_rotate_when_due": True, "docker_ca_minimum_days": 3100}
REFUSES = "docker_ca_rotate_when_due does not replace it: "


@pytest.fixture
def fleet(secured: Fleet, tmp_path: Path) -> Fleet:
    return secured.copy(tmp_path / "fleet")


def bundles(fleet: Fleet) -> set[str]:
    return {fleet.holds(name)["ca"] for name in (*ENGINES, *CLIENTS, "jenkins@build1")}


def begin(fleet: Fleet, *phases: str) -> None:
    """A rotation that was interrupted in the last of these phases."""
    directory = Directory(fleet.root / CA)
    create.ensure_successor(directory, fleet.passphrase, create.Wanted("bulkhead.docker CA", "P-256", 0, 3650))
    for phase in phases:
        rotation.advance(directory, phase)


def assert_rotated(fleet: Fleet, run: Run, before: set[str]) -> None:
    assert not run.failed, run.output
    (new,) = bundles(fleet)
    assert (new.count("-----END"), new in before) == (1, False)
    assert {fleet.holds(name)["signer"] in new for name in ENGINES} == {True}
    assert not [name for name in run.files if name.endswith(("/next", "/previous", "/rotation"))]
    assert run.report["playbook"] == "rotate_ca"


def assert_renewed_and_not_rotated(fleet: Fleet, run: Run, before: set[str], reason: str) -> None:
    assert run.failed
    assert [finding for finding in run.problems("localhost") if finding.startswith(REFUSES) and reason in finding]
    assert bundles(fleet) == before
    assert run.report["playbook"] == "renew"


def test_a_ca_that_is_due_is_replaced(fleet: Fleet) -> None:
    before = bundles(fleet)

    # What is renewed in any case is so by the rotation, once.
    run = fleet.play("renew", docker_renew_force=True, **DUE)

    assert_rotated(fleet, run, before)
    assert [issued.name for issued in run.issued].count("CN=web1") == 2


@pytest.mark.slow
def test_check_mode_says_what_would_happen(fleet: Fleet) -> None:
    before = fleet.files()

    run = fleet.play("renew", options=["--check"], **DUE)

    assert not run.failed, run.output
    assert "The rotation would pass the phases trust, reissue and retire." in run.output
    assert fleet.files() == before
    assert all(told(line)["_ansible_check_mode"] for name in ENGINES for line in run.asked[name])


def told(line: str) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(line.partition(" ")[2])
    return options


@pytest.mark.slow
def test_a_rotation_that_was_interrupted_goes_on(fleet: Fleet) -> None:
    before = bundles(fleet)
    begin(fleet, "trust", "reissue")

    run = fleet.play("renew", docker_ca_rotate_when_due=True)

    assert_rotated(fleet, run, before)


def test_without_the_variable_the_playbook_that_does_it_is_named(fleet: Fleet) -> None:
    before = bundles(fleet)

    run = fleet.play("renew", docker_ca_minimum_days=3100)

    assert run.failed
    assert "replace it with the playbook bulkhead.docker.rotate_ca" in " ".join(run.problems("localhost"))
    assert bundles(fleet) == before


def test_a_ca_that_is_not_due_stays(fleet: Fleet) -> None:
    before = (bundles(fleet), fleet.files())

    run = fleet.play("renew", docker_ca_rotate_when_due=True)

    assert not run.failed, run.output
    assert (bundles(fleet), fleet.files()) == before


@pytest.mark.parametrize("trouble", ["broken", slow("unreachable")])
def test_a_host_without_an_answer_keeps_the_ca_and_nobody_s_renewal(fleet: Fleet, trouble: str) -> None:
    before = bundles(fleet)

    run = fleet.play("renew", liars={"web1": trouble}, docker_renew_force=True, **DUE)

    assert_renewed_and_not_rotated(fleet, run, before, "web1: ")
    names = [issued.name for issued in run.issued]
    assert {name: names.count(name) for name in ("CN=web1", "CN=web2", "CN=ops1")} == {
        "CN=web1": 1,
        "CN=web2": 2,
        "CN=ops1": 2,
    }


@pytest.mark.slow
def test_a_limit_keeps_the_ca(fleet: Fleet) -> None:
    before = bundles(fleet)

    run = fleet.play("renew", options=["--limit", "web1"], docker_renew_force=True, **DUE)

    assert_renewed_and_not_rotated(fleet, run, before, "--limit leaves hosts out")
    assert [issued.name for issued in run.issued].count("CN=web1") == 2


@pytest.mark.parametrize("hosts", [{"docker_client_hosts": "ops1"}, slow({"docker_engine_hosts": "web1"})])
def test_a_run_that_does_not_know_everybody_keeps_the_ca(fleet: Fleet, hosts: dict[str, str]) -> None:
    before = bundles(fleet)

    run = fleet.play("renew", **hosts, **DUE)

    stranger = "the server web2" if "docker_engine_hosts" in hosts else "build1, jenkins on the client host build1"
    assert_renewed_and_not_rotated(fleet, run, before, f"the CA's record has {stranger}")


@pytest.mark.slow
def test_an_engine_that_was_never_set_up_is_not_set_up_by_a_rotation(fleet: Fleet) -> None:
    (fleet.root / "hosts/web1/state.json").write_text("{}", encoding="utf-8")

    run = fleet.play("renew", **DUE)

    assert run.failed
    assert f"{REFUSES}web1: it was never set up" in " ".join(run.problems("localhost"))
    assert "ca" not in fleet.holds("web1")


@pytest.mark.slow
def test_a_record_that_cannot_be_read_keeps_the_ca(fleet: Fleet) -> None:
    before = bundles(fleet)
    next((fleet.root / CA / "issued").glob("client-ops1-*")).write_text("", encoding="ascii")

    run = fleet.play("renew", **DUE)

    assert_renewed_and_not_rotated(fleet, run, before, "does not hold exactly one certificate")
