"""An engine that exists in files alone, for restricted SSH accounts: its passwd, its sshd, its systemd."""

from __future__ import annotations

import fnmatch
import pathlib
import re
import subprocess
import types
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import socket_acl, sshd_restore
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import access as _access
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import conflicts as _conflicts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import lock as _lock
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import login as _login
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import pam as _pam
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import patterns as _patterns
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import plan as _plan
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd

GID, ADMINS = 990, 991
DEFAULTS = {
    "permituserenvironment": "no",
    "maxstartups": "10:30:100",
    "persourcemaxstartups": "none",
    "persourcepenalties": "crash:90 authfail:5",
    "persourcepenaltyexemptlist": "none",
    "usepam": "yes",
    "port": "22",
    "listenaddress": "0.0.0.0:22",
    "authorizedkeysfile": ".ssh/authorized_keys",
    "authorizedkeyscommand": "none",
    "trustedusercakeys": "none",
    "pubkeyacceptedalgorithms": "ssh-ed25519,ssh-ed25519-cert-v01@openssh.com,rsa-sha2-512,ecdsa-sha2-nistp256",
    "casignaturealgorithms": "ssh-ed25519,rsa-sha2-512",
    "requiredrsasize": "2048",
    "channeltimeout": "none",
}
_LISTS = ("allowusers", "denyusers", "allowgroups", "denygroups")


class Killed(BaseException):
    """The process that changes the engine ends here, without a word."""


class Sshd:
    """As much of OpenSSH's server as is asked about: Include, Match, and that the first value counts."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.others: list[_sshd.Server] = []
        self.reload: tuple[str, ...] = ("systemctl", "reload", "ssh.service")
        self.per_connection = ""

    def check(self, config: pathlib.Path | None = None) -> str:
        known = self.settings(config or _sshd.CONFIG, "root", _sshd.Peer())
        return "line 1: Bad configuration option: Nonsense" if "nonsense" in known else ""

    def settings(
        self, config: pathlib.Path, user: str, peer: _sshd.Peer, options: t.Sequence[str] | None = None
    ) -> dict[str, tuple[str, ...]]:
        everywhere: dict[str, tuple[str, ...]] = {}
        matched: dict[str, tuple[str, ...]] = {}
        self._read(config, user, peer, everywhere, matched)
        return {**{key: (value,) for key, value in DEFAULTS.items()}, **everywhere, **matched}

    def _read(
        self,
        path: pathlib.Path,
        user: str,
        peer: _sshd.Peer,
        everywhere: dict[str, tuple[str, ...]],
        matched: dict[str, tuple[str, ...]],
        into: dict[str, tuple[str, ...]] | None = None,
        reached: bool = True,
    ) -> None:
        """``reached`` is whether an Include line stands where it counts: its Match lines count there alone."""
        into = everywhere if into is None else into
        counts = reached
        for line in path.read_text(encoding="utf-8").splitlines():
            keyword, _, value = line.strip().partition(" ")
            if not keyword or keyword.startswith("#"):
                continue
            if keyword.lower() == "match":
                counts = reached and self._matches(line, user, peer)
                into = matched if counts else {}
            elif keyword.lower() == "include":
                for pattern in value.partition("#")[0].split():
                    for file in sorted(pathlib.Path(pattern).parent.glob(pathlib.Path(pattern).name)):
                        self._read(file, user, peer, everywhere, matched, into, counts)
            elif keyword.lower() in _LISTS:
                into[keyword.lower()] = (*into.get(keyword.lower(), ()), value)
            else:
                into.setdefault(keyword.lower(), (value,))

    def _matches(self, line: str, user: str, peer: _sshd.Peer) -> bool:
        account = self.engine.users.get(user)
        groups = [_accounts.GROUP] if account and account.pw_gid == GID else []
        actual = {"user": [user], "group": groups, "localport": [peer.local_port]}
        for keyword, patterns in _sshd.match_criteria(line):
            key = keyword.lower()
            if key == "address":
                if not _patterns.means_address(patterns, peer.address):
                    return False
            elif key != "all" and not any(
                fnmatch.fnmatch(name, pattern) for name in actual[key] for pattern in patterns.split(",")
            ):
                return False
        return True

    def port_and_host_keys(self, via: _sshd.Connection | None) -> tuple[int, list[str]]:
        return 22, ["ssh-ed25519 AAAA"]


class Systemd(_service.Systemd):
    """docker.service with its socket unit."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def installed(self) -> bool:
        return True

    @property
    def uses_socket_unit(self) -> bool:
        return True

    @property
    def socket_path(self) -> str:
        return str(self.engine.root / "docker.sock")

    def read_units(self) -> None:
        self.engine.step("daemon-reload")


