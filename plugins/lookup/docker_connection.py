# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# Ansible takes the options of a lookup from here alone, not from a file beside it.
DOCUMENTATION = r"""
name: docker_connection
short_description: Connection options of community.docker for an engine
version_added: 0.1.0
description:
  - Returns the options with which the modules of C(community.docker) reach an engine as a client host of the inventory does, with the
    identity that P(bulkhead.docker.docker_client#role) has made there, over TLS or SSH. In C(module_defaults) it is one line.
  - For an engine of the inventory everything comes from the inventory; no file is read and nobody is asked. Paths start with C(~/), which is
    the home of the user on whose behalf the module runs. So the task has to run on the client host, as the OS user of the identity.
  - A name that is no engine of the inventory is a Docker context of the user who runs Ansible, in E(DOCKER_CONFIG) or C(~/.docker) on the
    control node. It serves tasks that run there.
options:
  _terms:
    description: Names of engines as the inventory has them, or of Docker contexts on the control node.
    type: list
    elements: str
    required: true
  client:
    description: The client host on which the task runs. By default the host of the task, which is not the one that C(delegate_to) names.
    type: str
  identity:
    description: Name of the identity. Needed where the client host has several.
    type: str
  transport:
    description: Which of C(docker_client_transports) of the client host to use. By default the first one.
    type: str
    choices: [tls, ssh]
  modules:
    description:
      - For which modules the options are. Over SSH, those that use the API (V(api)) get C(use_ssh_client=true), without which they would
        ignore the settings and host keys that are written for C(ssh); those that call the docker CLI (V(cli)), such as
        M(community.docker.docker_compose_v2) and M(community.docker.docker_stack), do not have that option.
      - Over TLS it makes no difference.
    type: str
    choices: [api, cli]
    default: api
  config_dir:
    description: Where the contexts are. By default E(DOCKER_CONFIG) or C(~/.docker).
    type: path
notes:
  - E(REQUESTS_CA_BUNDLE) and E(CURL_CA_BUNDLE) in the environment of the module replace the CA of modules that use the API, which then
    refuse the engine. Unset them.
  - C(tls_hostname) is not returned. Certificates cover the address that C(docker_host) has, and Docker's Python library 7 refuses the option.
author:
  - The bulkhead.docker maintainers (@bulkhead)
"""

EXAMPLES = r"""
- name: Deploy to web1 from the build server, over TLS
  hosts: build1
  become: true
  become_user: jenkins
  module_defaults:
    group/community.docker.docker: "{{ lookup('bulkhead.docker.docker_connection', 'web1', identity='build1') }}"
  tasks:
    - name: Start a container
      community.docker.docker_container:
        name: hello
        image: hello:1

- name: The same over SSH, where modules that call the CLI need other options than those that use the API
  hosts: build1
  become: true
  become_user: jenkins
  vars:
    over_ssh: "{{ lookup('bulkhead.docker.docker_connection', 'web1', identity='build1', transport='ssh', modules='cli') }}"
  module_defaults:
    group/community.docker.docker: "{{ over_ssh }}"
    community.docker.docker_container: {use_ssh_client: true}
  tasks:
    - name: Start a container
      community.docker.docker_container:
        name: hello
        image: hello:1

- name: Ask all engines, each through the identity of the control node
  hosts: docker_engines
  gather_facts: false
  module_defaults:
    group/community.docker.docker: "{{ lookup('bulkhead.docker.docker_connection', inventory_hostname, client='localhost') }}"
  tasks:
    - name: Gather facts of the engine
      community.docker.docker_host_info:
      delegate_to: localhost
"""

RETURN = r"""
_list:
  description: Options for each name.
  type: list
  elements: dict
  contains:
    docker_host:
      description: The endpoint.
      type: str
      sample: tcp://192.0.2.11:2376
    tls:
      description: Whether TLS is used.
      type: bool
    validate_certs:
      description: Whether the engine's certificate is checked. Always with TLS, unless a context says otherwise.
      type: bool
    ca_path:
      description: The trust bundle of the identity.
      type: str
      returned: over TLS
      sample: ~/.bulkhead/identities/build1/ca.pem
    client_cert:
      description: Its certificate.
      type: str
      returned: over TLS
    client_key:
      description: Path of its private key.
      type: str
      returned: over TLS
    use_ssh_client:
      description: V(true).
      type: bool
      returned: over SSH with O(modules=api)
"""

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import plan as contexts
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.options import StoreError
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.store import Store
from ansible_collections.bulkhead.docker.plugins.plugin_utils import connection, run_inventory


class LookupModule(LookupBase):
    """Contacts nobody."""

    def run(
        self, terms: list[t.Any], variables: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> list[dict[str, t.Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        variables = variables or {}
        wanted = connection.Wanted(
            client=self.get_option("client") or str(variables.get("inventory_hostname", "localhost")),
            identity=self.get_option("identity") or "",
            transport=self.get_option("transport") or "",
            for_cli=self.get_option("modules") == "cli",
        )
        inventory = run_inventory.read(self._loader, variables)
        store = Store(contexts.folder(self.get_option("config_dir")))
        try:
            return [
                connection.to_engine(inventory, str(name), wanted) or connection.to_context(store, str(name), wanted)
                for name in terms
            ]
        except (connection.NoEngineError, StoreError) as error:
            raise AnsibleLookupError(str(error)) from error
