# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""daemon.json: reading it, the options that would open the engine, and the merge that leaves foreign keys alone."""

from __future__ import annotations

import codecs
import dataclasses
import json
import math
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import hosts as _hosts

TLS_KEYS = ("tls", "tlsverify", "tlscacert", "tlscert", "tlskey")
_TEXTS = "a list of texts"
# The keys that this collection reads, and what dockerd takes there; null is the same as no such key.
_KINDS: dict[str, tuple[type, str]] = {
    "authorization-plugins": (list, _TEXTS),
    "data-root": (str, "a text"),
    "exec-opts": (list, _TEXTS),
    "features": (dict, "an object"),
    "graph": (str, "a text"),
    "hosts": (list, _TEXTS),
    "live-restore": (bool, "true or false"),
    "storage-driver": (str, "a text"),
    "tls": (bool, "true or false"),
    "tlscacert": (str, "a text"),
    "tlscert": (str, "a text"),
    "tlskey": (str, "a text"),
    "tlsverify": (bool, "true or false"),
    "userns-remap": (str, "a text"),
}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Whose values may hold a password or a token.
_SECRET = re.compile(r"prox|opts|token|secret|password|credential|registry-mirrors", re.IGNORECASE)
_NOT_SHOWN, _ANOTHER = "(not shown)", "(not shown, another one)"


class DaemonJsonError(Exception):
    """One sentence about a daemon.json, or about options for it, that cannot be used."""


@dataclasses.dataclass(frozen=True)
class Managed:
    """What the collection put into daemon.json: for each key, whether there was a value before, and which."""

    previous: dict[str, list[t.Any]]  # key -> [] (there was none) or [value]

    @classmethod
    def from_record(cls, record: t.Mapping[str, t.Any]) -> Managed:
        return cls(previous={key: list(value) for key, value in record.items()})


