"""An inventory for the plan, from plain dictionaries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Inventory, UnresolvedError


class Variables(dict[str, Any]):
    """Variables of which those that are exceptions cannot be resolved."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if isinstance(value, UnresolvedError):
            raise value
        return value

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


def inventory(
    hosts: Mapping[str, Mapping[str, Any]] | None = None,
    groups: Mapping[str, list[str]] | None = None,
    extra: Mapping[str, Any] | None = None,
    play: Mapping[str, Any] | None = None,
    **options: Any,
) -> Inventory:
    """Engines `web1`, `web2` and `web3` with addresses, and what the arguments add or replace."""
    groups = {"docker_engines": ["web1", "web2", "web3"]} if groups is None else groups
    extra = extra or {}
    everybody = list(dict.fromkeys(host for members in groups.values() for host in members))
    known = {host: {"ansible_host": f"192.0.2.{number}"} for number, host in enumerate(everybody, 1)}
    known["localhost"] = {"ansible_connection": "local"}
    for host, values in (hosts or {}).items():
        known[host] = {**known.get(host, {}), **values}

    def select(pattern: str) -> list[str]:
        found: list[str] = []
        for word in re.split("[:,]", pattern):
            name = word.lstrip("!")
            members = everybody if name == "all" else groups.get(name, [name] if name in known else [])
            found = [h for h in found if h not in members] if word.startswith("!") else [*found, *members]
        return list(dict.fromkeys(found))

    return Inventory(
        groups={"all": everybody, **groups},
        variables=lambda host: Variables({**known.get(host, {}), **(play or {}), **extra}),
        play=Variables({**known["localhost"], **(play or {}), **extra}),
        extra=extra,
        select=select,
        user="ops",
        **options,
    )
