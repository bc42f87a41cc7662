# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restricted accounts of an engine: found, made, removed with all that they run.

An account is the role's own when its primary group is the role's and its shell is the gate. An admin is in a second
group, which the Docker socket admits; everybody else has what a gateway gives them. Nothing else is recorded.
"""

from __future__ import annotations

import dataclasses
import grp
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._installed import gateway_sockets, ssh_gate
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import processes as _processes

GROUP = gateway_sockets.GROUP
ADMINS = ssh_gate.ADMINS
HOME = pathlib.Path("/var/lib/docker-ssh")
GATE = pathlib.Path("/usr/local/lib/bulkhead/docker-ssh-gate")


class AccountError(Exception):
    """One sentence about an account that is in the way or could not be changed."""


@dataclasses.dataclass(frozen=True)
class Account:
    """An account of the role as it stands in the host's files."""

    name: str
    uid: int
    comment: str
    sound: bool  # home, password and further groups are as they were made
    admin: bool = True


@dataclasses.dataclass(frozen=True)
class Accounts:
    """What the host has."""

    gid: int | None
    own: t.Mapping[str, Account]
    admins_gid: int | None = None

    @classmethod
    def gather(cls) -> Accounts:
        group, admins = _group(GROUP), _group(ADMINS)
        if group is None:
            return cls(None, {}, admins.gr_gid if admins else None)
        own = {}
        foreign = list(group.gr_mem)
        ours = {GROUP, ADMINS}
        supplementary = {name for other in grp.getgrall() if other.gr_name not in ours for name in other.gr_mem}
        for entry in pwd.getpwall():
            if entry.pw_gid != group.gr_gid:
                continue
            if entry.pw_shell != str(GATE):
                foreign.append(entry.pw_name)
                continue
            sound = entry.pw_dir == str(HOME) and entry.pw_name not in supplementary and _password(entry.pw_name) == "*"
            admin = admins is not None and entry.pw_name in admins.gr_mem
            own[entry.pw_name] = Account(entry.pw_name, entry.pw_uid, entry.pw_gecos, sound, admin)
        foreign = sorted(set(foreign) - set(own))
        if foreign:
            raise AccountError(
                f"the group {GROUP} on this host has members that the role did not make: {', '.join(foreign)}; whoever "
                "is in it loses shell and file transfer. Take them out of the group."
            )
        if admins:
            first = {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == admins.gr_gid}
            foreign = sorted({*admins.gr_mem, *first} - set(own))
        if foreign:
            raise AccountError(
                f"the group {ADMINS} on this host has members that the role did not make: {', '.join(foreign)}; "
                "whoever is in it is root through the Docker socket. Take them out of the group."
            )
        return cls(group.gr_gid, own, admins.gr_gid if admins else None)

    def refuse_taken_names(self, names: t.Iterable[str]) -> None:
        taken = [name for name in names if name not in self.own and _exists(name)]
        if taken:
            raise AccountError(
                f"{', '.join(taken)} in docker_ssh_users exists on this host already and would lose its shell; choose "
                f"another name, such as docker-{taken[0]}."
            )


def _group(name: str) -> grp.struct_group | None:
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _password(name: str) -> str:
    """The password field of a local account; crypt never yields '*', so nothing that is typed in matches it."""
    try:
        lines = pathlib.Path("/etc/shadow").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.split(":")[1] for line in lines if line.startswith(f"{name}:")), "")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise AccountError(
            f"'{' '.join(command)}' ended with code {done.returncode}: {said[0] if said else 'no message'}"
        )


def make_groups() -> tuple[int, int]:
    """The group of all accounts and that of admins."""
    for name in (GROUP, ADMINS):
        if _group(name) is None:
            _run("groupadd", "--system", name)
    return grp.getgrnam(GROUP).gr_gid, grp.getgrnam(ADMINS).gr_gid


def remove_groups() -> None:
    for name in (ADMINS, GROUP):
        if _group(name) is not None:
            _run("groupdel", name)


def make(name: str, comment: str, admin: bool) -> None:
    _run(
        *("useradd", "--system", "--no-user-group", "--gid", GROUP, "--home-dir", str(HOME), "--no-create-home"),
        *("--groups", ADMINS if admin else "", "--shell", str(GATE), "--password", "*", "--comment", comment, name),
    )


def repair(name: str, comment: str, admin: bool) -> None:
    groups = ADMINS if admin else ""
    _run("usermod", "--home", str(HOME), "--password", "*", "--groups", groups, "--comment", comment, name)


def remove(account: Account) -> None:
    """End the account and everything that it runs; its key files have to be gone before."""
    if shutil.which("loginctl"):
        subprocess.run(("loginctl", "terminate-user", account.name), capture_output=True, check=False)
    end_processes(account)
    _run("userdel", account.name)
    end_processes(account)  # of a login that was under way


def end_processes(account: Account, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while processes := _running_as(account.uid):
        if time.monotonic() > end:
            raise AccountError(
                f"processes of {account.name} do not end: {', '.join(map(str, processes))}. They wait for a device or "
                "a network file system; restart the host, and run this again."
            )
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _running_as(uid: int, proc: pathlib.Path = pathlib.Path("/proc")) -> list[int]:
    """What runs as that user on the host itself, sessions of sshd among it."""
    found = []
    for entry in _processes.of_this_host(proc):
        try:
            lines = (entry / "status").read_text(errors="replace").splitlines()
        except OSError:
            continue  # it has ended meanwhile
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if str(uid) in fields.get("Uid", "").split() and not fields.get("State", "").strip().startswith("Z"):
            found.append(int(entry.name))
    return found
