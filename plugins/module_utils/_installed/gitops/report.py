# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others read: metrics for Prometheus, a command that is told of events, and a few lines for a person."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

from . import commands, storage
from .errors import CommandError
from .settings import Places, Settings
from .state import State

_NOTIFY_SECONDS = 60
FILE = "docker_gitops.prom"


def metrics(state: State, settings: Settings, paused: bool) -> str:
    rows: list[tuple[str, str, list[tuple[str, float]]]] = [
        ("last_run_timestamp_seconds", "When a run ended last.", [("", state.run_at)]),
        (
            "last_success_timestamp_seconds",
            "When all projects ran as the newest signed revision has them; 0 for never.",
            [("", state.success_at)],
        ),
        ("fetch_success", "Whether the Git server gave its revisions.", [("", not state.fetch_failed)]),
        ("refused", "How many revisions are refused.", [("", len(state.refused))]),
        ("paused", "Whether deployments are paused.", [("", paused)]),
        ("problem", "Whether a run failed as a whole.", [("", bool(state.problem))]),
    ]
    projects = [project for project in settings.projects if project.present]
    for name, text, value in (
        ("project_problem", "Whether a project has a problem.", lambda one: bool(one.problem or one.failure)),
        ("project_drift", "In how many ways a project differs from what was deployed.", lambda one: len(one.drift)),
        ("project_deployed_timestamp_seconds", "When a project was deployed.", lambda one: one.deployed_at),
    ):
        values = [
            (f'{{project="{project.name}"}}', float(value(state.projects[project.name])))
            for project in projects
            if project.name in state.projects
        ]
        rows.append((name, text, values))
    if state.accepted:
        labels = f'{{commit="{state.accepted.commit}",signer="{state.accepted.signer}"}}'
        rows.append(("accepted_info", "The revision that was accepted last.", [(labels, 1)]))
    lines = []
    for name, text, found in rows:
        if found:
            lines += [f"# HELP docker_gitops_{name} {text}", f"# TYPE docker_gitops_{name} gauge"]
            lines += [f"docker_gitops_{name}{labels} {float(number):.0f}" for labels, number in found]
    return "\n".join(lines) + "\n"


def write_metrics(text: str, settings: Settings, places: Places) -> None:
    storage.write(places.state / FILE, text.encode(), 0o644)
    if settings.metrics_directory:
        storage.write(pathlib.Path(settings.metrics_directory) / FILE, text.encode(), 0o644)


def notify(event: t.Mapping[str, t.Any], settings: Settings) -> None:
    """The event as JSON on the standard input of the command. What it fails with is logged and changes nothing."""
    if not settings.notify:
        return
    try:
        commands.run(settings.notify, {"HOME": "/nonexistent"}, _NOTIFY_SECONDS, json.dumps(event).encode())
    except CommandError as error:
        log(f"the notification failed: {error}")


def log(text: str) -> None:
    """For the journal, or whoever has started it by hand."""
    print(text, flush=True)


def lines(state: State, settings: Settings, paused: str) -> list[str]:
    """The state as a person reads it."""
    found = [f"run:      {_time(state.run_at)}, all well {_time(state.success_at)}"]
    if paused:
        found.append(f"paused:   {paused}")
    accepted = state.accepted
    if accepted:
        tag = f" ({accepted.tag})" if accepted.tag else ""
        found.append(f"accepted: {accepted.commit}{tag}, signed by {accepted.signer}")
    found += [f"refused:  {text}" for text in state.refused]
    if state.problem:
        found.append(f"problem:  {state.problem}")
    declared = {project.name for project in settings.projects}
    for name, project in sorted(state.projects.items()):
        good = project.good.commit[:12] if project.good else "nothing"
        note = "" if name in declared else ", no longer declared, left as it is"
        found.append(f"{name}: {good} since {_time(project.deployed_at)}{note}")
        found += [
            f"    {text}"
            for text in [project.failure, project.problem, *(f"drift: {one}" for one in project.drift)]
            if text
        ]
    return found


def _time(seconds: int) -> str:
    if not seconds:
        return "never"
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
