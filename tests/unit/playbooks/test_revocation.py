"""Revocations that something speaks against: nothing of an identity is left without a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_fleet import ENGINES, Fleet

RECORD = "home/.bulkhead/ca/issued"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet.make(tmp_path_factory.mktemp("revocation") / "fleet")
    done = fleet.play("site")
    assert not done.failed, done.output
    return fleet


@pytest.fixture
def fleet(secured: Fleet, tmp_path: Path) -> Fleet:
    return secured.copy(tmp_path / "fleet")


def lose(fleet: Fleet, loss: str) -> None:
    record = fleet.root / RECORD
    if loss == "lost":
        shutil.rmtree(record)
    elif loss == "damaged":
        next(record.glob("client-jenkins-*")).write_text("", encoding="ascii")


def accounts(fleet: Fleet, engine: str) -> list[str]:
    return [user["name"] for user in fleet.holds(engine)["accounts"]]


def add_account(fleet: Fleet, engine: str, name: str) -> None:
    """That of an identity which has used SSH alone, and has left the inventory since."""
    state = fleet.holds(engine)
    state["accounts"].append({"name": name, "public_keys": []})
    (fleet.root / "hosts" / engine / "state.json").write_text(json.dumps(state), encoding="utf-8")


def test_an_identity_that_has_left_the_inventory_is_known_by_its_account(fleet: Fleet) -> None:
    add_account(fleet, "web2", "docker-gone")

    run = fleet.play("revoke_client", docker_revoke_name="gone")

    assert not run.failed, run.output
    assert "docker-gone" not in accounts(fleet, "web2")
    assert "docker-jenkins" in accounts(fleet, "web2")
    assert ".bulkhead/ca/revoked/gone" in run.files


def test_an_identity_that_has_left_the_inventory_is_known_by_the_record(fleet: Fleet) -> None:
    before = [name for name in accounts(fleet, "web1") if name != "docker-jenkins"]

    run = fleet.play("revoke_client", docker_revoke_name="jenkins", docker_client_hosts="ops1")

    assert not run.failed, run.output
    assert ".bulkhead/ca/revoked/jenkins" in run.files
    assert [accounts(fleet, name) for name in ENGINES] == [before, before]


def test_a_name_that_nobody_knows_changes_nothing(fleet: Fleet) -> None:
    add_account(fleet, "web2", "docker-gone")
    before = (fleet.files(), accounts(fleet, "web2"))

    run = fleet.play("revoke_client", docker_revoke_name="gine")

    assert run.failed
    assert "has never issued a client certificate for gine. Correct the name." in " ".join(run.output.split())
    assert (fleet.files(), accounts(fleet, "web2")) == before


@pytest.mark.parametrize("loss", ["lost", "damaged"])
def test_a_revocation_without_its_record_says_that_it_may_not_be_whole(fleet: Fleet, loss: str) -> None:
    lose(fleet, loss)

    run = fleet.play("revoke_client", docker_revoke_name="jenkins")

    assert run.failed
    assert "it is not certain which certificates jenkins has" in " ".join(run.problems("localhost"))


@pytest.mark.parametrize("loss", ["lost", "damaged"])
def test_a_revocation_by_rotation_without_its_record_rotates_once(fleet: Fleet, loss: str) -> None:
    lose(fleet, loss)
    (before,) = {fleet.holds(name)["ca"] for name in ENGINES}
    options: dict[str, Any] = {"docker_revoke_name": "jenkins", "docker_revoke_by_rotation": True}

    run = fleet.play("revoke_client", **options)

    assert not run.failed, run.output
    (after,) = {fleet.holds(name)["ca"] for name in ENGINES}
    assert (after.count("-----END"), after != before) == (1, True)
    again = fleet.play("revoke_client", **options)
    assert not again.failed, again.output
    assert {fleet.holds(name)["ca"] for name in ENGINES} == {after}
