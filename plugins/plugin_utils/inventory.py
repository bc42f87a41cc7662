# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plan is made from: hosts, groups and variables, before any host is contacted."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.variables import Variable, VariableError


class UnresolvedError(Exception):
    """Why a variable has no value: it is built from something that is not known."""


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The inventory and how Ansible was called. Each mapping of variables raises UnresolvedError where it has to."""

    groups: t.Mapping[str, t.Sequence[str]]
    variables: t.Callable[[str], t.Mapping[str, t.Any]]
    play: t.Mapping[str, t.Any]  # the variables of the play that makes the plan
    extra: t.Mapping[str, t.Any]
    select: t.Callable[[str], t.Sequence[str]]  # the hosts of a pattern
    facts: t.Callable[[str], t.Collection[str]] = lambda host: ()
    results: t.Callable[[str], t.Collection[str]] = lambda host: ()  # variables that this run has set
    unread: t.Mapping[str, str] = dataclasses.field(
        default_factory=dict
    )  # variables in files that Ansible does not read
    limit: str = ""
    in_run: t.Collection[str] | None = None  # those of limit; None: all
    user: str = ""  # who runs Ansible
    remote_user: str = ""  # as whom Ansible connects where the inventory says nothing
    check_mode: bool = False
    command_line: str = ""  # what -e says itself, not in a file
    temporary: bool = False  # whether the control node ends with this run


class Reader:
    """Reads variables in their types. What is wrong with them is collected, so that all of it is said at once."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.problems: list[str] = []
        self._known: dict[str, t.Mapping[str, t.Any]] = {}

    def say(self, *problems: str) -> None:
        self.problems += [problem for problem in problems if problem not in self.problems]

    def of(self, host: str) -> t.Mapping[str, t.Any]:
        if host not in self._known:
            self._known[host] = self.inventory.variables(host)
        return self._known[host]

    def fleet(self) -> dict[str, t.Any]:
        return self._values(self.inventory.play, "", _variables.FLEET)

    def host(self, host: str, table: t.Iterable[Variable]) -> dict[str, t.Any]:
        return self._values(self.of(host), host, table)

    def given(self, host: str, table: t.Iterable[Variable]) -> list[str]:
        """The variables that are set at all: a default says nothing about what is wanted."""
        return [variable.name for variable in table if variable.name in self.of(host)]

    def plain(self, host: str, name: str) -> str:
        """A variable of Ansible's own, such as ansible_host, as text."""
        try:
            value = self.of(host).get(name)
        except UnresolvedError as error:
            self.say(unresolved(name, host, error))
            return ""
        return "" if value is None else str(value).strip()

    def _values(self, found: t.Mapping[str, t.Any], where: str, table: t.Iterable[Variable]) -> dict[str, t.Any]:
        values = {}
        for variable in table:
            values[variable.name] = variable.default
            try:
                if variable.name in found:
                    values[variable.name] = _variables.convert(variable, found[variable.name], where)
            except UnresolvedError as error:
                self.say(unresolved(variable.name, where, error))
            except VariableError as error:
                self.say(str(error))
        return values


def unresolved(name: str, host: str, reason: Exception) -> str:
    said = " ".join(str(reason).split()).rstrip(".")
    where = f"{name} of {host}" if host else name
    return (
        f"{where} cannot be resolved: {said}. Where it is built from facts: the plays of this collection gather none, "
        "so write the value itself, gather facts in a play of your own before, or keep them in a fact cache. Engines "
        "outside --limit count, too, because all contexts need their addresses."
    )


def unknown(name: str, known: t.Iterable[str]) -> str:
    """The advice for a name that nobody knows."""
    near = difflib.get_close_matches(name, sorted(known), 1, 0.6)
    return f"Did you mean {near[0]}?" if near else "Correct or remove it."


def listed(names: t.Sequence[str], limit: int = 5) -> str:
    """The names, as many as a sentence can carry."""
    rest = len(names) - limit
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:limit])} and {rest} more"
