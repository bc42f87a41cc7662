# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing sshd's configuration as a confirmed commit.

A timer on the host is armed before the first file changes; it puts the previous configuration back, whatever becomes of
the connection or of this process, and a unit does it after a reboot. A change is kept when a connection through the new
configuration confirms it, or, where Ansible is not connected through sshd, unless a login fails.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import pathlib
import subprocess
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line as _command_line
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import sshd_restore
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd

FOLDER = sshd_restore.JOURNAL.parent
# Two timers, so that the second can take over from the first without a moment in which there is none.
_CHANGING, _WAITING = "bulkhead-sshd-restore", "bulkhead-sshd-confirm"
_LONGEST_CHANGE = 300  # seconds for reload and logins, after which whoever made the change must have died


class CommitError(Exception):
    """One sentence: what failed, and which configuration sshd runs with."""


class Reloadable(t.Protocol):
    """What this needs of the SSH server."""

    @property
    def reload(self) -> tuple[str, ...]: ...

    def check(self) -> str: ...


def recover() -> bool:
    """Restore at once what an earlier run changed and never confirmed; whether there was such a change."""
    journal = sshd_restore.claim()
    if journal is not None:
        _disarm(_CHANGING, _WAITING)
        _restore(journal)
    sshd_restore.leave()
    return journal is not None


def is_open() -> bool:
    """Whether a change is not confirmed yet, or never was."""
    return sshd_restore.JOURNAL.exists() or sshd_restore.CLAIMED.exists()


