# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory and the variables of a run, from what Ansible gives to a task or to a lookup."""

from __future__ import annotations

import functools
import os
import pathlib
import pwd
import typing as t

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.template import Templar
from ansible.utils.vars import load_extra_vars
from ansible_collections.bulkhead.docker.plugins.plugin_utils import checks
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Inventory, UnresolvedError

# In an execution environment ansible-runner sets the first one, and AWX the second.
_CONTAINERS = ("LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR")


class _Variables(t.Mapping[str, t.Any]):
    """Variables that are templated one by one, when they are asked for, and come as plain data."""

    def __init__(self, raw: t.Mapping[str, t.Any], loader: t.Any) -> None:
        self._raw = raw
        self._templar = Templar(loader=loader, variables=raw)

    def __getitem__(self, name: str) -> t.Any:
        try:
            return _plain(self._templar.template(self._raw[name]))
        except AnsibleError as error:
            raise UnresolvedError(str(error)) from error

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> t.Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def read(loader: t.Any, task_vars: dict[str, t.Any]) -> Inventory:
    """The inventory as a task or a lookup sees it."""
    hostvars, groups = task_vars["hostvars"], task_vars["groups"]
    manager = InventoryManager(loader, parse=False)
    for group, hosts in groups.items():
        manager.add_group(group)
        for host in hosts:
            manager.add_host(host, group=group)
    limit = str(task_vars.get("ansible_limit") or "")
    in_run = None
    if limit:
        manager.subset(limit)
        in_run = {host.name for host in manager.get_hosts("all:localhost")}
    raw = functools.lru_cache(maxsize=None)(lambda host: _raw(host, hostvars, task_vars))
    results = getattr(getattr(hostvars, "_variable_manager", None), "_nonpersistent_fact_cache", {})
    play = _play(raw, task_vars)
    return Inventory(
        groups={group: list(hosts) for group, hosts in groups.items()},
        variables=lambda host: _Variables(raw(host), loader),
        play=_Variables(play, loader),
        extra=load_extra_vars(loader),
        select=lambda pattern: [host.name for host in manager.get_hosts(pattern, ignore_limits=True)],
        facts=lambda host: raw(host).get("ansible_facts") or {},
        results=lambda host: results.get(host) or {},
        unread=_unread(task_vars.get("ansible_inventory_sources") or []),
        limit=limit,
        in_run=in_run,
        user=pwd.getpwuid(os.geteuid()).pw_name,
        remote_user=str(context.CLIARGS.get("remote_user") or constants.DEFAULT_REMOTE_USER or ""),
        check_mode=bool(task_vars.get("ansible_check_mode")),
        temporary=any(os.environ.get(name) for name in _CONTAINERS),
        command_line=" ".join(
            text for text in context.CLIARGS.get("extra_vars") or () if not str(text).startswith("@")
        ),
    )


def _play(raw: t.Callable[[str], dict[str, t.Any]], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
    """The control node's variables and those of the play, also where --limit lets another host run the task."""
    here = raw(str(task_vars["inventory_hostname"]))
    of_play = {
        name: value
        for name, value in task_vars.items()
        if name.startswith("docker_") and (name not in here or here[name] != value)
    }
    return {**task_vars, **raw("localhost"), **of_play}


def _raw(host: str, hostvars: t.Any, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
    """A host's variables, not templated yet. Files in lookups are found beside the inventory, too."""
    if host not in hostvars:
        return {}
    raw = dict(hostvars.raw_get(host))
    paths = [raw["inventory_dir"]] if raw.get("inventory_dir") else []
    return {
        **raw,
        "hostvars": hostvars,
        "groups": task_vars["groups"],
        "ansible_search_path": [*paths, *task_vars.get("ansible_search_path", [])],
    }


def _unread(sources: t.Iterable[str]) -> dict[str, str]:
    """Variables beside the playbook that was called, or in the working directory, which Ansible need not read."""
    read = {path if path.is_dir() else path.parent for path in (pathlib.Path(source).resolve() for source in sources)}
    called = [pathlib.Path(argument) for argument in context.CLIARGS.get("args") or ()]
    folders = {(path.parent if path.is_file() else pathlib.Path()).resolve() for path in called}
    found: dict[str, str] = {}
    for folder in sorted(folders - read):
        found.update(checks.variables_beside(folder))
    return found


def _plain(value: t.Any) -> t.Any:
    """Without what Ansible adds to values, such as where they come from; what is not resolved yet fails here."""
    if isinstance(value, t.Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)
