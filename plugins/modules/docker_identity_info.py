# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_identity_info
short_description: Gather the state of a user's client identities and contexts
version_added: "0.1.0"
description:
  - Reads the keys, certificates and trust bundles of the user that it runs as, in C(~/.bulkhead), and says which identities have to be
    issued and why. No private key is returned.
  - A file that cannot be read is a reason for that identity and for no other.
  - With O(contexts) it says, too, whether the Docker contexts of the user are those that are declared. O(contexts) and the options about them
    are those of M(bulkhead.docker.docker_contexts), and nothing is written.
author:
  - The bulkhead.docker maintainers (@bulkhead)
extends_documentation_fragment:
  - bulkhead.docker.context.folder
  - bulkhead.docker.context.contexts
requirements:
  - python3-cryptography 3.3 or later on the host, unless O(identities) is empty
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  identities:
    description: The identities. Empty, only the user is returned.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the identity.
        type: str
        required: true
      valid_days:
        description: How long its certificates are valid, which has to be longer than O(renew_days).
        type: int
      group:
        description: >-
          Empty for the pair in C(~/.bulkhead/identities/NAME), or the further access group whose pair it is, in a folder of that name below.
        type: str
        default: ""
      groups:
        description: Its further access groups, with C(group) empty. Others of which there are pairs are among RV(identities[].left_groups).
        type: list
        elements: str
        default: []
      client_ca:
        description: >-
          The trust bundle in PEM format of the CA that signs its certificate, where that is another one than the first of O(ca_certificate). Empty
          while there is none.
        type: str
      certificate_path:
        description: Where something else keeps its certificate on the host. It is due when that is another one, and for no other reason.
        type: path
      private_key_path:
        description: Where its private key is. Needed with C(certificate_path).
        type: path
      expires:
        description: >-
          The day on which the identity ends, such as V(2030-12-31). A certificate that lasts longer is due; one that ends on that day is not.
        type: str
        default: ""
  ca_certificate:
    description: The trust bundle in PEM format; its first certificate is the one that signs. Empty where there is no CA yet.
    type: str
    default: ""
  retired_cas:
    description: Certificates in PEM format of CAs that the one that signs has replaced.
    type: str
    default: ""
  key_type:
    description: Type of the private keys. An identity that has another gets a new key.
    type: str
    choices: [P-256, P-384, RSA]
    default: P-256
  key_size:
    description: Size of the private keys with O(key_type=RSA).
    type: int
    default: 3072
  renew_days:
    description: A certificate with fewer whole days left is due.
    type: int
    default: 30
  force:
    description: Whether all identities are due, each with a new key.
    type: bool
    default: false
seealso:
  - module: bulkhead.docker.docker_identity
  - module: bulkhead.docker.docker_contexts
"""

EXAMPLES = r"""
- name: Gather the identities of alice
  bulkhead.docker.docker_identity_info:
    identities:
      - name: alice
      - name: ci
        valid_days: 90
    ca_certificate: "{{ lookup('ansible.builtin.file', 'ca.pem') }}"
  become: true
  become_user: alice
"""

RETURN = r"""
home:
  description: Home of the user.
  returned: success
  type: str
  sample: /home/alice
user:
  description: Name of the user that the module runs as.
  returned: success
  type: str
  sample: alice
contexts_right:
  description: >-
    Whether M(bulkhead.docker.docker_contexts) would change nothing with O(contexts) and the options about them, and has nothing to warn of.
  returned: with O(contexts)
  type: bool
identities:
  description: The identities, in the order of O(identities).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the identity.
      type: str
      sample: alice
    group:
      description: The access group whose pair it is, empty for its first.
      type: str
      sample: ""
    left_groups:
      description: Access groups that it was in, and whose pairs are still there. Empty for a pair of a further group.
      type: list
      elements: str
      sample: []
    folder:
      description: Where its C(ca.pem), C(cert.pem) and C(key.pem) are.
      type: str
      sample: /home/alice/.bulkhead/identities/alice
    pending:
      description: Where its next key and certificate wait until both are there.
      type: str
      sample: /home/alice/.bulkhead/pending/alice
    exists:
      description: Whether the folder is there.
      type: bool
      sample: true
    days_left:
      description: Whole days until its certificate expires; null where it has none that can be read.
      type: int
      sample: 364
    not_after:
      description: When its certificate expires; empty where it has none that can be read.
      type: str
      sample: "2027-11-28T10:49:00Z"
    reasons:
      description: Why it has to be issued; empty where it need not be.
      type: list
      elements: str
      sample: []
    new_key:
      description: Whether it gets a new key then.
      type: bool
      sample: false
    findings:
      description: What is wrong with a certificate that something else keeps, one sentence each.
      type: list
      elements: str
      sample: []
    other_ca:
      description: >-
        The CA that it is from, where its trust bundle has no certificate of O(ca_certificate) and none of O(retired_cas): subject, SHA-256 and
        end. For a certificate that something else keeps, the CA that has issued it, where that is in neither. Empty for the CA of this run, and
        without a certificate.
      type: str
      sample: ""
    issued_by_ca:
      description: >-
        Whether the first certificate of O(ca_certificate) has issued its certificate, and the one that something else keeps for it.
      type: bool
      sample: true
    ca_outdated:
      description: Whether its trust bundle differs from O(ca_certificate).
      type: bool
      sample: false
    repairs:
      description: Folders and files whose mode has to be corrected.
      type: list
      elements: dict
      contains:
        path:
          description: The folder or file.
          type: str
          sample: /home/alice/.bulkhead/identities/alice/key.pem
        state:
          description: V(directory) or V(file).
          type: str
          sample: file
        mode:
          description: The mode that it has to have.
          type: str
          sample: "0600"
