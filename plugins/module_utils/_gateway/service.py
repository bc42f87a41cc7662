# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service of a gateway: started, reloaded without an end of streams, stopped."""

from __future__ import annotations

import pathlib
import pwd
import subprocess
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.places import UnitError

_RELOAD_TIMEOUT = 20


def _systemctl(*words: str, timeout: float = 90) -> str:
    command = ("systemctl", *words)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnitError(f"'{' '.join(command)}' did not end ({error})") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UnitError(f"'{' '.join(command)}' ended with code {done.returncode}: {said[0] if said else 'no message'}")
    return done.stdout


def runs() -> bool:
    return _shows("ActiveState") in ("active", "reloading")


def starts_at_boot() -> bool:
    return _shows("UnitFileState") == "enabled"


def _shows(name: str) -> str:
    if not pathlib.Path("/run/systemd/system").is_dir():
        return ""
    return _systemctl("show", places.NAME, f"--property={name}").strip().partition("=")[2]


def ensure_account() -> None:
    """The system user that it runs as."""
    try:
        pwd.getpwnam(places.USER)
    except KeyError:
        command = ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent")
        done = subprocess.run(
            (*command, "--shell", "/usr/sbin/nologin", places.USER), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UnitError(f"the system user {places.USER} could not be made: {done.stderr.strip()}") from None


def remove_account() -> None:
    subprocess.run(("userdel", places.USER), capture_output=True, check=False)


def start(unit_changed: bool) -> None:
    """Run with the files as they are, and at every boot; streams go on unless the unit itself is another one."""
    _systemctl("daemon-reload")
    if not starts_at_boot():
        _systemctl("enable", places.NAME)
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import control  # loaded for a gateway alone

    before = control.workers(places.PLACES.master).current if runs() else ()
    if not before or unit_changed:
        _systemctl("restart", places.NAME)
        return
    _systemctl("reload", places.NAME)
    if not control.wait_for_new_worker(places.PLACES.master, before, _RELOAD_TIMEOUT):
        raise UnitError(
            f"the gateway did not load its new configuration within {_RELOAD_TIMEOUT} s; see 'journalctl -u "
            f"{places.NAME}'"
        )


def stop() -> None:
    """It does not come back by itself. Where there is none, nothing happens."""
    if _shows("LoadState") != "not-found" or runs():
        subprocess.run(("systemctl", "disable", "--now", places.NAME), capture_output=True, check=False)
    if runs():
        _systemctl("stop", places.NAME)


def cut(names: t.Collection[str]) -> int:
    """End what these identities have by former configurations."""
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import control

    try:
        return control.cut(places.PLACES.master, names)
    except OSError as error:
        raise UnitError(
            f"the gateway does not answer, so that connections may go on which had to end ({error}); see "
            f"'journalctl -u {places.NAME}'"
        ) from error
