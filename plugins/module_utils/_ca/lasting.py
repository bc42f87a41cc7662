# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a new CA would be there for the next run: a job of AWX or ansible-navigator has a container of its own."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca

# ansible-runner sets the first one for everything that it starts, AWX the second.
_VARIABLES = ("LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR")
_MOUNTS = pathlib.Path("/proc/self/mountinfo")
# What ansible-runner mounts into the container ends with the job, too.
_OF_RUNNER = re.compile(r"/runner(/(artifacts|env|inventory|project))?")
_TEMPORARY = re.compile(r"tmpfs|ramfs|overlay|aufs|fuse\.fuse-overlayfs")


@dataclasses.dataclass(frozen=True)
class Mount:
    point: str
    kind: str  # of file system


def refuse_temporary(directory: ca.Directory, environment: t.Mapping[str, str]) -> None:
    """No CA is made in a job's container but on a file system that is mounted there by somebody else."""
    known_by = next((name for name in _VARIABLES if environment.get(name)), "")
    if directory.certificate.exists() or not known_by or not _MOUNTS.exists():
        return  # no container is without /proc, and ansible-runner starts jobs where there is none as well
    found = _mount(_MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"), os.path.realpath(directory.path))
    is_of_job = _OF_RUNNER.fullmatch(found.point) or found.point == environment.get("AWX_PRIVATE_DATA_DIR")
    if found.point == "/" or is_of_job or _TEMPORARY.fullmatch(found.kind):
        raise ca.CaError(
            f"There is no CA in {directory.path}, and a new one would be gone with the execution environment that this "
            f"job runs in, or is taken to run in by {known_by}: that folder is on the file system {found.point} "
            f"({found.kind}), which ends with it. Name the host that keeps the CA in docker_ca_host, or in "
            "docker_ca_dir a folder on a volume that lasts and is mounted into the execution environment. Nothing was "
            "changed."
        )


def _mount(mountinfo: str, path: str) -> Mount:
    """The file system that a path is on, or will be; of several at one place the last one hides the others."""
    found = Mount("/", "")
    for line in mountinfo.splitlines():
        words, _separator, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), words.split()[4])
        is_above = path == point or path.startswith(f"{point.rstrip('/')}/")
        if is_above and len(point) >= len(found.point):
            found = Mount(point, rest.split()[0])
    return found
