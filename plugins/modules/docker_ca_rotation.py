# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ca_rotation
short_description: Move a certificate authority to the next phase of its replacement
version_added: "0.1.0"
description:
  - Works on the files of the CA that the role P(bulkhead.docker.docker_ca#role) keeps, on the CA host and as the user whose directory it is.
    It does not know whether engines and clients have followed; the playbook C(bulkhead.docker.rotate_ca) verifies that.
  - The phases follow each other. One that is reached or passed is not entered again, so every call can be repeated. A call that was
    killed is completed by the next one.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the CA host
attributes:
  check_mode:
    support: full
    description: Says whether something would change.
  diff_mode:
    support: none
    description: Says the phase alone.
options:
  dir:
    description: Directory of the CA, absolute or starting with V(~/).
    type: path
    default: ~/.bulkhead/ca
  phase:
    description:
      - In V(trust), the trust bundle holds the CA and its successor, which is in the directory C(next) by then. In V(reissue), the successor
        signs. In V(retire), the bundle holds the successor alone. V(done) removes what is left of the old CA, its key included.
      - V(done) without a rotation brings the trust bundle and the revocation list in line with the CA.
    type: str
    choices: [trust, reissue, retire, done]
    required: true
seealso:
  - module: bulkhead.docker.docker_ca_info
"""

EXAMPLES = r"""
- name: Let the successor sign
  bulkhead.docker.docker_ca_rotation:
    phase: reissue
  become: false
"""

RETURN = r"""
phase:
  description: The phase after the call, V(none) without a rotation.
  returned: success
  type: str
  sample: reissue
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
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import rotation
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "~/.bulkhead/ca"},
            "phase": {"type": "str", "choices": ["trust", "reissue", "retire", "done"], "required": True},
        },
        supports_check_mode=True,
    )
    library.fail_without(module, CRYPTOGRAPHY_ERROR)
    given = module.params
    try:
        outcome = rotation.advance(ca.open_directory(given["dir"]), given["phase"], module.check_mode)
    except ca.CaError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"The CA in {given['dir']} could not be changed ({error}). Run this again: it goes on where it stopped."
        )
    module.exit_json(changed=outcome.changed, phase=outcome.phase, path=str(outcome.path))


if __name__ == "__main__":
    main()
