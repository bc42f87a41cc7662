# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates as the transaction and the roles read them."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import ipaddress
import ssl
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem as pem_text
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_SKEW = datetime.timedelta(hours=1)  # the clocks of engines and clients differ
_KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_USAGE = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_DAY = datetime.timedelta(days=1)


class CertificateError(Exception):
    """One sentence about text that holds no certificate or key."""


# What reading a strange certificate raises: cryptography reads most of one only when it is asked for it.
UNREADABLE = (
    CertificateError,
    InternalError,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    KeyError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One certificate of a bundle."""

    certificate: x509.Certificate
    pem: str

    @property
    def subject_der(self) -> bytes:
        return self.certificate.subject.public_bytes()

    @property
    def names(self) -> list[str]:
        return _names(self.certificate)

    @property
    def common_names(self) -> list[str]:
        return [str(name.value) for name in self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]

    @property
    def usages(self) -> list[str]:
        """Its extended key usages, such as serverAuth; other ones than these two as numbers."""
        known = {oid: f"{usage}Auth" for usage, oid in _USAGE.items()}
        uses = _extension(self.certificate, x509.ExtendedKeyUsage) or []
        return [known.get(oid, oid.dotted_string) for oid in uses]

    @property
    def not_before(self) -> datetime.datetime:
        return _utc(self.certificate, "not_valid_before")

    @property
    def not_after(self) -> datetime.datetime:
        return _utc(self.certificate, "not_valid_after")


def _utc(certificate: x509.Certificate, name: str) -> datetime.datetime:
    """The date with its zone; older releases of cryptography have it without."""
    if hasattr(certificate, f"{name}_utc"):
        return t.cast("datetime.datetime", getattr(certificate, f"{name}_utc"))
    return t.cast("datetime.datetime", getattr(certificate, name)).replace(tzinfo=datetime.timezone.utc)


def load_bundle(pem: str) -> list[Entry]:
    blocks = pem_text.certificates(pem)
    if not blocks:
        raise CertificateError("the text holds no PEM certificate")
    try:
        return [_load(block) for block in blocks]
    except UNREADABLE as error:
        raise CertificateError(f"the text holds a certificate that cannot be read ({error})") from error


def _load(block: str) -> Entry:
    entry = Entry(x509.load_pem_x509_certificate(block.encode()), block)
    report(entry)  # some parts are read when they are asked for, and nobody should stumble over them later
    return entry


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(load_bundle(pem)[0].pem)


def load_der(content: bytes) -> Entry:
    return load_bundle(ssl.DER_cert_to_PEM_cert(content))[0]


def days_left(certificate: x509.Certificate, at: datetime.datetime | None = None) -> int:
    """Whole days until it expires; negative once it has."""
    return (_utc(certificate, "not_valid_after") - (at or datetime.datetime.now(datetime.timezone.utc))).days


def key_label(certificate: x509.Certificate) -> str:
    """The type of its key as the roles name it: P-256, P-384, RSA 3072."""
    return public_key_label(certificate.public_key())


def public_key_label(key: t.Any) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name, key.curve.name)
    return type(key).__name__.lstrip("_").replace("PublicKey", "")


def report(entry: Entry) -> dict[str, t.Any]:
    """What people and metrics want to know of a certificate."""
    certificate = entry.certificate
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:X}",
        "names": entry.names,
        "usages": entry.usages,
        "not_before": f"{entry.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{entry.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": days_left(certificate),
        "key": key_label(certificate),
    }


def fingerprint(entry: Entry) -> str:
    """SHA-256 of a certificate, in hexadecimal digits."""
    return hashlib.sha256(entry.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def chain_ends_in(pem: str, ca: str) -> bool:
    """Whether the first certificate of a text stands below one of a bundle, by those that the text has behind it."""
    leaf, *between = load_bundle(pem)
    trusted = load_bundle(ca)
    return any(one in trusted for one in above(leaf, [*trusted, *(one for one in between if _may_sign(one))]))


def _may_sign(entry: Entry) -> bool:
    constraints = _extension(entry.certificate, x509.BasicConstraints)
    return constraints is not None and bool(constraints.ca)


def is_root(entry: Entry) -> bool:
    return entry.certificate.issuer == entry.certificate.subject


def above(entry: Entry, pool: t.Sequence[Entry]) -> list[Entry]:
    """The certificates of a pool that stand above one, its issuer first, as far up as they are there."""
    chain = [entry]
    while not is_root(chain[-1]):
        issuers = [other for other in pool if _stands_above(other, chain[-1]) and other not in chain]
        if not issuers:
            break
        chain.append(max(issuers, key=lambda issuer: issuer.not_after))
    return chain[1:]


def above_any(pool: t.Sequence[Entry]) -> list[Entry]:
    """The certificates of a pool that stand above an issuing CA in it, on any path, and all of the same roots.

    A root that is renewed has two for a while; with a new key, they have only the name in common.
    """
    higher = [one for one in pool if any(not is_root(other) and _stands_above(one, other) for other in pool)]
    roots = [one.certificate for one in higher if is_root(one)]
    return [one for one in pool if one in higher or (is_root(one) and _is_one_of(one.certificate, roots))]


def _is_one_of(root: x509.Certificate, roots: t.Sequence[x509.Certificate]) -> bool:
    return any(root.subject == one.subject or same_key(root.public_key(), one.public_key()) for one in roots)


def _stands_above(entry: Entry, other: Entry) -> bool:
    try:
        return entry.pem != other.pem and issued_by(other.certificate, entry.certificate)
    except UNREADABLE:
        return False


def strangers(installed: str, *known: str) -> list[Entry]:
    """The certificates of a trust bundle of which none is in another; nothing where it shares one, or holds none.

    Those above others of the bundle do not count: many a CA has the same root.
    """
    trusted, others = _trusted(installed), unknown(installed, *known)
    lowest = [entry for entry in trusted if not any(_stands_above(entry, other) for other in trusted)]
    return lowest if all(entry in others for entry in lowest) else []


def unknown(installed: str, *known: str) -> list[Entry]:
    """The certificates of a trust bundle that are in none of the others."""
    fingerprints = {fingerprint(entry) for text in known if text.strip() for entry in load_bundle(text)}
    return [entry for entry in _trusted(installed) if fingerprint(entry) not in fingerprints]


def _trusted(bundle: str) -> list[Entry]:
    """A block that cannot be read is left out, as by Go, which trusts the others."""
    return [entry for block in pem_text.certificates(bundle) for entry in _readable(block)]


def _readable(block: str) -> list[Entry]:
    try:
        return load_bundle(block)
    except CertificateError:
        return []


def described(entries: t.Iterable[Entry]) -> str:
    """Certificates as a person tells them apart: subject, fingerprint and end of each."""
    return ", ".join(
        f"{entry.certificate.subject.rfc4514_string()} (SHA-256 {fingerprint(entry)}, valid until "
        f"{entry.not_after:%Y-%m-%d})"
        for entry in entries
    )


def describe(content: bytes) -> str:
    """Subject, serial, names and validity of each certificate: what a person compares in a diff."""
    lines = []
    for entry in load_bundle(content.decode()):
        certificate = entry.certificate
        lines += [
            f"subject: {certificate.subject.rfc4514_string()}",
            f"serial: {certificate.serial_number:X}",
            f"valid until: {entry.not_after:%Y-%m-%d %H:%M} UTC",
            f"names: {', '.join(entry.names)}",
        ]
    return "\n".join(lines) + "\n"


def key_matches(pem: str, key: bytes) -> bool:
    return same_key(load_bundle(pem)[0].certificate.public_key(), public_half(key))


def public_half(key: bytes) -> t.Any:
    """The public key of a private one that Docker can use."""
    try:
        return serialization.load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"the private key cannot be read ({error}); Docker takes only unencrypted PEM keys"
        ) from error


def same_key(one: t.Any, other: t.Any) -> bool:
    """Whether two public keys are one."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return bool(one.public_bytes(*form) == other.public_bytes(*form))


def key_usage(*granted: str) -> x509.KeyUsage:
    """These usages of a key, by the names that cryptography has for them, and no other."""
    return x509.KeyUsage(**{usage: usage in granted for usage in _KEY_USAGES})


def signing_algorithm(key: t.Any) -> hashes.SHA256 | None:
    """What signs with this private key; these two kinds have their own."""
    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    key, signature, signed = issuer.public_key(), certificate.signature, certificate.tbs_certificate_bytes
    algorithm = certificate.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm or hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm or hashes.SHA256()))
        else:
            key.verify(signature, signed)  # type: ignore[union-attr,call-arg]
    except InvalidSignature:
        return False
    return True


