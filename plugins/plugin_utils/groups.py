# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Access groups: which identities open which engines, and what the CA host has of each group.

Each group is a CA whose clients the engines of the group let in. The group `default` is the CA that signs for all
servers, so that without groups there is one CA for everything.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import listed, unknown

Plan = t.Mapping[str, t.Any]
Values = t.Mapping[str, t.Any]

DEFAULT = layout.DEFAULT_GROUP
NAME = "1 to 32 small letters, digits, - and _, the first one a letter or digit"


def access_of(entry: Values) -> list[str]:
    """The access groups of an engine or of an identity."""
    return [str(group) for group in entry.get("access") or (DEFAULT,)]


def pair_for(identity: Values, engine: Values) -> str | None:
    """Which pair of the identity opens the engine: '' for the one in its folder, or a group; None for none."""
    access, opening = access_of(identity), access_of(engine)
    return next((group if number else "" for number, group in enumerate(access) if group in opening), None)


def opens(identity: Values, engine: Values) -> bool:
    return pair_for(identity, engine) is not None


def further(engines: t.Mapping[str, Values], clients: t.Mapping[str, Values]) -> list[str]:
    """The groups that have a CA of their own."""
    identities = [identity for client in clients.values() for identity in client["identities"]]
    return sorted({group for one in (*engines.values(), *identities) for group in one["access"]} - {DEFAULT})


def problems(engines: t.Mapping[str, Values], clients: t.Mapping[str, Values]) -> t.Iterator[str]:
    """What is wrong with the groups of engines and identities. A run of engines alone knows no identity."""
    identities = [
        (f"the identity {identity['name']!r} of {host}", identity)
        for host, client in clients.items()
        for identity in client["identities"]
    ]
    named = False
    for who, one, variable in [
        *((name, engine, "docker_engine_access") for name, engine in engines.items()),
        *((who, identity, "access") for who, identity in identities),
    ]:
        wrong = [group for group in one["access"] if not layout.is_group(group)]
        if not one["access"]:
            named = True
            yield (
                f"{variable} of {who} is empty, which would be for nobody; name at least one group, or leave it away "
                f"for the group {DEFAULT}."
            )
        elif wrong:
            named = True
            yield f"{variable} of {who} has {wrong[0]!r}, which cannot be the name of a group: {NAME}."
    if engines and identities and not named:
        yield from _unreachable(engines, identities)


def _unreachable(engines: t.Mapping[str, Values], identities: t.Sequence[tuple[str, Values]]) -> t.Iterator[str]:
    known = {group for engine in engines.values() for group in engine["access"]}
    held = {group for _who, identity in identities for group in identity["access"]}
    for who, identity in identities:
        nowhere = [group for group in identity["access"] if group not in known]
        if nowhere:
            yield f"access of {who} has the group {nowhere[0]!r}, which no engine has. {unknown(nowhere[0], known)}"
    for name, engine in engines.items():
        if not held & {*engine["access"]}:
            yield (
                f"docker_engine_access of {name} is {listed(engine['access'])}, and no identity is in such a group, so "
                f"that nobody could reach this engine; identities are in {listed(sorted(held))}."
            )


def states(ca: t.Any) -> dict[str, Values]:
    """What docker_ca_info says of the CA of each group."""
    found: dict[str, Values] = {DEFAULT: ca if isinstance(ca, t.Mapping) else {}}
    groups = found[DEFAULT].get("groups") or []
    found.update((str(one.get("name")), one) for one in groups if isinstance(one, t.Mapping))
    return found


def issued(ca: t.Any) -> list[tuple[str, Values]]:
    """Every certificate that was signed, with the group whose CA has done it."""
    return [
        (group, entry)
        for group, state in states(ca).items()
        for entry in state.get("issued") or []
        if isinstance(entry, t.Mapping)
    ]


def still_counts(entry: Values) -> bool:
    """Whether a certificate of a record was not revoked and has not ended."""
    days = entry.get("days_left")
    return not entry.get("revoked") and isinstance(days, int) and days >= 0


def is_accepted(entry: Values, usage: str = "") -> bool:
    """Whether a certificate, of a usage, still counts and its CA is one that engines and clients trust."""
    return bool(entry.get("issuer")) and usage in ("", entry.get("usage")) and still_counts(entry)


