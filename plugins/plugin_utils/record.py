# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom the CA host's own record has and a run does not know: hosts of another slice, of another inventory, or gone.

The record is the memory of the fleet. An inventory that is not whole looks like one from which hosts were taken.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import listed

Plan = t.Mapping[str, t.Any]
Values = t.Mapping[str, t.Any]


def unknown(plan: Plan, ca: t.Any, of_groups: t.Collection[str] | None = None) -> dict[str, list[str]]:
    """Names with a certificate that engines or clients still accept, which are no engine and no identity of the plan.

    ``ca`` is what docker_ca_info says. Nobody whose certificates are revoked, have expired, or are from a CA that was
    replaced; and nobody whom the operator has left out by name. With ``of_groups`` clients of these access groups
    alone; any engine may trust their CAs.
    """
    known = {
        "server": {engine["common_name"] for engine in plan["engines"].values()},
        "client": {identity["name"] for client in plan["clients"].values() for identity in client["identities"]},
    }
    left_out = {*plan["rotate"]["exclude"]}
    if plan["playbook"] == "revoke_client" and plan["revoke"]["state"] == "present":
        left_out.add(plan["revoke"]["name"])
    found: dict[str, dict[str, None]] = {"server": {}, "client": {}}
    for group, entry in groups.issued(ca):
        if of_groups is not None and group not in of_groups and entry.get("usage") == "client":
            continue
        valid = not entry.get("revoked") and entry.get("issuer") and _days(entry) >= 0
        usage, name = str(entry.get("usage")), str(entry.get("name"))
        if valid and usage in known and name not in known[usage] | left_out:
            found[usage][name] = None
    return {"engines": [*found["server"]], "identities": [*found["client"]]}


def shut_out(plan: Plan, ca: t.Any, of_groups: t.Collection[str] | None = None) -> list[str]:
    """Who would lose access with the CAs of these groups or of all, and who is left out and nobody knows."""
    names = unknown(plan, ca, of_groups)
    recorded = {str(entry.get("name")) for entry in _issued(ca)}
    known = {*plan["engines"], *plan["clients"], *recorded}
    return [
        *(
            f"{name}: docker_rotate_exclude has it, and it is no engine, no client and in no certificate of the record"
            for name in plan["rotate"]["exclude"]
            if name not in known
        ),
        *(f"{name}: it holds a server certificate and is no engine of this inventory" for name in names["engines"]),
        *(
            f"{name}: it holds a client certificate and is no identity of this inventory; "
            "bulkhead.docker.revoke_client ends it"
            for name in names["identities"]
        ),
    ]


def kept_accounts(plan: Plan, ca: t.Any) -> list[str]:
    """Who loses no SSH key on engines, because this run does not know all clients: accounts and identities.

    Those of identities that are not in the inventory, and in `site` accounts that several identities may share. A
    revocation ends what it names: its own accounts, and its key in those that it shares with others.
    """
    strangers = unknown(plan, ca)["identities"]
    if not strangers or plan["playbook"] not in ("site", "revoke_client"):
        return []
    if plan["playbook"] == "revoke_client":
        ended = {*plan["revoke"]["accounts"]["own"], *plan["revoke"]["accounts"]["shared"]}
        return _with_accounts(name for name in strangers if _accounts.named_after(name) not in ended)
    identities = [identity for client in plan["clients"].values() for identity in client["identities"]]
    shared = {
        identity["ssh_account"]
        for identity in identities
        if identity["ssh_account"] != _accounts.named_after(identity["name"])
    }
    return sorted({*_with_accounts(strangers), *shared})


def _with_accounts(names: t.Iterable[str]) -> list[str]:
    """Identities and the accounts that are named after them."""
    found = list(names)
    return sorted({*found, *filter(None, map(_accounts.named_after, found))})


def note(plan: Plan, ca: t.Any) -> str:
    """For the report: what this run has left to those whom it does not know."""
    names = unknown(plan, ca)
    clients = plan["clients"].values()
    with_ssh = any("ssh" in client["transports"] for client in clients)
    purging = any(client["purge"] for client in clients)
    found = []
    if names["engines"] and purging:
        found.append(
            f"Contexts of engines that are gone were kept, because the CA's record has {listed(names['engines'])}, "
            "which this inventory has not: add them, or remove them with bulkhead.docker.remove."
        )
    if names["identities"] and with_ssh:
        found.append(
            f"SSH accounts of {listed(names['identities'])} were kept, because the CA's record has them and this "
            "inventory has not: add them, or revoke them with bulkhead.docker.revoke_client."
        )
    return " ".join(found)


def _issued(ca: t.Any) -> list[Values]:
    return [entry for _group, entry in groups.issued(ca)]


def _days(entry: Values) -> int:
    days = entry.get("days_left")
    return days if isinstance(days, int) else -1
