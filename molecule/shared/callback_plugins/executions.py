"""Counts module executions: one line for each playbook run in the lab's folder, tasks by host.

A module execution is what costs a round trip; assertions and includes do not. `results` counts
all tasks, the skipped ones, too.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections import Counter
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: executions
type: aggregate
short_description: Counts module executions by host
description: Appends a line to C(executions.jsonl) in the folder of a Molecule scenario's lab.
requirements:
  - it is enabled in C(callbacks_enabled)
"""


# Actions that run on the control node alone.
BUILTIN = "add_host assert debug fail include_role include_tasks include_vars set_fact set_stats validate_argument_spec"
ACTIONS = ("docker_client_plan", "docker_plan", "docker_report")
FREE = {*(f"bulkhead.docker.{name}" for name in ACTIONS), *(f"ansible.builtin.{name}" for name in BUILTIN.split())}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "executions"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._playbook = ""
        self._tasks: dict[str, list[str]] = {}
        self._changed: dict[str, list[str]] = {}
        self._results: Counter[str] = Counter()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = pathlib.Path(playbook._file_name).name

    def v2_runner_on_ok(self, result: Any, **_: Any) -> None:
        self._results[result._host.get_name()] += 1
        if "results" not in result._result:
            self._count(result)

    v2_runner_on_failed = v2_runner_on_ok

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._count(result)

    v2_runner_item_on_failed = v2_runner_item_on_ok

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._results[result._host.get_name()] += 1

    v2_runner_on_unreachable = v2_runner_on_skipped

    def _count(self, result: Any) -> None:
        name = result._task.get_name().split(" : ")[-1]
        # What is delegated costs the host that does it; ansible-core 2.18 says it in the task alone.
        delegated = result._result.get("_ansible_delegated_vars") or {}
        does_it = delegated.get("ansible_delegated_host") or result._task_fields.get("delegate_to")
        host = does_it or result._host.get_name()
        if (result._task.resolved_action or result._task.action) not in FREE:
            self._tasks.setdefault(host, []).append(name)
        if result._result.get("changed"):
            self._changed.setdefault(host, []).append(name)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        record = {"playbook": self._playbook, "tasks": self._tasks, "changed": self._changed, "results": self._results}
        lab = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"], ".lab", os.environ["MOLECULE_SCENARIO_NAME"])
        if lab.is_dir():
            with (lab / "executions.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
