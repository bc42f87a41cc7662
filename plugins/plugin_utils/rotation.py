# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a renewal replaces the CA, which nobody watches: it begins where nobody would be shut out, and else says why.

The record of the CA tells whether the inventory of this run has all engines and clients.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups, record
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import listed

Plan = t.Mapping[str, t.Any]
Values = t.Mapping[str, t.Any]


def rotation(plan: Plan, ca: Values, unanswered: t.Sequence[str]) -> dict[str, t.Any]:
    """``ca`` is what docker_ca_info said about the CA, ``unanswered`` the hosts that did not answer and why."""
    is_due = plan["playbook"] == "renew" and plan["ca"]["rotate_when_due"] and bool(groups.due(plan, ca))
    obstacles = _obstacles(plan, ca, unanswered) if is_due else []
    return {"is_due": is_due, "obstacles": obstacles, "begins": is_due and not obstacles}


def _obstacles(plan: Plan, ca: Values, unanswered: t.Sequence[str]) -> list[str]:
    """Each without the period of a sentence."""
    rotated = groups.due(plan, ca)
    found = [str(one).rstrip(".") for state in groups.states(ca).values() for one in state.get("problems") or []]
    found += filter(None, [record.without_hosts(ca)])
    if plan["limit"]:
        found.append("--limit leaves hosts out, and a CA is replaced for all of them; run it without")
    if plan["rotate"]["exclude"]:
        found.append(f"docker_rotate_exclude leaves out {listed(plan['rotate']['exclude'])}; take the variable away")
    kept = [name for name, of in plan["rotate"]["kept"].items() if {*of} & {*rotated}]
    if kept:
        found.append(
            f"something else installs the certificates of {listed(kept)}, which have to follow; run "
            "bulkhead.docker.rotate_ca yourself when they can"
        )
    found += unanswered
    unknown = record.unknown(plan, ca, rotated)
    strangers = [
        *(f"the client {name}" for name in sorted(unknown["identities"])),
        *(
            f"{listed(held)} on the client host {host}"
            for host, identities in unknown["clients"].items()
            if (held := [name for name, transports in identities.items() if "tls" in transports])
        ),
        *(f"the server {name}" for name in sorted(unknown["engines"])),
    ]
    if strangers:
        found.append(
            f"the CA's record has {listed(strangers)}, which this run's inventory does not have; bring it back, revoke "
            "it or remove it, or run bulkhead.docker.rotate_ca yourself, which shuts it out"
        )
    if unknown["exports"]:
        found.append(
            f"the identities {listed(sorted(unknown['exports']))} were exported and would end with the CA; run "
            "bulkhead.docker.rotate_ca yourself, and export them again afterwards"
        )
    return found
