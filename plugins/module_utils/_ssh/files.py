# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of an engine on which accounts use the Docker API over SSH, as they shall be."""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import re
import shutil
import sys
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import socket_acl, ssh_gate
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names as _names

SETTINGS = pathlib.Path("/etc/ssh/docker-ssh")
KEYS = SETTINGS / "keys"
PRINCIPALS = SETTINGS / "principals"
CA_KEYS = SETTINGS / "user_ca_keys"
SOCKET_PROGRAM = _accounts.GATE.with_name("docker-ssh-socket")
UNIT_DROP_IN = "bulkhead-ssh.conf"
UNITS = pathlib.Path("/etc/systemd/system")
STARTUPS = re.compile(r"(\d+):(\d+):(\d+)")
# The only settings of ours that concern everybody.
LIMITS = ("maxstartups", "persourcemaxstartups", "persourcepenaltyexemptlist")

NOTICE = "# Written by the role docker_ssh of the Ansible collection bulkhead.docker, which overwrites changes.\n"
_CONTROL_NODES = "# Control nodes among them: "
_MOST_CONTROL_NODES = 8
_DROP_IN_UNITS = ("docker.socket", "docker.service", "ssh.socket", "sshd.socket")


def folders() -> list[pathlib.Path]:
    """Folders of ours, which sshd and the accounts read, whatever root's umask is."""
    return [_accounts.GATE.parent, SETTINGS, KEYS, PRINCIPALS, _accounts.HOME]


def programs(service: _service.Systemd, per_connection: str) -> list[Target]:
    """The gate, the program that opens the socket, and drop-ins of the units that make Docker's socket and sshd's."""
    gate = inspect.getsource(ssh_gate).replace(f'"{ssh_gate.SOCKET}"', f'"{_socket(service)}"', 1)
    shebang = f"#!{python()} -IS\n"
    unit = "docker.socket" if service.uses_socket_unit else "docker.service"
    section = "Socket" if service.uses_socket_unit else "Service"
    # With the minus, Docker starts even if this fails.
    line = f"ExecStartPost=-{python()} -IS {SOCKET_PROGRAM} {service.socket_path} {_accounts.ADMINS}\n"
    drop_in = f"{NOTICE}[{section}]\n{line}"
    wanted = {unit: drop_in.encode()}
    if per_connection:
        # systemd's own limits come on top: 64 connections, and a socket that has failed for good after a burst.
        limits = "[Socket]\nMaxConnections=1000\nTriggerLimitIntervalSec=0\n"
        wanted[per_connection] = f"{NOTICE}{limits}".encode()
    return [
        Target(_accounts.GATE, f"{shebang}{gate}".encode(), 0o755),
        Target(SOCKET_PROGRAM, inspect.getsource(socket_acl).encode(), 0o644),
        *(Target(_unit_drop_in(name), wanted.get(name), 0o644) for name in _DROP_IN_UNITS),
    ]


def no_programs() -> list[Target]:
    paths = (_accounts.GATE, SOCKET_PROGRAM, *map(_unit_drop_in, _DROP_IN_UNITS))
    return [Target(path, None) for path in paths]


def _unit_drop_in(unit: str) -> pathlib.Path:
    return UNITS / f"{unit}.d" / UNIT_DROP_IN


def _socket(service: _service.Systemd) -> str:
    """The socket's path without the old name of /run."""
    return re.sub(r"^/var/run/", "/run/", service.socket_path)


def python() -> str:
    """The interpreter for what stays on the host: the system's, which outlives a virtual environment of Ansible's."""
    return shutil.which("python3", path="/usr/bin:/usr/libexec") or sys.executable


def key_files(
    users: t.Sequence[_users.User], ca_keys: t.Sequence[_users.PublicKey], kept: t.Collection[str] = ()
) -> list[Target]:
    """``kept`` are accounts that lose no key and no principal."""
    wanted: dict[pathlib.Path, str] = {}
    gate = str(_accounts.GATE)
    for user in users:
        if user.keys:
            text = user.authorized_keys(gate)
            wanted[KEYS / user.name] = text + (_other_keys(user, gate) if user.name in kept else "")
        if user.principals:
            wanted[PRINCIPALS / user.name] = user.authorized_principals(gate)
    if ca_keys:
        wanted[CA_KEYS] = "".join(f"{key.line}\n" for key in ca_keys)
    known = [*KEYS.glob("*"), *PRINCIPALS.glob("*"), CA_KEYS]
    return [
        *(Target(path, text.encode(), 0o644) for path, text in wanted.items()),
        *(Target(path, None) for path in known if path not in wanted and (path == CA_KEYS or path.name not in kept)),
    ]


