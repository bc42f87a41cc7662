# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the docker CLI goes through a proxy to an endpoint, by the rules of Go's net/http."""

from __future__ import annotations

import ipaddress
import typing as t

_Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


def is_used(host: str, port: int, environment: t.Mapping[str, str]) -> bool:
    """For https, as the CLI asks an endpoint with TLS; a variable in capitals counts first."""
    if not (environment.get("HTTPS_PROXY") or environment.get("https_proxy")):
        return False
    host = host.partition("%")[0].lower().rstrip(".")
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return False
    exceptions = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    return not any(_covers(entry.strip().lower(), host, address, port) for entry in exceptions.split(","))


def _covers(entry: str, host: str, address: _Address | None, port: int) -> bool:
    if entry == "*":
        return True
    network = _network(entry)
    if network:
        return address is not None and address in network
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.startswith("[")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    wanted = _address(entry)
    if wanted or address:
        return wanted == address
    name = entry[1:] if entry.startswith("*.") else entry
    return bool(name) and (host.endswith(name if name.startswith(".") else f".{name}") or host == name)


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None
