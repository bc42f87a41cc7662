# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_client_plan
short_description: Plan what the role docker_client does on a client host
version_added: "0.1.0"
description:
  - Checks the variables of the role P(bulkhead.docker.docker_client#role) and makes one record for each OS user of the host from them.
    It runs on the control node and contacts nobody.
  - What an OS user answers is taken for the identities of that user alone. Names, accounts, addresses and validity come from the options.
  - It is made for the role, and changes with it.
author:
  - The bulkhead.docker maintainers (@bulkhead)
attributes:
  check_mode:
    support: full
    description: Changes nothing. In check mode, the contexts are those of files that are still to be written.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  identities:
    description: See C(docker_client_identities) of the role.
    type: list
    elements: dict
    required: true
  engines:
    description: See C(docker_client_engines) of the role.
    type: list
    elements: dict
    default: []
  transports:
    description: See C(docker_client_transports) of the role.
    type: list
    elements: str
    choices: [tls, ssh]
    default: [tls]
  context_name:
    description: See C(docker_client_context_name) of the role.
    type: str
    default: ""
  current:
    description: See C(docker_client_current) of the role.
    type: str
    default: ""
  valid_days:
    description: See C(docker_client_valid_days) of the role.
    type: int
    default: 365
  renew_days:
    description: See C(docker_client_renew_days) of the role.
    type: int
    default: 30
  connects_as:
    description: See C(docker_client_connects_as) of the role.
    type: str
    default: ""
  revoked:
    description: See C(docker_client_revoked_names) of the role.
    type: list
    elements: str
    default: []
  evicted:
    description: See C(docker_client_evicted_names) of the role.
    type: list
    elements: str
    default: []
  skip_revoked:
    description: See C(docker_client_skip_revoked) of the role.
    type: bool
    default: false
  replace_ca:
    description: See C(docker_client_replace_ca) of the role.
    type: bool
    default: false
  group_cas:
    description: See C(docker_client_group_cas) of the role.
    type: dict
    default: {}
  key_type:
    description: See C(docker_client_key_type) of the role.
    type: str
    choices: [P-256, P-384, RSA]
    default: P-256
  key_size:
    description: See C(docker_client_key_size) of the role.
    type: int
    default: 3072
  answers:
    description: The results of M(bulkhead.docker.docker_identity_info) in a loop over RV(users).
    type: list
    elements: dict
    default: []
  requests:
    description: The results of M(bulkhead.docker.docker_identity) in a loop over RV(users).
    type: list
    elements: dict
    default: []
  results:
    description: The results of other loops over users or identities, of which only failures matter.
    type: list
    elements: dict
    default: []
  absent:
    description: Return only RV(removals).
    type: bool
    default: false
  absent_names:
    description: See C(docker_client_absent_names) of the role. Empty stands for all O(identities).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Plan what the client host gets
  bulkhead.docker.docker_client_plan:
    identities: "{{ docker_client_identities }}"
    engines: "{{ docker_client_engines }}"
  register: client_plan
"""

RETURN = r"""
users:
  description: The OS users with what the tasks of the role do as each of them.
  returned: when O(absent=false)
  type: list
  elements: dict
contexts:
  description: The names of the contexts of all users.
  returned: when O(absent=false)
  type: list
  elements: str
contexts_right:
  description: Whether O(answers) say of each user that all contexts are as they shall be.
  returned: when O(absent=false)
  type: bool
identities:
  description: The identities with what O(answers) say about them, without those that were revoked.
  returned: when O(absent=false)
  type: list
  elements: dict
due:
  description: Those of RV(identities) that have to be issued.
  returned: when O(absent=false)
  type: list
  elements: dict
requested:
  description: Those of RV(due) that have a request among O(requests), with what M(bulkhead.docker.docker_ca_sign) takes as C(sign).
  returned: when O(absent=false)
  type: list
  elements: dict
ssh_engines:
  description: The engines as M(bulkhead.docker.docker_ssh_client) takes them.
  returned: when O(absent=false)
  type: list
  elements: dict
failures:
  description: A sentence about each OS user and identity without a usable answer, or with O(absent) about each task that failed for a user.
  returned: success
  type: list
  elements: str
other_ca:
  description: Those of RV(failures) that are about identities of another CA than this run's, which O(replace_ca) would let go.
  returned: when O(absent=false)
  type: list
  elements: str
removals:
  description: The OS users with what each of them loses.
  returned: when O(absent=true)
  type: list
  elements: dict
"""
