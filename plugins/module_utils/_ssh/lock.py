# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change of SSH access at a time on a host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import time
import typing as t

LOCK = pathlib.Path("/run/bulkhead-ssh.lock")  # where no removal has to look for it


class LockError(Exception):
    """One sentence about a lock that somebody else holds."""


@contextlib.contextmanager
def held(seconds: float = 120) -> t.Iterator[None]:
    """Only root can open the file, and so hold the lock."""
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        _wait(descriptor, time.monotonic() + seconds)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, end: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise LockError(
                    f"another run changes SSH access on this host ('fuser {LOCK}' shows its process); wait for it, or "
                    "end it if its control node is gone."
                ) from error
        time.sleep(0.1)
