# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which accounts on engines are an identity's."""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups

Values = t.Mapping[str, t.Any]
Clients = t.Mapping[str, Values]


def logins(clients: Clients, engine: Values | None = None) -> dict[str, set[str]]:
    """By account, the identities that log in to it from client hosts; with an ``engine`` those that may do so there."""
    found: dict[str, set[str]] = {}
    for client in clients.values():
        for identity in client["identities"] if "ssh" in client["transports"] else ():
            if engine is None or (groups.opens(identity, engine) and not identity["ended"]):
                found.setdefault(identity["ssh_account"], set()).add(identity["name"])
    return found


def named_after(name: str) -> str:
    """The account that an identity has where nothing else is said; '' where none can have that name."""
    account = _users.account({"name": name})
    return account if _users.is_account(account) else ""


def of_identity(name: str, logs_in: t.Mapping[str, t.Collection[str]], declared: t.Collection[str]) -> set[str]:
    """Those that it logs in to, and the one that is named after it: it may have left the inventory.

    Whoever logs in to another one has not that of the name where it is ``declared``, for somebody else.
    """
    theirs = {account for account, names in logs_in.items() if name in names}
    account = named_after(name)
    if account and not (theirs and account in declared):
        theirs.add(account)
    return theirs


def ended(
    revoked: t.Collection[str], logs_in: t.Mapping[str, t.Collection[str]], declared: t.Collection[str]
) -> dict[str, str]:
    """The accounts that are named after identities which were revoked, and go with them, with their identities."""
    named = {named_after(name): name for name in revoked}
    return {account: name for account, name in named.items() if account in of_identity(name, logs_in, declared)}


def with_own_keys(declared: t.Iterable[Values]) -> set[str]:
    """Of accounts that the inventory declares, those that have keys or principals, which name no identity."""
    return {user["name"] for user in declared if user.get("public_keys") or user.get("principals")}