def begin(sshd: Reloadable, targets: t.Sequence[_files.Target], via: _sshd.Connection | None) -> None:
    """Put the new files in place and have sshd read them, with the timer running."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        for target in targets:
            target.stage()
            _files.sync_folder(target.path.parent)
        _files.write(sshd_restore.PROGRAM, inspect.getsource(sshd_restore).encode(), 0o600)
        journal: dict[str, t.Any] = {
            "files": [
                {"path": str(x.path), "old": str(x.old), "new": str(x.new), "existed": x.path.exists()} for x in targets
            ],
            "reload": list(sshd.reload),
            "connection": via.identity if via else None,
        }
        new = FOLDER / "journal.new"
        _files.write(new, json.dumps(journal).encode(), 0o600)
        _prepare_reboot([target.path for target in targets])
        _arm(_CHANGING, _LONGEST_CHANGE)
        new.replace(sshd_restore.JOURNAL)
        for folder in (FOLDER, FOLDER.parent, FOLDER.parent.parent):
            _files.sync_folder(folder)
    except (OSError, CommitError) as error:
        for target in targets:
            _files.sweep(target.path)
        sshd_restore.leave()
        raise CommitError(f"sshd's new configuration could not be prepared ({error}); it was not changed.") from error
    try:
        for target in targets:
            target.swap()
        complaint = sshd.check()
        if complaint:
            raise CommitError(f"sshd refuses the new configuration ({complaint})")
        if sshd.reload:
            before = _listeners()
            subprocess.run(sshd.reload, check=True, capture_output=True, stdin=subprocess.DEVNULL)
            _wait_for_new_listeners(before)
    except (OSError, subprocess.CalledProcessError, CommitError) as error:
        said = error.stderr.decode(errors="replace").strip() if isinstance(error, subprocess.CalledProcessError) else ""
        recover()
        raise CommitError(f"{error}{': ' if said else ''}{said}. The previous configuration is back.") from error


def wait_for_confirmation(seconds: int) -> None:
    """From now on it is for a new connection to keep the change, within this time."""
    _arm(_WAITING, seconds)
    _disarm(_CHANGING)


def confirm(via: _sshd.Connection | None, new_connection: bool = True) -> str:
    """Keep the new configuration; '' or, in a sentence's rest, why it cannot be kept."""
    try:
        journal = json.loads(sshd_restore.JOURNAL.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "the engine had put the previous one back already, because the confirmation came too late"
    if new_connection and journal["connection"] and via and via.identity == journal["connection"]:
        return "no new connection was made, the confirmation came through the old one"
    claimed = sshd_restore.claim()
    if claimed is None:
        return "the engine had put the previous one back already, because the confirmation came too late"
    _disarm(_CHANGING, _WAITING)
    for file in claimed["files"]:
        for leftover in (file["old"], file["new"]):
            pathlib.Path(leftover).unlink(missing_ok=True)
    sshd_restore.CLAIMED.unlink()
    sshd_restore.leave()
    return ""


def _restore(journal: t.Mapping[str, t.Any]) -> None:
    try:
        sshd_restore.restore(journal)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise CommitError(f"the previous files of sshd are back, but it does not read them again: {said}") from error


def boot_unit(paths: t.Iterable[pathlib.Path]) -> str:
    """What systemd starts before sshd when the host starts, so that these files are the previous ones by then.

    It comes before sockets, and so before all that has systemd's usual dependencies: with them, it would be waited for
    by what it waits for itself, and systemd would leave out one of both.
    """
    python = _ssh_files.python()
    needed = [sshd_restore.JOURNAL, pathlib.Path(python), *paths]
    folders = dict.fromkeys(str(folder) for path in needed for folder in (path.parent, path.resolve().parent))
    lines = (
        "[Unit]",
        "Description=Previous configuration of sshd, unless the new one was confirmed",
        "DefaultDependencies=no",
        f"ConditionPathExists={sshd_restore.JOURNAL.parent}",
        f"RequiresMountsFor={_unit_words(*folders)}",
        # The file systems are writable by then, and /dev/log is there.
        "After=local-fs.target systemd-journald-dev-log.socket",
        "Before=ssh.service sshd.service ssh.socket sshd.socket",
        "Conflicts=shutdown.target",
        "Before=shutdown.target",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={_unit_words(python, '-IS', str(sshd_restore.PROGRAM), sshd_restore.AT_BOOT)}",
    )
    return "".join(f"{line}\n" for line in lines)


def _unit_words(*words: str) -> str:
    return _command_line.exec_start(words).replace("%", "%%")


def _prepare_reboot(paths: t.Iterable[pathlib.Path]) -> None:
    """Read by systemd when the host starts, and not before; a host that loses its power at once has it, too."""
    _files.write(sshd_restore.BOOT_UNIT, boot_unit(paths).encode(), 0o644)
    sshd_restore.BOOT_LINK.parent.mkdir(mode=0o755, exist_ok=True)
    sshd_restore.BOOT_LINK.unlink(missing_ok=True)
    sshd_restore.BOOT_LINK.symlink_to(sshd_restore.BOOT_UNIT)
    for folder in (sshd_restore.BOOT_LINK.parent, sshd_restore.BOOT_UNIT.parent):
        _files.sync_folder(folder)


def _arm(timer: str, seconds: int) -> None:
    _disarm(timer)
    command = (
        *("systemd-run", "--quiet", "--collect", f"--unit={timer}", f"--on-active={seconds}"),
        *("--timer-property=AccuracySec=100ms", _ssh_files.python(), "-IS", str(sshd_restore.PROGRAM)),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CommitError(f"no timer could be started: {done.stderr.strip()}")


def _disarm(*timers: str) -> None:
    for unit in (f"{timer}.{kind}" for timer in timers for kind in ("timer", "service")):
        subprocess.run(("systemctl", "stop", unit), capture_output=True, check=False, stdin=subprocess.DEVNULL)
        subprocess.run(("systemctl", "reset-failed", unit), capture_output=True, check=False, stdin=subprocess.DEVNULL)


def _listeners() -> set[str]:
    """The listening TCP sockets of this host by their inodes: an sshd that starts anew has new ones."""
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            lines = pathlib.Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]
            found |= {line.split()[9] for line in lines if line.split()[3] == "0A"}
    return found


def _wait_for_new_listeners(before: set[str], seconds: float = 3) -> None:
    """Reloading is a signal, after which sshd starts anew in its own time; where it keeps its socket, time passes."""
    end = time.monotonic() + seconds
    while _listeners() - before == set() and time.monotonic() < end:
        time.sleep(0.02)
