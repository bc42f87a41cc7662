"""Identities that end on a day: nothing of them is signed beyond it, and what they have goes with the next run."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
from helpers.fake_fleet import Fleet
from helpers.slow import slow

TODAY = datetime.datetime.now(datetime.timezone.utc).date()
SOON, GONE = (TODAY + datetime.timedelta(days=days) for days in (20, -1))


def identities(jenkins: Any) -> list[dict[str, Any]]:
    return [{"name": "build1"}, {"name": "jenkins", "user": "jenkins", "expires": jenkins}]


@pytest.fixture(scope="module")
def temporary_once(secured_once: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = secured_once.copy(tmp_path_factory.mktemp("temporary") / "fleet")
    # As YAML reads a date without quotes; and what was signed before has no end.
    fleet.variables = {"build1": {"docker_client_identities": identities(SOON), "docker_client_renew_force": True}}
    done = fleet.play("site")
    assert not done.failed, done.output
    del fleet.variables["build1"]["docker_client_renew_force"]
    return fleet


@pytest.fixture
def fleet(temporary_once: Fleet, tmp_path: Path) -> Fleet:
    fleet = temporary_once.copy(tmp_path / "fleet")
    fleet.variables = copy.deepcopy(temporary_once.variables)
    return fleet


def signed(fleet: Fleet) -> list[x509.Entry]:
    files = (fleet.root / "home").rglob("issued/client-jenkins-*.pem")
    return [x509.load_bundle(path.read_text(encoding="ascii"))[0] for path in sorted(files)]


def held(fleet: Fleet) -> tuple[bool, dict[str, list[str]], bool]:
    """Whether jenkins has a key, the ends of accounts by engine, and whether the record has somebody of that name."""
    accounts = {
        name: [user.get("expires", "") for user in fleet.holds(name)["accounts"] if user["name"] == "docker-jenkins"]
        for name in ("web1", "web2")
    }
    recorded = [*(fleet.root / "home/.bulkhead/ca/holders").glob("client,build1,jenkins,*")]
    return "jenkins" in fleet.holds("jenkins@build1")["identities"], accounts, bool(recorded)


def test_neither_certificate_nor_account_outlasts_the_day(temporary_once: Fleet) -> None:
    ends = [certificate.not_after for certificate in signed(temporary_once)]
    assert ends.count(datetime.datetime.combine(SOON, datetime.time(23, 59, 59), datetime.timezone.utc)) == 1
    assert f"Identities with an end: jenkins ({SOON})" in temporary_once.play("verify").output
    assert held(temporary_once) == (True, {"web1": [str(SOON)], "web2": [str(SOON)]}, True)


@pytest.mark.parametrize("playbook", ["verify", slow("renew")])
def test_what_has_ended_is_named_and_not_taken(fleet: Fleet, playbook: str) -> None:
    fleet.variables["build1"]["docker_client_identities"] = identities(str(GONE))
    run = fleet.play(playbook)
    assert not run.failed, run.output
    said = " ".join(run.output.split())
    assert f"Ended: jenkins ({GONE}). They get no certificate any more, and bulkhead.docker.site removes" in said
    assert held(fleet)[0]


def test_what_has_ended_is_taken_by_an_ordinary_run_that_does_not_fail(fleet: Fleet) -> None:
    fleet.variables["build1"]["docker_client_identities"] = identities(str(GONE))
    before = signed(fleet)
    checked = fleet.play("site", options=["--check"])
    assert not checked.failed, checked.output
    assert held(fleet)[0]

    run = fleet.play("site")

    assert not run.failed, run.output
    assert held(fleet) == (False, {"web1": [], "web2": []}, False)
    assert signed(fleet) == before
    said = " ".join(run.output.split())
    assert f"Ended: jenkins ({GONE})" in said
    assert "bulkhead.docker.revoke_client -e docker_revoke_name=jenkins -e docker_revoke_by_rotation=true ends" in said
    assert [row["state"] for row in run.report["rows"] if row["name"] == "jenkins@build1"] == ["ended"]
    again = fleet.play("site")
    assert not again.failed, again.output
    assert "nothing to change" in again.report["summary"]
    assert again.asked["jenkins@build1"] == []


@pytest.mark.slow
def test_a_removal_that_fails_is_named_and_done_by_the_next_run(fleet: Fleet) -> None:
    fleet.variables["build1"]["docker_client_identities"] = identities(str(GONE))
    run = fleet.play("site", {"jenkins@build1": "clinging"})
    assert run.failed
    assert held(fleet)[2]
    run = fleet.play("site")
    assert not run.failed, run.output
    assert not held(fleet)[2]


def test_a_day_is_a_date(fleet: Fleet) -> None:
    before = fleet.files()
    fleet.variables["build1"]["docker_client_identities"] = identities("next week")
    run = fleet.play("site")
    assert run.failed
    assert "expires of the identity 'jenkins' of build1 has to be a day: 'next week' is no date" in run.output
    assert fleet.files() == before
