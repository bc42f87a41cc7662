# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_gateway_info
short_description: Tells what identities may do through the gateways of Docker engines
version_added: "0.1.0"
description:
  - Asks gateways from this host, as identities of the user that it runs as, and compares the answers with what their scopes name.
  - A call with an account goes over SSH, as a Docker client does it; all of an account go over one connection.
  - Requests that a scope does not name are such that dockerd would answer them without a change.
author:
  - The bulkhead.docker maintainers (@bulkhead)
attributes:
  check_mode:
    support: full
    description: Changes nothing, with or without check mode.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  endpoints:
    description: The gateways.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name in the answer.
        type: str
        required: true
      address:
        description: Name or address, as its certificate has it.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 2376
      ssh_port:
        description: Port of its sshd. Not set, the user's settings of ssh say it.
        type: int
      calls:
        description: What is asked.
        type: list
        elements: dict
        required: true
        suboptions:
          identity:
            description: As whom.
            type: str
            required: true
          group:
            description: >-
              The access group whose pair of certificate and key it shows, in a folder of that name below that of the identity. Empty for the pair in
              that folder itself.
            type: str
            default: ""
          method:
            description: Method of the request.
            type: str
            required: true
          path:
            description: Path of the request.
            type: str
            required: true
          allowed:
            description: Whether the scope of the identity names it.
            type: bool
            required: true
          account:
            description: The account that the identity logs in to over SSH. Not set, it is asked over TLS.
            type: str
  timeout:
    description: Seconds that each connection may take.
    type: float
    default: 10.0
"""

EXAMPLES = r"""
- name: Ask a gateway as an identity that may see the list of containers
  bulkhead.docker.docker_gateway_info:
    endpoints:
      - name: web1
        address: web1.example.com
        calls:
          - {identity: alice, method: GET, path: /containers/json, allowed: true}
          - {identity: alice, method: GET, path: /volumes, allowed: false}
          - {identity: alice, account: docker-alice, method: GET, path: /volumes, allowed: false}
"""

RETURN = r"""
endpoints:
  description: Each gateway, in the order of O(endpoints).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: As in O(endpoints[].name).
      type: str
      sample: web1
    ok:
      description: Whether there are no findings.
      type: bool
    findings:
      description: What was answered otherwise than the scope says, one phrase each.
      type: list
      elements: str
    calls:
      description: Each call with its answer.
      type: list
      elements: dict
      contains:
        identity:
          description: As whom.
          type: str
        account:
          description: The account of a call over SSH; V(null) where it went over TLS.
          type: str
        method:
          description: Method of the request.
          type: str
        path:
          description: Path of the request.
          type: str
        allowed:
          description: Whether the scope names it.
          type: bool
        status:
          description: The status of the answer; V(null) where there was none.
          type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import calls

_CALL = {
    "identity": {"type": "str", "required": True},
    "group": {"type": "str", "default": ""},
    "method": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "allowed": {"type": "bool", "required": True},
    "account": {"type": "str"},
}
_ENDPOINT = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 2376},
    "ssh_port": {"type": "int"},
    "calls": {"type": "list", "elements": "dict", "required": True, "options": _CALL},
}


def _call(identity: str, group: str, **of_request: t.Any) -> calls.Call:
    folder = "/".join(filter(None, ("~/.bulkhead/identities", identity, group)))
    return calls.Call(identity, folder, **of_request)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoints": {"type": "list", "elements": "dict", "required": True, "options": _ENDPOINT},
            "timeout": {"type": "float", "default": 10.0},
        },
        supports_check_mode=True,
    )
    given = module.params
    found = [
        calls.check(
            calls.Endpoint(endpoint["name"], endpoint["address"], endpoint["port"], endpoint["ssh_port"]),
            [_call(**call) for call in endpoint["calls"]],
            given["timeout"],
        )
        for endpoint in given["endpoints"]
    ]
    module.exit_json(changed=False, endpoints=found)


if __name__ == "__main__":
    main()
