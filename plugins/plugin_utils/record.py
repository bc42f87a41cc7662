# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom the CA host's own record has and a run does not know: hosts of another slice, of another inventory, or gone.

The record is the memory of the fleet. An inventory that is not whole looks like one from which hosts were taken. It
has the certificates that were signed and, host by host, who holds access.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.plugin_utils import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import listed

Plan = t.Mapping[str, t.Any]
Values = t.Mapping[str, t.Any]

_FIELDS = ("kind", "host", "identity", "transport")


def unknown(plan: Plan, ca: t.Any, of_groups: t.Collection[str] | None = None) -> dict[str, t.Any]:
    """Whom the CA host has a record of, and who is no host and no identity of the plan.

    ``engines`` are names, ``clients`` the identities by client host, ``exports`` the exported identities by the days
    that are left to them, and ``identities`` names with a certificate of whom no host is known. ``ca`` is what
    docker_ca_info says. Nobody who was revoked, and nobody whom the operator has left out by name. A certificate
    counts while engines or clients accept it; an entry of a host until the host is removed. With ``of_groups`` nobody
    who holds certificates of other access groups alone; any engine may trust the CAs of these.
    """
    known = {
        "server": {engine["common_name"] for engine in plan["engines"].values()},
        "client": {identity["name"] for client in plan["clients"].values() for identity in client["identities"]},
    }
    left_out = {*plan["rotate"]["exclude"]}
    left_out |= {name[:64] for name in left_out}  # a common name cannot be longer
    ended = _revoked(ca)
    if plan["playbook"] == "revoke_client" and plan["revoke"]["state"] == "present":
        ended.add(plan["revoke"]["name"])
    found: dict[str, dict[str, int]] = {"server": {}, "client": {}}
    others = _of_others(ca, of_groups)
    for entry in _entries(ca, "issued"):
        usage, name = str(entry.get("usage")), str(entry.get("name"))
        gone = left_out | ended | others if usage == "client" else left_out
        if groups.is_accepted(entry) and usage in known and name not in known[usage] | gone:
            found[usage][name] = max(entry["days_left"], found[usage].get(name, 0))
    holders = _entries(ca, "holders")
    engines = [str(one.get("host")) for one in holders if one.get("kind") == "engine"]
    strangers = [name for name in engines if name not in plan["engines"] and name not in left_out]
    clients: dict[str, dict[str, list[str]]] = {}
    of_hosts: set[str] = set()
    for one in holders:
        host, name = str(one.get("host")), str(one.get("identity"))
        if one.get("kind") != "client" or host in plan["clients"] or name in ended | others:
            continue
        of_hosts.add(name)
        if not {host, name} & left_out:
            clients.setdefault(host, {}).setdefault(name, []).append(str(one.get("transport")))
    exported = {str(one.get("identity")) for one in holders if one.get("kind") == "export"}
    names, shortened = found["client"], {name[:64] for name in strangers}
    return {
        "engines": list(dict.fromkeys([*(name for name in found["server"] if name not in shortened), *strangers])),
        "clients": clients,
        "exports": {name: names[name] for name in names if name in exported - of_hosts},
        "identities": [name for name in names if name not in exported | of_hosts],
    }


def _of_others(ca: t.Any, of_groups: t.Collection[str] | None) -> set[str]:
    """Identities whose certificates are all from the CAs of other access groups."""
    if of_groups is None:
        return set()
    held: dict[str, set[str]] = {}
    for group, entry in groups.issued(ca):
        if groups.is_accepted(entry, "client"):
            held.setdefault(str(entry.get("name")), set()).add(group)
    return {name for name, theirs in held.items() if not theirs & {*of_groups}}


def without_hosts(ca: t.Any) -> str:
    """Why the record does not tell who holds access: a backup of a part of it, or one from before it had hosts."""
    if _entries(ca, "holders") or not any(map(groups.is_accepted, _entries(ca, "issued"))):
        return ""
    return (
        "it has issued certificates, and its record, holders/, has no host that holds them; run bulkhead.docker.site "
        "with the whole inventory, which writes it"
    )


