# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine_info
short_description: Tells everything about a Docker engine that decides how it is secured
version_added: "0.1.0"
description:
  - Reads the daemon, its configuration, its certificate and the names of its host in one call, on the engine itself.
  - Says why the server certificate has to be replaced, and on request verifies that the engine is as the collection leaves it.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the engine, for everything about certificates
extends_documentation_fragment:
  - bulkhead.docker.attributes
  - bulkhead.docker.attributes.info_module
attributes:
  platform:
    support: full
    platforms: linux
options:
  names:
    description:
      - Names and addresses by which clients reach the engine. V(localhost) and the loopback addresses are added, the names by which
        the host knows itself are not; these are in RV(host_names).
      - A text that is neither a DNS name nor an IP address is refused.
    type: list
    elements: str
    default: []
  ca_certificate:
    description: The trust bundle in PEM format; its first certificate is the one that signs. Empty where there is none yet.
    type: str
    default: ""
  server_ca:
    description: The CAs in PEM format that its own certificate comes from, where they are not those of O(ca_certificate).
    type: str
    default: ""
  key_type:
    description: Type of the private key that the certificate shall have.
    type: str
    choices: [P-256, P-384, RSA]
    default: P-256
  key_size:
    description: Size of the private key when O(key_type=RSA).
    type: int
    default: 3072
  renew_days:
    description: With so many days or fewer left, the certificate has to be replaced.
    type: int
    default: 30
  certificate_path:
    description: >-
      Where something else keeps the server certificate on the engine, as in M(bulkhead.docker.docker_daemon_config). It is due when that is another
      one.
    type: path
  gateway:
    description: >-
      The gateway that the engine has to have, as for O(bulkhead.docker.docker_daemon_config#module:gateway). With O(verify=true) another one, or
      one where none is given, is a finding.
    type: dict
  verify:
    description:
      - Ask every TLS endpoint of the engine, from the engine itself, whether it serves the installed certificate, accepts clients of the
        installed trust bundle alone, and refuses a client without a certificate, one with the server's certificate, and plain HTTP.
      - With O(ca_certificate), whether that is the installed trust bundle, too.
    type: bool
    default: false
seealso:
  - module: bulkhead.docker.docker_daemon_config
  - module: bulkhead.docker.docker_endpoint_info
"""

EXAMPLES = r"""
- name: Gather information about the engine
  bulkhead.docker.docker_engine_info:
    names: [web1.example.com, 192.0.2.10]
    ca_certificate: "{{ trust_bundle }}"
  become: true
  register: gathered

- name: Report why its certificate will be replaced
  ansible.builtin.debug:
    var: gathered.renewal_reasons
"""

RETURN = r"""
engine:
  description: The daemon and its configuration.
  returned: success
  type: dict
  contains:
    version:
      description: Version of the running dockerd, or of the installed one where it does not run.
      type: str
      sample: 26.1.5+dfsg1
    running:
      description: Whether a process of dockerd exists.
      type: bool
    unanswered:
      description: Why a dockerd that runs could not be asked about itself on its local socket; empty where it could.
      type: str
    service_manager:
      description: What starts dockerd, C(systemd) or C(service).
      type: str
      sample: systemd
    socket:
      description: Path of the local socket.
      type: str
      sample: /run/docker.sock
    hosts:
      description: Where dockerd listens, by its flags and its C(daemon.json), each as C(tcp://ADDRESS:PORT), C(unix://PATH) or C(fd://).
      type: list
      elements: str
      sample: ["fd://", "tcp://192.0.2.10:2376"]
    hosts_without_tls:
      description: Those of RV(engine.hosts) that anybody may use who reaches them.
      type: list
      elements: str
      sample: ["tcp://0.0.0.0:2375"]
    remote_flags:
      description: Flags that decide where dockerd listens and whom it lets in, with the file each is from.
      type: list
      elements: dict
      contains:
        flag:
          description: The flag with its value, as it is written.
          type: str
          sample: --host=tcp://0.0.0.0:2375
        source:
          description: The file that it is from.
          type: str
          sample: /lib/systemd/system/docker.service
    live_restore:
      description: Whether containers outlive a restart of dockerd.
      type: bool
      sample: true
    swarm:
      description: State of the swarm membership; V(inactive) where there is none.
      type: str
      sample: inactive
    containers_running:
      description: Number of running containers.
      type: int
      sample: 12
    managed:
      description: Whether the collection has changed this engine.
      type: bool
      sample: true
    gateway:
      description: The identities that its gateway lets in, with the scope of each. V(null) without a gateway.
      type: dict
      sample: {alice: read-only}
    ssh_accounts:
      description: Whether the role P(bulkhead.docker.docker_ssh#role) has made accounts on the engine's host.
      type: bool
    ssh_server:
      description: How clients of these accounts reach sshd. Null where there are none, or no sshd that works.
      type: dict
      contains:
        port:
          description: The port that this connection has reached, or the first one of its configuration.
          type: int
          sample: 22
        host_keys:
          description: Its public host keys, each the line of a C(.pub) file.
          type: list
          elements: str
          sample: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYtnIVBqcBPtfFhWYcl2hB2DBfUjMCEtF2oqJjxA1nd"]
names:
  description: Every name and address that the server certificate has to cover.
  returned: success
  type: list
  elements: str
  sample: [web1, 192.0.2.10]
subject_alt_names:
  description: The same as entries of a certificate request.
  returned: success
  type: list
  elements: str
  sample: ["DNS:web1", "IP:192.0.2.10"]
host_names:
  description: The names and default addresses by which the host knows itself.
  returned: success
  type: list
  elements: str
cryptography:
  description: Version of Python's cryptography library on the engine; empty where it is missing.
  returned: success
  type: str
  sample: 43.0.0
certificate:
  description: The installed server certificate. V(null) where there is none or RV(cryptography) is empty.
  returned: success
  type: dict
  contains: &certificate
    subject:
      description: The subject.
      type: str
      sample: CN=web1
    issuer:
      description: The subject of the CA.
      type: str
      sample: CN=bulkhead.docker CA
    serial:
      description: The serial number, hexadecimal.
      type: str
      sample: 5F0C3C9BFA57F2BD
    names:
      description: The subject alternative names.
      type: list
      elements: str
      sample: ["DNS:web1", "IP:192.0.2.10"]
    usages:
      description: The extended key usages; V(serverAuth) alone is right.
      type: list
      elements: str
      sample: [serverAuth]
    not_before:
      description: Start of its validity, UTC.
      type: str
      sample: "2026-11-24T14:00:00Z"
    not_after:
      description: End of its validity, UTC.
      type: str
      sample: "2027-11-24T14:00:00Z"
    days_left:
      description: Whole days until it expires.
      type: int
      sample: 361
    key:
      description: Type of its key.
      sample: P-256
      type: str
served_certificate:
  description: The certificate that dockerd hands out, which is the one from its last start. V(null) as RV(certificate).
  returned: success
  type: dict
  contains: *certificate
renewal_reasons:
  description: Why the certificate has to be replaced, one phrase each; empty where it serves.
  returned: success and RV(cryptography) is not empty
  type: list
  elements: str
other_cas:
  description: >-
    The CAs that dockerd trusts, by C(tlscacert) of its C(daemon.json) or its flags, and that are not in O(ca_certificate), each with subject,
    SHA-256 and end. Empty where there is none, or nothing to compare with. Where RV(engine.hosts_without_tls) has entries, anybody gets in.
  returned: success and RV(cryptography) is not empty
  type: str
  sample: CN=bulkhead.docker CA 0f3a9c11 (SHA-256 5B6F11A2, valid until 2036-11-21)
findings:
  description: What failed verification, one sentence each.
  returned: O(verify=true)
  type: list
  elements: str
"""

import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import report
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types

ERRORS: tuple[type[Exception], ...] = (
    daemon_json.DaemonJsonError,
    api.ApiError,
    inspect.EngineError,
    _service.ServiceError,
    places.GatewayError,
    command_line.UnitError,
    OSError,
)
try:
    import cryptography

    from ansible_collections.bulkhead.docker.plugins.module_utils._engine import certificate as _certificate
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
except ImportError:
    CRYPTOGRAPHY = ""
else:
    CRYPTOGRAPHY = cryptography.__version__
    ERRORS = (*ERRORS, *x509.UNREADABLE)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "ca_certificate": {"type": "str", "default": ""},
            "server_ca": {"type": "str", "default": ""},
            "key_type": {"type": "str", "choices": ["P-256", "P-384", "RSA"], "default": "P-256"},
            "key_size": {"type": "int", "default": 3072, "no_log": False},
            "renew_days": {"type": "int", "default": 30},
            "certificate_path": {"type": "path"},
            "gateway": {"type": "dict"},
            "verify": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["verify"] and not CRYPTOGRAPHY:
        module.fail_json(
            msg=f"Python's cryptography library 3.3 or later is missing for {sys.executable} on this host, so that nothing "
            "can be verified; install it there (Debian: python3-cryptography)."
        )
    key = key_types.label(given["key_type"], given["key_size"])
    source = given["certificate_path"] or ""
    try:
        names = report.names(given["names"])
        found = inspect.gather()
        result = {
            "cryptography": CRYPTOGRAPHY,
            "engine": report.engine(found),
            "names": names,
            "subject_alt_names": report.subject_alt_names(names),
            "host_names": inspect.host_names(),
            "certificate": None,
            "served_certificate": None,
        }
        if CRYPTOGRAPHY:
            result["certificate"] = _certificate.installed()
            result["served_certificate"] = _certificate.served(found)
            result["other_cas"] = _certificate.other_cas(found, given["ca_certificate"])
            wanted = (given["server_ca"] or given["ca_certificate"], names, key, given["renew_days"], source)
            result["renewal_reasons"] = _certificate.reissue(*wanted)
        if given["verify"]:
            result["findings"] = [
                *_certificate.findings(found, given["ca_certificate"]),
                *_certificate.findings_at_source(source, given["renew_days"]),
                *report.gateway_findings(found, inspect.wanted_gateway(given["gateway"])),
            ]
    except ERRORS as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
