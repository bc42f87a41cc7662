# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known from one run to the next: the accepted revision, each project's last good version, what has failed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

from . import storage
from .errors import GitopsError
from .signatures import Signed

TRYING, TOUCHED, UNDOING = "trying", "touched", "undoing"
_KEPT_EVENTS = 1000


@dataclasses.dataclass(frozen=True)
class Version:
    """A project's files: two commits that leave them as they are give the same version."""

    commit: str
    tree: str
    files: tuple[str, ...]

    def is_same(self, other: Version | None) -> bool:
        return other is not None and (self.tree, self.files) == (other.tree, other.files)


@dataclasses.dataclass
class Attempt:
    """A version that is being deployed; after a power cut it says how far that was."""

    version: Version
    phase: str = TRYING
    tries: int = 1
    adopted: bool = False  # somebody else's containers had the project's name before


@dataclasses.dataclass
class ProjectState:
    good: Version | None = None
    running: list[str] = dataclasses.field(default_factory=list)  # services that ran when it was good
    images: dict[str, str] = dataclasses.field(default_factory=dict)  # which image a name meant then
    attempt: Attempt | None = None
    failed: Version | None = None  # not tried again
    failure: str = ""  # why
    problem: str = ""  # what the next run may find mended
    drift: list[str] = dataclasses.field(default_factory=list)
    deployed_at: int = 0


@dataclasses.dataclass
class State:
    """Everything that is kept in state.json."""

    accepted: Signed | None = None
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    projects: dict[str, ProjectState] = dataclasses.field(default_factory=dict)
    refused: list[str] = dataclasses.field(default_factory=list)
    problem: str = ""  # of the run as a whole
    fetch_failed: bool = False
    run_at: int = 0
    success_at: int = 0


class Store:
    """state.json and history.jsonl."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.path = folder / "state.json"
        self.history = folder / "history.jsonl"

    def load(self) -> State:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return State()
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        try:
            accepted = data.pop("accepted")
            projects = {name: _project(entry) for name, entry in data.pop("projects").items()}
            return State(**data, accepted=Signed(**accepted) if accepted else None, projects=projects)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> GitopsError:
        return GitopsError(
            f"{self.path} cannot be used ({error}), so that nobody knows what was accepted before; see what runs here, "
            "then run docker-gitops forget, which accepts the next signed revision whatever came before it."
        )

    def save(self, state: State) -> None:
        storage.write_json(self.path, dataclasses.asdict(state))

    def record(self, events: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        if not events:
            return
        lines = self.history.read_text(encoding="utf-8").splitlines() if self.history.exists() else []
        lines += [json.dumps(event, sort_keys=True) for event in events]
        storage.write(self.history, ("\n".join(lines[-_KEPT_EVENTS:]) + "\n").encode())


def _version(entry: t.Any) -> Version | None:
    return Version(**{**entry, "files": tuple(entry["files"])}) if entry else None


def _project(entry: dict[str, t.Any]) -> ProjectState:
    attempt = entry.pop("attempt")
    found = ProjectState(**{**entry, "good": _version(entry["good"]), "failed": _version(entry["failed"])})
    version = _version(attempt["version"]) if attempt else None
    if version:
        found.attempt = Attempt(**{**attempt, "version": version})
    return found
