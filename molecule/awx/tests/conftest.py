"""What this scenario's tests share."""

from __future__ import annotations

from typing import Any

import pytest
from controller import Controller


@pytest.fixture(scope="session")
def controller(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Controller:
    return Controller(lab, tmp_path_factory.mktemp("jobs"))
