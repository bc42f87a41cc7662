# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second copy of a project on the engine, as the role docker_gitops has it, but with images that it builds itself."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files as files
from ansible_collections.bulkhead.docker.plugins.module_utils._deploy import tree
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import trial as _trial
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import ProjectError

Run = t.Callable[[t.Sequence[str]], "tuple[int, str, str]"]
FILE = "compose.json"


def is_running(run: Run, context: str, name: str) -> bool:
    """Whether the engine has containers of that project, whoever has started them."""
    label = f"label=com.docker.compose.project={name}"
    return bool(_said(run, context, "ps", "--all", "--quiet", "--filter", label).strip())


def write(run: Run, context: str, project: tree.Project, compose_files: t.Sequence[str]) -> None:
    """The Compose file of the copy. It has what .env and the environment have given, so that nobody else reads it."""
    named = [word for name in compose_files for word in ("--file", str(project.files / name))]
    folder = ("--project-directory", str(project.files))
    name = project.folder.name
    said = _said(run, context, "compose", "--project-name", name, *folder, *named, "config", "--format", "json")
    original: dict[str, t.Any] = json.loads(said)
    try:
        copy = _trial.model(original, name)
    except ProjectError as error:
        raise tree.TreeError(str(error).rstrip(".")) from error
    for service, content in copy.get("services", {}).items():
        build = original["services"][service].get("build")
        if build:  # under the name of the copy, so that the running service keeps its image
            content["build"] = build
            del content["image"]
    project.remove(project.trial)
    files.make_folder(project.trial, 0o700)
    files.write(project.trial / FILE, json.dumps(copy, indent=1).encode(), 0o600)


def _said(run: Run, context: str, *arguments: str) -> str:
    code, output, complaint = run(["docker", "--context", context, *arguments])
    if code:
        reason = "; ".join(complaint.split("\n")[-4:]).strip("; ") or "no message"
        raise tree.TreeError(f"docker {arguments[0]} through the context {context} has failed: {reason}")
    return output
