# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_endpoint_info
short_description: Verifies TLS endpoints of Docker engines from outside
version_added: "0.1.0"
description:
  - Asks endpoints from the host on which the module runs, usually a client host, and verifies the answers. One identity must be
    accepted; a client without a certificate, a client of a foreign CA that copies the name of ours, plain HTTP and outdated
    protocols must be refused; the server's certificate must satisfy strict clients; and the ports for plain HTTP must be closed.
  - It needs neither the Docker CLI nor a Docker library, and no environment variable changes which CA it trusts. It goes through no
    proxy, and warns where E(HTTPS_PROXY) would have the Docker CLI do so.
  - Whatever is wrong with one endpoint is a finding about that endpoint. It does not make the module fail and changes nothing for
    the others. Files of this host that cannot be used make it fail.
  - Up to 16 endpoints are asked at the same time, each by all clients at once. dockerd logs each refused attempt as a TLS
    handshake error.
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
  endpoints:
    description: The endpoints to ask, at least one.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the results call it, such as the inventory name of the engine.
        type: str
        required: true
      docker_host:
        description: The endpoint, as V(tcp://ADDRESS:PORT); an IPv6 address stands in brackets.
        type: str
        required: true
      tls_hostname:
        description: The name or address that the server's certificate must cover. The default is the address of C(docker_host).
        type: str
      plain_ports:
        description:
          - Ports of the same address on which Docker would serve its API without TLS, and on which nobody may listen. One that a
            firewall filters counts as closed.
          - Leave out a port that is something else, such as a socket proxy on a loopback address.
        type: list
        elements: int
        default: [2375]
      client_cas:
        description: The CAs of O(client_cas) where they are others for this endpoint, as with access groups.
        type: str
        default: ""
      client_cert:
        description: The certificate of O(client_cert) where it is another one for this endpoint.
        type: path
      client_key:
        description: Its private key.
        type: path
      refused:
        description: Whether the identity must be refused, because it is in none of the access groups of this endpoint.
        type: bool
        default: false
  ca_path:
    description: The trust bundle of the client. The servers' certificates must come from one of its CAs.
    type: path
    required: true
  client_cas:
    description: >-
      The CAs whose clients the endpoints must accept, and no others, in PEM format; by default those in O(ca_path). They differ where clients trust
      the root of an issuing CA, and endpoints the issuing CA alone.
    type: str
    default: ""
  client_cert:
    description: The certificate of the identity that must be accepted.
    type: path
    required: true
  client_key:
    description: The private key of O(client_cert).
    type: path
    required: true
  refused_pairs:
    description: Certificates with their keys that the endpoints must refuse, such as that of a revoked identity.
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
  timeout:
    description: Seconds that each connection may take, more than 0.
    type: float
    default: 10
seealso:
  - module: bulkhead.docker.docker_ssh_endpoint_info
"""

EXAMPLES = r"""
- name: Verify two engines from a client host
  bulkhead.docker.docker_endpoint_info:
    endpoints:
      - name: web1
        docker_host: tcp://192.0.2.10:2376
      - name: web2
        docker_host: tcp://192.0.2.11:2376
    ca_path: ~/.bulkhead/identities/admin/ca.pem
    client_cert: ~/.bulkhead/identities/admin/cert.pem
    client_key: ~/.bulkhead/identities/admin/key.pem
    refused_pairs:
      - name: revoked
        cert: ~/.bulkhead/identities/former/cert.pem
        key: ~/.bulkhead/identities/former/key.pem
  delegate_to: build1
  run_once: true
  register: outside

- name: Fail where something is reachable that should not be, or the reverse
  ansible.builtin.assert:
    that: outside.ok
    fail_msg: "{{ outside.endpoints | map(attribute='findings') | flatten | join('; ') }}"
"""

RETURN = r"""
ok:
  description: Whether all endpoints passed.
  returned: success
  type: bool
endpoints:
  description: What was found out about each of O(endpoints), in the same order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What O(endpoints) call it.
      type: str
      sample: web1
    docker_host:
      description: The endpoint that was asked.
      type: str
      sample: tcp://192.0.2.10:2376
    ok:
      description: Whether the endpoint passed, that is, whether there are no findings.
      type: bool
    findings:
      description: One sentence for each check that failed, without a full stop.
      type: list
      elements: str
      sample:
        - "tcp://192.0.2.10:2376 accepts a client without a certificate (HTTP/1.0 200 OK)"
    engine_version:
      description: The engine's version, as it tells it to the identity over a verified connection; null where it does not.
      type: str
      sample: 28.5.2
    api_version:
      description: The newest API version of the engine, or null.
      type: str
      sample: "1.51"
    server_verified:
      description: Whether the server's certificate satisfied a strict client.
      type: bool
    certificate:
      description: The certificate that is served, verified or not; null where TLS is not spoken.
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
      type: list
      elements: str
    attempts:
      description: What was tried on the endpoint, and what came of it. Empty where O(endpoints) describe no endpoint that can be asked.
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
    plain_ports:
      description: What is on the ports that must be closed.
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

import os
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import endpoint_check
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def _endpoints(
    given: dict[str, t.Any], identity: endpoint_check.CertificateFiles, refused: list[endpoint_check.CertificateFiles]
) -> list[endpoint_check.Endpoint]:
    """With credentials of their own where they have them, each of which is read once."""
    own: dict[tuple[t.Any, ...], endpoint_check.Credentials | None] = {(identity, "", False): None}
    found = []
    for entry in given["endpoints"]:
        pair = identity
        if entry["client_cert"]:
            pair = endpoint_check.CertificateFiles("identity", entry["client_cert"], entry["client_key"], "client_")
        key = (pair, entry["client_cas"], entry["refused"])
        if key not in own:
            own[key] = endpoint_check.read_credentials(
                given["ca_path"], pair, refused, entry["client_cas"] or given["client_cas"], entry["refused"]
            )
        ports = tuple(entry["plain_ports"] or ())
        found.append(
            endpoint_check.Endpoint(entry["name"], entry["docker_host"], entry["tls_hostname"] or "", ports, own[key])
        )
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "docker_host": {"type": "str", "required": True},
                    "tls_hostname": {"type": "str"},
                    "plain_ports": {"type": "list", "elements": "int", "default": [2375]},
                    "client_cas": {"type": "str", "default": ""},
                    "client_cert": {"type": "path"},
                    "client_key": {"type": "path", "no_log": False},
                    "refused": {"type": "bool", "default": False},
                },
                "required_together": [("client_cert", "client_key")],
            },
            "ca_path": {"type": "path", "required": True},
            "client_cas": {"type": "str", "default": ""},
            "client_cert": {"type": "path", "required": True},
            "client_key": {"type": "path", "required": True, "no_log": False},
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
            "timeout": {"type": "float", "default": 10.0},
        },
        supports_check_mode=True,
    )
    if CRYPTOGRAPHY_ERROR:
        module.fail_json(
            msg=missing_required_lib("cryptography", reason="on the host that asks (Debian: python3-cryptography)"),
            exception=CRYPTOGRAPHY_ERROR,
        )
    given = module.params
    identity = endpoint_check.CertificateFiles("identity", given["client_cert"], given["client_key"], "client_")
    refused = [
        endpoint_check.CertificateFiles(pair["name"], pair["cert"], pair["key"], "refused_pairs, ")
        for pair in given["refused_pairs"]
    ]
    if not given["endpoints"]:
        module.fail_json(msg="endpoints is empty, so that nothing would be verified; name at least one.")
    if not 0 < given["timeout"] <= 3600:
        module.fail_json(msg=f"timeout is {given['timeout']}; give seconds, more than 0 and up to 3600.")
    try:
        credentials = endpoint_check.read_credentials(given["ca_path"], identity, refused, given["client_cas"])
        endpoints = _endpoints(given, identity, refused)
    except endpoint_check.CredentialsError as error:
        module.fail_json(msg=str(error))
    for warning in endpoint_check.warnings(endpoints, os.environ):
        module.warn(warning)
    module.exit_json(changed=False, **endpoint_check.check_endpoints(endpoints, credentials, given["timeout"]))


if __name__ == "__main__":
    main()
