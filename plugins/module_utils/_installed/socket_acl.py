# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens the Docker socket to one more group, by an entry in its access control list; everything else in it stays.

It is installed on the engine and run whenever systemd has made the socket anew, so it stands alone. It writes the list
as the kernel keeps it, because setfacl is not there on every host.
"""

from __future__ import annotations

import errno
import grp
import os
import pathlib
import struct
import sys
import typing as t

_ATTRIBUTE = "system.posix_acl_access"
_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_READ_WRITE = 6
_NO_ID = 0xFFFFFFFF

Entry = tuple[int, int, int]  # tag, permissions, id


def parse(data: bytes) -> list[Entry]:
    return [t.cast(Entry, entry) for entry in struct.iter_unpack("<HHI", data[4:])]


def dump(entries: t.Iterable[Entry]) -> bytes:
    ordered = sorted(entries, key=lambda entry: (entry[0], entry[2]))
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in ordered)


def entries_of(path: str) -> list[Entry]:
    """The list of a file; where it has none, what its mode says."""
    try:
        return parse(os.getxattr(path, _ATTRIBUTE))
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
    mode = pathlib.Path(path).stat().st_mode
    return [(_USER_OBJ, mode >> 6 & 7, _NO_ID), (_GROUP_OBJ, mode >> 3 & 7, _NO_ID), (_OTHER, mode & 7, _NO_ID)]


def with_group(entries: t.Iterable[Entry], gid: int) -> list[Entry]:
    return _masked([*_effective(entries, gid), (_GROUP, _READ_WRITE, gid)])


def without_group(entries: t.Iterable[Entry], gid: int) -> list[Entry]:
    kept = _effective(entries, gid)
    return _masked(kept) if any(entry[0] in (_USER, _GROUP) for entry in kept) else kept


def _effective(entries: t.Iterable[Entry], gid: int) -> list[Entry]:
    """Everybody else's entries without a mask, with what it leaves them, so that a new mask gives nobody more."""
    given = list(entries)
    mask = next((entry[1] for entry in given if entry[0] == _MASK), 7)
    return [
        (tag, permissions & mask if tag in (_USER, _GROUP_OBJ, _GROUP) else permissions, who)
        for tag, permissions, who in given
        if tag != _MASK and (tag, who) != (_GROUP, gid)
    ]


def _masked(entries: list[Entry]) -> list[Entry]:
    mask = 0
    for tag, permissions, _ in entries:
        mask |= permissions if tag in (_USER, _GROUP_OBJ, _GROUP) else 0
    return [*entries, (_MASK, mask, _NO_ID)]


def admits(path: str, gid: int) -> bool:
    """Whether the group can read and write there, by this list."""
    entries = entries_of(path)
    mask = next((entry[1] for entry in entries if entry[0] == _MASK), 7)
    found = next((entry[1] for entry in entries if (entry[0], entry[2]) == (_GROUP, gid)), 0)
    return found & mask & _READ_WRITE == _READ_WRITE


def grant(path: str, gid: int) -> None:
    os.setxattr(path, _ATTRIBUTE, dump(with_group(entries_of(path), gid)))


def revoke(path: str, gid: int) -> None:
    os.setxattr(path, _ATTRIBUTE, dump(without_group(entries_of(path), gid)))


if __name__ == "__main__":
    grant(sys.argv[1], grp.getgrnam(sys.argv[2]).gr_gid)
