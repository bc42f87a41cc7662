# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker API over SSH, and nothing else: accounts, their keys, the gate, the socket and sshd, brought to one state.

Access is taken away first and given last, and sshd is changed at the very end, as a confirmed commit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import grp
import hashlib
import inspect
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import socket_acl, ssh_gate
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users

SETTINGS = pathlib.Path("/etc/ssh/docker-ssh")
KEYS = SETTINGS / "keys"
PRINCIPALS = SETTINGS / "principals"
CA_KEYS = SETTINGS / "user_ca_keys"
SOCKET_PROGRAM = _accounts.GATE.with_name("docker-ssh-socket")
UNIT_DROP_IN = "bulkhead-ssh.conf"
_UNITS = pathlib.Path("/etc/systemd/system")
_LOCK = pathlib.Path("/run/bulkhead-ssh.lock")  # where no removal has to look for it

_NOTICE = "# Written by the role docker_ssh of the Ansible collection bulkhead.docker, which overwrites changes.\n"
_STARTUPS = re.compile(r"^(\d+):(\d+):(\d+)$")
_LIMITS = ("maxstartups", "persourcepenaltyexemptlist")  # the only settings of ours that concern everybody


class AccessError(Exception):
    """One sentence about an engine on which access cannot be given as wanted."""


@dataclasses.dataclass(frozen=True)
class Desired:
    """The engine as it shall be."""

    present: bool
    users: tuple[_users.User, ...]
    ca_keys: tuple[_users.PublicKey, ...]
    client_networks: tuple[str, ...]
    max_startups: str
    max_sessions: int
    confirm_seconds: int


def read(given: t.Mapping[str, t.Any], check_mode: bool) -> Desired:
    """What the module's options ask for, checked as far as it can be without looking at the host."""
    if given["state"] == "absent":
        return Desired(False, (), (), (), "", 0, given["confirm_timeout"])
    if given["max_startups"] and not _STARTUPS.match(given["max_startups"]):
        raise AccessError(
            f"max_startups is '{given['max_startups']}'; write it as START:RATE:FULL, such as 100:30:200."
        )
    if not 1 <= given["max_sessions"] <= 1000:
        raise AccessError(f"max_sessions is {given['max_sessions']}; use 1 to 1000.")
    if given["confirm_timeout"] < 5:
        raise AccessError(
            f"confirm_timeout is {given['confirm_timeout']} s, too short for a new connection; use 5 or more."
        )
    ca_keys = _users.public_keys(given["trusted_user_ca_keys"], "a CA in docker_ssh_trusted_user_ca_keys")
    return Desired(
        present=True,
        users=tuple(_users.users(given["users"], bool(ca_keys), check_mode)),
        ca_keys=ca_keys,
        client_networks=_users.networks(given["client_networks"], "docker_ssh_client_networks"),
        max_startups=given["max_startups"],
        max_sessions=given["max_sessions"],
        confirm_seconds=given["confirm_timeout"],
    )


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done."""

    changed: bool = False
    recovered: bool = False
    confirm_within: int = 0  # seconds in which sshd's new configuration has to be confirmed; 0 where it did not change
    users: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)
    expired: list[str] = dataclasses.field(default_factory=list)
    port: int = 22
    host_keys: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Plan:
    programs: list[Target]  # gate and socket, with the unit that opens it
    keys: list[Target]
    sshd: list[Target]
    leaving: list[_accounts.Account]
    coming: list[_users.User]
    mending: list[_users.User]
    cut: list[_accounts.Account]  # stay, but what they are logged in with may be gone

    @property
    def targets(self) -> list[Target]:
        return [*self.programs, *self.keys, *self.sshd]


def run(desired: Desired, check_mode: bool = False) -> Result:
    """Bring the engine to the desired state; sshd's new configuration may then wait to be confirmed."""
    result = Result()
    with _lock(check_mode):
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
        plan = _plan(desired, sshd, service, accounts, users)
        result.removed = [account.name for account in plan.leaving]
        granted = _granted(service.socket_path, accounts.gid)
        has_group = accounts.gid is not None
        result.changed |= bool(
            plan.targets or plan.leaving or plan.coming or plan.mending or granted is not desired.present
        ) or (has_group is not desired.present)
        result.port, result.host_keys = sshd.port_and_host_keys(_sshd.connection())
        result.diff = _diffs(plan, accounts, users, service.socket_path, granted, desired.present)
        if check_mode:
            return result
        _take_away(plan)
        if desired.present:
            _give(plan, service)
        if plan.sshd:
            _commit.begin(sshd, plan.sshd, desired.confirm_seconds, _sshd.connection())
            result.confirm_within = desired.confirm_seconds
        if not desired.present:
            _clear(plan, service, accounts.gid)
    return result


