# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module docker_project_files, which gets the files of a folder of the control node."""

from __future__ import annotations

import base64
import pathlib
import typing as t

from ansible.errors import AnsibleActionFail
from ansible_collections.bulkhead.docker.plugins.action import docker_module
from ansible_collections.bulkhead.docker.plugins.module_utils._deploy import tree


class ActionModule(docker_module.ActionModule):
    """As every other module."""

    def answer_of(self, name: str, options: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        if options.get("state", "present") == "present":
            source = pathlib.Path(str(options.pop("src", ""))).expanduser()
            try:
                files = tree.read(source)
            except (tree.TreeError, OSError) as error:
                raise AnsibleActionFail(f"On the control node, {error}.") from error
            if not files:
                raise AnsibleActionFail(f"On the control node, {source} has no files to deploy. Correct its src.")
            options["files"] = {
                path: {"content": base64.b64encode(file.content).decode(), "executable": file.executable}
                for path, file in files.items()
            }
        return super().answer_of(name, options, task_vars)
