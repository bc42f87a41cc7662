# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_module
short_description: Runs a module and takes its answer as data
version_added: "0.1.0"
description:
  - Ansible makes variables of C(ansible_facts), and statistics of C(ansible_stats), in the result of any module. A host that is not
    trusted could set variables of the run with them.
  - This action runs another module and drops both. The modules of this collection always run like that, and their results are
    compared with what they document.
author:
  - The bulkhead.docker maintainers (@bulkhead)
attributes:
  check_mode:
    support: full
    description: Can run in check mode, as far as the module can that it runs.
  diff_mode:
    support: full
    description: Returns what the module returns that it runs.
options:
  name:
    description: Full name of the module to run.
    type: str
    required: true
  options:
    description: Its options. One that is null is not given.
    type: dict
    default: {}
notes:
  - What O(options) holds is not known to be secret. Set C(no_log) on the task where it is.
"""

EXAMPLES = r"""
- name: Create a private key on an engine that could answer anything
  bulkhead.docker.docker_module:
    name: community.crypto.openssl_privatekey
    options:
      path: /var/lib/bulkhead/pending/server-key.pem
      type: ECC
      curve: secp256r1
"""

RETURN = r"""
"""
