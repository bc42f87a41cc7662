# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where dockerd listens, in every spelling that it takes (tried with 20.10, 26.1 and 28.5), and in one of ours."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

DEFAULT_SOCKET = "/var/run/docker.sock"
_OWN_SOCKETS = (DEFAULT_SOCKET, "/run/docker.sock")
_DEFAULT_PORT = 2375  # also with TLS, where no host but an address is given
_ADDRESS = re.compile(r"(?:[^@/]*@)?(?P<address>\[[^\]/]*\]|[^:\[\]/?#@]*)(?::(?P<port>\d*))?(?:[?#].*)?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class HostError(Exception):
    """Why dockerd does not take an entry, as half a sentence."""


@dataclasses.dataclass(frozen=True)
class Host:
    """One entry of ``hosts``, or of -H."""

    scheme: str  # tcp, unix or fd
    address: str  # an IP address without brackets, a name, the path of a socket, or which one of systemd's sockets
    port: int = 0  # of tcp

    def __str__(self) -> str:
        return tcp(self.address, self.port) if self.scheme == "tcp" else f"{self.scheme}://{self.address}"


def tcp(address: str, port: int) -> str:
    """The entry for an address; always with its port."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def parse(text: str, tls: bool = False) -> Host:
    """One entry. An empty one is the local socket or, where ``tls`` is switched on, a port of loopback."""
    text = text.strip()
    if not text:
        return Host("tcp", "localhost", 2376) if tls else Host("unix", DEFAULT_SOCKET)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme == "unix":
        return Host("unix", rest or DEFAULT_SOCKET)
    if scheme == "fd":
        return Host("fd", "" if rest == "*" else rest)
    if scheme == "tcp":
        return _tcp(rest)
    raise HostError(f"it knows tcp://, unix:// and fd://, in small letters, and not {scheme!r}")


def _tcp(text: str) -> Host:
    match = _ADDRESS.fullmatch(text)
    if not match:
        brackets = text.count(":") > 1 and "/" not in text
        raise HostError("an IPv6 address stands in brackets" if brackets else "nothing may follow address and port")
    address, port = match["address"], int(match["port"] or _DEFAULT_PORT)
    if not 0 < port < 65536:
        raise HostError(f"{port} is not a port")
    if "%" in address:
        raise HostError("an address with a zone is not supported")
    if address.startswith("["):
        try:
            return Host("tcp", ipaddress.IPv6Address(address[1:-1]).compressed, port)
        except ValueError as error:
            raise HostError(f"{address} is not an IPv6 address") from error
    if address and not _NAME.fullmatch(address):
        raise HostError(f"{address!r} is neither an IP address nor a name")
    return Host("tcp", address or "localhost", port)


def network(entries: t.Iterable[str]) -> list[Host]:
    """The entries that listen on the network."""
    return [host for host in map(parse, entries) if host.scheme == "tcp"]


def is_network(text: str) -> bool:
    return parse(text).scheme == "tcp"


def extra_sockets(entries: t.Iterable[str]) -> list[str]:
    """The entries that are unix sockets beside Docker's own."""
    found = map(parse, entries)
    return [str(host) for host in found if host.scheme == "unix" and host.address not in _OWN_SOCKETS]
