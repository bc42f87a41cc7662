"""A fleet that an honest run has secured, made once for all tests that begin with it."""

from __future__ import annotations

import pytest
from helpers.fake_fleet import Fleet, Run


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Run]:
    fleet = Fleet.make(tmp_path_factory.mktemp("secured") / "fleet")
    done = fleet.play("site")
    assert not done.failed, done.output
    return fleet, done


@pytest.fixture(scope="session")
def secured_once(first_run: tuple[Fleet, Run]) -> Fleet:
    return first_run[0]


@pytest.fixture(scope="module")
def secured(secured_once: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """For a module of its own, whose tests may play on it."""
    return secured_once.copy(tmp_path_factory.mktemp("copy") / "fleet")
