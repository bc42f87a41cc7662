# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is shut out where docker_engine_replace_ca takes from engines a CA that this run does not know.

Names come from the inventory and from the records that are on the CA host; nobody knows whether these are all.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups, report
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import listed

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]
Plan = t.Mapping[str, t.Any]
Values = t.Mapping[str, t.Any]

_MANY = 20


def sentence(plan: Plan, hostvars: Hostvars, issued: t.Iterable[Values]) -> str:
    """For a message before the change and for the report; '' where no engine leaves a CA.

    ``issued`` are the records of all CAs whose directories are readable.
    """
    leaving = {
        name: text
        for name, engine in plan["engines"].items()
        if engine["replace_ca"] and (text := _left(hostvars.get(name, {})))
    }
    if not leaving:
        return ""
    cas = ", ".join(dict.fromkeys(leaving.values()))
    moved, left = _of_inventory(plan, hostvars)
    recorded = _recorded(plan, issued, cas)
    shut_out = [*left, *(f"{name} (in the record of the CA host)" for name in recorded["client"])]
    sentences: list[str] = []
    sentences.append(
        f"docker_engine_replace_ca takes {cas} from {listed([*leaving], _MANY)}: whoever has an identity of that CA "
        "alone is shut out of them."
    )
    sentences.append(
        f"Those that are known are {listed(shut_out, _MANY)}; there may be others."
        if shut_out
        else "Neither the inventory nor a record on the CA host names one; there may be some all the same."
    )
    if moved:
        sentences.append(f"This run gives new ones to {listed(moved, _MANY)}.")
    if recorded["server"]:
        names = listed(recorded["server"], _MANY)
        sentences.append(f"Engines in the record that this run does not reach stay with it: {names}.")
    return " ".join(sentences)


def _left(variables: Values) -> str:
    """The CA that an engine leaves, as the preview of its change says."""
    preview = variables.get("docker_engine_preview")
    return report.clean(preview.get("replaced_ca")) if isinstance(preview, t.Mapping) else ""


def _of_inventory(plan: Plan, hostvars: Hostvars) -> tuple[list[str], list[str]]:
    """The identities that this run moves to its CA, and those of client hosts that it does not reach."""
    moved, left = [], []
    for host, client in plan["clients"].items():
        if "tls" not in client["transports"]:
            continue
        if host not in plan["asked"]["clients"]:
            left += [f"{identity['name']} on {host} (not in this run)" for identity in client["identities"]]
            continue
        answer = hostvars.get(host, {}).get("docker_client_report")
        told = answer.get("identities") if isinstance(answer, t.Mapping) else None
        moved += [
            f"{report.clean(entry.get('name'))} on {host}"
            for entry in (told if isinstance(told, (list, tuple)) else [])
            if isinstance(entry, t.Mapping) and entry.get("other_ca")
        ]
    return moved, left


def _recorded(plan: Plan, issued: t.Iterable[Values], cas: str) -> dict[str, list[str]]:
    """Names of these CAs' records with a certificate that is still valid, and that the inventory does not have."""
    known = {
        "server": {engine["common_name"] for engine in plan["engines"].values()},
        "client": {identity["name"] for client in plan["clients"].values() for identity in client["identities"]},
    }
    found: dict[str, set[str]] = {"server": set(), "client": set()}
    for entry in issued:
        usage, name = str(entry.get("usage")), str(entry.get("name"))
        is_of_it = groups.still_counts(entry) and f"{entry.get('issuer_subject')} (SHA-256 " in cas
        if is_of_it and usage in known and name not in known[usage]:
            found[usage].add(name)
    return {usage: sorted(names) for usage, names in found.items()}
