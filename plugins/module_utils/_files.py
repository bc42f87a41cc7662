# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that change together: staged beside their targets, swapped by rename, and put back from hard links.

All space is taken before the first file changes, so a full disk can stop a change,
but neither the swap nor the way back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import typing as t


@dataclasses.dataclass(frozen=True)
class Target:
    """A file as it shall be; ``content`` of None means that there shall be none."""

    path: pathlib.Path
    content: bytes | None
    mode: int = 0o644
    secret: bool = False  # never shown in a diff
    restart: bool = True  # whether dockerd reads it only when it starts

    @property
    def new(self) -> pathlib.Path:
        return self.path.with_name(f".{self.path.name}.bulkhead-new")

    @property
    def old(self) -> pathlib.Path:
        return self.path.with_name(f".{self.path.name}.bulkhead-old")

    def existing(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def differs(self) -> bool:
        if self.existing() != self.content:
            return True
        return self.content is not None and (self.path.stat().st_mode & 0o7777) != self.mode

    def stage(self) -> None:
        """Write the new content beside the target and keep the old file by a second link."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        for leftover in (self.new, self.old):
            leftover.unlink(missing_ok=True)
        if self.content is not None:
            write(self.new, self.content, self.mode)
        if self.path.exists():
            os.link(self.path, self.old)

    def swap(self) -> None:
        if self.content is None:
            self.path.unlink(missing_ok=True)
        else:
            place(self.new, self.path)
        sync_folder(self.path.parent)

    def drop_staged(self) -> None:
        for leftover in (self.new, self.old):
            leftover.unlink(missing_ok=True)


def write(path: pathlib.Path, content: bytes, mode: int) -> None:
    """Create a file that is never readable by more than its mode allows, and is on the disk when this returns."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def place(source: pathlib.Path, path: pathlib.Path) -> None:
    """Put a second link to ``source`` in place of ``path`` in one step; needs no space, ``source`` stays."""
    link = path.with_name(f".{path.name}.bulkhead-link")
    link.unlink(missing_ok=True)
    os.link(source, link)
    link.replace(path)
    link.unlink(missing_ok=True)  # rename leaves it where both were the same file already


def restore(path: pathlib.Path, existed: bool, old: pathlib.Path) -> None:
    """Give ``path`` its old file back, from the link that ``stage`` kept."""
    if not existed:
        path.unlink(missing_ok=True)
    elif old.exists():
        place(old, path)
    sync_folder(path.parent)


def sync_folder(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def diff_text(target: Target, content: bytes | None, describe: t.Callable[[bytes], str] | None = None) -> str:
    """What a diff shows of a file: nothing of a secret, a description of what only machines read, else its text."""
    if content is None:
        return ""
    if target.secret:
        return "(private key, not shown)\n"
    return describe(content) if describe else content.decode("utf-8", "replace")
