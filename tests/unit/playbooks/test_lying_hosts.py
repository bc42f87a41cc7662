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
        assert run.asked[host] == honest.asked[host], host
    own = {f"CN={name}" for name in liars}
    assert [issued for issued in run.issued if issued.name not in own] == [
        issued for issued in honest.issued if issued.name not in own
    ]
    assert without(run.files, liars) == without(honest.files, liars)
    assert run.rows(*liars) == honest.rows(*liars)
    assert_clean(run)


def without(files: dict[str, str], liars: tuple[str, ...]) -> dict[str, str]:
    return {name: mode for name, mode in files.items() if not any(f"-{liar}-" in name for liar in liars)}


def assert_clean(run: Run) -> None:
    """Nothing was evaluated, and what we print has no control characters and no errors of programs."""
    assert run.created("PWNED") == []
    assert "poison" not in run.output.partition("CUSTOM STATS")[2]
    told = json.dumps(run.report, ensure_ascii=False)
    assert all(character.isprintable() for character in told)
    assert not TRACES.search(told)


def assert_blamed(run: Run, host: str, said: str = "does not answer as the module") -> None:
    assert run.failed
    assert any(said in finding for finding in run.problems(host)), run.output


def test_an_honest_fleet_gets_what_the_plan_says(start: tuple[Fleet, Run]) -> None:
    _, site = start

    assert_planned(site)
    assert sorted(issued.name for issued in site.issued) == sorted(PLANNED)
    assert [row["state"] for row in site.rows()] == ["changed", "changed", "changed", "changed", "ok"]


@pytest.mark.parametrize("kind", ["broken", "poisoned", "skipping"])
def test_site_ends_before_the_first_change_where_an_engine_lies(fresh: Fleet, kind: str) -> None:
    before = fresh.files()

    run = fresh.play("site", liars={"web1": kind})

    assert run.failed
    assert "web1 does not answer as the module bulkhead.docker.docker_daemon_config does" in run.output
    assert (run.issued, run.files) == ([], before)
    assert {name: len(asked) for name, asked in run.asked.items()} == dict.fromkeys(run.asked, 1)
    assert "no error message" not in run.output
    assert_clean(run)
