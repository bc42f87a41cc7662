# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private key, made where it is used, and the request for its certificate."""

from __future__ import annotations

import ipaddress
import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_CURVES: dict[str, t.Callable[[], ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}


def generate(key_type: str, size: int) -> t.Any:
    """A private key; ``size`` is for RSA alone."""
    if key_type == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=size)
    return ec.generate_private_key(_CURVES[key_type]())


def pkcs8(key: t.Any, passphrase: str = "") -> bytes:
    """A private key as files have it, encrypted where there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    content: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return content


def new_key(key_type: str, size: int) -> bytes:
    """In PKCS#8."""
    return pkcs8(generate(key_type, size))


def is_of_type(path: pathlib.Path, key_type: str, size: int) -> bool:
    """Whether a key of that type is there."""
    try:
        public = x509.public_half(path.read_bytes())
    except (OSError, *x509.UNREADABLE):
        return False
    return x509.public_key_label(public) == key_types.label(key_type, size)


def general_name(text: str) -> cx509.GeneralName:
    """The name of `DNS:` or `IP:` and a value; ValueError where it is neither."""
    kind, value = (*text.split(":", 1), "")[:2]
    if kind == "IP" and "%" not in value:
        return cx509.IPAddress(ipaddress.ip_address(value))
    if kind == "DNS" and len(value) <= 253 and _DNS_NAME.fullmatch(value):
        return cx509.DNSName(value)
    raise ValueError(f"'{text}'")


def request(key: bytes, common_name: str, usage: str = "", names: t.Sequence[cx509.GeneralName] = ()) -> str:
    """The CA of this collection takes the public key of it and nothing else; others read usage and names, too."""
    private: t.Any = serialization.load_pem_private_key(key, password=None)
    subject = cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = cx509.CertificateSigningRequestBuilder().subject_name(subject)
    if usage:
        builder = builder.add_extension(cx509.ExtendedKeyUsage([_USAGES[usage]]), critical=False)
    if names:
        builder = builder.add_extension(cx509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(private, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode("ascii")
