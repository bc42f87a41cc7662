# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scopes of the gateway: what an identity may do, one rule a line, and the pattern of paths that each rule stands for.

Only what a rule names is allowed. Paths are compared as they were sent, so that no rule has to know how a path can be
written otherwise: no placeholder takes a percent sign, a second slash or a dot at the beginning of a part.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

ADMIN = "admin"  # everything, and no rules

# Before 1.24 the start of a container takes another configuration for it, which is root on the host.
_VERSION = r"(/v1\.(2[4-9]|[3-9][0-9]|[1-9][0-9][0-9]))?"
_PART = "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}"
_IMAGE_PART = "[a-zA-Z0-9][a-zA-Z0-9_.:@-]{0,254}"
_PLACEHOLDERS = {"{id}": _PART, "{image}": f"{_IMAGE_PART}(/{_IMAGE_PART}){{0,9}}"}
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PATH = re.compile(r"(/[a-zA-Z0-9_-][a-zA-Z0-9_.-]*|/\{id\}|/\{image\})+")
REDUCIBLE = ("GET", "/containers/{id}/json")


class ScopeError(Exception):
    """One sentence about a scope that cannot be understood."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """Methods and a path, with placeholders."""

    methods: tuple[str, ...]
    path: str
    body: bool = False  # whether requests may bring content
    reduced: bool = False  # whether the answer has no more than what the docker CLI needs of it for other commands

    def __str__(self) -> str:
        return f"{','.join(self.methods)} {self.path}{' body' * self.body}{' reduced' * self.reduced}"

    @property
    def pattern(self) -> str:
        """A regular expression for the whole path as it was sent."""
        text = self.path.replace(".", r"\.")
        for placeholder, expression in _PLACEHOLDERS.items():
            text = text.replace(placeholder, expression)
        return f"^{_VERSION}{text}$"


@dataclasses.dataclass(frozen=True)
class Scope:
    """What an identity may do."""

    name: str
    rules: tuple[Rule, ...]
    log_only: bool = False  # nothing is refused, and the log says what would be


def is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and text != ADMIN


def rule(line: str, where: str) -> Rule:
    """One line without its comment: METHODS PATH, and a word on content of requests or answers."""
    words = line.split()
    methods = tuple(words[0].split(",")) if words else ()
    unknown = [method for method in methods if method not in _METHODS]
    further = words[2:]
    if len(words) < 2 or further not in ([], ["body"], ["reduced"]) or unknown or len(set(methods)) != len(methods):
        raise ScopeError(
            f"{where} has the rule {line.strip()!r}; a rule is METHODS PATH, such as 'GET,HEAD /_ping', with the word "
            f"body behind it where requests may bring content. Methods are {', '.join(_METHODS)}."
        )
    if not _PATH.fullmatch(words[1]):
        raise ScopeError(
            f"{where} has the path {words[1]!r}; a path starts with /, has letters, digits and _ . - between slashes, "
            "no version, and {id} for a name or {image} for the name of an image."
        )
    if further == ["reduced"] and (*methods, words[1]) != REDUCIBLE:
        raise ScopeError(
            f"{where} has the rule {line.strip()!r}; the word reduced belongs to '{' '.join(REDUCIBLE)}' alone, whose "
            "answer then has the id of the container and whether it has a terminal."
        )
    return Rule(methods, words[1], further == ["body"], further == ["reduced"])


def rules(lines: t.Iterable[str], where: str, known: t.Callable[[str], t.Sequence[str] | None]) -> tuple[Rule, ...]:
    """The rules of a text. ``known`` gives the lines of the scope that an include names, or None."""
    return tuple(dict.fromkeys(_rules(lines, where, known, ())))


def _rules(
    lines: t.Iterable[str],
    where: str,
    known: t.Callable[[str], t.Sequence[str] | None],
    seen: tuple[str, ...],
) -> t.Iterator[Rule]:
    for text in lines:
        line = text.partition("#")[0].strip()
        word, included = line.partition(" ")[::2]
        if word == "include":
            name = included.strip()
            found = known(name)
            if found is None or name in seen:
                raise ScopeError(f"{where} includes {name!r}, which is no other scope; correct the name.")
            yield from _rules(found, f"the scope {name}", known, (*seen, name))
        elif line:
            yield rule(line, where)
