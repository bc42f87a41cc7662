# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates for servers and clients. The CA decides every field; a request contributes its public key alone."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import holders, issued
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import ending, layout
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import request as requests
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_CURVES = ("secp256r1", "secp384r1")
_RSA_SIZES = range(2048, 8193)  # Go's TLS refuses larger ones
_LAST = datetime.datetime(9999, 12, 1, tzinfo=datetime.timezone.utc)  # nothing is valid longer
_LIMIT = 32768  # characters; a request with an RSA key of 8192 bits has 3,000


@dataclasses.dataclass(frozen=True)
class Request:
    """What a certificate shall say, and the request whose key it is for."""

    name: str
    usage: str
    names: tuple[str, ...]
    valid_days: int
    pem: str
    certificate: str = ""  # that a CA elsewhere has issued, PEM
    reason: str = ""  # why it has not
    key: str = ""  # the type that its key shall have, such as P-256 or RSA 3072; '' for any that is accepted
    exported: bool = False  # whether it is for a server that is no host of an inventory
    group: str = layout.DEFAULT_GROUP  # the access group whose CA signs
    expires: str = ""  # the day on which it ends at the latest, such as 2030-12-31

    def __str__(self) -> str:
        return f"the {self.usage} '{self.name}'"


@dataclasses.dataclass(frozen=True)
class Certificate:
    request: Request
    certificate: cx509.Certificate
    limited: bool  # whether it ends with the CA, and earlier than was asked for
    issuer: str = ""  # PEM of an issuing CA

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def report(self) -> dict[str, t.Any]:
        described = x509.report(x509.Entry(self.certificate, self.pem))
        return {
            "name": self.request.name,
            "usage": self.request.usage,
            # A client that knows the root alone needs the issuing CA from the server. Engines know it.
            "certificate": self.pem + (self.issuer if self.request.usage == "server" else ""),
            "serial": described["serial"],
            "not_after": described["not_after"],
            "limited": self.limited,
            "problem": "",
        }


class RequestError(ca.CaError):
    """One sentence about a request that is not signed. It keeps no other from being signed."""


@dataclasses.dataclass(frozen=True)
class Refusal:
    request: Request
    problem: str

    def report(self) -> dict[str, t.Any]:
        nothing = dict.fromkeys(("certificate", "serial", "not_after"), "")
        return {
            "name": self.request.name,
            "usage": self.request.usage,
            **nothing,
            "limited": False,
            "problem": self.problem,
        }


@dataclasses.dataclass(frozen=True)
class _Issuer:
    entry: x509.Entry
    key: t.Any
    now: datetime.datetime

    @property
    def algorithm(self) -> hashes.SHA256 | None:
        return x509.signing_algorithm(self.key)


