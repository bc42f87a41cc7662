# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose signature a commit or tag has: a declared SSH key that is valid, or the revision is refused."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .errors import CommandError, RefusedError
from .repository import Repository
from .settings import Signer

_GOOD_TAG = re.compile(r'Good "git" signature for (\S+) with \S+ key (SHA256:\S+)')
_TAGGER = re.compile(r"tagger .*> (\d+) [+-]\d{4}")
_SSH = b"BEGIN SSH SIGNATURE"
_CLOCKS = 600  # seconds by which the clocks of signers and engines may differ


@dataclasses.dataclass(frozen=True)
class Signed:
    """A revision with a good signature of a declared key."""

    commit: str
    time: int
    signer: str
    tag: str = ""
    tag_object: str = ""


def commit(repository: Repository, name: str, signers: t.Iterable[Signer], now: float) -> Signed:
    form = "--format=%G?%n%GS%n%GF%n%ct"
    try:
        found = repository.text("log", "--no-walk", "--no-show-signature", form, name).split("\n")
    except CommandError as error:
        raise RefusedError(f"the signature of commit {name[:12]} cannot be verified: {error}") from error
    status, principal, fingerprint, time = (found + [""] * 4)[:4]
    what = f"commit {name[:12]}"
    if status != "G":
        raw = repository.bytes("cat-file", "commit", name).split(b"\n\n", 1)[0]
        raise RefusedError(f"{what} {_why(raw, b'gpgsig', fingerprint, signers)}")
    moment = int(time)
    return Signed(name, moment, _declared(what, principal, fingerprint, signers, moment, now))


def tag(repository: Repository, name: str, identifier: str, signers: t.Iterable[Signer], now: float) -> Signed:
    """The tag object with this identifier, which the server calls ``name``."""
    if repository.text("cat-file", "-t", identifier) != "tag":
        raise RefusedError(f"tag {name} is not signed: it names a commit directly; make it with git tag --sign.")
    raw = repository.bytes("cat-file", "tag", identifier)
    headers = raw.split(b"\n\n", 1)[0].decode("utf-8", "replace").split("\n")
    fields = dict(line.partition(" ")[::2] for line in headers)
    if fields.get("tag") != name:
        raise RefusedError(
            f"tag {name} is the tag object of {fields.get('tag')!r} under another name; push it as its own."
        )
    tagger = next((found for line in headers if (found := _TAGGER.fullmatch(line))), None)
    if fields.get("type") != "commit" or tagger is None:
        raise RefusedError(f"tag {name} does not name a commit, or has no date; make it with git tag --sign.")
    what = f"tag {name}"
    try:
        said = repository.complaint("verify-tag", "--raw", identifier).strip()
    except CommandError as error:
        found = re.search(r"SHA256:\S+", str(error))
        raise RefusedError(f"{what} {_why(raw, b'-----BEGIN', found[0] if found else '', signers)}") from error
    good = _GOOD_TAG.fullmatch(said)
    if not good:
        raise RefusedError(f"{what} has a signature of which git does not say that it is good; sign it anew.")
    moment = int(tagger[1])
    signer = _declared(what, good[1], good[2], signers, moment, now)
    return Signed(fields["object"], moment, signer, name, identifier)


def _declared(
    what: str, principal: str, fingerprint: str, signers: t.Iterable[Signer], moment: float, now: float
) -> str:
    """git has said that it is good. The time in a revision is its signer's word, so that the present counts as well."""
    signer = next((one for one in signers if (one.name, one.fingerprint) == (principal, fingerprint)), None)
    if signer is None:
        raise RefusedError(
            f"{what} is signed by {principal} with {fingerprint}, which docker_gitops_signers does not have."
        )
    if moment > now + _CLOCKS:
        raise RefusedError(f"{what} has a date in the future; correct the clock of {principal}, or of this host.")
    if not signer.is_valid_at(moment) or not signer.is_valid_at(now):
        raise RefusedError(f"{what} {_why(_SSH, _SSH, fingerprint, [signer])}")
    return signer.name


def _why(raw: bytes, mark: bytes, fingerprint: str, signers: t.Iterable[Signer]) -> str:
    if mark not in raw:
        return "is not signed; sign it with a key of docker_gitops_signers."
    if _SSH not in raw:
        return "is not signed with an SSH key but with OpenPGP or X.509; sign it with a key of docker_gitops_signers."
    if not fingerprint:
        return "has a signature for another content, or for another purpose than git; sign it anew."
    if any(fingerprint == signer.fingerprint for signer in signers):
        return f"is signed with {fingerprint} outside of the dates of this key in docker_gitops_signers; sign it anew."
    return f"is signed with {fingerprint}, which docker_gitops_signers does not have."