def take(names: t.Collection[str], check_mode: bool = False) -> Result:
    """Remove accounts by their names; everything else stays, and a host that has none of them is not touched."""
    for name in names:
        if not _users.NAME.fullmatch(name):
            raise AccessError(f"absent_names: '{name}' cannot be the name of an account.")
    result = Result()
    with _lock(check_mode):
        own = _accounts.Accounts.look().own
        leaving = [account for name, account in sorted(own.items()) if name in names]
        keys = [Target(folder / name, None) for folder in (KEYS, PRINCIPALS) for name in sorted(set(names))]
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


@contextlib.contextmanager
def _lock(check_mode: bool) -> t.Iterator[None]:
    if check_mode:
        yield
        return
    with open(_LOCK, "w", encoding="ascii") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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


# -- plan -------------------------------------------------------------------------------------------------------------


def _plan(
    desired: Desired,
    sshd: _sshd.Sshd,
    service: _service.Systemd,
    accounts: _accounts.Accounts,
    users: t.Sequence[_users.User],
) -> _Plan:
    names = {user.name for user in users}
    keys = _key_files(users, desired)
    cut = [
        accounts.own[user.name]
        for user in users
        if user.name in accounts.own and any(_loses_lines(target) for target in keys if target.path.name == user.name)
    ]
    return _Plan(
        programs=[target for target in _programs(desired.present, service) if _differs(target)],
        keys=[target for target in keys if _differs(target)],
        sshd=[target for target in _sshd_files(desired, sshd, users) if _differs(target)],
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


def _programs(present: bool, service: _service.Systemd) -> list[Target]:
    """The gate, the program that opens the socket, and the drop-in of the unit that makes the socket."""
    gate = inspect.getsource(ssh_gate).replace(f'"{ssh_gate.SOCKET}"', f'"{_socket(service)}"', 1)
    shebang = f"#!{_python()} -IS\n"
    unit = "docker.socket" if service.uses_socket_unit else "docker.service"
    section = "Socket" if service.uses_socket_unit else "Service"
    # With the minus, Docker starts even if this fails.
    line = f"ExecStartPost=-{_python()} -IS {SOCKET_PROGRAM} {service.socket_path} {_accounts.GROUP}\n"
    drop_in = f"{_NOTICE}[{section}]\n{line}"
    wanted = {unit: drop_in.encode()} if present else {}
    return [
        Target(_accounts.GATE, f"{shebang}{gate}".encode() if present else None, 0o755),
        Target(SOCKET_PROGRAM, inspect.getsource(socket_acl).encode() if present else None, 0o644),
        *(
            Target(_UNITS / f"{name}.d" / UNIT_DROP_IN, wanted.get(name), 0o644)
            for name in ("docker.socket", "docker.service")
        ),
    ]


def _socket(service: _service.Systemd) -> str:
    """The socket's path without the old name of /run."""
    return re.sub(r"^/var/run/", "/run/", service.socket_path)


def _python() -> str:
    """The interpreter for what stays on the host: the system's, which outlives a virtual environment of Ansible's."""
    return shutil.which("python3", path="/usr/bin:/usr/libexec") or sys.executable


def _key_files(users: t.Sequence[_users.User], desired: Desired) -> list[Target]:
    wanted: dict[pathlib.Path, str] = {}
    gate = str(_accounts.GATE)
    for user in users:
        if user.keys:
            wanted[KEYS / user.name] = user.authorized_keys(gate)
        if user.principals:
            wanted[PRINCIPALS / user.name] = user.authorized_principals(gate)
    if desired.ca_keys:
        wanted[CA_KEYS] = "".join(f"{key.line}\n" for key in desired.ca_keys)
    known = [*KEYS.glob("*"), *PRINCIPALS.glob("*"), CA_KEYS]
    return [
        *(Target(path, text.encode(), 0o644) for path, text in wanted.items()),
        *(Target(path, None) for path in known if path not in wanted),
    ]


def match_block(criterion: str, desired: Desired) -> str:
    """What sshd does with these accounts. Every keyword for forwarding is there: DisableForwarding alone had holes."""
    settings = {
        "AuthenticationMethods": "publickey",
        "PubkeyAuthentication": "yes",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "HostbasedAuthentication": "no",
        "GSSAPIAuthentication": "no",
        "PermitEmptyPasswords": "no",
        "AuthorizedKeysFile": f"{KEYS}/%u",
        "AuthorizedKeysCommand": "none",
        "TrustedUserCAKeys": str(CA_KEYS) if desired.ca_keys else "none",
        "AuthorizedPrincipalsFile": f"{PRINCIPALS}/%u" if desired.ca_keys else "none",
        "AuthorizedPrincipalsCommand": "none",
        "DisableForwarding": "yes",
        "AllowAgentForwarding": "no",
        "AllowTcpForwarding": "no",
        "AllowStreamLocalForwarding": "no",
        "X11Forwarding": "no",
        "PermitTunnel": "no",
        "PermitOpen": "none",
        "PermitListen": "none",
        "GatewayPorts": "no",
        "PermitTTY": "no",
        "PermitUserRC": "no",
        "AcceptEnv": "DOCKER_SSH_ACCEPTS_NONE",
        "MaxSessions": str(desired.max_sessions),
        "LogLevel": "VERBOSE",
        "ForceCommand": str(_accounts.GATE),
    }
    return f"Match {criterion}\n" + "".join(f"    {keyword} {value}\n" for keyword, value in settings.items())


def _limits(desired: Desired, without: _sshd.Settings) -> str:
    """Lines for everybody, before any Match. What is there already is widened, never narrowed."""
    lines = ""
    wanted, found = _STARTUPS.match(desired.max_startups), _STARTUPS.match(without["maxstartups"][0])
    if wanted and found:
        ours, theirs = [[int(number) for number in match.groups()] for match in (wanted, found)]
        merged = [max(ours[0], theirs[0]), min(ours[1], theirs[1]), max(ours[2], theirs[2])]
        if merged != theirs:
            lines += "MaxStartups {}:{}:{}\n".format(*merged)
    if desired.client_networks and "persourcepenalties" in without:  # OpenSSH 9.8 and later
        exempt = [item for item in without["persourcepenaltyexemptlist"][0].split(",") if item != "none"]
        lines += f"PerSourcePenaltyExemptList {','.join(dict.fromkeys([*exempt, *desired.client_networks]))}\n"
    return f"{lines}\n" if lines else ""


def _sshd_files(desired: Desired, sshd: _sshd.Sshd, users: t.Sequence[_users.User]) -> list[Target]:
    """sshd's files as they shall be, after everything that could stand against them has been looked for."""
    text = _sshd.CONFIG.read_text(encoding="utf-8", errors="surrogateescape")
    mode = _sshd.CONFIG.stat().st_mode & 0o7777
    if not desired.present:
        own = text.replace(_sshd.INCLUDE, "")
        return [Target(_sshd.DROP_IN, None), Target(_sshd.CONFIG, own.encode(errors="surrogateescape"), mode)]
    main = text if _sshd.includes_drop_in(text) else _sshd.INCLUDE + text
    via = _sshd.connection()
    with _sshd.private_folder() as folder:
        paths = _sshd.write_configurations(folder, main, "")
        complaint = sshd.check(paths.without)
        if complaint:
            raise _sshd.SshdError(f"sshd's configuration on this host is broken already ({complaint}); mend it first.")
        without = sshd.settings(paths.without, "root", via)
        limits = _limits(desired, without)
        drop_in = f"{_NOTICE}{limits}{match_block(f'Group {_accounts.GROUP}', desired)}"
        targets = [
            Target(_sshd.DROP_IN, drop_in.encode(), 0o644),
            Target(_sshd.CONFIG, main.encode(errors="surrogateescape"), mode),
        ]
        # Accounts that do not exist yet are in no group, so sshd is asked about them by name.
        criterion = f"User {','.join(user.name for user in users) or _accounts.GROUP}"
        paths = _sshd.write_configurations(folder, main, limits + match_block(criterion, desired))
        complaint = sshd.check(paths.wanted)
        if complaint:
            raise _sshd.SshdError(f"sshd refuses the new configuration ({complaint}); it was not changed.")
        _refuse_conflicts(sshd, paths, [user.name for user in users], via)
        if any(_differs(target) for target in targets):
            _refuse_side_effects(sshd, paths, via)
    return targets


def _refuse_conflicts(
    sshd: _sshd.Sshd, paths: _sshd.Configurations, names: t.Sequence[str], via: _sshd.Connection | None
) -> None:
    """Whatever another part of the configuration would do to the accounts, said before anything is changed."""
    for name in names:
        found = sshd.settings(paths.wanted, name, via)
        if found["permituserenvironment"] != ("no",):
            raise _sshd.SshdError(
                f"{_sshd.where('PermitUserEnvironment')} sets PermitUserEnvironment, with which files of users change "
                "the environment of what sshd starts; set it to no."
            )
        keyword = _sshd.refusing_list(found, name, [_accounts.GROUP])
        if keyword:
            group = keyword.endswith("Groups")
            what = f"the group {_accounts.GROUP}" if group else name
            way_out = "add it there" if keyword.startswith("Allow") else "take it out there"
            raise _sshd.SshdError(f"{keyword} in {_sshd.where(keyword)} keeps {what} out; {way_out}.")
        intended = sshd.settings(paths.alone, name, via)
        for keyword in re.findall(r"^    (\w+)", paths.alone.read_text(), re.MULTILINE):
            key = keyword.lower()
            if found.get(key) != intended.get(key):
                raise _sshd.SshdError(
                    f"for {name} sshd would use '{keyword} {' '.join(found.get(key, ()))}' and not "
                    f"'{' '.join(intended.get(key, ()))}', because {_sshd.where(keyword)} comes first; move that "
                    f"behind {_sshd.DROP_IN}, or have its Match leave out the group {_accounts.GROUP}."
                )


def _refuse_side_effects(sshd: _sshd.Sshd, paths: _sshd.Configurations, via: _sshd.Connection | None) -> None:
    """A reload may change nothing for others, and must let Ansible in again."""
    for name in dict.fromkeys(["root", "nobody", *([via.user] if via else [])]):
        before, after = (sshd.settings(path, name, via) for path in (paths.without, paths.wanted))
        changed = [k for k in {*before, *after} if k not in _LIMITS and before.get(k) != after.get(k)]
        if changed:
            raise _sshd.SshdError(
                f"the settings of {name} would change as well ({', '.join(sorted(changed))}); the Include line of "
                f"{_sshd.CONFIG} has to stand before any Match."
            )
    if via is None:
        return
    settings = sshd.settings(paths.wanted, via.user, via)
    try:
        groups = [_group_name(gid) for gid in os.getgrouplist(via.user, pwd.getpwnam(via.user).pw_gid)]
    except KeyError:
        return  # an account from elsewhere, which only sshd can judge
    keyword = _sshd.refusing_list(settings, via.user, groups)
    if keyword:
        raise _sshd.SshdError(
            f"{keyword} in {_sshd.where(keyword)} keeps {via.user} out, as whom Ansible is connected; sshd has not "
            "read that yet and would at the reload. Correct it first."
        )
    socket_unit = subprocess.run(("systemctl", "is-active", "--quiet", "ssh.socket"), check=False).returncode == 0
    if via.local_port not in settings["port"] and not socket_unit:
        raise _sshd.SshdError(
            f"sshd would move from port {via.local_port} to {', '.join(settings['port'])} at the reload, because of "
            f"{_sshd.where('Port')}; restart it by hand or correct that first."
        )


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


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
    socket: str,
    granted: bool,
    present: bool,
) -> list[dict[str, str]]:
    programs = (_accounts.GATE, SOCKET_PROGRAM)
    diffs = [_files.diff(target, _program if target.path in programs else None) for target in plan.targets]
    after = "".join(f"{user.name} ({user.comment})\n" for user in sorted(users, key=lambda user: user.name))
    access = [f"group {_accounts.GROUP}: {'read, write' if state else 'none'}\n" for state in (granted, present)]
    return [
        *diffs,
        *_diff("restricted accounts", _described(accounts.own.values()), after),
        *_diff(f"access to {socket}", *access),
    ]


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
        target.stage()
        target.swap()
        _files.sweep(target.path)


