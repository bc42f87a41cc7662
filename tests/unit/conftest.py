"""The order of the files, which is the one in which `make test` gives them to two processes."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Tests that start Ansible. The quick ones come after them, so that no process has a long file when the other is done.
LONG = ("playbooks", "roles", "plugins/modules")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)  # in the files, and among those of a rank, everything stays as it is


def _rank(item: pytest.Item) -> int:
    folders = [str(folder) for folder in item.path.relative_to(HERE).parents]
    return next((number for number, folder in enumerate(LONG) if folder in folders), len(LONG))
