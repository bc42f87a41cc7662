# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the report of a run, and leaves it for AWX and in a file."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.bulkhead.docker.plugins.plugin_utils import report
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables

_OPTIONS = ("plan", "engines", "clients", "ca")


class ActionModule(ActionBase):
    """Makes the report of what the run has collected. No host is contacted."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        options = self._task.args
        if not isinstance(options.get("plan"), t.Mapping) or set(options) - set(_OPTIONS):
            raise AnsibleActionFail(f"docker_report takes {', '.join(_OPTIONS)}; 'plan' is what docker_plan has made.")
        plan = options["plan"]
        made = report.make(plan, options.get("engines"), options.get("clients"), options.get("ca"))
        for line in made.lines:
            Display().display(line)
        content = {"playbook": plan["playbook"], **dataclasses.asdict(made)}
        if plan["report_path"]:
            _write(pathlib.Path(plan["report_path"]).expanduser(), content)
        kept = {name: inert(content[name]) for name in ("playbook", "summary", "problems", "rows")}
        result.update(
            content,
            changed=False,
            msg=" ".join([f"{made.summary}.", *made.problems]),
            # Ansible drops the statistics of a task that fails; so whoever calls it looks at the problems and fails.
            ansible_stats={"data": {_variables.ARTEFACT: kept}, "per_host": False, "aggregate": False},
        )
        return result


def inert(value: t.Any) -> t.Any:
    """Without the beginnings of templates: in a workflow, AWX gives it to the next job as an extra variable."""
    if isinstance(value, t.Mapping):
        return {str(key): inert(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [inert(entry) for entry in value]
    return re.sub(r"\{(?=[{%#])", "{ ", value) if isinstance(value, str) else value


def _write(path: pathlib.Path, content: t.Mapping[str, t.Any]) -> None:
    """The report as a whole or not at all, for those who read it while runs come and go."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        pathlib.Path(file.name).chmod(0o644)
        pathlib.Path(file.name).replace(path)
    except OSError as error:
        raise AnsibleActionFail(f"docker_report_path {path} cannot be written on the control node: {error}.") from error
