# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engines of the plan: how each is reached, what its certificate may say, what it is to be."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names as _names
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem as _pem
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Reader, listed

Values = t.Mapping[str, t.Any]
Engine = dict[str, t.Any]

LOCAL = ("localhost", "127.0.0.1", "::1")

_CONTEXT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")
_MAX_STARTUPS = re.compile(r"[0-9]+(:[0-9]+:[0-9]+)?")
# Go verifies names with underscores, too, and inventories are full of them.
_SAN = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*", re.I)


def engine(name: str, reader: Reader, renew_force: bool) -> Engine:
    """One engine. What is wrong with its variables is said to the reader."""
    values = reader.host(name, _variables.ENGINE)
    ssh = reader.host(name, _variables.SSH)
    reader.say(*_engine_problems(name, values))
    ansible_address = address_of_ansible(name, reader)
    address = normalized(values["docker_engine_address"]) or ansible_address
    reader.say(*_address_problems(name, address, bool(values["docker_engine_address"])))
    port = values["docker_engine_port"]
    return {
        "address": address,
        "port": port,
        "host": f"tcp://{_names.bracketed(address)}:{port}",
        "listen": [normalized(entry) for entry in values["docker_engine_listen"]],
        "common_name": name[:64],
        "names": _certificate_names(name, [ansible_address, address], values["docker_engine_names"], reader),
        "trust_host_names": values["docker_engine_trust_host_names"],
        "foreign_names": [],
        "batch": 0,
        "context": context_name(name),
        "access": list(dict.fromkeys(values["docker_engine_access"])),
        "daemon_options": values["docker_engine_daemon_options"],
        "valid_days": values["docker_engine_valid_days"],
        "renew_days": values["docker_engine_renew_days"],
        "renew_force": values["docker_engine_renew_force"] or renew_force,
        "key_type": values["docker_engine_key_type"],
        "key_size": values["docker_engine_key_size"],
        "replace_ca": values["docker_engine_replace_ca"],
        "certificate_path": values["docker_engine_certificate_path"],
        "private_key_path": values["docker_engine_private_key_path"],
        "server_ca": values["docker_engine_server_ca"].strip(),
        "allow_container_restart": values["docker_engine_allow_container_restart"],
        "restart_timeout": values["docker_engine_restart_timeout"],
        "ssh_port": _ssh_port(name, address == ansible_address, reader),
        "ssh": {
            "enabled": ssh["docker_ssh_enabled"],
            "users": ssh["docker_ssh_users"] if ssh["docker_ssh_enabled"] else [],
            "trusted_user_ca_keys": ssh["docker_ssh_trusted_user_ca_keys"],
            "client_networks": ssh["docker_ssh_client_networks"],
            "clients": ssh["docker_ssh_clients"],
            "exempt_clients": ssh["docker_ssh_exempt_clients"],
            "try_login": ssh["docker_ssh_try_login"],
            "max_startups": ssh["docker_ssh_max_startups"],
            "max_sessions": ssh["docker_ssh_max_sessions"],
            "confirm_timeout": ssh["docker_ssh_confirm_timeout"],
        },
        "gateway": None,
        "given": reader.given(name, (*_variables.ENGINE, *_variables.SSH, *_variables.GATEWAY)),
    }


def collisions(engines: t.Mapping[str, Engine]) -> list[str]:
    """Engines that cannot be told apart by those who use them."""
    by_host: dict[str, list[str]] = {}
    for name, found in engines.items():
        by_host.setdefault(found["host"].lower(), []).append(name)
    return [
        f"{listed(names)} have the same endpoint {host}; give each its own docker_engine_address or docker_engine_port."
        for host, names in by_host.items()
        if len(names) > 1
    ]


def server_cas(engines: t.Mapping[str, Engine]) -> str:
    """What clients trust beside the run's CA, in PEM: the CAs of certificates that something else keeps."""
    blocks = [block for found in engines.values() for block in _pem.certificates(found["server_ca"])]
    return "".join(f"{block}\n" for block in dict.fromkeys(blocks))


def normalized(address: str) -> str:
    """The address in the one form that everything else compares: without brackets, and IP addresses canonical."""
    text = address.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if _names.is_ip(text):
        return str(ipaddress.ip_address(text))
    return text.rstrip(".") if _names.is_dns_name(text.rstrip(".")) else text


