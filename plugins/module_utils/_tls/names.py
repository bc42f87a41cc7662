# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and addresses that may stand in a certificate, a URL, a known_hosts line or an ssh configuration.

Whatever passes here has no character with a meaning of its own in any of them.
"""

from __future__ import annotations

import ipaddress
import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# A resolver takes 127.1, 2130706433 and 0x7f.1 for addresses, a certificate for names.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def is_dns_name(text: str) -> bool:
    """Whether it is a host name as RFC 1123 has it: no underscore, no wildcard, no dot at the end."""
    if len(text) > 253 or not _DNS_NAME.fullmatch(text):
        return False
    return not _NUMBER.fullmatch(text.rpartition(".")[2])


def is_ip(text: str) -> bool:
    """Whether it is an IP address, without brackets and without the zone of a link-local one."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_address(text: str) -> bool:
    return is_ip(text) or is_dns_name(text)


def bracketed(address: str) -> str:
    """The address as the host of a URL."""
    return f"[{address}]" if ":" in address else address
