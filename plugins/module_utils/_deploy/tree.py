# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a Compose project for one engine: those that Compose is run with, and those that were healthy last.

Both are whole trees, and each is replaced by a rename, so that a run that is killed leaves one that was complete.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shutil
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files as files

MOST_BYTES = 5 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class TreeError(Exception):
    """One sentence about files that cannot be used."""


@dataclasses.dataclass(frozen=True)
class File:
    content: bytes
    executable: bool


Tree = t.Mapping[str, File]


def is_project(name: str) -> bool:
    """Whether Compose takes it for the name of a project."""
    return bool(_NAME.fullmatch(name))


def read(folder: pathlib.Path) -> dict[str, File]:
    """The files by their paths in the folder; empty where there is none."""
    found: dict[str, File] = {}
    size = 0
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        name = path.relative_to(folder)
        if ".git" in name.parts:
            continue
        if path.is_symlink():
            raise TreeError(
                f"{path} is a symbolic link, which would lead elsewhere on another host; put the file there"
            )
        if path.is_dir():
            continue
        if not path.is_file():
            raise TreeError(f"{path} is neither a file nor a folder; take it out")
        content = path.read_bytes()
        size += len(content)
        if size > MOST_BYTES:
            raise TreeError(
                f"{folder} has more than {MOST_BYTES >> 20} MiB, which is no Compose project any more; build its "
                "images elsewhere and name them in its files"
            )
        found[name.as_posix()] = File(content, bool(path.stat().st_mode & 0o100))
    return found


class Project:
    """The folders of a project on the client host."""

    def __init__(self, home: pathlib.Path, engine: str, name: str) -> None:
        self.folder = home / ".bulkhead/deploy" / engine / name
        self.files = self.folder / "project"
        self.good = self.folder / "good"
        self.preview = self.folder / "preview"
        self.trial = self.folder / "trial"

    def write(self, folder: pathlib.Path, tree: Tree) -> None:
        files.make_folder(self.folder, 0o700)
        new, old = (self.folder / f".{folder.name}.bulkhead-{what}" for what in ("new", "old"))
        for path in (new, old):
            _remove(path)
        files.make_folder(new, 0o755)  # inside of one that nobody else may enter; images keep modes
        for name, file in tree.items():
            path = new / name
            files.make_folder(path.parent, 0o755)
            files.write(path, file.content, 0o755 if file.executable else 0o644)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        files.sync_folder(self.folder)
        _remove(old)

    def remove(self, folder: pathlib.Path) -> None:
        _remove(folder)
        for path in (self.folder, *list(self.folder.parents)[:3]):
            files.remove_if_empty(path)


def _remove(path: pathlib.Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def diff(folder: pathlib.Path, before: Tree, after: Tree) -> list[dict[str, str]]:
    """By file, which lines change. A value in a file that is called like an environment may be a secret."""
    found = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        texts = [_text(name, file) for file in (old, new)]
        if texts[0] == texts[1]:
            texts = ["" if old is None else "(another content, not shown)\n", "" if new is None else "(not shown)\n"]
        lines = files.changed_lines(*texts)
        header = str(folder / name)
        found.append({"before_header": header, "after_header": header, "before": lines[0], "after": lines[1]})
    return found


def _text(name: str, file: File | None) -> str:
    if file is None:
        return ""
    if ".env" in name or "secret" in name.lower() or b"\0" in file.content:
        return "(not shown)\n"
    return file.content.decode("utf-8", "replace")
