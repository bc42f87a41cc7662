# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mark of a client that was revoked, and the revocation lists with every certificate of a marked client.

The mark is on the disk before the lists are written: nobody gets a new certificate while the present ones are listed,
and it is all there is of a client that has no certificate. A lost list is made from the marks, the record of what was
signed, and the serial numbers that were listed before, whose names may be allowed again by now.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import holders, inspect, rotation
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import serialization


def revoke(
    directory: ca.Directory,
    passphrase: str,
    name: str,
    is_revoked: bool = True,
    check_mode: bool = False,
    now: datetime.datetime | None = None,
) -> list[str]:
    """Mark a client or remove its mark, and complete the lists; what was written, or in check mode would be."""
    if not layout.is_name(name):
        raise ca.CaError(
            f"'{name}' is not the name of an identity: 1 to 64 letters, digits and @ . _ + -, the first one a letter "
            "or digit. Nothing was changed."
        )
    directory, assumed = directory.root, [name] if is_revoked else []
    with _locked(directory, passphrase, check_mode):
        written = _mark(directory, name, is_revoked, check_mode)
        written += update_lists(directory, passphrase, assumed, check_mode, now)
    # Whoever signs for a group from now on sees the mark.
    for group in directory.all_groups().values():
        if not group.certificate.exists():
            continue
        with _locked(group, passphrase, check_mode):
            lists = update_lists(group, passphrase, assumed, check_mode, now)
        written += [f"{group.path.relative_to(directory.path)}/{path}" for path in lists]
    if is_revoked:  # last, because it may be unreadable; entries of hosts stay until these have lost their keys
        with ca.lock_existing(directory, shared=check_mode):
            written += holders.remove(directory, lambda one: (one.kind, one.identity) == ("export", name), check_mode)
    return written


def revoke_servers(
    directory: ca.Directory,
    passphrase: str,
    names: t.Collection[str],
    check_mode: bool = False,
    now: datetime.datetime | None = None,
) -> list[str]:
    """Put all certificates of servers on the lists; their names are free for whatever replaces them."""
    directory = directory.root  # no other signs for servers
    if not directory.certificate.exists():
        return []  # nor does it revoke any more
    with _locked(directory, passphrase, check_mode):
        return update_lists(directory, passphrase, (), check_mode, now, names)


@dataclasses.dataclass(frozen=True)
class Left:
    """What a client can still do that was revoked."""

    doubt: str  # why the records do not tell which certificates it has; '' where that is certain
    groups: tuple[str, ...]  # whose CAs have to be replaced to end it


def left(directory: ca.Directory, name: str, is_recorded: bool, groups: t.Collection[str] = ()) -> Left:
    """``is_recorded`` is whether it has to be in the records of these ``groups``, or where there are none in any."""
    cas = {layout.DEFAULT_GROUP: directory.root, **directory.root.all_groups()}
    cas = {group: place for group, place in cas.items() if place.certificate.exists()}
    held = {group: _certificates_of(place, name) for group, place in cas.items()}
    awaited = [group for group in cas if group in groups] if groups or any(held.values()) else list(cas)
    doubts = {group: doubt(place, name, is_recorded and group in awaited) for group, place in cas.items()}
    valid = [group for group in cas if any(one["issuer"] and one["days_left"] >= 0 for one in held[group])]
    return Left(
        doubt=" ".join(filter(None, doubts.values())),
        groups=tuple(group for group in cas if group in valid or doubts[group]),
    )


def _certificates_of(directory: ca.Directory, name: str) -> list[dict[str, t.Any]]:
    with ca.lock(directory, shared=True):
        return [one for one in inspect.issued(directory) if (one["usage"], one["name"]) == ("client", name)]


def doubt(directory: ca.Directory, name: str, is_recorded: bool) -> str:
    """Why the record of one CA does not tell which certificates a client that was revoked has.

    ``is_recorded`` is whether it has to be in the record. One that was revoked before the CA was made has none of it.
    """
    with ca.lock_existing(directory, shared=True):
        issued, problems = inspect.record(directory)
        if directory.phase() == "none" and _is_older(directory.revoked / name, directory.load_certificate()):
            return ""
    if is_recorded and not any((one["usage"], one["name"]) == ("client", name) for one in issued):
        problems.append(f"{directory.issued} has none, although it got one.")
    return " ".join(problems)


def _is_older(mark: pathlib.Path, entry: x509.Entry) -> bool:
    """Whether the mark is older than a CA, whose certificate knows no parts of a second."""
    made = (entry.not_before + x509.CLOCK_SKEW).timestamp()
    return mark.exists() and int(mark.stat().st_mtime) <= made


