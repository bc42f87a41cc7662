# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the report of a run, and leaves it for AWX and in a file."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.bulkhead.docker.plugins.plugin_utils import collected, report

_OPTIONS = ("plan", "engines", "clients", "ca", "phase")


class ActionModule(ActionBase):
    """Makes the report of what the run has collected. No host is contacted."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        options = self._task.args
        if not isinstance(options.get("plan"), t.Mapping) or set(options) - set(_OPTIONS):
            raise AnsibleActionFail(f"docker_report takes {', '.join(_OPTIONS)}; 'plan' is what docker_plan has made.")
        plan, phase = options["plan"], str(options.get("phase") or "")
        given = {**_collected(plan, (task_vars or {})["hostvars"], phase), **options}
        made = report.make(plan, given["engines"], given["clients"], given["ca"])
        if phase:
            return {**result, **_followed(phase, made)}
        for line in made.lines:
            Display().display(line)
        content = {"playbook": plan["playbook"], **dataclasses.asdict(made)}
        if plan["report_path"]:
            _write(pathlib.Path(plan["report_path"]).expanduser(), content)
        kept = {name: content[name] for name in ("playbook", "summary", "problems", "rows")}
        result.update(
            content,
            changed=False,
            msg=" ".join([f"{made.summary}.", *made.problems]),
            # Ansible drops the statistics of a task that fails; so whoever calls it looks at the problems and fails.
            ansible_stats={"data": {"docker_report": kept}, "per_host": False, "aggregate": False},
        )
        return result


def _collected(plan: t.Mapping[str, t.Any], hostvars: t.Any, phase: str) -> dict[str, t.Any]:
    """What the roles have left as results of this run."""
    engines = {name: collected.engine(hostvars[name], plan["check_mode"], phase) for name in plan["engines"]}
    clients = {name: collected.client(hostvars[name]) for name in plan["clients"]}
    # These ask every client host of the run, so that one without an answer is a problem.
    all_asked = phase or plan["playbook"] in ("site", "renew")
    in_run = [name for name, client in plan["clients"].items() if all_asked and client["in_run"]]
    return {
        "engines": {name: found for name, found in engines.items() if found is not None},
        "clients": {name: found for name, found in clients.items() if found is not None or name in in_run},
        "ca": collected.ca(hostvars[plan["ca"]["host"]]),
    }


def _followed(phase: str, made: report.Report) -> dict[str, t.Any]:
    msg = "All engines and clients have followed."
    if made.problems:
        msg = (
            f"The CA stays in the phase {phase}, because these have not followed into it. {' '.join(made.problems)} "
            "Repair them and run the playbook again, it goes on here; or leave hosts out that are gone for good: "
            '-e \'{"docker_rotate_exclude": ["NAME"]}\'.'
        )
    return {**dataclasses.asdict(made), "changed": False, "failed": bool(made.problems), "msg": msg}


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
