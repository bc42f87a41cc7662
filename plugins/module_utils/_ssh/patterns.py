# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sshd's lists of patterns: what they mean, and an example that a whole list means, exclusions and all.

sshd takes a list as met when one pattern fits, unless one with ! in front fits as well, wherever that stands.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import itertools
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names as _tls_names

_Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Means = t.Callable[[str, str], bool]

# What a wildcard is tried with, the likeliest first; each * of a pattern may stand for another one.
_IN_NAMES = ("x", "", "bulkhead", "x.example.com", "a1")
_IN_ADDRESSES = (
    *("192.0.2.1", "198.51.100.7", "203.0.113.99", "10.9.8.7", "2001:db8::1", "fd00::7"),
    *("1", "1.1", "1.1.1", "7", "7.7", "7.7.7", "", ".1", "."),
    *(":1", "::1", ":", "::", "1:1", "1:1:1", "1:1:1:1", "1:1:1:1:1", "1:1:1:1:1:1", "1:1:1:1:1:1:1"),
)
_MOST_WILDCARDS = 3


def matches(patterns: t.Iterable[str], names: t.Collection[str]) -> bool:
    """Whether one of the names is meant, as in lists of users, groups and host names."""
    hit = False
    for pattern in patterns:
        negated, plain = pattern.startswith("!"), pattern.lstrip("!")
        if any(_fits(name, plain) for name in names):
            if negated:
                return False
            hit = True
    return hit


def means_name(patterns: str, name: str) -> bool:
    return matches(patterns.lower().split(","), [name])


def means_address(patterns: str, address: str) -> bool:
    """As in `Match Address`: networks, addresses, and patterns for an address as sshd writes it."""
    hit = False
    for pattern in patterns.split(","):
        plain = pattern[1:] if pattern.startswith("!") else pattern
        network = _network(plain)
        if ipaddress.ip_address(address) in network if network else _fits(address, plain):
            if plain != pattern:
                return False
            hit = True
    return hit


def example_address(lists: t.Sequence[str]) -> str | None:
    """An address that all of the lists mean, '' where no address can be, None where none was found."""
    return _example(lists, means_address, _addresses)


def example_name(lists: t.Sequence[str]) -> str | None:
    """The same of a name."""
    return _example(lists, means_name, _names)


def _example(
    lists: t.Sequence[str], means: Means, candidates: t.Callable[[str, t.Sequence[str]], t.Iterable[str]]
) -> str | None:
    excluded = [pattern[1:] for text in lists for pattern in text.split(",") if pattern.startswith("!")]
    positive = [[x for x in text.split(",") if x and not x.startswith("!")] for text in lists]
    if not all(positive) or all(_is_excluded(pattern, excluded) for pattern in positive[0]):
        return ""
    for pattern in itertools.chain(*positive):
        for candidate in candidates(pattern, excluded):
            if all(means(text, candidate) for text in lists):
                return candidate
    return None


def _is_excluded(pattern: str, excluded: t.Sequence[str]) -> bool:
    """Whether nothing is left of a pattern: it is excluded as it is, or its network is."""
    network = _network(pattern)
    return pattern in excluded or "*" in excluded or (network is not None and not _left(network, excluded))


def _addresses(pattern: str, excluded: t.Sequence[str]) -> t.Iterator[str]:
    network = _network(pattern)
    if network:
        for left in _left(network, excluded):
            last = left.num_addresses - 1
            for number in dict.fromkeys((min(1, last), last // 2, last, 0)):
                yield str(left[number])
        return
    for text in _filled(pattern, _IN_ADDRESSES):
        # sshd compares the text of an address, which has one form.
        if _tls_names.is_ip(text) and str(ipaddress.ip_address(text)) == text:
            yield text


def _names(pattern: str, _excluded: t.Sequence[str]) -> t.Iterator[str]:
    return (text for text in _filled(pattern.lower(), _IN_NAMES) if re.fullmatch(r"[^\s,=]+", text))


def _filled(pattern: str, words: t.Sequence[str]) -> t.Iterator[str]:
    parts = re.split(r"\*+", pattern.replace("?", "1"))
    if len(parts) - 1 > _MOST_WILDCARDS:
        return
    for chosen in itertools.product(words, repeat=len(parts) - 1):
        yield "".join(itertools.chain(*itertools.zip_longest(parts, chosen, fillvalue="")))


def _left(network: _Network, excluded: t.Iterable[str]) -> list[t.Any]:
    """What is left of a network without the others, the largest part first."""
    left: list[t.Any] = [network]
    for text in excluded:
        other: t.Any = _network(text)
        if other is None or other.version != network.version:
            continue
        rest = []
        for part in left:
            if part.subnet_of(other):
                continue
            rest += list(part.address_exclude(other)) if other.subnet_of(part) else [part]
        left = rest
    return sorted(left, key=lambda part: (part.prefixlen, int(part.network_address)))


def _network(text: str) -> _Network | None:
    """An address or a network in CIDR form, where the pattern is one."""
    if not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", text):
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _fits(text: str, pattern: str) -> bool:
    """sshd knows * and ? alone."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))
