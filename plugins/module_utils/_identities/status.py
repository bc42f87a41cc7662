# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user's identities are like, and why they have to be issued.

The user may have put anything into these files, and it concerns nobody else: whatever cannot be read is a reason.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import stat
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._identities.layout import (
    CA,
    CERT,
    FOLDER_MODE,
    KEY,
    MODES,
    Layout,
    is_group,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import renewal, x509


@dataclasses.dataclass(frozen=True)
class Rule:
    """What an identity has to be like."""

    bundle: str  # the trust bundle, the CA that signs first; empty while there is none
    key: str  # P-256, P-384 or RSA 3072
    renew_days: int
    force: bool = False
    retired: str = ""  # CAs that the one that signs has replaced
    client_ca: str | None = None  # whose first certificate signs, where that is another CA; empty while there is none
    now: datetime.datetime | None = None
    last: datetime.datetime | None = None  # when the identity ends

    @property
    def issuers(self) -> str:
        return self.bundle if self.client_ca is None else self.client_ca


@dataclasses.dataclass(frozen=True)
class Source:
    """A certificate and its key that something else keeps on the host."""

    certificate: pathlib.Path
    key: pathlib.Path


@dataclasses.dataclass(frozen=True)
class File:
    """One file of an identity; ``problem`` says why what is there cannot be read."""

    content: bytes | None = None
    mode: int | None = None
    problem: str = ""

    @property
    def exists(self) -> bool:
        return self.content is not None or bool(self.problem)

    @property
    def text(self) -> str:
        return (self.content or b"").decode("ascii", "replace")


def read(path: pathlib.Path) -> File:
    """A file of an identity."""
    try:
        return File(*_files.read_regular(path))
    except FileNotFoundError:
        return File()
    except OSError as error:
        return File(problem=error.strerror or str(error))


def status(
    layout: Layout, rule: Rule, source: Source | None = None, groups: t.Collection[str] = ()
) -> dict[str, t.Any]:
    """What the module returns about one identity; ``source`` is where something else keeps it.

    ``groups`` are the further access groups, each with a pair of its own.
    """
    files = {name: read(layout.folder / name) for name in MODES}
    pending = [name for name in (KEY, CERT) if os.path.lexists(layout.pending / name)]
    entry = _entry(files[CERT])
    findings: list[str] = []
    if source:
        reasons, findings = _kept(layout.name, files, source, rule)
        new_key = bool(reasons)
    else:
        reasons, new_key = _due(layout.name, files, pending, entry, rule)
    return {
        "name": layout.name,
        "group": layout.group,
        "left_groups": [] if layout.group else _left_groups(layout, groups),
        "folder": str(layout.folder),
        "pending": str(layout.pending),
        "exists": _folder_mode(layout.folder) is not None,
        "days_left": x509.days_left(entry.certificate, rule.now) if entry else None,
        "not_after": f"{entry.not_after:%Y-%m-%dT%H:%M:%SZ}" if entry else "",
        "reasons": reasons,
        "new_key": new_key,
        "findings": findings,
        "other_ca": x509.described(_strangers(files, entry, source, rule)) if entry else "",
        "issued_by_ca": _is_issued_by(files[CERT], rule)
        and (source is None or _is_issued_by(read(source.certificate), rule)),
        "ca_outdated": not rule.bundle or blocks(files[CA].text) != blocks(rule.bundle),
        "repairs": _repairs(layout, files, bool(reasons)),
    }


def _left_groups(layout: Layout, groups: t.Collection[str]) -> list[str]:
    """Access groups that the identity was in, and whose keys are still there."""
    found = {path.name for folder in (layout.folder, layout.pending) for path in _folders(folder)}
    return sorted(name for name in found if is_group(name) and name not in groups)


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    try:
        return [entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return []


def blocks(pem: str) -> list[str]:
    """The certificates of a bundle, however it was exported."""
    try:
        return ["".join(entry.pem.split()) for entry in x509.load_bundle(pem)]
    except x509.UNREADABLE:
        return []


def _entry(file: File) -> x509.Entry | None:
    try:
        return x509.load_bundle(file.text)[0]
    except x509.UNREADABLE:
        return None


def _strangers(
    files: t.Mapping[str, File], entry: x509.Entry, source: Source | None, rule: Rule
) -> t.Sequence[x509.Entry]:
    """The CAs of an identity that this run does not know. No run issues what something else keeps, so that it counts
    from which CA that is, and not whether its trust bundle has another one as well.
    """
    others = x509.strangers(files[CA].text, rule.bundle, rule.retired)
    if others or not source:
        return others
    return [
        other
        for other in x509.unknown(files[CA].text, rule.bundle, rule.retired)
        if x509.issued_by(entry.certificate, other.certificate)
    ]


def _is_issued_by(file: File, rule: Rule) -> bool:
    """Whether the CA that signs has issued a certificate."""
    try:
        certificate, signer = (x509.load_bundle(text)[0].certificate for text in (file.text, rule.issuers))
        return x509.issued_by(certificate, signer)
    except x509.UNREADABLE:
        return False


def _kept(name: str, files: t.Mapping[str, File], source: Source, rule: Rule) -> tuple[list[str], list[str]]:
    """Why the pair that something else keeps is taken over, and what is wrong with it; never both."""
    certificate, key = read(source.certificate), read(source.key)
    for path, file in ((source.certificate, certificate), (source.key, key)):
        if file.content is None:
            return [], [
                f"{path} cannot be read ({file.problem or 'it is not there'}); let whoever keeps it put it there"
            ]
    against = _against(name, certificate, key, rule)
    if against:
        return [], [
            f"{source.certificate} is not used, because {'; '.join(against)}; let whoever keeps it there correct that"
        ]
    entry = x509.load_bundle(certificate.text)[0]
    findings = []
    if renewal.due(entry.not_after, rule.renew_days, rule.now):
        findings = [
            f"its certificate in {source.certificate} ends on {entry.not_after:%Y-%m-%d} and was not renewed; let "
            "whoever keeps it there renew it"
        ]
    same = blocks(files[CERT].text) == blocks(certificate.text) and files[KEY].content == key.content
    return [] if same else [f"{source.certificate} holds another one"], findings


def _against(name: str, certificate: File, key: File, rule: Rule) -> list[str]:
    try:
        entry = x509.load_bundle(certificate.text)[0]
        signer = x509.load_bundle(rule.issuers)[0].pem if rule.issuers else ""
        against = x509.problems(entry.pem, signer, "client", at=rule.now) if signer else []
        if entry.common_names != [name]:
            against.append(f"it is for {', '.join(entry.common_names) or 'nobody'} instead of {name}")
        if not x509.same_key(entry.certificate.public_key(), x509.public_half(key.content or b"")):
            against.append("it does not belong to its key")
    except x509.UNREADABLE as error:
        return [str(error)]
    return against


def _due(
    name: str, files: t.Mapping[str, File], pending: t.Sequence[str], entry: x509.Entry | None, rule: Rule
) -> tuple[list[str], bool]:
    """Why an identity has to be issued, and whether that needs a new key."""
    key, cert = files[KEY], files[CERT]
    if not key.exists:
        return ["it has no private key" if cert.exists else "it does not exist yet"], True
    reasons, new_key = [], False
    unfit = _unfit(key, entry, rule.key)
    if pending:
        # The key moves first: one that waits is not in use yet, a certificate that waits alone is for the key in use.
        reasons.append("an earlier run was interrupted")
        new_key = KEY in pending
    elif unfit:
        reasons.append(unfit)
        new_key = True
    if rule.force:
        reasons.append("docker_client_renew_force is set")
        new_key = True
    if not cert.exists:
        return [*reasons, "it has no certificate"], new_key
    if cert.problem:
        return [*reasons, f"its certificate cannot be read: {cert.problem}"], new_key
    if entry and entry.common_names != [name]:
        reasons.append(f"its certificate is for {', '.join(entry.common_names) or 'nobody'}")
    reasons += renewal.reasons(
        cert.text, rule.issuers, "client", rule.key, rule.renew_days, now=rule.now, last=rule.last
    )
    return list(dict.fromkeys(reasons)), new_key


def _unfit(key: File, entry: x509.Entry | None, wanted: str) -> str:
    """Why this key cannot stay."""
    if key.problem:
        return f"its private key cannot be read: {key.problem}"
    try:
        public = x509.public_half(key.content or b"")
        if entry and not x509.same_key(entry.certificate.public_key(), public):
            return "its key and its certificate do not belong together"
    except x509.UNREADABLE as error:
        return str(error)
    has = x509.public_key_label(public)
    return "" if has == wanted else f"its key is {has} instead of {wanted}"


def _repairs(layout: Layout, files: t.Mapping[str, File], is_due: bool) -> list[dict[str, str]]:
    folders = [layout.folder, *([layout.pending] if is_due else [])]
    wrong = [(path, "directory", FOLDER_MODE) for path in folders if _folder_mode(path) != FOLDER_MODE]
    wrong += [
        (layout.folder / name, "file", MODES[name])
        for name, file in files.items()
        if file.mode is not None and file.mode != MODES[name]
    ]
    return [{"path": str(path), "state": state, "mode": f"{mode:04o}"} for path, state, mode in wrong]


def _folder_mode(path: pathlib.Path) -> int | None:
    """Its mode; None where there is no folder that can be looked into."""
    try:
        found = path.stat()
    except OSError:
        return None
    return stat.S_IMODE(found.st_mode) if stat.S_ISDIR(found.st_mode) else None