def in_batches(names: t.Sequence[str], sizes: t.Sequence[int]) -> list[list[str]]:
    """As Ansible's `serial` has it: the last size counts for all that follow, and 0 is all that are left."""
    found: list[list[str]] = []
    rest = list(names)
    while rest:
        size = sizes[min(len(found), len(sizes) - 1)] or len(rest)
        found.append(rest[:size])
        rest = rest[size:]
    return found


def is_context_name(name: str) -> bool:
    """Whether Docker takes it for a context; `default` is its own."""
    return bool(_CONTEXT.fullmatch(name)) and name != "default"


def context_name(name: str) -> str:
    """The name of an engine's contexts: the inventory's, in which `-` replaces what Docker does not allow.

    What then starts with another character, has one alone, or is Docker's own name `default`, gets `engine-` in front.
    """
    if is_context_name(name):
        return name
    text = re.sub(r"[^a-zA-Z0-9_.+-]+", "-", name).strip("-")
    if not text:
        return f"engine-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return text if is_context_name(text) else f"engine-{text.lstrip('_.+-')}"


def address_of_ansible(name: str, reader: Reader) -> str:
    for variable in ("ansible_host", "ansible_ssh_host"):  # Ansible honours the old name, too
        address = normalized(reader.plain(name, variable))
        if address:
            return address
    return normalized(name)


def _ssh_port(name: str, address_is_ansibles: bool, reader: Reader) -> int | None:
    """The port of sshd where Ansible's own address is the clients'; elsewhere the engine says it."""
    if not address_is_ansibles or reader.plain(name, "ansible_connection") not in ("", "ssh", "smart", "paramiko"):
        return None
    for variable in ("ansible_port", "ansible_ssh_port"):
        text = reader.plain(name, variable)
        if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
            return int(text)
        if text:
            reader.say(f"{variable} of {name} is {_variables.shown(text)}; a port is a number from 1 to 65535.")
            return None
    return None


def _address_problems(name: str, address: str, own: bool) -> list[str]:
    if _names.is_address(address):
        return []
    if "%" in address and _names.is_ip(address.partition("%")[0]):
        return [
            f"{name} is reached by {address}: a link-local address with a zone can stand neither in a certificate nor "
            "in a URL. Set docker_engine_address to a name or an address that clients can use."
        ]
    if own:
        return [
            f"docker_engine_address of {name} is {_variables.shown(address)}; it has to be an IP address or a host "
            "name of letters, digits and hyphens."
        ]
    return [
        f"{name} has no address that clients can use: {_variables.shown(address)} is neither an IP address nor a host "
        "name of letters, digits and hyphens. Set ansible_host or docker_engine_address."
    ]


def _certificate_names(name: str, addresses: t.Sequence[str], further: t.Sequence[str], reader: Reader) -> list[str]:
    """What the certificate covers. An inventory name that cannot stand there is left out: there is an address."""
    for entry in map(normalized, further):
        if not _is_san(entry):
            reader.say(
                f"docker_engine_names of {name} has {_variables.shown(entry)}, which is neither a DNS name nor an IP "
                "address; correct or remove it."
            )
    return certificate_names([name, *addresses, *further, *LOCAL])


def certificate_names(names: t.Iterable[str]) -> list[str]:
    """Those that a certificate can cover, in one form and each once."""
    return list(dict.fromkeys(entry.lower() for entry in map(normalized, names) if _is_san(entry)))


def subject_alt_names(names: t.Iterable[str]) -> list[str]:
    """The same as `DNS:` and `IP:` entries."""
    return [f"IP:{name}" if _names.is_ip(name) else f"DNS:{name}" for name in certificate_names(names)]


def own_names(said: t.Iterable[str], foreign: t.Iterable[str]) -> list[str]:
    """Of what a host calls itself, the names that nobody else has: no wildcard, and none that another's covers."""
    taken = {str(name).lower() for name in foreign}
    names = [name for name in certificate_names(map(str, said)) if _names.is_address(name)]
    return [name for name in names if not taken & {name, f"*.{name.partition('.')[2]}"}]


def _is_san(text: str) -> bool:
    return _names.is_ip(text) or _is_dns_san(text)


def _is_dns_san(text: str) -> bool:
    return len(text) <= 253 and bool(_SAN.fullmatch(text)) and not text.rpartition(".")[2].isdigit()


