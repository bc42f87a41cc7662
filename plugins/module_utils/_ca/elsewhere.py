# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA whose key is not here: its certificates are pinned in the directory, and what it issues is recorded there.

The pinned certificates come from a file of the operator's, which may change as long as one of them stays: so that a CA
which is to be followed by another one is trusted beside it for a while.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import existing
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509


@dataclasses.dataclass(frozen=True)
class Pinned:
    """The issuing CAs of a file, the one that signs first, and what is above them."""

    issuing: tuple[x509.Entry, ...]
    above: tuple[x509.Entry, ...]

    @property
    def bundle(self) -> str:
        return "".join(f"{entry.pem}\n" for entry in self.issuing)

    @property
    def client_bundle(self) -> str:
        """With one path up to a root for each, as ``inspect.gather`` has it of what is pinned."""
        paths = dict.fromkeys(one for entry in self.issuing for one in x509.above(entry, self.above))
        return self.bundle + "".join(f"{entry.pem}\n" for entry in paths)

    def same_as(self, other: Pinned) -> bool:
        return self.issuing == other.issuing and set(self.above) == set(other.above)


def coming(directory: ca.Directory, passphrase: str, options: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """What the options of a module say about a CA that is brought along, with its key or without."""
    if not options["existing_certificate"]:
        return None
    files = existing.files(options)
    if files:
        return existing.gather(directory, passphrase, files)
    return gather(directory, pathlib.Path(options["existing_certificate"]))


def gather(directory: ca.Directory, path: pathlib.Path) -> dict[str, t.Any]:
    """Which CAs the file holds, whether they are pinned already, and why they cannot be; as ``existing.gather``."""
    try:
        pinned = _read(directory, path)
        if pinned is None:
            return existing.report(None, True, [])
        known = _known(directory)
        if not directory.key.exists() and known and known.same_as(pinned):
            return existing.report(pinned.issuing[0], True, [], pinned.above)
        problems = _problems(directory, known, pinned, path)
    except ca.CaError as error:
        return existing.report(None, False, [str(error)])
    return {
        **existing.report(pinned.issuing[0], False, problems, pinned.above),
        **({} if problems else {"bundle": pinned.bundle, "client_bundle": pinned.client_bundle}),
    }


def ensure(directory: ca.Directory, path: pathlib.Path, check_mode: bool = False) -> list[str]:
    """Pin the certificates of the file; what was written, or in check mode would be."""
    with ca.lock(directory, shared=check_mode, make=not check_mode):
        found = gather(directory, path)
        if found["problems"]:
            raise ca.CaError(" ".join(found["problems"]))
        pinned = _read(directory, path) or _known(directory)
        if pinned is None:
            raise ca.CaError(f"The CA to take over, {path}, cannot be read (No such file or directory).")
        if not check_mode:
            _files.make_folder(directory.issued, 0o700)
        return _write(directory, pinned, check_mode)


def _write(directory: ca.Directory, pinned: Pinned, check_mode: bool) -> list[str]:
    """What says whose directory it is comes first; the certificate that signs comes last."""
    before = _known(directory)
    retired = [] if before is None else [entry for entry in before.issuing if entry not in pinned.issuing]
    known = _text(directory.retired)
    files = {
        directory.elsewhere: "",
        directory.retired: known + "".join(f"{one.pem}\n" for one in retired if one.pem not in known),
        directory.above: "".join(f"{one.pem}\n" for one in pinned.above),
        directory.bundle: pinned.bundle,
        directory.certificate: f"{pinned.issuing[0].pem}\n",
    }
    due = {path: text for path, text in files.items() if _text(path) != text or path == directory.elsewhere}
    due = {path: text for path, text in due.items() if text or (path == directory.elsewhere and not path.exists())}
    for path, text in {} if check_mode else due.items():
        ca.replace(path, text.encode("ascii"))
    return [path.name for path in due]


def _text(path: pathlib.Path) -> str:
    return (_files.content(path) or b"").decode("ascii", "replace")


def _known(directory: ca.Directory) -> Pinned | None:
    """What is pinned by now."""
    if not directory.certificate.exists():
        return None
    try:
        issuing = x509.load_bundle(_text(directory.bundle))
        above = x509.load_bundle(_text(directory.above)) if _text(directory.above) else []
    except x509.CertificateError:
        issuing, above = [directory.load_certificate()], []
    return Pinned(tuple(issuing), tuple(above))


def _read(directory: ca.Directory, path: pathlib.Path) -> Pinned | None:
    """Those of the file. It may be gone once they are pinned."""
    entries = existing.certificates(path, may_be_gone=directory.certificate.exists())
    if not entries:
        return None
    unique = [entry for number, entry in enumerate(entries) if entry not in entries[:number]]
    above = x509.above_any(unique)
    issuing = [entry for entry in unique if entry not in above]
    if not issuing:
        raise ca.CaError(f"The CA to take over, {path}, has only CAs that certify each other. Name one below them.")
    return Pinned(tuple(issuing), tuple(above))


def _problems(directory: ca.Directory, known: Pinned | None, pinned: Pinned, path: pathlib.Path) -> list[str]:
    if directory.key.exists():
        return [
            f"{directory.path} holds a CA with its key, and docker_ca_issue_tasks is for one whose key is elsewhere. "
            "Give that one a docker_ca_dir of its own."
        ]
    if known and not set(known.issuing) & set(pinned.issuing):
        return [
            f"{path} has no CA that {directory.path} holds. Put the new CA behind the present one in it and run the "
            "playbook bulkhead.docker.site; then the new one first, and let docker_ca_issue_tasks ask that one; then "
            "the new one alone."
        ]
    found = _strays(known, pinned, path)
    for entry in pinned.issuing:
        found += existing.problems(entry, x509.above(entry, pinned.above), path)
    return found


def _strays(known: Pinned | None, pinned: Pinned, path: pathlib.Path) -> list[str]:
    """Roots beside an issuing CA, which engines would trust with all below; one that they trust may be followed."""
    if all(x509.is_root(entry) for entry in pinned.issuing):
        return []
    trusted = known.issuing if known else ()
    return [
        f"{entry.certificate.subject.rfc4514_string()} in {path} is a root of no issuing CA there, and engines would "
        "let in whoever any CA below it certifies. Take it out of the file."
        for entry in pinned.issuing
        if x509.is_root(entry) and entry not in trusted
    ]


def refuse_successor(directory: ca.Directory, is_successor: bool) -> None:
    if is_successor:
        raise ca.CaError(
            f"The CA in {directory.path} cannot be replaced by one whose key is elsewhere. Give that one a "
            "docker_ca_dir of its own."
        )


def refuse(directory: ca.Directory, what: str) -> None:
    """Where only the holder of the key can do what is asked for."""
    if directory.is_elsewhere:
        raise ca.CaError(
            f"The key of the CA in {directory.path} is elsewhere, so that {what}. Set docker_ca_issue_tasks, or name "
            "the directory of another CA in docker_ca_dir. Nothing was changed."
        )
