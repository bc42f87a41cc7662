# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_gateway
short_description: Refuses identities at the gateway of a Docker engine, and ends their connections
version_added: "0.1.0"
description:
  - Takes identities out of a gateway that M(bulkhead.docker.docker_daemon_config) has set up, gives it the present revocation lists, loads both
    without an end of anybody else's connections, and ends those of these identities.
  - Nothing else of the engine is looked at or changed, so that nothing else can prevent it. Where the new files do not work, the previous ones come
    back.
  - An engine without a gateway stays as it is.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the engine
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the changed status prediction without modifying the engine.
  diff_mode:
    support: full
    description: Shows the lines of HAProxy's configuration that change.
options:
  revoked:
    description: The identities.
    type: list
    elements: str
    default: []
  revocation_lists:
    description:
      - The revocation lists in PEM format, of any CAs. For a CA that the engine trusts and that has none here, the one that the gateway has stays.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Refuse an identity
  bulkhead.docker.docker_gateway:
    revoked: [alice]
    revocation_lists: "{{ docker_ca_state.revocation_lists }}"
"""

RETURN = r"""
gateway:
  description: Whether the engine has a gateway.
  returned: success
  type: bool
ended:
  description: How many connections were ended.
  returned: success
  type: int
"""

import sys
import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places

IMPORT_ERROR = TRACEBACK = ""
try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import revocation
except ImportError as error:
    IMPORT_ERROR = str(error)
    TRACEBACK = traceback.format_exc()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "revoked": {"type": "list", "elements": "str", "default": []},
            "revocation_lists": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR and not _places.PLACES.settings.exists():
        module.exit_json(changed=False, diff=[], gateway=False, ended=0)
    if IMPORT_ERROR:
        module.fail_json(
            msg=f"Python's cryptography library 3.3 or later is missing for {sys.executable} on this host "
            f"({IMPORT_ERROR}); install it there (Debian: python3-cryptography).",
            exception=TRACEBACK,
        )
    given = module.params
    try:
        result = revocation.run(given["revoked"], given["revocation_lists"], module.check_mode)
    except revocation.REFUSALS as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=result.changed, diff=result.diff, gateway=result.gateway, ended=result.ended)


if __name__ == "__main__":
    main()
