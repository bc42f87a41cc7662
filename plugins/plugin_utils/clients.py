# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client hosts of the plan: identities, the accounts that they log in to, and the names of their contexts."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._identities import ending, layout
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.plugin_utils import client_host, groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils import engines as _engines
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Reader, listed

Client = dict[str, t.Any]
Identity = dict[str, t.Any]


def client(name: str, reader: Reader, renew_force: bool, now: datetime.datetime | None = None) -> Client:
    """One client host as of ``now``. What is wrong with its variables is said to the reader."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    values = reader.host(name, _variables.CLIENT)
    connects_as = _connects_as(name, reader)
    found = {
        "identities": [_identity(entry, values, connects_as, now) for entry in values["docker_client_identities"]],
        "transports": list(dict.fromkeys(values["docker_client_transports"])),
        "context_name": values["docker_client_context_name"],
        "current": values["docker_client_current"],
        "purge": values["docker_client_purge"],
        "context_set": values["docker_client_context_set"],
        "config_dir": values["docker_client_config_dir"],
        "env_files": values["docker_client_env_files"],
        "valid_days": values["docker_client_valid_days"],
        "renew_days": values["docker_client_renew_days"],
        "renew_force": values["docker_client_renew_force"] or renew_force,
        "key_type": values["docker_client_key_type"],
        "key_size": values["docker_client_key_size"],
        "ssh_key_type": values["docker_client_ssh_key_type"],
        "ssh_jump": values["docker_client_ssh_jump"],
        "require_host_keys": values["docker_client_require_host_keys"],
        "skip_revoked": values["docker_client_skip_revoked"],
        "replace_ca": values["docker_client_replace_ca"],
        "connects_as": connects_as,
        "given": reader.given(name, _variables.CLIENT),
    }
    reader.say(*_engines.certificate_problems("docker_client", name, values), *_client_problems(name, found))
    return found


def context_problems(name: str, found: Client, engines: t.Mapping[str, _engines.Engine]) -> t.Iterator[str]:
    """Contexts of one user that would overwrite each other."""
    every: set[str] = set()
    for user, identities in _by_user(found).items():
        origin: dict[str, dict[str, None]] = {}
        for identity in identities:
            for context, engine, _over_ssh in _contexts(identity, found, len(identities) > 1, engines):
                # A dictionary, because an identity that is there twice has a sentence of its own.
                origin.setdefault(context, {})[f"{engine} for {identity['name']}"] = None
        every.update(origin)
        for context, origins in origin.items():
            if len(origins) > 1:
                yield (
                    f"On {name}, {user or 'the connecting user'} would get the context {context!r} several times: "
                    f"{listed(list(origins))}. Rename one of them, or change docker_client_context_name."
                )
            elif not _engines.is_context_name(context):
                yield (
                    f"docker_client_context_name of {name} gives the context name {context!r}, which Docker does not "
                    "allow: at least two characters, the first one a letter or digit, the others letters, digits and "
                    "_ . + -, and not 'default'."
                )
    if found["current"] not in ("", "default", *every):
        yield (
            f"docker_client_current of {name} is {found['current']!r}, which is none of its contexts: "
            f"{listed(sorted(every)) or 'it has none'}."
        )


def contexts_of(
    identity: Identity, found: Client, engines: t.Mapping[str, _engines.Engine]
) -> dict[tuple[str, str], str]:
    """The contexts of one identity by engine and transport."""
    theirs = _by_user(found)[identity["user"] or found["connects_as"]]
    named = _contexts(identity, found, len(theirs) > 1, engines)
    return {(engine, "ssh" if over_ssh else "tls"): name for name, engine, over_ssh in named}


def _contexts(
    identity: Identity, found: Client, several: bool, engines: t.Mapping[str, _engines.Engine]
) -> t.Iterator[tuple[str, str, bool]]:
    """Name, engine, and whether it is the one over SSH, of the engines that the identity opens."""
    pattern = found["context_name"] or ("{engine}-{identity}" if several else "{engine}")
    for engine, values in engines.items():
        if not groups.opens(identity, values):
            continue
        name = pattern.replace("{engine}", values["context"]).replace("{identity}", identity["name"])
        if "tls" in found["transports"]:
            yield name, engine, False
        if "ssh" in found["transports"] and values["ssh"]["enabled"]:
            yield f"{name}-ssh", engine, True


def _identity(
    entry: t.Mapping[str, t.Any], values: t.Mapping[str, t.Any], connects_as: str, now: datetime.datetime
) -> Identity:
    """One of the connecting user has no user, whether it names that user or not."""
    days, user, access = entry.get("valid_days"), entry.get("user") or "", entry.get("access")
    return {
        "name": entry["name"],
        "user": "" if user == connects_as else user,
        "access": [groups.DEFAULT] if access is None else list(dict.fromkeys(access)),
        "scope": entry.get("scope") or "admin",
        "valid_days": values["docker_client_valid_days"] if days is None else days,
        "ssh_account": _users.account(entry),
        "ssh_private_key": entry.get("ssh_private_key") or "",
        "certificate_path": entry.get("certificate_path") or "",
        "private_key_path": entry.get("private_key_path") or "",
        "expires": entry.get("expires") or "",
        "ended": not client_host.ending_problem("", entry) and ending.is_over(entry.get("expires") or "", now),
    }


def ending_problems(clients: t.Mapping[str, Client], engines: t.Mapping[str, _engines.Engine]) -> t.Iterator[str]:
    """Ends that contradict each other: a name is one identity, and sshd ends an account as a whole."""
    ends: dict[str, dict[str, str]] = {}
    accounts: dict[str, dict[str, str]] = {}
    for host, client in clients.items():
        for identity in client["identities"]:
            ends.setdefault(identity["name"], {}).setdefault(identity["expires"], host)
            if "ssh" in client["transports"]:
                accounts.setdefault(identity["ssh_account"], {}).setdefault(identity["expires"], identity["name"])
    for name, found in ends.items():
        if len(found) > 1:
            said = listed([f"{end or 'none'} on {host}" for end, host in found.items()])
            yield f"The identity {name!r} has several ends (expires): {said}. It is one identity; give it one."
    for account, theirs in accounts.items():
        if len(theirs) > 1 and len({*theirs.values()}) > 1:
            said = listed([f"{name} ({end or 'none'})" for end, name in theirs.items()])
            yield (
                f"The account {account} is for identities with different ends (expires): {said}. sshd ends an account "
                "as a whole; give them one end, or accounts of their own."
            )
        for engine, values in engines.items():
            declared = next((user for user in values["ssh"]["users"] if user["name"] == account), None)
            if declared and any(theirs) and [declared["expires"]] != list(theirs):
                yield (
                    f"docker_ssh_users of {engine} has {account} with another end (expires) than the identities that "
                    f"log in to it, {listed(sorted({*theirs.values()}))}; give both the same."
                )


def _connects_as(name: str, reader: Reader) -> str:
    """The user as whom Ansible works on the host. The plays switch `become` off where an identity names no user."""
    if reader.plain(name, "ansible_connection") in ("local", "ansible.builtin.local"):
        return reader.inventory.user
    for variable in ("ansible_user", "ansible_ssh_user"):
        if reader.plain(name, variable):
            return reader.plain(name, variable)
    return reader.inventory.remote_user or reader.inventory.user


def _by_user(found: Client) -> dict[str, list[Identity]]:
    """The identities of each OS user; one without a user is the connecting user's."""
    users: dict[str, list[Identity]] = {}
    for identity in found["identities"]:
        users.setdefault(identity["user"] or found["connects_as"], []).append(identity)
    return users


