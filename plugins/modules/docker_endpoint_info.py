# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_endpoint_info
short_description: Tells what a Docker engine's TLS endpoint offers to somebody outside
version_added: "0.1.0"
description:
  - Asks an endpoint from the host on which the module runs, usually a client host, and judges the answers. One identity must be
    accepted; a client without a certificate, a client of a foreign CA that copies the name of ours, plain HTTP and outdated
    protocols must be refused; the server's certificate must satisfy strict clients; and other ports must be closed.
  - It needs neither the Docker CLI nor a Docker library, and no environment variable changes which CA it trusts.
  - Findings do not make it fail, so that a play can ask all engines before it decides; wrong options and unreadable files do.
    An endpoint that cannot be reached is a finding.
  - All attempts are made at the same time. dockerd logs each refused one as a TLS handshake error.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the host where it runs
attributes:
  check_mode:
    support: full
    description: Only reads, so that it does the same in check mode.
  diff_mode:
    support: none
    description: Changes nothing that a diff could show.
options:
  docker_host:
    description: The endpoint, as V(tcp://ADDRESS:PORT); an IPv6 address stands in brackets.
    type: str
    required: true
  ca_path:
    description: The trust bundle. The server's certificate must come from one of its CAs, and the endpoint must accept the clients
      of exactly these CAs.
    type: path
    required: true
  client_cert:
    description: The certificate of the identity that must be accepted.
    type: path
    required: true
  client_key:
    description: The private key of O(client_cert).
    type: path
    required: true
  tls_hostname:
    description: The name or address that the server's certificate must cover. The default is the address of O(docker_host).
    type: str
  refused_pairs:
    description: Certificates with their keys that the endpoint must refuse, such as that of a revoked identity.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the results call it.
        type: str
        required: true
      cert:
        description: The certificate.
        type: path
        required: true
      key:
        description: Its private key.
        type: path
        required: true
  closed_ports:
    description: Ports of the same address on which nobody may listen. One that a firewall filters counts as closed.
    type: list
    elements: int
    default: [2375]
  timeout:
    description: Seconds that each connection may take.
    type: float
    default: 5
"""

EXAMPLES = r"""
- name: Ask each engine from a client host
  bulkhead.docker.docker_endpoint_info:
    docker_host: tcp://192.0.2.10:2376
    ca_path: ~/.bulkhead/identities/admin/ca.pem
    client_cert: ~/.bulkhead/identities/admin/cert.pem
    client_key: ~/.bulkhead/identities/admin/key.pem
    refused_pairs:
      - name: revoked
        cert: ~/.bulkhead/identities/former/cert.pem
        key: ~/.bulkhead/identities/former/key.pem
  delegate_to: build1
  register: endpoint

- name: Fail where something is reachable that should not be, or the reverse
  ansible.builtin.assert:
    that: endpoint.ok
    fail_msg: "{{ endpoint.findings | join('; ') }}"
"""

RETURN = r"""
docker_host:
  description: The endpoint that was asked.
  returned: success
  type: str
ok:
  description: Whether everything is as it must be, that is, whether RV(findings) is empty.
  returned: success
  type: bool
findings:
  description: One sentence for each thing that is not as it must be.
  returned: success
  type: list
  elements: str
  sample:
    - "tcp://192.0.2.10:2376 accepts a client without a certificate (HTTP/1.0 200 OK)"
engine_version:
  description: The engine's version, as it tells it to the identity over a verified connection; null where it does not.
  returned: success
  type: str
  sample: 28.5.2
api_version:
  description: The newest API version of the engine, or null.
  returned: success
  type: str
  sample: "1.51"
server_verified:
  description: Whether the server's certificate satisfied a strict client.
  returned: success
  type: bool
certificate:
  description: The certificate that is served, verified or not; null where TLS is not spoken.
  returned: success
  type: dict
  contains:
    subject:
      description: Whom it names.
      type: str
      sample: CN=web1
    issuer:
      description: The CA that it names as its issuer.
      type: str
    serial:
      description: Its serial number, in hexadecimal digits.
      type: str
    names:
      description: The names and addresses that it covers.
      type: list
      elements: str
    usages:
      description: Its extended key usages; V(serverAuth) alone is right.
      type: list
      elements: str
    not_before:
      description: The start of its validity, in UTC.
      type: str
    not_after:
      description: The end of its validity, in UTC.
      type: str
      sample: "2027-11-24T14:00:00Z"
    days_left:
      description: Whole days until then; negative once it has expired.
      type: int
    key:
      description: The type of its key.
      type: str
      sample: P-256
acceptable_cas:
  description: Whose clients the endpoint says that it accepts. Empty means every CA of the host's system store; null means that it
    does not ask for a certificate, or does not speak TLS.
  returned: success
  type: list
  elements: str
attempts:
  description: What was tried on the endpoint, and what came of it.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: >-
        V(identity), V(no_certificate), V(foreign_ca) (one for each CA of the bundle), V(plain_http), V(old_tls)
        (TLS 1.1 and earlier), or the name of one of O(refused_pairs).
      type: str
    expected:
      description: What must come of it, V(accepted) or V(refused).
      type: str
    outcome:
      description: V(accepted), V(refused), or V(unreachable) where the endpoint gave no verdict.
      type: str
    detail:
      description: The endpoint's own words, or the error.
      type: str
      sample: bad certificate
closed_ports:
  description: What is on the ports that must be closed.
  returned: success
  type: list
  elements: dict
  contains:
    port:
      description: The port.
      type: int
    open:
      description: Whether somebody listens there.
      type: bool
    docker:
      description: Whether a Docker API without TLS answers there.
      type: bool
    detail:
      description: The answer, or why there is none.
      type: str
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import endpoint_check
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "docker_host": {"type": "str", "required": True},
            "ca_path": {"type": "path", "required": True},
            "client_cert": {"type": "path", "required": True},
            "client_key": {"type": "path", "required": True, "no_log": False},
            "tls_hostname": {"type": "str"},
            "refused_pairs": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "cert": {"type": "path", "required": True},
                    "key": {"type": "path", "required": True, "no_log": False},
                },
            },
            "closed_ports": {"type": "list", "elements": "int", "default": [2375]},
            "timeout": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    if CRYPTOGRAPHY_ERROR:
        module.fail_json(
            msg=missing_required_lib("cryptography", reason="on the host that asks (Debian: python3-cryptography)"),
            exception=CRYPTOGRAPHY_ERROR,
        )
    given = module.params
    endpoint = endpoint_check.Endpoint(
        docker_host=given["docker_host"],
        ca=given["ca_path"],
        identity=endpoint_check.Pair("identity", given["client_cert"], given["client_key"], "client_"),
        hostname=given["tls_hostname"] or "",
        refused_pairs=tuple(
            endpoint_check.Pair(pair["name"], pair["cert"], pair["key"], "refused_pairs, ")
            for pair in given["refused_pairs"]
        ),
        closed_ports=tuple(given["closed_ports"]),
        timeout=given["timeout"],
    )
    try:
        module.exit_json(changed=False, **endpoint_check.examine(endpoint))
    except endpoint_check.EndpointError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
