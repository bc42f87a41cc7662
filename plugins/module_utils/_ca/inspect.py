# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything about a CA in one read: its certificates, key, record and lists. Never the text of a key."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import stat
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import holders
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509
from cryptography import x509 as cx509


@dataclasses.dataclass(frozen=True)
class _Authority:
    """The CA, its successor or its predecessor, or another CA that is trusted beside one whose key is elsewhere."""

    role: str
    entry: x509.Entry

    @property
    def certificate(self) -> cx509.Certificate:
        return self.entry.certificate

    @property
    def fingerprint(self) -> str:
        return x509.fingerprint(self.entry)

    def report(self) -> dict[str, t.Any]:
        return {"role": self.role, **describe(self.entry)}


def describe(entry: x509.Entry) -> dict[str, t.Any]:
    certificate, described = entry.certificate, x509.report(entry)
    return {
        "subject": described["subject"],
        "common_name": next(iter(entry.common_names), ""),
        "fingerprint_sha256": x509.fingerprint(entry),
        "serial": described["serial"],
        "not_after": described["not_after"],
        "days_left": described["days_left"],
        "key_type": described["key"],
        "self_signed": certificate.issuer == certificate.subject,
    }


def gather(directory: ca.Directory, passphrase: str, assume_revoked: t.Iterable[str] = ()) -> dict[str, t.Any]:
    """What docker_ca_info returns. What cannot be read is named in ``problems`` and stops nothing."""
    groups = []
    for name, group in directory.all_groups().items():
        found = _gather_one(group, passphrase, assume_revoked)
        del found["holders"]  # who has access is recorded once for all groups
        groups.append({"name": name, **found})
    return {**_gather_one(directory, passphrase, assume_revoked), "groups": groups}


def _gather_one(directory: ca.Directory, passphrase: str, assume_revoked: t.Iterable[str]) -> dict[str, t.Any]:
    with ca.lock(directory, shared=True):
        return _gather(directory, passphrase, assume_revoked)


def _gather(directory: ca.Directory, passphrase: str, assume_revoked: t.Iterable[str]) -> dict[str, t.Any]:
    problems: list[str] = []
    phase = _attempt(problems, directory.phase, "")
    authorities = _authorities(directory, problems)
    signing = next((one for one in authorities if one.role == "signing"), None)
    revoked = sorted({*directory.marks(), *assume_revoked})
    listed = _listed(directory, problems)
    of_record: list[str] = []
    issued = _issued(directory, authorities, revoked, listed or set(), of_record)
    held = _attempt(of_record, lambda: holders.found(directory), [])
    has_lists = listed is not None and _has_whole_lists(directory, phase, issued)
    key = _key(directory, passphrase, signing, problems)
    bundle = _bundle(directory, problems)
    above = _above(directory, bundle, problems)
    return {
        "path": str(directory.path),
        "exists": directory.certificate.exists(),
        "complete": signing is not None
        and bundle.startswith(signing.entry.pem)
        and above is not None
        and (directory.is_elsewhere or (has_lists and key["mode"] == "0600")),
        "elsewhere": directory.is_elsewhere,
        "phase": phase,
        "bundle": bundle,
        "client_bundle": bundle + "".join(f"{entry.pem}\n" for entry in above or []),
        "retired": _attempt(problems, lambda: retired(directory), ""),
        "certificates": [one.report() for one in authorities],
        "key": key,
        "crl": has_lists,
        "revocation_lists": _published_lists(directory) if has_lists else "",
        "revoked": revoked,
        "issued": issued,
        "holders": [dataclasses.asdict(one) for one in held],
        "record_problems": of_record,
        "problems": problems + of_record,
    }


def _published_lists(directory: ca.Directory) -> str:
    blocks = pem.revocation_lists(pem.decode(_files.content(directory.crl) or b""))
    return "".join(f"{block}\n" for block in blocks)