def shut_out(plan: Plan, ca: t.Any, of_groups: t.Collection[str] | None = None) -> list[str]:
    """Who would lose access with the CAs of these groups or of all, and who is left out and nobody knows.

    Whoever uses SSH alone loses nothing by a rotation, and is forgotten with a CA that is removed.
    """
    names = unknown(plan, ca, of_groups)
    certified = {str(one.get("name")) for one in _entries(ca, "issued")}
    forgets = plan["playbook"] == "remove"
    known = {*plan["engines"], *plan["clients"], *recorded(ca)}
    return [
        *(
            f"{name}: docker_rotate_exclude has it, and it is no engine, no client and in no certificate of the record"
            for name in plan["rotate"]["exclude"]
            if name not in known
        ),
        *(
            f"{name}: it {'holds a server certificate' if name[:64] in certified else 'trusts the CA'} and is no "
            "engine of this inventory"
            for name in names["engines"]
        ),
        *(
            f"{host}: it holds {listed(held)} and is no client host of this inventory"
            for host, identities in names["clients"].items()
            if (held := [name for name, transports in identities.items() if forgets or "tls" in transports])
        ),
        *(
            f"{name}: it was exported, and its certificate, valid for {days} days, ends with the CA; export it again "
            "with the next one"
            for name, days in names["exports"].items()
        ),
        *(
            f"{name}: it holds a client certificate and is no identity of this inventory; "
            "bulkhead.docker.revoke_client ends it"
            for name in names["identities"]
        ),
    ]


def recorded(ca: t.Any) -> set[str]:
    """All names that the CA host has a record of."""
    names = {str(entry.get("name")) for entry in _entries(ca, "issued")}
    for one in _entries(ca, "holders"):
        names |= {str(one.get("host")), str(one.get("identity"))}
    return names - {""}


def has_identity(name: str, ca: t.Any) -> bool:
    """Whether it holds or held something, certificate or not, or was revoked."""
    issued = {str(entry.get("name")) for entry in _entries(ca, "issued") if entry.get("usage") == "client"}
    held = {str(one.get("identity")) for one in _entries(ca, "holders")}
    return bool(name) and name in issued | held | _revoked(ca)


def recorded_hosts(ca: t.Any) -> set[str]:
    """The hosts that `remove` ends although the inventory has them no more."""
    servers = {str(entry.get("name")) for entry in _entries(ca, "issued") if entry.get("usage") == "server"}
    return servers | {str(one.get("host")) for one in _entries(ca, "holders")} - {""}


def still_held(plan: Plan, ca: t.Any) -> list[str]:
    """In a removal: what hosts that the inventory has no more hold and nobody has revoked, one sentence for each.

    Nothing can be deleted there. An identity that another host has is not given up with this one.
    """
    gone, revoked = plan["remove"]["recorded"], _revoked(ca)
    used = {identity["name"] for client in plan["clients"].values() for identity in client["identities"]}
    held: dict[str, dict[str, None]] = {}
    for one in _entries(ca, "holders"):
        host, name = str(one.get("host")), str(one.get("identity"))
        if one.get("kind") == "client" and host in gone:
            held.setdefault(host, {})[name] = None
        elif one.get("kind") == "client":
            used.add(name)
    return [
        f"{host} is gone with the keys of {listed(names)}, which engines accept from whoever has them. Revoke each "
        f"with bulkhead.docker.revoke_client, -e docker_revoke_name={names[0]}, and run this again. Nothing was "
        "changed."
        for host, identities in held.items()
        if (names := [name for name in identities if name not in used | revoked])
    ]