@contextlib.contextmanager
def _locked(directory: ca.Directory, passphrase: str, check_mode: bool) -> t.Iterator[None]:
    with ca.lock_existing(directory, shared=check_mode):
        if not check_mode:
            rotation.finish(directory)
        if not check_mode and not directory.is_elsewhere:
            _load_key(directory, passphrase)  # or there would be a mark and no list
        yield


def _mark(directory: ca.Directory, name: str, is_revoked: bool, check_mode: bool) -> list[str]:
    path = directory.revoked / name
    if path.exists() == is_revoked:
        return []
    if is_revoked and not check_mode:
        _files.make_folder(directory.revoked, 0o700)
        ca.replace(path, b"", 0o600)
    elif not check_mode:
        path.unlink()
        _files.sync_folder(directory.revoked)
    return [str(path.relative_to(directory.path))]


def update_lists(
    directory: ca.Directory,
    passphrase: str,
    assume_revoked: t.Iterable[str] = (),
    check_mode: bool = False,
    now: datetime.datetime | None = None,
    servers: t.Collection[str] = (),
) -> list[str]:
    """Bring the lists of the CA, its successor and the old one in line with marks and record, and publish them.

    The certificates that ``servers`` have by now are listed as well. A CA whose key is elsewhere publishes its own,
    and what was revoked is recorded alone.
    """
    issued = [
        {**one, "revoked": one["revoked"] or (one["usage"] == "server" and one["name"] in servers)}
        for one in inspect.issued(directory, assume_revoked)
    ]
    now = now or datetime.datetime.now(datetime.timezone.utc)
    recorded = _record_listed(
        directory, [one["serial"] for one in issued if one["revoked"] and one["issuer"]], check_mode
    )
    if directory.is_elsewhere:
        return recorded
    written: list[str] = []
    for place in dict.fromkeys([*directory.published(directory.phase()), directory.previous]):
        if place.certificate.exists() and not _is_being_removed(directory, place):
            written += _list_revoked(place, passphrase, issued, check_mode, now)
    if check_mode and written:  # what would be published is not there yet
        return written
    if directory.crl.exists() and rotation.publish(directory, check_mode):
        written.append(directory.bundle.name)
    return written


def _record_listed(directory: ca.Directory, serials: t.Iterable[str], check_mode: bool) -> list[str]:
    missing = [path for path in (directory.listed / serial for serial in serials) if not path.exists()]
    if missing and not check_mode:
        _files.make_folder(directory.listed, 0o700)
        for path in missing:
            ca.replace(path, b"", 0o600)
    return [str(path.relative_to(directory.path)) for path in missing]


def _is_being_removed(directory: ca.Directory, place: ca.Directory) -> bool:
    """The old CA, in the midst of whose removal a run was killed; its list is published no more."""
    return not place.key.exists() and place != directory and directory.phase() == "retire"


def _list_revoked(
    place: ca.Directory,
    passphrase: str,
    issued: t.Sequence[t.Mapping[str, t.Any]],
    check_mode: bool,
    now: datetime.datetime,
) -> list[str]:
    """A list keeps what it has, and gets every certificate of a client that was revoked, whoever revoked it."""
    entry = place.load_certificate()
    mine = {int(one["serial"], 16) for one in issued if one["revoked"] and one["issuer"] == x509.fingerprint(entry)}
    present = inspect.revocation_list(place)
    listed = {one.serial_number: one for one in present or ()}
    if present is not None and mine <= set(listed):
        return []
    if not check_mode:
        builder = (
            cx509.CertificateRevocationListBuilder()
            .issuer_name(entry.certificate.subject)
            .last_update(now - x509.CLOCK_SKEW)
            # An expired list refuses everyone; that of an expired CA has to have some end, too.
            .next_update(max(entry.not_after, now + datetime.timedelta(days=1)))
        )
        for revoked in listed.values():
            builder = builder.add_revoked_certificate(revoked)
        for serial in sorted(mine - set(listed)):
            one = cx509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(one.build())
        key = _load_key(place, passphrase)
        signed = builder.sign(key, x509.signing_algorithm(key))
        ca.replace(place.crl, signed.public_bytes(serialization.Encoding.PEM))
    return [place.crl.name]


def _load_key(place: ca.Directory, passphrase: str) -> t.Any:
    key = ca.load_key(place.key, passphrase)
    if not x509.same_key(place.load_certificate().certificate.public_key(), key.public_key()):
        raise ca.CaError(f"{place.key} is not the key of {place.certificate}. Bring it back from a backup.")
    return key
