"""Only root can hold the lock, and nobody waits for it without end."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import lock as _lock


@pytest.fixture(autouse=True)
def file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(_lock, "LOCK", tmp_path / "lock")
    return tmp_path / "lock"


def test_nobody_else_can_open_it(file: pathlib.Path) -> None:
    file.touch(mode=0o644)
    old = os.umask(0)
    try:
        with _lock.held():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_whoever_comes_second_is_told_and_the_next_one_gets_it() -> None:
    with _lock.held(), pytest.raises(_lock.LockError, match="another run changes SSH access"), _lock.held(seconds=0):
        pass
    with _lock.held(seconds=0):
        pass


def test_a_link_in_its_place_is_not_followed(file: pathlib.Path) -> None:
    file.symlink_to(file.with_name("elsewhere"))
    with pytest.raises(OSError, match="symbolic"), _lock.held():
        pass
    assert not file.with_name("elsewhere").exists()
