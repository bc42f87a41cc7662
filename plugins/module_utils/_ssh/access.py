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
import hashlib
import os
import pathlib
import socket
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import socket_acl
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import conflicts as _conflicts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import lock as _lock
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import login as _login
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users


class AccessError(Exception):
    """One sentence about an engine on which access cannot be given as wanted."""


@dataclasses.dataclass(frozen=True)
class Desired:
    """The engine as it shall be."""

    users: tuple[_users.User, ...]
    ca_keys: tuple[_users.PublicKey, ...]
    client_networks: tuple[str, ...]
    clients: tuple[str, ...]  # names or addresses of client hosts
    exempt_clients: bool
    max_startups: str
    max_sessions: int
    try_login: bool
    confirm_seconds: int


def read(given: t.Mapping[str, t.Any], check_mode: bool) -> Desired:
    """What the module's options ask for, checked as far as it can be without asking the host."""
    if given["max_startups"] and not _ssh_files.STARTUPS.fullmatch(given["max_startups"]):
        raise AccessError(
            f"max_startups is '{given['max_startups']}'; write it as START:RATE:FULL, such as 500:30:1000."
        )
    if not 1 <= given["max_sessions"] <= 1000:
        raise AccessError(f"max_sessions is {given['max_sessions']}; use 1 to 1000.")
    if given["confirm_timeout"] < 5:
        raise AccessError(
            f"confirm_timeout is {given['confirm_timeout']} s, too short for a new connection; use 5 or more."
        )
    ca_keys = _users.public_keys(given["trusted_user_ca_keys"], "a CA in docker_ssh_trusted_user_ca_keys")
    return Desired(
        users=tuple(_users.users(given["users"], bool(ca_keys), check_mode)),
        ca_keys=ca_keys,
        client_networks=_users.networks(given["client_networks"], "docker_ssh_client_networks"),
        clients=tuple(given["clients"]),
        exempt_clients=given["exempt_clients"],
        max_startups=given["max_startups"],
        max_sessions=given["max_sessions"],
        try_login=given["try_login"],
        confirm_seconds=given["confirm_timeout"],
    )


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done."""

    changed: bool = False
    recovered: bool = False
    confirm_within: int = 0  # seconds in which sshd's new configuration has to be confirmed; 0 where nothing waits
    users: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)
    expired: list[str] = dataclasses.field(default_factory=list)
    port: int = 22
    host_keys: list[str] = dataclasses.field(default_factory=list)
    logins: list[str] = dataclasses.field(default_factory=list)  # accounts to which a login was tried, and succeeded
    warnings: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Plan:
    folders: list[pathlib.Path]
    programs: list[Target]  # gate and socket, with the units that open it
    keys: list[Target]
    sshd: list[Target]
    leaving: list[_accounts.Account]
    coming: list[_users.User]
    mending: list[_users.User]
    cut: list[_accounts.Account]  # stay, but what they are logged in with may be gone

    @property
    def targets(self) -> list[Target]:
        return [*self.programs, *self.keys, *self.sshd]

    @property
    def changes(self) -> bool:
        return bool(self.folders or self.targets or self.leaving or self.coming or self.mending)


def run(desired: Desired, check_mode: bool = False, over_ssh: bool = False) -> Result:
    """Bring the engine to the desired state.

    ``over_ssh`` is whether Ansible is connected through sshd; if it is, sshd's new configuration waits to be confirmed.
    """
    result = Result()
    via = _sshd.connection()
    with _locked(check_mode):
        service = _systemd()
        if not check_mode and _commit.recover():
            result.recovered = result.changed = True
        sshd = _sshd.Sshd()
        accounts = _accounts.Accounts.look()
        now = datetime.datetime.now(datetime.timezone.utc)
        users = [user for user in desired.users if not user.expired(now)]
        result.expired = [user.name for user in desired.users if user.expired(now)]
        result.users = [user.name for user in users]
        accounts.refuse_taken_names(result.users)
        limits = _limits(desired, via if over_ssh else None, result)
        plan = _plan(desired, limits, sshd, service, accounts, users, via)
        result.removed = [account.name for account in plan.leaving]
        granted = _granted(service.socket_path, accounts.gid)
        result.changed |= plan.changes or not granted or accounts.gid is None
        result.port, result.host_keys = sshd.port_and_host_keys(via)
        result.diff = _diffs(plan, accounts, users, service.socket_path, granted, True)
        if check_mode:
            return result
        _take_away(plan)
        _give(plan, service)
        if plan.sshd:
            _commit.begin(sshd, plan.sshd, via)
        if desired.try_login and plan.changes:
            result.logins = _try_logins(sshd, plan, accounts, users, via, service, result)
        if plan.sshd:
            _keep(desired.confirm_seconds, over_ssh, via, result)
    return result


def _keep(seconds: int, over_ssh: bool, via: _sshd.Connection | None, result: Result) -> None:
    """For good, or until a new connection has confirmed it."""
    if over_ssh:
        _commit.wait_for_confirmation(seconds)
        result.confirm_within = seconds
        return
    problem = _commit.confirm(via, new_connection=False)
    if problem:
        raise AccessError(f"sshd's new configuration was not kept: {problem}.")


def clear(check_mode: bool = False, over_ssh: bool = False, confirm_seconds: int = 30) -> Result:
    """Take everything away again; a host on which there is nothing of ours is not touched, whatever it lacks."""
    result = Result()
    via = _sshd.connection()
    with _locked(check_mode):
        if not check_mode and _commit.recover():
            result.recovered = result.changed = True
        found = _service.service()
        service = found if isinstance(found, _service.Systemd) else None
        accounts = _accounts.Accounts.look()
        plan = _Plan(
            folders=[],
            programs=[target for target in _ssh_files.no_programs() if target.differs()],
            keys=[target for target in _ssh_files.key_files((), ()) if target.differs()],
            sshd=[target for target in _sshd_without_us() if _differs(target)],
            leaving=[accounts.own[name] for name in sorted(accounts.own)],
            coming=[],
            mending=[],
            cut=[],
        )
        path = service.socket_path if service else _service.DEFAULT_SOCKET
        granted = _granted(path, accounts.gid)
        left = [folder for folder in _own_folders() if folder.is_dir()]
        result.removed = [account.name for account in plan.leaving]
        result.changed |= plan.changes or granted or accounts.gid is not None or bool(left)
        result.diff = _diffs(plan, accounts, (), path, granted, False)
        if check_mode:
            return result
        _take_away(plan)
        sshd = _running_sshd() if plan.sshd else None
        if sshd:
            _commit.begin(sshd, plan.sshd, via)
        else:
            _put(plan.sshd)
        _remove_rest(plan, service, accounts.gid)
        if sshd:
            _keep(confirm_seconds, over_ssh, via, result)
    return result


def take(names: t.Collection[str], check_mode: bool = False) -> Result:
    """Remove accounts by their names; everything else stays, and a host that has none of them is not touched."""
    if not names:
        raise AccessError(
            "docker_ssh_state is absent, and docker_ssh_absent_names is empty; name the accounts to remove, or write "
            f"[{_users.ALL}] to take everything away."
        )
    for name in names:
        if not _users.NAME.fullmatch(name) or name == _users.ALL:
            raise AccessError(
                f"docker_ssh_absent_names: '{name}' cannot be the name of an account; give names alone, or "
                f"'{_users.ALL}' alone."
            )
    result = Result()
    with _locked(check_mode):
        own = _accounts.Accounts.look().own
        leaving = [account for name, account in sorted(own.items()) if name in names]
        folders = (_ssh_files.KEYS, _ssh_files.PRINCIPALS)
        keys = [Target(folder / name, None) for folder in folders for name in sorted(set(names))]
        keys = [target for target in keys if target.differs()]
        result.changed = bool(leaving or keys)
        result.users = sorted(set(own) - set(names))
        result.removed = [account.name for account in leaving]
        result.diff = [
            *(_files.diff(target) for target in keys),
            *_diff("restricted accounts", _described(own.values()), _described(own[name] for name in result.users)),
        ]
        if not check_mode:
            _put(keys)
            for account in leaving:
                _accounts.remove(account)
    return result


def confirm() -> None:
    problem = _commit.confirm(_sshd.connection())
    if problem:
        raise AccessError(problem)


def _locked(check_mode: bool) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if check_mode else _lock.held()


def _systemd() -> _service.Systemd:
    service = _service.service()
    if not isinstance(service, _service.Systemd):
        raise AccessError(
            "this host does not run systemd, which has to open the Docker socket to the accounts whenever it is "
            "made; use the TLS endpoint of the role docker_engine here."
        )
    if not service.installed:
        raise AccessError("the docker service is not installed on this host; install Docker's engine first.")
    return service


def _limits(desired: Desired, via: _sshd.Connection | None, result: Result) -> _ssh_files.Limits:
    if not desired.exempt_clients:
        return _ssh_files.Limits(desired.max_startups, desired.client_networks, "")
    addresses, unknown = _resolved(desired.clients)
    if unknown:
        result.warnings.append(
            f"docker_ssh_clients: this host cannot resolve {', '.join(unknown)}, so that sshd may shut out their "
            "addresses when they open many connections at once; give their addresses in docker_ssh_client_networks."
        )
    networks = tuple(dict.fromkeys([*desired.client_networks, *addresses]))
    return _ssh_files.Limits(desired.max_startups, networks, via.address if via else "")


def _resolved(clients: t.Iterable[str]) -> tuple[list[str], list[str]]:
    """Their addresses as networks of one, as this host resolves their names, and the names that it does not know."""
    addresses: set[str] = set()
    unknown = []
    for client in clients:
        try:
            answers = socket.getaddrinfo(client, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            unknown.append(client)
            continue
        addresses |= {str(answer[4][0]).partition("%")[0] for answer in answers}
    return list(_users.networks(sorted(addresses), "docker_ssh_clients")), unknown


# -- plan -------------------------------------------------------------------------------------------------------------


def _plan(
    desired: Desired,
    limits: _ssh_files.Limits,
    sshd: _sshd.Sshd,
    service: _service.Systemd,
    accounts: _accounts.Accounts,
    users: t.Sequence[_users.User],
    via: _sshd.Connection | None,
) -> _Plan:
    names = {user.name for user in users}
    keys = _ssh_files.key_files(users, desired.ca_keys)
    cut = [
        accounts.own[user.name]
        for user in users
        if user.name in accounts.own and any(_loses_lines(target) for target in keys if target.path.name == user.name)
    ]
    return _Plan(
        folders=[folder for folder in _ssh_files.folders() if not _is_open_to_all(folder)],
        programs=[target for target in _ssh_files.programs(service, sshd.per_connection) if target.differs()],
        keys=[target for target in keys if target.differs()],
        sshd=[target for target in _sshd_targets(desired, limits, sshd, users, via) if _differs(target)],
        leaving=[account for name, account in sorted(accounts.own.items()) if name not in names],
        coming=[user for user in users if user.name not in accounts.own],
        mending=[
            user
            for user in users
            if user.name in accounts.own
            and (not accounts.own[user.name].sound or accounts.own[user.name].comment != user.comment)
        ],
        cut=cut,
    )


def _differs(target: Target) -> bool:
    # Mode and owner of sshd_config are the host's own affair.
    return target.content_differs() if target.path == _sshd.CONFIG else target.differs()


def _loses_lines(target: Target) -> bool:
    before = (target.existing() or b"").splitlines()
    return bool(set(before) - set((target.content or b"").splitlines()))


def _is_open_to_all(folder: pathlib.Path) -> bool:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return False
    return (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o755, 0, 0)


def _sshd_without_us() -> list[Target]:
    targets = [Target(_sshd.DROP_IN, None)]
    if _sshd.CONFIG.exists():
        text = _sshd.CONFIG.read_text(encoding="utf-8", errors="surrogateescape").replace(_sshd.INCLUDE, "")
        mode = _files.mode(_sshd.CONFIG, 0o644)
        targets.append(Target(_sshd.CONFIG, text.encode(errors="surrogateescape"), mode))
    return targets


def _running_sshd() -> _sshd.Sshd | None:
    try:
        return _sshd.Sshd()
    except _sshd.SshdError:
        return None  # nobody has to be told, then


def _sshd_targets(
    desired: Desired,
    limits: _ssh_files.Limits,
    sshd: _sshd.Sshd,
    users: t.Sequence[_users.User],
    via: _sshd.Connection | None,
) -> list[Target]:
    """sshd's files as they shall be, after everything that could stand against them has been looked for."""
    text = _sshd.CONFIG.read_text(encoding="utf-8", errors="surrogateescape")
    main = text if _sshd.includes_drop_in(text) else _sshd.INCLUDE + text
    peer = via.peer if via else _sshd.Peer()
    names = [user.name for user in users]
    with _sshd.private_folder() as folder:
        paths = _sshd.write_configurations(folder, main, "")
        complaint = sshd.check(paths.without)
        if complaint:
            raise _sshd.SshdError(f"sshd's configuration on this host is broken already ({complaint}); mend it first.")
        without = sshd.settings(paths.without, "root", peer)
        existing = (_files.content(_sshd.DROP_IN) or b"").decode("utf-8", "replace")
        lines = limits.lines(without, existing)

        def block(criterion: str) -> str:
            return _ssh_files.match_block(criterion, bool(desired.ca_keys), desired.max_sessions, without)

        targets = [
            Target(_sshd.DROP_IN, f"{_ssh_files.NOTICE}{lines}{block(f'Group {_accounts.GROUP}')}".encode(), 0o644),
            Target(_sshd.CONFIG, main.encode(errors="surrogateescape"), _files.mode(_sshd.CONFIG, 0o644)),
        ]
        # Accounts that do not exist yet are in no group, so sshd is asked about them by name.
        own = lines + block(f"User {','.join(names) or _accounts.GROUP}")
        paths = _sshd.write_configurations(folder, main, own, _accounts.GROUP, names)
        complaint = sshd.check(paths.wanted)
        if complaint:
            raise _sshd.SshdError(f"sshd refuses the new configuration ({complaint}); it was not changed.")
        _conflicts.refuse_accounts(sshd, paths, users, desired.ca_keys, _sshd.peers(main, peer))
        if any(_differs(target) for target in targets):
            _conflicts.refuse_side_effects(sshd, paths, via)
    return targets


