"""Hosts that cannot be reached: a run says which, in a sentence, and ends before anything is changed anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.fake_fleet import Fleet
from helpers.slow import slow


@pytest.mark.parametrize(
    ("gone", "extra", "says"),
    [
        ("web1", {}, "web1 cannot be reached: "),
        ("ops1", {"docker_ca_host": "ops1"}, "The CA host ops1 cannot be reached: "),
    ],
)
def test_site_names_who_cannot_be_reached(tmp_path: Path, gone: str, extra: dict[str, Any], says: str) -> None:
    fleet = Fleet.make(
        tmp_path / "fleet", passphrase=""
    )  # which would be for another host than the one that keeps the CA
    before = fleet.files()

    run = fleet.play("site", liars={gone: "unreachable"}, **extra)

    assert run.failed
    assert says in " ".join(run.output.split())
    assert "Nothing was changed" in " ".join(run.output.split())
    assert (run.issued, run.files) == ([], before)


@pytest.mark.parametrize("trouble", ["unreachable", slow("broken")])
def test_a_client_that_does_not_answer_is_named_and_no_engine_for_it(tmp_path: Path, trouble: str) -> None:
    fleet = Fleet.make(tmp_path / "fleet", users=())

    run = fleet.play("site", liars={"build1": trouble})

    assert run.failed
    said = " ".join(run.output.split())
    assert ("build1 cannot be reached as the connecting user" in said) == (trouble == "unreachable")
    assert "was not asked for its SSH keys" not in said
    assert "fatal: [web" not in said
    assert [name for name in ("web1", "web2") if fleet.holds(name).get("ca")] == []
