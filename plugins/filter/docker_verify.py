# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role docker_verify has the verifying host ask, and what its answer says about one engine."""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups

Values = t.Mapping[str, t.Any]


def _opens(verifier: Values, engine: Values, transport: str = "tls") -> bool:
    return groups.pair_for(verifier, engine) is not None and (transport == "tls" or engine.get("ssh", True) is True)


def endpoints(
    engines: t.Iterable[Values],
    verifier: Values,
    plain_ports: t.Sequence[int] = (),
    client_cas: str = "",
    group_cas: Values | None = None,
    refusals: bool = False,
) -> list[dict[str, t.Any]]:
    """What docker_endpoint_info asks as one of the verifiers: the engines that it opens.

    With ``refusals`` also the others, which have to refuse it.
    """
    cas = {**(group_cas or {}), groups.DEFAULT: client_cas}
    found = []
    for engine in engines:
        group, access = groups.pair_for(verifier, engine), groups.access_of(engine)
        if group is None and not refusals:
            continue
        entry = {"name": engine["name"], "docker_host": engine["host"], "plain_ports": list(plain_ports)}
        if access != [groups.DEFAULT]:
            entry["client_cas"] = "".join(str(cas.get(one) or "") for one in access)
        if group:
            folder = f"~/.bulkhead/identities/{verifier['identity']}/{group}"
            entry.update(client_cert=f"{folder}/cert.pem", client_key=f"{folder}/key.pem")
        found.append({**entry, "refused": True} if group is None else entry)
    return found


def ssh_endpoints(engines: t.Iterable[Values], verifier: Values) -> list[dict[str, t.Any]]:
    """What docker_ssh_endpoint_info asks as one of the verifiers."""
    return [
        {
            "name": engine["name"],
            "address": engine["address"],
            "account": verifier["account"] or f"docker-{verifier['identity']}",
            **({"port": engine["ssh_port"]} if engine.get("ssh_port") else {}),
        }
        for engine in engines
        if _opens(verifier, engine, "ssh")
    ]


def findings(
    answer: t.Any, engine: Values, verifier: Values, transport: str = "tls", refusals: bool = False
) -> list[str]:
    """What a verifier says about one engine that it opens, and with ``refusals`` about one that has to refuse it."""
    if transport not in verifier["transports"] or not (refusals or _opens(verifier, engine, transport)):
        return []
    return of_one(answer, engine["name"], verifier["host"])


def of_one(answer: t.Any, name: str, host: str) -> list[str]:
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
        return {
            "docker_verify_endpoints": endpoints,
            "docker_verify_findings": findings,
            "docker_verify_ssh_endpoints": ssh_endpoints,
        }
