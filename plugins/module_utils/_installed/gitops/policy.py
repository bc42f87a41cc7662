# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Compose file may not have, because no signature would cover it."""

from __future__ import annotations

import pathlib
import re
import typing as t

from .compose import Model
from .errors import ProjectError

_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")


def check(model: Model, folder: pathlib.Path, require_digests: bool) -> None:
    for name, service in (model.get("services") or {}).items():
        if "provider" in service:
            raise ProjectError(
                f"the service {name} has a provider, a program that would run on this host itself; remove it."
            )
        if require_digests and not (_DIGEST.fullmatch(str(service.get("image", ""))) and not service.get("build")):
            raise ProjectError(
                f"the service {name} has no image with a digest (image: name@sha256:...), as require_digests wants it."
            )
        _check_build(name, service.get("build"), folder)
        for volume in service.get("volumes") or []:
            if require_digests and volume.get("type") == "image" and not _DIGEST.fullmatch(str(volume.get("source"))):
                raise ProjectError(
                    f"the service {name} mounts the image {volume.get('source')} without a digest, as require_digests "
                    "wants it."
                )
            is_own = volume.get("type") == "bind" and _is_inside(str(volume.get("source", "")), folder, folder)
            if is_own and not volume.get("read_only"):
                raise ProjectError(
                    f"the service {name} could write to {volume['source']} in the project's own folder, and so change "
                    "what is deployed; mount it read-only (:ro), or give it a volume."
                )
    for kind in ("configs", "secrets"):
        for name, entry in (model.get(kind) or {}).items():
            file = (entry or {}).get("file")
            if file and not _is_inside(file, folder, folder):
                raise ProjectError(
                    f"{kind} of the project name {file} for {name}, which is outside of its folder in the repository; "
                    "put the file there, or use the secrets of the role."
                )


def check_read(model: Model, folder: pathlib.Path) -> None:
    """Files that no model names any more once Compose has read them: this one is as it was before that."""
    for name, service in (model.get("services") or {}).items():
        for option in ("env_file", "label_file"):
            given = service.get(option) or []
            for entry in [given] if isinstance(given, (str, dict)) else given:
                path = str(entry.get("path", "") if isinstance(entry, dict) else entry)
                if "$" in path or not _is_inside(path, folder, folder):
                    raise ProjectError(
                        f"{option} of the service {name} is {path}, which is no file in the project's own folder; put "
                        "it there, or use the secrets of the role."
                    )


def _check_build(name: str, build: t.Any, folder: pathlib.Path) -> None:
    if not build:
        return
    given: dict[str, t.Any] = {"context": build} if isinstance(build, str) else dict(build)
    context = str(given.get("context", "."))
    contexts = [str(value) for value in dict(given.get("additional_contexts") or {}).values()]
    for place in [context, *(value for value in contexts if not value.startswith("service:"))]:
        if not _is_inside(place, folder, folder):
            raise ProjectError(f"the service {name} is built from {place}, which is outside of the project's folder.")
    if "dockerfile" in given and not _is_inside(str(given["dockerfile"]), folder, folder / context):
        raise ProjectError(f"the Dockerfile of the service {name} is outside of the project's folder.")


def _is_inside(path: str, folder: pathlib.Path, base: pathlib.Path) -> bool:
    """Whether it is a path below the folder; URLs and addresses of git are none."""
    if re.match(r"[\w.+-]+:", path) or re.match(r"[^/]+@[^/]+:", path) or path.startswith("github.com/"):
        return False
    whole = (base / path).resolve()
    return whole == folder.resolve() or folder.resolve() in whole.parents
