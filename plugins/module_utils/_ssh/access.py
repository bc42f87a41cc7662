# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker API over SSH, and nothing else: accounts, their keys, the gate, the socket and sshd, brought to one state.

Access is taken away first and given last, and sshd is changed at the very end, as a confirmed commit. Then a login to
each new account is tried; where it fails, what this run has given is taken back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _detached, _files, _locks
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import apply as _apply
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import lock as _lock
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import plan as _plan
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sockets as _sockets
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users

Awaited = t.Callable[[], bool]

REFUSALS = (
    _locks.LockError,
    _service.ServiceError,
    _plan.AccessError,
    _sockets.SocketError,
    _places.GatewayError,
    _accounts.AccountError,
    _users.UserError,
    _sshd.SshdError,
    _commit.CommitError,
    OSError,
)


def _always() -> bool:
    return True


def apart(work: t.Callable[[Awaited], _plan.Result]) -> _plan.Result:
    """A change in a process of its own, which ends without one if its caller has gone before it could begin."""

    def answer(is_awaited: Awaited) -> dict[str, t.Any]:
        try:
            return {"result": dataclasses.asdict(work(is_awaited))}
        except REFUSALS as error:
            return {"error": str(error)}

    try:
        said = _detached.run(answer)
    except _detached.DetachedProcessError as error:
        raise _plan.AccessError(f"{error}; run this again, which completes or undoes what it has begun.") from error
    if "error" in said:
        raise _plan.AccessError(said["error"])
    return _plan.Result(**said["result"])


def run(
    desired: _plan.Desired, check_mode: bool = False, over_ssh: bool = False, is_awaited: Awaited = _always
) -> _plan.Result:
    """Bring the engine to the desired state. What nobody awaits any more does not begin.

    ``over_ssh`` is whether Ansible is connected through sshd; if it is, sshd's new configuration waits to be confirmed.
    """
    result = _plan.Result()
    via = _sshd.connection()
    with _locked(check_mode, is_awaited):
        service = _systemd()
        if _commit.is_open() if check_mode else _commit.recover():
            result.recovered = result.changed = True
        sshd = _sshd.Sshd()
        accounts = _accounts.Accounts.gather()
        now = datetime.datetime.now(datetime.timezone.utc)
        users = [user for user in desired.users if not user.expired(now)]
        result.expired = [user.name for user in desired.users if user.expired(now)]
        wanted = [user.name for user in users]
        accounts.refuse_taken_names(wanted)
        kept = _plan.stays(desired, accounts, result.expired)
        result.users = [*wanted, *(name for name in kept if name not in wanted)]
        limits = _plan.limits(desired, via if over_ssh else None, result)
        plan = _plan.make(desired, limits, sshd, service, accounts, users, via, kept)
        result.removed = [account.name for account in plan.leaving]
        granted = _plan.granted(service.socket_path, accounts.admins_gid)
        result.changed |= plan.changes or not granted or _plan.admits_all(service.socket_path, accounts.gid)
        result.changed |= _sockets.differs()
        result.port, result.host_keys = sshd.port_and_host_keys(via)
        result.diff = _plan.diffs(plan, accounts, users, service.socket_path, granted, True, kept)
        trying = _apply.to_try(plan, users, over_ssh, result) if desired.try_login and plan.changes else []
        if check_mode:
            return result
        _sockets.check(users)
        _locks.end_if_not_awaited(is_awaited)
        _apply.take_away(plan)
        _apply.give(plan, service)
        if plan.sshd:
            _commit.begin(sshd, plan.sshd, via)
        result.logins = _apply.try_logins(sshd, plan, accounts, trying, via, service)
        if plan.sshd:
            _keep(desired.confirm_seconds, over_ssh, via, result)
    return result


def _keep(seconds: int, over_ssh: bool, via: _sshd.Connection | None, result: _plan.Result) -> None:
    """For good, or until a new connection has confirmed it."""
    if over_ssh:
        _commit.wait_for_confirmation(seconds)
        result.confirm_within = seconds
        return
    problem = _commit.confirm(via, new_connection=False)
    if problem:
        raise _plan.AccessError(f"sshd's new configuration was not kept: {problem}.")