def _take_away(plan: _Plan) -> None:
    _put(target for target in plan.keys if target.content is None)
    for account in plan.leaving:
        _accounts.remove(account)


def _give(plan: _Plan, service: _service.Systemd) -> None:
    gid = _accounts.make_group()
    _accounts.HOME.mkdir(mode=0o755, exist_ok=True)
    _put(plan.programs)
    if any(target.path.name == UNIT_DROP_IN for target in plan.programs):
        service.read_units()
    if not _granted(service.socket_path, gid):
        socket_acl.grant(service.socket_path, gid)
    for user in plan.coming:
        _accounts.make(user.name, user.comment)
    for user in plan.mending:
        _accounts.mend(user.name, user.comment)
    for folder in (SETTINGS, KEYS, PRINCIPALS):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    _put(target for target in plan.keys if target.content is not None)
    for account in plan.cut:
        _accounts.end_processes(account)


def _clear(plan: _Plan, service: _service.Systemd, gid: int | None) -> None:
    """Everything that the role put on the host, once nobody has access any more."""
    _put(plan.programs)
    if any(target.path.name == UNIT_DROP_IN for target in plan.programs):
        service.read_units()
    if gid is not None:
        if _granted(service.socket_path, gid) and pathlib.Path(service.socket_path).exists():
            socket_acl.revoke(service.socket_path, gid)
        _accounts.remove_group()
    programs = {target.path.parent for target in plan.programs}
    for folder in (KEYS, PRINCIPALS, SETTINGS, _accounts.HOME, *programs):
        _files.remove_if_empty(folder)
