# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ssh_endpoint_info
short_description: Tries out what a restricted SSH account of a Docker engine can do
version_added: "0.1.0"
description:
  - Logs in from outside with C(ssh), as a Docker client does and with the settings of the user it runs as, and asks for the Docker API.
  - Then it tries what has to be refused, such as a command, a shell, file transfer, forwarding and a login without a key.
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
    description: Seconds for a connection.
    type: int
    default: 10
seealso:
  - module: bulkhead.docker.docker_endpoint_info
"""

EXAMPLES = r"""
- name: Prove the restricted account from outside
  bulkhead.docker.docker_ssh_endpoint_info:
    address: 192.0.2.10
    account: docker-admin
  delegate_to: build-server
  register: proof
  failed_when: not proof.ok
"""

RETURN = r"""
ok:
  description: Whether the Docker API answers and everything else is refused.
  returned: success
  type: bool
refused:
  description: For each attempt whether it was refused. Empty when the API does not answer, since a refusal would prove nothing.
  returned: success
  type: dict
  sample: {"a shell": true, "file transfer": true}
findings:
  description: What is not as it must be, one sentence each, without a full stop.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import probe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "account": {"type": "str", "required": True},
            "port": {"type": "int"},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    result = probe.prove(given["address"], given["account"], given["port"], given["timeout"])
    module.exit_json(changed=False, ok=not result.findings, refused=result.refused, findings=result.findings)


if __name__ == "__main__":
    main()
