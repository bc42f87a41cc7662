# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ca_info
short_description: Gather everything about a certificate authority of this collection
version_added: "0.1.0"
description:
  - Reads the CA that the role P(bulkhead.docker.docker_ca#role) keeps in a directory, on the CA host and as the user whose directory it is.
  - A directory that does not exist is an answer. A file that cannot be read is named in RV(problems) and makes nothing fail.
  - It waits until nobody signs in the same directory, so that what it says of the record is complete.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the CA host
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  dir:
    description: Directory of the CA, absolute or starting with V(~/).
    type: path
    default: ~/.bulkhead/ca
  passphrase:
    description: Passphrase of the CA's key, empty where the key is not encrypted. It tells whether the key opens; nothing of the key is returned.
    type: str
    default: ""
  beside:
    description: Whether the records of other CAs, in directories beside O(dir), are read, too, as RV(beside).
    type: bool
    default: false
  existing_certificate:
    description: >-
      Certificate of a CA to take over, that of an issuing CA with all certificates above it, in any order. RV(existing) tells whether it can be.
    type: path
  existing_private_key:
    description: >-
      Private key of that CA. Without it, the key of the CA is elsewhere, and O(existing_certificate) has all CAs that engines are to trust, the one
      that signs first, with all certificates above them.
    type: path
  existing_passphrase:
    description: Passphrase of O(existing_private_key).
    type: str
    default: ""
seealso:
  - module: bulkhead.docker.docker_ca_sign
  - module: bulkhead.docker.docker_ca_rotation
"""

EXAMPLES = r"""
- name: Gather the state of the CA
  bulkhead.docker.docker_ca_info:
    dir: ~/.bulkhead/ca
    passphrase: "{{ docker_ca_passphrase }}"
  become: false
  vars:
    ansible_pipelining: true
  register: ca

- name: List the certificates that end within a month
  ansible.builtin.debug:
    msg: "{{ ca.issued | selectattr('days_left', 'in', range(0, 30)) | map(attribute='name') }}"
"""

RETURN = r"""
path:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /home/ops/.bulkhead/ca
exists:
  description: Whether a CA is there, that is, the file C(ca-cert.pem), readable or not.
  returned: success
  type: bool
complete:
  description: >-
    Whether nothing is missing: there is a certificate that can be read, the trust bundle begins with it, the certificates above an issuing CA are
    there, each CA of the bundle has its own revocation list with all that was revoked, and the key has the mode 0600. There is neither key nor
    list where the key is elsewhere.
  returned: success
  type: bool
elsewhere:
  description: Whether the key of the CA is elsewhere, so that the certificates that it signs come from C(docker_ca_issue_tasks).
  returned: success
  type: bool
phase:
  description: >-
    Phase of a rotation: V(none), V(trust), V(reissue) or V(retire). Empty where the file C(rotation) holds something else, which is one of
    RV(problems).
  returned: success
  type: str
  sample: none
bundle:
  description: The trust bundle in PEM format, the CA that signs first. Empty without a CA.
  returned: success
  type: str
client_bundle:
  description: >-
    What clients trust, in PEM format: RV(bundle), and behind it the certificates above issuing CAs up to their roots, without which clients with
    OpenSSL accept no server. Engines get RV(bundle), or they would let in everybody whom the root has certified.
  returned: success
  type: str
retired:
  description: The certificates of CAs that rotations have replaced, in PEM format. Nothing trusts them but what was left behind.
  returned: success
  type: str
certificates:
  description: The CA's own certificates, the one that signs first.
  returned: success
  type: list
  elements: dict
  contains: &certificates
    role:
      description: V(signing), V(next) for the successor before it signs, V(previous) for the old CA after it did, or V(trusted) for another CA
        that engines trust beside one whose key is elsewhere.
      type: str
      sample: signing
    subject:
      description: The subject as RFC 4514 writes it.
      type: str
      sample: CN=bulkhead.docker CA 3f09ab12
    common_name:
      description: The common name, empty without one.
      type: str
      sample: bulkhead.docker CA 3f09ab12
    fingerprint_sha256:
      description: SHA-256 of the certificate, in hexadecimal digits.
      type: str
      sample: 5f0c9a1d0e8b7c6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa9988
    serial:
      description: The serial number, in hexadecimal digits.
      type: str
      sample: 4A61C1D2E5
    not_after:
      description: The end of its validity, in UTC.
      type: str
      sample: "2036-11-24T14:00:00Z"
    days_left:
      description: Whole days until then; negative once it has expired.
      type: int
      sample: 3649
    key_type:
      description: The type of its key, such as V(P-256), V(P-384) or V(RSA 3072).
      type: str
      sample: P-256
    self_signed:
      description: Whether it is a root.
      type: bool
key:
  description: The key that signs.
  returned: success
  type: dict
  contains: &key
    exists:
      description: Whether it is there.
      type: bool
    mode:
      description: Its file mode, empty where it is not there.
      type: str
      sample: "0600"
    encrypted:
      description: Whether it is encrypted.
      type: bool
    opens:
      description: Whether it can be read with O(passphrase).
      type: bool
    type:
      description: Its type, as in RV(certificates[].key_type); empty where it cannot be read.
      type: str
      sample: P-256
    matches:
      description: Whether it is the key of the certificate that signs.
      type: bool
crl:
  description: Whether the revocation lists are there and whole, as for RV(complete).
  returned: success
  type: bool
revocation_lists:
  description: The revocation lists in PEM format, one of each CA of RV(bundle). Empty where they are not there and whole.
  returned: success
  type: str
revoked:
  description: The names of the clients that were revoked.
  returned: success
  type: list
  elements: str
  sample: [alice]
issued:
  description: Every certificate that was signed.
  returned: success
  type: list
  elements: dict
  contains: &issued
    name:
      description: Its common name.
      type: str
      sample: web1
    usage:
      description: V(server) or V(client).
      type: str
      sample: server
    serial:
      description: Its serial number, in hexadecimal digits.
      type: str
      sample: 4A61C1D2E5
    not_before:
      description: The start of its validity, in UTC.
      type: str
      sample: "2026-11-24T13:00:00Z"
    not_after:
      description: The end of its validity, in UTC.
      type: str
      sample: "2027-11-24T14:00:00Z"
    days_left:
      description: Whole days until then; negative once it has expired.
      type: int
      sample: 364
    issuer_subject:
      description: The subject of the CA that signed it, also where that CA is gone.
      type: str
      sample: CN=bulkhead.docker CA 0f3a9c11
    issuer:
      description: RV(certificates[].fingerprint_sha256) of the CA that signed it, empty where that CA is gone.
      type: str
    revoked:
      description: Whether it is on a revocation list, or its client was revoked.
      type: bool
groups:
  description: The CAs of access groups, each in C(groups/NAME) of O(dir). The CA in O(dir) itself is that of the group V(default).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the group.
      type: str
      sample: staging
    path:
      description: As RV(path).
      type: str
    exists:
      description: As RV(exists).
      type: bool
    complete:
      description: As RV(complete).
      type: bool
    elsewhere:
      description: As RV(elsewhere).
      type: bool
    phase:
      description: As RV(phase).
      type: str
    bundle:
      description: As RV(bundle).
      type: str
    client_bundle:
      description: As RV(client_bundle). No client needs it, because no server has a certificate of this CA.
      type: str
    retired:
      description: As RV(retired).
      type: str
    certificates:
      description: As RV(certificates).
      type: list
      elements: dict
      contains: *certificates
    key:
      description: As RV(key).
      type: dict
      contains: *key
    crl:
      description: As RV(crl).
      type: bool
    revoked:
      description: As RV(revoked), which is the same for all groups.
      type: list
      elements: str
    revocation_lists:
      description: As RV(revocation_lists).
      type: str
    issued:
      description: As RV(issued).
      type: list
      elements: dict
      contains: *issued
    record_problems:
      description: As RV(record_problems).
      type: list
      elements: str
    problems:
      description: As RV(problems).
      type: list
      elements: str
beside:
  description: >-
    What other CAs in directories beside O(dir) have signed, as RV(issued), as far as it can be read.
  returned: O(beside=true)
  type: list
  elements: dict
holders:
  description: >-
    Who has access, host by host, as M(bulkhead.docker.docker_ca_holders) has written it: also several hosts with identities of one name, and those
    that use SSH alone or a certificate that something else installs.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(engine) for an engine that trusts the CA, V(client) for an identity of a client host, V(export) for one that was exported.
      type: str
      sample: client
    host:
      description: The name of the host in its inventory; empty for an export.
      type: str
      sample: build1
    identity:
      description: The name of the identity; empty for an engine.
      type: str
      sample: jenkins
    transport:
      description: V(tls) or V(ssh) for an identity of a client host, empty otherwise.
      type: str
      sample: tls
record_problems:
  description: >-
    Those of RV(problems) that are about RV(issued) and RV(holders): what these have is not all. Playbooks that could shut somebody out end there.
  returned: success
  type: list
  elements: str
existing:
  description: The CA to take over; null without O(existing_certificate).
  returned: success
  type: dict
  contains:
    certificate:
      description: >-
        The certificate that belongs to O(existing_private_key), or that signs elsewhere, in PEM format. Empty where there is none, or it cannot be
        read.
      type: str
    above:
      description: The certificates above it, in PEM format.
      type: str
    bundle:
      description: What RV(bundle) will be once this is taken over; empty where it has been, or cannot be.
      type: str
    client_bundle:
      description: What RV(client_bundle) will be then.
      type: str
    subject:
      description: Its subject.
      type: str
      sample: O=Example,CN=Example Docker CA
    not_after:
      description: The end of its validity, in UTC.
      type: str
      sample: "2036-11-24T14:00:00Z"
    days_left:
      description: Whole days until then, or null where it cannot be read.
      type: int
    taken_over:
      description: Whether O(dir) holds that CA already, or it is the successor. Its files may be gone then.
      type: bool
    problems:
      description: One sentence for each reason why it cannot be taken over.
      type: list
      elements: str
problems:
  description: One sentence for each file that cannot be read, or cannot be right.
  returned: success
  type: list
  elements: str
  sample:
    - /home/ops/.bulkhead/ca/ca-key.pem is encrypted, and docker_ca_passphrase is not set.
"""

import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import library

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
    from ansible_collections.bulkhead.docker.plugins.module_utils._ca import elsewhere, inspect
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "~/.bulkhead/ca"},
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "beside": {"type": "bool", "default": False},
            "existing_certificate": {"type": "path"},
            "existing_private_key": {"type": "path", "no_log": False},
            "existing_passphrase": {"type": "str", "default": "", "no_log": True},
        },
        required_by={"existing_private_key": "existing_certificate"},
        supports_check_mode=True,
    )
    library.fail_without(module, CRYPTOGRAPHY_ERROR)
    given = module.params
    try:
        directory = ca.open_directory(given["dir"])
        result = inspect.gather(directory, given["passphrase"])
        if given["beside"]:
            result["beside"] = inspect.beside(directory)
        result["existing"] = elsewhere.coming(directory, given["passphrase"], given)
        for secret in (given["passphrase"], given["existing_passphrase"]):
            ca.refuse_masking(secret, result)
    except ca.CaError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The CA in {given['dir']} cannot be read by the user of this task ({error}).")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
