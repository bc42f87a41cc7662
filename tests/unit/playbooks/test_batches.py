"""More than one engine in a batch: each gets its certificate from the one signing, or says why it has none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_fleet import Fleet, Run
from helpers.slow import slow


@pytest.mark.parametrize("in_place", [slow(()), ("web1",)], ids=["all are due", "the first is not due"])
def test_every_engine_of_a_batch_gets_its_certificate(
    secured_once: Fleet, tmp_path: Path, in_place: tuple[str, ...]
) -> None:
    fleet = secured_once.copy(tmp_path / "fleet") if in_place else Fleet.make(tmp_path / "fleet")
    if in_place:
        state = tmp_path / "fleet/hosts/web2/state.json"
        state.write_text(json.dumps({}), encoding="utf-8")  # as if it had been installed anew

    run = fleet.play("site", docker_engine_serial=2)

    assert not run.failed, run.output
    assert f"Batch 1 of 1: {', '.join(name for name in ('web1', 'web2') if name not in in_place)}." in run.output
    assert "web2 gets a new key and certificate: it is not from this CA." in run.output
    for host in ("web1", "web2"):
        installed = [asked for asked in run.asked[host] if '"server_certificate": "<CERTIFICATE' in asked]
        assert bool(installed) == (host not in in_place)
    assert sorted({issued.name for issued in run.issued if issued.usages == ("serverAuth",)}) == ["CN=web1", "CN=web2"]


def test_a_ca_that_cannot_sign_ends_no_run_without_its_report(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    record = fleet.root / "home/.bulkhead/ca/issued"
    shutil.rmtree(record)
    record.write_text("", encoding="ascii")  # where no certificate can be recorded

    run = fleet.play("renew", docker_renew_force=True, docker_engine_serial=2)

    assert run.failed
    for engine in ("web1", "web2"):
        assert "did not sign" in " ".join(run.problems(engine))
        assert not [asked for asked in run.asked[engine] if '"server_certificate": "<CERTIFICATE' in asked]


@pytest.mark.slow
@pytest.mark.parametrize("playbook", ["site", "renew", "rotate_ca"])
def test_check_mode_of_a_fleet_that_is_right_finds_nothing(secured: Fleet, playbook: str) -> None:
    before = secured.files()

    run = secured.play(playbook, options=["--check"])

    assert not run.failed, run.output
    assert (secured.files(), run.problems("web1"), run.problems("web2")) == (before, [], [])


def certificate_given(run: Run, engine: str) -> bool:
    return any('"server_certificate": "<CERTIFICATE' in asked for asked in run.asked[engine])


def key_removed(run: Run, engine: str) -> bool:
    return any('"path": "/var/lib/bulkhead/pending"' in asked for asked in run.asked[engine])


@pytest.mark.slow
@pytest.mark.parametrize("full", ["web1", "web2"])
def test_an_engine_that_cannot_make_a_key_keeps_no_other_from_its_turn(tmp_path: Path, full: str) -> None:
    fleet = Fleet.make(tmp_path / "fleet")
    other = "web2" if full == "web1" else "web1"

    run = fleet.play("site", {full: "requestless"})

    assert run.failed
    assert "There is no space left" in " ".join(run.problems(full))
    assert run.problems(other) == []
    assert {engine: certificate_given(run, engine) for engine in (full, other)} == {full: False, other: True}
    assert [issued.name for issued in run.issued if "serverAuth" in issued.usages] == [f"CN={other}"]


def test_no_key_stays_where_an_engine_before_has_failed(first_run: tuple[Fleet, Run], tmp_path: Path) -> None:
    fleet = Fleet.make(tmp_path / "fleet")

    run = fleet.play("site", {"web1": "changeless"}, docker_engine_serial=1)

    assert run.failed
    assert "There is no space left" in " ".join(run.problems("web1"))
    assert not certificate_given(run, "web2")
    assert {engine: key_removed(run, engine) for engine in ("web1", "web2")} == {"web1": True, "web2": True}
    _, where_none_has = first_run
    assert not any(key_removed(where_none_has, engine) for engine in ("web1", "web2"))


@pytest.mark.slow
def test_the_run_after_a_failure_removes_no_key(tmp_path: Path) -> None:
    fleet = Fleet.make(tmp_path / "fleet")
    assert fleet.play("site", {"web1": "changeless"}, docker_engine_serial=1).failed
    assert not any(key_removed(fleet.play("site"), engine) for engine in ("web1", "web2"))


def test_what_an_engine_with_accounts_refuses_is_refused_before_anything_is_changed(
    secured: Fleet, tmp_path: Path
) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    (fleet.root / "hosts/web1/state.json").write_text("{}", encoding="utf-8")  # as if it had been installed anew

    def picture() -> list[Any]:
        held = [(fleet.holds(name).get(what) for what in ("ca", "accounts", "identities")) for name in fleet.hosts]
        return [fleet.files(), *map(list, held)]

    before = picture()

    run = fleet.play("site", {"web2": "closed"})

    assert run.failed
    assert "There is no space left." in run.output
    assert picture() == before


def test_an_engine_whose_accounts_are_right_is_asked_once(secured: Fleet) -> None:
    run = secured.play("site")
    assert not run.failed, run.output
    asked = [line for line in run.asked["web1"] if "docker_ssh_access" in line]
    assert ['"_ansible_check_mode": true' in line for line in asked] == [True]
