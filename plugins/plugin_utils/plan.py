# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a run: engines, clients, the CA host, and what each is to be. Nothing that a host answers is in it."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names as _names
from ansible_collections.bulkhead.docker.plugins.plugin_utils import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.plugin_utils import checks as _checks
from ansible_collections.bulkhead.docker.plugins.plugin_utils import clients as _clients
from ansible_collections.bulkhead.docker.plugins.plugin_utils import delivery as _delivery
from ansible_collections.bulkhead.docker.plugins.plugin_utils import engines as _engines
from ansible_collections.bulkhead.docker.plugins.plugin_utils import gateways as _gateways
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups as _groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Inventory, Reader, listed, unknown

Plan = dict[str, t.Any]
Values = t.Mapping[str, t.Any]

_CONTROL_NODE = "localhost"
_TO_CLIENTS = ("site", "renew", "rotate_ca", "revoke_client")  # which give client hosts something, or take it away
_WITHOUT_CA_HOST = " and, where the inventory has not that host, how it is reached in docker_ca_connection"


class PlanError(Exception):
    """Everything that is wrong with the inventory and the variables, one sentence each."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def make(inventory: Inventory, playbook: str, rotates: bool = False, now: datetime.datetime | None = None) -> Plan:
    """The plan, or PlanError with all that stands against it. A playbook that ``rotates`` becomes rotate_ca.

    It is as of ``now``, all through the run.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    if playbook not in _variables.PLAYBOOKS:
        raise PlanError([f"The playbook {playbook!r} is none of {', '.join(_variables.PLAYBOOKS)}."])
    of_slice = _checks.sliced_template(inventory.extra)
    if of_slice and playbook != "engines":
        raise PlanError([_checks.no_slice(of_slice, playbook)])
    if playbook != "engines" and _checks.relaunched_job(inventory.extra):
        raise PlanError([_checks.relaunched(playbook)])
    reader = Reader(inventory)
    reader.say(
        *_checks.extra_variables(inventory.extra, playbook), *_checks.secrets_on_command_line(inventory.command_line)
    )
    fleet = reader.fleet()
    reader.say(*_checks.ca_connection(fleet["docker_ca_connection"]))
    ca_host = _ca_host(reader, fleet["docker_ca_host"], playbook)
    was_relaunched = _checks.relaunched_job(inventory.extra)
    required = not of_slice and not was_relaunched and playbook != "change_passphrase"
    engine_names = find_engines(reader, fleet, required=required)
    if was_relaunched and not engine_names:
        reader.say(_checks.relaunched_without_engines())
    # The engines alone, in a run that may know no client at all.
    client_names = [] if playbook == "engines" else find_clients(reader, fleet)
    if playbook in _TO_CLIENTS and inventory.temporary and is_default_client(reader, fleet):
        reader.say(_checks.client_in_a_container())
    hosts = list(dict.fromkeys([_CONTROL_NODE, ca_host, *engine_names, *client_names]))
    reader.say(
        *_checks.facts(inventory, hosts),
        *_checks.inventory_variables(reader, hosts),
        *_checks.misplaced(reader, hosts, ca_host),
        *_checks.unread(reader, hosts),
    )
    force = fleet["docker_renew_force"] and not rotates
    engines = {name: _engines.engine(name, reader, force) for name in engine_names}
    clients = {name: _clients.client(name, reader, force, now) for name in client_names}
    for name, engine in engines.items():
        engine["gateway"] = _gateways.gateway(name, engine, reader, clients if playbook != "engines" else None)
    reader.say(*_gateways.problems(engines, clients), *_checks.long_names(engines, clients))
    accounts = set(_accounts.logins(clients))
    reader.say(*_engines.collisions(engines))
    for name, engine in engines.items():
        reader.say(*_engines.ssh_problems(name, engine["ssh"], accounts))
    reader.say(*_groups.problems(engines, clients), *_clients.ending_problems(clients, engines))
    groups = _groups.further(engines, clients)
    for name, client in clients.items():
        reader.say(*_clients.context_problems(name, client, engines))
    for name, engine in engines.items():
        if engine["trust_host_names"]:
            engine["foreign_names"] = _foreign_names(reader, engines, name)
    ends_ca = {"revoke_client": "docker_revoke_by_rotation", "remove": "docker_remove_ca"}.get(playbook)
    asks_record = playbook == "rotate_ca" or bool(ends_ca and fleet[ends_ca])
    rotates_groups = _rotated_groups(reader, fleet, groups, playbook)
    excluded = _excluded(reader, fleet, engine_names, client_names, asks_record)
    unconcerned = _unconcerned(engines, clients, rotates_groups) if playbook == "rotate_ca" else []
    excluded += [name for name in unconcerned if name not in excluded]
    revoke = _revoke(reader, fleet, engines, clients, playbook)
    batches = _batches(reader, fleet, [name for name in engine_names if name not in excluded])
    for number, batch in enumerate(batches, 1):
        for name in batch:
            engines[name]["batch"] = number
    for name, client in clients.items():
        client["in_run"] = name not in excluded and (inventory.in_run is None or name in inventory.in_run)
    verifier = _verifier(reader, clients, excluded, revoke, fleet["docker_verify_plain_ports"])
    verifiers = _verifiers(reader, engines, clients, excluded, revoke, verifier)
    for name, client in clients.items():
        client["evicts"] = _evicts(name, client, revoke, verifiers)
    remove = _remove(reader, fleet, engine_names, client_names, playbook, excluded)
    plan: Plan = {
        "playbook": "rotate_ca" if rotates else playbook,
        "check_mode": inventory.check_mode,
        "limit": inventory.limit,
        "ca": {**_ca(reader, ca_host, playbook, groups), "groups": groups},
        "engines": engines,
        "clients": clients,
        "verifier": verifier,
        "verifiers": verifiers,
        "batches": batches,
        "asked": _asked(playbook, engines, clients, excluded, remove, revoke),
        "remove": remove,
        "revoke": revoke,
        "rotate": {
            "exclude": excluded,
            "unconcerned": unconcerned,
            "groups": rotates_groups,
            "kept": _kept(engines, clients, excluded, revoke, rotates_groups),
        },
        "renew": {"force": force},
        "server_cas": _engines.server_cas(engines),
        "export": _delivery.export(reader, fleet, engines, clients) if playbook == "export_identity" else {},
        "deploy": _delivery.deploy(reader, fleet, engines, clients) if playbook == "deploy" else {},
        "ssh_clients": _ssh_clients(reader, clients),
        "report_path": fleet["docker_report_path"],
    }
    if playbook == "site" and plan["batches"]:
        reader.say(*_checks.ssh_keys_left_out(clients))
    reader.say(*_checks.issued_elsewhere(playbook, plan["ca"], revoke["by_rotation"]))
    reader.say(*_checks.limit(inventory.limit, playbook, revoke["by_rotation"], remove["ca"]))
    if inventory.in_run is not None and ca_host not in inventory.in_run:
        reader.say(*_checks.ca_host_left_out(playbook, ca_host))
    if reader.problems:
        raise PlanError(reader.problems)
    return plan


