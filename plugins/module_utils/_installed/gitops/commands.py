# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other programs, with an end, and with nothing of the environment but what they are given."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import typing as t

from .errors import CommandError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_REASON = 1000


def run(
    command: t.Sequence[str], env: t.Mapping[str, str], timeout: float = 120, given: bytes | None = None
) -> tuple[bytes, str]:
    """Its output and what it complained of; raises where it fails."""
    name = " ".join(word for word in command[:3] if not word.startswith("-"))
    try:
        process = subprocess.Popen(
            command,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **env},
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        raise CommandError(f"'{name}' cannot be started ({error.strerror})") from error
    try:
        output, complaint = process.communicate(given, timeout)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"'{name}' did not end within {timeout:.0f} s") from error
    finally:
        _end(process)
    said = complaint.decode("utf-8", "replace")
    if process.returncode:
        raise CommandError(f"'{name}' ended with code {process.returncode}: {reason(said)}")
    return output, said


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started: the docker CLI runs Compose as a process of its own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def reason(text: str) -> str:
    """The last lines of what a program has said, as one line that a terminal can show."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = "; ".join(lines[-4:]) or "no message"
    return "".join(c if c.isprintable() else " " for c in said)[-_LONGEST_REASON:]
