"""An inventory that is not whole, of whatever cause: the record of the CA host says who is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import awx
from helpers.fake_fleet import Fleet

OTHERS = ("web2", "ops1")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet.make(tmp_path_factory.mktemp("record") / "fleet", passphrase="")
    done = fleet.play("site")
    assert not done.failed, done.output
    return fleet


def part(fleet: Fleet, *without: str, **clients: Any) -> Path:
    """The inventory without some of its hosts, as a slice has it or as somebody who has taken them out of a file."""
    content = fleet.content()
    for group in content.values():
        group["hosts"] = {name: values for name, values in group["hosts"].items() if name not in without}
    content["docker_clients"]["vars"].update(clients)
    return awx.write(fleet.root / "part", content)


def picture(fleet: Fleet) -> list[Any]:
    held = [{**fleet.holds(name), "phase": None} for name in fleet.hosts]
    return [fleet.files(), *held]


@pytest.mark.parametrize(
    ("playbook", "extra", "says"),
    [
        ("rotate_ca", {}, "The CA is not replaced, because these hosts would be shut out."),
        (
            "revoke_client",
            {"docker_revoke_name": "jenkins", "docker_revoke_by_rotation": True},
            "The CA is not replaced, because these hosts would be shut out.",
        ),
        ("remove", {"docker_remove_hosts": "all", "docker_remove_ca": True}, "The CA is not removed, because others"),
    ],
)
def test_nobody_s_ca_goes_who_is_not_asked(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any], says: str
) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()
    before = (fleet.root / "home/.bulkhead/ca/ca.pem").read_bytes()

    run = fleet.play(playbook, inventory=part(fleet, *OTHERS), **extra)

    assert run.failed
    said = " ".join(run.output.split())
    assert says in said
    assert "web2: it holds a server certificate and is no engine of this inventory" in said
    assert "ops1: it holds a client certificate and is no identity of this inventory" in said
    assert "build1: " not in said
    assert (fleet.root / "home/.bulkhead/ca/ca.pem").read_bytes() == before
    for name in ("web1", "web2"):
        assert fleet.holds(name)["ca"] == secured.holds(name)["ca"]
    if playbook != "revoke_client":  # which has revoked, and has said so
        assert picture(fleet) == picture(secured)


@pytest.mark.parametrize(
    ("playbook", "extra"),
    [("rotate_ca", {}), ("remove", {"docker_remove_hosts": "all", "docker_remove_ca": True})],
)
def test_who_is_gone_for_good_is_left_out_by_name(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any]
) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play(playbook, inventory=part(fleet, *OTHERS), docker_rotate_exclude=list(OTHERS), **extra)

    assert not run.failed, run.output
    assert "Left out (docker_rotate_exclude): web2, ops1." in " ".join(run.report["lines"])
    assert fleet.holds("web2") == secured.holds("web2")
    assert fleet.holds("web1").get("ca") != secured.holds("web1")["ca"]


@pytest.mark.parametrize("playbook", ["rotate_ca", "remove"])
def test_a_name_that_nobody_has_is_left_out_by_mistake(secured: Fleet, tmp_path: Path, playbook: str) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    extra = {"docker_remove_hosts": "all", "docker_remove_ca": True} if playbook == "remove" else {}

    run = fleet.play(playbook, docker_rotate_exclude=["wbe2"], **extra)

    assert run.failed
    assert "wbe2: docker_rotate_exclude has it, and it is no engine" in " ".join(run.output.split())
    assert picture(fleet) == picture(secured)


def options(run: Any, host: str, module: str) -> list[dict[str, Any]]:
    asked = [line.partition(" ") for line in run.asked[host]]
    return [json.loads(told) for name, _, told in asked if name == f"bulkhead.docker.{module}"]


def test_a_run_that_does_not_know_all_takes_no_key_and_no_context(secured: Fleet, tmp_path: Path) -> None:
    """And one that knows them does, by the same variables."""
    fleet = secured.copy(tmp_path / "fleet")
    found = {}
    for kind, without in (("whole", ()), ("part", OTHERS)):
        fleet.prepare()
        run = fleet.play("site", inventory=part(fleet, *without, docker_client_purge=True))
        assert not run.failed, run.output
        keeps = {tuple(told["keep"]) for told in options(run, "web1", "docker_ssh_access")}
        purges = {told["purge"] for told in options(run, "build1", "docker_contexts")}
        found[kind] = (keeps, purges, "were kept" in " ".join(run.report["lines"]))

    assert found["whole"] == ({()}, {True}, False)
    assert found["part"] == ({("docker-ops1", "ops1")}, {False}, True)


def test_nothing_is_kept_for_an_identity_that_was_revoked(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    done = fleet.play("revoke_client", docker_revoke_name="jenkins")
    assert not done.failed, done.output
    fleet.prepare()

    run = fleet.play("site", inventory=part(fleet, "build1"))

    assert not run.failed, run.output
    assert all(told["keep"] == ["build1", "docker-build1"] for told in options(run, "web1", "docker_ssh_access"))


def test_taking_an_engine_away_needs_no_ca(secured: Fleet, tmp_path: Path) -> None:
    """Of some hosts, and with an inventory that is not whole: nobody else is concerned."""
    fleet = secured.copy(tmp_path / "fleet")
    (fleet.root / "home/.bulkhead").rename(fleet.root / "home/gone")
    fleet.prepare()

    run = fleet.play("remove", inventory=part(fleet, *OTHERS), docker_remove_hosts="web1")

    assert not fleet.holds("web1").get("ca")
    assert [told["keep"] for told in options(run, "web1", "docker_ssh_access")] == [[]]
    assert fleet.holds("web2") == secured.holds("web2")


@pytest.mark.parametrize(
    ("playbook", "extra", "says"),
    [
        ("site", {}, "a new one would be gone with the execution environment that this job runs in"),
        ("engines", {}, "is not ready"),
        ("renew", {}, "there is no CA in ~/.bulkhead/ca"),
        ("verify", {}, "there is no CA in ~/.bulkhead/ca"),
        ("rotate_ca", {}, "There is no CA in ~/.bulkhead/ca on localhost whose successor could be made."),
        (
            "revoke_client",
            {"docker_revoke_name": "jenkins"},
            "There is no CA in ~/.bulkhead/ca on localhost. Correct docker_ca_dir.",
        ),
        ("change_passphrase", {}, "/.bulkhead/ca is not there. Correct docker_ca_dir, or bring the key back"),
    ],
)
def test_a_control_node_that_is_a_container_has_lost_the_ca(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any], says: str
) -> None:
    """Without the groups docker_ca and docker_clients each job would have a home of its own, and a CA in it."""
    fleet = secured.copy(tmp_path / "fleet")
    (fleet.root / "home/.bulkhead").rename(fleet.root / "gone")
    before = [fleet.holds(name).get("ca") for name in fleet.hosts]
    fleet.prepare()

    run = fleet.play(playbook, inventory=part(fleet), environment={"LAUNCHED_BY_RUNNER": "1"}, **extra)

    assert run.failed
    assert says in " ".join(run.output.split())
    assert not (fleet.root / "home/.bulkhead/ca/ca-key.pem").exists(), "no second CA"
    assert [fleet.holds(name).get("ca") for name in fleet.hosts] == before
