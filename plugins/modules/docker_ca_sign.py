# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ca_sign
short_description: Sign certificates for servers and clients
version_added: "0.1.0"
description:
  - Signs requests with the CA that the role P(bulkhead.docker.docker_ca#role) keeps, on the CA host and as the user whose directory it is.
  - Subject, names, usage and validity come from the options. A request contributes its public key, after its signature was verified, and
    nothing else; whatever else it asks for is not in the certificate.
  - A request that is refused, such as one of a client that was revoked, keeps no other from being signed; RV(certificates[].problem) says why.
  - Each certificate is recorded in C(issued/) of the directory before it is returned.
  - No certificate is valid longer than the CA.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the CA host
attributes:
  check_mode:
    support: full
    description: >-
      Says that something would change and refuses what cannot be signed, but signs nothing. There need not be a CA yet. Where the key of the CA is
      elsewhere, a request is refused that asks for anything else than the options, because that CA might grant it.
  diff_mode:
    support: none
    description: A new certificate is not compared with another one.
options:
  dir:
    description: Directory of the CA, absolute or starting with V(~/).
    type: path
    default: ~/.bulkhead/ca
  passphrase:
    description:
      - Passphrase of the CA's key, empty where the key is not encrypted.
      - A connection without pipelining would leave it in a file on the host for a moment, and is an error.
    type: str
    default: ""
  requests:
    description: What to sign.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The common name. That of a client has 1 to 64 letters, digits and C(@ . _ + -), the first one a letter or digit.
        type: str
        required: true
      usage:
        description: Whether the certificate is for an engine or for somebody who uses it. It can be used for nothing else.
        type: str
        choices: [server, client]
        required: true
      names:
        description: The subject alternative names, each V(DNS:) with a host name or V(IP:) with an address. A server needs one.
        type: list
        elements: str
        default: []
      valid_days:
        description: How long the certificate is valid. It begins an hour ago, because clocks differ, and ends with the CA at the latest.
        type: int
        default: 365
      request:
        description: The certificate request in PEM format. Its key is P-256, P-384, or RSA of 2048 to 8192 bits.
        type: str
        required: true
      key:
        description: The type that the key of the request has to have, V(P-256), V(P-384) or such as V(RSA 3072). Empty for any that is accepted.
        type: str
        default: ""
      group:
        description: >-
          The access group whose CA signs, in C(groups/NAME) of O(dir). The CA in O(dir) itself is that of the group V(default), and signs for all
          servers.
        type: str
        default: default
      certificate:
        description: >-
          The certificate that was issued for it, in PEM format, where the key of the CA is elsewhere. It is held against the other options, and
          recorded. Whatever stands behind it is left out.
        type: str
        default: ""
      reason:
        description: Why there is none.
        type: str
        default: ""
      exported:
        description: >-
          Whether the certificate leaves for a server that is no host of an inventory, as M(bulkhead.docker.docker_export_identity) does it. The
          directory keeps that, so that nobody takes its identity for one that an inventory has lost.
        type: bool
        default: false
      expires:
        description: >-
          The day on which the certificate ends at the latest, in UTC, such as V(2030-12-31). Nothing is signed once it is over.
        type: str
        default: ""
seealso:
  - module: bulkhead.docker.docker_ca_info
"""

EXAMPLES = r"""
- name: Sign the certificate of an engine on the CA host
  bulkhead.docker.docker_ca_sign:
    requests:
      - name: web1
        usage: server
        names: ["DNS:web1.example.com", "IP:192.0.2.10"]
        valid_days: 90
        request: "{{ request.csr }}"
  delegate_to: ca.example.com
  become: false
  register: signed
"""

RETURN = r"""
certificates:
  description: >-
    An answer to each request, in the order of O(requests). A request that is refused keeps no other from being signed. In check mode only those
    that are refused.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The common name.
      type: str
      sample: web1
    usage:
      description: V(server) or V(client).
      type: str
      sample: server
    certificate:
      description: >-
        The certificate in PEM format; empty where the request was refused. Behind that of a server stands the certificate of an issuing CA, for
        clients that know its root alone.
      type: str
    serial:
      description: Its serial number, in hexadecimal digits.
      type: str
      sample: 4A61C1D2E5
    not_after:
      description: The end of its validity, in UTC.
      type: str
      sample: "2027-11-24T14:00:00Z"
    limited:
      description: Whether it ends earlier than was asked for, together with the CA.
      type: bool
    problem:
      description: Why the request was refused, one sentence; empty where it was signed.
      type: str
asked:
  description: In check mode, the requests that are not refused, as they can be handed to a CA elsewhere. Empty otherwise.
  returned: success
  type: list
  elements: dict
  contains:
    file:
      description: A name for files about it. A request with another key has another name.
      type: str
      sample: server-web1-3f09ab12c0ffee00
    request:
      description: The request in PEM format, alone in its text.
      type: str
"""

import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import library

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import signing
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "~/.bulkhead/ca"},
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "requests": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "usage": {"type": "str", "choices": ["server", "client"], "required": True},
                    "names": {"type": "list", "elements": "str", "default": []},
                    "valid_days": {"type": "int", "default": 365},
                    "request": {"type": "str", "required": True},
                    "key": {"type": "str", "default": "", "no_log": False},
                    "group": {"type": "str", "default": "default"},
                    "certificate": {"type": "str", "default": ""},
                    "reason": {"type": "str", "default": ""},
                    "exported": {"type": "bool", "default": False},
                    "expires": {"type": "str", "default": ""},
                },
            },
        },
        supports_check_mode=True,
    )
    library.fail_without(module, CRYPTOGRAPHY_ERROR)
    given = module.params
    requests = [
        signing.Request(
            *(one["name"], one["usage"], tuple(one["names"]), one["valid_days"]),
            *(one["request"], one["certificate"], one["reason"]),
            key=one["key"],
            group=one["group"],
            exported=one["exported"],
            expires=one["expires"],
        )
        for one in given["requests"]
    ]
    try:
        directory = ca.open_directory(given["dir"])
        ca.refuse_masking(given["passphrase"], [str(directory.path), *(one["name"] for one in given["requests"])])
        certificates = signing.sign(directory, given["passphrase"], requests, module.check_mode)
        refused = [answer.request for answer in certificates if isinstance(answer, signing.Refusal)]
        asked = signing.asked(one for one in requests if one not in refused) if module.check_mode else []
    except ca.CaError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The CA in {given['dir']} cannot be used by the user of this task ({error}).")
    module.exit_json(
        changed=bool(requests)
        if module.check_mode
        else any(isinstance(one, signing.Certificate) for one in certificates),
        certificates=[certificate.report() for certificate in certificates],
        asked=asked,
    )


if __name__ == "__main__":
    main()
