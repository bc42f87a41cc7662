# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_plan
short_description: Makes the plan of a playbook from the inventory and its variables
version_added: "0.1.0"
description:
  - Every playbook of this collection begins with it. It tells who is an engine, who a client, who keeps the CA, and what each is to be.
  - It reads groups and variables of all hosts and contacts none of them, so that nothing a host answers is in the plan.
  - >-
    It fails with all that is wrong with the inventory and the variables in one message: types, addresses, names, contexts that would overwrite
    each other, variables that nobody knows, groups without hosts.
  - Secrets are no part of the plan.
author:
  - The bulkhead.docker maintainers (@bulkhead)
notes:
  - It is an action plugin and runs on the control node only. C(docs/playbooks.md) has the variables that it reads.
  - A play for C(localhost) alone is skipped where C(--limit) names other hosts. A play for C(all:localhost) with C(run_once) is not.
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed when in diff mode.
    support: none
    details: It changes nothing.
options:
  playbook:
    description: The playbook that the plan is for. Some of them need variables that others do not have.
    type: str
    required: true
    choices: [site, engines, verify, renew, rotate_ca, revoke_client, remove, change_passphrase, export_identity, deploy]
  rotates:
    description: >-
      The plan of the rotation that O(playbook=renew) begins where C(docker_ca_rotate_when_due) is set and the CA is due: RV(playbook) is
      V(rotate_ca).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Make the plan
  hosts: all:localhost
  gather_facts: false
  tasks:
    - name: Make the plan of the fleet
      bulkhead.docker.docker_plan:
        playbook: site
      run_once: true
      register: docker_plan
"""

RETURN = r"""
playbook:
  description: The playbook.
  type: str
  returned: success
  sample: site
check_mode:
  description: Whether Ansible runs in check mode.
  type: bool
  returned: success
limit:
  description: What C(--limit) is, or nothing.
  type: str
  returned: success
ca:
  description: >-
    C(host), C(dir), C(minimum_days), C(rotate_when_due), the type of its C(key), whether it C(takes_over) a CA, the paths of that, the
    C(issue_tasks) of one whose key is elsewhere, C(given) and C(has_passphrase). C(groups) are the access groups that have a CA of their own.
  type: dict
  returned: success
  sample:
    {host: localhost, dir: ~/.bulkhead/ca, minimum_days: 365, rotate_when_due: false, key: P-256, takes_over: false, existing_certificate: "",
     existing_private_key: "", issue_tasks: "", given: [], has_passphrase: false, groups: []}
engines:
  description: >-
    By name, address, certificate names, options, SSH accounts and the number of its C(batch) (0 out of this run) of each engine. C(given) here,
    in RV(clients) and in RV(ca) names the variables that are set; all others have their defaults.
  type: dict
  returned: success
clients:
  description: >-
    By name, identities, transports and contexts of each client host, whether it is C(in_run), and the identity whose OS users a rotation does
    not ask there, C(evicts).
  type: dict
  returned: success
verifier:
  description: >-
    C(host), C(identity), C(user), C(folder), C(account), C(transports) and C(connects_as) of whoever verifies engines from outside, and the
    C(plain_ports) that have to be closed. All identities that may do so are in C(candidates).
  type: dict
  returned: success
verifiers:
  description: RV(verifier), and for engines that its access groups do not open the first identities that do.
  type: list
  returned: success
  elements: dict
batches:
  description: The engines of this run that are changed together.
  type: list
  returned: success
  elements: list
  sample: [[web1], [web2, web3]]
asked:
  description: The C(engines) and C(clients) that the run has to reach. Its report fails where it did not.
  type: dict
  returned: success
  sample: {engines: [web1, web2, web3], clients: [localhost]}
remove:
  description: The C(engines) and C(clients) that are removed, and whether the C(ca) is.
  type: dict
  returned: success
revoke:
  description: >-
    The C(name) that is revoked, its C(state), whether C(by_rotation), whether the inventory knows it (C(known)), whether the CA has signed for it
    (C(recorded)), its access C(groups), and the C(accounts) on engines that are its C(own) and those that are C(shared).
  type: dict
  returned: success
rotate:
  description: >-
    The hosts that a rotation leaves out, C(exclude), among them those that it does not concern, C(unconcerned), and the access C(groups) whose CAs
    it replaces, as far as the operator names them.
  type: dict
  returned: success
renew:
  description: Whether everything is renewed, C(force).
  type: dict
  returned: success
server_cas:
  description: The CAs in PEM that clients trust beside the run's own, because certificates of engines come from them.
  type: str
  returned: success
deploy:
  description: >-
    The C(client) host that deploys, as which C(user) and whether with C(become), the C(steps), each a project for an engine, and their
    C(wait_timeout). Empty for other playbooks.
  type: dict
  returned: success
export:
  description: >-
    The C(name) that gets a bundle, its C(dest), C(group), C(valid_days), whether it is to C(encrypt), and the C(engines) that it is for. Empty for other
    playbooks.
  type: dict
  returned: success
ssh_clients:
  description: Addresses of client hosts that use SSH, which engines exempt from sshd's penalties.
  type: list
  returned: success
  elements: str
report_path:
  description: The file that gets the report, or nothing.
  type: str
  returned: success
problems:
  description: What is wrong, one sentence each. Empty on success.
  type: list
  elements: str
  returned: always
  sample: ["docker_engine_port of web1 is 70000; a port is a number from 1 to 65535."]
"""
