# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever on an engine stands against restricted accounts or would lock somebody out, said before anything is changed.

sshd is asked itself, with files that it does not use yet: for every account, and for every kind of connection that its
Match lines tell apart.
"""

from __future__ import annotations

import fnmatch
import grp
import os
import pathlib
import pwd
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import login as _login
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import pam as _pam
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users


class Server(t.Protocol):
    """What is asked of the SSH server."""

    others: list[_sshd.Server]

    def settings(
        self, config: pathlib.Path, user: str, peer: _sshd.Peer, options: t.Sequence[str] | None = None
    ) -> _sshd.Settings: ...


def refuse_accounts(
    sshd: Server,
    paths: _sshd.Configurations,
    users: t.Sequence[_users.User],
    ca_keys: t.Sequence[_users.PublicKey],
    peers: t.Sequence[_sshd.Peer],
) -> None:
    """Whatever would keep the accounts out, or would let them do more."""
    keywords = re.findall(r"^    (\w+)", paths.alone.read_text(encoding="utf-8"), re.MULTILINE)
    for user in users:
        intended = sshd.settings(paths.alone, user.name, _sshd.Peer())
        for number, peer in enumerate(peers):
            found = sshd.settings(paths.wanted, user.name, peer)
            _refuse_lists(found, user.name)
            _refuse_other_values(found, intended, keywords, user.name, f" {_named(peer)}" if number else "")
            if not number:
                _refuse_keys(found, user, ca_keys)
        _refuse_variables(intended, user.name)
        _refuse_other_servers(sshd, user.name)
        if found.get("usepam", ("no",)) == ("yes",):
            reason = _pam.refusal(user.name, _accounts.GROUP)
            if reason:
                raise _sshd.SshdError(reason)


def _named(peer: _sshd.Peer) -> str:
    domain = f" in the routing domain {peer.routing_domain}" if peer.routing_domain else ""
    return f"from {peer.address} to {peer.local_address} port {peer.local_port}{domain}"


def _refuse_lists(found: _sshd.Settings, name: str) -> None:
    if found["permituserenvironment"] != ("no",):
        raise _sshd.SshdError(
            f"{_sshd.where('PermitUserEnvironment')} sets PermitUserEnvironment, with which files of users change "
            "the environment of what sshd starts; set it to no."
        )
    keyword = _sshd.refusing_list(found, name, [_accounts.GROUP])
    if keyword:
        what = f"the group {_accounts.GROUP}" if keyword.endswith("Groups") else name
        way_out = "add it there" if keyword.startswith("Allow") else "take it out there"
        raise _sshd.SshdError(f"{keyword} in {_sshd.where(keyword)} keeps {what} out; {way_out}.")
    if found.get("refuseconnection", ("no",)) != ("no",):
        raise _sshd.SshdError(
            f"RefuseConnection in {_sshd.where('RefuseConnection')} keeps {name} out; have its Match leave out the "
            f"group {_accounts.GROUP}."
        )


def _refuse_other_values(
    found: _sshd.Settings, intended: _sshd.Settings, keywords: t.Iterable[str], name: str, connection: str
) -> None:
    for keyword in keywords:
        key = keyword.lower()
        if found.get(key) != intended.get(key):
            raise _sshd.SshdError(
                f"for {name}{connection} sshd would use '{keyword} {' '.join(found.get(key, ()))}' and not "
                f"'{' '.join(intended.get(key, ()))}', because {_sshd.where(keyword)} comes first; move that "
                f"behind {_sshd.DROP_IN}, or have its Match leave out the group {_accounts.GROUP}."
            )


def _refuse_variables(intended: _sshd.Settings, name: str) -> None:
    """OpenSSH 8.4 does not tell which SetEnv is in force, so the files are read."""
    line = "" if "setenv" in intended else _sshd.earlier_in_match("SetEnv", name, _accounts.GROUP)
    if line:
        raise _sshd.SshdError(
            f"for {name} sshd would set the variables of {line}, and not 'DOCKER_SSH=1' alone; move that behind "
            f"{_sshd.DROP_IN}, or have its Match leave out the group {_accounts.GROUP}."
        )


def _refuse_keys(found: _sshd.Settings, user: _users.User, ca_keys: t.Sequence[_users.PublicKey]) -> None:
    """Types and sizes of keys that sshd does not accept, so that whoever holds one would stand before a closed door."""
    accepted = _login.accepted_algorithms(found)
    told = found.get("requiredrsasize", ("0",))[0]
    smallest = int(told) if told.isdecimal() else 0
    for key in user.keys:
        if accepted and not _any_matches(_users.ALGORITHMS[key.kind], accepted):
            keyword = "PubkeyAcceptedAlgorithms" if "pubkeyacceptedalgorithms" in found else "PubkeyAcceptedKeyTypes"
            raise _sshd.SshdError(
                f"sshd on this host accepts no {key.kind} key ({keyword}, {_place(keyword)}), so that "
                f"{user.name} could not log in with {key.fingerprint}; use a key of another type, such as "
                f"{_usable(accepted)}."
            )
        if 0 < key.rsa_bits < smallest:
            raise _sshd.SshdError(
                f"the RSA key {key.fingerprint} of {user.name} has {key.rsa_bits} bits, and sshd on this host accepts "
                f"none below {smallest} (RequiredRSASize, {_place('RequiredRSASize')}); use a longer key."
            )
    if not user.principals:
        return
    certificates = [f"{kind.partition('@')[0]}-cert-v01@openssh.com" for kind in _users.ALGORITHMS]
    if accepted and not _any_matches([*certificates, "rsa-sha2-512-cert-v01@openssh.com"], accepted):
        raise _sshd.SshdError(
            f"sshd on this host accepts no certificate ({_place('PubkeyAcceptedAlgorithms')}), so that {user.name} "
            "could not log in; give public_keys, or allow the algorithms that end in -cert-v01@openssh.com."
        )
    signatures = found.get("casignaturealgorithms", ("",))[0].split(",")
    for key in ca_keys:
        if signatures != [""] and not _any_matches(_users.ALGORITHMS[key.kind], signatures):
            raise _sshd.SshdError(
                f"sshd on this host accepts no certificate signed by the {key.kind} key {key.fingerprint} of "
                f"docker_ssh_trusted_user_ca_keys (CASignatureAlgorithms, {_place('CASignatureAlgorithms')}); use a CA "
                f"with a key of another type, such as {_usable(signatures)}."
            )


def _any_matches(algorithms: t.Iterable[str], patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in algorithms for pattern in patterns)


def _usable(patterns: t.Sequence[str]) -> str:
    return next((kind for kind, names in _users.ALGORITHMS.items() if _any_matches(names, patterns)), patterns[0])


def _place(keyword: str) -> str:
    """Where it is set; crypto policies of the distribution set it where no line of sshd_config shows."""
    found = _sshd.where(keyword)
    return found if found != str(_sshd.CONFIG) else "set by the distribution's policy or sshd's default"


def _refuse_other_servers(sshd: Server, name: str) -> None:
    """A second sshd with a configuration of its own, in which the accounts are ordinary ones."""
    for server in sshd.others:
        found = sshd.settings(server.config, name, _sshd.Peer(), server.options)
        gate_only = found.get("forcecommand") == (str(_accounts.GATE),)
        ways_in = [
            keyword
            for keyword in ("AuthorizedKeysCommand", "TrustedUserCAKeys")
            if found.get(keyword.lower(), ("none",)) != ("none",)
        ]
        files = found.get("authorizedkeysfile", ("",))[0].split()
        if any(str(_ssh_files.KEYS) in file for file in files):
            ways_in.append("AuthorizedKeysFile")
        if ways_in and not gate_only and not _sshd.refusing_list(found, name, [_accounts.GROUP]):
            raise _sshd.SshdError(
                f"a second sshd (process {server.pid}, {server.config}) would let {name} in without the restrictions, "
                f"by its {' and '.join(ways_in)}; add 'DenyGroups {_accounts.GROUP}' to {server.config} and restart it."
            )


def refuse_side_effects(sshd: Server, paths: _sshd.Configurations, via: _sshd.Connection | None) -> None:
    """A reload may change nothing for others, and must let Ansible in again."""
    peer = via.peer if via else _sshd.Peer()
    for name in dict.fromkeys(["root", "nobody", *([via.user] if via else [])]):
        before, after = (sshd.settings(path, name, peer) for path in (paths.without, paths.wanted))
        changed = [k for k in {*before, *after} if k not in _ssh_files.LIMITS and before.get(k) != after.get(k)]
        if changed:
            raise _sshd.SshdError(
                f"the settings of {name} would change as well ({', '.join(sorted(changed))}); the Include line of "
                f"{_sshd.CONFIG} has to stand before any Match."
            )
    if via is None:
        return
    settings = sshd.settings(paths.wanted, via.user, peer)
    try:
        groups = [_group_name(gid) for gid in os.getgrouplist(via.user, pwd.getpwnam(via.user).pw_gid)]
    except KeyError:
        return  # an account from elsewhere, which only sshd knows
    keyword = _sshd.refusing_list(settings, via.user, groups)
    if keyword:
        raise _sshd.SshdError(
            f"{keyword} in {_sshd.where(keyword)} keeps {via.user} out, as whom Ansible is connected; sshd has not "
            "read that yet and would at the reload. Correct it first."
        )
    if via.local_port not in settings["port"] and not _sshd.socket_unit_is_active():
        raise _sshd.SshdError(
            f"sshd would move from port {via.local_port} to {', '.join(settings['port'])} at the reload, because of "
            f"{_sshd.where('Port')}; restart it by hand or correct that first."
        )


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
