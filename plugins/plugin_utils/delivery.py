# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks export_identity and deploy do, for the plan."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._deploy import tree
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.plugin_utils import clients as _clients
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Reader, listed, unknown

Values = t.Mapping[str, t.Any]


def export(reader: Reader, fleet: Values, engines: Values, clients: Values) -> dict[str, t.Any]:
    """What leaves for a server that Ansible does not manage."""
    name, group = fleet["docker_export_name"], fleet["docker_export_group"]
    opened = [other for other, engine in engines.items() if group in engine["access"]]
    wanted = fleet["docker_export_engines"] or opened
    holders = [host for host, client in clients.items() if name in [entry["name"] for entry in client["identities"]]]
    if not layout.is_name(name):
        reader.say(
            f"docker_export_name is {_variables.shown(name)}; name the identity that the server gets, 1 to 64 letters, "
            "digits and @ . _ + -, the first one a letter or digit: -e docker_export_name=NAME."
        )
    elif holders:
        reader.say(
            f"docker_export_name is {name!r}, which is an identity of {listed(holders)}. Its key stays there; export "
            "an identity of another name, so that each can be revoked without the other."
        )
    if not re.match("~?/", fleet["docker_export_dest"]):
        reader.say(
            f"docker_export_dest is {_variables.shown(fleet['docker_export_dest'])}; name the folder on the control "
            "node that gets the bundle, starting with / or ~/: -e docker_export_dest=FOLDER."
        )
    if fleet["docker_export_valid_days"] < 1:
        reader.say("docker_export_valid_days has to be 1 or more.")
    for other in wanted:
        if other not in engines:
            reader.say(f"docker_export_engines has {other!r}, which is no engine. {unknown(other, engines)}")
        elif other not in opened:
            reader.say(
                f"docker_export_engines has {other!r}, which does not let in the access group {group!r}. Name another "
                f"docker_export_group; {other} has {listed(engines[other]['access'])}."
            )
        elif name not in _let_in(engines[other], name, group):
            reader.say(
                f"The gateway of {other} does not know {name!r}, and would refuse it. Declare it there in "
                "docker_gateway_identities, with a scope and its access group, and run the playbook "
                "bulkhead.docker.site first."
            )
    if engines and not opened:
        known = {one for engine in engines.values() for one in engine["access"]}
        reader.say(f"docker_export_group is {group!r}, which no engine lets in. {unknown(group, known)}")
    return {
        "name": name,
        "dest": fleet["docker_export_dest"],
        "group": group,
        "valid_days": fleet["docker_export_valid_days"],
        "encrypt": fleet["docker_export_encrypt"],
        "engines": [
            {"name": other, "context": engines[other]["context"], "host": engines[other]["host"]}
            for other in wanted
            if other in engines
        ],
    }


def _let_in(engine: Values, name: str, group: str) -> list[str]:
    """Whom an engine lets in with a certificate of the access group; without a gateway, whoever has one."""
    gateway = engine["gateway"]
    if not gateway:
        return [name]
    return [entry["name"] for entry in gateway["identities"] if group in groups.access_of(entry)]


