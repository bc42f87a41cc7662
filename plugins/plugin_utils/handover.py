# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few things that hosts tell each other in a run: sshd's port and host keys, and the public keys of identities.

Everything else of these lists comes from the plan. A host's answer is taken for that host alone.
"""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.plugin_utils import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]
Plan = t.Mapping[str, t.Any]
Record = dict[str, t.Any]


# Where the public keys of a client host are: as the run has made them, or as they were before it changed anything.
_MADE, _GATHERED = "docker_client_ssh", "docker_client_ssh_gathered"


class HandoverError(Exception):
    """One sentence about what a host has not told in this run."""


def client_engines(plan: Plan, hostvars: Hostvars, names: t.Iterable[str] | None = None) -> list[Record]:
    """The engines as the roles docker_client and docker_verify take them."""
    found = []
    connects = any("ssh" in client["transports"] for client in plan["clients"].values())
    for name in plan["engines"] if names is None else names:
        engine = plan["engines"][name]
        # Ansible puts all variables of a host together to say what it has answered.
        server = _ssh_server(hostvars, name) if connects or engine["ssh"]["users"] else {}
        found.append(
            {
                "name": name,
                "context": engine["context"],
                "address": engine["address"],
                "port": engine["port"],
                "host": engine["host"],
                "access": groups.access_of(engine),
                "ssh": engine["ssh"]["enabled"],
                "ssh_port": engine["ssh_port"] or _port(server),
                "ssh_host_keys": host_keys(server),
            }
        )
    return found


def ca_refusal(plan: Plan, gathered: t.Any) -> str:
    """Why a run cannot use the CA as docker_ca_info has found it; '' where it can.

    A CA to take over is refused before any other host is compared with it. In a rotation it is the successor, and the
    role says what stands against that.
    """
    answer: t.Mapping[str, t.Any] = gathered if isinstance(gathered, t.Mapping) else {}
    ca, said = plan["ca"], str(answer.get("msg") or "no reason given").rstrip(".")
    if answer.get("unreachable"):
        return (
            f"The CA host {ca['host']} cannot be reached: {said}. Nothing was changed. Bring it back, or correct "
            "docker_ca_host."
        )
    if answer.get("failed") or "elsewhere" not in answer:
        return f"{said}."
    if answer["elsewhere"] and not ca["issue_tasks"]:
        return (
            f"The key of the CA in {ca['dir']} on {ca['host']} is elsewhere. Set docker_ca_issue_tasks for that host, "
            "or name the directory of another CA in docker_ca_dir. Nothing was changed."
        )
    unread = [str(one) for state in groups.states(answer).values() for one in _listed(state.get("record_problems"))]
    if unread and plan["playbook"] in ("site", "rotate_ca", "remove"):
        return (
            f"The CA's record in {ca['dir']} on {ca['host']} is damaged, so that this run does not know whom it would "
            f"shut out: {' '.join(unread)} Bring that back from a backup, or take out what cannot be read. Nothing was "
            "changed."
        )
    existing = answer.get("existing")
    problems = _listed(existing.get("problems")) if isinstance(existing, t.Mapping) else []
    if not problems or (plan["playbook"] != "site" and not ca["issue_tasks"]):
        return ""
    key = "" if ca["issue_tasks"] else " and docker_ca_existing_private_key"
    return (
        f"The CA to take over on {ca['host']} cannot be used. {' '.join(map(str, problems))} Correct "
        f"docker_ca_existing_certificate{key}. Nothing was changed."
    )


def engine_options(plan: Plan, engine: str, ca: t.Mapping[str, t.Any], host_names: t.Iterable[str] = ()) -> Record:
    """What an engine shall be, as docker_daemon_config takes it.

    ``host_names`` are those of its certificate that the host itself has told, where the inventory trusts it.
    """
    planned = plan["engines"][engine]
    return {
        "listen": planned["listen"],
        "port": planned["port"],
        "daemon_options": planned["daemon_options"],
        "ca_certificate": engine_bundle(plan, ca, engine),
        "retired_cas": groups.known_cas(plan, ca),
        "replace_ca": planned["replace_ca"],
        "certificate_path": planned["certificate_path"] or None,
        "private_key_path": planned["private_key_path"] or None,
        "server_ca": engine_server_ca(plan, ca, engine),
        "names": list(dict.fromkeys([*planned["names"], *host_names])),
        "key_type": planned["key_type"],
        "key_size": planned["key_size"],
        "renew_days": planned["renew_days"],
        "renew_force": planned["renew_force"],
        "gateway": engine_gateway(plan, engine, ca) or None,
        "gateway_stays": plan["playbook"] == "engines",  # which knows no client host
        "allow_container_restart": planned["allow_container_restart"],
        "timeout": planned["restart_timeout"],
    }


def engine_gateway(plan: Plan, engine: str, ca: t.Mapping[str, t.Any]) -> Record:
    """The gateway of an engine as docker_daemon_config takes it, without whom the CA has revoked.

    Empty for an engine without one.
    """
    gateway = plan["engines"][engine]["gateway"]
    if not gateway:
        return {}
    revoked = ca.get("revoked") or ()
    identities = gateway.get("identities")
    known: Record = {"revoked": sorted(map(str, revoked))}
    if identities is not None:
        logins = _accounts.logins(plan["clients"], plan["engines"][engine])
        accounts = [one for one in gateway["accounts"] if not logins.get(one["name"], set()) & {*revoked}]
        known = {"identities": [one for one in identities if one["name"] not in revoked], "accounts": accounts}
    return {**gateway, **known, **_of_groups(plan, engine, ca)}


def _of_groups(plan: Plan, engine: str, ca: t.Mapping[str, t.Any]) -> Record:
    """The revocation lists of the CAs that an engine trusts, and with access groups which CA is whose."""
    access, states = groups.access_of(plan["engines"][engine]), groups.states(ca)
    lists = "".join(str(states.get(group, {}).get("revocation_lists") or "") for group in access)
    if access == [groups.DEFAULT]:
        return {"revocation_lists": lists}
    cas = _cas(plan, ca)
    return {
        "revocation_lists": lists,
        "groups": [{"name": group, "ca_certificate": cas[group]} for group in access],
    }


def engine_bundle(plan: Plan, ca: t.Mapping[str, t.Any], engine: str = "") -> str:
    """What an engine trusts, of what docker_ca_info says: the CAs of its groups, and an issuing CA alone.

    Empty as long as one of these CAs is still to be made. Without an engine: the CA that signs for servers.
    """
    access = plan["engines"][engine]["access"] if engine else [groups.DEFAULT]
    cas = _cas(plan, ca)
    bundles = [cas[group] for group in access]
    return "".join(bundles) if all(bundles) else ""


def _cas(plan: Plan, ca: t.Mapping[str, t.Any]) -> dict[str, str]:
    """By access group, what an engine trusts for it."""
    return {**groups.cas_of_clients(plan, ca), groups.DEFAULT: _bundle(plan, ca, "bundle")}


def engine_server_ca(plan: Plan, ca: t.Mapping[str, t.Any], engine: str) -> str:
    """The CAs that an engine's own certificate comes from, where these are not the ones whose clients it lets in."""
    planned = plan["engines"][engine]
    has_one_ca = planned["access"] == [groups.DEFAULT]
    return str(planned["server_ca"] or ("" if has_one_ca else _bundle(plan, ca, "bundle")))


