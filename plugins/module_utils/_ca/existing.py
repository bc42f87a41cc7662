# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA to take over: a certificate and its key in files on the CA host, as people export them."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509
from cryptography import x509 as cx509

PASSPHRASE = "docker_ca_existing_passphrase"  # noqa: S105 the name of the variable


@dataclasses.dataclass(frozen=True)
class Files:
    certificate: pathlib.Path
    key: pathlib.Path
    passphrase: str


def files(options: t.Mapping[str, t.Any]) -> Files | None:
    """Those that the options of a module name; None also for a CA whose key is elsewhere."""
    if not options["existing_private_key"]:
        return None
    return Files(
        pathlib.Path(options["existing_certificate"]),
        pathlib.Path(options["existing_private_key"]),
        options["existing_passphrase"],
    )


def gather(directory: ca.Directory, passphrase: str, files: Files) -> dict[str, t.Any]:
    """Which CA the files hold, whether it was taken over already, and one sentence for each reason why it cannot be."""
    try:
        known = _known(directory)
        entries = certificates(files.certificate, may_be_gone=bool(known))
        if known:
            return _compare(directory, known, entries, files.certificate)
        entry = _entry_of_key(entries, files)
        _check_present_key(directory, passphrase, entry, files.key)
    except ca.CaError as error:
        return report(None, False, [str(error)])
    chain = x509.above(entry, entries)
    return report(entry, False, problems(entry, chain, files.certificate), chain)


def _compare(
    directory: ca.Directory, known: t.Collection[str], entries: t.Sequence[x509.Entry], path: pathlib.Path
) -> dict[str, t.Any]:
    same = [entry for entry in entries if x509.fingerprint(entry) in known]
    if same or not entries:
        return report(next(iter(same), None), True, [], x509.above(same[0], entries) if same else [])
    another = (
        f"{path} is not the CA that {directory.path} holds. To change to it, rotate the CA with the playbook "
        "bulkhead.docker.rotate_ca."
    )
    return report(entries[0], False, [another])


def report(
    entry: x509.Entry | None, taken_over: bool, against: list[str], chain: t.Sequence[x509.Entry] = ()
) -> dict[str, t.Any]:
    described = inspect.describe(entry) if entry else {}
    certificate, above = f"{entry.pem}\n" if entry else "", "".join(f"{one.pem}\n" for one in chain)
    is_coming = not taken_over and not against
    return {
        "certificate": certificate,
        "above": above,
        "bundle": certificate if is_coming else "",
        "client_bundle": certificate + above if is_coming else "",
        "subject": described.get("subject", ""),
        "not_after": described.get("not_after", ""),
        "days_left": described.get("days_left"),
        "taken_over": taken_over,
        "problems": against,
    }


def _known(directory: ca.Directory) -> set[str]:
    """The CA of the directory, and its successor while a rotation has begun."""
    if not directory.certificate.exists():
        return set()
    places = [directory, directory.next] if directory.next.certificate.exists() else [directory]
    return {x509.fingerprint(place.load_certificate()) for place in places}


def certificates(path: pathlib.Path, may_be_gone: bool) -> list[x509.Entry]:
    """Those of a file; none where it is gone and may be."""
    try:
        text = pem.decode(_files.content(path) or b"") if may_be_gone else pem.decode(path.read_bytes())
    except OSError as error:
        raise ca.CaError(f"The CA to take over, {path}, cannot be read ({error.strerror}).") from error
    if may_be_gone and not pem.certificates(text):
        return []
    try:
        return x509.load_bundle(text)
    except x509.CertificateError as error:
        raise ca.CaError(f"The CA to take over, {path}, is no certificate in PEM format: {error}.") from error


def _entry_of_key(entries: t.Sequence[x509.Entry], files: Files) -> x509.Entry:
    key = ca.load_key(files.key, files.passphrase, PASSPHRASE).public_key()
    for entry in entries:
        if x509.same_key(entry.certificate.public_key(), key):
            return entry
    raise ca.CaError(f"{files.key} is not the key of {files.certificate}.")


def _check_present_key(directory: ca.Directory, passphrase: str, entry: x509.Entry, key_path: pathlib.Path) -> None:
    """A key without a certificate is what an interrupted run leaves; nothing but its own certificate may follow."""
    if not directory.key.exists():
        return
    present = ca.load_key(directory.key, passphrase).public_key()
    if not x509.same_key(entry.certificate.public_key(), present):
        raise ca.CaError(f"{directory.key} is another key than {key_path}.")


def problems(entry: x509.Entry, chain: t.Sequence[x509.Entry], path: pathlib.Path) -> list[str]:
    """What stands against a CA and those above it, one sentence each."""
    found = []
    lacking = _lacking(entry.certificate)
    if lacking:
        found.append(
            f"{path} is no CA certificate that strict clients accept. It has to have the basic constraint CA:TRUE, the "
            f"key usages keyCertSign and cRLSign, and a subject key identifier; an issuing CA has an authority key "
            f"identifier, too. It lacks {', '.join(lacking)}."
        )
    return found if x509.is_root(entry) else [*found, *_problems_of_issuing(entry, chain, path)]


def _problems_of_issuing(entry: x509.Entry, chain: t.Sequence[x509.Entry], path: pathlib.Path) -> t.Iterator[str]:
    """Engines trust an issuing CA alone, and nothing else of its root. OpenSSL wants the root at clients."""
    constraints = _extension(entry.certificate, cx509.BasicConstraints)
    if constraints is not None and constraints.ca and constraints.path_length != 0:
        yield (
            f"{path} is an issuing CA that may have others below it (it has no pathlen:0), and whoever holds a client "
            "certificate of one of them would be root on every engine. Use an issuing CA for Docker alone, with "
            "pathlen:0."
        )
    last = [entry, *chain][-1]
    if not x509.is_root(last):
        yield (
            f"{path} lacks the certificate of {last.certificate.issuer.rfc4514_string()}. Put the certificates above "
            "the issuing CA behind it, up to the self-signed root: clients with OpenSSL accept no engine without them."
        )
    for one in chain:
        described = one.certificate.subject.rfc4514_string()
        if "CA:TRUE" in _lacking(one.certificate):
            yield f"{described} in {path} is no CA certificate. Bring the certificates that belong together."
        if one.not_after < entry.not_after:
            yield (
                f"{described} in {path} ends on {one.not_after:%Y-%m-%d}, before the issuing CA below it, and clients "
                "with OpenSSL accept no engine from then on. Renew that one first."
            )


def _lacking(certificate: cx509.Certificate) -> list[str]:
    constraints = _extension(certificate, cx509.BasicConstraints)
    usage = _extension(certificate, cx509.KeyUsage)
    has = {
        "CA:TRUE": constraints is not None and constraints.ca,
        "keyCertSign": usage is not None and usage.key_cert_sign,
        "cRLSign": usage is not None and usage.crl_sign,
        "a subject key identifier": _extension(certificate, cx509.SubjectKeyIdentifier) is not None,
        "an authority key identifier": certificate.issuer == certificate.subject
        or _extension(certificate, cx509.AuthorityKeyIdentifier) is not None,
    }
    return [name for name, there in has.items() if not there]


def _extension(certificate: cx509.Certificate, kind: type[t.Any]) -> t.Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except cx509.ExtensionNotFound:
        return None