def _granted(path: str, gid: int | None) -> bool:
    """Whether the socket admits the group; one that is not there yet will, by its unit."""
    if gid is None:
        return False
    try:
        return socket_acl.admits(path, gid)
    except FileNotFoundError:
        return True


def _program(content: bytes) -> str:
    return f"(program, SHA-256 {hashlib.sha256(content).hexdigest()})\n"


def _diffs(
    plan: _Plan,
    accounts: _accounts.Accounts,
    users: t.Sequence[_users.User],
    path: str,
    granted: bool,
    present: bool,
) -> list[dict[str, str]]:
    programs = (_accounts.GATE, _ssh_files.SOCKET_PROGRAM)
    diffs = [_files.diff(target, _program if target.path in programs else None) for target in plan.targets]
    after = "".join(f"{user.name} ({user.comment})\n" for user in sorted(users, key=lambda user: user.name))
    access = [f"group {_accounts.GROUP}: {'read, write' if state else 'none'}\n" for state in (granted, present)]
    modes = [f"{folder} ({_mode(folder)})\n" for folder in plan.folders]
    return [
        *diffs,
        *_diff("folders", "".join(modes), "".join(f"{folder} (0755)\n" for folder in plan.folders)),
        *_diff("restricted accounts", _described(accounts.own.values()), after),
        *_diff(f"access to {path}", *access),
    ]


