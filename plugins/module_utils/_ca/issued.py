# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate that somebody else has issued, held against what was asked for: nothing less, and nothing more.

Many a CA copies what a request asks for, so the request is held against it first, byte by byte: a host that answers
with another one gets no certificate for it.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, request, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
# What a CA may add to the subject of its own accord: they say whose it is, and nobody gets in by them.
_ORGANISATIONAL = (
    *(NameOID.COUNTRY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.LOCALITY_NAME),
    *(NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.DOMAIN_COMPONENT),
)
# Key agreement and encipherment open nothing that a signature does not.
_KEY_USAGES = ("digital_signature", "key_encipherment", "key_agreement")
_OTHER_KEY_USAGES = ("content_commitment", "data_encipherment", "key_cert_sign", "crl_sign")
_KNOWN = (
    *(cx509.BasicConstraints, cx509.KeyUsage, cx509.ExtendedKeyUsage, cx509.SubjectAlternativeName),
    *(cx509.SubjectKeyIdentifier, cx509.AuthorityKeyIdentifier),
)


def asks_for_more(text: str, name: str, usage: str, names: t.Sequence[cx509.GeneralName]) -> bool:
    """Whether a request is another one than ours would be with this key."""
    parsed = cx509.load_pem_x509_csr(text.encode())
    public: t.Any = parsed.public_key()
    ours = cx509.load_pem_x509_csr(request.request(request.pkcs8(_key_like(public)), name, usage, names).encode())
    own: t.Any = ours.public_key()
    expected = ours.tbs_certrequest_bytes.replace(own.public_bytes(*_SPKI), public.public_bytes(*_SPKI))
    return bool(parsed.tbs_certrequest_bytes != expected)


def _key_like(public: t.Any) -> t.Any:
    if isinstance(public, rsa.RSAPublicKey):
        return rsa.generate_private_key(public_exponent=65537, key_size=public.key_size)
    return ec.generate_private_key(public.curve)


def problems(
    text: str,
    issuer: x509.Entry,
    public_key: t.Any,
    name: str,
    usage: str,
    names: t.Sequence[cx509.GeneralName],
    end: datetime.datetime,
    now: datetime.datetime,
) -> list[str]:
    """What stands against the first certificate of a text, one phrase each. ``end`` is the latest that it may last."""
    try:
        entry = x509.load_bundle(text)[0]
        found = x509.problems(entry.pem, issuer.pem, usage, (), now)
        # Many a CA makes the common name of a client a name of it, too, which opens nothing.
        own = [cx509.DNSName(name)] if usage == "client" else []
        return [*found, *_differences(entry, public_key, name, names, own, end)]
    except x509.UNREADABLE as error:
        return [f"it cannot be read ({error or type(error).__name__})"]


def _differences(
    entry: x509.Entry,
    public_key: t.Any,
    name: str,
    names: t.Sequence[cx509.GeneralName],
    allowed: t.Sequence[cx509.GeneralName],
    end: datetime.datetime,
) -> t.Iterator[str]:
    certificate = entry.certificate
    if not x509.same_key(certificate.public_key(), public_key):
        yield "it is for another key than the request"
    if entry.common_names != [name]:
        yield f"its common name is {', '.join(entry.common_names) or 'missing'} instead of {name}"
    known = (NameOID.COMMON_NAME, *_ORGANISATIONAL)
    others = [one.oid.dotted_string for one in certificate.subject if one.oid not in known]
    if others:
        yield f"its subject has {', '.join(others)}"
    has = _value(certificate, cx509.SubjectAlternativeName) or ()
    lacking, more = [one for one in names if one not in has], [one for one in has if one not in (*names, *allowed)]
    if lacking:
        yield f"it lacks the names {_listed(lacking)}"
    if more:
        yield f"it has the names {_listed(more)}, which were not asked for"
    if entry.not_after > end:
        yield f"it ends on {entry.not_after:%Y-%m-%d}, later than the {end:%Y-%m-%d} that was asked for"
    constraints = _value(certificate, cx509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield "it is a CA (CA:TRUE)"
    usages = _value(certificate, cx509.KeyUsage)
    if usages is not None and not usages.digital_signature:
        yield "its key usage lacks digitalSignature"
    if usages is not None and any(getattr(usages, one) for one in _OTHER_KEY_USAGES):
        yield f"its key usage has {', '.join(one for one in _OTHER_KEY_USAGES if getattr(usages, one))}"
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN):
            yield f"it has the critical extension {extension.oid.dotted_string}, which nobody here knows"


def _value(certificate: cx509.Certificate, kind: type[t.Any]) -> t.Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except cx509.ExtensionNotFound:
        return None


def _listed(names: t.Iterable[t.Any]) -> str:
    return ", ".join(str(getattr(name, "value", name)) for name in names)


def first(text: str) -> str:
    """The certificate itself, without what the CA has put behind it."""
    return f"{pem.certificates(text)[0]}\n"
