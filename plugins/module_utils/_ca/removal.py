# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a CA. Its key goes first, so that nothing is signed any more, and its lock last."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca

_OWN_PARENT = ".bulkhead"  # the default directory is in one that this collection makes


def remove(directory: ca.Directory, check_mode: bool = False) -> list[str]:
    """Names of what was removed, or in check mode would be, and the directory where nothing else is in it."""
    if not directory.path.is_dir():
        return []
    removed: list[str] = []
    for group in directory.all_groups().values():
        of_group = f"{directory.groups.name}/{group.path.name}"
        names = remove(group, check_mode)
        removed += [of_group if name == str(group.path) else f"{of_group}/{name}" for name in names]
    if directory.groups.is_dir() and _is_emptied(directory, removed):
        removed.append(directory.groups.name)
        if not check_mode:
            _files.remove_if_empty(directory.groups)
    if _present(directory):
        with ca.lock(directory, shared=check_mode):
            for path in _present(directory):
                removed.append(path.name)
                if not check_mode:
                    _remove(path)
    if {path.name for path in directory.path.iterdir()} <= set(removed):
        removed.append(str(directory.path))
        if not check_mode:
            _remove_folder(directory.path)
    return removed


def _is_emptied(directory: ca.Directory, removed: t.Collection[str]) -> bool:
    """Whether nothing is in the folder of the groups but what was removed, or in check mode would be."""
    return {f"{directory.groups.name}/{path.name}" for path in directory.groups.iterdir()} <= {*removed}


def _present(directory: ca.Directory) -> list[pathlib.Path]:
    paths = [
        directory.key,
        *sorted(directory.path.glob(".*.bulkhead-*")),  # a key that a killed run was about to write, too
        directory.next.path,
        directory.previous.path,
        directory.certificate,
        directory.above,
        directory.bundle,
        directory.crl,
        directory.issued,
        *([] if directory.home else [directory.revoked]),  # the marks are of all groups
        directory.listed,
        directory.holders,
        directory.retired,
        directory.elsewhere,
        directory.rotation,
        directory.lock,
    ]
    return [path for path in paths if path.is_symlink() or path.exists()]


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    _files.sync_folder(path.parent)


def _remove_folder(path: pathlib.Path) -> None:
    _files.remove_if_empty(path)
    if path.parent.name == _OWN_PARENT:
        _files.remove_if_empty(path.parent)
    _files.sync_folder(path.parent if path.parent.exists() else path.parent.parent)
