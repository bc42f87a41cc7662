# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dockerd's command line: what unit files or a service script really start, and where each flag is from."""

from __future__ import annotations

import dataclasses
import glob
import pathlib
import re
import shlex
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import hosts as _hosts

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
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class UnitError(Exception):
    """One sentence about a unit that cannot be worked with."""


@dataclasses.dataclass(frozen=True)
class _Word:
    """One argument as dockerd gets it."""

    text: str
    source: str  # the file that it stands in
    index: int  # which word of ExecStart it is, or came out of
    position: int  # among the arguments


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag of dockerd as it takes effect."""

    name: str
    value: str
    arguments: tuple[_Word, ...]

    @property
    def source(self) -> str:
        return self.arguments[0].source

    @property
    def enabled(self) -> bool:
        """What a flag of dockerd's that is true or false says; without a value it is true."""
        if self.value in ("", "1", "t", "T", "true", "TRUE", "True"):
            return True
        if self.value in ("0", "f", "F", "false", "FALSE", "False"):
            return False
        raise UnitError(
            f"{self.source} gives dockerd {' '.join(self.words)!r}, which is neither true nor false; correct the flag."
        )

    @property
    def host(self) -> str:
        """Where a flag -H makes dockerd listen, in our spelling."""
        try:
            return str(_hosts.parse(self.value))
        except _hosts.HostError as error:
            raise UnitError(
                f"{self.source} gives dockerd {' '.join(self.words)!r}, which cannot be used ({error}); "
                "correct or remove the flag."
            ) from error

    @property
    def words(self) -> tuple[str, ...]:
        """As written, for writing it again."""
        return tuple(word.text for word in self.arguments)


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """dockerd's command line without our own drop-in."""

    source: str  # the file whose ExecStart is in force
    words: tuple[str, ...]  # as written there; words[0] is dockerd
    variables: t.Mapping[str, tuple[str, str]]  # $NAME -> (value, file)

    def _arguments(self) -> list[_Word]:
        """What dockerd gets: $NAME is split into words, ${NAME} is one, -DH is -D and -H."""
        arguments: list[_Word] = []
        for index, word in enumerate(self.words[1:], 1):
            parts, file = [word], self.source
            match = _VARIABLE.fullmatch(word)
            if match:
                value, file = self.variables.get(match.group(1) or match.group(2), ("", self.source))
                parts = _split(value) if match.group(1) else [value]
            for part in parts:
                while re.match(r"-D[^=]", part):
                    arguments.append(_Word("-D", file, index, len(arguments)))
                    part = f"-{part[2:]}"
                arguments.append(_Word(part, file, index, len(arguments)))
        return arguments

    @property
    def flags(self) -> list[Flag]:
        """A word without a dash after a flag without '=' is its value: dockerd takes no other arguments."""
        flags: list[Flag] = []
        rest = self._arguments()
        while rest:
            used = [rest.pop(0)]
            word = used[0].text
            if word.startswith("--"):
                name, equals, value = word[2:].partition("=")
            elif word.startswith("-") and len(word) > 1:
                name, value = _SHORT.get(word[1], word[1]), word[2:].lstrip("=")
                equals = "=" if value else ""
            else:
                name, value, equals = "", word, "="
            if not equals and rest and not rest[0].text.startswith("-"):
                used.append(rest.pop(0))
                value = used[-1].text
            flags.append(Flag(name, value, tuple(used)))
        return flags

    def last(self, *names: str) -> Flag | None:
        """The flag of one of these names that takes effect; of several, dockerd takes the last one."""
        return next((flag for flag in reversed(self.flags) if flag.name in names), None)

    @property
    def hosts(self) -> list[Flag]:
        """The flags that say where dockerd listens."""
        return [flag for flag in self.flags if flag.name == "host"]

    @property
    def remote_flags(self) -> list[Flag]:
        """The flags that decide where dockerd listens and whom it lets in."""
        return [flag for flag in self.flags if flag.name in REMOTE_FLAGS]

    def without_remote_flags(self) -> list[str]:
        """The words of an ExecStart that starts the same daemon, with its hosts and TLS left to daemon.json.

        A variable that carries such a flag is replaced by the rest of its value; any other stays a variable.
        """
        remote = {word for flag in self.remote_flags for word in flag.arguments}
        arguments = self._arguments()
        result = [self.words[0]]
        for index, raw in enumerate(self.words[1:], 1):
            here = [word for word in arguments if word.index == index]
            if remote.isdisjoint(here):
                result.append(raw)
                continue
            kept = [word.text for word in here if word not in remote]
            result += [_unit_literal(word) for word in kept] if _VARIABLE.fullmatch(raw) else kept
        return result


def _split(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def exec_start(words: t.Iterable[str]) -> str:
    """One ExecStart line; words with blanks, quotes or backslashes are quoted as systemd reads them."""
    return " ".join(
        '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r"[\s\"'\\;]|^$", word) else word
        for word in words
    )


def described(content: bytes) -> str:
    """A drop-in for a diff: the flags of dockerd without their values, which may hold a password or a token."""
    lines = []
    for line in content.decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition("=")
        program, *words = _split(value) or [""]
        if key.strip() == "ExecStart" and words:
            line = " ".join([f"{key}{equals}{program}", *(_without_value(word) for word in words)])
        lines.append(f"{line}\n")
    return "".join(lines)


def _without_value(word: str) -> str:
    if _VARIABLE.fullmatch(word):
        return word
    flag = re.match(r"--[\w-]*=?|-\w?", word)
    name = flag.group() if flag else ""
    return name if name == word else f"{name}(not shown)"


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
        for assignment in _split(value):
            name, _, content = assignment.partition("=")
            variables[name] = (content, file)
    for pattern in environment_files:
        # pathlib's own glob raises for patterns that systemd only finds nothing for.
        for name in sorted(glob.glob(pattern)):  # noqa: PTH207
            variables.update(read_variables(pathlib.Path(name)))
    words = tuple(_split(line))
    if not words:
        raise UnitError(
            f"docker.service has no ExecStart in {', '.join(map(str, unit_files)) or 'any unit file'}; "
            "reinstall Docker's packages."
        )
    return CommandLine(source=source, words=words, variables=variables)


def _read(path: pathlib.Path) -> str:
    """The file, or nothing; a NUL, which no argument of a program can have, is left out."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").replace("\0", "")
    except OSError:
        return ""


def sets_exec_start(path: pathlib.Path) -> bool:
    return any(key == "ExecStart" for key, _ in service_settings(path))


def service_settings(path: pathlib.Path) -> list[tuple[str, str]]:
    """The settings of a unit file's [Service] section, in order, continued lines joined."""
    section, settings, pending = "", [], ""
    text = _read(path)
    for raw in [*text.splitlines(), ""]:  # a line that goes on at the end of the file ends there
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


def read_variables(path: pathlib.Path, exported: bool = False) -> dict[str, tuple[str, str]]:
    """NAME="value" lines of an environment file such as /etc/default/docker; only a shell knows 'export NAME'."""
    variables: dict[str, tuple[str, str]] = {}
    text = _read(path)
    for line in re.sub(r"\\\n", "", text).splitlines():
        name, equals, value = line.strip().partition("=")
        if exported:
            name = re.sub(r"^export\s+", "", name)
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            continue
        try:
            variables[name] = (" ".join(shlex.split(value, comments=exported)), str(path))
        except ValueError:
            variables[name] = (value, str(path))
    return variables
