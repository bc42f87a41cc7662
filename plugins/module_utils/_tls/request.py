# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private key, made where it is used, and the request for its certificate."""

from __future__ import annotations

import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

TYPES = ("P-256", "P-384", "RSA")
_CURVES: dict[str, t.Callable[[], ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}


def new_key(key_type: str, size: int) -> bytes:
    """In PKCS#8; ``size`` is for RSA alone."""
    key: t.Any
    if key_type == "RSA":
        key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    else:
        key = ec.generate_private_key(_CURVES[key_type]())
    plain = serialization.NoEncryption()
    content: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return content


def request(key: bytes, common_name: str) -> str:
    """The CA takes the public key of it and nothing else, so that there is no more in it than a name to read."""
    private: t.Any = serialization.load_pem_private_key(key, password=None)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = builder.sign(private, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode("ascii")
