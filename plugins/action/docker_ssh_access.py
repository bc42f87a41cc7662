# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control node's part of docker_ssh_access: a new connection that confirms what the module changed of sshd.

It belongs to the module's task, so that the time between change and confirmation does not grow with the fleet.
"""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

_AFTER_RESTORE = 20  # seconds that a host has to answer again once its timer has fired


class ActionModule(ActionBase):
    """Runs the module, and once more through a new connection where it asks for that."""

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        timeout = result.pop("confirm_within", 0)
        if not timeout:
            return result if result.get("failed") else {**result, "confirmed": False}
        problem = self._confirm(timeout, task_vars)
        if problem:
            result.update(failed=True, msg=f"sshd's new configuration was not kept: {problem}.")
        return {**result, "confirmed": not problem}

    def _confirm(self, timeout: int, task_vars: dict[str, t.Any] | None) -> str:
        end = time.monotonic() + timeout + _AFTER_RESTORE
        said = ""
        while True:
            try:
                self._connection.reset()
                answer = self._execute_module(module_args={**self._task.args, "confirm": True}, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                said = " ".join(str(error).split())
                if time.monotonic() > end:
                    return f"the engine lets nobody in any more ({said}), although it should have restored itself"
                time.sleep(1)
                continue
            if not answer.get("failed"):
                return ""
            return f"{answer['msg']}; new connections had failed with: {said}" if said else str(answer["msg"])
