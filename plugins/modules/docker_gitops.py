# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_gitops
short_description: Lets an engine deploy a signed Git repository by itself
version_added: "0.1.0"
description:
  - Brings the program that deploys, its settings, its key, its systemd unit and its timer to one state, in one execution on the engine.
  - The program fetches a branch or tags, accepts only what a declared SSH key has signed and what descends from what it accepted before, and
    runs Compose for each declared project. The role docker_gitops documents what it does.
  - Whoever may sign is root on the engine, because a Compose file can mount its file system.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - systemd, Docker, Compose 2.24 or later, git 2.34 or later and OpenSSH's client on the engine
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the changed status prediction without modifying the engine.
  diff_mode:
    support: full
    description: Shows the lines of files that change.
options:
  state:
    description: V(absent) takes everything away again that the module made; containers go on.
    type: str
    choices: [present, absent]
    default: present
  remove_projects:
    description: With O(state=absent), whether the projects that were deployed are removed with their containers and networks. Volumes stay.
    type: bool
    default: false
  repository:
    description: Needed with O(state=present), C(ssh://git@host/path) or C(https://host/path).
    type: str
    default: ""
  host_keys:
    description: Public host keys of the Git server, each as in a C(.pub) file. Needed for C(ssh).
    type: list
    elements: str
    default: []
  verify:
    description: Whether the newest commit of O(branch) has to be signed, or a tag that fits O(tags).
    type: str
    choices: [commit, tag]
    default: commit
  branch:
    description: The branch that is deployed with O(verify=commit).
    type: str
    default: main
  tags:
    description: Which tags count with O(verify=tag), with one C(*) at most.
    type: str
    default: "v*"
  signers:
    description: Who may sign.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Who it is.
        type: str
        required: true
      public_keys:
        description: The SSH keys with which that person or robot signs.
        type: list
        elements: str
        required: true
      valid_after:
        description: From when they count, a date or a time in ISO 8601. UTC where no zone is given.
        type: str
        default: ""
      valid_before:
        description: Until when they count; a date ends with its beginning.
        type: str
        default: ""
  projects:
    description: The Compose projects, in the order in which they are deployed.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Compose project.
        type: str
        required: true
      path:
        description: Its folder in the repository; its name where that is empty.
        type: str
        default: ""
      files:
        description: Its Compose files below the folder; what Compose looks for where that is empty.
        type: list
        elements: str
        default: []
      secrets:
        description: Variables for Compose whose values are on the engine.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The variable.
            type: str
            required: true
          file:
            description: A file on the engine.
            type: str
            default: ""
          encrypted_file:
            description: A file on the engine that C(systemd-creds) has encrypted.
            type: str
            default: ""
      trial:
        description: Whether a new version has to become healthy as a second copy that nobody reaches, before the old one is touched.
        type: bool
        default: false
      require_digests:
        description: Whether every image has to be named with its digest.
        type: bool
        default: false
      wait_seconds:
        description: How long services may take to become healthy.
        type: int
        default: 120
      state:
        description: V(absent) removes its containers and networks.
        type: str
        choices: [present, absent]
        default: present
  interval:
    description: Seconds between two runs.
    type: int
    default: 60
  drift:
    description: Whether containers and files that are not as they were deployed are shown only, or put right.
    type: str
    choices: [report, correct]
    default: report
  paused:
    description: Whether nothing is deployed for now.
    type: bool
    default: false
  settle_seconds:
    description: Seconds after a deployment in which no container may end.
    type: int
    default: 5
  notify:
    description: A command that gets each event as JSON on its standard input.
    type: list
    elements: str
    default: []
  metrics_directory:
    description: A folder for C(docker_gitops.prom), as the textfile collector of Prometheus' node exporter reads it.
    type: str
    default: ""
  registry_config:
    description: A C(config.json) of the docker CLI on the engine with logins to registries.
    type: str
    default: ""
  https_login_file:
    description: A file on the engine with one line C(https://user:token@host), for C(https).
    type: str
    default: ""
  ca_file:
    description: A file on the engine with the certificates that C(https) trusts, instead of the system's.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Deploy two projects of a signed repository
  bulkhead.docker.docker_gitops:
    repository: ssh://git@git.example.com/srv/deploy.git
    host_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp5bWq1zdZ0eGN1tq4Kp5mhfBS0aHkQnsR3sXTfF0Zl"]
    signers:
      - name: alice@example.com
        public_keys: ["{{ lookup('ansible.builtin.file', 'keys/alice-signing.pub') }}"]
        valid_before: "2030-12-31"
    projects:
      - name: web
        trial: true
      - name: metrics
        path: monitoring/metrics

- name: Take it away again, with what was deployed
  bulkhead.docker.docker_gitops:
    state: absent
    remove_projects: true
"""

RETURN = r"""
public_key:
  description: The engine's public key, which the Git server has to let read. It is null over https, and in check mode where there is none yet.
  returned: success
  type: str
kept:
  description: Folders that stay with O(state=absent), because containers have mounted them.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._gitops import apply as _apply
from ansible_collections.bulkhead.docker.plugins.module_utils._gitops import options as _options

_TEXT = {"type": "str", "default": ""}
_LIST = {"type": "list", "elements": "str", "default": []}
_STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
_SIGNER = {
    "name": {"type": "str", "required": True},
    "public_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "valid_after": _TEXT,
    "valid_before": _TEXT,
}
_SECRET = {"name": {"type": "str", "required": True}, "file": _TEXT, "encrypted_file": _TEXT}
_PROJECT = {
    "name": {"type": "str", "required": True},
    "path": _TEXT,
    "files": _LIST,
    "secrets": {"type": "list", "elements": "dict", "default": [], "options": _SECRET, "no_log": False},
    "trial": {"type": "bool", "default": False},
    "require_digests": {"type": "bool", "default": False},
    "wait_seconds": {"type": "int", "default": 120},
    "state": _STATE,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": _STATE,
            "remove_projects": {"type": "bool", "default": False},
            "repository": _TEXT,
            "host_keys": {**_LIST, "no_log": False},
            "verify": {"type": "str", "choices": ["commit", "tag"], "default": "commit"},
            "branch": {"type": "str", "default": "main"},
            "tags": {"type": "str", "default": "v*"},
            "signers": {"type": "list", "elements": "dict", "default": [], "options": _SIGNER},
            "projects": {"type": "list", "elements": "dict", "default": [], "options": _PROJECT},
            "interval": {"type": "int", "default": 60},
            "drift": {"type": "str", "choices": ["report", "correct"], "default": "report"},
            "paused": {"type": "bool", "default": False},
            "settle_seconds": {"type": "int", "default": 5},
            "notify": _LIST,
            "metrics_directory": _TEXT,
            "registry_config": _TEXT,
            "https_login_file": _TEXT,
            "ca_file": _TEXT,
        },
        supports_check_mode=True,
    )
    try:
        if module.params["state"] == "present":
            result = _apply.run(_options.read(module.params), module.check_mode)
        else:
            result = _apply.clear(module.params["remove_projects"], module.check_mode)
    except _apply.REFUSALS as error:
        module.fail_json(msg=str(error))
    if result.kept:
        module.warn(
            f"{', '.join(result.kept)} stay, because containers have mounted them; remove the containers and run this again, "
            "or set docker_gitops_remove_projects."
        )
    module.exit_json(changed=result.changed, diff=result.diff, public_key=result.public_key, kept=result.kept)


if __name__ == "__main__":
    main()
