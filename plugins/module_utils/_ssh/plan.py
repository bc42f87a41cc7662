# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done so that accounts can use the Docker API over SSH: desired and existing state compared."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import socket
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import socket_acl
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import conflicts as _conflicts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users


class AccessError(Exception):
    """One sentence about an engine on which access cannot be given as wanted."""


# The accounts whose sessions a run is about to end, until it has done so; a reboot ends them as well.
CUT = pathlib.Path("/run/bulkhead-ssh.cut")

# How the account of a client's identity is described, before its name; plugin_utils/handover.py writes it.
COMMENT = "identity "


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
    keep: frozenset[str]  # accounts, identities whose accounts are meant, or users.OTHERS
    ended: frozenset[str]  # accounts that shall not be, whatever is kept


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
        keep=frozenset(given["keep"]),
        ended=frozenset(entry["name"] for entry in given["users"] if entry["state"] == "absent"),
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
class Plan:
    folders: list[pathlib.Path]
    programs: list[Target]  # gate and socket, with the units that open it
    keys: list[Target]
    sshd: list[Target]
    leaving: list[_accounts.Account]
    coming: list[_users.User]
    repairs: list[_users.User]
    cut: list[_accounts.Account]  # stay, but what they are logged in with may be gone

    @property
    def targets(self) -> list[Target]:
        return [*self.programs, *self.keys, *self.sshd]

    @property
    def changes(self) -> bool:
        return bool(self.folders or self.targets or self.leaving or self.coming or self.repairs or self.cut)


def limits(desired: Desired, via: _sshd.Connection | None, result: Result) -> _ssh_files.Limits:
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


def make(
    desired: Desired,
    limits: _ssh_files.Limits,
    sshd: _sshd.Sshd,
    service: _service.Systemd,
    accounts: _accounts.Accounts,
    users: t.Sequence[_users.User],
    via: _sshd.Connection | None,
    kept: t.Collection[str] = (),
) -> Plan:
    names = {*kept, *(user.name for user in users)}
    keys = _ssh_files.key_files(users, desired.ca_keys, kept)
    cut = {
        user.name
        for user in users
        if user.name in accounts.own
        and (
            user.admin != accounts.own[user.name].admin
            or any(_loses_lines(target) for target in keys if target.path.name == user.name)
        )
    }
    cut |= {*(_files.content(CUT) or b"").decode().split()} & names & {*accounts.own}
    return Plan(
        folders=[folder for folder in _ssh_files.folders() if not _is_open_to_all(folder)],
        programs=[target for target in _ssh_files.programs(service, sshd.per_connection) if target.differs()],
        keys=[target for target in keys if target.differs()],
        sshd=[target for target in _sshd_targets(desired, limits, sshd, users, via) if differs(target)],
        leaving=[account for name, account in sorted(accounts.own.items()) if name not in names],
        coming=[user for user in users if user.name not in accounts.own],
        repairs=[
            user
            for user in users
            if user.name in accounts.own
            and (
                not accounts.own[user.name].sound
                or (accounts.own[user.name].comment, accounts.own[user.name].admin) != (user.comment, user.admin)
            )
        ],
        cut=[accounts.own[name] for name in sorted(cut)],
    )


def stays(desired: Desired, accounts: _accounts.Accounts, expired: t.Collection[str]) -> list[str]:
    """Existing accounts that keep their keys, whatever else is asked for.

    An identity does not stand for an account that is asked for: others use it, and it may be its name that ends.
    """
    ended, asked = desired.ended.union(expired), {user.name for user in desired.users}
    by_identity = {f"{COMMENT}{name}" for name in desired.keep}
    others = _users.OTHERS in desired.keep
    return [
        name
        for name, account in sorted(accounts.own.items())
        if name not in ended
        and (name in desired.keep or (name not in asked and (others or account.comment in by_identity)))
    ]


def differs(target: Target) -> bool:
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


