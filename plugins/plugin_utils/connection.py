# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How modules of community.docker reach an engine: as a client host of the inventory does, or as a context says."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.options import CA, CERT, KEY
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.store import Store
from ansible_collections.bulkhead.docker.plugins.plugin_utils import client_host, clients, engines, plan
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Inventory, Reader, listed, unknown

Options = dict[str, t.Any]


class NoEngineError(Exception):
    """One sentence about a name that leads to no engine."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Empty: what the client host declares, where that is one thing."""

    client: str = ""
    identity: str = ""
    transport: str = ""
    for_cli: bool = False


def to_engine(inventory: Inventory, name: str, wanted: Wanted) -> Options | None:
    """The options for an engine of the inventory; None where it has no engine of that name."""
    reader = Reader(inventory)
    fleet = reader.fleet()
    every = plan.find_engines(reader, fleet, required=False)
    if name not in every:
        return None
    engine = engines.engine(name, reader, False)
    client, identity = _client(reader, fleet, wanted)
    if reader.problems:
        raise NoEngineError(" ".join(reader.problems))
    transport = wanted.transport or client["transports"][0]
    if transport not in client["transports"]:
        raise NoEngineError(
            f"{wanted.client} does not use {transport}: its docker_client_transports are "
            f"{', '.join(client['transports'])}. Add it there and run bulkhead.docker.site, or name another transport."
        )
    if transport == "ssh":
        if not engine["ssh"]["enabled"]:
            raise NoEngineError(f"{name} has no accounts over SSH (docker_ssh_enabled is false). Set transport to tls.")
        alone = engine["ssh_port"] != 22 or _is_alone(name, every, reader)
        return _over_ssh(client_host.ssh_endpoint(identity["ssh_account"], engine, alone), wanted)
    folder = f"~/.bulkhead/identities/{identity['name']}"
    return _over_tls(engine["host"], {file: f"{folder}/{file}" for file in (CA, CERT, KEY)}, True)


def to_context(store: Store, name: str, wanted: Wanted) -> Options:
    """The options for a context of the user who runs Ansible."""
    found = store.find(name)
    if found.meta is None:
        names, damaged = store.names()
        raise NoEngineError(
            f"{name!r} is neither an engine of the inventory nor a Docker context in {store.root} on the control node. "
            f"{' '.join(damaged) or unknown(name, names)}"
        )
    said = store.describe(name, found.meta, all(file in found.tls for file in (CA, CERT, KEY)), False)["config"]
    host = str(said["docker_host"] or "")
    scheme = host.partition("://")[0]
    transport = "tls" if scheme == "tcp" else scheme
    if wanted.identity or wanted.transport not in ("", transport):
        raise NoEngineError(
            f"{name!r} is a Docker context, which has the endpoint {host} and its own identity; leave identity and "
            "transport away, or name an engine of the inventory."
        )
    if scheme == "ssh":
        return _over_ssh(host, wanted)
    if scheme == "unix":
        return {"docker_host": host, "tls": False, "validate_certs": False}
    if scheme != "tcp" or "ca_path" not in said:
        raise NoEngineError(
            f"The Docker context {name!r} has the endpoint {host or 'of nobody'} without TLS files, to which clients "
            "would speak plain HTTP. Write it again with bulkhead.docker.site or bulkhead.docker.docker_context."
        )
    files = {CA: said["ca_path"], CERT: said["client_cert"], KEY: said["client_key"]}
    return _over_tls(host, files, said["validate_certs"])


def _client(reader: Reader, fleet: t.Mapping[str, t.Any], wanted: Wanted) -> tuple[t.Any, t.Any]:
    hosts = plan.find_clients(reader, fleet)
    if wanted.client not in hosts:
        raise NoEngineError(
            f"{wanted.client} is no client host, so that nothing is known of its identities; the client hosts are "
            f"{listed(hosts)}. Run the task there, and name that host in the option client."
        )
    client = clients.client(wanted.client, reader, False)
    names = [identity["name"] for identity in client["identities"]]
    if not wanted.identity and len(names) > 1:
        raise NoEngineError(f"{wanted.client} has the identities {listed(names)}; say which one with identity.")
    found = [identity for identity in client["identities"] if identity["name"] == (wanted.identity or names[0])]
    if not found:
        raise NoEngineError(
            f"{wanted.client} has no identity {wanted.identity!r}. {unknown(wanted.identity, names)} "
            "docker_client_identities declares them."
        )
    if found[0]["ended"]:
        raise NoEngineError(
            f"The day of the identity {found[0]['name']} of {wanted.client} is over (expires {found[0]['expires']}), "
            "so that no engine lets it in; name another one with identity, or give it a later day."
        )
    return client, found[0]


def _is_alone(name: str, every: t.Iterable[str], reader: Reader) -> bool:
    """Whether no other engine has its address. All of them are read for it, which a fleet of hundreds would feel."""
    addresses = [engines.engine(other, reader, False)["address"] for other in every]
    return addresses.count(engines.engine(name, reader, False)["address"]) == 1


def _over_tls(host: str, files: t.Mapping[str, str], validate: bool) -> Options:
    return {
        "docker_host": host,
        "tls": True,
        "validate_certs": validate,
        "ca_path": files[CA],
        "client_cert": files[CERT],
        "client_key": files[KEY],
    }


def _over_ssh(host: str, wanted: Wanted) -> Options:
    """Modules over the API would use paramiko, which knows nothing of the settings that were written for ssh."""
    found = {"docker_host": host, "tls": False, "validate_certs": False}
    return found if wanted.for_cli else {**found, "use_ssh_client": True}
