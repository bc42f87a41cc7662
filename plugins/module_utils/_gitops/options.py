# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator declares of deployments, checked, in the form in which the engine reads it."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import typing as t
import urllib.parse

from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import trial as _trial
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users

_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]")
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_PATH = re.compile(r"/[A-Za-z0-9_.~/+-]+")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_TAGS = re.compile(r"[A-Za-z0-9._/-]*\*?[A-Za-z0-9._/-]*")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_FOLDER = re.compile(r"\.|[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)*")
_COMPOSE_FILE = re.compile(r"[A-Za-z0-9_.+@-]+(/[A-Za-z0-9_.+@-]+)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What decides about the programs themselves.
_OTHERS_VARIABLES = re.compile(r"(DOCKER|COMPOSE|BUILDX|BUILDKIT|LD|LC|GIT|SSH|GODEBUG|XDG)_?.*|PATH|HOME|LANG")


class DeploymentError(Exception):
    """One sentence about deployments that cannot be set up as declared."""


@dataclasses.dataclass(frozen=True)
class Signer:
    name: str
    keys: tuple[_users.PublicKey, ...]
    valid_after: datetime.datetime | None
    valid_before: datetime.datetime | None

    @property
    def lines(self) -> str:
        """As ssh-keygen reads it; before 9.1 it knows the host's own time only."""
        options = ['namespaces="git"']
        for option, moment in (("valid-after", self.valid_after), ("valid-before", self.valid_before)):
            if moment:
                options.append(f'{option}="{moment.astimezone().strftime("%Y%m%d%H%M%S")}"')
        return "".join(f"{self.name} {','.join(options)} {key.kind} {key.blob}\n" for key in self.keys)


@dataclasses.dataclass(frozen=True)
class Desired:
    """Deployments of an engine as they shall be."""

    url: str
    host: str  # of the Git server, as known_hosts names it
    host_keys: tuple[_users.PublicKey, ...]
    signers: tuple[Signer, ...]
    projects: tuple[t.Mapping[str, t.Any], ...]
    credentials: tuple[tuple[str, str, bool], ...]  # name, file, whether it is encrypted
    interval: int
    settings: t.Mapping[str, t.Any]  # what the engine takes as it is

    @property
    def over_ssh(self) -> bool:
        return self.url.startswith("ssh://")

    def config(self, docker_host: str) -> dict[str, t.Any]:
        signers = [
            {
                "name": signer.name,
                "fingerprint": key.fingerprint,
                "valid_after": signer.valid_after.timestamp() if signer.valid_after else None,
                "valid_before": signer.valid_before.timestamp() if signer.valid_before else None,
            }
            for signer in self.signers
            for key in signer.keys
        ]
        own = {"url": self.url, "signers": signers, "projects": list(self.projects), "docker_host": docker_host}
        return {**self.settings, **own}


def read(given: t.Mapping[str, t.Any]) -> Desired:
    url = str(given["repository"] or "")
    host = _server(url)
    host_keys = _users.public_keys(given["host_keys"], "the Git server in docker_gitops_host_keys")
    if url.startswith("ssh://") and not host_keys:
        raise DeploymentError(
            f"docker_gitops_host_keys is empty, so that any server could answer for {host}; give its public host keys, "
            "which ssh-keyscan shows, after a comparison with what the server's operator says."
        )
    _check_reference(given)
    for option in ("metrics_directory", "registry_config", "https_login_file", "ca_file"):
        if given[option] and not _PATH.fullmatch(given[option]):
            raise DeploymentError(f"docker_gitops_{option} is {given[option]!r}; write an absolute path.")
    notify = list(given["notify"])
    if notify and not _PATH.fullmatch(notify[0]):
        raise DeploymentError(
            f"docker_gitops_notify starts with {notify[0]!r}; start it with the program's absolute path."
        )
    if not 10 <= given["interval"] <= 86400 or not 0 <= given["settle_seconds"] <= 600:
        raise DeploymentError("docker_gitops_interval is 10 to 86400 seconds, docker_gitops_settle_seconds 0 to 600.")
    projects, credentials = _projects(given["projects"])
    credentials += [
        (name, given[option], False)
        for name, option in (("config.json", "registry_config"), ("https-login", "https_login_file"))
        if given[option]
    ]
    settings = {
        "verify": given["verify"],
        "branch": given["branch"],
        "tags": given["tags"],
        "correct_drift": given["drift"] == "correct",
        "paused": given["paused"],
        "settle_seconds": given["settle_seconds"],
        "notify": notify,
        "metrics_directory": given["metrics_directory"],
        "registry_login": bool(given["registry_config"]),
        "https_login": bool(given["https_login_file"]),
        "ca_file": given["ca_file"],
    }
    signers = tuple(_signers(given["signers"]))
    return Desired(url, host, host_keys, signers, tuple(projects), tuple(credentials), given["interval"], settings)


def _server(url: str) -> str:
    """The name of the Git server, as known_hosts has it."""
    parts = urllib.parse.urlsplit(url)
    account, at, place = parts.netloc.rpartition("@")
    host, port = re.fullmatch(r"(.*?)(?::(\d{1,5}))?", place).groups()  # type: ignore[union-attr]
    usable = (
        parts.scheme in ("ssh", "https")
        and url == f"{parts.scheme}://{parts.netloc}{parts.path}"
        and bool(_HOST.fullmatch(host))
        and bool(_PATH.fullmatch(parts.path))
        and (not at or (parts.scheme == "ssh" and bool(_ACCOUNT.fullmatch(account))))
    )
    if not usable:
        raise DeploymentError(
            f"docker_gitops_repository is {url!r}; write ssh://git@host/path or https://host/path, without a password."
        )
    name = host.strip("[]")
    return name if port in (None, "22") else f"[{name}]:{port}"


def _check_reference(given: t.Mapping[str, t.Any]) -> None:
    branch, tags = str(given["branch"]), str(given["tags"])
    if not _BRANCH.fullmatch(branch) or ".." in branch or branch.endswith((".lock", ".")):
        raise DeploymentError(f"docker_gitops_branch is {branch!r}, which cannot be the name of a branch.")
    if not tags or not _TAGS.fullmatch(tags) or ".." in tags or "//" in tags or tags.startswith(("-", "/", ".")):
        raise DeploymentError(
            f"docker_gitops_tags is {tags!r}; write the name of a tag with one * at most, such as v*."
        )


def _signers(given: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[Signer]:
    if not given:
        raise DeploymentError("docker_gitops_signers is empty, so that nothing could be deployed; name who signs.")
    names: set[str] = set()
    keys: set[str] = set()
    for entry in given:
        name = str(entry["name"])
        if not _PRINCIPAL.fullmatch(name) or name in names:
            raise DeploymentError(
                f"docker_gitops_signers has {name!r} twice, or it has other characters than letters, digits and ._@+-"
            )
        names.add(name)
        found = _users.public_keys(entry["public_keys"], f"{name} in docker_gitops_signers")
        if not found or keys & {key.blob for key in found}:
            raise DeploymentError(f"docker_gitops_signers: {name} has no public key, or that of another signer.")
        keys |= {key.blob for key in found}
        after, before = (_moment(str(entry[option]), option, name) for option in ("valid_after", "valid_before"))
        if after and before and after >= before:
            raise DeploymentError(f"docker_gitops_signers: valid_after of {name} is not before its valid_before.")
        yield Signer(name, found, after, before)


def _moment(text: str, option: str, name: str) -> datetime.datetime | None:
    """As in allowed_signers a date alone is its beginning; a time without a zone is UTC."""
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(re.sub(r"[Zz]\Z", "+00:00", text.strip()))
    except ValueError as error:
        raise DeploymentError(
            f"docker_gitops_signers: {option} of {name} is {text!r}; write 2030-12-31 or 2030-12-31T18:00:00Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)


def _projects(
    given: t.Sequence[t.Mapping[str, t.Any]],
) -> tuple[list[dict[str, t.Any]], list[tuple[str, str, bool]]]:
    if not given:
        raise DeploymentError("docker_gitops_projects is empty, so that nothing would be deployed; name the projects.")
    projects: list[dict[str, t.Any]] = []
    credentials: list[tuple[str, str, bool]] = []
    for entry in given:
        name, path = str(entry["name"]), str(entry["path"] or entry["name"])
        if not _PROJECT.fullmatch(name) or name.endswith(_trial.SUFFIX):
            raise DeploymentError(
                f"docker_gitops_projects: {name!r} cannot be the name of a project; use small letters, digits, - and "
                f"_, and not {_trial.SUFFIX} at the end."
            )
        if name in {project["name"] for project in projects}:
            raise DeploymentError(f"docker_gitops_projects names {name} twice; keep one entry.")
        if not _FOLDER.fullmatch(path):
            raise DeploymentError(
                f"docker_gitops_projects: path of {name} is {path!r}; write a folder of the repository."
            )
        for file in entry["files"]:
            if not _COMPOSE_FILE.fullmatch(file) or ".." in file.split("/"):
                raise DeploymentError(f"docker_gitops_projects: {file!r} of {name} is no file below its path.")
        if not 1 <= entry["wait_seconds"] <= 3600:
            raise DeploymentError(f"docker_gitops_projects: wait_seconds of {name} is not between 1 and 3600.")
        secrets = [_secret(name, secret) for secret in entry["secrets"]]
        credentials += [credential for _secret_of, credential in secrets if credential]
        projects.append(
            {
                "name": name,
                "path": path,
                "files": list(entry["files"]),
                "secrets": [secret for secret, _credential in secrets],
                "trial": entry["trial"],
                "require_digests": entry["require_digests"],
                "wait_seconds": entry["wait_seconds"],
                "present": entry["state"] == "present",
            }
        )
    return projects, credentials


def _secret(project: str, given: t.Mapping[str, t.Any]) -> tuple[dict[str, str], tuple[str, str, bool] | None]:
    variable, file, encrypted = str(given["name"]), given["file"] or "", given["encrypted_file"] or ""
    if not _VARIABLE.fullmatch(variable) or _OTHERS_VARIABLES.fullmatch(variable):
        raise DeploymentError(f"docker_gitops_projects: {variable!r} of {project} cannot be the variable of a secret.")
    if bool(file) == bool(encrypted) or not _PATH.fullmatch(file or encrypted):
        raise DeploymentError(
            f"docker_gitops_projects: the secret {variable} of {project} needs the absolute path of a file or of an "
            "encrypted_file, and not both."
        )
    if file:
        return {"variable": variable, "file": file, "credential": ""}, None
    name = f"{project}.{variable}"
    return {"variable": variable, "file": "", "credential": name}, (name, encrypted, True)


def missing_files(desired: Desired) -> list[str]:
    """Files without which systemd would not start the unit at all."""
    return [file for _name, file, _encrypted in desired.credentials if not pathlib.Path(file).is_file()]
