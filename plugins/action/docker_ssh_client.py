# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module docker_ssh_client, whose answer is taken as data: a public key for each identity that it was asked for.

A key that engines cannot use is a failure here, on its host. Later, every engine would refuse all accounts for it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.action import docker_module
from ansible_collections.bulkhead.docker.plugins.plugin_utils import answers, handover


class ActionModule(docker_module.ActionModule):
    """As every other module, and a second look at the keys."""

    def answer_of(self, name: str, options: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        answer = super().answer_of(name, options, task_vars)
        if answer.get("failed") or options.get("state") == "absent":
            return answer
        asked = [(entry["name"], entry["account"]) for entry in options["identities"]]
        found = handover.public_key_problems(asked, answer.get("public_keys"), bool(self._task.check_mode))
        host = str((task_vars or {}).get("inventory_hostname", "the host"))
        return answers.refusal(host, name, found) if found else answer
