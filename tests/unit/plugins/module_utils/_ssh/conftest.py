from __future__ import annotations

import os
import pathlib

import pytest
from helpers import ssh_engine


@pytest.fixture
def engine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> ssh_engine.Engine:
    if os.geteuid() != 0:
        pytest.skip("files of an engine belong to root")
    return ssh_engine.build(tmp_path, monkeypatch)
