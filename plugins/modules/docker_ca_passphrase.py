# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ca_passphrase
short_description: Encrypt the key of a certificate authority with another passphrase
version_added: "0.1.0"
description:
  - Works on the files of the CA that the role P(bulkhead.docker.docker_ca#role) keeps, on the CA host and as the user whose directory it is.
    The key itself stays. While a rotation is under way, the keys of the successor and of the old CA are encrypted anew, too.
  - All keys are opened before the first one is written; where one opens with neither passphrase, nothing is changed. Nobody else can sign or
    rotate meanwhile. Each key is replaced at once, in its own directory, and a call that was killed is ended by the next one.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the CA host
attributes:
  check_mode:
    support: full
    description: Opens the keys and names those that would be encrypted anew.
  diff_mode:
    support: none
    description: Names the keys alone.
options:
  dir:
    description: Directory of the CA, absolute or starting with V(~/).
    type: path
    default: ~/.bulkhead/ca
  passphrase:
    description: The passphrase that the keys get, in UTF-8. Empty, they are protected by their file mode alone.
    type: str
    default: ""
  old_passphrase:
    description: >-
      The passphrase that the keys have now, empty where they have none. A key that opens with O(passphrase) already stays as it is. One that opens
      with neither is an error.
    type: str
    default: ""
seealso:
  - module: bulkhead.docker.docker_ca
"""

EXAMPLES = r"""
- name: Encrypt the key of the CA with another passphrase
  bulkhead.docker.docker_ca_passphrase:
    passphrase: "{{ docker_ca_passphrase }}"
    old_passphrase: "{{ docker_ca_old_passphrase }}"
  become: false
  vars:
    ansible_pipelining: true
"""

RETURN = r"""
changed_keys:
  description: Paths below the directory of the keys that were encrypted anew, or decrypted, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [ca-key.pem, next/ca-key.pem]
path:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /home/ops/.bulkhead/ca
"""

import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import library

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import inspect, passphrase
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "~/.bulkhead/ca"},
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "old_passphrase": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    library.fail_without(module, CRYPTOGRAPHY_ERROR)
    given = module.params
    try:
        directory = ca.open_directory(given["dir"])
        ca.refuse_masking(given["passphrase"], inspect.gather(directory, given["passphrase"]))
        changed = passphrase.change(directory, given["passphrase"], given["old_passphrase"], module.check_mode)
    except ca.CaError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"The CA in {given['dir']} could not be changed ({error}). Run this again: it goes on where it stopped."
        )
    module.exit_json(changed=bool(changed), changed_keys=changed, path=str(directory.path))


if __name__ == "__main__":
    main()