class Engine:
    """The host; its state outlives whoever changes it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.users: dict[str, types.SimpleNamespace] = {
            "root": self._entry("root", 0, 0, "/root", "/bin/bash"),
            "ops": self._entry("ops", 1000, 1000, "/home/ops", "/bin/bash"),
        }
        self.groups: set[str] = set()
        self.admins: list[str] = []
        self.admitted: set[int] = set()
        self.timers: dict[str, int] = {}
        self.loaded = ""  # the drop-in that sshd has read
        self.sshd = Sshd(self)
        self.service: t.Any = Systemd(self)
        self.connection: _sshd.Connection | None = _sshd.Connection(
            "ops", "192.0.2.9 40000 x 22", "192.0.2.9", "x", "22"
        )
        self.login_problem: dict[str, str] = {}
        self.logins: list[str] = []
        self.sessions: set[str] = set()  # accounts that are logged in
        self.begins_with_login = False  # whether somebody logs in where a login is tried
        self.has_ssh = True  # with which a login is tried
        self.steps = 0
        self.killed_at: int | None = None
        self.refused_reloads = 0
        self.inodes = 0

    @staticmethod
    def _entry(name: str, uid: int, gid: int, home: str, shell: str, comment: str = "") -> types.SimpleNamespace:
        return types.SimpleNamespace(
            pw_name=name, pw_uid=uid, pw_gid=gid, pw_dir=home, pw_shell=shell, pw_gecos=comment, password="*"
        )

    def step(self, what: str) -> None:
        """A moment at which whoever changes the engine may be killed."""
        del what
        self.steps += 1
        if self.steps == self.killed_at:
            raise Killed

    # -- what commands do

    def account_command(self, *command: str) -> None:
        self.step(command[0])
        options = dict(zip(command[1::1], command[2::1]))
        name = command[-1]
        if command[0] == "groupadd":
            self.groups.add(name)
        elif command[0] == "groupdel":
            assert not any(user.pw_gid == GID for user in self.users.values())
            self.groups.remove(name)
        elif command[0] == "useradd":
            given = (options["--home-dir"], options["--shell"], options["--comment"])
            self.users[name] = self._entry(name, 900 + len(self.users), GID, *given)
            self._join(name, options["--groups"])
        elif command[0] == "usermod":
            user = self.users[name]
            user.pw_dir, user.pw_gecos, user.password = options["--home"], options["--comment"], options["--password"]
            self._join(name, options["--groups"])
        else:
            del self.users[name]
            self._join(name, "")

    def _join(self, name: str, group: str) -> None:
        assert group in ("", _accounts.ADMINS)
        self.admins = [other for other in self.admins if other != name] + ([name] if group else [])

    def system_command(self, command: t.Sequence[str], **_: t.Any) -> types.SimpleNamespace:
        self.step(" ".join(command))
        code, said = 0, ""
        if command[0] == "systemd-run":
            unit, active = (re.search(rf"--{name}=(\S+)", " ".join(command)) for name in ("unit", "on-active"))
            assert unit and active
            self.timers[unit.group(1)] = int(active.group(1))
        elif command[:2] == ("systemctl", "stop"):
            self.timers.pop(command[2].rpartition(".")[0], None)
        elif list(command[:2]) == ["systemctl", "reload"]:
            if self.refused_reloads:
                self.refused_reloads -= 1
                raise subprocess.CalledProcessError(1, list(command), stderr=b"no")
            self.read_configuration()
            self.inodes += 1
        return types.SimpleNamespace(returncode=code, stdout=said, stderr="")

    def read_configuration(self) -> None:
        self.loaded = (_files.content(_sshd.DROP_IN) or b"").decode()

    # -- what happens to it

    def fire_timer(self) -> None:
        assert self.timers
        self.timers.clear()
        assert sshd_restore.main([]) == 0

    def reboot(self) -> None:
        """Timers are gone; what is enabled is started, and then sshd, which reads its files."""
        self.timers.clear()
        if sshd_restore.BOOT_LINK.exists() and sshd_restore.JOURNAL.parent.exists():
            assert sshd_restore.main([sshd_restore.AT_BOOT]) == 0
        self.read_configuration()

    def files(self) -> dict[str, str]:
        """Every file of the host with its mode, and its accounts."""
        found = {
            str(path.relative_to(self.root)): f"{path.lstat().st_mode & 0o7777:o} {path.read_text(encoding='utf-8')}"
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path != _lock.LOCK
        }
        return {
            **found,
            "accounts": " ".join(sorted(self.users)),
            "groups": str(sorted(self.groups)),
            "admins": str(sorted(self.admins)),
        }


def build(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Point everything that names a place of the host to places below ``root``."""
    engine = Engine(root)
    etc, state = root / "etc/ssh", root / "state/sshd"
    for folder in (etc / "sshd_config.d", root / "systemd", root / "pam.d"):
        folder.mkdir(parents=True)
    (root / "docker.sock").touch()
    places: list[tuple[t.Any, str, pathlib.Path | _places.Places]] = [
        (_sshd, "CONFIG", etc / "sshd_config"),
        (_sshd, "DROP_IN", etc / "sshd_config.d/00-docker-ssh.conf"),
        (sshd_restore, "JOURNAL", state / "journal.json"),
        (sshd_restore, "CLAIMED", state / "journal.claimed"),
        (sshd_restore, "PROGRAM", state / "restore.py"),
        (sshd_restore, "BOOT_UNIT", root / "systemd/bulkhead-sshd-boot.service"),
        (sshd_restore, "BOOT_LINK", root / "systemd/multi-user.target.wants/bulkhead-sshd-boot.service"),
        (_commit, "FOLDER", state),
        (_accounts, "GATE", root / "lib/docker-ssh-gate"),
        (_accounts, "HOME", root / "home"),
        (_ssh_files, "SETTINGS", etc / "docker-ssh"),
        (_ssh_files, "KEYS", etc / "docker-ssh/keys"),
        (_ssh_files, "PRINCIPALS", etc / "docker-ssh/principals"),
        (_ssh_files, "CA_KEYS", etc / "docker-ssh/user_ca_keys"),
        (_ssh_files, "SOCKET_PROGRAM", root / "lib/docker-ssh-socket"),
        (_ssh_files, "UNITS", root / "systemd"),
        (_lock, "LOCK", root / "lock"),
        (_places, "PLACES", _places.Places(root / "gateway", root / "run")),
        (_plan, "CUT", root / "cut"),
        (_pam, "ACCESS", root / "access.conf"),
    ]
    for module, name, path in places:
        monkeypatch.setattr(module, name, path)
    monkeypatch.setattr(
        _sshd, "INCLUDE", f"Include {_sshd.DROP_IN}  # Added by the Ansible collection bulkhead.docker.\n"
    )
    monkeypatch.setattr(_pam, "FOLDERS", (root / "pam.d",))
    monkeypatch.setattr(_pam, "NO_LOGIN", (root / "nologin",))
    _sshd.CONFIG.write_text(f"Include {etc}/sshd_config.d/*.conf\nPort 22\n", encoding="utf-8")

    def named(name: str) -> types.SimpleNamespace:
        return engine.users[name]

    def group(name: str) -> types.SimpleNamespace:
        if name not in engine.groups:
            raise KeyError(name)
        admins = name == _accounts.ADMINS
        return types.SimpleNamespace(gr_gid=ADMINS if admins else GID, gr_mem=list(engine.admins) if admins else [])

    monkeypatch.setattr(_accounts, "grp", types.SimpleNamespace(getgrnam=group, getgrall=lambda: []))
    users = types.SimpleNamespace(getpwall=lambda: list(engine.users.values()), getpwnam=named)
    monkeypatch.setattr(_accounts, "pwd", users)
    monkeypatch.setattr(_conflicts, "pwd", users)
    monkeypatch.setattr(_accounts, "_password", lambda name: engine.users[name].password)
    monkeypatch.setattr(_accounts, "_run", engine.account_command)

    def end_processes(account: _accounts.Account) -> None:
        engine.step(f"end the sessions of {account.name}")
        engine.sessions.discard(account.name)

    monkeypatch.setattr(_accounts, "end_processes", end_processes)
    monkeypatch.setattr(_accounts, "shutil", types.SimpleNamespace(which=lambda name: None))
    monkeypatch.setattr(socket_acl, "admits", lambda path, gid: gid in engine.admitted)
    monkeypatch.setattr(socket_acl, "grant", lambda path, gid: engine.admitted.add(gid))
    monkeypatch.setattr(socket_acl, "revoke", lambda path, gid: engine.admitted.discard(gid))
    fake = types.SimpleNamespace(
        run=engine.system_command,
        CalledProcessError=subprocess.CalledProcessError,
        DEVNULL=subprocess.DEVNULL,
    )
    monkeypatch.setattr(_commit, "subprocess", fake)
    monkeypatch.setattr(sshd_restore, "subprocess", fake)
    monkeypatch.setattr(_commit, "_listeners", lambda: {str(engine.inodes)})
    monkeypatch.setattr(_sshd, "Sshd", lambda: engine.sshd)
    monkeypatch.setattr(_sshd, "connection", lambda: engine.connection)
    monkeypatch.setattr(_service, "service", lambda: engine.service)
    monkeypatch.setattr(_sshd, "socket_unit_is_active", lambda: False)

    def log_in(account: str, *_: t.Any) -> str:
        engine.logins.append(account)
        engine.sessions |= {account} if engine.begins_with_login else set()
        return engine.login_problem.get(account, "")

    monkeypatch.setattr(_login, "failure", log_in)
    monkeypatch.setattr(_login, "available", lambda: engine.has_ssh)
    monkeypatch.setattr(_files.os, "fsync", lambda descriptor: None)  # no disk is lost in these tests
    for name in ("stage", "swap"):
        original = getattr(_files.Target, name)

        def stepping(target: _files.Target, original: t.Callable[..., None] = original) -> None:
            engine.step(str(target.path))
            original(target)
            engine.step(str(target.path))

        monkeypatch.setattr(_files.Target, name, stepping)
    return engine


# -- what is wanted of it

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrcl5/y08/rRDEcJnVT/b788ynKJfZ4EjATJj0roJGX"
OTHER = ED25519[:-1] + "Y"


def user(name: str, *keys: str, **more: t.Any) -> dict[str, t.Any]:
    usual = {"principals": [], "allowed_from": [], "expires": "", "comment": "", "state": "present"}
    return {"name": name, "public_keys": list(keys or (ED25519,)), **usual, **more}


def desired(*users: dict[str, t.Any], **more: t.Any) -> _plan.Desired:
    options = {
        "users": users or (user("docker-alice"),),
        "keep": [],
        "trusted_user_ca_keys": [],
        "client_networks": [],
        "clients": [],
        "exempt_clients": True,
        "max_startups": "500:30:1000",
        "max_sessions": 500,
        "try_login": True,
        "confirm_timeout": 30,
        **more,
    }
    return _plan.read(options, check_mode=False)


def give(*users: dict[str, t.Any], **more: t.Any) -> _plan.Result:
    """A whole run as the action part makes it: change, and confirmation through a new connection."""
    result = _access.run(desired(*users, **more), over_ssh=True)
    if result.confirm_within:
        keep()
    return result


def keep() -> None:
    assert _commit.confirm(None) == ""