def _extension(certificate: x509.Certificate, kind: type[t.Any]) -> t.Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _names(certificate: x509.Certificate) -> list[str]:
    names = _extension(certificate, x509.SubjectAlternativeName) or []
    return [str(name.value).lower() for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))]


def problems(
    pem: str,
    ca: str,
    usage: str,
    names: t.Iterable[str] = (),
    at: datetime.datetime | None = None,
    through: bool = False,
) -> list[str]:
    """What strict verifiers would hold against a certificate, one phrase each.

    ``through`` lets what stands behind it lead to the CA.
    """
    certificate = load_bundle(pem)[0].certificate
    now = at or datetime.datetime.now(datetime.timezone.utc)
    found = []
    if not (
        chain_ends_in(pem, ca)
        if through
        else any(issued_by(certificate, entry.certificate) for entry in load_bundle(ca))
    ):
        found.append("it is not issued by the CA of the trust bundle")
    if now < _utc(certificate, "not_valid_before"):
        found.append(f"it is not valid before {_utc(certificate, 'not_valid_before'):%Y-%m-%d %H:%M} UTC")
    if now > _utc(certificate, "not_valid_after"):
        found.append(f"it expired on {_utc(certificate, 'not_valid_after'):%Y-%m-%d %H:%M} UTC")
    if load_bundle(pem)[0].usages != [f"{usage}Auth"]:
        found.append(f"its extended key usage is not exactly {usage}Auth")
    for kind, text in ((x509.AuthorityKeyIdentifier, "authority"), (x509.SubjectKeyIdentifier, "subject")):
        if _extension(certificate, kind) is None:
            found.append(f"it has no {text} key identifier")
    has = _names(certificate)
    lacking = [name for name in names if _normal(name) not in has]
    if lacking:
        found.append(f"it lacks the names {', '.join(lacking)}")
    return found


def impostor(victim: x509.Certificate, authority: x509.Certificate) -> tuple[bytes, bytes]:
    """A client's certificate (with its CA's) and key of a CA that equals ``authority`` in all but the key.

    Both names and the key identifiers are those of the originals, so that only the signature tells them apart.
    """
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    identifier = _extension(authority, x509.SubjectKeyIdentifier) or x509.SubjectKeyIdentifier.from_public_key(
        authority.public_key()
    )
    now = datetime.datetime.now(datetime.timezone.utc)

    def sign(subject: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: tuple[t.Any, bool]) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(authority.subject).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - _DAY).not_valid_after(now + _DAY)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    certificate = sign(
        victim.subject,
        key.public_key(),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.AuthorityKeyIdentifier(identifier.digest, None, None), False),
    )
    ca = sign(
        authority.subject,
        ca_key.public_key(),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (identifier, False),
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate + ca, private


def _normal(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()
