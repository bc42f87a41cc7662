# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns the variables of the role docker_client into what its tasks do for each OS user, on the control node alone."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types
from ansible_collections.bulkhead.docker.plugins.plugin_utils import client_host

_SETTINGS: dict[str, t.Any] = {
    "identities": {"type": "list", "elements": "dict", "required": True},
    "engines": {"type": "list", "elements": "dict", "default": []},
    "transports": {"type": "list", "elements": "str", "choices": ["tls", "ssh"], "default": ["tls"]},
    "context_name": {"type": "str", "default": ""},
    "current": {"type": "str", "default": ""},
    "valid_days": {"type": "int", "default": 365},
    "renew_days": {"type": "int", "default": 30},
    "connects_as": {"type": "str", "default": ""},
    "revoked": {"type": "list", "elements": "str", "default": []},
    "evicted": {"type": "list", "elements": "str", "default": []},
    "skip_revoked": {"type": "bool", "default": False},
    "replace_ca": {"type": "bool", "default": False},
    "new_keys": {"type": "bool", "default": False},
    "group_cas": {"type": "dict", "default": {}},
}
_KEY: dict[str, t.Any] = {
    "key_type": {"type": "str", "choices": ["P-256", "P-384", "RSA"], "default": "P-256"},
    "key_size": {"type": "int", "default": 3072},
}
_ANSWERS: dict[str, t.Any] = {
    "answers": {"type": "list", "elements": "dict", "default": []},
    "requests": {"type": "list", "elements": "dict", "default": []},
    "results": {"type": "list", "elements": "dict", "default": []},
    "absent": {"type": "bool", "default": False},
    "absent_names": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """Contacts nobody and changes nothing."""

    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec={**_SETTINGS, **_KEY, **_ANSWERS})[1]
        host = str((task_vars or {}).get("inventory_hostname", ""))
        settings = client_host.Settings(host=host, **{name: given[name] for name in _SETTINGS})
        if given["absent"]:
            result.update(
                changed=False,
                removals=client_host.removals(settings, given["absent_names"]),
                failures=[*dict.fromkeys(client_host.failures(settings, given["results"]))],
            )
            return result
        found = client_host.problems(settings)
        if found:
            raise AnsibleActionFail(f"On {host}: {' '.join(found)}")
        key = key_types.label(given["key_type"], given["key_size"])
        identities, failed, other_ca = client_host.statuses(settings, given["answers"])
        due = [identity for identity in identities if identity["reasons"] and not identity["paths"]]
        requested, without = client_host.requested(due, given["requests"], key, settings.new_keys)
        left_out = sorted({entry["name"] for entry in settings.identities} & set(settings.revoked))
        if left_out:
            result["warnings"] = [
                f"{', '.join(left_out)} on {host} was revoked and is left out. Take it out of docker_client_identities."
            ]
        users = client_host.users(settings, identities, failed, bool(self._task.check_mode))
        result.update(
            changed=False,
            users=users,
            contexts=[context["name"] for user in users for context in user["contexts"]],
            contexts_right=client_host.contexts_right(users, given["answers"]),
            identities=identities,
            due=due,
            requested=requested,
            other_ca=other_ca,
            ssh_engines=client_host.ssh_engines(settings),
            failures=[*failed.values(), *without, *client_host.failures(settings, given["results"])],
        )
        return result
