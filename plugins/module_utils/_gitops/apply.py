# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deployments of an engine, set up or taken away in one execution."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._gitops import files as _gitops_files
from ansible_collections.bulkhead.docker.plugins.module_utils._gitops import options as _options
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import commands as _commands
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import compose as _compose
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import report as _report
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import state as _state
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import tools as _tools
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import CommandError, GitopsError
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users

_PLACES = _gitops_files.PLACES
_ENABLED = _gitops_files.UNITS / "timers.target.wants" / _gitops_files.TIMER
_ENCRYPTED_CREDENTIALS = 250  # the first systemd that has them
_STOP_SECONDS = 600

REFUSALS = (_options.DeploymentError, _users.UserError, _service.ServiceError, GitopsError, OSError)


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done."""

    changed: bool = False
    public_key: str | None = None
    kept: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)


def run(desired: _options.Desired, check_mode: bool = False) -> Result:
    """Bring the engine to the desired state."""
    service = _systemd()
    _refuse(desired)
    programs = _differing(_gitops_files.programs())
    settings = _differing(_gitops_files.settings(desired, f"unix://{service.socket_path}"))
    units = _differing(_gitops_files.units(desired))
    has_key = _PLACES.deploy_key.exists() or not desired.over_ssh
    enabled = _ENABLED.is_symlink()
    active = _is_active(_gitops_files.TIMER)
    targets = [*programs, *settings, *units]
    result = Result(
        changed=bool(targets or not has_key or not enabled or not active), diff=list(map(_files.diff, targets))
    )
    if not has_key:
        result.diff.append({"before": "", "after": f"{_PLACES.deploy_key}: a new key, which never leaves this host\n"})
    if not check_mode:
        _files.make_folder(_PLACES.config)
        _files.make_folder(_PLACES.state, 0o700)
        if programs and active:
            _systemctl("stop", _gitops_files.TIMER)  # no run begins while its programs are replaced
        _put(targets)
        if not has_key:
            _make_key(_PLACES.deploy_key)
        if units:
            service.read_units()
        if not enabled:
            _systemctl("enable", _gitops_files.TIMER)
        if targets or not active:
            _systemctl("restart", _gitops_files.TIMER)  # a timer that runs keeps its interval
    if desired.over_ssh and _PLACES.deploy_key.exists():
        result.public_key = _public_key(_PLACES.deploy_key)
    return result


def clear(remove_projects: bool, check_mode: bool = False) -> Result:
    """Take everything away again. What containers have mounted stays, or they would lose their files."""
    mounted = _mounted()
    kept = set() if remove_projects else mounted
    targets = _differing([*_gitops_files.nothing(), *_metrics()])
    folders = [folder for folder in (_gitops_files.LIBRARY, _PLACES.config) if folder.exists()]
    left = _leftovers(kept)
    projects = _deployed() if remove_projects else []
    result = Result(changed=bool(targets or folders or left), kept=sorted(kept), diff=list(map(_files.diff, targets)))
    if check_mode or not result.changed:
        return result
    if _gitops_files.UNITS.joinpath(_gitops_files.TIMER).exists():
        _systemctl("disable", "--now", _gitops_files.TIMER)
        _systemctl("stop", _gitops_files.SERVICE)
    for name, engine in projects:
        _compose.down(engine, name)
    _put(targets)
    if any(target.path.parent == _gitops_files.UNITS for target in targets):
        _systemctl("daemon-reload")
    for path in [*folders, *left]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in (*_PLACES.trees.glob("*"), _PLACES.trees, _PLACES.state):
        _files.remove_if_empty(folder)
    _files.remove_if_empty(_gitops_files.LIBRARY.parent)
    return result


def _systemd() -> _service.Systemd:
    service = _service.service()
    if not isinstance(service, _service.Systemd):
        raise _options.DeploymentError(
            "this host does not run systemd, whose timer and sandbox deployments need; deploy here from a build server."
        )
    if not service.installed:
        raise _options.DeploymentError(
            "the docker service is not installed on this host; install it before deployments."
        )
    return service


def _refuse(desired: _options.Desired) -> None:
    problems = _tools.problems()
    if problems:
        raise _options.DeploymentError(" ".join(problems))
    missing = _options.missing_files(desired)
    if missing:
        raise _options.DeploymentError(
            f"{', '.join(missing)} is not there, and systemd would not start deployments without it; create it first."
        )
    if any(encrypted for _name, _file, encrypted in desired.credentials):
        words = _commands.run(("systemctl", "--version"), {})[0].decode().split()
        if int(words[1].partition(".")[0].partition("~")[0]) < _ENCRYPTED_CREDENTIALS:
            raise _options.DeploymentError(
                f"encrypted_file needs systemd {_ENCRYPTED_CREDENTIALS} or later, and this host has {words[1]}; "
                "use file."
            )


def _differing(targets: t.Iterable[Target]) -> list[Target]:
    return [target for target in targets if target.differs()]


def _put(targets: t.Iterable[Target]) -> None:
    for target in targets:
        if target.content is None:
            target.path.unlink(missing_ok=True)
        else:
            _files.make_folder(target.path.parent)
            _files.replace(target.path, target.content, target.mode)
            os.chown(target.path, 0, 0)


def _systemctl(*arguments: str) -> None:
    try:
        _commands.run(("systemctl", *arguments), {}, _STOP_SECONDS)
    except CommandError as error:
        raise _options.DeploymentError(f"systemd does not do what deployments need: {error}") from error


def _is_active(unit: str) -> bool:
    with contextlib.suppress(CommandError):
        _commands.run(("systemctl", "is-active", "--quiet", unit), {})
        return True
    return False


def _make_key(path: pathlib.Path) -> None:
    """In a folder of its own and renamed, so that a key is there whole or not at all."""
    place = path.with_name(".new-key")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    name = os.uname().nodename
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"docker-gitops@{name}", "-f", str(place / "key"))
    _commands.run(command, {"HOME": "/nonexistent"})
    (place / "key").rename(path)
    shutil.rmtree(place)
    _files.sync_folder(path.parent)


def _public_key(path: pathlib.Path) -> str:
    try:
        command = ("ssh-keygen", "-y", "-P", "", "-f", str(path))
        return _commands.run(command, {"HOME": "/nonexistent"})[0].decode().strip()
    except CommandError as error:
        raise _options.DeploymentError(
            f"{path} cannot be read as a key ({error}); remove it, run this again, and give the Git server the new one."
        ) from error


def _deployed() -> list[tuple[str, _compose.Engine]]:
    """The projects that were deployed, by the state, with the way to remove them."""
    with contextlib.suppress(FileNotFoundError):
        config = json.loads(_PLACES.settings.read_text(encoding="utf-8"))
        engine = _compose.Engine(config["docker_host"], _PLACES)
        return [(name, engine) for name in _state.Store(_PLACES.state).load().projects]
    return []


def _metrics() -> list[Target]:
    """The file in somebody else's folder."""
    with contextlib.suppress(FileNotFoundError):
        folder = json.loads(_PLACES.settings.read_text(encoding="utf-8"))["metrics_directory"]
        return [Target(pathlib.Path(folder) / _report.FILE, None)] if folder else []
    return []


def _mounted() -> set[str]:
    """Trees that containers have mounted; all of them where Docker does not say."""
    trees = [str(path) for path in _PLACES.trees.glob("*/*")]
    if not trees:
        return set()
    env = {"HOME": "/nonexistent"}
    try:
        names = _commands.run(("docker", "ps", "--all", "--quiet", "--no-trunc"), env)[0].decode().split()
        form = "{{range .Mounts}}{{println .Source}}{{end}}"
        said = _commands.run(("docker", "inspect", "--format", form, *names), env)[0].decode() if names else ""
    except CommandError:
        return set(trees)
    sources = said.splitlines()
    return {tree for tree in trees if any(source == tree or source.startswith(f"{tree}/") for source in sources)}


def _leftovers(kept: t.Collection[str]) -> list[pathlib.Path]:
    """What there is of our state beside the trees that are to stay."""
    if not _PLACES.state.exists():
        return []
    found = [path for path in _PLACES.trees.glob("*/*") if str(path) not in kept]
    found += [path for path in _PLACES.state.iterdir() if path != _PLACES.trees]
    return found if kept else [_PLACES.state]
