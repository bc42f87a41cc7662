"""A fleet that an honest run has secured, made once for all tests that begin with it."""

from __future__ import annotations

import pytest
from helpers.fake_fleet import Fleet


@pytest.fixture(scope="session")
def secured_once(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet.make(tmp_path_factory.mktemp("secured") / "fleet")
    done = fleet.play("site")
    assert not done.failed, done.output
    return fleet


@pytest.fixture(scope="module")
def secured(secured_once: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """For a module of its own, whose tests may play on it."""
    return secured_once.copy(tmp_path_factory.mktemp("copy") / "fleet")
