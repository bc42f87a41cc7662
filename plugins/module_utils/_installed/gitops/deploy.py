# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One project after the other: tried, waited for, and put back where the new version does not become healthy."""

from __future__ import annotations

import pathlib
import shutil
import time
import typing as t

from . import compose, policy, tree, trial
from .compose import Compose, Engine
from .errors import CommandError, GitopsError, ProjectError
from .repository import Repository
from .settings import Places, Project, Settings
from .state import TOUCHED, TRYING, UNDOING, Attempt, ProjectState, State, Version

_MOST_TRIES = 3  # of a version whose deployment was cut off, by a power cut or by a kill
Tell = t.Callable[[str, str, str, str], None]  # kind of event, project, commit, sentence


class Deployer:
    """Brings projects to a commit. What it does is written down before it is done."""

    def __init__(
        self,
        settings: Settings,
        places: Places,
        repository: Repository,
        engine: Engine,
        state: State,
        save: t.Callable[[], None],
        tell: Tell,
    ) -> None:
        self._settings = settings
        self._places = places
        self._repository = repository
        self._engine = engine
        self._state = state
        self._save = save
        self._tell = tell

    def bring(self, project: Project, commit: str) -> None:
        mine = self._state.projects.setdefault(project.name, ProjectState())
        before, mine.problem = mine.problem, ""
        try:
            if project.present:
                self._bring(project, mine, commit)
            else:
                self._remove(project)
        except GitopsError as error:
            mine.problem = str(error)
            if mine.problem != before:
                self._tell("problem", project.name, commit, mine.problem)
        self._save()

    def _bring(self, project: Project, mine: ProjectState, commit: str) -> None:
        variables = compose.secrets(project)
        if mine.attempt and mine.attempt.phase == UNDOING:
            self._undo(project, mine, variables)
        version = Version(commit, tree.identifier(self._repository, commit, project.path), project.files)
        if version.is_same(mine.failed):
            self._check_drift(project, mine, variables)
        elif version.is_same(mine.good) and not mine.attempt:
            mine.good, mine.failed, mine.failure = version, None, ""
            self._check_drift(project, mine, variables)
        else:
            self._try(project, mine, version, variables)

    def _folder(self, project: Project, version: Version) -> pathlib.Path:
        return self._places.trees / project.name / version.tree

    def _compose(self, project: Project, version: Version, variables: t.Mapping[str, str]) -> Compose:
        """With the files of that version as its commit has them."""
        folder = self._folder(project, version)
        tree.export(self._repository, version.tree, folder)
        return Compose(self._engine, project.name, folder, version.files, variables)

    # -- a new version ------------------------------------------------------------------------------------------------

    def _try(self, project: Project, mine: ProjectState, version: Version, variables: t.Mapping[str, str]) -> None:
        earlier = mine.attempt
        adopted = self._is_adopted(project, mine, earlier)
        mine.attempt = Attempt(version, earlier.phase if earlier else TRYING, adopted=adopted)
        if earlier and version.is_same(earlier.version):
            mine.attempt.tries = earlier.tries + 1
        self._save()
        try:
            if mine.attempt.tries > _MOST_TRIES:
                raise ProjectError(
                    f"its deployment was cut off {_MOST_TRIES} times; run docker-gitops retry to try again."
                )
            new = self._prepare(project, mine, version, variables)
            mine.attempt.phase = TOUCHED
            self._save()
            running = self._up(project, new)
        except (ProjectError, CommandError) as error:
            self._fail(project, mine, version, variables, str(error))
            return
        except GitopsError:  # nothing was touched by it, and nothing was cut off
            mine.attempt = earlier
            raise
        mine.good, mine.running, mine.deployed_at = version, running, int(time.time())
        mine.attempt, mine.failed, mine.failure, mine.drift = None, None, "", []
        mine.images = _names(self._engine.containers(project.name))
        self._save()
        self._prune(project, mine)
        self._tell("deployed", project.name, version.commit, "It runs and is healthy.")

    def _is_adopted(self, project: Project, mine: ProjectState, earlier: Attempt | None) -> bool:
        if mine.good or (earlier and earlier.phase != TRYING):
            return earlier is not None and earlier.adopted
        return bool(self._engine.containers(project.name))

    def _prepare(
        self, project: Project, mine: ProjectState, version: Version, variables: t.Mapping[str, str]
    ) -> Compose:
        """All that can fail before anything of the running project is touched."""
        new = self._compose(project, version, variables)
        model = new.model()
        policy.check(model, self._folder(project, version), project.require_digests)
        policy.check_read(new.model(interpolate=False), self._folder(project, version))
        try:
            new.pull(model)
        except CommandError as error:  # of a registry, not of the version: the next run tries again
            raise GitopsError(f"an image cannot be pulled, and the running version stays: {error}") from error
        if any(service.get("build") for service in model["services"].values()):
            new.build()
        if project.trial and (mine.good or (mine.attempt and mine.attempt.adopted)):
            self._run_trial(project, version, model, variables)
        return new

    def _run_trial(
        self, project: Project, version: Version, model: compose.Model, variables: t.Mapping[str, str]
    ) -> None:
        name = project.name + trial.SUFFIX
        folder = self._folder(project, version)
        copy = Compose(self._engine, name, folder, (), variables, trial.model(model, project.name))
        copy.down(volumes=True)  # of a trial that was cut off
        try:
            self._up(project, copy)
        except CommandError as error:
            raise ProjectError(f"a trial of it did not become healthy: {error}") from error
        finally:
            copy.down(volumes=True)

    def _up(self, project: Project, version: Compose) -> list[str]:
        version.up(project.wait_seconds)
        before = {one.name: one.restarts for one in self._engine.containers(version.name)}
        time.sleep(self._settings.settle_seconds)
        return compose.check_steady(self._engine, version.name, before)

    def _fail(
        self, project: Project, mine: ProjectState, version: Version, variables: t.Mapping[str, str], problem: str
    ) -> None:
        touched = mine.attempt is not None and mine.attempt.phase == TOUCHED
        mine.failed, mine.failure = version, f"version {version.commit[:12]} is not deployed: {problem}"
        if touched:
            mine.attempt = Attempt(version, UNDOING, adopted=mine.attempt is not None and mine.attempt.adopted)
        else:
            mine.attempt = None
        self._save()
        self._tell("failed", project.name, version.commit, mine.failure)
        if touched:
            self._undo(project, mine, variables)
        else:
            self._engine.name_again(mine.images)

    def _undo(self, project: Project, mine: ProjectState, variables: t.Mapping[str, str]) -> None:
        """The last good version again, or nothing where there was none."""
        failed = mine.attempt.version.commit if mine.attempt else ""
        try:
            if mine.good:
                mine.running = self._restore(project, mine.good, mine.images, variables)
            elif not (mine.attempt and mine.attempt.adopted):
                compose.down(self._engine, project.name)
        except (ProjectError, CommandError) as error:
            raise GitopsError(f"the last good version cannot be restored, the next run tries again: {error}") from error
        adopted = mine.attempt is not None and mine.attempt.adopted
        to = "what there was before deployments came is left as it is now" if adopted else "nothing of it runs"
        if mine.good:
            to = f"the version {mine.good.commit[:12]} runs again"
        mine.attempt = None
        self._save()
        self._prune(project, mine)
        self._tell("rolled_back", project.name, failed, f"After a deployment that failed, {to}.")

    def _restore(
        self, project: Project, good: Version, images: t.Mapping[str, str], variables: t.Mapping[str, str]
    ) -> list[str]:
        self._engine.name_again(images)
        return self._up(project, self._compose(project, good, variables))

    # -- what runs ----------------------------------------------------------------------------------------------------

    def _check_drift(self, project: Project, mine: ProjectState, variables: t.Mapping[str, str]) -> None:
        if not mine.good:
            return
        folder = self._folder(project, mine.good)
        changed = tree.changed(tree.files(self._repository, mine.good.tree), folder)
        drift = [f"the file {file.path} was changed" for file in changed]
        unhealthy: list[str] = []
        if not drift:  # Compose would read what somebody else has written
            good = Compose(self._engine, project.name, folder, mine.good.files, variables)
            containers = self._engine.containers(project.name)
            drift = _differences(good.hashes(), containers, mine.running)
            unhealthy = [one.name for one in containers if one.health == "unhealthy"]
        if drift and drift != mine.drift:
            said = "What runs is not what was deployed: " + "; ".join(drift)
            self._tell("drift", project.name, mine.good.commit, said)
        mine.drift = drift
        if drift and self._settings.correct_drift:
            mine.running = self._restore(project, mine.good, mine.images, variables)
            mine.drift = []
            self._tell("corrected", project.name, mine.good.commit, "What was deployed runs again.")
        elif unhealthy:
            mine.problem = f"unhealthy: {', '.join(unhealthy)}"

    # -- what is no more ----------------------------------------------------------------------------------------------

    def _remove(self, project: Project) -> None:
        compose.down(self._engine, project.name)
        shutil.rmtree(self._places.trees / project.name, ignore_errors=True)
        known = self._state.projects.pop(project.name)
        if known.good or known.attempt:
            self._tell("removed", project.name, "", "Its containers and networks are gone, its volumes stay.")

    def _prune(self, project: Project, mine: ProjectState) -> None:
        kept = {mine.good.tree} if mine.good else set()
        for folder in (self._places.trees / project.name).glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _differences(
    hashes: t.Mapping[str, str], containers: t.Sequence[compose.Container], running: t.Collection[str]
) -> list[str]:
    """How the containers of a project differ from its files."""
    drift = []
    for service in sorted(set(running) - {one.service for one in containers}):
        drift.append(f"the service {service} has no container")
    for one in containers:
        if one.service not in hashes:
            drift.append(f"the container {one.name} belongs to no service")
        elif one.config_hash != hashes[one.service]:
            drift.append(f"the container {one.name} was made from other settings or secrets")
        elif one.service in running and one.status != "running":
            drift.append(f"the container {one.name} is {one.status}")
    return drift


def _names(containers: t.Iterable[compose.Container]) -> dict[str, str]:
    """Which image each name means that a pull or a build can give to another one."""
    return {one.image: one.image_id for one in containers if "@" not in one.image and one.image != one.image_id}
