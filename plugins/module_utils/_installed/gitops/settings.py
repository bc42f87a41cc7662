# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role has declared, as it stands in a file on the engine."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

from .errors import GitopsError


@dataclasses.dataclass(frozen=True)
class Places:
    """Where everything is; tests have folders of their own."""

    config: pathlib.Path = pathlib.Path("/etc/docker-gitops")
    state: pathlib.Path = pathlib.Path("/var/lib/docker-gitops")

    @property
    def settings(self) -> pathlib.Path:
        return self.config / "config.json"

    @property
    def allowed_signers(self) -> pathlib.Path:
        return self.config / "allowed_signers"

    @property
    def known_hosts(self) -> pathlib.Path:
        return self.config / "known_hosts"

    @property
    def deploy_key(self) -> pathlib.Path:
        return self.config / "deploy_key"

    @property
    def repository(self) -> pathlib.Path:
        return self.state / "repository.git"

    @property
    def trees(self) -> pathlib.Path:
        return self.state / "trees"

    @property
    def paused(self) -> pathlib.Path:
        return self.state / "paused"


@dataclasses.dataclass(frozen=True)
class Signer:
    """Somebody whose signature counts, from when until when in seconds since 1970."""

    name: str
    fingerprint: str
    valid_after: float | None
    valid_before: float | None

    def is_valid_at(self, moment: float) -> bool:
        return (self.valid_after is None or self.valid_after <= moment) and (
            self.valid_before is None or moment < self.valid_before
        )


@dataclasses.dataclass(frozen=True)
class Secret:
    """A variable for Compose, from a file, or from a credential that systemd has decrypted."""

    variable: str
    file: str
    credential: str


@dataclasses.dataclass(frozen=True)
class Project:
    """One Compose project in a folder of the repository."""

    name: str
    path: str
    files: tuple[str, ...]
    secrets: tuple[Secret, ...]
    trial: bool
    require_digests: bool
    wait_seconds: int
    present: bool


@dataclasses.dataclass(frozen=True)
class Settings:
    """The whole declaration."""

    url: str
    verify: str  # commit or tag
    branch: str
    tags: str
    signers: tuple[Signer, ...]
    projects: tuple[Project, ...]
    correct_drift: bool
    paused: bool
    settle_seconds: int
    notify: tuple[str, ...]
    metrics_directory: str
    docker_host: str
    registry_login: bool
    https_login: bool
    ca_file: str

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]


def read(path: pathlib.Path) -> Settings:
    try:
        data: dict[str, t.Any] = json.loads(path.read_text(encoding="utf-8"))
        signers = tuple(Signer(**entry) for entry in data.pop("signers"))
        projects = tuple(
            Project(
                **{
                    **entry,
                    "files": tuple(entry["files"]),
                    "secrets": tuple(Secret(**secret) for secret in entry["secrets"]),
                }
            )
            for entry in data.pop("projects")
        )
        return Settings(**{**data, "notify": tuple(data["notify"])}, signers=signers, projects=projects)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GitopsError(
            f"{path} cannot be used ({error}); run the role docker_gitops again, which writes it."
        ) from error