def known_cas(plan: Plan, ca: Values) -> str:
    """In PEM, the CAs that an engine may leave: those that were replaced, and those of groups that it may have left."""
    if not plan["ca"]["groups"] and not ca.get("groups"):
        return str(ca.get("retired") or "")
    return "".join(str(state.get(key) or "") for state in states(ca).values() for key in ("retired", "bundle"))


def cas_of_clients(plan: Plan, ca: Values) -> dict[str, str]:
    """By group but `default`, the CA that signs for its clients; empty while there is none."""
    found = states(ca)
    return {group: str(found.get(group, {}).get("bundle") or "") for group in plan["ca"]["groups"]}


def rotated(plan: Plan, ca: Values, of_ca: Values) -> list[str]:
    """The groups whose CAs this run replaces; ``of_ca`` are the variables of the CA host, with what was revoked.

    A rotation that was begun because it was due goes on for the same groups, by their phases.
    """
    if plan["playbook"] == "revoke_client":
        kept = (plan["revoke"]["groups"] or [DEFAULT]) if plan["revoke"]["kept"] else []
        return sorted({*kept, *(of_ca.get("docker_ca_still_valid_groups") or ())})
    return list(plan["rotate"]["groups"]) or due(plan, ca)


def due(plan: Plan, ca: Values) -> list[str]:
    """The groups whose CA ends soon, or whose rotation was interrupted."""
    used = [DEFAULT, *plan["ca"]["groups"]]
    return [group for group, state in states(ca).items() if group in used and _is_due(plan, state)]


def _is_due(plan: Plan, ca: Values) -> bool:
    if ca.get("phase") not in ("none", None):
        return True
    signing: Values = next((one for one in ca.get("certificates") or [] if one.get("role") == "signing"), {})
    return bool(signing) and int(signing["days_left"]) < plan["ca"]["minimum_days"]


def phases(plan: Plan, ca: Values, of_ca: Values) -> list[str]:
    """The phases in which the CAs of a rotation are."""
    found = states(ca)
    return sorted({str(found[group].get("phase")) for group in rotated(plan, ca, of_ca) if group in found})


def concerned(plan: Plan, kind: str, name: str, names: t.Collection[str]) -> bool:
    """Whether an engine or a client host has to follow when the CAs of these groups are replaced."""
    planned = plan[kind][name]
    members = [planned] if kind == "engines" else planned["identities"]
    return DEFAULT in names or any({*access_of(one)} & {*names} for one in members)


def outlasted(plan: Plan, ca: Values) -> str:
    """For the report: whose day is over, and who holds a certificate that was signed before that day was set."""
    ended = {one["name"] for client in plan["clients"].values() for one in client["identities"] if one["ended"]}
    found: dict[str, str] = {}
    for _group, entry in issued(ca):
        name = str(entry.get("name"))
        if name in ended and is_accepted(entry, "client"):
            found[name] = max(str(entry.get("not_after"))[:10], found.get(name, ""))
    if not found or all(engine["gateway"] for engine in plan["engines"].values()):
        return ""
    said = listed([f"{name} (until {end})" for name, end in found.items()])
    return (
        f"Engines without a gateway accept a certificate of {said}, which was signed before that end was set. "
        f"bulkhead.docker.revoke_client -e docker_revoke_name={next(iter(found))} -e docker_revoke_by_rotation=true "
        "ends that now."
    )


def still_open(plan: Plan, ca: Values) -> str:
    """For the report: who has left a group and holds a certificate of it, which the group's engines accept."""
    access: dict[str, set[str]] = {}
    for client in plan["clients"].values():
        for identity in client["identities"]:
            access.setdefault(identity["name"], set()).update(access_of(identity))
    opening = {group for engine in plan["engines"].values() for group in access_of(engine)}
    found: dict[str, dict[str, None]] = {}
    for group, entry in issued(ca):
        name = str(entry.get("name"))
        if is_accepted(entry, "client") and group in opening and group not in access.get(name, {group}):
            found.setdefault(group, {})[name] = None
    return " ".join(
        f"{listed([*names])} left the access group {group}, whose engines accept certificates of it until they end. "
        f"bulkhead.docker.rotate_ca -e docker_rotate_groups={group} ends that now."
        for group, names in found.items()
    )