def _other_keys(user: _users.User, gate: str) -> str:
    """The lines of the account's present file that are of our form and have another key."""
    blobs = [key.blob for key in user.keys]
    lines = (Target(KEYS / user.name, None).existing() or b"").decode("utf-8", "replace").splitlines()
    ours = [line for line in lines if line.startswith(user.restrictions(gate))]
    return "".join(f"{line}\n" for line in ours if not any(blob in line.split() for blob in blobs))


def match_block(criterion: str, certificates: bool, max_sessions: int, known: t.Container[str]) -> str:
    """What sshd does with these accounts. Every keyword for forwarding is there: DisableForwarding alone had holes.

    ``known`` are the keywords, in small letters, that this release of sshd knows.
    """
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
        "TrustedUserCAKeys": str(CA_KEYS) if certificates else "none",
        "AuthorizedPrincipalsFile": f"{PRINCIPALS}/%u" if certificates else "none",
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
        "SetEnv": "DOCKER_SSH=1",  # instead of what is set for others
        "ChrootDirectory": "none",
        "MaxSessions": str(max_sessions),
        "LogLevel": "VERBOSE",
        "ForceCommand": str(_accounts.GATE),
    }
    if "channeltimeout" in known:
        # A quiet `docker logs --follow` is no idle session. With "none" in a Match block, OpenSSH 10.0 ends each login.
        settings["ChannelTimeout"] = "session=0"
    return f"Match {criterion}\n" + "".join(f"    {keyword} {value}\n" for keyword, value in settings.items())


@dataclasses.dataclass(frozen=True)
class Limits:
    """How many connections may come at once, and from where without a penalty."""

    max_startups: str
    client_networks: tuple[str, ...]
    control_node: str  # the address that Ansible comes from; '' where it is not to be exempt

    def lines(self, without: _sshd.Settings, drop_in: str) -> str:
        """For everybody, so before any Match. What is there already is widened, never narrowed."""
        return f"{lines}\n" if (lines := self._startups(without) + self._exempt(without, drop_in)) else ""

    def _startups(self, without: _sshd.Settings) -> str:
        wanted, found = STARTUPS.fullmatch(self.max_startups), STARTUPS.fullmatch(without["maxstartups"][0])
        if not wanted or not found:
            return ""
        ours, theirs = [[int(number) for number in match.groups()] for match in (wanted, found)]
        merged = [max(ours[0], theirs[0]), min(ours[1], theirs[1]), max(ours[2], theirs[2])]
        lines = "MaxStartups {}:{}:{}\n".format(*merged) if merged != theirs else ""
        for_each_source = without.get("persourcemaxstartups", ("none",))[0]
        if for_each_source.isdecimal() and int(for_each_source) < merged[2]:
            lines += f"PerSourceMaxStartups {merged[2]}\n"
        return lines

    def _exempt(self, without: _sshd.Settings, drop_in: str) -> str:
        if "persourcepenalties" not in without:  # before OpenSSH 9.8 there are none
            return ""
        told = without.get("persourcepenaltyexemptlist", ("none",))[0]
        theirs = [item for item in told.split(",") if item != "none"]
        control_nodes = self._control_nodes(drop_in)
        exempt = list(dict.fromkeys([*theirs, *self.client_networks, *control_nodes]))
        if exempt == theirs:
            return ""
        comment = f"{_CONTROL_NODES}{' '.join(control_nodes)}\n" if control_nodes else ""
        return f"{comment}PerSourcePenaltyExemptList {','.join(exempt)}\n"

    def _control_nodes(self, drop_in: str) -> list[str]:
        """Those of earlier runs stay, or sshd would have to be changed whenever somebody else runs the playbook."""
        if not self.control_node:
            return []  # none of them is to be exempt
        lines = [line for line in drop_in.splitlines() if line.startswith(_CONTROL_NODES)]
        earlier = [word for word in lines[0][len(_CONTROL_NODES) :].split() if _names.is_ip(word)] if lines else []
        if self.control_node in earlier or not _names.is_ip(self.control_node):  # one with a zone
            return earlier
        return [*earlier, self.control_node][-_MOST_CONTROL_NODES:]
