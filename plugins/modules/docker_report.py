# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_report
short_description: Ends a playbook with what it did and what is wrong
version_added: "0.1.0"
description:
  - Prints one table of the engines with Docker's version, endpoint and the days that their certificates last, one of the identities with their
    contexts, who may get in over SSH, what is wrong, and what to do next.
  - It leaves the same as the statistic C(docker_report), which AWX keeps with the job, and in the file C(docker_report_path) of the control node.
  - In the statistic, nothing begins like a template, because in a workflow of AWX the next job gets it as an extra variable.
  - It does not fail where something is wrong; a task after it does, that looks at RV(problems). A value that makes no sense is a finding of the
    host that it comes from.
author:
  - The bulkhead.docker maintainers (@bulkhead)
notes:
  - It is an action plugin and runs on the control node only.
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
    details: The report is printed and written in check mode, too. What is due is no problem there.
  diff_mode:
    description: Returns details on what has changed when in diff mode.
    support: none
options:
  plan:
    description: What M(bulkhead.docker.docker_plan) has made.
    type: dict
    required: true
  engines:
    description:
      - What is known of each engine, by inventory name. An engine of RV(bulkhead.docker.docker_plan#module:batches) that is not here is
        a problem.
      - Each may have C(reachable) (default true), C(failed) (a message, or empty), C(changed), C(version), C(days_left), C(findings) of a
        verification, and the C(reasons) for which its certificate is still due.
    type: dict
    default: {}
  clients:
    description:
      - What is known of each client host, by inventory name. One that is not here is not part of the run.
      - Each may have C(reachable), C(failed), C(changed), C(findings), the number of its C(contexts), and C(identities) with C(name), C(user),
        C(days_left), C(findings), C(reasons) and C(ca_outdated).
    type: dict
    default: {}
  ca:
    description: C(common_name) and C(days_left) of the CA that signs, where the run has read it.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Report what the run did
  bulkhead.docker.docker_report:
    plan: "{{ docker_plan }}"
    engines:
      web1: {version: 26.1.5, days_left: 364, changed: true}
    clients:
      localhost: {identities: [{name: admin, days_left: 364}], contexts: 1, changed: true}
    ca: {common_name: bulkhead.docker CA 1a2b3c4d, days_left: 3649}
  register: docker_reported

- name: Fail where something is wrong
  ansible.builtin.assert:
    that: docker_reported.problems | length == 0
    fail_msg: "{{ docker_reported.msg }}"
"""

RETURN = r"""
playbook:
  description: The playbook that the plan was made for.
  type: str
  returned: always
  sample: site
rows:
  description: One for each engine, each identity and the CA.
  type: list
  elements: dict
  returned: always
  contains:
    kind:
      description: Whether it is an C(engine), an C(identity) or the C(ca).
      type: str
    name:
      description: The engine, the identity as C(NAME@HOST), or the CA's common name.
      type: str
    host:
      description: The host of the inventory.
      type: str
    version:
      description: Docker's version, of engines.
      returned: for engines
      type: str
    endpoint:
      description: The endpoint, of engines; empty where it was removed.
      returned: for engines
      type: str
    user:
      description: The OS user, of identities.
      returned: for identities
      type: str
    contexts:
      description: How many contexts its host has, of identities.
      returned: for identities
      type: int
    changed:
      description: Whether the run has changed the host, or would.
      type: bool
    days_left:
      description: How many whole days its certificate lasts.
      type: int
    state:
      description: One of V(ok), V(changed), V(would change) and V(FAILED).
      type: str
    findings:
      description: What is wrong.
      type: list
      elements: str
problems:
  description: What is wrong, one sentence for each row.
  type: list
  elements: str
  returned: always
  sample: ["web3: it cannot be reached."]
summary:
  description: All of it in one line.
  type: str
  returned: always
  sample: "3 engines, 1 identity; changed: web1; the first certificate ends in 12 days (web2); no problems"
msg:
  description: The summary and the problems.
  type: str
  returned: always
lines:
  description: The report as it is printed, at most 100 characters wide.
  type: list
  elements: str
  returned: always
"""