def client_bundle(plan: Plan, ca: t.Mapping[str, t.Any]) -> str:
    """What clients trust: the root of an issuing CA, too, and the CAs of certificates that something else keeps."""
    return _bundle(plan, ca, "client_bundle") + str(plan["server_cas"])


def _bundle(plan: Plan, ca: t.Mapping[str, t.Any], kind: str) -> str:
    """Before `site` takes a CA over, what will be trusted then: hosts are compared with that in the first pass."""
    existing = ca.get("existing")
    takes_over = plan["playbook"] == "site" or not ca.get("bundle")
    coming = existing if isinstance(existing, t.Mapping) and takes_over else {}
    return str(coming.get(kind) or ca.get(kind) or "")


def host_keys(server: t.Mapping[str, t.Any]) -> list[str]:
    """The lines of an engine's answer that are keys, without anything around them."""
    return [line for line in map(_key, _listed(server.get("host_keys"))) if line]


def ssh_users(
    plan: Plan, engine: str, hostvars: Hostvars | None = None, revoked: t.Collection[str] = ()
) -> list[Record]:
    """The accounts of an engine: those that the inventory declares, and the identities of client hosts that use SSH.

    These get the keys that client hosts have answered in this run; without ``hostvars`` nobody was asked yet. The
    account of an identity that was revoked is left out, also where the inventory declares it. In a revocation it is
    the accounts of the identity alone. Accounts of the inventory where nobody is left are absent, whatever is kept.
    """
    if not plan["engines"][engine]["ssh"]["enabled"]:
        return []
    only = [*itertools.chain(*plan["revoke"]["accounts"].values())] if plan["playbook"] == "revoke_client" else None

    def is_meant(account: str) -> bool:
        return only is None or account in only

    ours = {
        client: [
            one for one in identities if groups.opens(one, plan["engines"][engine]) and is_meant(one["ssh_account"])
        ]
        for client, identities in _ssh_identities(plan, revoked).items()
    }
    ours = {client: identities for client, identities in ours.items() if identities}
    clients = {client: _public_keys(hostvars, client) for client in ours} if hostvars else {}
    users = {user["name"]: dict(user) for user in _declared(plan, engine, revoked) if is_meant(user["name"])}
    for client, identities in ours.items():
        for identity in identities:
            account = identity["ssh_account"]
            user = users.setdefault(account, {"name": account, "comment": f"identity {identity['name']}"})
            user.update({"expires": identity["expires"]} if identity["expires"] else {})
            key = clients.get(client, {}).get((identity["name"], identity["user"]), "")
            user["scope"] = user.get("scope") or identity["scope"]
            keys = list(user.get("public_keys") or [])
            user["public_keys"] = [*keys, key] if key else keys
    known = _known_accounts(plan) if only is None else only
    return [*users.values(), *({"name": name, "state": "absent"} for name in known if name not in users)]


