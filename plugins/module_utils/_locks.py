# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks on files: one change at a time, waited for with an end that names the holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import time
import typing as t


class LockError(Exception):
    """One sentence: who holds a lock, or that nobody waits for what would be done with it. Nothing was changed."""


@contextlib.contextmanager
def held(
    path: pathlib.Path, what: str, seconds: float, is_awaited: t.Callable[[], bool] = lambda: True
) -> t.Iterator[None]:
    """The lock of root's changes of ``what``, with somebody who still waits for them."""
    # Who can open the file can hold the lock, for reading, too.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        end = time.monotonic() + seconds
        while not taken(descriptor):
            end_if_not_awaited(is_awaited)
            if time.monotonic() > end:
                raise LockError(
                    f"{holder(descriptor)} has held {path}, which lets one change of {what} through at a time, "
                    f"for {seconds / 60:.0f} minutes; wait for its end, or end it, and run this again."
                )
            time.sleep(0.2)
        end_if_not_awaited(is_awaited)
        yield
    finally:
        os.close(descriptor)


def end_if_not_awaited(is_awaited: t.Callable[[], bool]) -> None:
    """What was wanted long ago may be wrong by now: whoever waited for it has gone, and others may have come."""
    if not is_awaited():
        raise LockError("nobody waits for this change any more; nothing was changed.")


def taken(descriptor: int) -> bool:
    """Whether the lock of this open file is ours from now on."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_still_at(path: pathlib.Path, descriptor: int, follow_symlinks: bool = False) -> bool:
    """Whether others would open the same file: whoever held the lock may have taken the file along."""
    try:
        return os.path.samestat(path.stat() if follow_symlinks else path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def holder(descriptor: int) -> str:
    """Who holds the lock of this open file, by the kernel's list, where there is one."""
    inode = os.fstat(descriptor).st_ino
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
                name = pathlib.Path(f"/proc/{words[4]}/comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"the process {words[4]} ({name})"
    return "another process"