def _asked(
    playbook: str, engines: Values, clients: Values, excluded: t.Sequence[str], remove: Values, revoke: Values
) -> dict[str, list[str]]:
    """The hosts that the run has to reach. A revocation is complete when it has reached all, whatever --limit says."""
    if playbook == "revoke_client" and not revoke["by_rotation"]:
        revokes = revoke["state"] == "present"
        everybody = {"engines": engines, "clients": clients}
        return {kind: [name for name in hosts if revokes and name not in excluded] for kind, hosts in everybody.items()}
    in_run = {
        "engines": [name for name, engine in engines.items() if engine["batch"]],
        "clients": [name for name, client in clients.items() if client["in_run"]],
    }
    if playbook == "remove":
        return {kind: [name for name in names if name in remove[kind]] for kind, names in in_run.items()}
    return (
        {**in_run, "clients": []}
        if playbook in ("verify", "change_passphrase", "export_identity", "deploy")
        else in_run
    )


def find_engines(reader: Reader, fleet: Values, required: bool) -> list[str]:
    pattern = fleet["docker_engine_hosts"]
    names = _selected(reader, pattern)
    if not names and required:
        reader.say(
            f"The inventory has no hosts in '{pattern}'. Put the hosts whose Docker engine is to be secured into a "
            "group docker_engines, or name another group or pattern in docker_engine_hosts."
        )
    return names


