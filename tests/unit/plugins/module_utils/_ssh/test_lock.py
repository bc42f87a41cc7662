"""Only root can hold the lock, and nobody waits for it without end."""

from __future__ import annotations

import fcntl
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _locks
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


def test_whoever_comes_second_is_told_who_holds_it_and_the_next_one_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lock, "_TIMEOUT", 0)
    says = (
        rf"^the process {os.getpid()} \(.+\) has held .*/lock, which lets one change of SSH access to this host through"
    )
    with _lock.held(), pytest.raises(_locks.LockError, match=says), _lock.held():
        pass
    with _lock.held():
        pass


def test_nobody_who_has_gone_gets_it(file: pathlib.Path) -> None:
    says = "nobody waits for this change any more"
    with pytest.raises(_locks.LockError, match=says), _lock.held(lambda: False):
        pytest.fail("it was free, and nobody awaits what comes now")
    with file.open() as somebody:
        fcntl.flock(somebody, fcntl.LOCK_EX)
        with pytest.raises(_locks.LockError, match=says), _lock.held(lambda: False):
            pass


def test_a_holder_is_another_process_where_the_kernel_has_no_list(
    file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: t.Any, **__: t.Any) -> t.NoReturn:
        raise FileNotFoundError

    file.touch()
    with file.open() as descriptor:
        monkeypatch.setattr(pathlib.Path, "read_text", none)
        assert _locks.holder(descriptor.fileno()) == "another process"


def test_a_link_in_its_place_is_not_followed(file: pathlib.Path) -> None:
    file.symlink_to(file.with_name("elsewhere"))
    with pytest.raises(OSError, match="symbolic"), _lock.held():
        pass
    assert not file.with_name("elsewhere").exists()