def sshd_without_us() -> list[Target]:
    targets = [Target(_sshd.DROP_IN, None)]
    if _sshd.CONFIG.exists():
        text = _sshd.CONFIG.read_text(encoding="utf-8", errors="surrogateescape").replace(_sshd.INCLUDE, "")
        mode = _files.mode(_sshd.CONFIG, 0o644)
        targets.append(Target(_sshd.CONFIG, text.encode(errors="surrogateescape"), mode))
    return targets


def _sshd_targets(
    desired: Desired,
    limits: _ssh_files.Limits,
    sshd: _sshd.Sshd,
    users: t.Sequence[_users.User],
    via: _sshd.Connection | None,
) -> list[Target]:
    """sshd's files as they shall be, once nothing stands against them."""
    text = _sshd.CONFIG.read_text(encoding="utf-8", errors="surrogateescape")
    main = text if _sshd.includes_drop_in(text) else _sshd.INCLUDE + text
    peer = via.peer if via else _sshd.Peer()
    names = [user.name for user in users]
    with _sshd.private_folder() as folder:
        paths = _sshd.write_configurations(folder, main, "")
        complaint = sshd.check(paths.without)
        if complaint:
            raise _sshd.SshdError(
                f"sshd's configuration on this host is broken already ({complaint}); correct it first."
            )
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
        _conflicts.refuse_accounts(sshd, paths, users, desired.ca_keys, _sshd.peers(main, peer, names))
        if any(differs(target) for target in targets):
            _conflicts.refuse_side_effects(sshd, paths, via)
    return targets


def granted(path: str, gid: int | None) -> bool:
    """Whether the socket admits a group; one that is not there yet will, by its unit."""
    if gid is None:
        return False
    try:
        return socket_acl.admits(path, gid)
    except FileNotFoundError:
        return True


def admits_all(path: str, gid: int | None) -> bool:
    """Whether the socket admits the group of all accounts, which it never may: some of them are no admins."""
    try:
        return gid is not None and socket_acl.admits(path, gid)
    except FileNotFoundError:
        return False


def _program(content: bytes) -> str:
    return f"(program, SHA-256 {hashlib.sha256(content).hexdigest()})\n"


def diffs(
    plan: Plan,
    accounts: _accounts.Accounts,
    users: t.Sequence[_users.User],
    path: str,
    granted: bool,
    present: bool,
    kept: t.Collection[str] = (),
) -> list[dict[str, str]]:
    programs = (_accounts.GATE, _ssh_files.SOCKET_PROGRAM)
    diffs = [_files.diff(target, _program if target.path in programs else None) for target in plan.targets]
    shown = {name: _described(accounts.own[name].comment, accounts.own[name].admin) for name in kept}
    shown.update((user.name, _described(user.comment, user.admin)) for user in users)
    after = "".join(f"{name} ({text})\n" for name, text in sorted(shown.items()))
    access = [f"group {_accounts.ADMINS}: {'read, write' if state else 'none'}\n" for state in (granted, present)]
    modes = [f"{folder} ({_mode(folder)})\n" for folder in plan.folders]
    return [
        *diffs,
        *diff("folders", "".join(modes), "".join(f"{folder} (0755)\n" for folder in plan.folders)),
        *diff("restricted accounts", described(accounts.own.values()), after),
        *diff(f"access to {path}", *access),
    ]


def _mode(folder: pathlib.Path) -> str:
    return f"{_files.mode(folder, 0):04o}" if folder.exists() else "no folder"


def described(accounts: t.Iterable[_accounts.Account]) -> str:
    return "".join(
        f"{account.name} ({_described(account.comment, account.admin)})"
        f"{'' if account.sound else ', changed since it was made'}\n"
        for account in sorted(accounts, key=lambda account: account.name)
    )


def _described(comment: str, admin: bool) -> str:
    return comment if admin else f"{comment}, through the gateway".lstrip(", ")


def diff(header: str, before: str, after: str) -> list[dict[str, str]]:
    if before == after:
        return []
    return [{"before_header": header, "after_header": header, "before": before, "after": after}]
