# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which revision is to be deployed: signed, and after the one that was accepted before, or none."""

from __future__ import annotations

import dataclasses
import typing as t

from . import signatures
from .errors import RefusedError
from .repository import CANDIDATES, Repository
from .settings import Settings
from .signatures import Signed

_MOST_NEW_TAGS = 50


@dataclasses.dataclass
class Choice:
    """What was found; ``revision`` is the accepted one where nothing newer is."""

    revision: Signed | None
    tags: dict[str, str]  # every tag that was ever verified, with its object
    refused: list[str] = dataclasses.field(default_factory=list)


def choose(
    repository: Repository, settings: Settings, accepted: Signed | None, tags: t.Mapping[str, str], now: float
) -> Choice:
    choice = Choice(accepted, dict(tags))
    if settings.verify == "tag":
        _newest_tag(repository, settings, accepted, choice, now)
        return choice
    tip = repository.text("rev-parse", "--verify", f"{CANDIDATES}/branch^{{commit}}")
    if accepted is None or tip != accepted.commit:
        try:
            found = signatures.commit(repository, tip, settings.signers, now)
            _check_order(repository, f"commit {tip[:12]}", found, accepted)
            choice.revision = found
        except RefusedError as error:
            choice.refused.append(str(error))
    return choice


def _newest_tag(
    repository: Repository, settings: Settings, accepted: Signed | None, choice: Choice, now: float
) -> None:
    found = []
    prefix = f"{CANDIDATES}/tags/"
    looked_at = 0
    for line in repository.text(
        "for-each-ref", "--sort=-creatordate", "--format=%(objectname) %(refname)", prefix
    ).splitlines():
        identifier, _space, reference = line.partition(" ")
        name = reference[len(prefix) :]
        if accepted and repository.is_ancestor(f"{identifier}^{{commit}}", accepted.commit):
            if choice.tags.get(name, identifier) != identifier:
                choice.refused.append(_moved(name))
            continue
        looked_at += 1
        if looked_at > _MOST_NEW_TAGS:  # the server has not signed any of them
            choice.refused.append(f"the Git server has more than {_MOST_NEW_TAGS} new tags; the others were not read.")
            break
        try:
            if choice.tags.get(name, identifier) != identifier:
                raise RefusedError(_moved(name))
            signed = signatures.tag(repository, name, identifier, settings.signers, now)
            _check_order(repository, f"tag {name}", signed, accepted)
        except RefusedError as error:
            choice.refused.append(str(error))
            continue
        choice.tags[name] = identifier
        found.append(signed)
    if found:
        choice.revision = max(found, key=lambda signed: (signed.time, signed.tag))


def _moved(name: str) -> str:
    return f"tag {name} was moved to another object since it was verified; give a new version a new name."


def _check_order(repository: Repository, what: str, found: Signed, accepted: Signed | None) -> None:
    if accepted is None:
        return
    if not repository.is_ancestor(accepted.commit, found.commit):
        if repository.is_ancestor(found.commit, accepted.commit):
            raise RefusedError(
                f"{what} is older than {accepted.commit[:12]}, which was accepted before; revert with a new commit."
            )
        raise RefusedError(
            f"{what} does not descend from {accepted.commit[:12]}, which was accepted before: history was rewritten. "
            "Where that was meant, run docker-gitops forget on this host."
        )
    if found.time < accepted.time:
        raise RefusedError(
            f"{what} has an earlier date than {accepted.commit[:12]}, from which it descends; sign it anew."
        )
