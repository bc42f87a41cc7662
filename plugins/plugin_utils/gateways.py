# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateways of the plan: scopes, and which identity has which of them on an engine."""

from __future__ import annotations

import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import scopes
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Reader, listed, unknown

Values = t.Mapping[str, t.Any]

_FOLDER = pathlib.Path(__file__).parents[2] / "roles" / "docker_gateway" / "files" / "scopes"


def built_in_or_none(name: str) -> t.Sequence[str] | None:
    """The lines of a scope that comes with the collection."""
    file = _FOLDER / f"{name}.scope"
    return file.read_text(encoding="utf-8").splitlines() if scopes.is_name(name) and file.exists() else None


def built_in(name: str) -> t.Sequence[str]:
    return built_in_or_none(name) or ()


def gateway(
    name: str, engine: Values, reader: Reader, clients: t.Mapping[str, Values] | None
) -> dict[str, t.Any] | None:
    """The gateway of an engine; None without one. A run that knows no ``clients`` leaves identities as they are."""
    values = reader.host(name, _variables.GATEWAY)
    if not values["docker_gateway_enabled"]:
        return None
    reader.say(*_limit_problems(name, values))
    limits = {
        "max_connections": values["docker_gateway_max_connections"],
        "max_request_rate": values["docker_gateway_max_request_rate"],
    }
    if clients is None:
        return {**limits, "scopes": []}
    further = [_further(name, reader, engine, entry) for entry in values["docker_gateway_identities"]]
    over_tls = [*_of_clients(clients, engine), *further]
    accounts = _limited_accounts(name, engine, reader, clients)
    access: dict[str, set[str]] = {}
    for who, _scope_of_theirs, theirs in over_tls:
        access.setdefault(who, set()).update(theirs)
    every: dict[str, str] = {}
    over_ssh = [(one["name"], one["scope"]) for one in _over_ssh(clients, engine)]
    for who, scope in [
        *(one[:2] for one in over_tls),
        *over_ssh,
        *((one["identity"], one["scope"]) for one in accounts),
    ]:
        if every.setdefault(who, scope) != scope:
            reader.say(
                f"The identity {who!r} has the scopes {every[who]} and {scope} on {name}; docker_client_identities, "
                "docker_gateway_identities and docker_ssh_users give it one."
            )
    for who in dict.fromkeys(one[0] for one in further):
        if not layout.is_name(who):
            reader.say(
                f"docker_gateway_identities of {name} has {_variables.shown(who)}, which no identity can be called; "
                "correct the name."
            )
    made: list[dict[str, t.Any]] = []
    try:
        made = resolved(every.values(), values["docker_gateway_scopes"])
    except scopes.ScopeError as error:
        reader.say(f"On {name}: {error}")
    has_groups = groups.access_of(engine) != [groups.DEFAULT]
    return {
        **limits,
        "identities": [
            {"name": who, "scope": every[who], **({"access": sorted(theirs)} if has_groups else {})}
            for who, theirs in sorted(access.items())
        ],
        "accounts": accounts,
        "scopes": made,
    }


def _limited_accounts(
    name: str, engine: Values, reader: Reader, clients: t.Mapping[str, Values]
) -> list[dict[str, str]]:
    """The SSH accounts of an engine that have a socket of the gateway, and whose each is.

    It is one identity's alone, so that the log can say who it was; one that no identity logs in to has its own name.
    """
    declared = {user["name"]: user for user in engine["ssh"]["users"] if user["state"] != "absent"}
    logins: dict[str, dict[str, str]] = {account: {} for account in declared}
    for identity in _over_ssh(clients, engine):
        logins.setdefault(identity["ssh_account"], {})[identity["name"]] = identity["scope"]
    found = []
    for account, who in sorted(logins.items()):
        own = declared.get(account, {})
        has_keys = bool(own.get("public_keys") or own.get("principals"))
        given = own.get("scope") or (scopes.ADMIN if has_keys or not who else "")
        every = sorted({*who.values(), *filter(None, [given])})
        if every == [scopes.ADMIN]:
            continue
        holders = [*sorted(who), *(["docker_ssh_users"] if has_keys and who else [])]
        if len(holders) > 1:
            reader.say(
                f"The account {account} of {name} has a limited scope and several holders ({listed(holders)}), whom "
                "its gateway could not tell apart. Give each identity an ssh_account of its own."
            )
        elif len(every) > 1:
            reader.say(
                f"The account {account} of {name} has several scopes ({listed(every)}). Leave scope out of "
                "docker_ssh_users, and it has that of the identity which logs in."
            )
        else:
            found.append({"name": account, "identity": next(iter(who), account), "scope": every[0]})
    return found