def parse(content: bytes | None, path: str) -> dict[str, t.Any]:
    """The object in the file; an empty file, one that holds null, and none are an empty object, as for dockerd."""

    def once(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
        result: dict[str, t.Any] = {}
        for key, value in pairs:
            if key in result:
                raise DaemonJsonError(f"{path} names the key {key!r} twice; keep the one that is meant.")
            result[key] = value
        return result

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is not a number of JSON")
        return value

    try:
        text = _decode(content or b"").strip()
        found = _sound(json.loads(text or "null", object_pairs_hook=once, parse_float=number, parse_constant=number))
    except (ValueError, RecursionError) as error:
        raise DaemonJsonError(f"{path} is not JSON ({error}); correct or move the file, it was not touched.") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise DaemonJsonError(f"{path} does not hold a JSON object; correct or move the file, it was not touched.")
    _refuse_other_kinds(found, path)
    return found


def _sound(value: t.Any) -> t.Any:
    """With U+FFFD for every escaped half of a character, which is how dockerd reads them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_sound(key): _sound(item) for key, item in value.items()}
    return [_sound(item) for item in value] if isinstance(value, list) else value


def _decode(content: bytes) -> str:
    """As dockerd decodes it: UTF-8, or since 23.0 what a byte order mark says. In 20.10, odd bytes became U+FFFD."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding)
    return content.decode("utf-8", "replace")


def _refuse_other_kinds(content: t.Mapping[str, t.Any], path: str) -> None:
    """What dockerd would not start with, as far as it is about keys that are read here."""
    for key, value in content.items():
        name = key.lower()
        if name in _KINDS and name != key:
            raise DaemonJsonError(f"{path} names the key {key!r}, which dockerd does not know; write it as {name!r}.")
        if name not in _KINDS or value is None:
            continue
        kind, needed = _KINDS[name]
        items = value if isinstance(value, list) else [value] if kind is str else []
        if not isinstance(value, kind) or not all(_is_text(item) for item in items):
            raise DaemonJsonError(
                f"{path} gives the key {key!r} something other than {needed}, and dockerd does not start with it; "
                "correct it."
            )


def _is_text(value: t.Any) -> bool:
    return value is None or (isinstance(value, str) and "\0" not in value)


def texts(content: t.Mapping[str, t.Any], key: str) -> list[str]:
    """The texts of a list; dockerd takes null for an empty list, and in one for an empty text."""
    return [item or "" for item in content.get(key) or []]


def hosts(content: t.Mapping[str, t.Any], path: str) -> list[str]:
    """Where dockerd listens by this file, in our spelling."""
    return [_host(entry, content, path) for entry in texts(content, "hosts")]


def network_entries(content: t.Mapping[str, t.Any], path: str) -> list[str]:
    """The entries of ``hosts`` that listen on the network, as they are written."""
    return [entry for entry in texts(content, "hosts") if _hosts.is_network(_host(entry, content, path))]


def _host(entry: str, content: t.Mapping[str, t.Any], path: str) -> str:
    try:
        return str(_hosts.parse(entry, content.get("tls") is True))
    except _hosts.HostError as error:
        raise DaemonJsonError(
            f"{path} names the host {entry!r}, which cannot be used ({error}); correct or remove it."
        ) from error


def dump(content: t.Mapping[str, t.Any], like: bytes | None = None) -> bytes:
    """The text of a daemon.json, indented as ``like``, so that a diff shows what changes and nothing else."""
    found = re.search(rb'^([ \t]+)"', like or b"", re.MULTILINE)
    indent = found.group(1).decode() if found else 4
    return (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode()


def diff(before: bytes | None, after: bytes | None, path: str) -> tuple[str, str]:
    """Both sides of a diff: the values of keys that change, unless they may hold a secret, and of others the name."""
    old, new = parse(before, path), parse(after, path)

    def shown(content: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any], changed: str) -> str:
        values = {
            key: (changed if _SECRET.search(key) else value) if key not in other or other[key] != value else _NOT_SHOWN
            for key, value in content.items()
        }
        return dump(values).decode()

    return (
        "" if before is None else shown(old, new, _NOT_SHOWN),
        "" if after is None else shown(new, old, _ANOTHER if before is not None else _NOT_SHOWN),
    )


def refuse_weak_options(options: t.Mapping[str, t.Any]) -> None:
    """Refuse extra options that touch what only the collection may decide: who reaches the engine, and how.

    ``tlsverify: false`` is TLS without client certificates, ``tls: false`` plain HTTP, ``tlsverify`` without
    ``tlscacert`` trusts every certificate authority that the host's system store trusts.
    """
    for key in ("hosts", *TLS_KEYS):
        if key in options:
            hint = {
                "hosts": "the addresses are set by 'listen' and 'port', and are never opened without TLS",
                "tls": "it would weaken or repeat the mutual TLS that is always on",
                "tlsverify": "it would weaken or repeat the mutual TLS that is always on",
            }.get(key, "the TLS files are installed and named by the collection itself")
            raise DaemonJsonError(
                f"daemon option '{key}' is not accepted: {hint}; remove it from the extra daemon options."
            )
    _refuse_other_kinds(options, "docker_engine_daemon_options")


def merge(
    current: t.Mapping[str, t.Any], desired: t.Mapping[str, t.Any], managed: Managed
) -> tuple[dict[str, t.Any], Managed]:
    """The new object and the new record: managed keys set, keys no longer managed given back, all others kept."""
    content = dict(current)
    previous: dict[str, list[t.Any]] = {}
    for key, before in managed.previous.items():
        if key in desired:
            previous[key] = before
        elif before:
            content[key] = before[0]
        else:
            content.pop(key, None)
    for key, value in desired.items():
        if key not in previous:
            previous[key] = [current[key]] if key in current else []
        content[key] = value
    return content, Managed(previous=previous)


def asks_for_client_certificates(content: t.Mapping[str, t.Any]) -> bool:
    """Whether network entries of this daemon.json let in holders of a certificate of one CA alone."""
    return content.get("tlsverify") is True and bool(content.get("tlscacert"))