def clear(
    check_mode: bool = False, over_ssh: bool = False, confirm_seconds: int = 30, is_awaited: Awaited = _always
) -> _plan.Result:
    """Take everything away again; a host on which there is nothing of ours is not touched, whatever it lacks."""
    result = _plan.Result()
    via = _sshd.connection()
    with _locked(check_mode, is_awaited):
        if _commit.is_open() if check_mode else _commit.recover():
            result.recovered = result.changed = True
        found = _service.service()
        service = found if isinstance(found, _service.Systemd) else None
        accounts = _accounts.Accounts.gather()
        plan = _plan.Plan(
            folders=[],
            programs=[target for target in _ssh_files.no_programs() if target.differs()],
            keys=[target for target in _ssh_files.key_files((), ()) if target.differs()],
            sshd=[target for target in _plan.sshd_without_us() if _plan.differs(target)],
            leaving=[accounts.own[name] for name in sorted(accounts.own)],
            coming=[],
            repairs=[],
            cut=[],
        )
        path = service.socket_path if service else _service.DEFAULT_SOCKET
        granted = _plan.granted(path, accounts.admins_gid)
        left = [folder for folder in _apply.own_folders() if folder.is_dir()]
        result.removed = [account.name for account in plan.leaving]
        result.changed |= plan.changes or granted or bool(left)
        result.changed |= accounts.gid is not None or accounts.admins_gid is not None
        result.diff = _plan.diffs(plan, accounts, (), path, granted, False)
        if check_mode:
            return result
        _locks.end_if_not_awaited(is_awaited)
        _apply.take_away(plan)
        sshd = _running_sshd() if plan.sshd else None
        if sshd:
            _commit.begin(sshd, plan.sshd, via)
        else:
            _apply.put(plan.sshd)
        _apply.remove_rest(plan, service, accounts)
        _sockets.follow()
        if sshd:
            _keep(confirm_seconds, over_ssh, via, result)
    return result


def take(names: t.Collection[str], check_mode: bool = False, is_awaited: Awaited = _always) -> _plan.Result:
    """Remove accounts by their names; everything else stays, and a host that has none of them is not touched."""
    if not names:
        raise _plan.AccessError(
            "docker_ssh_state is absent, and docker_ssh_absent_names is empty; name the accounts to remove, or write "
            f"[{_users.ALL}] to take everything away."
        )
    for name in names:
        if not _users.is_account(name):
            raise _plan.AccessError(
                f"docker_ssh_absent_names: '{name}' cannot be the name of an account; give names alone, or "
                f"'{_users.ALL}' alone."
            )
    result = _plan.Result()
    with _locked(check_mode, is_awaited):
        own = _accounts.Accounts.gather().own
        leaving = [account for name, account in sorted(own.items()) if name in names]
        folders = (_ssh_files.KEYS, _ssh_files.PRINCIPALS)
        keys = [Target(folder / name, None) for folder in folders for name in sorted(set(names))]
        keys = [target for target in keys if target.differs()]
        result.changed = bool(leaving or keys)
        staying = [own[name] for name in sorted(own) if name not in names]
        result.users = [account.name for account in staying]
        result.removed = [account.name for account in leaving]
        result.diff = [
            *(_files.diff(target) for target in keys),
            *_plan.diff(
                "restricted accounts",
                _plan.described(own.values()),
                _plan.described(own[name] for name in result.users),
            ),
        ]
        if not check_mode:
            _locks.end_if_not_awaited(is_awaited)
            _apply.put(keys)
            for account in leaving:
                _accounts.remove(account)
            _sockets.follow()
    return result


def confirm() -> None:
    problem = _commit.confirm(_sshd.connection())
    if problem:
        raise _plan.AccessError(problem)


def _locked(check_mode: bool, is_awaited: Awaited) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if check_mode else _lock.held(is_awaited)


def _systemd() -> _service.Systemd:
    service = _service.service()
    if not isinstance(service, _service.Systemd):
        raise _plan.AccessError(
            "this host does not run systemd, which has to open the Docker socket to the accounts whenever it is "
            "made; set docker_ssh_enabled to false for it, and use the TLS endpoint of the role docker_engine there."
        )
    if not service.installed:
        raise _plan.AccessError("the docker service is not installed on this host; install Docker's engine first.")
    return service


def _running_sshd() -> _sshd.Sshd | None:
    try:
        return _sshd.Sshd()
    except _sshd.SshdError:
        return None  # nobody has to be told, then
