# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PEM text as people export it: CRLF, a byte order mark, text around the blocks, no last line break."""

from __future__ import annotations

import codecs
import re

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END \1-----", re.DOTALL)
_CERTIFICATE = ("CERTIFICATE", "X509 CERTIFICATE")
_REQUEST = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes) -> str:
    """The text of a file; Windows tools write UTF-16, too. What is no text holds no block."""
    if data.startswith(_UTF_16):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace")


def certificates(text: str) -> list[str]:
    """The certificates of a text in their order, each as OpenSSL writes it, without the last line break."""
    return _blocks(text, _CERTIFICATE)


def requests(text: str) -> list[str]:
    return _blocks(text, _REQUEST)


def revocation_lists(text: str) -> list[str]:
    return _blocks(text, ("X509 CRL",))


def private_key(text: str) -> str:
    """The first private key of a text, PKCS#8, PKCS#1 or SEC1; empty where there is none."""
    for label, body in _BLOCK.findall(text):
        if label.endswith("PRIVATE KEY"):
            lines = [line.strip() for line in body.strip().splitlines()]  # an encrypted PKCS#1 key begins with headers
            return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"]) + "\n"
    return ""


def is_encrypted(key: str) -> bool:
    return "BEGIN ENCRYPTED PRIVATE KEY" in key or "Proc-Type: 4,ENCRYPTED" in key


def _blocks(text: str, labels: tuple[str, ...]) -> list[str]:
    return [_wrapped(labels[0], body) for label, body in _BLOCK.findall(text) if label in labels]


def _wrapped(label: str, body: str) -> str:
    content = "".join(body.split())
    lines = [content[start : start + 64] for start in range(0, len(content), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"])