def _selected(reader: Reader, pattern: str) -> list[str]:
    """The hosts of a group or pattern; a group that is not there is no reason for Ansible to warn."""
    missing = pattern in ("docker_engines", "docker_clients") and pattern not in reader.inventory.groups
    return [] if missing else list(reader.inventory.select(pattern))


def find_clients(reader: Reader, fleet: Values) -> list[str]:
    pattern = fleet["docker_client_hosts"]
    names = _selected(reader, pattern)
    if names:
        return names
    if is_default_client(reader, fleet):
        return [_CONTROL_NODE]
    reader.say(
        f"The inventory has no hosts in '{pattern}'. Put the client hosts into that group, name others in "
        "docker_client_hosts, or remove the group docker_clients so that the control node is the client."
    )
    return []


def is_default_client(reader: Reader, fleet: Values) -> bool:
    """Whether the control node is the client host because nobody has named one."""
    return fleet["docker_client_hosts"] == "docker_clients" and "docker_clients" not in reader.inventory.groups


def _ca_host(reader: Reader, name: str, playbook: str) -> str:
    by_connection = _WITHOUT_CA_HOST if playbook == "engines" else ""
    if name:
        if name != _CONTROL_NODE and list(reader.inventory.select(name)) != [name]:
            known = {host for group in reader.inventory.groups.values() for host in group}
            reader.say(
                f"docker_ca_host is {name!r}, which is no host of the inventory. {unknown(name, known)} "
                f"It is one host, or localhost for the control node{by_connection}."
            )
        return name
    hosts = list(reader.inventory.groups.get("docker_ca", [_CONTROL_NODE]))
    if len(hosts) != 1:
        found = f"has {len(hosts)} hosts ({listed(hosts)})" if hosts else "is empty"
        reader.say(
            f"The group docker_ca {found}; one host keeps the CA. Correct the group, or name the host in "
            f"docker_ca_host{by_connection}."
        )
    return hosts[0] if hosts else _CONTROL_NODE


def _ca(reader: Reader, host: str, playbook: str, groups: t.Sequence[str]) -> dict[str, t.Any]:
    values = reader.host(host, _variables.CA)
    reader.say(*_checks.ca(host, values), *_checks.ca_of_groups(host, values, groups))
    if playbook == "renew":
        reader.say(*_checks.rotation_when_due(host, values))
    return {
        "host": host,
        "dir": values["docker_ca_dir"],
        "minimum_days": values["docker_ca_minimum_days"],
        "rotate_when_due": values["docker_ca_rotate_when_due"],
        "key": key_types.label(values["docker_ca_key_type"], values["docker_ca_key_size"]),
        "takes_over": bool(values["docker_ca_existing_certificate"]),
        "existing_certificate": values["docker_ca_existing_certificate"],
        "existing_private_key": values["docker_ca_existing_private_key"],
        "issue_tasks": values["docker_ca_issue_tasks"],
        "given": reader.given(host, _variables.CA),
        "has_passphrase": bool(reader.plain(host, "docker_ca_passphrase")),
    }


