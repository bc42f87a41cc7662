# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role docker_verify has the verifying host ask, and what its answer says about one engine."""

from __future__ import annotations

import typing as t

Values = t.Mapping[str, t.Any]


def endpoints(
    engines: t.Iterable[Values], plain_ports: t.Sequence[int] = (), account: str = ""
) -> list[dict[str, t.Any]]:
    """The endpoints of docker_ssh_endpoint_info where there is an account, and else those of docker_endpoint_info."""
    if not account:
        return [
            {"name": engine["name"], "docker_host": engine["host"], "plain_ports": list(plain_ports)}
            for engine in engines
        ]
    return [
        {
            "name": engine["name"],
            "address": engine["address"],
            "account": account,
            **({"port": engine["ssh_port"]} if engine.get("ssh_port") else {}),
        }
        for engine in engines
        if engine.get("ssh", True)
    ]


def findings(answer: t.Any, name: str, host: str) -> list[str]:
    """An answer that says nothing about the engine is a finding about it, whatever else it says."""
    answer = answer if isinstance(answer, dict) else {}
    failed = answer.get("failed") or answer.get("unreachable")
    listed = answer.get("endpoints")
    mine = [
        entry
        for entry in (listed if isinstance(listed, list) and not failed else [])
        if isinstance(entry, dict) and entry.get("name") == name
    ]
    found = mine[0].get("findings") if len(mine) == 1 else None
    if isinstance(found, list) and all(isinstance(text, str) for text in found) and mine[0].get("ok") is (not found):
        return list(found)
    reason = str(answer.get("msg") or "").strip().rstrip(".")
    return [f"the verifying host {host} gave no answer for {name}" + (f": {reason}" if reason else "")]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"docker_verify_endpoints": endpoints, "docker_verify_findings": findings}