def _known_accounts(plan: Plan) -> list[str]:
    """Those of the identities of all client hosts that take part."""
    if plan["playbook"] != "site":
        return []
    left_out = {name: client for name, client in plan["clients"].items() if name in plan["rotate"]["exclude"]}
    return sorted({*_accounts.logins(plan["clients"])} - {*_accounts.logins(left_out)})


def revoked_accounts(plan: Plan, engine: str) -> list[str]:
    """In a revocation, the accounts that an engine has for nobody else: these go first, and need nobody's keys."""
    revoke, record = plan["revoke"], plan["engines"][engine]
    others = _accounts.logins(plan["clients"], record)
    staying = _accounts.with_own_keys(record["ssh"]["users"])
    staying |= {account for account, names in others.items() if names - {revoke["name"]}}
    shared = [account for account in revoke["accounts"]["shared"] if account not in staying]
    return [*revoke["accounts"]["own"], *shared]


def _declared(plan: Plan, engine: str, revoked: t.Collection[str]) -> list[Record]:
    declared = plan["engines"][engine]["ssh"]["users"]
    ended = _accounts.ended(revoked, _accounts.logins(plan["clients"]), [user["name"] for user in declared])
    still = [user["name"] for user in declared if user["name"] in ended and user.get("state") != "absent"]
    if still and plan["playbook"] == "site":
        name = ended[still[0]]
        raise HandoverError(
            f"docker_ssh_users of {engine} has {', '.join(still)}, and {name} was revoked on the CA host. Take the "
            "account out of the list, or take the mark away with the playbook bulkhead.docker.revoke_client, "
            f"-e docker_revoke_name={name} -e docker_revoke_state=absent."
        )
    gone = {*still, *_nobody_s_accounts(plan, plan["engines"][engine])}
    return [user for user in declared if user["name"] not in gone]