def deploy(
    reader: Reader, fleet: Values, engines: Values, clients: t.Mapping[str, _clients.Client]
) -> dict[str, t.Any]:
    """Who deploys, and each project for each of its engines, in their order."""
    host = fleet["docker_deploy_client"] or next(iter(clients), "")
    if host not in clients:
        reader.say(f"docker_deploy_client is {host!r}, which is no client host. {unknown(host, clients)}")
        return {}
    if reader.inventory.in_run is not None and host not in reader.inventory.in_run:
        reader.say(f"--limit leaves out {host}, from which projects are deployed; add it to --limit.")
    if fleet["docker_deploy_wait_timeout"] < 1:
        reader.say("docker_deploy_wait_timeout has to be 1 or more, in seconds.")
    client = clients[host]
    identity, transport = _identity(reader, fleet, host, client), _transport(reader, fleet, host, client)
    if identity["ended"]:
        reader.say(
            f"The day of the identity {identity['name']} of {host} is over (expires {identity['expires']}); name "
            "another one in docker_deploy_identity."
        )
    if identity["scope"] != "admin":
        reader.say(
            f"The identity {identity['name']} of {host} has the scope {identity['scope']}, and only an admin may "
            "create containers; name another one in docker_deploy_identity."
        )
    contexts = _clients.contexts_of(identity, client, engines)
    steps = [
        {
            "project": project["name"],
            "src": project["src"],
            "files": project["files"],
            "trial": project["trial"],
            "engine": engine,
            "folder": engines[engine]["context"],
            "context": contexts.get((engine, transport), ""),
        }
        for project in _projects(reader, fleet)
        for engine in project["engines"] or list(engines)
        if _is_engine(reader, project["name"], engine, engines)
    ]
    if transport in client["transports"]:
        without = dict.fromkeys(step["engine"] for step in steps if not step["context"])
        for engine in without:
            if not groups.opens(identity, engines[engine]):
                reader.say(
                    f"docker_deploy_projects: {identity['name']} of {host} is in no access group of {engine} "
                    f"({listed(engines[engine]['access'])}). Name another docker_deploy_identity, or other engines."
                )
        for engine in [name for name in without if groups.opens(identity, engines[name])]:
            reader.say(
                f"docker_deploy_projects: {engine} has no accounts over SSH (docker_ssh_enabled is false). Set "
                "docker_deploy_transport to tls, or name other engines."
            )
    return {
        "client": host,
        "user": identity["user"],
        "become": bool(identity["user"]),
        "wait_timeout": fleet["docker_deploy_wait_timeout"],
        "steps": steps,
    }


def _identity(reader: Reader, fleet: Values, host: str, client: _clients.Client) -> _clients.Identity:
    name, names = fleet["docker_deploy_identity"], [entry["name"] for entry in client["identities"]]
    if not name and len(names) > 1:
        reader.say(f"{host} has the identities {listed(names)}; say which one deploys with docker_deploy_identity.")
    elif name and name not in names:
        reader.say(f"docker_deploy_identity is {name!r}, which {host} does not have. {unknown(name, names)}")
    identities: list[_clients.Identity] = client["identities"]
    return next((entry for entry in identities if entry["name"] == name), identities[0])


def _transport(reader: Reader, fleet: Values, host: str, client: Values) -> str:
    transport = fleet["docker_deploy_transport"] or client["transports"][0]
    if transport not in client["transports"]:
        reader.say(
            f"docker_deploy_transport is {transport}, which {host} does not use: its docker_client_transports are "
            f"{', '.join(client['transports'])}."
        )
    return str(transport)


def _projects(reader: Reader, fleet: Values) -> list[Values]:
    projects: list[Values] = fleet["docker_deploy_projects"]
    if not projects:
        reader.say(
            "docker_deploy_projects is empty; list what to deploy, each with its name, its src on the control node and "
            "its engines."
        )
    names = [project["name"] for project in projects]
    for project in projects:
        if not tree.is_project(str(project["name"])):
            reader.say(
                f"docker_deploy_projects has the name {_variables.shown(project['name'])}, which Compose does not "
                "take: small letters, digits, - and _, the first one a letter or digit."
            )
        if names.count(project["name"]) > 1:
            reader.say(f"docker_deploy_projects has {project['name']!r} twice.")
        if not re.match("~?/", str(project["src"])):
            reader.say(
                f"docker_deploy_projects: the src of {project['name']} is {_variables.shown(project['src'])}; it has "
                "to start with / or ~/, as in {{ inventory_dir }}/shop."
            )
        for file in project["files"]:
            if file.startswith("/") or ".." in file.split("/"):
                reader.say(f"docker_deploy_projects: {project['name']} has the file {file!r}, which is not in its src.")
    return projects


def _is_engine(reader: Reader, project: str, name: str, engines: Values) -> bool:
    if name not in engines:
        reader.say(f"docker_deploy_projects: {project} names {name!r}, which is no engine. {unknown(name, engines)}")
    return name in engines
