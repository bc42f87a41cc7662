# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What PAM's account rules for sshd say of an account that does not exist yet, as far as files alone tell it.

Where the outcome depends on more than that, nothing is said here: a login tries it out once the account exists.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing as t

FOLDERS = (pathlib.Path("/etc/pam.d"), pathlib.Path("/usr/lib/pam.d"))
ACCESS = pathlib.Path("/etc/security/access.conf")
NO_LOGIN = (pathlib.Path("/etc/nologin"), pathlib.Path("/run/nologin"))
_HIGHEST_SYSTEM_UID = 999

_RULE = re.compile(r"-?account\s+(?P<control>\[[^]]*\]|\S+)\s+(?P<module>\S+)(?P<arguments>.*)")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of type account, those of included files in their place."""

    where: str
    control: str
    module: str
    arguments: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join((self.module, *self.arguments))

    @property
    def may_refuse(self) -> bool:
        return self.control in ("required", "requisite") or re.search(r"default=(bad|die)", self.control) is not None

    @property
    def may_end_it(self) -> bool:
        """Whether what follows is not asked any more when this rule succeeds."""
        return self.control == "sufficient" or "success=done" in self.control

    @property
    def skips(self) -> int:
        """How many rules are left out when this one succeeds."""
        match = re.search(r"success=(\d+)", self.control)
        return int(match.group(1)) if match else 0


def refusal(user: str, group: str) -> str:
    """A sentence that names the rule that would keep this account out; '' where none is known to."""
    rules = _rules("sshd", depth=8)
    number = 0
    while number < len(rules):
        rule = rules[number]
        if rule.may_refuse:
            reason = _reason(rule, user, group)
            if reason:
                return f"PAM would keep {user} out: {reason}"
        if rule.may_end_it and not rule.module.endswith("pam_permit.so"):
            return ""
        number += 1 + rule.skips
    return ""


def _rules(service: str, depth: int) -> list[Rule]:
    path = next((folder / service for folder in FOLDERS if (folder / service).is_file()), None)
    if path is None:
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    found: list[Rule] = []
    for number, line in enumerate(text.replace("\\\n", "  ").splitlines(), 1):
        words = line.partition("#")[0].split()
        included = ""
        if len(words) == 2 and words[0] == "@include":
            included = words[1]
        elif len(words) == 3 and words[0].lstrip("-") == "account" and words[1] in ("include", "substack"):
            included = words[2]
        if included:
            found += _rules(included, depth - 1) if depth else []
            continue
        match = _RULE.fullmatch(" ".join(words))
        if match:
            module = pathlib.PurePath(match.group("module")).name
            arguments = tuple(match.group("arguments").split())
            found.append(Rule(f"{path}:{number}", match.group("control"), module, arguments))
    return found


def _reason(rule: Rule, user: str, group: str) -> str:
    if rule.module == "pam_nologin.so":
        file = next((path for path in _no_login(rule) if path.exists()), None)
        return f"{file} exists, so that nobody but root may log in; remove it first." if file else ""
    if rule.module == "pam_succeed_if.so":
        return _succeed_if(rule, user, group)
    if rule.module == "pam_access.so":
        return _access(rule, user, group)
    return ""


def _no_login(rule: Rule) -> t.Sequence[pathlib.Path]:
    given = [argument[5:] for argument in rule.arguments if argument.startswith("file=")]
    return [pathlib.Path(path) for path in given] or NO_LOGIN


def _succeed_if(rule: Rule, user: str, group: str) -> str:
    text = " ".join(rule.arguments)
    low = any(
        int(match.group(2)) + (match.group(1) in (">", "gt")) > _HIGHEST_SYSTEM_UID
        for match in re.finditer(r"\buid\s+(>=|>|ge|gt)\s+(\d+)", text)
    )
    other_group = any(match.group(1) != group for match in re.finditer(r"\buser\s+ingroup\s+(\S+)", text))
    other_user = any(user not in match.group(1).split(":") for match in re.finditer(r"\buser\s+(?:in|=)\s+(\S+)", text))
    if not (low or other_group or other_user):
        return ""
    return (
        f"{rule.where} says '{rule.text}', and the accounts are system accounts in the group {group}; put "
        f"'account [success=1 default=ignore] pam_succeed_if.so quiet user ingroup {group}' right before it."
    )


def _access(rule: Rule, user: str, group: str) -> str:
    given = [argument[11:] for argument in rule.arguments if argument.startswith("accessfile=")]
    path = pathlib.Path(given[0]) if given else ACCESS
    separator = next((argument[9:] for argument in rule.arguments if argument.startswith("fieldsep=")), ":") or ":"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for number, line in enumerate(lines, 1):
        fields = [field.strip() for field in line.partition("#")[0].split(separator, 2)]
        if len(fields) != 3 or fields[0] not in ("+", "-") or not _means(fields[1], user, group):
            continue
        if fields[0] == "-" and fields[2] == "ALL":
            return (
                f"{rule.where} asks pam_access, and {path}:{number} says '{line.strip()}'; put '+:({group}):ALL' "
                "before that line."
            )
        return ""  # let in, or kept out from some addresses only
    return ""


def _means(patterns: str, user: str, group: str) -> bool:
    """pam_access's list of users and groups, `A B EXCEPT C`."""
    listed, _, excepted = patterns.partition(" EXCEPT ")
    names = {"ALL", user, group, f"({group})", f"@{group}"}
    return bool(names & set(listed.split())) and not (excepted and _means(excepted, user, group))