def _verifier(
    reader: Reader, clients: Values, excluded: t.Sequence[str], revoke: Values, plain_ports: t.Sequence[int]
) -> dict[str, t.Any]:
    """Who asks the engines from outside: the first client host, as its first identity that is not being revoked."""
    hosts = [name for name in clients if name not in excluded]
    # Whoever has ended verifies nothing, wherever there is somebody else.
    host = next((name for name in hosts if not all(one["ended"] for one in clients[name]["identities"])), "")
    if not host:
        if clients and not hosts:
            reader.say("docker_rotate_exclude names every client host; one has to be left to verify the engines.")
        elif any(clients[name]["identities"] for name in hosts):
            reader.say(
                "The day of every identity is over (expires), so that nobody could use or verify the engines. Give one "
                "a later day, or declare another one in docker_client_identities."
            )
        return {}
    client = clients[host]
    leaving = revoke["name"] if revoke["state"] == "present" else ""
    candidates = [
        _candidate(identity)
        for identity in sorted(client["identities"], key=lambda one: bool(one["scope"] != "admin"))
        if identity["name"] != leaving and not identity["ended"]
    ]
    # A rotation does not ask whoever loses an identity by it, unless nobody else could verify the engines.
    candidates.sort(key=lambda candidate: candidate["user"] in _holders(client, leaving))
    if not candidates:
        if leaving:
            reader.say(
                f"{leaving} is the only identity of {host}, from where engines are verified when they have changed. "
                "Give that host another one in docker_client_identities first, or nobody could use the engines."
            )
        return {}
    return {
        "host": host,
        **candidates[0],
        "connects_as": client["connects_as"],
        "transports": client["transports"],
        "plain_ports": plain_ports,
        "candidates": candidates,
    }


def _candidate(identity: Values) -> dict[str, t.Any]:
    return {
        "identity": identity["name"],
        "user": identity["user"],
        "folder": f"~/.bulkhead/identities/{identity['name']}",
        "account": identity["ssh_account"],
        "access": identity["access"],
    }


def _verifiers(
    reader: Reader, engines: Values, clients: Values, excluded: t.Sequence[str], revoke: Values, first: Values
) -> list[dict[str, t.Any]]:
    """The verifier, and for engines that it does not open the first identities that do."""
    if not first:
        return []
    leaving = revoke["name"] if revoke["state"] == "present" else ""
    others = [
        {"host": host, "connects_as": client["connects_as"], "transports": client["transports"], **_candidate(identity)}
        for host, client in clients.items()
        if host not in excluded
        for identity in client["identities"]
        if identity["name"] != leaving and not identity["ended"]
    ]
    others.sort(key=lambda one: one["user"] in _holders(clients[one["host"]], leaving))
    found = [{key: first[key] for key in others[0]}]
    for name, engine in engines.items():
        if name in excluded or any(_groups.opens(one, engine) for one in found):
            continue
        opener = next((one for one in others if _groups.opens(one, engine)), None)
        if opener:
            found.append(opener)
        elif leaving:
            reader.say(
                f"{leaving} is the only identity that opens {name}, which nobody could use any more. Give another "
                f"one a group of docker_engine_access of {name} first: {listed(engine['access'])}."
            )
        elif any(one["ended"] and _groups.opens(one, engine) for one in _identities(clients)):
            reader.say(
                f"The day of every identity that opens {name} is over (expires), so that nobody could use or verify "
                f"it. Give one a later day, or another one a group of its docker_engine_access: "
                f"{listed(engine['access'])}."
            )
    return found


def _identities(clients: Values) -> t.Iterator[Values]:
    for client in clients.values():
        yield from client["identities"]


def _holders(client: Values, name: str) -> set[str]:
    """The OS users of a client host who have an identity, but for the one that Ansible connects as."""
    users = {identity["user"] for identity in client["identities"] if identity["name"] == name}
    return users - {"", client["connects_as"]}


def _evicts(name: str, client: Values, revoke: Values, verifiers: t.Sequence[Values]) -> list[str]:
    """The identity whose OS users a rotation without it does not ask on a client host."""
    holders = _holders(client, revoke["name"])
    verifies = any(one["host"] == name and one["user"] in holders for one in verifiers)
    return [revoke["name"]] if revoke["by_rotation"] and not verifies else []


def _batches(reader: Reader, fleet: Values, names: t.Sequence[str]) -> list[list[str]]:
    """The engines of this run in the batches that Ansible's `serial` would make."""
    inventory = reader.inventory
    serial = fleet["docker_engine_serial"]
    if "docker_engine_serial" not in inventory.play:
        table = [variable for variable in _variables.FLEET if variable.name == "docker_engine_serial"]
        given = [reader.host(name, table)["docker_engine_serial"] for name in names if reader.given(name, table)]
        if given and any(other != given[0] for other in given):
            reader.say("docker_engine_serial differs between engines; it is one value for all of them.")
        serial = given[0] if given else serial
    present = [name for name in names if inventory.in_run is None or name in inventory.in_run]
    sizes = [_batch_size(entry, len(present)) for entry in (serial if isinstance(serial, list) else [serial])]
    if not sizes or None in sizes:
        reader.say(
            f"docker_engine_serial is {_variables.shown(serial)}; it has to be a number of engines, a percentage such "
            "as '25%', or a list of these."
        )
        return []
    return _engines.in_batches(present, [size for size in sizes if size is not None])


