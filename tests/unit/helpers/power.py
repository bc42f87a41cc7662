"""What a loss of power would take back: a change in a folder is sure when that folder was synced."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _files


class Disk:
    """Holds that each change is on the disk before the next one in another folder, and all of them at the end.

    What is removed may come back, which the next run sees.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unsure: set[pathlib.Path] = set()
        self.synced: list[pathlib.Path] = []
        self.changes = 0
        # pathlib of Python 3.9 keeps its own of these.
        for owner, names in ((os, ("mkdir", "link", "replace")), (pathlib.Path, ("mkdir", "replace"))):
            for name in names:
                monkeypatch.setattr(owner, name, self._watched(getattr(owner, name), 0 if name == "mkdir" else 1))
        sync = _files.sync_folder

        def synced(path: pathlib.Path) -> None:
            sync(path)
            self.unsure.discard(pathlib.Path(path))
            self.synced.append(pathlib.Path(path))

        monkeypatch.setattr(_files, "sync_folder", synced)

    def _watched(self, real: t.Callable[..., t.Any], target: int) -> t.Callable[..., t.Any]:
        def call(*args: t.Any, **named: t.Any) -> t.Any:
            folder = pathlib.Path(args[target]).parent
            assert self.unsure <= {folder}, f"{args[target]} depends on what is not on the disk yet: {self.unsure}"
            done = real(*args, **named)
            self.unsure.add(folder)
            self.changes += 1
            return done

        return call

    def assert_sure(self, changes: int) -> None:
        assert self.changes >= changes
        assert not self.unsure, "changed at the end and not on the disk"
