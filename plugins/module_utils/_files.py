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
import difflib
import errno
import grp
import os
import pathlib
import stat
import typing as t

_MOST_BYTES = 1 << 20
_NOT_SHOWN = "(not shown)\n"
_OTHER_VALUES = "(other values, which are not shown)\n"


@dataclasses.dataclass(frozen=True)
class Target:
    """A file as it shall be; ``content`` of None means that there shall be none."""

    path: pathlib.Path
    content: bytes | None
    mode: int = 0o644
    secret: bool = False  # never shown in a diff
    restart: bool = True  # whether dockerd reads it only when it starts
    group: str = ""  # of the file; '' is root's

    @property
    def new(self) -> pathlib.Path:
        return staged(self.path, "new")

    @property
    def old(self) -> pathlib.Path:
        return staged(self.path, "old")

    def existing(self) -> bytes | None:
        return content(self.path)

    def content_differs(self) -> bool:
        return self.existing() != self.content

    def differs(self) -> bool:
        """Whether content, mode or owner are not as they shall be."""
        if self.content_differs():
            return True
        if self.content is None:
            return False
        status = self.path.stat()
        return (status.st_mode & 0o7777, status.st_uid, status.st_gid) != (self.mode, 0, _group_id(self.group))

    def stage(self) -> None:
        """Write the new content beside the target and keep the old file by a second link."""
        make_folder(self.path.parent)
        self.old.unlink(missing_ok=True)
        if self.content is not None:
            write(self.new, self.content, self.mode, _group_id(self.group))
        if os.path.lexists(self.path):
            os.link(self.path, self.old, follow_symlinks=False)

    def swap(self) -> None:
        if self.content is None:
            self.path.unlink(missing_ok=True)
        else:
            place(self.new, self.path)
        sync_folder(self.path.parent)


def _group_id(name: str) -> int:
    """The id of a group; of one that there is not yet, none that a file has."""
    try:
        return grp.getgrnam(name).gr_gid if name else 0
    except KeyError:
        return -1


def staged(path: pathlib.Path, name: str) -> pathlib.Path:
    """A name beside ``path`` that only this collection uses."""
    return path.with_name(f".{path.name}.bulkhead-{name}")


def content(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def read_regular(path: pathlib.Path) -> tuple[bytes, int]:
    """Content and mode of a file of somebody who may have put anything there, such as a pipe that nobody writes to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise OSError(errno.EFBIG, "it is larger than 1 MiB", str(path))
    return data, stat.S_IMODE(found.st_mode)


def mode(path: pathlib.Path, default: int) -> int:
    return path.stat().st_mode & 0o7777 if path.exists() else default


def sweep(path: pathlib.Path) -> None:
    """Remove what a change has staged beside ``path``."""
    for leftover in path.parent.glob(f".{path.name}.bulkhead-*"):
        leftover.unlink(missing_ok=True)


def write(path: pathlib.Path, data: bytes, file_mode: int, group: int = 0) -> None:
    """Create a file that is never readable by more than its mode allows, and is on the disk when this returns."""
    path.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if group:
                os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), file_mode)
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace(path: pathlib.Path, data: bytes, file_mode: int) -> None:
    """Give ``path`` a whole new content in one step, which a crash leaves either old or new; a link is replaced."""
    new = staged(path, "new")
    write(new, data, file_mode)
    new.replace(path)
    sync_folder(path.parent)


def make_folder(path: pathlib.Path, folder_mode: int = 0o755) -> None:
    """Make what is missing of ``path`` with this mode, whatever the umask; what is there already stays as it is.

    Each new folder is known on the disk before something is put into it.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(folder_mode)  # never open to more than that, also after a kill
            folder.chmod(folder_mode)
            sync_folder(folder.parent)


def place(source: pathlib.Path, path: pathlib.Path) -> None:
    """Put a second link to ``source`` in place of ``path`` in one step; needs no space, ``source`` stays."""
    link = staged(path, "link")
    link.unlink(missing_ok=True)
    os.link(source, link, follow_symlinks=False)
    link.replace(path)
    link.unlink(missing_ok=True)  # rename leaves it where both were the same file already


def restore(path: pathlib.Path, existed: bool, old: pathlib.Path) -> None:
    """Give ``path`` its old file back, from the link that ``stage`` kept."""
    if not existed:
        path.unlink(missing_ok=True)
    elif os.path.lexists(old):
        place(old, path)
    if path.parent.is_dir():
        sync_folder(path.parent)


def sync_folder(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_if_empty(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


def diff(target: Target, describe: t.Callable[[bytes], str] | None = None) -> dict[str, str]:
    """What Ansible shows of a change: nothing of a secret, a description of what only machines read, else the lines
    that change. The other lines may be somebody's, and Ansible prints a diff at -vvv, too, where nobody asked for one.
    """

    def text(data: bytes | None) -> str:
        if data is None:
            return ""
        if target.secret:
            return _NOT_SHOWN
        return describe(data) if describe else data.decode("utf-8", "replace")

    def header(exists: bool, file_mode: int) -> str:
        return f"{target.path} (mode {file_mode:04o})" if exists else f"{target.path} (no file)"

    existing = target.existing()
    before, after = text(existing), text(target.content)
    if before == after and existing is not None and target.content is not None and existing != target.content:
        after += _OTHER_VALUES
    elif not describe and not target.secret:
        before, after = changed_lines(before, after)
    return {
        "before_header": header(existing is not None, mode(target.path, 0)),
        "after_header": header(target.content is not None, target.mode),
        "before": before,
        "after": after,
    }


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """Of two texts the lines that the other one does not have in their place."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    steps = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    differing = [step for step in steps if step[0] != "equal"]
    return (
        "".join(line for step in differing for line in old[step[1] : step[2]]),
        "".join(line for step in differing for line in new[step[3] : step[4]]),
    )
