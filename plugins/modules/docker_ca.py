# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ca
short_description: Make what is missing of a certificate authority of this collection, or remove it
version_added: "0.1.0"
description:
  - Makes the key, the certificate, the revocation lists and the trust bundle of a CA in a directory of the CA host, as the user whose directory
    it is. What is there stays, whatever the options say; a file that cannot be right is an error.
  - The revocation lists get every certificate in the record whose client was revoked.
  - Nobody else can sign or rotate meanwhile. Each file is written whole and is on the disk before the next one; a run that was killed is ended by
    the next one.
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
  state:
    description:
      - V(present) makes what is missing.
      - V(absent) removes the CA, its key first, with all records, a rotation that is under way, and the directory where nothing else is in it. Nothing
        that the CA has signed can be renewed or revoked afterwards. All other options are of no meaning then.
    type: str
    choices: [present, absent]
    default: present
  passphrase:
    description:
      - Passphrase of the CA's key, which a new key is encrypted with. Empty, the key is protected by its file mode alone.
      - A connection without pipelining would leave it in a file on the host for a moment, and is an error.
    type: str
    default: ""
  common_name:
    description: The first part of the common name of a new CA. Eight digits of its key's fingerprint follow, so that no two CAs are called the same.
    type: str
    default: bulkhead.docker CA
  key_type:
    description: Type of a new key.
    type: str
    choices: [P-256, P-384, RSA]
    default: P-256
  key_size:
    description: Bits of a new RSA key. Of no meaning for other types.
    type: int
    default: 3072
  valid_days:
    description: Days that a new CA is valid.
    type: int
    default: 3650
  successor:
    description: >-
      Whether to make the successor of the CA in O(dir) instead, in the directory C(next) below it and under the lock of that CA. It is an error
      when there is no CA, or when its rotation has begun.
    type: bool
    default: false
  holders:
    description: Who is about to get access. Recorded as M(bulkhead.docker.docker_ca_holders) does it with C(present), in the same execution.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: V(engine) goes with O(holders[].host) alone, V(client) with all others, V(export) with O(holders[].identity) alone.
        type: str
        choices: [engine, client, export]
        required: true
      host:
        description: The name of the host in its inventory.
        type: str
        default: ""
      identity:
        description: The name of the identity.
        type: str
        default: ""
      transport:
        description: V(tls) or V(ssh).
        type: str
        choices: ["", tls, ssh]
        default: ""
  existing_certificate:
    description: >-
      Certificate of a CA to take over instead of making one: a self-signed CA, or an issuing CA with all certificates above it, in any order. The CA
      is the one that belongs to O(existing_private_key). Engines trust it alone.
    type: path
  existing_private_key:
    description: >-
      Private key of that CA. Without it, the key of the CA is elsewhere: its certificate and those of other CAs beside it are kept here, and what it
      has issued. They may change as long as one of them stays.
    type: path
  existing_passphrase:
    description: Passphrase of O(existing_private_key).
    type: str
    default: ""
seealso:
  - module: bulkhead.docker.docker_ca_info
  - module: bulkhead.docker.docker_ca_sign
"""

EXAMPLES = r"""
- name: Make a CA
  bulkhead.docker.docker_ca:
    dir: ~/.bulkhead/ca
    passphrase: "{{ docker_ca_passphrase }}"
  become: false
  vars:
    ansible_pipelining: true

- name: Remove a CA that no engine trusts any more
  bulkhead.docker.docker_ca:
    dir: ~/.bulkhead/ca
    state: absent
  become: false
"""

RETURN = r"""
written:
  description: Names of the files that were written or whose mode was corrected, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [ca-key.pem, ca-cert.pem, crl.pem, ca.pem]
removed:
  description: Names of what was removed, and the directory if it was, or in check mode would be. Empty with O(state=present).
  returned: success
  type: list
  elements: str
  sample: [ca-key.pem, ca-cert.pem, ca.pem, crl.pem, issued, .lock, /home/ops/.bulkhead/ca]
state:
  description: The CA as it is now, with O(successor) the successor, with the keys that M(bulkhead.docker.docker_ca_info) returns.
  returned: success
  type: dict
"""

import os
import pathlib
import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import library
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
        create,
        elsewhere,
        existing,
        holders,
        inspect,
        lasting,
        removal,
    )
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "~/.bulkhead/ca"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "common_name": {"type": "str", "default": "bulkhead.docker CA"},
            "key_type": {"type": "str", "choices": ["P-256", "P-384", "RSA"], "default": "P-256"},
            "key_size": {"type": "int", "default": 3072, "no_log": False},
            "valid_days": {"type": "int", "default": 3650},
            "successor": {"type": "bool", "default": False},
            "holders": {"type": "list", "elements": "dict", "default": [], "options": library.HOLDER},
            "existing_certificate": {"type": "path"},
            "existing_private_key": {"type": "path", "no_log": False},
            "existing_passphrase": {"type": "str", "default": "", "no_log": True},
        },
        required_by={"existing_private_key": "existing_certificate"},
        supports_check_mode=True,
    )
    library.fail_without(module, CRYPTOGRAPHY_ERROR)
    given = module.params
    if not 0 < len(given["common_name"]) < 56 or not 0 < given["valid_days"] <= 36500:
        module.fail_json(
            msg=f"common_name is {given['common_name']!r} and valid_days {given['valid_days']}; a CA's name has 1 to 55 "
            "characters, and it is valid for 1 to 36500 days."
        )
    problem = key_types.problem(given["key_type"], given["key_size"])
    if problem:
        module.fail_json(msg=problem)
    files, pinned = existing.files(given), given["existing_certificate"]
    wanted = create.Wanted(given["common_name"], given["key_type"], given["key_size"], given["valid_days"], files)
    removed: list[str] = []
    written: list[str] = []
    try:
        directory, passphrase = ca.open_directory(given["dir"]), given["passphrase"]
        made = directory.next if given["successor"] else directory
        for secret in (passphrase, given["existing_passphrase"]):
            ca.refuse_masking(secret, [given["common_name"], inspect.gather(made, passphrase)])
        if given["state"] == "present":
            lasting.refuse_temporary(directory, os.environ)
        if given["state"] == "absent":
            removed = removal.remove(directory, module.check_mode)
        elif pinned and not files:
            elsewhere.refuse_successor(directory, given["successor"])
            written = elsewhere.ensure(directory, pathlib.Path(pinned), module.check_mode)
        elif given["successor"]:
            written = create.ensure_successor(directory, passphrase, wanted, module.check_mode)
        else:
            written = create.ensure(directory, passphrase, wanted, module.check_mode)
        # In check mode there may be no CA yet.
        if given["holders"] and given["state"] == "present" and made.certificate.exists():
            present = [holders.Holder(**one) for one in given["holders"]]
            written += holders.record(directory, present, (), module.check_mode)
        state = inspect.gather(made, passphrase)
        state["existing"] = elsewhere.coming(made, passphrase, given)
    except ca.CaError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"The CA in {given['dir']} could not be written ({error}). Run this again: it goes on where it stopped."
        )
    module.exit_json(changed=bool(written or removed), written=written, removed=removed, state=state)


if __name__ == "__main__":
    main()