def unrecorded(plan: Plan, ca: t.Any) -> list[dict[str, str]]:
    """What the CA host has to know before this run gives anybody access, as docker_ca_holders takes it.

    Of the hosts that the run reaches, and nobody who was revoked. Playbooks that set no host up give none any access.
    """
    if plan["playbook"] not in ("site", "engines", "rotate_ca") and not plan["revoke"]["by_rotation"]:
        return []
    if plan["playbook"] != "site" and isinstance(ca, t.Mapping) and ca.get("exists") is False:
        return []  # which the run says where it needs a CA; `site` makes it
    revoked = _revoked(ca) | {plan["revoke"]["name"] if plan["revoke"]["by_rotation"] else ""}
    there = {tuple(str(one.get(field) or "") for field in _FIELDS) for one in _entries(ca, "holders")}
    wanted = [("engine", name, "", "") for name in plan["asked"]["engines"]]
    for host in plan["asked"]["clients"]:
        client = plan["clients"][host]
        wanted += [
            ("client", host, identity["name"], transport)
            for identity in client["identities"]
            for transport in client["transports"]
            if identity["name"] not in revoked and not identity["ended"]
        ]
    return [dict(zip(_FIELDS, one)) for one in dict.fromkeys(wanted) if one not in there]


def ended(plan: Plan, ca: t.Any) -> dict[str, list[dict[str, str]]]:
    """By client host that `site` reaches, what the record has of identities whose day is over: it is to be removed."""
    if plan["playbook"] != "site":
        return {}
    found = {}
    for host in plan["asked"]["clients"]:
        over = {identity["name"] for identity in plan["clients"][host]["identities"] if identity["ended"]}
        held = [
            {field: str(one.get(field) or "") for field in _FIELDS}
            for one in _entries(ca, "holders")
            if one.get("kind") == "client" and one.get("host") == host and one.get("identity") in over
        ]
        found.update({host: held} if held else {})
    return found


def kept_accounts(plan: Plan, ca: t.Any, engine: str) -> list[str]:
    """Who loses no SSH key on an engine, because this run does not know all clients: accounts and identities.

    The record does not say in which accounts the keys of those are whom it does not know. So it is every account of the
    plan on that engine, and those of identities on hosts that are not in the inventory; but none to which somebody logs
    in who may not do so there any more, because no line in it says whose it is. A revocation ends what it names and
    leaves everybody else alone.
    """
    if plan["playbook"] == "revoke_client":
        return [_users.OTHERS]
    strangers = _strangers(plan, ca, engine) if plan["playbook"] == "site" else set()
    if not strangers:
        return []
    logins = _accounts.logins(plan["clients"])
    declared = {user["name"] for user in plan["engines"][engine]["ssh"]["users"]}
    declared -= {*_accounts.ended(_revoked(ca), logins, declared)}
    may = _let_in(plan, ca, engine)
    gone = {account for account, names in logins.items() if not names <= {one["name"] for one in may}}
    theirs = {one["ssh_account"] for one in may}
    return sorted({*strangers, *filter(None, map(_accounts.named_after, strangers)), *theirs, *declared} - gone)


def _strangers(plan: Plan, ca: t.Any, engine: str) -> set[str]:
    """Identities that may have an SSH key on an engine, from client hosts that this run does not know.

    Nobody whom the run knows from another host, and who has no access to the engine. An exported one has no SSH key.
    """
    names = unknown(plan, ca, groups.access_of(plan["engines"][engine]))
    known = {one["name"] for client in plan["clients"].values() for one in client["identities"]}
    with_ssh = {
        name
        for identities in names["clients"].values()
        for name, transports in identities.items()
        if "ssh" in transports
    }
    return {*names["identities"], *with_ssh} - (known - {one["name"] for one in _let_in(plan, ca, engine)})


def _let_in(plan: Plan, ca: t.Any, engine: str) -> list[Values]:
    """The identities of the plan that an engine lets in."""
    revoked = _revoked(ca)
    return [
        one
        for client in plan["clients"].values()
        for one in client["identities"]
        if groups.opens(one, plan["engines"][engine]) and not one["ended"] and one["name"] not in revoked
    ]


