# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module and takes its answer as data: it sets no variable, and has the keys and types that are documented.

Every module of this collection has an action of its name that is this one. Others are named: `name` and `options`.
On the control node itself, one of this collection's modules runs in a copy of Ansible's process.
"""

from __future__ import annotations

import gc
import pathlib
import sys
import typing as t

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.bulkhead.docker.plugins.plugin_utils import answers, here

_COLLECTION = "bulkhead.docker."
_OWN_NAME = "docker_module"


class ActionModule(ActionBase):
    """Either `docker_module` itself, with the module's name and options, or one of this collection's modules."""

    _is_here = False  # whether the module runs in a copy of this process

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        # A task has a process of its own, where a collection would read all that Ansible holds: 50 ms for each host.
        gc.freeze()
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        name, options = self._asked()
        self._is_here = name.startswith(_COLLECTION) and self._is_control_node(task_vars or {})
        result.update(self.answer_of(name, options, task_vars))
        result.update(answers.interpreter(self._discovered_interpreter_key, self._discovered_interpreter))
        return result

    def answer_of(self, name: str, options: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        said = self._run(name, options, task_vars)
        answer = answers.without_variables(said)
        host = str((task_vars or {}).get("inventory_hostname", "the host"))
        if not name.startswith(_COLLECTION):
            return answers.well_formed(answer, host, name)
        if answers.sets_variables(said):
            return answers.refusal(host, name, ["it sets variables of the run"])
        module = pathlib.Path(__file__).parents[1] / "modules" / f"{name[len(_COLLECTION) :]}.py"
        return answers.checked(answer, answers.documented(module), host, name)

    def _run(self, name: str, options: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        """A module, or the action of that name where Ansible has one, as for copy and package."""
        if any(value for option, value in options.items() if "passphrase" in option):
            self._refuse_files(task_vars)
        if name.startswith(_COLLECTION) or not self._shared_loader_obj.action_loader.has_plugin(name):
            return self._execute_module(module_name=name, module_args=options, task_vars=task_vars)  # type: ignore[no-any-return]
        task = self._task.copy()
        task.action, task.args = name, options
        action = self._shared_loader_obj.action_loader.get(
            name,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return action.run(task_vars=task_vars)  # type: ignore[no-any-return]

    def _is_control_node(self, task_vars: t.Mapping[str, t.Any]) -> bool:
        """Whether the module would get the Python that runs Ansible, as the same user and in the same environment."""
        if self._task.delegate_to:
            task_vars = (task_vars.get("ansible_delegated_vars") or {}).get(self._task.delegate_to) or {}
        return (
            self._connection.transport == "local"
            and not self._connection.become
            and not constants.DEFAULT_KEEP_REMOTE_FILES
            and not self._compute_environment_string().strip()
            and self._templar.template(task_vars.get("ansible_python_interpreter")) == sys.executable
        )

    def _is_pipelining_enabled(self, module_style: str, wrap_async: bool = False) -> bool:
        """Nothing is written to files there."""
        return self._is_here or super()._is_pipelining_enabled(module_style, wrap_async)

    def _low_level_execute_command(self, cmd: str, *args: t.Any, **options: t.Any) -> dict[str, t.Any]:
        program = options.get("in_data")
        if not self._is_here or not program:
            return super()._low_level_execute_command(cmd, *args, **options)  # type: ignore[no-any-return]
        code, *said = here.run(program, self._loader.get_basedir())
        output, error = (text.decode("utf-8", "surrogateescape") for text in said)
        lines = {"stdout_lines": output.splitlines(), "stderr_lines": error.splitlines()}
        return {"rc": code, "stdout": output, "stderr": error, **lines}

    def _refuse_files(self, task_vars: dict[str, t.Any] | None) -> None:
        """Without pipelining, Ansible writes a module and its options into a file on the host."""
        if not self._is_pipelining_enabled("new"):
            host = self._task.delegate_to or str((task_vars or {}).get("inventory_hostname", "the host"))
            raise AnsibleActionFail(
                f"The passphrase would be in a file on the host for a moment, because {host} has no pipelining for its "
                f"connection ({self._connection.transport}). Set ansible_pipelining and ansible_ssh_pipelining to true "
                "for the CA host, and leave ANSIBLE_KEEP_REMOTE_FILES alone."
            )

    def _asked(self) -> tuple[str, dict[str, t.Any]]:
        action = str(self._task.action).rpartition(".")[2]
        if action != _OWN_NAME:
            return _COLLECTION + action, dict(self._task.args)
        name, options = self._task.args.get("name"), self._task.args.get("options") or {}
        if not isinstance(name, str) or not isinstance(options, dict) or set(self._task.args) - {"name", "options"}:
            raise AnsibleActionFail("docker_module takes 'name', the module's full name, and 'options', its options.")
        return name, {option: value for option, value in options.items() if value is not None}
