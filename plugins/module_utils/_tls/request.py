# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private key, made where it is used, and the request for its certificate."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

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


def request(key: bytes, common_name: str) -> str:
    """The CA takes the public key of it and nothing else, so that there is no more in it than a name to read."""
    private: t.Any = serialization.load_pem_private_key(key, password=None)
    subject = cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = cx509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = builder.sign(private, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode("ascii")
