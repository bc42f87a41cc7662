# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the plan of a run on the control node, from the inventory and the variables alone. No host is contacted."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan, run_inventory

_OPTIONS = {"playbook", "rotates"}


class ActionModule(ActionBase):
    """Gathers what Ansible knows by now, and fails with everything that is wrong with it."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        playbook = self._task.args.get("playbook")
        rotates = boolean(self._task.args.get("rotates", False), strict=False)
        if not isinstance(playbook, str) or set(self._task.args) - _OPTIONS:
            raise AnsibleActionFail(
                "docker_plan takes 'playbook', the name of the playbook that it is made for, and 'rotates', which is "
                "true or false."
            )
        try:
            made = plan.make(run_inventory.read(self._loader, task_vars or {}), playbook, rotates)
        except plan.PlanError as error:
            text = "\n".join(f"- {problem}" for problem in error.problems)
            msg = f"Nothing was changed, because the inventory or the variables are not right:\n{text}"
            return {**result, "failed": True, "msg": msg, "problems": error.problems}
        # Options of daemons and much else of it may be secret: not printed, whatever the verbosity.
        return {**result, "changed": False, **made, "problems": [], "_ansible_verbose_override": True}