def _batch_size(entry: t.Any, total: int) -> int | None:
    text = str(entry).strip()
    if isinstance(entry, bool) or not re.fullmatch(r"[0-9]{1,9}%?", text):
        return None
    return max(1, int(text[:-1]) * total // 100) if text.endswith("%") else int(text)


def _remove(
    reader: Reader,
    fleet: Values,
    engines: t.Sequence[str],
    clients: t.Sequence[str],
    playbook: str,
    excluded: t.Collection[str],
) -> dict[str, t.Any]:
    words, ca = fleet["docker_remove_hosts"], fleet["docker_remove_ca"]
    if playbook != "remove":
        return {"engines": [], "clients": [], "recorded": [], "servers": [], "ca": False}
    if not words:
        reader.say(
            "Name the hosts that remote access is to be taken from: -e docker_remove_hosts=NAME, several with commas, "
            f"a group, or all. The engines are {listed(engines)}; the clients {listed(clients)}. The CA goes only with "
            "-e docker_remove_hosts=all -e docker_remove_ca=true."
        )
    selected: set[str] = set()
    recorded = []
    for word in words:
        found = {*engines, *clients} if word == "all" else {word, *reader.inventory.select(word)}
        if not found & {*engines, *clients}:
            recorded.append(word)
        selected |= found
    if ca and words != ["all"]:
        reader.say("docker_remove_ca goes only with docker_remove_hosts=all: nobody could renew the engines that stay.")
    leaving = [name for name in engines if name in selected and name not in excluded]
    return {
        "engines": leaving,
        "clients": [name for name in clients if name in selected and name not in excluded],
        # Those that the inventory has no more; the CA host may know them.
        "recorded": recorded,
        # The common names of all of these, which cannot be longer.
        "servers": [name[:64] for name in (*leaving, *recorded)],
        "ca": ca,
    }


def _revoke(reader: Reader, fleet: Values, engines: Values, clients: Values, playbook: str) -> dict[str, t.Any]:
    name, state = fleet["docker_revoke_name"], fleet["docker_revoke_state"]
    if playbook == "revoke_client" and not name:
        reader.say(
            "Name the identity: -e docker_revoke_name=NAME. A name that was revoked by mistake can be used again after "
            "-e docker_revoke_state=absent; certificates that were listed stay on the list."
        )
    elif name and not layout.is_name(name):
        reader.say(
            f"docker_revoke_name is {_variables.shown(name)}, which no identity can be called; correct the name."
        )
    identities = [identity for client in clients.values() for identity in client["identities"]]
    users = _accounts.logins(clients)
    declared = [user for engine in engines.values() for user in engine["ssh"]["users"]]
    theirs = _accounts.of_identity(name, users, [user["name"] for user in declared])
    # Declared keys name no identity, so that they stay in an account that has another name.
    with_keys = _accounts.with_own_keys(declared) - {_accounts.named_after(name)}
    shared = {account for account in theirs if users.get(account, set()) - {name} or account in with_keys}
    by_rotation = fleet["docker_revoke_by_rotation"] and bool(name) and state == "present"
    with_tls = {
        identity["name"]
        for client in clients.values()
        for identity in client["identities"]
        if "tls" in client["transports"]
    }
    return {
        "name": name,
        "state": state,
        "by_rotation": by_rotation,
        # Hosts where something else installs its certificate, which is in no record.
        "kept": [
            host
            for host, client in clients.items()
            if any(identity["name"] == name and identity["certificate_path"] for identity in client["identities"])
        ],
        "recorded": name in with_tls or (by_rotation and name not in {identity["name"] for identity in identities}),
        "groups": sorted(
            {group for identity in identities if identity["name"] == name for group in identity["access"]}
            if name in with_tls
            else ()
        ),
        "known": any(identity["name"] == name for identity in identities)
        or bool(theirs & ({user["name"] for user in declared} | set(users))),
        "accounts": {"own": sorted(theirs - shared), "shared": sorted(shared)} if name else {"own": [], "shared": []},
    }


def _ssh_clients(reader: Reader, clients: Values) -> list[str]:
    """The addresses of client hosts that use SSH. That of the control node is what an engine sees of the connection."""
    hosts = [name for name, client in clients.items() if "ssh" in client["transports"]]
    addresses = [_engines.address_of_ansible(name, reader) for name in hosts]
    return [address for address in addresses if _names.is_address(address) and address not in _engines.LOCAL]


def _foreign_names(reader: Reader, engines: Values, name: str) -> list[str]:
    """The names and addresses of all other hosts of the inventory, which this one cannot get by reporting them."""
    others = {host for hosts in reader.inventory.groups.values() for host in hosts} - {name}
    addresses = [reader.plain(host, variable) for host in others for variable in ("ansible_host", "ansible_ssh_host")]
    certificates = [entry for other, engine in engines.items() if other != name for entry in engine["names"]]
    foreign = _engines.certificate_names([*others, *addresses, *certificates])
    return sorted(set(foreign) - set(engines[name]["names"]))


def _kept(
    engines: Values, clients: Values, excluded: t.Collection[str], revoke: Values, rotated: t.Collection[str]
) -> dict[str, list[str]]:
    """Whose certificates something else installs, so that no run issues them from another CA, with their groups.

    In a rotation by hand those that ``rotated`` concerns.
    """
    leaving = revoke["name"] if revoke["state"] == "present" else ""
    found = {
        name: [_groups.DEFAULT]
        for name, engine in engines.items()
        if engine["certificate_path"] and not engine["server_ca"] and name not in excluded
    }
    found.update(
        (f"{identity['name']} on {host}", _groups.access_of(identity))
        for host, client in clients.items()
        for identity in client["identities"]
        if identity["certificate_path"]
        and "tls" in client["transports"]
        and host not in excluded
        and identity["name"] != leaving
        and not identity["ended"]
    )
    return {name: groups for name, groups in found.items() if not rotated or {*groups} & {*rotated}}


def _rotated_groups(reader: Reader, fleet: Values, groups: t.Sequence[str], playbook: str) -> list[str]:
    """Those that the operator names. A renewal and a revocation find out themselves which they replace."""
    if playbook != "rotate_ca":
        return []
    known, named = [_groups.DEFAULT, *groups], list(dict.fromkeys(fleet["docker_rotate_groups"]))
    for name in named:
        if name not in known:
            reader.say(f"docker_rotate_groups has {name!r}, which is no access group. {unknown(name, known)}")
    if not named:
        reader.say(f"docker_rotate_groups is empty; name the access groups whose CAs are replaced: {listed(known)}.")
    return named


def _unconcerned(engines: Values, clients: Values, groups: t.Sequence[str]) -> list[str]:
    """The hosts that a rotation of these groups neither changes nor waits for."""
    planned = {"engines": engines, "clients": clients}
    idle = {
        kind: {name for name in hosts if not _groups.concerned(planned, kind, name, groups)}
        for kind, hosts in planned.items()
    }
    return [
        name
        for name in dict.fromkeys([*engines, *clients])
        if all(name not in hosts or name in idle[kind] for kind, hosts in planned.items())
    ]


def _excluded(
    reader: Reader, fleet: Values, engines: t.Sequence[str], clients: t.Sequence[str], asks_record: bool
) -> list[str]:
    """``asks_record`` is whether the CA's record is asked later for the names that the inventory has not."""
    names = fleet["docker_rotate_exclude"]
    for name in names:
        if name not in engines and name not in clients and not asks_record:
            reader.say(
                f"docker_rotate_exclude has {name!r}, which is no engine and no client. "
                f"{unknown(name, [*engines, *clients])}"
            )
    return [str(name) for name in names]
