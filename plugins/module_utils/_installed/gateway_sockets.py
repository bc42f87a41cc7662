# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folders in which a gateway has a socket for each SSH account with a limited scope, open to that account alone.

It is installed on the engine, and run by the gateway's unit whenever HAProxy starts or loads its configuration, as the
gateway's own user, who owns the folders; so it stands alone. HAProxy makes each socket anew and could give it to no
account, because it is not root. What the kernel asks first is the folder, whose access control list stays. It is
written as the kernel keeps it, because setfacl is not there on every host.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import json
import os
import pathlib
import pwd
import struct
import sys
import typing as t

GROUP = "docker-ssh"  # of every account that the role docker_ssh makes

_ATTRIBUTE = "system.posix_acl_access"
_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_PREFIX = "ssh-"


def folder(run: pathlib.Path, account: str) -> pathlib.Path:
    return run / f"{_PREFIX}{account}"


def access(uid: int | None) -> bytes:
    """Everything for the owner, passage for one user, nothing for anybody else."""
    passage = [(_USER, 1, uid)] if uid is not None else []
    mask = [(_MASK, 1, _NO_ID)] if uid is not None else []
    entries = [(_USER_OBJ, 7, _NO_ID), *passage, (_GROUP_OBJ, 0, _NO_ID), *mask, (_OTHER, 0, _NO_ID)]
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def uid_of(account: str) -> int | None:
    """The account's number; None where there is no such account, or one of somebody else's."""
    try:
        entry, group = pwd.getpwnam(account), grp.getgrnam(GROUP)
    except KeyError:
        return None
    return entry.pw_uid if entry.pw_gid == group.gr_gid else None


def wanted(run: pathlib.Path, accounts: t.Iterable[str]) -> dict[pathlib.Path, int | None]:
    """Each folder, and whom it is open to. One that is no account's any more stays, closed, until the gateway stops.

    HAProxy may still hold its socket, and would not make it again in a new folder.
    """
    found: dict[pathlib.Path, int | None] = dict.fromkeys(run.glob(f"{_PREFIX}*"))
    return {**found, **{folder(run, account): uid_of(account) for account in accounts}}


def differs(run: pathlib.Path, accounts: t.Iterable[str]) -> bool:
    """Whether a folder is open to somebody else. Those that are not there yet are made with the gateway's start."""
    for path, uid in wanted(run, accounts).items():
        with contextlib.suppress(FileNotFoundError):
            if _access_of(path) != access(uid):
                return True
    return False


def _access_of(path: pathlib.Path) -> bytes:
    try:
        return os.getxattr(path, _ATTRIBUTE, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
    return access(None) if path.lstat().st_mode & 0o777 == 0o700 else b""


def set_access(run: pathlib.Path, accounts: t.Iterable[str]) -> None:
    """The folders belong to the gateway, so whoever calls this as root follows no link of it."""
    for path, uid in wanted(run, accounts).items():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            os.setxattr(descriptor, _ATTRIBUTE, access(uid))
        finally:
            os.close(descriptor)


def main(settings: str, run: str) -> int:
    record = json.loads(pathlib.Path(settings).read_text(encoding="utf-8"))
    accounts = [str(entry["name"]) for entry in record["accounts"]]
    for account in accounts:
        folder(pathlib.Path(run), account).mkdir(mode=0o700, exist_ok=True)
    set_access(pathlib.Path(run), accounts)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