def _mode(folder: pathlib.Path) -> str:
    return f"{_files.mode(folder, 0):04o}" if folder.exists() else "no folder"


def _described(accounts: t.Iterable[_accounts.Account]) -> str:
    return "".join(
        f"{account.name} ({account.comment}){'' if account.sound else ', changed since it was made'}\n"
        for account in sorted(accounts, key=lambda account: account.name)
    )


def _diff(header: str, before: str, after: str) -> list[dict[str, str]]:
    if before == after:
        return []
    return [{"before_header": header, "after_header": header, "before": before, "after": after}]


# -- apply ------------------------------------------------------------------------------------------------------------


def _put(targets: t.Iterable[Target]) -> None:
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


def _take_away(plan: _Plan) -> None:
    _put(target for target in plan.keys if target.content is None)
    for account in plan.leaving:
        _accounts.remove(account)


def _give(plan: _Plan, service: _service.Systemd) -> None:
    gid = _accounts.make_group()
    for folder in plan.folders:
        _make_folder(folder)
    _put(plan.programs)
    if any(target.path.name == _ssh_files.UNIT_DROP_IN for target in plan.programs):
        service.read_units()
    if not _granted(service.socket_path, gid):
        socket_acl.grant(service.socket_path, gid)
    for user in plan.coming:
        _accounts.make(user.name, user.comment)
    for user in plan.mending:
        _accounts.mend(user.name, user.comment)
    _put(target for target in plan.keys if target.content is not None)
    for account in plan.cut:
        _accounts.end_processes(account)