def _client_problems(name: str, found: Client) -> t.Iterator[str]:
    if not found["identities"]:
        yield f"docker_client_identities of {name} is empty; name who uses the engines from there, or leave it away."
    if not found["transports"]:
        yield f"docker_client_transports of {name} is empty; it has tls, ssh or both."
    if not found["context_set"]:
        yield f"docker_client_context_set of {name} is empty; it is the name by which contexts belong together."
    for user, identities in _by_user(found).items():
        names = [identity["name"] for identity in identities]
        for twice in dict.fromkeys(other for other in names if names.count(other) > 1):
            yield f"docker_client_identities of {name} names {twice!r} twice for {user or 'the connecting user'}."
    for identity in found["identities"]:
        yield from _identity_problems(name, identity, found)


def _identity_problems(name: str, identity: Identity, found: Client) -> t.Iterator[str]:
    who = f"The identity {identity['name']!r} of {name}"
    if not layout.is_name(identity["name"]):
        yield (
            f"{who} cannot be the name of a folder and of a certificate: 1 to 64 letters, digits and @ . _ + -, the "
            "first one a letter or digit."
        )
    elif "ssh" in found["transports"] and not _users.is_account(identity["ssh_account"]):
        yield (
            f"{who} would log in to engines as {identity['ssh_account']!r}, which cannot be an account; set its "
            "ssh_account."
        )
    wrong_end = client_host.ending_problem(f"the identity {identity['name']!r} of {name}", identity)
    if wrong_end:
        yield wrong_end
    paths = [identity["certificate_path"], identity["private_key_path"]]
    if any(paths) and len(identity["access"]) > 1:
        yield (
            f"{who} has several access groups and a certificate_path, which can hold the certificate of one group "
            "alone; give it one group."
        )
    if bool(paths[0]) != bool(paths[1]) or any(path and not path.startswith(("/", "~/")) for path in paths):
        yield (
            f"{who} needs both certificate_path and private_key_path, each starting with / or ~/, or none of them; "
            "correct them."
        )
    if identity["valid_days"] <= found["renew_days"]:
        yield (
            f"{who} would be valid for {identity['valid_days']} days, which docker_client_renew_days "
            f"({found['renew_days']}) renews in every run; choose a smaller window or a longer validity."
        )