def retired(directory: ca.Directory) -> str:
    """The certificates of CAs that were replaced; '' where there is none."""
    content = _files.content(directory.retired)
    if content is None:
        return ""
    try:
        return "".join(f"{entry.pem}\n" for entry in x509.load_bundle(pem.decode(content)))
    except x509.CertificateError as error:
        raise ca.CaError(
            f"{directory.retired} cannot be used: {error}. Bring it back from a backup, or take out what is no "
            "certificate: hosts that were left behind in a rotation are known by it."
        ) from error


def issued(directory: ca.Directory, assume_revoked: t.Iterable[str] = ()) -> list[dict[str, t.Any]]:
    """The record alone, as in ``gather``. The caller holds the lock."""
    return record(directory, assume_revoked)[0]


def record(directory: ca.Directory, assume_revoked: t.Iterable[str] = ()) -> tuple[list[dict[str, t.Any]], list[str]]:
    """The same, and a sentence for each file of it that cannot be read."""
    problems: list[str] = []
    revoked = {*directory.marks(), *assume_revoked}
    elsewhere: list[str] = []
    authorities, listed = _authorities(directory, elsewhere), _listed(directory, elsewhere) or set()
    return _issued(directory, authorities, revoked, listed, problems), problems


def beside(directory: ca.Directory) -> list[dict[str, t.Any]]:
    """The records of other CAs in the same folder, as far as they can be read."""
    found: list[dict[str, t.Any]] = []
    for path in sorted(directory.path.parent.glob(f"*/{directory.certificate.name}")):
        if path != directory.certificate:
            with contextlib.suppress(ca.CaError, OSError):
                found += issued(ca.Directory(path.parent))
    return found


def revocation_list(directory: ca.Directory) -> cx509.CertificateRevocationList | None:
    """This CA's own list; None where there is none that can be read, or the list is another CA's."""
    blocks = pem.revocation_lists(pem.decode(_files.content(directory.crl) or b""))
    certificate = directory.load_certificate().certificate
    try:
        found = cx509.load_pem_x509_crl(f"{blocks[0]}\n".encode()) if blocks else None
        is_own = found is not None and found.is_signature_valid(t.cast("t.Any", certificate.public_key()))
    except x509.UNREADABLE:
        return None
    return found if is_own else None


