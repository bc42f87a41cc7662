"""Values with which a test is a repetition: `make test-all` has them, `make test` has those that come before."""

from __future__ import annotations

import typing as t

import pytest


def slow(*values: t.Any) -> t.Any:
    return pytest.param(*values, marks=pytest.mark.slow)
