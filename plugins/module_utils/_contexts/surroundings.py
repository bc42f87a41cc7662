# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What on a host keeps the docker CLI from using the contexts that are written for it."""

from __future__ import annotations

import ipaddress
import pathlib
import shutil
import typing as t
import urllib.parse

_SNAPS = "/snap/bin"


def warnings(root: pathlib.Path, hosts: t.Iterable[str], environment: t.Mapping[str, str]) -> list[str]:
    """A sentence each, without the full stop, about the CLI of this user and the endpoints of the contexts."""
    found = []
    cli = shutil.which("docker") or shutil.which("docker", path=_SNAPS)
    home = pathlib.Path("~").expanduser()
    if cli and cli.startswith("/snap/") and (home / "snap") not in root.parents:
        found.append(
            f"{cli} comes from a snap, which reads {home}/snap/docker/current/.docker instead of {root}; set "
            "docker_client_config_dir (config_dir of the module) to that folder. It cannot start ssh either, which "
            "contexts with ssh:// need"
        )
    through = sorted({host for host in hosts if is_proxied(host, environment)})
    if through:
        addresses = ",".join(dict.fromkeys(str(urllib.parse.urlsplit(host).hostname) for host in through))
        found.append(
            f"HTTPS_PROXY is set and NO_PROXY does not except {', '.join(through)}, so that Docker clients go through "
            f"the proxy. Add to NO_PROXY: {addresses}"
        )
    return found


def is_proxied(docker_host: str, environment: t.Mapping[str, str]) -> bool:
    """Whether Go's HTTP client, which the CLI uses, would reach the endpoint through a proxy."""
    url = urllib.parse.urlsplit(docker_host)
    host, port = url.hostname or "", url.port
    if url.scheme != "tcp" or not _variable("HTTPS_PROXY", environment):
        return False
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return False
    return not any(
        _excepts(entry.strip().lower(), host.lower(), port, address)
        for entry in _variable("NO_PROXY", environment).split(",")
    )


def _variable(name: str, environment: t.Mapping[str, str]) -> str:
    return environment.get(name) or environment.get(name.lower()) or ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _excepts(
    entry: str, host: str, port: int | None, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    """Whether one entry of NO_PROXY means the host."""
    if not entry:
        return False
    if entry == "*":
        return True
    if "/" in entry and address:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    named, separator, wanted = entry.rpartition(":") if _address(entry.strip("[]")) is None else (entry, "", "")
    if separator and wanted != str(port):
        return False
    named = (named if separator else entry).strip("[]")
    if address:
        return _address(named) == address
    named = named[1:] if named.startswith("*.") else named
    return host.endswith(named) if named.startswith(".") else host == named or host.endswith(f".{named}")
