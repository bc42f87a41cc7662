# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_export_identity
short_description: Issues an identity for a server that Ansible does not manage
version_added: "0.1.0"
description:
  - A part of the playbook C(bulkhead.docker.export_identity). The host of the task is the CA host, which signs and records the certificate. The
    private key is made in memory on the control node, and is in no result, no argument and no temporary file.
  - The bundle is written on the control node, all of it or nothing, with mode 0600 in folders of mode 0700.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the control node and on the CA host
attributes:
  check_mode:
    support: full
    description: Says that a bundle would be written and refuses what cannot be signed, but signs and writes nothing.
  diff_mode:
    support: none
    description: A new bundle is not compared with another one.
options:
  name:
    description: The common name of the certificate.
    type: str
    required: true
  dest:
    description: Folder on the control node, which does not exist or is empty.
    type: str
    required: true
  engines:
    description: The engines, each with C(name), C(context) and C(host), as M(bulkhead.docker.docker_plan) returns them.
    type: list
    elements: dict
    required: true
  ca_certificate:
    description: What clients trust, in PEM format.
    type: str
    required: true
  group:
    description: The access group whose CA signs, as in M(bulkhead.docker.docker_ca_sign).
    type: str
    default: default
  valid_days:
    description: How long the certificate is valid.
    type: int
    default: 90
  encrypt:
    description: Whether files with the private key are encrypted with ansible-vault, with the first secret of the run.
    type: bool
    default: true
  dir:
    description: Directory of the CA, absolute or starting with V(~/).
    type: str
    default: ~/.bulkhead/ca
  passphrase:
    description: Passphrase of the CA's key, empty where it is not encrypted.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Issue an identity and write its bundle
  bulkhead.docker.docker_export_identity:
    name: jenkins
    dest: ~/jenkins-identity
    engines: "{{ docker_plan.export.engines }}"
    ca_certificate: "{{ docker_ca_bundle }}"
  delegate_to: ca.example.com
"""

RETURN = r"""
dest:
  description: The folder.
  type: str
  returned: success
encrypted:
  description: Whether files with the private key are encrypted.
  type: bool
  returned: success
files:
  description: The files in the folder.
  type: list
  elements: str
  returned: success, not in check mode
serial:
  description: Serial number of the certificate, in hexadecimal digits.
  type: str
  returned: success, not in check mode
not_after:
  description: The end of its validity, in UTC.
  type: str
  returned: success, not in check mode
  sample: "2027-02-27T14:00:00Z"
fingerprint_sha256:
  description: Its fingerprint.
  type: str
  returned: success, not in check mode
"""