"""

import dataclasses
import os
import pathlib
import pwd
import sys
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import declaration, options
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import ending, layout
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._identities import status
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
except ImportError as error:
    IMPORT_ERROR = str(error)
else:
    IMPORT_ERROR = ""


def account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def refusal(given: t.Mapping[str, t.Any]) -> str:
    """Why these options cannot be answered, in a sentence."""
    for identity in given["identities"]:
        if not layout.is_name(identity["name"]):
            return (
                f"The identity name {identity['name']!r} cannot be the name of a folder and of a certificate: 1 to 64 letters, "
                "digits and @ . _ + -, the first one a letter or digit."
            )
        if identity["valid_days"] is not None and identity["valid_days"] <= given["renew_days"]:
            return (
                f"The identity {identity['name']!r} would be valid for {identity['valid_days']} days, which renew_days "
                f"({given['renew_days']}) renews in every run; choose a smaller window or a longer validity."
            )
        try:
            ending.end(identity["expires"])
        except ending.DayError as error:
            return f"expires of the identity {identity['name']!r} is wrong: {error}."
    problem = key_types.problem(given["key_type"], given["key_size"])
    if problem:
        return problem
    if IMPORT_ERROR and given["identities"]:
        return (
            f"Python's cryptography library 3.3 or later is missing for {sys.executable} on this host ({IMPORT_ERROR}). Install "
            f"the package python3-cryptography, or run '{sys.executable} -m pip install cryptography'."
        )
    bundles = {"ca_certificate": given["ca_certificate"]}
    bundles.update((f"client_ca of {one['name']}", one["client_ca"]) for one in given["identities"])
    for name, bundle in {} if IMPORT_ERROR else bundles.items():
        try:
            if bundle:
                x509.load_bundle(bundle)
        except x509.UNREADABLE as error:
            return f"{name} is no trust bundle: {error}."
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "identities": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "valid_days": {"type": "int"},
                    "group": {"type": "str", "default": ""},
                    "groups": {"type": "list", "elements": "str", "default": []},
                    "client_ca": {"type": "str"},
                    "certificate_path": {"type": "path"},
                    "private_key_path": {"type": "path", "no_log": False},
                    "expires": {"type": "str", "default": ""},
                },
            },
            "ca_certificate": {"type": "str", "default": ""},
            "retired_cas": {"type": "str", "default": ""},
            "key_type": {"type": "str", "choices": ["P-256", "P-384", "RSA"], "default": "P-256"},
            "key_size": {"type": "int", "default": 3072, "no_log": False},
            "renew_days": {"type": "int", "default": 30},
            "force": {"type": "bool", "default": False},
            **options.DECLARED,
        },
        supports_check_mode=True,
    )
    given = module.params
    refused = refusal(given)
    if refused:
        module.fail_json(msg=refused)
    home = pathlib.Path.home()
    found: list[dict[str, t.Any]] = []
    if given["identities"]:
        key = key_types.label(given["key_type"], given["key_size"])
        rule = status.Rule(given["ca_certificate"], key, given["renew_days"], given["force"], given["retired_cas"])
        for identity in given["identities"]:
            paths = [identity["certificate_path"], identity["private_key_path"]]
            source = status.Source(*map(pathlib.Path, paths)) if all(paths) else None
            last = ending.end(identity["expires"])
            theirs = dataclasses.replace(rule, client_ca=identity["client_ca"], last=last)
            where = layout.Layout(home, identity["name"], identity["group"])
            found.append(status.status(where, theirs, source, identity["groups"]))
    right = {} if given["contexts"] is None else {"contexts_right": declaration.is_met(given, os.environ)}
    module.exit_json(changed=False, home=str(home), user=account(), identities=found, **right)


if __name__ == "__main__":
    main()
