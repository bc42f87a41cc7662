# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ca_holders
short_description: Record on the CA host which hosts have access
version_added: "0.1.0"
description:
  - Keeps an entry for each engine that trusts the CA and for each identity of a client host, below C(holders/) in the directory of the CA that the
    role P(bulkhead.docker.docker_ca#role) keeps, on the CA host and as the user whose directory it is.
  - The playbooks compare their inventory with these entries, and take nothing from a host of somebody else's. Certificates alone do not tell it, as
    several hosts have identities of one name, some use SSH alone, and certificates expire or are installed by something else.
  - Entries that nobody names stay. Nothing is written for an identity that was revoked.
  - Works under the lock of the CA. Entries that are written at the same time by somebody else are not lost.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the CA host
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the changed status prediction.
  diff_mode:
    support: none
    description: Names the files that were written or removed.
options:
  dir:
    description: Directory of the CA, absolute or starting with V(~/).
    type: path
    default: ~/.bulkhead/ca
  present:
    description: Who has access, or is about to get it.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: V(engine) goes with O(present[].host) alone, V(client) with all others, V(export) with O(present[].identity) alone.
        type: str
        choices: [engine, client, export]
        required: true
      host:
        description: The name of the host in its inventory.
        type: str
        default: ""
      identity:
        description: The name of the identity, 1 to 64 letters, digits and C(@ . _ + -), the first one a letter or digit.
        type: str
        default: ""
      transport:
        description: V(tls) or V(ssh).
        type: str
        choices: ["", tls, ssh]
        default: ""
  absent:
    description: Entries that go, because what they are about was removed. One that is not there is no error.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: As in O(present[].kind).
        type: str
        choices: [engine, client, export]
        required: true
      host:
        description: As in O(present[].host).
        type: str
        default: ""
      identity:
        description: As in O(present[].identity).
        type: str
        default: ""
      transport:
        description: As in O(present[].transport).
        type: str
        choices: ["", tls, ssh]
        default: ""
  absent_hosts:
    description: Hosts whose entries go, whatever they are. One without an entry is no error.
    type: list
    elements: str
    default: []
seealso:
  - module: bulkhead.docker.docker_ca_info
  - module: bulkhead.docker.docker_ca_revocation
"""

EXAMPLES = r"""
- name: Record an engine and an identity that uses SSH
  bulkhead.docker.docker_ca_holders:
    present:
      - {kind: engine, host: web1}
      - {kind: client, host: build1, identity: jenkins, transport: ssh}
  delegate_to: ca.example.com
  become: false

- name: Remove the entries of a host that is gone for good
  bulkhead.docker.docker_ca_holders:
    absent_hosts: [web9]
  delegate_to: ca.example.com
  become: false
"""

RETURN = r"""
written:
  description: Paths below the directory of the entries that were written or removed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: ["holders/engine,web1"]
"""

import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import library

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import holders
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "~/.bulkhead/ca"},
            "present": {"type": "list", "elements": "dict", "default": [], "options": library.HOLDER},
            "absent": {"type": "list", "elements": "dict", "default": [], "options": library.HOLDER},
            "absent_hosts": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    library.fail_without(module, CRYPTOGRAPHY_ERROR)
    given = module.params
    try:
        directory = ca.open_directory(given["dir"])
        present, absent = ([holders.Holder(**one) for one in given[kind]] for kind in ("present", "absent"))
        written = holders.record(directory, present, given["absent_hosts"], module.check_mode, absent)
    except ca.CaError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"Who has access cannot be recorded in the directory of the CA {given['dir']} "
            f"({error.strerror}: {error.filename})."
        )
    module.exit_json(changed=bool(written), written=written)


if __name__ == "__main__":
    main()
