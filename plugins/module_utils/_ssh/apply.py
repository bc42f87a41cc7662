# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Giving and taking access on an engine: accounts, keys, gate and socket; and the login that shows whether it works."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import socket_acl
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import login as _login
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import plan as _plan
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sockets as _sockets
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users


def put(targets: t.Iterable[Target]) -> None:
    """Each file at once; none of these depends on another."""
    for target in targets:
        if target.content is not None and not target.path.parent.exists():
            _make_folder(target.path.parent)
        target.stage()
        target.swap()
        _files.sweep(target.path)


def _make_folder(folder: pathlib.Path) -> None:
    """With its mode and owner, whatever root's umask is."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, 0, 0)
    folder.chmod(0o755)


def take_away(plan: _plan.Plan) -> None:
    put(target for target in plan.keys if target.content is None)
    for account in plan.leaving:
        _accounts.remove(account)


def give(plan: _plan.Plan, service: _service.Systemd) -> None:
    gid, admins_gid = _accounts.make_groups()
    for folder in plan.folders:
        _make_folder(folder)
    put(plan.programs)
    if any(target.path.name == _ssh_files.UNIT_DROP_IN for target in plan.programs):
        service.read_units()
    if not _plan.granted(service.socket_path, admins_gid):
        socket_acl.grant(service.socket_path, admins_gid)
    if _plan.admits_all(service.socket_path, gid):
        socket_acl.revoke(service.socket_path, gid)
    for user in plan.coming:
        _accounts.make(user.name, user.comment, user.admin)
    with _ending_sessions(plan.cut):
        for user in plan.repairs:
            _accounts.repair(user.name, user.comment, user.admin)
        _sockets.follow()
        put(target for target in plan.keys if target.content is not None)


@contextlib.contextmanager
def _ending_sessions(accounts: t.Sequence[_accounts.Account]) -> t.Iterator[None]:
    """End what these accounts run once they are changed. Of a run that is killed before it has, the next one knows."""
    if accounts:
        _files.replace(_plan.CUT, "\n".join(account.name for account in accounts).encode(), 0o600)
    yield
    for account in accounts:
        _accounts.end_processes(account)
    _plan.CUT.unlink(missing_ok=True)


def to_try(plan: _plan.Plan, users: t.Sequence[_users.User], over_ssh: bool, result: _plan.Result) -> list[_users.User]:
    """The users to whose accounts a login is tried: those of new or repaired accounts, else one of all.

    Without ssh nobody, which is no reason to refuse: the change may take access away from somebody.
    """
    found = [*plan.coming, *plan.repairs] or list(users)[:1]
    if not found or _login.available():
        return found
    unproven = plan.sshd and not over_ssh
    result.warnings.append(
        "ssh is not installed on this host, so that no login to the accounts is tried there"
        + (", and nothing else proves sshd's new configuration" if unproven else "")
        + "; install OpenSSH's client (Debian: openssh-client), or try the accounts from a client host."
    )
    return []


def try_logins(
    sshd: _sshd.Sshd,
    plan: _plan.Plan,
    before: _accounts.Accounts,
    users: t.Sequence[_users.User],
    via: _sshd.Connection | None,
    service: _service.Systemd,
) -> list[str]:
    """Log in to each of these users' accounts."""
    tried = []
    for user in users:
        door = _login.door(sshd.settings(_sshd.CONFIG, user.name, _sshd.Peer()), via)
        problem = _login.failure(user.name, _ssh_files.KEYS, user.restrictions(str(_accounts.GATE)), door)
        if problem:
            _undo(plan, before, service)
            raise _plan.AccessError(
                f"nobody can log in to {user.name} on this host, which was tried at {door.address} port {door.port}: "
                f"{problem}. Accounts that this run had made are removed, and sshd's previous configuration is back. "
                "Correct what keeps the account out, or set docker_ssh_try_login to false if only logins from this "
                "host itself are refused."
            )
        tried.append(user.name)
    return tried


def _undo(plan: _plan.Plan, before: _accounts.Accounts, service: _service.Systemd) -> None:
    """Take back what this run has given; what it has taken away from somebody stays taken."""
    if plan.sshd:
        _commit.recover()
    names = {user.name for user in plan.coming}
    given = [target for target in _ssh_files.key_files((), ()) if target.path.name in names]
    put(target for target in given if target.differs())
    now = _accounts.Accounts.gather()
    for name in sorted(names & set(now.own)):
        _accounts.remove(now.own[name])
    risen = [user for user in plan.repairs if user.admin and not before.own[user.name].admin]
    with _ending_sessions([before.own[user.name] for user in risen]):
        for user in risen:
            _accounts.repair(user.name, user.comment, False)
    if before.gid is None:
        everything = [*_ssh_files.no_programs(), *_ssh_files.key_files((), ())]
        programs = [target for target in everything if target.differs()]
        remove_rest(dataclasses.replace(plan, programs=programs), service, now)


def remove_rest(plan: _plan.Plan, service: _service.Systemd | None, accounts: _accounts.Accounts) -> None:
    """Everything that the role put on the host, once nobody has access any more."""
    put(plan.programs)
    if service and any(target.path.name == _ssh_files.UNIT_DROP_IN for target in plan.programs):
        service.read_units()
    path = service.socket_path if service else _service.DEFAULT_SOCKET
    for gid in (accounts.gid, accounts.admins_gid):
        if gid is not None and _plan.granted(path, gid) and pathlib.Path(path).exists():
            socket_acl.revoke(path, gid)
    _accounts.remove_groups()
    for folder in (*own_folders(), *{target.path.parent for target in plan.programs}):
        _files.remove_if_empty(folder)


def own_folders() -> tuple[pathlib.Path, ...]:
    """Deepest first, so that each is empty when its turn comes."""
    return (_ssh_files.KEYS, _ssh_files.PRINCIPALS, _ssh_files.SETTINGS, _accounts.HOME)