def _nobody_s_accounts(plan: Plan, engine: Record) -> set[str]:
    """Those that have no keys of their own, and whose identities have all ended or do not open the engine."""
    clients, own = plan["clients"], _accounts.with_own_keys(engine["ssh"]["users"])
    return {*_accounts.logins(clients)} - {*_accounts.logins(clients, engine)} - own


def has_all_keys(plan: Plan, client: str, variables: t.Mapping[str, t.Any], revoked: t.Collection[str]) -> bool:
    """Whether every identity of a client host had its SSH key before the run changed anything."""
    known = _known_keys({client: variables}, client, [_GATHERED])
    wanted = _ssh_identities(plan, revoked).get(client, [])
    return known is not None and all(known.get((entry["name"], entry["user"])) for entry in wanted)


def has_new_keys(plan: Plan, hostvars: Hostvars, revoked: t.Collection[str]) -> bool:
    """Whether a client has other SSH keys by now than before the run changed anything, or was not asked for them."""
    for client in _ssh_identities(plan, revoked):
        before = _known_keys(hostvars, client, [_GATHERED])
        if before is None or before != _known_keys(hostvars, client, [_MADE, _GATHERED]):
            return True
    return False


def public_key_problems(asked: t.Sequence[tuple[str, str]], told: t.Any, check_mode: bool) -> list[str]:
    """What is wrong with the public keys that a client host answers for identities and their accounts.

    In check mode there may be no key yet.
    """
    entries = [entry for entry in _listed(told) if isinstance(entry, t.Mapping)]
    if [(entry.get("name"), entry.get("account")) for entry in entries] != list(asked):
        return ["it has other identities or accounts than were asked for"]
    found = []
    for entry in entries:
        text = str(entry.get("public_key") or "")
        if text or not check_mode:
            try:
                _users.public_key(text, str(entry["name"]))
            except _users.UserError as error:
                found.append(str(error).rstrip("."))
    return found


def _ssh_identities(plan: Plan, revoked: t.Collection[str]) -> dict[str, list[Record]]:
    """By client host, the identities that log in to engines from there."""
    found = {
        client: [one for one in planned["identities"] if one["name"] not in revoked and not one["ended"]]
        for client, planned in plan["clients"].items()
        if "ssh" in planned["transports"] and client not in plan["rotate"]["exclude"]
    }
    return {client: identities for client, identities in found.items() if identities}


def _public_keys(hostvars: Hostvars, client: str) -> dict[tuple[str, str], str]:
    """By identity and OS user, what the client host answered in this run."""
    known = _known_keys(hostvars, client, [_MADE, _GATHERED])
    if known is None:
        raise HandoverError(
            f"The client host {client} was not asked for its SSH keys in this run, so that its users would lose "
            "access. Let the run reach it as well, or take it out of the client hosts."
        )
    return known


def _known_keys(hostvars: Hostvars, client: str, answers: t.Sequence[str]) -> dict[tuple[str, str], str] | None:
    """The same, by the first of these answers that there is; None without one. Users who failed have no key."""
    given = [one for one in (hostvars[client].get(name) for name in answers) if isinstance(one, t.Mapping)]
    answer = next((one for one in given if not one.get("skipped")), given[0] if given else None)
    if answer is None:
        return None
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
    return port if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536 else None


def _listed(value: t.Any) -> list[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _key(line: t.Any) -> str:
    """The public key as one line without its comment; '' where it is none."""
    try:
        (key,) = _users.public_keys([str(line or "")], "public key")
    except (_users.UserError, ValueError):
        return ""
    return f"{key.kind} {key.blob}"
