# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control node's part of docker_ssh_access: a new connection that confirms what the module changed of sshd.

It belongs to the module's task, so that the time between change and confirmation does not grow with the fleet.
"""

from __future__ import annotations

import pathlib
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.bulkhead.docker.plugins.plugin_utils import answers

_MODULE = "bulkhead.docker.docker_ssh_access"
_FILE = pathlib.Path(__file__).parents[1] / "modules/docker_ssh_access.py"
_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh", "libssh")
_AFTER_RESTORE = 60  # seconds that a host has to answer again once its timer has fired
_LONGEST_TIMEOUT = 3600


class ActionModule(ActionBase):
    """Runs the module, and once more through a new connection where it asks for that."""

    # What the module takes beside these is for this plugin alone.
    _VALID_ARGS = frozenset(
        (
            "absent_names",
            "client_networks",
            "clients",
            "confirm_timeout",
            "exempt_clients",
            "keep",
            "max_sessions",
            "max_startups",
            "state",
            "trusted_user_ca_keys",
            "try_login",
            "users",
        )
    )

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        over_ssh = str(self._connection.transport).rpartition(".")[2] in _SSH
        answer = self._module({**self._task.args, "_over_ssh": over_ssh}, task_vars)
        timeout = answer.pop("confirm_within", 0)
        if answer.get("failed") or answer.get("unreachable"):
            confirmed = False
        elif isinstance(timeout, int) and timeout is not True and 0 < timeout <= _LONGEST_TIMEOUT:
            problem = self._confirm(timeout, task_vars)
            confirmed = not problem
            if problem:
                answer.update(failed=True, msg=f"sshd's new configuration was not kept: {problem}.")
        else:
            confirmed = False
        host = str((task_vars or {}).get("inventory_hostname", "the host"))
        result.update(answers.checked({**answer, "confirmed": confirmed}, answers.documented(_FILE), host, _MODULE))
        return result

    def _asked_timeout(self) -> int:
        """How long the host may keep the run waiting: no longer than the task allows it."""
        given = str(self._task.args.get("confirm_timeout", ""))
        return min(int(given), _LONGEST_TIMEOUT) if given.isdecimal() else _LONGEST_TIMEOUT

    def _module(self, options: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> answers.Answer:
        answer = self._execute_module(module_name=_MODULE, module_args=options, task_vars=task_vars)
        if answers.sets_variables(answer):
            host = str((task_vars or {}).get("inventory_hostname", "the host"))
            return answers.refusal(host, _MODULE, ["it sets variables of the run"])
        return answers.without_variables(answer)

    def _confirm(self, timeout: int, task_vars: dict[str, t.Any] | None) -> str:
        """Why the change was not kept, '' where it is."""
        end = time.monotonic() + timeout + _AFTER_RESTORE
        said = ""
        while True:
            try:
                self._connection.reset()
                answer = self._module({**self._task.args, "_confirm": True}, task_vars)
            except AnsibleConnectionFailure as error:
                said = " ".join(str(error).split())
                if time.monotonic() > end:
                    return f"the engine lets nobody in any more ({said}), although it should have restored itself"
                time.sleep(1)
                continue
            if not answer.get("failed"):
                return ""
            reason = str(answer.get("msg", "no reason"))
            return f"{reason}; new connections had failed with: {said}" if said else reason
