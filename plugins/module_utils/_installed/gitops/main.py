# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docker-gitops: one run of the service, and what an operator asks of it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import sys
import time
import typing as t

from . import candidate, policy, report, storage, tools, tree
from .candidate import Choice
from .compose import Compose, Engine
from .deploy import Deployer
from .errors import CommandError, FetchError, GitopsError, ProjectError
from .repository import Repository
from .settings import Places, Project
from .settings import read as read_settings
from .state import State, Store

_LOCK_SECONDS = 7200


class Run:
    """One run: fetch, verify, deploy, tell."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.settings = read_settings(places.settings)
        self.store = Store(places.state)
        self.state = self.store.load()
        self.repository = Repository(self.settings, places, os.environ.get("CREDENTIALS_DIRECTORY", ""))
        self.engine = Engine(self.settings.docker_host, places, self.settings.registry_login)

    @property
    def paused(self) -> str:
        """Why nothing is deployed, or nothing."""
        if self.settings.paused:
            return "by docker_gitops_paused of the role"
        with contextlib.suppress(FileNotFoundError):
            return self.places.paused.read_text(encoding="utf-8").strip()
        return ""

    def tell(self, kind: str, project: str, commit: str, text: str) -> None:
        event = {"at": int(time.time()), "event": kind, "project": project, "commit": commit, "message": text}
        report.log(" ".join(word for word in (f"{kind}:", project, text) if word))
        self.store.record([event])
        report.notify(event, self.settings)

    def save(self) -> None:
        self.store.save(self.state)

    def whole(self) -> int:
        if not self.paused:
            before = self.state.problem
            self.state.problem = ""
            try:
                self._deploy()
            except GitopsError as error:
                self.state.problem = str(error)
                if self.state.problem != before:
                    self.tell("problem", "", "", self.state.problem)
        self.state.run_at = int(time.time())
        well = self._is_well()
        if well and not self.paused:
            self.state.success_at = self.state.run_at
        self.save()
        report.write_metrics(report.metrics(self.state, self.settings, bool(self.paused)), self.settings, self.places)
        return 0 if well else 1

    def _is_well(self) -> bool:
        declared = [self.state.projects.get(project.name) for project in self.settings.projects]
        problems = [one for one in declared if one and (one.problem or one.failure)]
        return not (self.state.problem or self.state.refused or self.state.fetch_failed or problems)

    def _deploy(self) -> None:
        problems = tools.problems()
        if problems:
            raise GitopsError(" ".join(problems))
        try:
            self.engine.check()
        except CommandError as error:
            raise GitopsError(f"Docker does not answer on this host: {error}") from error
        try:
            self._choose()
        finally:
            if self.state.accepted:
                self._projects(self.state.accepted.commit)

    def _choose(self) -> None:
        try:
            self.repository.fetch()
        except FetchError:
            self.state.fetch_failed = True
            raise
        self.state.fetch_failed = False
        choice = self.choice()
        for sentence in choice.refused:
            if sentence not in self.state.refused:
                self.tell("refused", "", "", sentence)
        self.state.refused, self.state.tags = choice.refused, choice.tags
        if choice.revision and choice.revision != self.state.accepted:
            self.repository.keep(choice.revision.commit)
            self.state.accepted = choice.revision
            self.save()
            what = choice.revision.tag or f"commit {choice.revision.commit[:12]}"
            self.tell("accepted", "", choice.revision.commit, f"{what}, signed by {choice.revision.signer}")
        self.save()

    def choice(self) -> Choice:
        try:
            return candidate.choose(self.repository, self.settings, self.state.accepted, self.state.tags, time.time())
        except CommandError as error:
            raise GitopsError(f"the repository on this host cannot be read: {error}") from error

    def _projects(self, commit: str) -> None:
        deployer = Deployer(
            *(self.settings, self.places, self.repository, self.engine, self.state), self.save, self.tell
        )
        for project in self.settings.projects:
            deployer.bring(project, commit)

    # -- a dry run ----------------------------------------------------------------------------------------------------

    def diff(self) -> int:
        """What a run would deploy, as a diff of files; nothing that runs is touched and nothing is accepted."""
        self.repository.fetch()
        choice = self.choice()
        for sentence in choice.refused:
            print(f"refused: {sentence}")
        if not choice.revision:
            return 1
        print(f"revision {choice.revision.commit}, signed by {choice.revision.signer}")
        present = [project for project in self.settings.projects if project.present]
        results = [self._show(project, choice.revision.commit) for project in present]
        shutil.rmtree(self._dry_run, ignore_errors=True)
        return 0 if all(results) and not choice.refused else 1

    @property
    def _dry_run(self) -> pathlib.Path:
        return self.places.state / "dry-run"

    def _show(self, project: Project, commit: str) -> bool:
        known = self.state.projects.get(project.name)
        try:
            wanted = tree.identifier(self.repository, commit, project.path)
            folder = self._dry_run / wanted
            tree.export(self.repository, wanted, folder)
            new = Compose(self.engine, project.name, folder, project.files, {})
            model = new.model(interpolate=False)
            policy.check(model, folder, require_digests=False)
            policy.check_read(model, folder)
        except GitopsError as error:
            print(f"\n{project.name}: would not be deployed: {error}")
            return False
        good = (
            known.good.tree if known and known.good else self.repository.text("hash-object", "-t", "tree", "/dev/null")
        )
        if wanted == good:
            print(f"\n{project.name}: no change")
            return True
        options = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")
        print(f"\n{project.name}:\n{self.repository.text('diff', *options, good, wanted)}")
        return True


# -- the command ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(places: Places, seconds: float) -> t.Iterator[None]:
    descriptor = os.open(places.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise GitopsError("another run of docker-gitops has not ended yet; wait for it.") from error
                time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def _forget(places: Places) -> None:
    """Whatever is signed next is accepted; what runs, and what is known to be good, stays."""
    store = Store(places.state)
    try:
        state = store.load()
    except GitopsError:
        state = State()
    state.accepted, state.tags, state.refused = None, {}, []
    store.save(state)


def _retry(places: Places) -> None:
    store = Store(places.state)
    state = store.load()
    for project in state.projects.values():
        project.failed, project.failure = None, ""
    store.save(state)


def _status(places: Places, as_json: bool) -> int:
    run = Run(places)
    if as_json:
        print(json.dumps({**dataclasses.asdict(run.state), "paused": run.paused}, indent=1, sort_keys=True))
    else:
        print("\n".join(report.lines(run.state, run.settings, run.paused)))
    return 0


def main(arguments: t.Sequence[str], places: Places) -> int:
    parser = argparse.ArgumentParser(
        prog="docker-gitops", description="Deploys a signed Git repository to this engine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="one run, as the service does it; start docker-gitops.service instead")
    commands.add_parser("diff", help="fetch, verify and show what a run would deploy")
    commands.add_parser("status", help="what runs, and what is wrong").add_argument("--json", action="store_true")
    commands.add_parser("pause", help="deploy nothing until resume").add_argument(
        "reason", nargs="?", default="by hand"
    )
    commands.add_parser("resume", help="deploy again")
    commands.add_parser("retry", help="try versions again that have failed")
    commands.add_parser("forget", help="accept the next signed revision whatever was accepted before")
    given = parser.parse_args(arguments)
    os.umask(0o022)  # containers read what is written out
    try:
        return _act(given, places)
    except (GitopsError, ProjectError) as error:
        report.log(str(error))
        return 1


def _act(given: argparse.Namespace, places: Places) -> int:
    if given.command == "pause":
        storage.write(places.paused, f"{given.reason}\n".encode())
    elif given.command == "resume":
        places.paused.unlink(missing_ok=True)
    elif given.command == "status":
        return _status(places, given.json)
    else:
        with _locked(places, _LOCK_SECONDS):
            if given.command == "run":
                return Run(places).whole()
            if given.command == "diff":
                return Run(places).diff()
            if given.command == "forget":
                _forget(places)
            else:
                _retry(places)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Places()))