def sign(
    directory: ca.Directory,
    passphrase: str,
    wanted: t.Sequence[Request],
    check_mode: bool = False,
    now: datetime.datetime | None = None,
) -> list[Certificate | Refusal]:
    """Sign and record the requests, in their order. One that is refused is nobody else's affair: it may come from a
    host that answers as it likes. In check mode only what is refused comes back.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    answers: dict[int, Certificate | Refusal] = {}
    for group in dict.fromkeys(request.group for request in wanted) or (layout.DEFAULT_GROUP,):
        theirs = {number: request for number, request in enumerate(wanted) if request.group == group}
        answers.update(_sign_in_group(directory, passphrase, group, theirs, check_mode, now))
    return [answers[number] for number in sorted(answers)]


def _sign_in_group(
    directory: ca.Directory,
    passphrase: str,
    group: str,
    wanted: t.Mapping[int, Request],
    check_mode: bool,
    now: datetime.datetime,
) -> dict[int, Certificate | Refusal]:
    """By the number of each request. The CA of one group keeps no other from signing."""
    try:
        signed = _sign(directory.group(group), passphrase, [*wanted.values()], check_mode, now)
    except ca.CaError as error:
        if group == layout.DEFAULT_GROUP:
            raise
        signed = [Refusal(request, str(error)) for request in wanted.values()]
    by_request = {id(answer.request): answer for answer in signed}
    return {number: by_request[id(request)] for number, request in wanted.items() if id(request) in by_request}


def _sign(
    directory: ca.Directory, passphrase: str, wanted: t.Sequence[Request], check_mode: bool, now: datetime.datetime
) -> list[Certificate | Refusal]:
    if check_mode:
        if directory.certificate.exists():
            _load_issuer(directory, passphrase, now)
        return [answer for request in wanted if (answer := _refused(directory, request, now))]
    with ca.lock_existing(directory):
        issuer = _load_issuer(directory, passphrase, now)
        sign_one = _issued_elsewhere if directory.is_elsewhere else _certificate
        answers = [_refused(directory, request, now) or sign_one(issuer, request) for request in wanted]
        known = [path.read_text(encoding="ascii") for path in directory.issued.glob("*.pem")]
        signed = [answer for answer in answers if isinstance(answer, Certificate)]
        _record(directory, [answer for answer in signed if answer.pem not in known], now)
        exported = [holders.Holder("export", identity=one.request.name) for one in signed if one.request.exported]
        if not directory.home:
            holders.add(directory, exported)
    if directory.home and exported:  # one record for all groups, whose lock is never awaited within that of a group
        with ca.lock_existing(directory.root):
            holders.add(directory.root, exported)
    return answers


def asked(wanted: t.Iterable[Request]) -> list[dict[str, str]]:
    """Requests as a CA elsewhere gets them, with a name for their files that is another one for each key."""
    found = []
    for request in wanted:
        key = _public_key(request).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        file = f"{request.usage}-{_safe(request.name)}-{hashlib.sha256(key).hexdigest()[:16]}"
        found.append({"file": file, "request": f"{pem.requests(request.pem)[0]}\n"})
    return found


def _issued_elsewhere(issuer: _Issuer, request: Request) -> Certificate | Refusal:
    """The certificate that a CA elsewhere has issued, if it is what was asked for and nothing more."""
    if not pem.certificates(request.certificate):
        because = request.reason or "docker_ca_issue_tasks has not set docker_ca_issued_certificate"
        return Refusal(
            request,
            f"There is no certificate for {request} yet: {because.rstrip('.')}. Its key waits; run the playbook again "
            "when there is one.",
        )
    names, public = _general_names(request), _public_key(request)
    end = min(_wanted_end(issuer, request) + x509.CLOCK_SKEW, ending.end(request.expires) or _LAST)
    found = issued.problems(
        request.certificate, issuer.entry, public, request.name, request.usage, names, end, issuer.now
    )
    if found:
        return Refusal(
            request,
            f"The certificate that was issued elsewhere for {request} is not what was asked for: {'; '.join(found)}. "
            "It was not used; correct docker_ca_issue_tasks or what that CA issues.",
        )
    entry = x509.load_bundle(issued.first(request.certificate))[0]
    limited = entry.not_after < end - 2 * x509.CLOCK_SKEW
    return Certificate(request, entry.certificate, limited, _sent_along(issuer))


def _refused(directory: ca.Directory, request: Request, now: datetime.datetime) -> Refusal | None:
    try:
        _validate(request, now)
        _refuse_other_key(request)
        names = _general_names(request)
        if directory.is_elsewhere and issued.asks_for_more(
            f"{pem.requests(request.pem)[0]}\n", request.name, request.usage, names
        ):
            raise _refusal(request, "asks for something else than it should")
        if request.usage == "client" and request.name in directory.marks():
            raise _refusal(
                request,
                "is refused, because this client was revoked. Choose another name, or allow this one again: "
                f"bulkhead.docker.revoke_client -e docker_revoke_name={request.name} -e docker_revoke_state=absent",
            )
    except RequestError as error:
        return Refusal(request, str(error))
    return None


def _refusal(request: Request, reason: str) -> RequestError:
    return RequestError(f"The request for {request} {reason}. It was not signed.")


def _load_issuer(directory: ca.Directory, passphrase: str, now: datetime.datetime) -> _Issuer:
    directory.phase()  # a damaged rotation is repaired before anything is signed
    entry = directory.load_certificate()
    if entry.not_after <= now:
        raise ca.CaError(
            f"The CA in {directory.path} expired on {entry.not_after:%Y-%m-%d}. "
            + (
                "Put its successor into docker_ca_existing_certificate."
                if directory.is_elsewhere
                else "Rotate it with the playbook bulkhead.docker.rotate_ca."
            )
        )
    if directory.is_elsewhere:
        return _Issuer(entry, None, now)
    key = ca.load_key(directory.key, passphrase)
    if not x509.same_key(entry.certificate.public_key(), key.public_key()):
        raise ca.CaError(
            f"{directory.key} is not the key of {directory.certificate}. If a rotation was interrupted, run the "
            "playbook bulkhead.docker.rotate_ca again; else bring the key back from a backup."
        )
    return _Issuer(entry, key, now)


def _validate(request: Request, now: datetime.datetime) -> None:
    if request.usage == "client" and not layout.is_name(request.name):
        raise _refusal(
            request, "has no name for a client: 1 to 64 letters, digits and @ . _ + -, the first one a letter or digit"
        )
    if not 1 <= len(request.name) <= 64 or not request.name.isprintable():
        raise _refusal(request, "has no name for a certificate: 1 to 64 characters without control characters")
    if request.valid_days < 1:
        raise _refusal(request, f"is for {request.valid_days} days; valid_days is at least 1")
    try:
        if ending.is_over(request.expires, now):
            raise _refusal(request, f"is for a client whose access ended on {request.expires}")
    except ending.DayError as error:
        raise _refusal(request, f"has an end that cannot be read: {error}") from error


def _public_key(request: Request) -> t.Any:
    blocks = pem.requests(request.pem) if len(request.pem) <= _LIMIT else []
    if len(blocks) != 1:
        raise _refusal(request, "is not exactly one certificate request in PEM format")
    try:
        parsed = cx509.load_pem_x509_csr(f"{blocks[0]}\n".encode())
        key, genuine = parsed.public_key(), parsed.is_signature_valid
    except x509.UNREADABLE as error:
        raise _refusal(request, f"cannot be read ({error or type(error).__name__})") from error
    if not genuine:
        raise _refusal(request, "is not signed with its own key, so whoever sent it need not have that key")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA_SIZES:
        return key
    raise _refusal(
        request,
        f"has a key of the type {x509.public_key_label(key)}; accepted are P-256, P-384 and RSA of 2048 to 8192 bits",
    )


def _refuse_other_key(request: Request) -> None:
    """A certificate for another type of key would be due again in the next run, and in each one after it."""
    has = x509.public_key_label(_public_key(request))
    if request.key and has != request.key:
        raise _refusal(
            request,
            f"has a key of the type {has} instead of {request.key}. Its host has made another one than was asked for",
        )


def _general_names(request: Request) -> list[cx509.GeneralName]:
    if request.usage == "server" and not request.names:
        raise _refusal(request, "has no names, and clients check nothing else")
    return [_general_name(request, name) for name in dict.fromkeys(request.names)]


def _general_name(request: Request, name: str) -> cx509.GeneralName:
    try:
        return requests.general_name(name)
    except ValueError as error:
        raise _refusal(
            request, f"names '{name}', which is neither DNS: with a host name nor IP: with an address"
        ) from error


def _wanted_end(issuer: _Issuer, request: Request) -> datetime.datetime:
    """When the certificate ends, unless its CA does before."""
    days = min(request.valid_days, (_LAST - issuer.now).days)
    return min(issuer.now + datetime.timedelta(days=days), ending.end(request.expires) or _LAST)


def _certificate(issuer: _Issuer, request: Request) -> Certificate:
    key, names = _public_key(request), _general_names(request)
    wanted = _wanted_end(issuer, request)
    limited = wanted > issuer.entry.not_after
    end = min(wanted, issuer.entry.not_after)
    usage = x509.key_usage("digital_signature")
    builder = (
        cx509.CertificateBuilder()
        .subject_name(cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, request.name)]))
        .issuer_name(issuer.entry.certificate.subject)
        .public_key(key)
        .serial_number(cx509.random_serial_number())
        .not_valid_before(issuer.now - x509.CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(usage, critical=True)
        .add_extension(cx509.ExtendedKeyUsage([_USAGES[request.usage]]), critical=False)
        .add_extension(cx509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(cx509.AuthorityKeyIdentifier(_key_identifier(issuer), None, None), critical=False)
    )
    if names:
        builder = builder.add_extension(cx509.SubjectAlternativeName(names), critical=False)
    return Certificate(request, builder.sign(issuer.key, issuer.algorithm), limited, _sent_along(issuer))


def _sent_along(issuer: _Issuer) -> str:
    return "" if x509.is_root(issuer.entry) else f"{issuer.entry.pem}\n"


def _key_identifier(issuer: _Issuer) -> bytes:
    certificate = issuer.entry.certificate
    try:
        own = certificate.extensions.get_extension_for_class(cx509.SubjectKeyIdentifier).value
    except cx509.ExtensionNotFound:
        own = cx509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return own.digest


def _record(directory: ca.Directory, certificates: t.Iterable[Certificate], now: datetime.datetime) -> None:
    """One file for each, on the disk before anybody gets the certificate."""
    written: list[pathlib.Path] = []
    try:
        _files.make_folder(directory.issued, 0o700)
        for leftover in directory.issued.glob(".*.bulkhead-new"):
            leftover.unlink()
        for certificate in certificates:
            path = _record_path(directory, certificate.request, now)
            new = _files.staged(path, "new")
            _files.write(new, certificate.pem.encode(), 0o644)
            new.replace(path)
            written.append(path)
        _files.sync_folder(directory.issued)
    except OSError as error:
        for path in written:
            path.unlink()
        raise ca.CaError(
            f"The certificates cannot be recorded in {directory.issued} ({error.strerror}: {error.filename}). "
            "Nothing was signed."
        ) from error


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _record_path(directory: ca.Directory, request: Request, now: datetime.datetime) -> pathlib.Path:
    while True:
        path = directory.issued / f"{request.usage}-{_safe(request.name)}-{now:%Y%m%dT%H%M%S%fZ}.pem"
        if not path.exists():
            return path
        now += datetime.timedelta(microseconds=1)
