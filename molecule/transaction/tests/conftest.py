"""Tests that follow one another on the same engines."""

from __future__ import annotations

import os

import pytest
from fleet import Fleet

# The oldest and the newest Docker, and no systemd; `make test-all` tries each host.
HOSTS = ("d11", "dt", "s12")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """After a failure the engines are not as the next test needs them."""
    if item.session.testsfailed:
        pytest.skip("a test before this one has failed")


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    return Fleet(() if os.environ.get("TEST_ALL") else HOSTS)
