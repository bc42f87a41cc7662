# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_project_files
short_description: Files of a Compose project for an engine, with those to go back to
version_added: "0.1.0"
description:
  - A part of the playbook C(bulkhead.docker.deploy). It brings a folder of the control node to the client host, into
    C(~/.bulkhead/deploy/ENGINE/PROJECT) of the user that it runs as, from where M(community.docker.docker_compose_v2) deploys it, and remembers the
    files that were healthy last.
  - A whole tree is replaced in one step; what is not in O(src) any more goes. Folders called C(.git) are left out. Symbolic links are refused.
author:
  - The bulkhead.docker maintainers (@bulkhead)
attributes:
  check_mode:
    support: full
    description: >-
      Writes the files into C(preview) beside those that are used, so that M(community.docker.docker_compose_v2) can be run on them in check mode,
      too. O(state=kept) and O(state=restored) remove them again, and change nothing else.
  diff_mode:
    support: full
    description: Shows the lines that change, but none of files whose name has C(.env) or C(secret) in it.
options:
  project:
    description: Name of the project, as Compose allows it.
    type: str
    required: true
  engine:
    description: Name of the engine's contexts, which tells the projects of several engines apart.
    type: str
    required: true
  src:
    description: Folder on the control node. Needed for O(state=present).
    type: path
  files:
    description: What the action part makes of O(src). Not for use in tasks.
    type: dict
  context:
    description:
      - Docker context of the engine, which is asked whether it has containers of the project. Needed for O(state=trial).
    type: str
    default: ""
  compose_files:
    description: The Compose files of the project for O(state=trial). Without them Compose takes the usual names.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present) brings the files of O(src) to where Compose is run.
      - V(kept) remembers the files that are there as those to go back to.
      - V(restored) goes back to those.
      - V(trial) writes the Compose file of a second copy of the project, which has no published port, networks, volumes and images of its own,
        and nothing of the engine mounted that it could write to. V(kept) and V(restored) remove it again.
    type: str
    choices: [present, kept, restored, trial]
    default: present
"""

EXAMPLES = r"""
- name: Write the project's files
  bulkhead.docker.docker_project_files:
    project: shop
    engine: web1
    src: /srv/projects/shop
  register: shop

- name: Start its services and wait until they are healthy
  community.docker.docker_compose_v2:
    project_src: "{{ shop.path }}"
    project_name: shop
    cli_context: web1
    wait: true

- name: Remember the files
  bulkhead.docker.docker_project_files:
    project: shop
    engine: web1
    state: kept
"""

RETURN = r"""
path:
  description: The folder for Compose; in check mode with O(state=present) that of the preview, with O(state=trial) that of the copy.
  type: str
  returned: success
  sample: /home/jenkins/.bulkhead/deploy/web1/shop/project
has_good:
  description: Whether there are files to go back to.
  type: bool
  returned: success
is_good:
  description: Whether the files are those that were healthy last.
  type: bool
  returned: success
running:
  description: Whether the engine has containers of the project, whoever has started them. False without O(context).
  type: bool
  returned: success
"""

import base64
import pathlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import options
from ansible_collections.bulkhead.docker.plugins.module_utils._deploy import tree, trial


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "engine": {"type": "str", "required": True},
            "src": {"type": "path"},
            # Whoever reads the host's log would read the project's secrets there.
            "files": {"type": "dict", "no_log": True},
            "context": {"type": "str", "default": ""},
            "compose_files": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "kept", "restored", "trial"], "default": "present"},
        },
        required_if=[("state", "present", ["files"]), ("state", "trial", ["context"])],
        supports_check_mode=True,
    )
    given = module.params
    try:
        options.check_name(given["engine"])
        if not tree.is_project(given["project"]):
            raise tree.TreeError(f"{given['project']!r} cannot be the name of a Compose project")
        project = tree.Project(pathlib.Path.home(), given["engine"], given["project"])
        states = {"present": present, "kept": kept, "restored": restored, "trial": tried}
        running = bool(given["context"]) and trial.is_running(module.run_command, given["context"], given["project"])
        result = states[given["state"]](module, project)
        is_good = project.good.is_dir() and tree.read(project.good) == tree.read(project.files)
    except (tree.TreeError, options.StoreError) as error:
        module.fail_json(msg=f"{error}.")
    except OSError as error:
        module.fail_json(msg=f"The files of the project {given['project']} cannot be written: {error}.")
    module.exit_json(**result, has_good=project.good.is_dir(), is_good=is_good, running=running)


def present(module: AnsibleModule, project: tree.Project) -> dict[str, object]:
    wanted = {
        name: tree.File(base64.b64decode(file["content"]), bool(file["executable"]))
        for name, file in module.params["files"].items()
    }
    if any(pathlib.PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in wanted):
        raise tree.TreeError("the files of a project have names that lead out of it")
    found = tree.read(project.files)
    folder = project.preview if module.check_mode else project.files
    if wanted != found or module.check_mode:
        project.write(folder, wanted)
    return {
        "changed": wanted != found,
        "path": str(folder),
        "diff": tree.diff(project.files, found, wanted),
    }


def tried(module: AnsibleModule, project: tree.Project) -> dict[str, object]:
    if not module.check_mode:
        trial.write(module.run_command, module.params["context"], project, module.params["compose_files"])
    return {"changed": False, "path": str(project.trial)}


def kept(module: AnsibleModule, project: tree.Project) -> dict[str, object]:
    if module.check_mode:
        project.remove(project.preview)
        return {"changed": False, "path": str(project.files)}
    project.remove(project.trial)
    found = tree.read(project.files)
    changed = found != tree.read(project.good)
    if changed:
        project.write(project.good, found)
    return {"changed": changed, "path": str(project.files)}


def restored(module: AnsibleModule, project: tree.Project) -> dict[str, object]:
    if module.check_mode:
        project.remove(project.preview)
        return {"changed": False, "path": str(project.files)}
    project.remove(project.trial)
    good, found = tree.read(project.good), tree.read(project.files)
    changed = project.good.is_dir() and good != found
    if changed:
        project.write(project.files, good)
    return {"changed": changed, "path": str(project.files), "diff": tree.diff(project.files, found, good or found)}


if __name__ == "__main__":
    main()
