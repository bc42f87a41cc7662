# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a verified revision, written byte by byte: no checkout, so that no hook, filter, attribute or link acts."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import shutil
import stat

from . import storage
from .errors import CommandError, ProjectError
from .repository import Repository

_FILES = {"100644": 0o644, "100755": 0o755}
_OTHERS = {"120000": "a symbolic link", "160000": "a submodule"}


@dataclasses.dataclass(frozen=True)
class File:
    """A file as the repository has it."""

    path: str
    identifier: str
    mode: int


def identifier(repository: Repository, commit: str, path: str) -> str:
    name = f"{commit}^{{tree}}" if path == "." else f"{commit}:{path}"
    try:
        found = repository.text("rev-parse", "--verify", "--quiet", name)
        if repository.text("cat-file", "-t", found) == "tree":
            return found
    except CommandError as error:
        raise ProjectError(
            f"the revision {commit[:12]} has no folder {path}; correct the path of the project."
        ) from error
    raise ProjectError(f"{path} in the revision {commit[:12]} is no folder, but a file, a link or a submodule.")


def files(repository: Repository, tree: str) -> list[File]:
    found = []
    for entry in repository.bytes("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        about, _tab, name = entry.partition(b"\t")
        mode, _kind, blob = about.decode("ascii").split(" ")
        path = os.fsdecode(name)
        if mode not in _FILES:
            raise ProjectError(
                f"{path!r} is {_OTHERS.get(mode, 'something that is no file')}, of which a signature does not say what "
                "is behind it; put the files themselves into the repository."
            )
        if set(path.split("/")) & {"", ".", "..", ".git"}:
            raise ProjectError(f"{path!r} is a name that could leave the project's folder; rename it.")
        found.append(File(path, blob, _FILES[mode]))
    return found


def export(repository: Repository, tree: str, folder: pathlib.Path) -> None:
    """The tree at ``folder``, whole or not at all; what is there and right already stays."""
    wanted = files(repository, tree)
    if folder.is_dir() and not changed(wanted, folder):
        return
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o755)
    contents = _contents(repository, [file.identifier for file in wanted])
    for file in wanted:
        path = new / file.path
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        storage.write(path, contents[file.identifier], file.mode)
    if folder.exists():
        # Containers may have this very folder mounted, so that its files are put right in their places.
        for file in changed(wanted, folder):
            path = folder / file.path
            _clear(path, folder)
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            storage.write(path, contents[file.identifier], file.mode)
        shutil.rmtree(new)
    else:
        new.rename(folder)
        storage.sync(folder.parent)


def _clear(path: pathlib.Path, folder: pathlib.Path) -> None:
    """Whatever stands where a file, or a folder above it, has to be."""
    for step in [*reversed(path.relative_to(folder).parents)][1:]:
        if (folder / step).is_symlink() or (folder / step).is_file():
            (folder / step).unlink()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def changed(wanted: list[File], folder: pathlib.Path) -> list[File]:
    """The files that are not there as the repository has them. Others beside them are nobody's business."""
    return [file for file in wanted if not _is_right(file, folder)]


def _is_right(file: File, folder: pathlib.Path) -> bool:
    path = folder / file.path
    if path.parent.resolve() != (folder.resolve() / file.path).parent:
        return False  # a link stands above it
    try:
        found = path.lstat().st_mode
        if not stat.S_ISREG(found) or stat.S_IMODE(found) != file.mode:
            return False
        return _name_of(path.read_bytes(), file.identifier) == file.identifier
    except OSError:
        return False


def _name_of(data: bytes, like: str) -> str:
    """What git calls a blob, by the same hash as the other name has."""
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(data))
    digest.update(data)
    return digest.hexdigest()


def _contents(repository: Repository, identifiers: list[str]) -> dict[str, bytes]:
    asked = list(dict.fromkeys(identifiers))
    output = repository.bytes("cat-file", "--batch", given="".join(f"{name}\n" for name in asked).encode())
    found, at = {}, 0
    for name in asked:
        end = output.index(b"\n", at)
        _name, kind, size = output[at:end].decode("ascii").split(" ")
        start = end + 1
        at = start + int(size) + 1
        found[name] = output[start : at - 1]
        if kind != "blob" or _name_of(found[name], name) != name:
            raise ProjectError(
                f"the object {name} in the repository on this host is damaged; remove repository.git there."
            )
    return found
