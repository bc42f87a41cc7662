# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""daemon.json: reading it, the options that would open the engine, and the merge that leaves foreign keys alone."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

TLS_KEYS = ("tls", "tlsverify", "tlscacert", "tlscert", "tlskey")


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
    """The object in the file; an empty file or none is an empty object, as it is for dockerd."""
    if not content or not content.strip():
        return {}

    def once(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
        result: dict[str, t.Any] = {}
        for key, value in pairs:
            if key in result:
                raise DaemonJsonError(f"{path} names the key '{key}' twice; keep the one that is meant.")
            result[key] = value
        return result

    try:
        found = json.loads(content.decode(), object_pairs_hook=once)
    except ValueError as error:
        raise DaemonJsonError(f"{path} is not JSON ({error}); correct or move the file, it was not touched.") from error
    if not isinstance(found, dict):
        raise DaemonJsonError(f"{path} does not hold a JSON object; correct or move the file, it was not touched.")
    return found


def dump(content: t.Mapping[str, t.Any], like: bytes | None = None) -> bytes:
    """The text of a daemon.json, indented as ``like``, so that a diff shows what changes and nothing else."""
    indent = re.search(rb'^([ \t]+)"', like or b"", re.MULTILINE)
    return (json.dumps(content, indent=indent.group(1).decode() if indent else 4, ensure_ascii=False) + "\n").encode()


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


def plain_hosts(hosts: t.Iterable[str]) -> list[str]:
    """The entries that listen on the network."""
    return [host for host in hosts if host.startswith(("tcp:", "http:", "https:")) or "://" not in host]


def extra_sockets(hosts: t.Iterable[str]) -> list[str]:
    """The entries that are unix sockets beside Docker's own."""
    own = ("", "/var/run/docker.sock", "/run/docker.sock")
    return [host for host in hosts if host.startswith("unix://") and host[len("unix://") :] not in own]


def asks_for_client_certificates(content: t.Mapping[str, t.Any]) -> bool:
    """Whether network entries of this daemon.json let in holders of a certificate of one CA alone."""
    return content.get("tlsverify") is True and bool(content.get("tlscacert"))
