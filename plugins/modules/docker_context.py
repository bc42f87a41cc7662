# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_context
short_description: Makes, changes, removes or selects one Docker context
version_added: "0.1.0"
description:
  - Writes the docker CLI's own store of contexts, below E(DOCKER_CONFIG) or C(~/.docker) of the user that it runs as.
    The CLI need not be installed, and no engine is asked anything.
  - A context for a C(tcp://) endpoint always has its three TLS files, which are copied into the store; without them, clients
    would speak plain HTTP to it. They are written before the context and removed after it.
  - A context that is there is changed as C(docker context update) changes it, whoever made it. The endpoint is written anew,
    everything else that the context says is kept.
  - When the current context is removed, Docker's default context becomes current.
author:
  - The bulkhead.docker maintainers (@bulkhead)
extends_documentation_fragment:
  - bulkhead.docker.context
  - bulkhead.docker.context.folder
options:
  name:
    description:
      - Name of the context, as Docker allows it. It has at least two characters, the first one a letter or digit, the others
        letters, digits or one of C(_.+-).
      - V(default) is only allowed with O(state=current).
    type: str
    required: true
  state:
    description:
      - V(present) makes or changes the context and needs O(docker_host).
      - V(current) makes it the current one, too. Without O(docker_host) the context has to exist and is not changed.
      - V(absent) removes the context and its TLS files.
    type: str
    choices: [present, current, absent]
    default: present
  docker_host:
    description: The endpoint, C(unix:///PATH), C(ssh://USER@HOST) or C(tcp://HOST:PORT).
    type: str
  ca_path:
    description: The trust bundle that the engine's certificate is checked with. Needed for C(tcp://), and only there.
    type: path
  client_cert:
    description: The client's certificate. Needed for C(tcp://), and only there.
    type: path
  client_key:
    description: The private key of O(client_cert), not encrypted. Needed for C(tcp://), and only there.
    type: path
  validate_certs:
    description: Whether clients check the engine's certificate. With V(false), whoever sits in between can be the engine.
    type: bool
    default: true
  description:
    description: What C(docker context ls) shows beside the name. An empty string removes it; not set, it stays.
    type: str
seealso:
  - module: bulkhead.docker.docker_contexts
  - module: community.docker.docker_context_info
"""

EXAMPLES = r"""
- name: Reach web1 with a client certificate, and make that the current context
  bulkhead.docker.docker_context:
    name: web1
    state: current
    docker_host: tcp://web1.example.com:2376
    ca_path: ~/.bulkhead/identities/admin/ca.pem
    client_cert: ~/.bulkhead/identities/admin/cert.pem
    client_key: ~/.bulkhead/identities/admin/key.pem

- name: Reach web1 over SSH
  bulkhead.docker.docker_context:
    name: web1-ssh
    docker_host: ssh://docker-remote@web1.example.com

- name: Go back to the local engine
  bulkhead.docker.docker_context:
    name: default
    state: current

- name: Remove a context
  bulkhead.docker.docker_context:
    name: web1-ssh
    state: absent
"""

RETURN = r"""
contexts:
  description: The context, as M(community.docker.docker_context_info) describes it; empty when it is absent.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The context's name.
      type: str
      sample: web1
    current:
      description: Whether it is the current one.
      type: bool
    description:
      description: Its description, if it has one.
      type: str
    meta_path:
      description: Folder of its C(meta.json).
      type: str
    tls_path:
      description: Folder of its TLS files.
      type: str
    config:
      description: Options for the modules of community.docker, for use in C(module_defaults).
      type: dict
      contains:
        docker_host:
          description: The endpoint.
          type: str
          sample: tcp://web1.example.com:2376
        tls:
          description: Whether TLS is used.
          type: bool
        ca_path:
          description: The trust bundle in the store.
          returned: with C(tcp://)
          type: str
        client_cert:
          description: The client's certificate in the store.
          returned: with C(tcp://)
          type: str
        client_key:
          description: Path of its private key in the store.
          returned: with C(tcp://)
          type: str
        validate_certs:
          description: Whether the engine's certificate is checked.
          returned: with C(tcp://)
          type: bool
current_context_name:
  description: The context that C(config.json) makes the current one.
  returned: success
  type: str
  sample: default
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import (
    cli_config,
    options,
    plan,
    store,
    surroundings,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "current", "absent"], "default": "present"},
            "docker_host": {"type": "str"},
            "config_dir": {"type": "path"},
            **options.ARGUMENTS,
        },
        required_if=[("state", "present", ["docker_host"])],
        supports_check_mode=True,
    )
    given = module.params
    root = plan.folder(given["config_dir"])
    try:
        pairs = []
        if given["state"] == "absent":
            options.check_name(given["name"])
        elif given["docker_host"] or given["state"] == "present":
            pairs.append(options.from_options(given, module.check_mode))
        result = plan.run(
            plan.Wanted(
                contexts=tuple(context for context, _ in pairs),
                absent=(given["name"],) if given["state"] == "absent" else (),
                current=given["name"] if given["state"] == "current" else "",
            ),
            module.check_mode,
            store.Store(root),
        )
    except (options.StoreError, cli_config.ConfigError) as error:
        module.fail_json(msg=f"{error}.")
    except OSError as error:
        module.fail_json(msg=f"The Docker contexts in {root} cannot be changed: {error}.")
    for path in sorted({path for _, missing in pairs for path in missing}):
        module.warn(f"{path} does not exist yet; the run itself needs it.")
    for warning in surroundings.warnings(root, (context.host for context, _ in pairs), os.environ):
        module.warn(f"{warning}.")
    module.exit_json(
        changed=result.changed,
        contexts=result.contexts,
        current_context_name=result.current,
        diff=result.diff,
    )


if __name__ == "__main__":
    main()
