# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The docker CLI's ``config.json``: which context is current, changed without touching another byte.

The file also holds registry logins, so its text never goes into a message or a diff.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files as files

_KEY = "currentContext"
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class ConfigError(Exception):
    """One sentence about a config.json that cannot be changed safely."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The file as it is; ``text`` of None means that there is none."""

    path: pathlib.Path
    text: str | None
    data: dict[str, t.Any]

    @property
    def current(self) -> str:
        """The current context, empty for the default one."""
        return str(self.data.get(_KEY) or "")


def load(path: pathlib.Path) -> Config:
    try:
        text = files.read_regular(path)[0].decode("utf-8")
    except FileNotFoundError:
        return Config(path, None, {})
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text, so that docker cannot read it either; repair it first") from error
    if not text.strip():
        return Config(path, None, {})
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}); repair it first") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} does not hold a JSON object; repair it first")
    return Config(path, text, data)


def with_current(config: Config, name: str) -> str:
    """The text with ``name`` as the current context; empty removes the key, as ``docker context use default`` does."""
    text = _edit(config.text if config.text is not None else "{}\n", name)
    expected = {key: value for key, value in config.data.items() if key != _KEY}
    if name:
        expected[_KEY] = name
    if json.loads(text) != expected:
        raise ConfigError(f"{config.path} cannot be changed safely: it names {_KEY!r} in an unusual way")
    return text


def save(config: Config, text: str) -> None:
    """Replace the file, or what it links to, and keep the owner and mode that it has."""
    path = pathlib.Path(os.path.realpath(config.path))
    staged = path.with_name(f".{path.name}.bulkhead-new")
    try:
        found = path.stat()
    except FileNotFoundError:
        files.write(staged, text.encode(), 0o600)
    else:
        files.write(staged, text.encode(), found.st_mode & 0o777)
        if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            with contextlib.suppress(PermissionError):
                os.chown(staged, found.st_uid, found.st_gid)
    staged.replace(path)
    files.sync_folder(path.parent)


@dataclasses.dataclass(frozen=True)
class _Member:
    key: str
    start: int
    value: int
    end: int


def _skip(text: str, position: int) -> int:
    return t.cast("re.Match[str]", _SPACE.match(text, position)).end()


def _members(text: str) -> tuple[int, list[_Member]]:
    """Where the object begins, and where each of its members does; the text is known to be a JSON object."""
    begin = _skip(text, 0) + 1
    position = _skip(text, begin)
    members = []
    while text[position] != "}":
        key, end = _DECODER.raw_decode(text, position)
        value = _skip(text, _skip(text, end) + 1)
        _, end = _DECODER.raw_decode(text, value)
        members.append(_Member(key, position, value, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return begin, members


def _edit(text: str, name: str) -> str:
    begin, members = _members(text)
    at = [index for index, member in enumerate(members) if member.key == _KEY]
    if name and at:
        found = members[at[-1]]
        return text[: found.value] + json.dumps(name) + text[found.end :]
    if name and members:
        first = members[0].start
        return f"{text[:first]}{json.dumps(_KEY)}: {json.dumps(name)},{text[begin:first]}{text[first:]}"
    if name:
        return f"{text[:begin]}\n\t{json.dumps(_KEY)}: {json.dumps(name)}\n{text[_skip(text, begin) :]}"
    if not at:
        return text
    found, before, after = members[at[-1]], members[: at[-1]], members[at[-1] + 1 :]
    if after:
        return _edit(text[: found.start] + text[after[0].start :], name)
    return _edit(text[: before[-1].end if before else begin] + text[found.end :], name)