def _engine_problems(name: str, values: Values) -> t.Iterator[str]:
    for entry in values["docker_engine_listen"]:
        if not _names.is_ip(normalized(entry)):
            yield (
                f"docker_engine_listen of {name} has {_variables.shown(entry)}; dockerd listens on IP addresses, "
                "without a zone and without a port, which is docker_engine_port."
            )
    if not values["docker_engine_listen"]:
        yield f"docker_engine_listen of {name} is empty; name the addresses to listen on, or leave the variable away."
    if not 0 < values["docker_engine_port"] < 65536:
        yield f"docker_engine_port of {name} is {values['docker_engine_port']}; a port is a number from 1 to 65535."
    if values["docker_engine_restart_timeout"] < 1:
        yield f"docker_engine_restart_timeout of {name} has to be 1 or more, in seconds."
    for key in values["docker_engine_daemon_options"]:
        if str(key) == "hosts" or str(key).startswith("tls"):
            yield (
                f"docker_engine_daemon_options of {name} has {key}, which decides who gets in; use "
                "docker_engine_listen and docker_engine_port, and leave the certificates to the collection."
            )
    paths = [values[f"docker_engine_{kind}_path"] for kind in ("certificate", "private_key")]
    if bool(paths[0]) != bool(paths[1]) or any(path and not path.startswith("/") for path in paths):
        yield (
            f"docker_engine_certificate_path and docker_engine_private_key_path of {name} go together, and are whole "
            "paths on that engine; correct them, or set none."
        )
    server_ca = values["docker_engine_server_ca"]
    if server_ca.strip() and (not paths[0] or not _pem.certificates(server_ca)):
        yield (
            f"docker_engine_server_ca of {name} has the CAs in PEM that the certificate in "
            "docker_engine_certificate_path comes from; correct it, or leave it away."
        )
    yield from certificate_problems("docker_engine", name, values)


def certificate_problems(prefix: str, name: str, values: Values) -> t.Iterator[str]:
    """What engines and clients have in common: key and validity."""
    if values[f"{prefix}_key_type"] == "RSA" and not 2048 <= values[f"{prefix}_key_size"] <= 8192:
        yield f"{prefix}_key_size of {name} is {values[f'{prefix}_key_size']}; RSA keys have 2048 to 8192 bits."
    if values[f"{prefix}_renew_days"] < 0:
        yield f"{prefix}_renew_days of {name} is negative; 0 renews nothing before its end."
    if values[f"{prefix}_valid_days"] <= values[f"{prefix}_renew_days"]:
        yield (
            f"{prefix}_valid_days of {name} ({values[f'{prefix}_valid_days']}) has to be more than {prefix}_renew_days "
            f"({values[f'{prefix}_renew_days']}), or every run would renew the certificate."
        )


def ssh_problems(name: str, ssh: Values, accounts: t.Collection[str]) -> t.Iterator[str]:
    """What is wrong with the restricted accounts of an engine. Those of clients get their keys in the run."""
    users = ssh["users"]
    try:
        _users.users(users, certificates=bool(ssh["trusted_user_ca_keys"]), keys_later=True)
        _users.public_keys(ssh["trusted_user_ca_keys"], "docker_ssh_trusted_user_ca_keys")
        _users.networks(ssh["client_networks"], "docker_ssh_client_networks")
    except _users.UserError as error:
        yield f"On {name}: {error}"
    else:
        yield from _account_problems(name, users, accounts)
    if ssh["max_startups"] and not _MAX_STARTUPS.fullmatch(ssh["max_startups"]):
        yield (
            f"docker_ssh_max_startups of {name} is {_variables.shown(ssh['max_startups'])}; write it as sshd does, "
            "such as 100:30:200."
        )
    if not 1 <= ssh["max_sessions"] <= 1000:
        yield f"docker_ssh_max_sessions of {name} is {ssh['max_sessions']}; it has to be 1 to 1000."
    if ssh["confirm_timeout"] < 5:
        yield f"docker_ssh_confirm_timeout of {name} has to be 5 or more, in seconds."


def _account_problems(name: str, users: t.Iterable[Values], accounts: t.Collection[str]) -> t.Iterator[str]:
    for user in users:
        if user["state"] == "absent":
            if user["name"] in accounts:
                yield (
                    f"docker_ssh_users of {name} has {user['name']} with state absent, but an identity of a client "
                    "host logs in to that account; remove one of both."
                )
        elif not user["public_keys"] and not user["principals"] and user["name"] not in accounts:
            yield (
                f"docker_ssh_users of {name}: {user['name']} has neither public_keys nor principals; give one of them."
            )
