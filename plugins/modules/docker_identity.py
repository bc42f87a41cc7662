# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_identity
short_description: Make, install or remove client identities of a user
version_added: "0.1.0"
description:
  - Makes keys and requests for their certificates, writes certificates and the trust bundle into the folders of identities in
    C(~/.bulkhead) of the user that it runs as, and corrects their modes. A new key that waits in C(~/.bulkhead/pending) moves together with its certificate.
  - A certificate whose key is not there is refused. A run that was interrupted is ended by the next one.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the host, with O(state=present)
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the changed status prediction.
  diff_mode:
    support: full
    description: Shows modes and what certificates say, never a private key.
options:
  identities:
    description: The identities.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the identity.
        type: str
        required: true
      group:
        description: >-
          Empty for the pair in C(~/.bulkhead/identities/NAME), or the further access group whose pair it is, in a folder of that name below. An
          identity is removed with all its pairs.
        type: str
        default: ""
      remove_groups:
        description: Access groups whose pairs are removed.
        type: list
        elements: str
        default: []
      certificate:
        description: Its certificate in PEM format. Empty, only its folder, its modes and its trust bundle are brought up to date.
        type: str
        default: ""
      certificate_path:
        description: Where something else keeps its certificate on the host, which is installed with its key. The files themselves stay.
        type: path
      private_key_path:
        description: Where its private key is. Needed with C(certificate_path).
        type: path
      request:
        description: >-
          For which key RV(requests) gets a certificate request: V(none), V(new_key) for one that is made in C(~/.bulkhead/pending/NAME), or
          V(present_key) for the one that the identity has.
        type: str
        choices: [none, new_key, present_key]
        default: none
  ca_certificate:
    description: The trust bundle in PEM format. Empty, those that are there stay.
    type: str
    default: ""
  key_type:
    description: Type of new keys.
    type: str
    choices: [P-256, P-384, RSA]
    default: P-256
  key_size:
    description: Bits of new RSA keys, 2048 to 8192. Of no meaning for other types.
    type: int
    default: 3072
  state:
    description: V(absent) removes the identities with their private keys, and the folders of this collection that are empty then.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: bulkhead.docker.docker_identity_info
"""

EXAMPLES = r"""
- name: Install a certificate for the key that waits
  bulkhead.docker.docker_identity:
    identities:
      - name: alice
        certificate: "{{ docker_ca_signed.certificates[0].certificate }}"
    ca_certificate: "{{ docker_client_ca_certificate }}"

- name: Remove an identity
  bulkhead.docker.docker_identity:
    identities:
      - name: alice
    state: absent
"""

RETURN = r"""
requests:
  description: The certificate requests, in the order of O(identities). None in check mode.
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
    request:
      description: The request in PEM format.
      type: str
"""

import pathlib
import sys

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout, removal
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._identities import install, status
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
except ImportError as error:
    IMPORT_ERROR = str(error)
    ERRORS: tuple[type[Exception], ...] = (OSError,)
else:
    IMPORT_ERROR = ""
    ERRORS = (OSError, install.InstallError, *x509.UNREADABLE)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "identities": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "group": {"type": "str", "default": ""},
                    "remove_groups": {"type": "list", "elements": "str", "default": []},
                    "certificate": {"type": "str", "default": ""},
                    "certificate_path": {"type": "path"},
                    "private_key_path": {"type": "path", "no_log": False},
                    "request": {"type": "str", "choices": ["none", "new_key", "present_key"], "default": "none"},
                },
            },
            "ca_certificate": {"type": "str", "default": ""},
            "key_type": {"type": "str", "choices": ["P-256", "P-384", "RSA"], "default": "P-256"},
            "key_size": {"type": "int", "default": 3072, "no_log": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    given = module.params
    if IMPORT_ERROR and given["state"] == "present":
        module.fail_json(
            msg=f"Python's cryptography library 3.3 or later is missing for {sys.executable} on this host ({IMPORT_ERROR}). "
            f"Install the package python3-cryptography, or run '{sys.executable} -m pip install cryptography'."
        )
    problem = key_types.problem(given["key_type"], given["key_size"])
    if problem:
        module.fail_json(msg=problem)
    home = pathlib.Path.home()
    diff: list[dict[str, str]] = []
    problems: list[str] = []
    requests: list[dict[str, str]] = []
    made = False
    for identity in given["identities"]:
        where = layout.Layout(home, identity["name"], identity["group"])
        if not layout.is_name(identity["name"]):
            problems.append(f"{identity['name']!r} cannot be the name of an identity")
            continue
        strange = [
            name for name in [identity["group"], *identity["remove_groups"]] if name and not layout.is_group(name)
        ]
        if strange:
            problems.append(f"{strange[0]!r} cannot be the name of an access group")
            continue
        try:
            if given["state"] == "absent":
                diff += removal.absent(where, module.check_mode)
            else:
                for group in identity["remove_groups"]:
                    diff += removal.absent(layout.Layout(home, identity["name"], group), module.check_mode)
                new_key = identity["request"] == "new_key"
                bundle, certificate = given["ca_certificate"], identity["certificate"]
                paths = [identity["certificate_path"], identity["private_key_path"]]
                if all(paths):
                    source = status.Source(*map(pathlib.Path, paths))
                    certificate = install.take(where, source, module.check_mode)
                diff += install.present(where, bundle, certificate, new_key, module.check_mode)
                made = made or new_key
                if identity["request"] != "none" and not module.check_mode:
                    if new_key:
                        install.make_key(where, given["key_type"], given["key_size"])
                    request = install.request(where, new_key)
                    requests.append({"name": identity["name"], "group": identity["group"], "request": request})
        except ERRORS as error:
            problems.append(f"the identity {identity['name']} cannot be written: {error}")
    if problems:
        module.fail_json(
            changed=bool(diff) or made, diff=diff, requests=requests, msg=f"On this host, {'; '.join(problems)}."
        )
    module.exit_json(changed=bool(diff) or made, diff=diff, requests=requests)


if __name__ == "__main__":
    main()
