# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of the host itself; containers use the same numbers for users and have servers of their own."""

from __future__ import annotations

import pathlib
import typing as t


def of_this_host(proc: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Their folders below /proc; a container's processes have another root or another set of process ids."""
    here = (proc / "self/root").stat()
    namespace = (proc / "self/ns/pid").readlink()
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            root = (entry / "root").stat()
            own = (entry / "ns/pid").readlink() == namespace
        except OSError:
            continue  # it has ended meanwhile
        if own and (root.st_dev, root.st_ino) == (here.st_dev, here.st_ino):
            yield entry