def note(plan: Plan, ca: t.Any) -> str:
    """For the report: what this run has left to those whom it does not know, and what it could not leave."""
    names = unknown(plan, ca)
    of_each_kind = {tuple(groups.access_of(engine)): name for name, engine in plan["engines"].items()}
    kept = {name for engine in of_each_kind.values() for name in _strangers(plan, ca, engine)}
    hosts = [
        f"{host} ({listed(held)})"
        for host, identities in names["clients"].items()
        if (held := [name for name, transports in identities.items() if "ssh" in transports and name in kept])
    ]
    of_nowhere = [name for name in names["identities"] if name in kept]
    shared = plan["revoke"]["accounts"]["shared"]
    if plan["playbook"] == "revoke_client":
        if not (hosts or of_nowhere) or not shared or plan["revoke"]["state"] != "present":
            return ""
        return (
            f"{listed(shared)} lost the SSH keys of all whom this inventory has not, because {plan['revoke']['name']} "
            f"logged in to it as well. The CA's record has {listed([*hosts, *of_nowhere])}: add them and run "
            "bulkhead.docker.site."
        )
    clients = plan["clients"].values()
    with_ssh = any("ssh" in client["transports"] for client in clients)
    purging = any(client["purge"] for client in clients)
    found = []
    if names["engines"] and purging:
        found.append(
            f"Contexts of engines that are gone were kept, because the CA's record has {listed(names['engines'])}, "
            f"which this inventory has not: add them, or {_removal(names['engines'][0])}."
        )
    if hosts and with_ssh:
        found.append(
            f"SSH keys of identities on {listed(hosts)} were kept, because the CA's record has these hosts and this "
            f"inventory has not: add them, or revoke identities that no other host has with "
            f"bulkhead.docker.revoke_client, and then {_removal(next(iter(names['clients'])))}."
        )
    if of_nowhere and with_ssh:
        found.append(
            f"SSH accounts of {listed(of_nowhere)} were kept, because the CA's record has them and this "
            "inventory has not: add them, or revoke them with bulkhead.docker.revoke_client."
        )
    return " ".join(found)


def _removal(host: str) -> str:
    return f"remove them with bulkhead.docker.remove, -e docker_remove_hosts={host}"


def not_reached(plan: Plan, ca: t.Any) -> list[str]:
    """Of a revocation: the hosts that this run does not know.

    Engines may let the identity in as before, and client hosts have its key until somebody deletes it there.
    """
    if plan["playbook"] != "revoke_client" or plan["revoke"]["state"] != "present":
        return []
    name, left_out = plan["revoke"]["name"], plan["rotate"]["exclude"]
    held = [one for one in _entries(ca, "holders") if (one.get("kind"), one.get("identity")) == ("client", name)]
    hosts = list(dict.fromkeys(str(one.get("host")) for one in held))
    hosts = [host for host in hosts if host not in plan["clients"] and host not in left_out]
    engines, found = unknown(plan, ca)["engines"], []
    if engines:
        found.append(
            f"{listed(engines, 20)} may let {name} in as before: the CA's record has these engines, and this inventory "
            f"has not. Add them and run the playbook again; {_out_of_the_record(engines[0])}."
        )
    if hosts:
        found.append(
            f"{listed(hosts, 20)} may have the keys of {name} as before: the CA's record has these client hosts, and "
            f"this inventory has not. Add them and run the playbook again; {_out_of_the_record(hosts[0])}."
        )
    return found


def _out_of_the_record(host: str) -> str:
    return f"what is gone for good goes from the record with bulkhead.docker.remove, -e docker_remove_hosts={host}"


def _revoked(ca: t.Any) -> set[str]:
    return {str(name) for name in _list(ca, "revoked")}


def _entries(ca: t.Any, key: str) -> list[Values]:
    """Of certificates, those that the CA of any access group has signed."""
    if key == "issued":
        return [entry for _group, entry in groups.issued(ca)]
    return [entry for entry in _list(ca, key) if isinstance(entry, t.Mapping)]


def _list(ca: t.Any, key: str) -> list[t.Any]:
    return list(ca.get(key) or []) if isinstance(ca, t.Mapping) else []
