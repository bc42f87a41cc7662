# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few things that hosts tell each other in a run: sshd's port and host keys, and the public keys of identities.

Everything else of these lists comes from the plan. A host's answer is taken for that host alone.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.plugin_utils import report as _report

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]
Plan = t.Mapping[str, t.Any]
Record = dict[str, t.Any]


class HandoverError(Exception):
    """One sentence about what a host has not told in this run."""


def client_engines(plan: Plan, hostvars: Hostvars, names: t.Iterable[str] | None = None) -> list[Record]:
    """The engines as the roles docker_client and docker_verify take them."""
    found = []
    for name in plan["engines"] if names is None else names:
        engine = plan["engines"][name]
        server = _ssh_server(hostvars, name)
        found.append(
            {
                "name": name,
                "context": engine["context"],
                "address": engine["address"],
                "port": engine["port"],
                "host": engine["host"],
                "ssh_port": engine["ssh_port"] or _port(server),
                "ssh_host_keys": [line for line in map(_key, _listed(server.get("host_keys"))) if line],
            }
        )
    return found


def ssh_users(
    plan: Plan, engine: str, hostvars: Hostvars | None = None, revoked: t.Collection[str] = ()
) -> list[Record]:
    """The accounts of an engine: those that the inventory declares, and the identities of client hosts that use SSH.

    These get the keys that client hosts have answered in this run; without ``hostvars`` nobody was asked yet.
    """
    clients = {client: _public_keys(hostvars, client) for client in _ssh_identities(plan, revoked)} if hostvars else {}
    users = {user["name"]: dict(user) for user in plan["engines"][engine]["ssh"]["users"]}
    for client, identities in _ssh_identities(plan, revoked).items():
        for identity in identities:
            account = identity["ssh_account"]
            user = users.setdefault(account, {"name": account, "comment": f"identity {identity['name']}"})
            key = clients.get(client, {}).get((identity["name"], identity["user"]), "")
            known = list(user.get("public_keys") or [])
            user["public_keys"] = [*known, key] if key else known
    return list(users.values())


def _ssh_identities(plan: Plan, revoked: t.Collection[str]) -> dict[str, list[Record]]:
    """By client host, the identities that log in to engines from there."""
    found = {
        client: [identity for identity in planned["identities"] if identity["name"] not in revoked]
        for client, planned in plan["clients"].items()
        if "ssh" in planned["transports"] and client not in plan["rotate"]["exclude"]
    }
    return {client: identities for client, identities in found.items() if identities}


def _public_keys(hostvars: Hostvars, client: str) -> dict[tuple[str, str], str]:
    """By identity and OS user, what the client host answered in this run."""
    answer = hostvars[client].get("docker_client_ssh")
    if not isinstance(answer, t.Mapping):
        raise HandoverError(
            f"The client host {client} was not asked for its SSH keys in this run, so that its users would lose "
            "access. Let the run reach it as well, or take it out of the client hosts."
        )
    found = {}
    for result in _listed(answer.get("results")):
        item = result.get("item") or {}
        for entry in _listed(result.get("public_keys")):
            found[(str(entry.get("name")), str(item.get("user") or ""))] = _key(entry.get("public_key"))
    return found


def _ssh_server(hostvars: Hostvars, name: str) -> t.Mapping[str, t.Any]:
    """Port and host keys of an engine's sshd, as the last of these has read them over Ansible's connection."""
    variables = hostvars.get(name, {})
    gathered = [variables.get(result) or {} for result in ("docker_engine_change", "docker_engine_preview")]
    answers = [variables.get("docker_ssh_server"), *(result.get("ssh_server") for result in gathered)]
    return next((answer for answer in answers if isinstance(answer, t.Mapping) and answer.get("host_keys")), {})


def _port(server: t.Mapping[str, t.Any]) -> int | None:
    port = server.get("port")
    return port if type(port) is int and 0 < port < 65536 else None


