"""Directories of CAs as the role makes them, in a moment and without Ansible."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from helpers.pki import Authority

PEM = serialization.Encoding.PEM


def key_text(key: t.Any, passphrase: str = "", form: t.Any = serialization.PrivateFormat.PKCS8) -> bytes:
    secret: t.Any = serialization.NoEncryption()
    if passphrase:
        secret = serialization.BestAvailableEncryption(passphrase.encode())
    text: bytes = key.private_bytes(PEM, form, secret)
    return text


def empty_list(authority: Authority, *serials: int) -> bytes:
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.name)
    builder = builder.last_update(now - datetime.timedelta(hours=1)).next_update(now + datetime.timedelta(days=9))
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(revoked.build())
    text: bytes = builder.sign(authority.key, hashes.SHA256()).public_bytes(PEM)
    return text


def make(path: Path, authority: Authority, passphrase: str = "") -> Path:
    """The directory of this CA, which nothing was signed with."""
    (path / "issued").mkdir(mode=0o700, parents=True)
    (path / "ca-key.pem").write_bytes(key_text(authority.key, passphrase))
    (path / "ca-key.pem").chmod(0o600)
    (path / "ca-cert.pem").write_text(authority.pem)
    (path / "ca.pem").write_text(authority.pem)
    (path / "crl.pem").write_bytes(empty_list(authority))
    return path


def request(key: t.Any = None, name: str = "whoever") -> str:
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    text: bytes = signed.public_bytes(PEM)
    return text.decode()


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
