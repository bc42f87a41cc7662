# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ssh_client
short_description: Prepares a user's ssh for the restricted accounts of Docker engines
version_added: "0.1.0"
description:
  - Makes an SSH key for each identity that brings none, on the host it is used on, and says what its public half is.
  - Writes the engines' host keys and the settings for these accounts into files of their own, which one C(Include) line at the top of
    C(~/.ssh/config) reads. Everything else in that file stays, and logins to the same hosts as somebody else are not affected.
  - All logins to one engine share a connection, unless the user's home is too long, or has no sockets, for the file that this takes.
  - Nobody is trusted at first sight. An engine whose host keys are neither given nor known from an earlier run is refused.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - OpenSSH's client on the host
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the changed status prediction. A key that is not there yet has no public half then.
  diff_mode:
    support: full
    description: Shows the lines of files that change, never a private key.
options:
  identities:
    description: Who logs in to the engines from here.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the identity and of its key in C(~/.bulkhead/ssh).
        type: str
        required: true
      account:
        description: The account on the engines.
        type: str
        required: true
      private_key:
        description: A private key of this host to use instead of one of its own. A passphrase is the business of the user's agent.
        type: path
  engines:
    description: The engines. Not set, only the keys are made.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the engine, for a comment.
        type: str
        required: true
      address:
        description: >-
          IP address or RFC 1123 host name by which clients reach it, as in the context's C(ssh://) URL. By default the name.
        type: str
      port:
        description: Port of its sshd. Not set, it is the one that an earlier run has written down for this address, else 22.
        type: int
      host_keys:
        description: >-
          Its public host keys, each as in a C(.pub) file, from a source that is trusted. Empty, those stay that an earlier run has written
          down for this address and port. What is no public key is left out.
        type: list
        elements: str
        default: []
  require_host_keys:
    description: >-
      What happens to engines of which no host key is known. V(true) refuses them. V(false) warns, and C(ssh) refuses them until a later run
      gives their keys.
    type: bool
    default: true
  key_type:
    description:
      - Type of the keys that are made. Those that are there stay. Remove one to have another, and run the role docker_ssh on all engines then.
      - A host in FIPS mode has no V(ed25519).
    type: str
    choices: [ed25519, ecdsa, rsa]
    default: ed25519
  jump:
    description:
      - How the engines are reached where they are behind a bastion host, as OpenSSH's C(ProxyJump) takes it, V(USER@HOST:PORT), or several with
        commas between them.
      - How C(ssh) logs in to the bastion host, and the host key that it has to have, stand in the user's own C(~/.ssh).
    type: str
    default: ""
  context_set:
    description: Name of the set that O(engines) lists, and of the files. Several inventories for one user need a set each.
    type: str
    default: bulkhead
  exclusive:
    description:
      - With O(state=absent), whether the files of O(context_set) go whatever identities are in them. With V(false) they stay for those that
        O(identities) does not name.
    type: bool
    default: true
  state:
    description:
      - V(absent) removes the keys that were made here for O(identities), the files of O(context_set) and, with the last set, the C(Include) line.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: bulkhead.docker.docker_ssh_access
  - module: bulkhead.docker.docker_contexts
"""

EXAMPLES = r"""
- name: Prepare ssh for the contexts
  bulkhead.docker.docker_ssh_client:
    identities:
      - name: admin
        account: docker-admin
    engines:
      - name: web1
        address: 192.0.2.10
        host_keys: "{{ hostvars.web1.docker_ssh_server.host_keys }}"
"""

RETURN = r"""
public_keys:
  description: The identities with their public keys.
  returned: success and O(state=present)
  type: list
  elements: dict
  contains:
    name:
      description: Name of the identity.
      type: str
    account:
      description: The account on the engines.
      type: str
    public_key:
      description: The public key; empty in check mode when there is none yet.
      type: str
"""

import pathlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import client as _client


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "identities": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "account": {"type": "str", "required": True},
                    "private_key": {"type": "path", "no_log": False},
                },
            },
            "engines": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str"},
                    "port": {"type": "int"},
                    "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
                },
            },
            "require_host_keys": {"type": "bool", "default": True},
            "key_type": {"type": "str", "choices": ["ed25519", "ecdsa", "rsa"], "default": "ed25519", "no_log": False},
            "jump": {"type": "str", "default": ""},
            "context_set": {"type": "str", "default": "bulkhead"},
            "exclusive": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    given = module.params
    identities = [
        _client.Identity(
            entry["name"], entry["account"], pathlib.Path(entry["private_key"]) if entry["private_key"] else None
        )
        for entry in given["identities"]
    ]
    engines = given["engines"] and [
        _client.Engine(entry["name"], entry["address"] or entry["name"], entry["port"], tuple(entry["host_keys"]))
        for entry in given["engines"]
    ]
    try:
        if given["state"] == "absent":
            removed = _client.remove(identities, given["context_set"], given["exclusive"], module.check_mode)
            module.exit_json(changed=removed.changed, diff=removed.diff)
        wanted = _client.Wanted(
            identities, engines, given["context_set"], given["key_type"], given["jump"], given["require_host_keys"]
        )
        result = _client.run(wanted, module.check_mode)
    except (_client.ClientError, OSError) as error:
        module.fail_json(msg=str(error))
    for name in result.unknown:
        module.warn(f"No SSH host key of {name} is known, so that ssh refuses it. Run the role docker_ssh for it.")
    module.exit_json(changed=result.changed, public_keys=result.keys, diff=result.diff)


if __name__ == "__main__":
    main()
