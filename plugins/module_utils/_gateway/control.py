# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Talking to the running gateway through HAProxy's master socket: its workers, and the connections of identities."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import socket
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import config

_SESSION = re.compile(r"^(0x[0-9a-f]+): .*\bbe=(\S+)", re.MULTILINE)
_WORKER = re.compile(r"^(\d+)\s+worker\s")


@dataclasses.dataclass(frozen=True)
class Workers:
    """Processes: those that take new connections, and those of former configurations, whose streams are not over."""

    current: tuple[int, ...] = ()
    old: tuple[int, ...] = ()


def ask(master: pathlib.Path, command: str, timeout: float = 5) -> str:
    """What HAProxy answers."""
    data = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(master))
        connection.sendall(f"{command}\n".encode())
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65536):
            data += chunk
    return data.decode("utf-8", "replace")


def workers(master: pathlib.Path) -> Workers:
    """None while the master is not there, or is about to load a configuration."""
    try:
        return _listed(master)
    except OSError:
        return Workers()


def _listed(master: pathlib.Path) -> Workers:
    found: dict[str, list[int]] = {"workers": [], "old workers": []}
    section = ""
    for line in ask(master, "show proc").splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        match = _WORKER.match(line)
        if match and section in found:
            found[section].append(int(match[1]))
    if not found["workers"]:
        raise OSError("it names no process that serves")
    return Workers(tuple(found["workers"]), tuple(found["old workers"]))


def wait_for_new_worker(master: pathlib.Path, before: t.Collection[int], timeout: float) -> bool:
    """Whether another worker serves by then. Releases from 3.1 on list one while it is still reading its files."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if any(_serves(master, pid) for pid in set(workers(master).current) - set(before)):
            return True
        time.sleep(0.05)
    return False


def _serves(master: pathlib.Path, pid: int) -> bool:
    try:
        return f"\nPid: {pid}\n" in ask(master, f"@!{pid} show info", timeout=1)
    except OSError:
        return False


def cut(master: pathlib.Path, names: t.Collection[str]) -> int:
    """End all connections that these identities have by former configurations; how many there were.

    A process of a former configuration lets in by that whoever has begun a handshake with it, so that it gets to know
    the names first. One that does not do as it is told is ended, with everybody's connections.
    """
    ended = 0
    for pid in _listed(master).old if names else ():
        try:
            ended += _cut(master, pid, names)
        except OSError:
            if pid in _listed(master).old:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    return ended


def _cut(master: pathlib.Path, pid: int, names: t.Collection[str]) -> int:
    for name in names:
        said = ask(master, f"@!{pid} add acl {config.NAMES_TO_REFUSE} {name}").strip()
        if said:
            raise OSError(said)
    backends = {config.backend(name) for name in names}
    sessions = [one for one, backend in _SESSION.findall(ask(master, f"@!{pid} show sess")) if backend in backends]
    for session in sessions:
        ask(master, f"@!{pid} shutdown session {session}")
    return len(sessions)
