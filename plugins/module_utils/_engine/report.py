# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one look at an engine tells the roles and the audit, as far as no certificate has to be read for it."""

from __future__ import annotations

import ipaddress
import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json, inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd

_SSH_ACCOUNTS = pathlib.Path("/etc/ssh/docker-ssh")  # what the role docker_ssh keeps there
# RFC 1123 labels, the first of which may be the wildcard of a certificate.
_DNS_NAME = re.compile(
    r"^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$", re.I
)


def names(wanted: t.Iterable[str]) -> list[str]:
    """The names that the certificate has to cover: those that are wanted, and those by which the host knows itself."""
    result = []
    for name in [*wanted, *inspect.host_names(), "localhost", "127.0.0.1", "::1"]:
        address = _address(name)
        if address is None and (not _DNS_NAME.match(name) or len(name) > 253):
            raise inspect.EngineError(
                f"'{name}' is neither a DNS name nor an IP address, so that no certificate can cover it; correct "
                "docker_engine_names, docker_engine_address, or the name of the host that it comes from."
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
    hosts = [str(host) for host in found.hosts]
    return {
        "version": str((found.info or {}).get("ServerVersion") or inspect.version(found.dockerd)),
        "running": found.running,
        "service_manager": found.service.name,
        "socket": found.service.socket_path,
        "hosts": hosts,
        "hosts_without_tls": [] if _verifies(found) else daemon_json.plain_hosts(hosts),
        "remote_flags": [
            {"flag": " ".join(flag.words), "source": flag.source} for flag in found.command_line.remote_flags
        ],
        "live_restore": found.live_restore,
        "swarm": found.swarm,
        "containers_running": int((found.info or {}).get("ContainersRunning") or 0),
        "managed": bool(found.state.managed.previous),
        "ssh_accounts": _SSH_ACCOUNTS.exists(),
        "ssh_server": _ssh_server() if _SSH_ACCOUNTS.exists() else None,
    }


def _ssh_server() -> dict[str, t.Any] | None:
    try:
        port, host_keys = sshd.Sshd().port_and_host_keys(sshd.connection())
    except sshd.SshdError:  # an engine does not need one
        return None
    return {"port": port, "host_keys": host_keys}


def _verifies(found: inspect.Engine) -> bool:
    """Whether clients need a certificate of a CA that is named; without one, dockerd takes any CA of the system."""
    flags = {flag.name: flag.value for flag in found.command_line.remote_flags}
    by_file = found.daemon_json.get("tlsverify") is True and bool(found.daemon_json.get("tlscacert"))
    return by_file or (flags.get("tlsverify", "false") != "false" and bool(flags.get("tlscacert")))


def endpoints(found: inspect.Engine) -> list[tuple[str, int]]:
    """Addresses and ports of the daemon's TCP hosts."""
    result = []
    for host in daemon_json.plain_hosts(found.hosts):
        address, _, port = host.rpartition(":")
        result.append((address.rpartition("//")[2].strip("[]"), int(port)))
    return result
