# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ca_revocation
short_description: Revoke clients and servers of a certificate authority, or allow the name of a client again
version_added: "0.1.0"
description:
  - Works on the files of the CA that the role P(bulkhead.docker.docker_ca#role) keeps, on the CA host and as the user whose directory it is.
  - Marks the name of the client, so that M(bulkhead.docker.docker_ca_sign) signs nothing for it any more, and adds every certificate that the client
    has in the record to the revocation lists of the CA and, in a rotation, of the old CA. Whether the client is known is not asked.
  - Nobody else can sign or rotate meanwhile. The mark is on the disk before the lists are written, and a call that was killed is ended by the next one.
  - C(dockerd) reads no revocation list, and neither does the docker CLI. Gateways and other programs do.
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
    description: Names the files that were written.
options:
  dir:
    description: Directory of the CA, absolute or starting with V(~/).
    type: path
    default: ~/.bulkhead/ca
  passphrase:
    description:
      - Passphrase of the CA's key, which signs the list; empty where the key is not encrypted.
      - A connection without pipelining would leave it in a file on the host for a moment, and is an error.
    type: str
    default: ""
  name:
    description: >-
      The name of the client, 1 to 64 letters, digits and C(@ . _ + -), the first one a letter or digit. Another one is an error.
      Either this or O(servers).
    type: str
  servers:
    description: >-
      Names of servers, all of whose certificates are added to the lists. Nothing is marked: whatever replaces a server may get a certificate for
      its name. One without a certificate is no error.
    type: list
    elements: str
  state:
    description:
      - V(present) revokes the client.
      - V(absent) removes the mark, so that the name can get a new certificate. What is on a revocation list stays there.
    type: str
    choices: [present, absent]
    default: present
  recorded:
    description: Whether the client O(name) has to be in the record. One that has used SSH alone is not. It decides about RV(doubt) and nothing else.
    type: bool
    default: true
  groups:
    description:
      - The access groups in whose record the client O(name) has to be, with O(recorded). Without any, one of all records is enough.
      - The client is revoked in all groups whatever this says.
    type: list
    elements: str
    default: []
seealso:
  - module: bulkhead.docker.docker_ca_sign
  - module: bulkhead.docker.docker_ca_info
"""

EXAMPLES = r"""
- name: Revoke a client
  bulkhead.docker.docker_ca_revocation:
    name: alice
    passphrase: "{{ docker_ca_passphrase }}"
  become: false
  vars:
    ansible_pipelining: true
"""

RETURN = r"""
written:
  description: Paths below the directory of the files that were written, and of the mark that was made or removed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [revoked/alice, crl.pem]
doubt:
  description: >-
    Why the record of the CA does not tell which certificates the revoked client has, such as a file of it that is damaged. Empty where that
    is certain; so it is where the client was revoked before this CA was made.
  returned: success
  type: str
  sample: /home/ops/.bulkhead/ca/issued has none, although it got one.
groups:
  description: >-
    The access groups whose CAs have accepted certificates of the revoked client, or may have: engines of these groups let it in until the CA is
    replaced. The CA in O(dir) is that of the group V(default).
  returned: success
  type: list
  elements: str
  sample: [staging]
state:
  description: The CA as it is now, with the keys that M(bulkhead.docker.docker_ca_info) returns.
  returned: success
  type: dict
"""

import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import library

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import inspect, revocation
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "~/.bulkhead/ca"},
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "name": {"type": "str"},
            "servers": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "recorded": {"type": "bool", "default": True},
            "groups": {"type": "list", "elements": "str", "default": []},
        },
        required_one_of=[("name", "servers")],
        mutually_exclusive=[("name", "servers")],
        supports_check_mode=True,
    )
    library.fail_without(module, CRYPTOGRAPHY_ERROR)
    given = module.params
    passphrase, name, is_revoked = given["passphrase"], given["name"], given["state"] == "present"
    if name is None and not is_revoked:
        module.fail_json(msg="state=absent is for the name of a client; a certificate of a server stays on the list.")
    try:
        directory = ca.open_directory(given["dir"])
        ca.refuse_masking(passphrase, [name or "", inspect.gather(directory, passphrase)])
        if name is None:
            written = revocation.revoke_servers(directory, passphrase, given["servers"], module.check_mode)
        else:
            written = revocation.revoke(directory, passphrase, name, is_revoked, module.check_mode)
        state = inspect.gather(directory, passphrase, [name] if name and is_revoked and module.check_mode else [])
        state["existing"] = None
        left = revocation.Left("", ())
        if name and is_revoked:
            left = revocation.left(directory, name, given["recorded"], given["groups"])
    except ca.CaError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"The CA in {given['dir']} could not be written ({error}). Run this again: it goes on where it stopped."
        )
    module.exit_json(changed=bool(written), written=written, doubt=left.doubt, groups=left.groups, state=state)


if __name__ == "__main__":
    main()
