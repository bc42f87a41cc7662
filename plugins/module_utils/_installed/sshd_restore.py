# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts sshd's previous configuration back when the new one was not confirmed.

It is installed on the engine and started there by a timer, or after a reboot before sshd, so it stands alone. Whoever
renames the journal owns what happens next: the timer to restore, or the confirmation to keep.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import syslog
import typing as t

JOURNAL = pathlib.Path("/var/lib/bulkhead/sshd/journal.json")
CLAIMED = JOURNAL.with_suffix(".claimed")
PROGRAM = JOURNAL.with_name("restore.py")
# A reboot takes the timer away; this unit is there as long as a change is open.
BOOT_UNIT = pathlib.Path("/etc/systemd/system/bulkhead-sshd-boot.service")
BOOT_LINK = BOOT_UNIT.parent / "multi-user.target.wants" / BOOT_UNIT.name
AT_BOOT = "boot"


def claim() -> dict[str, t.Any] | None:
    """The open change, taken over from whoever else wants it; None where there is none any more."""
    try:
        JOURNAL.rename(CLAIMED)
    except FileNotFoundError:
        if not CLAIMED.exists():  # one that was claimed and not finished is taken up again
            return None
    journal: dict[str, t.Any] = json.loads(CLAIMED.read_text(encoding="utf-8"))
    return journal


def restore(journal: t.Mapping[str, t.Any], tell_sshd: bool = True) -> None:
    """Every file as it was, and sshd told; raises what the reload says. Done twice it does no harm."""
    for file in journal["files"]:
        path, old = pathlib.Path(file["path"]), pathlib.Path(file["old"])
        if not file["existed"]:
            path.unlink(missing_ok=True)
        elif old.exists():
            old.replace(path)  # does nothing where both are one file still
        for leftover in (old, pathlib.Path(file["new"])):
            leftover.unlink(missing_ok=True)
        _sync(path.parent)  # before the journal goes
    if tell_sshd and journal["reload"]:
        subprocess.run(journal["reload"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    CLAIMED.unlink()


def _sync(folder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def leave() -> None:
    """Take away what only an open change needs: this program with its unit, and folders unless they hold more."""
    for path in (BOOT_LINK, BOOT_UNIT, PROGRAM):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        PROGRAM.parent.rmdir()
        PROGRAM.parent.parent.rmdir()


def main(arguments: list[str]) -> int:
    at_boot = arguments == [AT_BOOT]
    syslog.openlog("docker-ssh", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    journal = claim()
    if journal is None:
        return 0
    why = "before the host was restarted" if at_boot else "in time"
    syslog.syslog(syslog.LOG_WARNING, f"no new connection confirmed the new sshd configuration {why}; restoring")
    restore(journal, tell_sshd=not at_boot)
    leave()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