def _has_whole_lists(directory: ca.Directory, phase: str, issued: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Whether each CA of the trust bundle has its own list in the file, with all that was revoked of what it signed."""
    try:
        places = directory.published(phase)
        for place in places:
            own = revocation_list(place)
            by_place = x509.fingerprint(place.load_certificate())
            mine = {int(one["serial"], 16) for one in issued if one["revoked"] and one["issuer"] == by_place}
            if own is None or not mine <= {entry.serial_number for entry in own}:
                return False
        blocks = pem.revocation_lists(pem.decode(_files.content(directory.crl) or b""))
        return blocks == [place.load_crl() for place in places]
    except ca.CaError:
        return False


def _attempt(problems: list[str], read: t.Callable[[], t.Any], default: t.Any) -> t.Any:
    try:
        return read()
    except ca.CaError as error:
        problems.append(str(error))
        return default


def _authorities(directory: ca.Directory, problems: list[str]) -> list[_Authority]:
    found = []
    for role, place in (("signing", directory), ("next", directory.next), ("previous", directory.previous)):
        if place.certificate.exists():
            entry = _attempt(problems, place.load_certificate, None)
            if entry:
                found.append(_Authority(role, entry))
    if directory.is_elsewhere and found:
        others = x509.load_bundle(
            _bundle(directory, []) or found[0].entry.pem
        )  # what is wrong with it is said elsewhere
        found += [_Authority("trusted", entry) for entry in others if entry != found[0].entry]
    return found


def _bundle(directory: ca.Directory, problems: list[str]) -> str:
    content = _files.content(directory.bundle)
    if content is None:
        return ""
    try:
        return "".join(f"{entry.pem}\n" for entry in x509.load_bundle(pem.decode(content)))
    except x509.CertificateError as error:
        problems.append(f"{directory.bundle} cannot be used: {error}.")
        return ""


def _above(directory: ca.Directory, bundle: str, problems: list[str]) -> list[x509.Entry] | None:
    """What clients trust beside the trust bundle: the certificates above issuing CAs. None where some are missing."""
    found: list[x509.Entry] = []
    for entry in x509.load_bundle(bundle) if bundle else []:
        chain = _attempt(problems, functools.partial(directory.load_above, entry), None)
        if chain is None:
            return None
        found += [one for one in chain if one not in found and f"{one.pem}\n" not in bundle]
    return found


def _key(directory: ca.Directory, passphrase: str, signing: _Authority | None, problems: list[str]) -> dict[str, t.Any]:
    if not directory.key.exists():
        return {"exists": False, "mode": "", "encrypted": False, "opens": False, "type": "", "matches": False}
    key = _attempt(problems, lambda: ca.load_key(directory.key, passphrase), None)
    public = key.public_key() if key else None
    return {
        "exists": True,
        "mode": f"{stat.S_IMODE(directory.key.stat().st_mode):04o}",
        "encrypted": _is_encrypted(directory),
        "opens": key is not None,
        "type": x509.public_key_label(public) if key else "",
        "matches": bool(key and signing and x509.same_key(signing.certificate.public_key(), public)),
    }


def _is_encrypted(directory: ca.Directory) -> bool:
    try:
        return pem.is_encrypted(pem.decode(directory.key.read_bytes()))
    except OSError:  # the problem is named already
        return False


def _listed(directory: ca.Directory, problems: list[str]) -> set[tuple[bytes, int]] | None:
    """Issuer and serial number of what the revocation lists hold; nothing where there is no list of this CA."""
    if not directory.crl.exists():
        return None
    found = set()
    for place in (directory, directory.next, directory.previous):
        content = _files.content(place.crl)
        if content is None:
            continue
        blocks = pem.revocation_lists(pem.decode(content))
        try:
            lists = [cx509.load_pem_x509_crl(f"{block}\n".encode()) for block in blocks]
            found |= {(one.issuer.public_bytes(), entry.serial_number) for one in lists for entry in one}
        except x509.UNREADABLE as error:
            blocks = []
            problems.append(f"{place.crl} cannot be read ({error}).")
        if place == directory and not blocks:
            return None
    return found


def _issued(
    directory: ca.Directory,
    authorities: t.Sequence[_Authority],
    revoked: t.Collection[str],
    listed: t.Collection[tuple[bytes, int]],
    problems: list[str],
) -> list[dict[str, t.Any]]:
    """The record of what was signed. A file's name does not say whose certificate it holds, the certificate does."""
    found = []
    recorded = {path.name for path in _files_of(directory.listed, problems)}
    for path in _files_of(directory.issued, problems):
        if path.suffix != ".pem":
            continue
        try:
            (entry,) = x509.load_bundle(pem.decode(path.read_bytes()))
            described = x509.report(entry)
        except OSError as error:
            problems.append(f"{path} cannot be read ({error.strerror}).")
            continue
        except (x509.CertificateError, ValueError) as error:
            problems.append(f"{path} does not hold exactly one certificate ({error}).")
            continue
        certificate, name = entry.certificate, next(iter(entry.common_names), "")
        usage = "client" if "clientAuth" in entry.usages else "server"
        found.append(
            {
                "name": name,
                "usage": usage,
                "serial": described["serial"],
                "not_before": described["not_before"],
                "not_after": described["not_after"],
                "days_left": described["days_left"],
                "issuer_subject": described["issuer"],
                "issuer": next((one.fingerprint for one in authorities if _issued_by(certificate, one)), ""),
                "revoked": (usage == "client" and name in revoked)
                or described["serial"] in recorded
                or (certificate.issuer.public_bytes(), certificate.serial_number) in listed,
            }
        )
    return found


def _files_of(folder: pathlib.Path, problems: list[str]) -> list[pathlib.Path]:
    """None where nothing was written yet; pathlib's glob would find none where the folder cannot be read, too."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{folder} cannot be read ({error.strerror}).")
        return []


def _issued_by(certificate: cx509.Certificate, authority: _Authority) -> bool:
    try:
        return x509.issued_by(certificate, authority.certificate)
    except x509.UNREADABLE:
        return False
