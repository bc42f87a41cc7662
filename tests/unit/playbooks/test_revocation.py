"""Revocations that something speaks against: nothing of an identity is left without a word."""

from __future__ import annotations

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
