"""Revocations that something speaks against: nothing of an identity is left without a word."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_fleet import ENGINES, Fleet, Run
from helpers.fake_host import first
from helpers.pki import Authority
from helpers.slow import slow

RECORD = "home/.bulkhead/ca/issued"


@pytest.fixture(scope="module")
def left_behind(secured: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """With a new CA, which web1 does not know."""
    fleet = secured.copy(tmp_path_factory.mktemp("left_behind") / "fleet")
    done = fleet.play("rotate_ca", docker_rotate_exclude=["web1"])
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

    assert run.failed, "its keys are there as before"
    (problem,) = run.report["problems"]
    assert "build1 may have the keys of jenkins as before" in problem
    assert ".bulkhead/ca/revoked/jenkins" in run.files
    assert [accounts(fleet, name) for name in ENGINES] == [before, before]


def test_a_name_that_nobody_knows_changes_nothing(fleet: Fleet) -> None:
    add_account(fleet, "web2", "docker-gone")
    before = (fleet.files(), accounts(fleet, "web2"))

    run = fleet.play("revoke_client", docker_revoke_name="gine")

    assert run.failed
    assert "has never issued a client certificate for gine. Correct the name." in " ".join(run.output.split())
    assert (fleet.files(), accounts(fleet, "web2")) == before


def test_an_engine_that_a_rotation_has_left_behind_is_named(fleet: Fleet) -> None:
    old = Authority("the CA before").pem
    file = fleet.root / "hosts/web1/state.json"
    file.write_text(json.dumps({**fleet.holds("web1"), "ca": old, "signer": first(old)}), encoding="utf-8")

    run = fleet.play("revoke_client", docker_revoke_name="jenkins")

    assert_left_behind(run)


def assert_left_behind(run: Run) -> None:
    assert run.failed
    (finding,) = run.problems("web1")
    assert "it may let jenkins in as before, because it trusts a CA that is not the present one" in finding
    assert run.problems("web2") == []


@pytest.mark.slow
@pytest.mark.parametrize("by_rotation", [False, True])
def test_an_engine_that_a_rotation_has_left_behind_is_named_when_it_is_back(
    secured: Fleet, left_behind: Fleet, tmp_path: Path, by_rotation: bool
) -> None:
    fleet = left_behind.copy(tmp_path / "back")
    assert fleet.holds("web1")["ca"] == secured.holds("web1")["ca"]
    options: dict[str, Any] = {"docker_revoke_name": "jenkins", "docker_revoke_by_rotation": by_rotation}

    run = fleet.play("revoke_client", **options)

    if by_rotation:  # it was brought along
        assert not run.failed, run.output
        assert fleet.holds("web1")["ca"] == fleet.holds("web2")["ca"]
    else:
        assert_left_behind(run)


@pytest.mark.slow
def test_an_engine_that_was_left_behind_is_named_where_no_rotation_is_due_any_more(
    left_behind: Fleet, tmp_path: Path
) -> None:
    """The identity was revoked before that rotation, so that it has no certificate of the present CA."""
    fleet = left_behind.copy(tmp_path / "back")
    options: dict[str, Any] = {"docker_revoke_name": "eve", "docker_revoke_by_rotation": True}
    (fleet.root / "home/.bulkhead/ca/revoked").mkdir(mode=0o700)
    (fleet.root / "home/.bulkhead/ca/revoked/eve").touch()
    os.utime(fleet.root / "home/.bulkhead/ca/revoked/eve", (0, 0))

    run = fleet.play("revoke_client", **options)

    assert run.failed
    assert "it may let eve in as before" in " ".join(run.problems("web1"))


@pytest.mark.parametrize("loss", ["lost", slow("damaged")])
def test_a_revocation_without_its_record_says_that_it_may_not_be_whole(fleet: Fleet, loss: str) -> None:
    lose(fleet, loss)

    run = fleet.play("revoke_client", docker_revoke_name="jenkins")

    assert run.failed
    assert "it is not certain which certificates jenkins has" in " ".join(run.problems("localhost"))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [slow("lost"), "damaged"])
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["honest", "broken", "nothing"])
def test_a_user_with_a_second_identity_does_not_stop_what_ends_his_first(tmp_path: Path, kind: str) -> None:
    """He answers nonsense to everything, or about public keys alone. Honest, he has his second one in the end."""
    fleet = Fleet.make(tmp_path / "fleet")
    fleet.further = {"ci": "jenkins"}
    assert not fleet.play("site").failed
    (before,) = {fleet.holds(name)["ca"] for name in ENGINES}

    run = fleet.play(
        "revoke_client",
        liars={"jenkins@build1": kind},
        docker_revoke_name="jenkins",
        docker_revoke_by_rotation=True,
    )

    assert run.failed is (kind != "honest"), run.output
    (after,) = {fleet.holds(name)["ca"] for name in (*ENGINES, "ops1", "build1")}
    assert (after.count("-----END"), after != before) == (1, True)
    names = [issued.name for issued in run.issued]
    assert (names.count("CN=jenkins"), names.count("CN=build1")) == (1, 2)
    if kind == "honest":
        assert fleet.holds("jenkins@build1")["identities"] == {"ci": first(after)}
