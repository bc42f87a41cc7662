# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_certificate_request
short_description: Make a private key and a request for a server's certificate
version_added: "0.1.0"
description:
  - Makes a new private key in a file of the host on which its certificate will be used, and returns a certificate request.
    The key does not leave the host.
  - It makes a new key each time, unless O(issued_elsewhere) is set. What is done with key and certificate afterwards,
    M(bulkhead.docker.docker_daemon_config) does.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the host
attributes:
  check_mode:
    support: full
    description: In check mode there is no key, and RV(request) is empty.
  diff_mode:
    support: none
    description: Shows nothing of a key.
options:
  path:
    description: File of the private key, in PKCS#8 and with the mode 0400. A key that is there is replaced. Its folder is made with the mode 0700.
    type: path
    required: true
  common_name:
    description: Name in the request and in RV(sign), 1 to 64 characters. In the request it is for people; the CA takes nothing of that but the
      public key.
    type: str
    required: true
  key_type:
    description: Type of the key.
    type: str
    choices: [P-256, P-384, RSA]
    default: P-256
  key_size:
    description: Bits of an RSA key, 2048 to 8192. Of no meaning for other types.
    type: int
    default: 3072
  names:
    description: Subject alternative names that the certificate is to have, each V(DNS:) with a host name or V(IP:) with an address. They are part
      of RV(sign) and are sent to the host only with O(issued_elsewhere).
    type: list
    elements: str
    default: []
  issued_elsewhere:
    description:
      - Whether a CA issues the certificate whose key is elsewhere. It may read names and usage in the request, so that O(names) are in it.
      - Such a certificate may take its time, so a key of the right type that is there already stays.
    type: bool
    default: false
  valid_days:
    description: How long the certificate is to be valid. It is part of RV(sign) and is not sent to the host.
    type: int
    default: 365
seealso:
  - module: bulkhead.docker.docker_ca_sign
  - module: bulkhead.docker.docker_daemon_config
"""

EXAMPLES = r"""
- name: Make a key on the engine, and request a certificate
  bulkhead.docker.docker_certificate_request:
    path: /var/lib/bulkhead/pending/server-key.pem
    common_name: web1
    names: ["DNS:web1.example.com", "IP:192.0.2.10"]
  become: true
  register: requested

- name: Sign the request on the CA host
  bulkhead.docker.docker_ca_sign:
    requests: ["{{ requested.sign }}"]
  delegate_to: ca.example.com
  become: false
"""

RETURN = r"""
request:
  description: The request in PEM format.
  returned: success
  type: str
sign:
  description: The request with what its certificate is to say, as M(bulkhead.docker.docker_ca_sign) takes it. Made on the control node.
  returned: success, when it is not check mode
  type: dict
"""

import pathlib
import sys

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import request as _request
except ImportError as error:
    IMPORT_ERROR = str(error)
else:
    IMPORT_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "common_name": {"type": "str", "required": True},
            "key_type": {"type": "str", "choices": ["P-256", "P-384", "RSA"], "default": "P-256"},
            "key_size": {"type": "int", "default": 3072, "no_log": False},
            "names": {"type": "list", "elements": "str", "default": []},
            "valid_days": {"type": "int", "default": 365},
            "issued_elsewhere": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if IMPORT_ERROR:
        module.fail_json(
            msg=f"Python's cryptography library 3.3 or later is missing for {sys.executable} on this host "
            f"({IMPORT_ERROR}); install it there (Debian: python3-cryptography)."
        )
    if not 0 < len(given["common_name"]) <= 64:
        module.fail_json(msg=f"common_name is {given['common_name']!r}; it has 1 to 64 characters.")
    problem = key_types.problem(given["key_type"], given["key_size"])
    if problem:
        module.fail_json(msg=problem)
    if module.check_mode:
        module.exit_json(changed=True, request="")
    path = pathlib.Path(given["path"])
    elsewhere = given["issued_elsewhere"]
    waits = elsewhere and _request.is_of_type(path, given["key_type"], given["key_size"])
    try:
        key = path.read_bytes() if waits else _request.new_key(given["key_type"], given["key_size"])
        _files.make_folder(path.parent, 0o700)
        path.parent.chmod(0o700)
        if not waits:
            _files.replace(path, key, 0o400)
        names = [_request.general_name(name) for name in given["names"]] if elsewhere else []
    except OSError as error:
        module.fail_json(msg=f"The key {path} cannot be written: {error.strerror}.")
    except ValueError as error:
        module.fail_json(msg=f"names has {error}, which is neither DNS: with a host name nor IP: with an address.")
    usage = "server" if elsewhere else ""
    module.exit_json(changed=not waits, request=_request.request(key, given["common_name"], usage, names))


if __name__ == "__main__":
    main()
