# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What reading an engine tells the roles and the audit, as far as no certificate has to be read for it."""

from __future__ import annotations

import ipaddress
import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import hosts, inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import service as _unit

if t.TYPE_CHECKING:
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.settings import Settings

_SSH_ACCOUNTS = pathlib.Path("/etc/ssh/docker-ssh")  # what the role docker_ssh keeps there
# RFC 1123 labels, the first of which may be the wildcard of a certificate.
_DNS_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.I)


def names(wanted: t.Iterable[str]) -> list[str]:
    """The names that the certificate has to cover: those that are wanted, and loopback for the engine's own host.

    What the host calls itself is never among them: whoever is root there could take any other host's name.
    """
    result = []
    for name in [*wanted, "localhost", "127.0.0.1", "::1"]:
        address = _address(name)
        if address and "%" in address:
            raise inspect.EngineError(
                f"{name} is a link-local address with a zone, which can stand neither in a certificate nor in a URL; "
                "set docker_engine_address to another address or a name of the engine."
            )
        if address is None and (not _DNS_NAME.fullmatch(name) or len(name) > 253):
            raise inspect.EngineError(
                f"{name!r} is neither a DNS name nor an IP address, so that no certificate can cover it; correct "
                "docker_engine_names or docker_engine_address."
            )
        result.append(address or name.lower())
    return list(dict.fromkeys(result))


def subject_alt_names(names: t.Iterable[str]) -> list[str]:
    return [f"IP:{name}" if _address(name) else f"DNS:{name}" for name in names]


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def engine(found: inspect.Engine) -> dict[str, t.Any]:
    """The daemon and its configuration."""
    return {
        "version": (found.info.version if found.info else "") or inspect.version(found.dockerd),
        "running": found.running,
        "unanswered": found.info_error,
        "service_manager": found.service.name,
        "socket": found.service.socket_path,
        "hosts": found.hosts,
        "hosts_without_tls": [] if verifies(found) else [str(host) for host in hosts.network(found.hosts)],
        "remote_flags": [
            {"flag": " ".join(flag.words), "source": flag.source} for flag in found.command_line.remote_flags
        ],
        "live_restore": found.live_restore,
        "swarm": found.swarm,
        "containers_running": found.info.containers_running if found.info else 0,
        "managed": bool(found.state.managed.previous),
        "gateway": dict(found.gateway.settings.identities or {}) if found.gateway else None,
        "ssh_accounts": _SSH_ACCOUNTS.exists(),
        "ssh_server": _ssh_server() if _SSH_ACCOUNTS.exists() else None,
    }


def _ssh_server() -> dict[str, t.Any] | None:
    from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd  # loaded for accounts alone

    try:
        port, host_keys = sshd.Sshd().port_and_host_keys(sshd.connection())
    except sshd.SshdError:  # an engine does not need one
        return None
    return {"port": port, "host_keys": host_keys}


def gateway_findings(found: inspect.Engine, wanted: Settings | None) -> list[str]:
    """What is wrong with a gateway, one sentence each."""
    if found.gateway is None:
        return ["it has no gateway, and one is declared; run bulkhead.docker.site"] if wanted else []
    if wanted is None:
        return ["it has a gateway, and none is declared; run bulkhead.docker.site"]
    last, declared = found.gateway.settings, wanted.completed(found.gateway)
    differs = [
        what
        for what, one, other in (
            ("identities", last.identities, declared.identities),
            ("SSH accounts", last.accounts, declared.accounts),
            ("scopes", last.scopes, declared.scopes),
            ("access groups", (last.groups, last.access), (declared.groups, declared.access)),
            ("revocation lists", last.revocation_lists, declared.revocation_lists),
        )
        if one != other
    ]
    problems = (
        [f"its gateway has other {', '.join(differs)} than declared; run bulkhead.docker.site"] if differs else []
    )
    if not _unit.runs() or not _unit.starts_at_boot():
        problems.append(f"{_places.NAME} does not run, or would not start at boot; run bulkhead.docker.site")
    return problems


def trusted_ca(found: inspect.Engine) -> pathlib.Path | None:
    """The file with the CA whose clients get in; None where clients need no certificate of a CA that is named."""
    if not verifies(found):
        return None
    flag = found.command_line.last("tlscacert")
    path = str(found.daemon_json.get("tlscacert") or (flag.value if flag else ""))
    return pathlib.Path(path) if path else None


def verifies(found: inspect.Engine, content: t.Mapping[str, t.Any] | None = None) -> bool:
    """Whether clients need a certificate of a CA that is named; without one, dockerd takes any CA of the system.

    ``content`` is that of another daemon.json than the present one.
    """
    content = found.daemon_json if content is None else content
    verify, ca = found.command_line.last("tlsverify"), found.command_line.last("tlscacert")
    asks = content.get("tlsverify") is True or bool(verify and verify.enabled)
    return asks and bool(content.get("tlscacert") or (ca and ca.value))


def endpoints(found: inspect.Engine) -> list[tuple[str, int]]:
    """Addresses and ports of the daemon's TCP hosts, or of its gateway's."""
    return [(host.address, host.port) for host in hosts.network([*found.hosts, *found.gateway_hosts])]
