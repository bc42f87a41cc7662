"""Hosts that answer as they like: a run ends with a finding about them, and nothing about anybody else differs.

A liar's answers are for its host alone. They set no variable, choose no name, usage or validity of a certificate, and
bring no text to the terminal that it would act on. See helpers/fake_host.py for the ways in which hosts lie.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_fleet import CLIENTS, ENGINES, Fleet, Issued, Run

LOCAL = ("127.0.0.1", "::1", "localhost")
# What the plan has: nothing else may stand in a certificate, whoever asks for it.
PLANNED = {
    **{f"CN={name}": ("serverAuth", {name, f"192.0.2.{number}", *LOCAL}) for number, name in enumerate(ENGINES, 1)},
    **{f"CN={name}": ("clientAuth", set()) for name in CLIENTS},
}
DAYS = 365
REFUSED = "web1 does not answer as the module bulkhead.docker.docker_daemon_config does"
# Errors of programs, which no operator is to see.
TRACES = re.compile(r"Traceback|\b(Key|Type|Value|Attribute|Index)Error|object of type|has no attribute|is undefined")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Run]:
    """A fleet that an honest run has secured, and that run."""
    fleet = Fleet.make(tmp_path_factory.mktemp("fleet") / "secured")
    done = fleet.play("site")
    assert not done.failed, done.output
    return fleet, done


@pytest.fixture
def fresh(tmp_path: Path) -> Fleet:
    """A fleet where nobody has a certificate yet."""
    return Fleet.make(tmp_path / "fresh")


def assert_planned(run: Run) -> None:
    for issued in run.issued:
        usage, names = PLANNED[issued.name]
        assert issued == Issued(issued.name, (usage,), issued.names, DAYS, False)
        assert set(issued.names) == names


def assert_nobody_else_differs(run: Run, honest: Run, *liars: str) -> None:
    """The hosts that do not lie were asked the same, are reported the same and got the same; so is the CA."""
    assert_planned(run)
    for host in set(run.asked) - set(liars):
        assert about_others(run.asked[host], liars) == about_others(honest.asked[host], liars), host
    own = {f"CN={name}" for name in liars}
    assert [issued for issued in run.issued if issued.name not in own] == [
        issued for issued in honest.issued if issued.name not in own
    ]
    assert without(run.files, liars) == without(honest.files, liars)
    assert run.rows(*liars) == honest.rows(*liars)
    assert_clean(run)


def about_others(asked: list[str], liars: tuple[str, ...]) -> list[str]:
    """Without the verification of an engine that lies, which may have ended before."""
    return [
        line
        for line in asked
        if not re.search(rf'"endpoints": \[{{[^}}]*"name": "({"|".join(liars)})"[^}}]*}}\]', line)
    ]


def without(files: dict[str, str], liars: tuple[str, ...]) -> dict[str, str]:
    return {name: mode for name, mode in files.items() if not any(f"-{liar}-" in name for liar in liars)}


def assert_clean(run: Run) -> None:
    """Nothing was evaluated, and what we print has no control characters and no errors of programs."""
    assert run.created == []
    assert "poison" not in run.output.partition("CUSTOM STATS")[2]
    told = json.dumps(run.report, ensure_ascii=False)
    assert all(character.isprintable() for character in told)
    assert not TRACES.search(told)


def assert_blamed(run: Run, host: str, said: str = "") -> None:
    assert run.failed
    expected = said or f"{host} does not answer as the module"
    assert any(expected in finding for finding in run.problems(host)), run.output


def test_an_honest_fleet_gets_what_the_plan_says(start: tuple[Fleet, Run]) -> None:
    _, site = start

    assert_planned(site)
    assert sorted(issued.name for issued in site.issued) == sorted(PLANNED)
    assert [(row["host"], row["findings"]) for row in site.rows()] == [
        (host, []) for host in (*ENGINES, *CLIENTS, "localhost")
    ]


@pytest.mark.parametrize("liars", [{"web1": "broken"}, {"web1": "poisoned", "web2": "skipping"}])
def test_site_ends_before_the_first_change_where_an_engine_lies(fresh: Fleet, liars: dict[str, str]) -> None:
    before = fresh.files()

    run = fresh.play("site", liars=liars)

    assert run.failed
    for name in liars:
        assert REFUSED.replace("web1", name) in run.output
    assert (run.issued, run.files) == ([], before)
    assert {name: len(asked) for name, asked in run.asked.items()} == dict.fromkeys(run.asked, 1)
    assert "no error message" not in run.output
    assert_clean(run)


def test_site_goes_no_further_than_the_identities_where_a_client_lies(fresh: Fleet, start: tuple[Fleet, Run]) -> None:
    _, honest = start

    run = fresh.play("site", liars={"build1": "broken"})

    assert run.failed
    assert "build1 does not answer as the module bulkhead.docker.docker_identity_info does" in run.output
    assert [issued.name for issued in run.issued] == ["CN=ops1"]
    for host in (*ENGINES, "ops1"):  # as in a run without the lie, which goes on where this one ends
        assert run.asked[host] == honest.asked[host][: len(run.asked[host])]
    assert_planned(run)
    assert_clean(run)


def test_hostile_values_of_the_right_types_stay_with_their_host(fresh: Fleet, start: tuple[Fleet, Run]) -> None:
    _, honest = start

    run = fresh.play("site", liars={"web1": "hostile", "build1": "hostile"})

    # The requests ask for web2's names, for a client's usage and for a CA; the answers of these modules set variables.
    assert_nobody_else_differs(run, honest, "web1", "build1")
    assert run.failed
    assert run.problems("web1")
    assert "no number of days" in " ".join(run.problems("build1"))


def test_renew_is_the_same_for_everybody_else(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    fleet, _ = start
    honest = fleet.copy(tmp_path / "honest").play("renew", docker_renew_force=True)
    assert not honest.failed, honest.output

    run = fleet.copy(tmp_path / "lied").play(
        "renew", liars={"web1": "broken", "build1": "broken"}, docker_renew_force=True
    )

    assert_blamed(run, "web1")
    assert_blamed(run, "build1")
    renewed = [f"CN={name}" for name in ("ops1", "web2")]
    assert [issued.name for issued in run.issued if issued in honest.issued] == [issued.name for issued in run.issued]
    assert sorted({issued.name for issued in run.issued if run.issued.count(issued) == 2}) == renewed
    assert_nobody_else_differs(run, honest, "web1", "build1")


def test_a_rotation_does_not_begin(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    fleet = start[0].copy(tmp_path / "lied")
    before = fleet.files()

    run = fleet.play("rotate_ca", liars={"web1": "broken"})

    assert run.failed
    assert REFUSED in run.output
    assert (run.files, run.issued) == (before, start[1].issued)
    assert_clean(run)


def test_a_client_is_revoked_whoever_lies(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    options: dict[str, Any] = {"docker_revoke_name": "build1"}
    honest = start[0].copy(tmp_path / "honest").play("revoke_client", **options)
    assert not honest.failed, honest.output

    run = (
        start[0].copy(tmp_path / "lied").play("revoke_client", liars={"web1": "broken", "build1": "broken"}, **options)
    )

    assert ".bulkhead/ca/revoked/build1" in run.files
    assert_blamed(run, "web1")
    assert_blamed(run, "build1")
    assert_nobody_else_differs(run, honest, "web1", "build1")


def test_verify_has_a_finding_about_the_liar_alone(start: tuple[Fleet, Run]) -> None:
    honest = start[0].play("verify")
    assert not honest.failed, honest.output

    run = start[0].play("verify", liars={"web1": "broken"})

    assert_blamed(run, "web1")
    assert_nobody_else_differs(run, honest, "web1")


def test_whoever_verifies_is_named_where_it_gives_no_answer(start: tuple[Fleet, Run]) -> None:
    run = start[0].play("verify", liars={"ops1": "broken"})

    for engine in ENGINES:
        assert_blamed(run, engine, f"the verifying host ops1 gave no answer for {engine}")
    assert_clean(run)


def test_remove_keeps_the_ca_that_the_liar_may_need(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    options: dict[str, Any] = {"docker_remove_hosts": "all", "docker_remove_ca": True}
    honest = start[0].copy(tmp_path / "honest").play("remove", **options)
    assert not honest.failed, honest.output
    assert honest.issued == []

    run = start[0].copy(tmp_path / "lied").play("remove", liars={"web1": "broken"}, **options)

    assert run.failed
    assert "The CA stays, because engines trust it that this run has not given back: web1." in run.output
    assert run.issued == start[1].issued
    for host in ("web2", *CLIENTS):
        assert run.asked[host] == honest.asked[host]
    assert_clean(run)


def test_facts_that_are_left_in_a_cache_end_the_run(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    fleet = start[0].copy(tmp_path / "cached")
    cache = fleet.root / "facts"
    cache.mkdir()
    facts = json.dumps({"docker_engine_address": "192.0.2.66"})
    (cache / "web1").write_text(facts, encoding="utf-8")
    (cache / "s1_web1").write_text(json.dumps({"__payload__": facts}), encoding="utf-8")  # since ansible-core 2.19

    run = fleet.play("site", cache=cache)

    assert run.failed
    assert "web1 has facts with the names of this collection's variables: docker_engine_address." in run.output
    assert not any(run.asked.values())