def resolved(used: t.Iterable[str], own: t.Iterable[Values]) -> list[dict[str, t.Any]]:
    """The rules of each scope that an identity has; ``own`` are those of the site."""
    known = {entry["name"]: entry for entry in own}
    return [_scope(name, known) for name in sorted(set(used)) if name != scopes.ADMIN]


def _of_clients(clients: t.Mapping[str, Values], engine: Values) -> t.Iterator[tuple[str, str, set[str]]]:
    """Each that the engine lets in, with its scope and the groups that it has in common with the engine."""
    for client in clients.values():
        for identity in client["identities"] if "tls" in client["transports"] else ():
            common = {*groups.access_of(identity)} & {*groups.access_of(engine)}
            if common and not identity["ended"]:
                yield identity["name"], identity["scope"], common


def _over_ssh(clients: t.Mapping[str, Values], engine: Values) -> t.Iterator[Values]:
    """Each identity that logs in to the engine; hosts that use SSH alone may give a name another scope."""
    for client in clients.values() if engine["ssh"]["enabled"] else ():
        for identity in client["identities"] if "ssh" in client["transports"] else ():
            if groups.opens(identity, engine) and not identity["ended"]:
                yield identity


def _further(name: str, reader: Reader, engine: Values, entry: Values) -> tuple[str, str, set[str]]:
    """One of docker_gateway_identities, whose certificate is of no client host."""
    wanted, has = groups.access_of(entry), groups.access_of(engine)
    if not {*wanted} & {*has}:
        reader.say(
            f"docker_gateway_identities of {name}: the access of {entry['name']} is {listed(wanted)}, and "
            f"docker_engine_access is {listed(has)}, so that it would not get in. Give it one of these groups."
        )
    return entry["name"], entry["scope"], {*wanted} & {*has}


def _scope(name: str, known: t.Mapping[str, Values]) -> dict[str, t.Any]:
    """A scope of the site's own, or one that comes with the collection, which a site may set to log only."""

    def lines(wanted: str) -> t.Sequence[str] | None:
        own = known.get(wanted)
        rules = own.get("rules") if own else None
        return rules or built_in_or_none(wanted)

    found = lines(name)
    if found is None or not scopes.is_name(name):
        every = [*known, *(path.stem for path in sorted(_FOLDER.glob("*.scope"))), scopes.ADMIN]
        raise scopes.ScopeError(
            f"there is no scope {name!r}. {unknown(name, every)} Scopes of your own are in docker_gateway_scopes."
        )
    return {
        "name": name,
        "rules": [str(rule) for rule in scopes.rules(found, f"the scope {name}", lines)],
        "log_only": bool(known[name].get("log_only")) if name in known else False,
    }


def _limit_problems(name: str, values: Values) -> t.Iterator[str]:
    if not 1 <= values["docker_gateway_max_connections"] <= 2000:
        yield (
            f"docker_gateway_max_connections of {name} is {values['docker_gateway_max_connections']}; it has to be "
            "1 to 2000."
        )
    if not 0 <= values["docker_gateway_max_request_rate"] <= 100000:
        yield (
            f"docker_gateway_max_request_rate of {name} is {values['docker_gateway_max_request_rate']}; it is a number "
            "of requests within 10 seconds up to 100000, or 0 for no limit."
        )