def _listed(value: t.Any) -> list[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _key(line: t.Any) -> str:
    """The public key as one line without its comment; '' where it is none."""
    try:
        (key,) = _users.public_keys([str(line or "")], "public key")
    except (_users.UserError, ValueError):
        return ""
    return f"{key.kind} {key.blob}"


def results(plan: Plan, hostvars: Hostvars) -> dict[str, Record]:
    """What is known of every host at the end of a run, as docker_report takes it: engines, clients and the CA."""
    return {
        "engines": {
            name: _engine_result(hostvars.get(name, {}), name in plan["remove"]["engines"])
            for name in plan["engines"]
            if _was_asked(hostvars.get(name, {}), "docker_engine_")
        },
        "clients": {
            name: _client_result(hostvars.get(name, {}))
            for name in plan["clients"]
            if _was_asked(hostvars.get(name, {}), "docker_client_")
        },
        "ca": _ca_result(hostvars.get(plan["ca"]["host"], {})),
    }


_ENGINE_RESULTS = ("docker_engine_removed", "docker_engine_change", "docker_engine_report", "docker_engine_preview")
_VERIFIED = ("docker_verify_endpoint_findings", "docker_verify_findings")
_CLIENT_RESULTS = ("docker_client_removed", "docker_client_contexts", "docker_client_ssh")


def _was_asked(variables: t.Mapping[str, t.Any], prefix: str) -> bool:
    names = (*_ENGINE_RESULTS, *_CLIENT_RESULTS, "docker_client_report")
    return "docker_failure" in variables or any(name in variables for name in names if name.startswith(prefix))


def _engine_result(variables: t.Mapping[str, t.Any], removed: bool) -> Record:
    answers = [variables[name] for name in _ENGINE_RESULTS if _answered(variables.get(name))]
    last: t.Mapping[str, t.Any] = answers[0] if answers else {}
    failure = variables.get("docker_failure") or (last.get("msg") if last.get("failed") else "")
    certificate = last.get("certificate") or {}
    waits = last.get("would_change") and not last.get("changed")
    found = (last.get("findings"), *(variables.get(name) for name in _VERIFIED))
    return {
        "reachable": not any(variables.get(name, {}).get("unreachable") for name in _ENGINE_RESULTS),
        "failed": failure or "",
        "changed": bool(last.get("changed") or variables.get("docker_ssh_server", {}).get("changed")),
        "version": last.get("version") or (last.get("engine") or {}).get("version"),
        "days_left": None if removed else certificate.get("days_left"),
        "findings": [finding for listed in found for finding in _listed(listed)],
        "reasons": [] if removed or not waits else _listed(last.get("certificate_reasons") or last.get("reasons")),
    }


def _client_result(variables: t.Mapping[str, t.Any]) -> Record:
    report = variables.get("docker_client_report") or {}
    answers = [answer for name in _CLIENT_RESULTS for answer in _loop_results(variables.get(name))]
    unreachable = [answer for answer in answers if answer.get("unreachable")]
    contexts = _loop_results(variables.get("docker_client_contexts"))
    return {
        "reachable": not unreachable,
        "failed": variables.get("docker_failure") or "",
        "changed": any(answer.get("changed") is True for answer in answers),
        "contexts": sum(len(_listed(answer.get("contexts"))) for answer in contexts) if contexts else None,
        "identities": _listed(report.get("identities")),
        "findings": _listed(report.get("failures")),
    }


def _ca_result(variables: t.Mapping[str, t.Any]) -> Record:
    state = variables.get("docker_ca_state") or {}
    signing = [entry for entry in _listed(state.get("certificates")) if entry.get("role") == "signing"]
    return {key: signing[0].get(key) for key in ("common_name", "days_left")} if signing else {}


def _answered(value: t.Any) -> bool:
    return isinstance(value, t.Mapping) and not value.get("skipped")


def _loop_results(value: t.Any) -> list[t.Any]:
    entries = _listed(value.get("results")) if isinstance(value, t.Mapping) else []
    return [entry for entry in entries if _answered(entry)]


def failure(result: t.Any) -> str:
    """The sentence of a task that failed, or of those of its loop that did; '' where another host's task failed."""
    result = result if isinstance(result, t.Mapping) else {}
    entries = [entry for entry in _loop_results(result) if isinstance(entry, t.Mapping) and entry.get("failed") is True]
    said = [_report.clean(entry.get("msg")) or "no error message" for entry in entries or [result] if entry]
    return "; ".join(dict.fromkeys(said))


def not_restored(plan: Plan, hostvars: Hostvars) -> list[str]:
    """Engines that this run has not given back for certain."""
    removed = {name: hostvars.get(name, {}).get("docker_engine_removed") for name in plan["engines"]}
    return [
        name
        for name, answer in removed.items()
        if not isinstance(answer, t.Mapping)
        or answer.get("failed")
        or answer.get("unreachable")
        or type(answer.get("changed")) is not bool
    ]


def left_over(plan: Plan, hostvars: Hostvars) -> list[str]:
    """In a rotation: the hosts that have not followed into the CA's phase, each with the reason."""
    found = []
    known = results(plan, hostvars)
    for kind in ("engines", "clients"):
        for name in plan[kind]:
            if name not in plan["rotate"]["exclude"]:
                reason = _behind(known[kind].get(name), hostvars.get(name, {}), kind)
                found += [f"{name}: {reason}"] if reason else []
    return found


def _behind(result: Record | None, variables: t.Mapping[str, t.Any], kind: str) -> str:
    if result is None:
        return "it was not asked"
    if not result["reachable"]:
        return "it cannot be reached"
    if result["failed"]:
        return str(result["failed"]).rstrip(".")
    if kind == "engines":
        preview = variables.get("docker_engine_preview") or {}
        reasons = [*_listed(preview.get("certificate_reasons")), *_listed(preview.get("reasons"))]
        return ("; ".join(map(str, reasons)) or "it would change again") if preview.get("would_change") else ""
    identities = [entry for entry in result["identities"] if isinstance(entry, t.Mapping)]
    late = [str(entry.get("name")) for entry in identities if entry.get("reasons") or entry.get("ca_outdated")]
    return f"its identities {', '.join(late)} are not issued yet" if late else "; ".join(map(str, result["findings"]))
