# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dockerd's command line: what unit files or a service script really start, and where each flag is from."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
import typing as t

REMOTE_FLAGS = ("host", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey")
_SHORT = {
    "H": "host",
    "D": "debug",
    "G": "group",
    "g": "data-root",
    "l": "log-level",
    "p": "pidfile",
    "s": "storage-driver",
}
_VARIABLE = re.compile(r"^\$(?:(\w+)|\{(\w+)\})$")


class UnitError(Exception):
    """One sentence about a unit that cannot be worked with."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag of dockerd as it takes effect."""

    name: str
    value: str
    source: str  # the file that it stands in
    words: tuple[str, ...]  # as written, for writing it again


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """dockerd's command line without our own drop-in."""

    source: str  # the file whose ExecStart is in force
    words: tuple[str, ...]  # as written there; words[0] is dockerd
    variables: t.Mapping[str, tuple[str, str]]  # $NAME -> (value, file)

    def _expanded(self) -> list[tuple[str | None, str, list[Flag]]]:
        """For each word group: the raw word if it is a variable, its file, and the flags in it."""
        groups: list[tuple[str | None, str, list[Flag]]] = []
        plain: list[str] = []
        for word in self.words[1:]:
            match = _VARIABLE.match(word)
            if not match:
                plain.append(word)
                continue
            if plain:
                groups.append((None, self.source, parse_flags(plain, self.source)))
                plain = []
            value, file = self.variables.get(match.group(1) or match.group(2), ("", self.source))
            groups.append((word, file, parse_flags(shlex.split(value), file)))
        if plain:
            groups.append((None, self.source, parse_flags(plain, self.source)))
        return groups

    @property
    def flags(self) -> list[Flag]:
        return [flag for _, _, flags in self._expanded() for flag in flags]

    @property
    def remote_flags(self) -> list[Flag]:
        """The flags that decide where dockerd listens and whom it lets in."""
        return [flag for flag in self.flags if flag.name in REMOTE_FLAGS]

    def without_remote_flags(self) -> list[str]:
        """The words of an ExecStart that starts the same daemon, with its hosts and TLS left to daemon.json.

        A variable that carries such a flag is replaced by the rest of its value; any other stays a variable.
        """
        words = [self.words[0]]
        for variable, _, flags in self._expanded():
            keep = [flag for flag in flags if flag.name not in REMOTE_FLAGS]
            if variable is not None and len(keep) == len(flags):
                words.append(variable)
                continue
            for flag in keep:
                literal = variable is not None
                words.extend(_unit_literal(word) if literal else word for word in flag.words)
        return words


def parse_flags(words: t.Sequence[str], source: str) -> list[Flag]:
    """dockerd's flags; a word without a dash after a flag without '=' is its value (dockerd takes no arguments)."""
    flags: list[Flag] = []
    index = 0
    while index < len(words):
        word = words[index]
        used = [word]
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
        elif word.startswith("-") and len(word) > 1:
            name, value = _SHORT.get(word[1], word[1]), word[2:].lstrip("=")
            equals = "=" if value else ""
        else:
            name, value, equals = "", word, "="
        if not equals and index + 1 < len(words) and not words[index + 1].startswith("-"):
            index += 1
            value = words[index]
            used.append(value)
        flags.append(Flag(name=name, value=value, source=source, words=tuple(used)))
        index += 1
    return flags


def exec_start(words: t.Iterable[str]) -> str:
    """One ExecStart line; words with blanks are quoted as systemd reads them."""
    return " ".join('"' + word.replace('"', '\\"') + '"' if re.search(r"\s", word) else word for word in words)


def _unit_literal(word: str) -> str:
    return word.replace("%", "%%").replace("$", "$$")


def read_command_line(unit_files: t.Sequence[pathlib.Path]) -> CommandLine:
    """From the unit and its drop-ins, in systemd's order, without ours."""
    line, source = "", ""
    variables: dict[str, tuple[str, str]] = {}
    environment: list[tuple[str, str]] = []
    environment_files: list[str] = []
    for path in unit_files:
        for key, value in service_settings(path):
            if key == "ExecStart":
                line, source = value, str(path)
            elif key == "Environment":
                environment = [] if not value else [*environment, (value, str(path))]
            elif key == "EnvironmentFile":
                environment_files = [] if not value else [*environment_files, value.lstrip("-")]
    for value, file in environment:
        for assignment in shlex.split(value):
            name, _, content = assignment.partition("=")
            variables[name] = (content, file)
    for file in environment_files:
        variables.update(read_variables(pathlib.Path(file)))
    words = tuple(shlex.split(line))
    if not words:
        raise UnitError(
            f"docker.service has no ExecStart in {', '.join(map(str, unit_files)) or 'any unit file'}; "
            "reinstall Docker's packages."
        )
    return CommandLine(source=source, words=words, variables=variables)


def sets_exec_start(path: pathlib.Path) -> bool:
    return any(key == "ExecStart" for key, _ in service_settings(path))


def service_settings(path: pathlib.Path) -> list[tuple[str, str]]:
    """The settings of a unit file's [Service] section, in order, continued lines joined."""
    section, settings, pending = "", [], ""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    for raw in text.splitlines():
        if pending and raw.lstrip().startswith(("#", ";")):
            continue
        line = pending + raw.strip()
        pending = ""
        if line.endswith("\\"):
            pending = line[:-1].rstrip() + " "
            continue
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line:
            key, _, value = line.partition("=")
            settings.append((key.strip(), value.strip()))
    return settings


def read_variables(path: pathlib.Path) -> dict[str, tuple[str, str]]:
    """NAME="value" lines of an environment file such as /etc/default/docker."""
    variables: dict[str, tuple[str, str]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return variables
    for line in lines:
        name, equals, value = line.strip().partition("=")
        name = name[7:].strip() if name.startswith("export ") else name.strip()
        if equals and re.match(r"^[A-Za-z_]\w*$", name):
            try:
                variables[name] = (" ".join(shlex.split(value, comments=True)), str(path))
            except ValueError:
                variables[name] = (value, str(path))
    return variables