def problems(engines: t.Mapping[str, Values], clients: t.Mapping[str, Values]) -> t.Iterator[str]:
    """Identities that would be root although they have a scope, because nothing stands between them and dockerd."""
    open_to_all = {name: engine for name, engine in engines.items() if engine["gateway"] is None}
    for host, client in clients.items():
        for identity in client["identities"]:
            who = f"The identity {identity['name']!r} of {host} has the scope {identity['scope']}"
            if identity["scope"] == scopes.ADMIN or identity["ended"]:
                continue
            without = [
                name
                for name, engine in open_to_all.items()
                if groups.opens(identity, engine)
                and ("tls" in client["transports"] or ("ssh" in client["transports"] and engine["ssh"]["enabled"]))
            ]
            if without:
                yield (
                    f"{who}, and {listed(without)} {'have' if len(without) > 1 else 'has'} no gateway, where whoever "
                    "gets in is root. Set docker_gateway_enabled there, or give the identity the scope admin."
                )
    for name, engine in open_to_all.items():
        for user in engine["ssh"]["users"]:
            if user["state"] != "absent" and user["scope"] not in ("", scopes.ADMIN):
                yield (
                    f"docker_ssh_users of {name} gives {user['name']} the scope {user['scope']}, and {name} has no "
                    "gateway, where every account is root. Set docker_gateway_enabled there, or take the account out."
                )


# What dockerd would answer without a change, whoever asks: no container and no volume has that name.
_TRIED = (
    ("GET", "/version"),
    ("GET", "/containers/json"),
    ("GET", "/info"),
    ("GET", "/images/json"),
    ("GET", "/networks"),
    ("GET", "/volumes"),
    ("GET", "/swarm"),
    ("GET", "/containers/bulkhead-verify/json"),
    ("GET", "/containers/bulkhead-verify/archive?path=/"),
    ("GET", "/containers/%6ason"),
    ("GET", "//containers/json"),
    ("POST", "/containers/bulkhead-verify/start"),
    ("POST", "/containers/bulkhead-verify/exec"),
    ("DELETE", "/containers/bulkhead-verify"),
)


def calls(plan: Values, names: t.Iterable[str]) -> list[dict[str, t.Any]]:
    """What the verifying host asks the gateways of engines, as all identities of the user who verifies."""
    verifier = plan["verifier"]
    if not verifier:
        return []
    theirs = {
        identity["name"]: identity
        for identity in plan["clients"][verifier["host"]]["identities"]
        if identity["user"] == verifier["user"]
    }
    found = []
    for name in names:
        engine = plan["engines"][name]
        gateway = engine["gateway"] or {}
        # Which pair of each opens the engine.
        who = {one: pair for one, identity in theirs.items() if (pair := groups.pair_for(identity, engine)) is not None}
        rules = {
            scope["name"]: [scopes.rule(line, scope["name"]) for line in scope["rules"]]
            for scope in gateway.get("scopes") or []
            if not scope["log_only"]
        }
        asked = [
            {**whom, "method": method, "path": path, "allowed": _allows(rules[scope], method, path)}
            for whom, scope in _asks_as(theirs, who, gateway, verifier["transports"])
            if scope in rules
            for method, path in _TRIED
        ]
        if asked:
            ssh_port = {"ssh_port": engine["ssh_port"]} if engine["ssh_port"] else {}
            endpoint = {"name": name, "address": engine["address"], "port": engine["port"], **ssh_port}
            found.append({**endpoint, "calls": asked})
    return found


def _asks_as(
    identities: t.Mapping[str, Values], pairs: t.Mapping[str, str], gateway: Values, transports: t.Collection[str]
) -> t.Iterator[tuple[dict[str, str], str]]:
    """As whom a gateway is asked, with the scope: identities by certificate, and by their SSH accounts.

    ``pairs`` are those of the identities that open the engine, by the access group in whose folder they are.
    """
    for one in gateway.get("identities") or () if "tls" in transports else ():
        if one["name"] in pairs:
            yield {"identity": one["name"], "group": pairs[one["name"]]}, one["scope"]
    logins = {(identities[name]["ssh_account"], name) for name in pairs}
    for account in gateway.get("accounts") or () if "ssh" in transports else ():
        if (account["name"], account["identity"]) in logins:
            yield {"identity": account["identity"], "account": account["name"]}, account["scope"]


def _allows(rules: t.Iterable[scopes.Rule], method: str, path: str) -> bool:
    return any(method in rule.methods and re.search(rule.pattern, path.partition("?")[0]) for rule in rules)
