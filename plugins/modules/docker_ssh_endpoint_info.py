# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ssh_endpoint_info
short_description: Verifies restricted SSH accounts of Docker engines from outside
version_added: "0.1.0"
description:
  - Logs in from outside with C(ssh), as a Docker client does and with the settings of the user it runs as, and asks for the Docker API.
  - Then it tries what has to be refused, such as a command, a shell, file transfer, forwarding and a login without a key.
  - Whatever is wrong with one endpoint is a finding about that endpoint. It does not make the module fail and changes nothing for
    the others.
  - Four endpoints are asked at the same time, each over at most four connections, since sshd shuts out addresses that open too many.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - OpenSSH's client on the host, and an identity for the account, as the role P(bulkhead.docker.docker_client#role) prepares it
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  endpoints:
    description: The accounts to try, at least one.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the results call it, such as the inventory name of the engine.
        type: str
        required: true
      address:
        description: Name or address of the engine.
        type: str
        required: true
      account:
        description: The account.
        type: str
        required: true
      port:
        description: Port of its sshd. Not set, the user's settings of ssh say it.
        type: int
  timeout:
    description: Seconds for a connection, at least 1.
    type: int
    default: 10
seealso:
  - module: bulkhead.docker.docker_endpoint_info
"""

EXAMPLES = r"""
- name: Verify the restricted accounts of two engines from a client host
  bulkhead.docker.docker_ssh_endpoint_info:
    endpoints:
      - name: web1
        address: 192.0.2.10
        account: docker-admin
      - name: web2
        address: 192.0.2.11
        account: docker-admin
        port: 2222
  delegate_to: build1
  run_once: true
  register: outside
  failed_when: not outside.ok
"""

RETURN = r"""
ok:
  description: Whether all endpoints passed.
  returned: success
  type: bool
endpoints:
  description: What was found out about each of O(endpoints), in the same order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What O(endpoints) call it.
      type: str
      sample: web1
    address:
      description: Where the login was tried.
      type: str
      sample: 192.0.2.10
    account:
      description: The account.
      type: str
      sample: docker-admin
    ok:
      description: Whether the Docker API answers and everything else is refused.
      type: bool
    findings:
      description: One sentence for each check that failed, with what C(ssh) said, without a full stop.
      type: list
      elements: str
      sample:
        - "docker-admin@192.0.2.10 does not reach the Docker API (Connection closed by 192.0.2.10 port 22)"
    refused:
      description:
        - For each attempt whether it was refused. A connection that sshd dropped before it came to the attempt is no refusal.
        - Empty when the API does not answer, since a refusal would show nothing.
      type: dict
      sample: {"a shell": true, "file transfer": true}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import probe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "account": {"type": "str", "required": True},
                    "port": {"type": "int"},
                },
            },
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    endpoints = [probe.Endpoint(**entry) for entry in module.params["endpoints"]]
    if not endpoints:
        module.fail_json(msg="endpoints is empty, so that nothing would be verified; name at least one.")
    if module.params["timeout"] < 1:
        module.fail_json(msg=f"timeout is {module.params['timeout']}; give seconds, at least 1.")
    module.exit_json(changed=False, **probe.check_endpoints(endpoints, module.params["timeout"]))


if __name__ == "__main__":
    main()
