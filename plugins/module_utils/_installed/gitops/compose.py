# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker Compose on one project, from files that were verified and with an environment that the role has declared."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import typing as t

from . import commands
from .errors import CommandError, ProjectError
from .settings import Places, Project

Model = dict[str, t.Any]
_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_BUILD_SECONDS = 3600
_STOP_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Container:
    """A container of a project, as the engine knows it."""

    name: str
    service: str
    config_hash: str
    status: str
    health: str
    restarts: int
    image: str = ""  # by the name that its Compose file has
    image_id: str = ""


def secrets(project: Project) -> dict[str, str]:
    """The values for Compose. They are in no file, message or state of ours."""
    found = {}
    for secret in project.secrets:
        place = secret.file or f"{os.environ.get('CREDENTIALS_DIRECTORY', '')}/{secret.credential}"
        try:
            value = pathlib.Path(place).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ProjectError(f"the secret {secret.variable} cannot be read from {place} ({why}).") from error
        found[secret.variable] = value[:-1] if value.endswith("\n") else value
    return found


class Engine:
    """The docker CLI without anybody's settings."""

    def __init__(self, docker_host: str, places: Places, registry_login: bool = False) -> None:
        login = os.environ.get("CREDENTIALS_DIRECTORY", "") if registry_login else ""
        self.env = {
            "HOME": "/nonexistent",
            "DOCKER_HOST": docker_host,
            "DOCKER_CONFIG": login or str(places.config / "docker"),
            # A signature covers neither what another server has, nor what it will have tomorrow.
            "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false",
            "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false",
            "BUILDX_CONFIG": str(places.state / "buildx"),
        }

    def docker(self, *arguments: str, timeout: float = 120) -> str:
        return commands.run(("docker", *arguments), self.env, timeout)[0].decode("utf-8", "replace")

    def check(self) -> None:
        self.docker("version", "--format", "{{.Server.Version}}", timeout=60)

    def image_id(self, image: str) -> str:
        """Which image has that name now; empty where none has."""
        with contextlib.suppress(CommandError):
            return self.docker("image", "inspect", "--format", "{{.Id}}", image).strip()
        return ""

    def name_again(self, images: t.Mapping[str, str]) -> None:
        """Names that a pull or a build has given to other images, back to what they meant. What is pruned is gone."""
        for name, identifier in images.items():
            if self.image_id(name) != identifier and self.image_id(identifier):
                self.docker("image", "tag", identifier, name)

    def containers(self, project: str) -> list[Container]:
        label = f"label=com.docker.compose.project={project}"
        only = ("--filter", label, "--filter", "label=com.docker.compose.oneoff=False")
        names = self.docker("ps", "--all", "--quiet", "--no-trunc", *only).split()
        if not names:
            return []
        found = json.loads(self.docker("inspect", "--type", "container", *names))
        return [
            Container(
                name=entry["Name"].lstrip("/"),
                service=(entry["Config"]["Labels"] or {}).get("com.docker.compose.service", ""),
                config_hash=(entry["Config"]["Labels"] or {}).get("com.docker.compose.config-hash", ""),
                status=entry["State"]["Status"],
                health=(entry["State"].get("Health") or {}).get("Status", ""),
                restarts=entry.get("RestartCount", 0),
                image=entry["Config"]["Image"],
                image_id=entry["Image"],
            )
            for entry in found
        ]


class Compose:
    """One project at one version: a folder with its files."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        folder: pathlib.Path,
        files: t.Sequence[str],
        variables: t.Mapping[str, str],
        model: Model | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self._folder = folder
        self._given = json.dumps(model).encode() if model is not None else None
        self._files = ["-"] if model is not None else [str(folder / file) for file in files or self._usual()]
        self._secrets = [line for value in variables.values() for line in [value, *value.splitlines()]]
        self._env = {**variables, **engine.env, "COMPOSE_PROJECT_NAME": name}

    def _usual(self) -> list[str]:
        """Compose itself would look in the folders above, too."""
        found = [name for name in _NAMES if (self._folder / name).is_file()]
        if not found:
            raise ProjectError(f"the project has no {' or '.join(_NAMES)}; name its Compose files in 'files'.")
        return found[:1]

    def _run(self, *arguments: str, timeout: float = 120) -> str:
        named = [word for file in self._files for word in ("--file", file)]
        base = ("docker", "compose", "--ansi", "never", "--progress", "plain", "--project-name", self.name)
        command = (*base, "--project-directory", str(self._folder), *named, *arguments)
        try:
            return commands.run(command, self._env, timeout, self._given)[0].decode("utf-8", "replace")
        except CommandError as error:
            raise CommandError(self._without_secrets(str(error))) from None

    def _without_secrets(self, text: str) -> str:
        """Compose names the values that it cannot use, such as a port that is none."""
        for value in sorted(filter(None, self._secrets), key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def model(self, interpolate: bool = True) -> Model:
        """What the files mean. With the values of secrets in it, so that it stays in memory."""
        options = () if interpolate else ("--no-interpolate",)
        found: Model = json.loads(self._run("config", "--format", "json", *options))
        return found

    def hashes(self) -> dict[str, str]:
        """What Compose would label the containers of each service with."""
        lines = self._run("config", "--hash", "*").splitlines()
        return dict(line.split(" ", 1) for line in lines if " " in line)

    def pull(self, model: Model) -> None:
        """The images that are not here, before anything is stopped for them. Compose itself takes latest for absent."""
        missing = [
            name
            for name, service in model["services"].items()
            if service.get("pull_policy") == "always"
            or not (service.get("build") or self.engine.image_id(service["image"]))
        ]
        if missing:
            self._run("pull", "--quiet", *missing, timeout=_BUILD_SECONDS)

    def build(self) -> None:
        self._run("build", "--quiet", timeout=_BUILD_SECONDS)

    def up(self, seconds: int) -> None:
        """Until all services run and are healthy, or that has not come in time. With the images that are here."""
        options = ("--detach", "--wait", "--wait-timeout", str(seconds), "--remove-orphans", "--no-build")
        self._run("up", *options, "--pull", "missing", "--quiet-pull", timeout=seconds + _STOP_SECONDS)

    def down(self, volumes: bool = False) -> None:
        options = ("--volumes", "--timeout", "5") if volumes else ()
        self._run("down", "--remove-orphans", *options, timeout=_STOP_SECONDS)


def down(engine: Engine, name: str) -> None:
    """Stop and remove a project by its name alone; its volumes stay."""
    engine_env = {**engine.env, "COMPOSE_PROJECT_NAME": name}
    command = ("docker", "compose", "--ansi", "never", "--project-name", name, "down", "--remove-orphans")
    commands.run(command, engine_env, _STOP_SECONDS)


def check_steady(engine: Engine, name: str, before: t.Mapping[str, int]) -> list[str]:
    """The services that run. Raises where a container has ended or begun anew since ``before``, or is unhealthy."""
    found = engine.containers(name)
    for container in found:
        if container.restarts > before.get(container.name, 0) or container.status in ("restarting", "dead"):
            raise CommandError(f"the container {container.name} ends again and again; docker logs says why")
        if container.health not in (
            "",
            "none",
            "healthy",
        ):  # Compose now and then takes the end of its wait for success
            raise CommandError(f"the container {container.name} is not healthy but {container.health}")
    return sorted({container.service for container in found if container.status == "running"})
