# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs that deployments need, in the releases that they need."""

from __future__ import annotations

import re
import shutil

from . import commands
from .errors import CommandError

_GIT = (2, 34)  # the first one that verifies SSH signatures
_COMPOSE = (2, 24)  # the first one in which fetching what no signature covers can be switched off


def problems() -> list[str]:
    """A sentence for each program that is missing or too old, with the ways to get it."""
    return [sentence for sentence in (_git(), _ssh_keygen(), _compose()) if sentence]


def _version(*command: str) -> tuple[int, ...] | None:
    try:
        output, _complaint = commands.run(command, {"HOME": "/nonexistent"})
    except CommandError:
        return None
    found = re.search(r"(\d+)\.(\d+)", output.decode("utf-8", "replace"))
    return tuple(map(int, found.groups())) if found else None


def _git() -> str:
    found = _version("git", "--version")
    if found and found >= _GIT:
        return ""
    has = f"it has {'.'.join(map(str, found))}" if found else "it has none"
    return (
        f"this host needs git 2.34 or later to verify SSH signatures, and {has}; install the package git. Debian 11 "
        "has an older one: take it from bullseye-backports, or use a later Debian."
    )


def _ssh_keygen() -> str:
    if shutil.which("ssh-keygen", path=commands.PATH) and shutil.which("ssh", path=commands.PATH):
        return ""
    return "this host needs ssh and ssh-keygen, to fetch and to verify signatures; install the package openssh-client."


def _compose() -> str:
    found = _version("docker", "compose", "version", "--short")
    if found and found >= _COMPOSE:
        return ""
    has = f"it has {'.'.join(map(str, found))}" if found else "it has none"
    return (
        f"this host needs Compose 2.24 or later as a plugin of the docker CLI, and {has}; install docker-compose and "
        "docker-cli (Debian 13 and later), docker-compose-v2 (Ubuntu), or docker-compose-plugin and docker-ce-cli from "
        "Docker's own packages (Debian 12 and all others)."
    )