def _try_logins(
    sshd: _sshd.Sshd,
    plan: _Plan,
    before: _accounts.Accounts,
    users: t.Sequence[_users.User],
    via: _sshd.Connection | None,
    service: _service.Systemd,
    result: Result,
) -> list[str]:
    """Log in to every new account, or to one where none is new."""
    if not _login.available():
        result.warnings.append(
            "ssh is not installed on this host, so that no login to the accounts could be tried there; install "
            "OpenSSH's client, or try it from a client host."
        )
        return []
    tried = []
    for user in [*plan.coming, *plan.mending] or list(users)[:1]:
        door = _login.door(sshd.settings(_sshd.CONFIG, user.name, _sshd.Peer()), via)
        problem = _login.failure(user.name, _ssh_files.KEYS, user.restrictions(str(_accounts.GATE)), door)
        if problem:
            _undo(plan, before, service)
            raise AccessError(
                f"nobody can log in to {user.name} on this host, which was tried at {door.address} port {door.port}: "
                f"{problem}. Accounts that this run had made are removed, and sshd's previous configuration is back. "
                "Correct what keeps the account out, or set docker_ssh_try_login to false if only logins from this "
                "host itself are refused."
            )
        tried.append(user.name)
    return tried


def _undo(plan: _Plan, before: _accounts.Accounts, service: _service.Systemd) -> None:
    """Take back what this run has given; what it has taken away from somebody stays taken."""
    if plan.sshd:
        _commit.recover()
    names = {user.name for user in plan.coming}
    given = [target for target in _ssh_files.key_files((), ()) if target.path.name in names]
    _put(target for target in given if target.differs())
    now = _accounts.Accounts.look()
    for name in sorted(names & set(now.own)):
        _accounts.remove(now.own[name])
    if before.gid is None:
        everything = [*_ssh_files.no_programs(), *_ssh_files.key_files((), ())]
        programs = [target for target in everything if target.differs()]
        _remove_rest(dataclasses.replace(plan, programs=programs), service, now.gid)


def _remove_rest(plan: _Plan, service: _service.Systemd | None, gid: int | None) -> None:
    """Everything that the role put on the host, once nobody has access any more."""
    _put(plan.programs)
    if service and any(target.path.name == _ssh_files.UNIT_DROP_IN for target in plan.programs):
        service.read_units()
    if gid is not None:
        path = service.socket_path if service else _service.DEFAULT_SOCKET
        if _granted(path, gid) and pathlib.Path(path).exists():
            socket_acl.revoke(path, gid)
        _accounts.remove_group()
    for folder in (*_own_folders(), *{target.path.parent for target in plan.programs}):
        _files.remove_if_empty(folder)


def _own_folders() -> tuple[pathlib.Path, ...]:
    """Deepest first, so that each is empty when its turn comes."""
    return (_ssh_files.KEYS, _ssh_files.PRINCIPALS, _ssh_files.SETTINGS, _accounts.HOME)
