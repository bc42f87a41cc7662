# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon_config
short_description: Secures a Docker engine's remote API with mutual TLS, as one transaction
version_added: "0.1.0"
description:
  - Changes C(daemon.json), the drop-in of C(docker.service), the TLS files and the running daemon together, on the engine itself.
  - Keys of C(daemon.json) that it does not manage stay as they are. Containers keep running through C(live-restore), which is
    switched on first and confirmed by the daemon. dockerd is restarted once, and only when something has changed that it reads
    only when it starts.
  - When the engine fails verification afterwards, the previous files come back and the module fails with
    dockerd's own log lines. A run that was killed is undone by the next run, before it does anything else.
  - Where a server certificate is due and none is given, it fails and changes nothing, but that an interrupted change is undone. In check mode
    RV(certificate_reasons) says why one is due.
  - An engine that is right costs one execution, and the first one for an engine that is not says everything that speaks against a change.
  - Listeners without TLS that are found in C(daemon.json), in C(DOCKER_OPTS) or in a foreign drop-in are taken over, with a warning.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - python3-cryptography 3.3 or later on the engine
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the changed status prediction without modifying the engine.
  diff_mode:
    support: full
    description: >-
      Shows what changes. Values of C(daemon.json) that stay or may be secret, and those of flags in the drop-in, are not shown; certificates are
      by subject, serial, names and validity, private keys never.
options:
  state:
    description:
      - With V(present) the engine answers on its TLS endpoint to holders of a client certificate.
      - With V(absent) everything that this module did is taken back, and C(daemon.json) is again the file that it was,
        byte for byte, unless somebody else has changed it since; such changes stay and are named in RV(kept).
        Listeners without TLS that it found then do not come back. The other options but O(allow_container_restart)
        and O(timeout) are ignored.
    type: str
    choices: [present, absent]
    default: present
  listen:
    description: IP addresses to listen on. Either wildcard address stands for IPv4 and IPv6, as dockerd binds both.
    type: list
    elements: str
    default: [0.0.0.0]
  port:
    description: TCP port of the TLS endpoint.
    type: int
    default: 2376
  daemon_options:
    description:
      - Further keys of C(daemon.json). The keys for hosts and TLS are refused, since they decide who gets in.
      - A key that is named no more gets back the value that it had before, or is removed.
      - The values are in no log, and not among the options that Ansible shows with C(-vvv).
    type: dict
    default: {}
  ca_certificate:
    description:
      - The trust bundle, in PEM format; whoever holds a client certificate of one of its CAs is root on the engine.
      - Its first certificate is the one that signs the server's, unless O(server_ca) says another.
      - Empty stands for a CA that does not exist yet, so that a certificate is due.
    type: str
    default: ""
  retired_cas:
    description: Certificates in PEM format of CAs that the one that signs has replaced. An engine that still trusts one of them gets O(ca_certificate).
    type: str
    default: ""
  replace_ca:
    description:
      - Whether O(ca_certificate) may take the place of a bundle of which no certificate is in it, nor in O(retired_cas).
      - Without it such an engine is refused, because everybody who has an identity of that other CA would be shut out.
    type: bool
    default: false
  server_certificate:
    description: The server certificate in PEM format. Empty keeps the installed one, unless one is due; then nothing is changed.
    type: str
    default: ""
  certificate_path:
    description:
      - A server certificate that something else keeps on the engine, such as certmonger or an agent, with the certificates behind it that lead to
        its root. O(private_key_path) is its key. The module compares it with the installed one, and takes both over in the same transaction when
        they differ; the files themselves stay as they are.
      - One that clients would not accept is refused. RV(findings) says when it was not renewed in time.
    type: path
  server_ca:
    description: The CAs in PEM format that the server's certificate comes from, where they are not those of O(ca_certificate).
    type: str
    default: ""
  private_key_path:
    description: Path, on the engine, of the private key of O(server_certificate) or O(certificate_path). Empty keeps the installed one.
    type: path
  names:
    description:
      - Names and addresses that the certificate must cover. An installed one that lacks any is due, a given one is refused.
      - None is added by the engine itself.
    type: list
    elements: str
    default: []
  key_type:
    description: Type of the private key that the certificate shall have; another one makes it due.
    type: str
    choices: [P-256, P-384, RSA]
    default: P-256
  key_size:
    description: Size of the private key when O(key_type=RSA).
    type: int
    default: 3072
  renew_days:
    description: With fewer whole days left, the certificate is due.
    type: int
    default: 30
  renew_force:
    description: The certificate is due, whatever is installed.
    type: bool
    default: false
  gateway_stays:
    description: Whether a gateway that is there without O(gateway) being given is refused and not taken away.
    type: bool
    default: false
  gateway:
    description:
      - The gateway that stands before the engine. HAProxy serves the TLS endpoint then, and dockerd its local socket alone.
      - Without it dockerd serves the TLS endpoint itself, and a gateway that was there is taken away.
    type: dict
    suboptions:
      identities:
        description:
          - Who gets in, and with which scope. Where they are not given, they are those that the gateway has.
          - Connections of those who are gone, or may do something else now, are ended; no others.
        type: list
        elements: dict
        suboptions:
          name:
            description: The common name of the client's certificate.
            type: str
            required: true
          scope:
            description: V(admin) or one of O(gateway.scopes).
            type: str
            required: true
          access:
            description: Its access groups, of O(gateway.groups). Without any it is in the group V(default).
            type: list
            elements: str
            default: []
      revoked:
        description: Those who are revoked, for a run that does not give O(gateway.identities). They are taken out of those that the gateway has.
        type: list
        elements: str
        default: []
      accounts:
        description:
          - SSH accounts with a limited scope, as M(bulkhead.docker.docker_ssh_access) makes them. Each gets a socket of the gateway that no other
            account reaches. Where O(gateway.identities) are not given, they are those that the gateway has.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The account.
            type: str
            required: true
          identity:
            description: Whose it is, for the log. One that is in O(gateway.identities) as well has the same scope there.
            type: str
            required: true
          scope:
            description: One of O(gateway.scopes).
            type: str
            required: true
      groups:
        description:
          - The access groups of the engine. An identity gets in with a certificate of the CAs of its groups alone.
          - Without any, each identity gets in with a certificate of any CA of O(ca_certificate).
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Its name.
            type: str
            required: true
          ca_certificate:
            description: The CAs of its clients in PEM format, which are in O(ca_certificate), too.
            type: str
            required: true
      scopes:
        description: What identities may do that are no admins.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Its name.
            type: str
            required: true
          rules:
            description:
              - What is allowed, C(METHODS PATH), such as C(GET,HEAD /containers/{id}/logs). The word C(body) behind it lets requests have content.
              - C({id}) stands for a name, C({image}) for the name of an image. C(GET /containers/{id}/json reduced) answers with no more than what
                C(docker logs) needs.
            type: list
            elements: str
            required: true
          log_only:
            description: Nothing is refused; the log says what would be.
            type: bool
            default: false
      revocation_lists:
        description: The revocation lists in PEM format, one of each CA of O(ca_certificate). Without any, nothing is looked up.
        type: str
        default: ""
      max_connections:
        description: How many connections each identity may have at the same time.
        type: int
        default: 500
      max_request_rate:
        description: How many requests an identity that is no admin may make within 10 seconds; V(0) sets no limit.
        type: int
        default: 0
  allow_container_restart:
    description:
      - Allow a restart of dockerd that ends running containers (swarm members, C(live-restore) switched off by a flag, services that
        run C(docker run) in the foreground, a dockerd that does not answer root). Services that end with dockerd are started again.
    type: bool
    default: false
  timeout:
    description: Seconds that dockerd has for a restart, or C(TimeoutStartSec) of its unit where that is longer.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Ask what the engine needs, and change nothing
  bulkhead.docker.docker_daemon_config:
    ca_certificate: "{{ trust_bundle }}"
    names: [web1, 192.0.2.10]
  check_mode: true
  register: engine

- name: Open the engine to holders of a client certificate
  bulkhead.docker.docker_daemon_config:
    ca_certificate: "{{ trust_bundle }}"
    server_certificate: "{{ signed.certificate }}"
    private_key_path: /var/lib/bulkhead/pending/server-key.pem
    names: [web1, 192.0.2.10]
    daemon_options:
      log-driver: local
"""

RETURN = r"""
would_change:
  description: Whether the engine was not as it shall be. As C(changed) in check mode.
  returned: success
  type: bool
certificate_reasons:
  description: Why the certificate that was installed when the module started is due, one phrase each; empty where it serves.
  returned: success
  type: list
  elements: str
certificate:
  description: The installed server certificate. V(null) where there is none that can be read.
  returned: success
  type: dict
  contains:
    not_after:
      description: End of its validity, UTC.
      type: str
      sample: "2030-01-31T12:00:00Z"
    days_left:
      description: Whole days until it expires.
      type: int
    issued_by_ca:
      description: Whether it stands below the first certificate of O(ca_certificate).
      type: bool
replaced_ca:
  description: >-
    The CA that the engine leaves, or has left, by O(replace_ca): subject, SHA-256 and end. Whoever has an identity of that CA alone is shut out.
    Empty where it stays with its CA.
  returned: success
  type: str
  sample: ""
findings:
  description: What somebody else has to do about the engine, one sentence each, such as renew the certificate of O(certificate_path).
  returned: success
  type: list
  elements: str
version:
  description: Version of the running dockerd, or of the installed one where it does not run.
  returned: success
  type: str
running:
  description: Whether dockerd runs.
  returned: success
  type: bool
ssh_accounts:
  description: Whether the role P(bulkhead.docker.docker_ssh#role) has made accounts on the engine's host.
  returned: success
  type: bool
ssh_server:
  description: How clients of these accounts reach sshd. V(null) where there are none, or no sshd that works.
  returned: success
  type: dict
  contains:
    port:
      description: The port that this connection has reached, or the first one of its configuration.
      type: int
    host_keys:
      description: Its public host keys, each the line of a C(.pub) file.
      type: list
      elements: str
gateway_program_missing:
  description: Whether O(gateway) is given and HAProxy is not installed.
  returned: success
  type: bool
revocation_due:
  description: Whether the engine has a gateway with other revocation lists than those of O(gateway.revocation_lists).
  returned: success
  type: bool
hosts:
  description: The entries of C(hosts) in C(daemon.json), as they are or will be.
  returned: success
  type: list
  elements: str
restarted:
  description: Whether dockerd was restarted, or would be in check mode.
  returned: success
  type: bool
recovered:
  description: Whether an interrupted change was undone first.
  returned: success
  type: bool
kept:
  description: Keys of C(daemon.json) that others have changed since, and that were therefore left to them; with O(state=absent) only.
  returned: success
  type: list
  elements: str
reasons:
  description: Why something other than a file was changed, one sentence each.
  returned: success
  type: list
  elements: str
containers:
  description: The containers that ran before the change.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The container's id.
      type: str
    name:
      description: Its name.
      type: str
    pid:
      description: The process id of its first process on the engine.
      type: int
log:
  description: dockerd's own complaints; empty where the change had not begun.
  returned: failure
  type: list
  elements: str
library_missing:
  description: Whether it failed because Python's cryptography library is missing on the engine.
  returned: failure, when it is missing
  type: bool
rolled_back:
  description: Whether a change had begun and was undone. Where it had not begun, nothing was changed.
  returned: failure
  type: bool
"""

import dataclasses
import os
import pathlib
import sys
import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._engine.result import Result
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types

IMPORT_ERROR = TRACEBACK = ""
try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._engine import certificate
    from ansible_collections.bulkhead.docker.plugins.module_utils._engine import plan
    from ansible_collections.bulkhead.docker.plugins.module_utils._engine import transaction as _transaction
except ImportError as error:
    IMPORT_ERROR = str(error)
    TRACEBACK = traceback.format_exc()


_IDENTITY = {
    "name": {"type": "str", "required": True},
    "scope": {"type": "str", "required": True},
    "access": {"type": "list", "elements": "str", "default": []},
}
_ACCOUNT = {name: {"type": "str", "required": True} for name in ("name", "identity", "scope")}
_GROUP = {"name": {"type": "str", "required": True}, "ca_certificate": {"type": "str", "required": True}}
_SCOPE = {
    "name": {"type": "str", "required": True},
    "rules": {"type": "list", "elements": "str", "required": True},
    "log_only": {"type": "bool", "default": False},
}
_GATEWAY = {
    "identities": {"type": "list", "elements": "dict", "options": _IDENTITY},
    "revoked": {"type": "list", "elements": "str", "default": []},
    "accounts": {"type": "list", "elements": "dict", "default": [], "options": _ACCOUNT},
    "groups": {"type": "list", "elements": "dict", "default": [], "options": _GROUP},
    "scopes": {"type": "list", "elements": "dict", "default": [], "options": _SCOPE},
    "revocation_lists": {"type": "str", "default": ""},
    "max_connections": {"type": "int", "default": 500},
    "max_request_rate": {"type": "int", "default": 0},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "listen": {"type": "list", "elements": "str", "default": ["0.0.0.0"]},  # noqa: S104
            "port": {"type": "int", "default": 2376},
            # Proxies and options of log drivers hold passwords; the host's log has nothing of them.
            "daemon_options": {"type": "dict", "default": {}, "no_log": True},
            "ca_certificate": {"type": "str", "default": ""},
            "retired_cas": {"type": "str", "default": ""},
            "replace_ca": {"type": "bool", "default": False},
            "server_certificate": {"type": "str", "default": ""},
            "certificate_path": {"type": "path"},
            "server_ca": {"type": "str", "default": ""},
            "private_key_path": {"type": "path", "no_log": False},
            "names": {"type": "list", "elements": "str", "default": []},
            "key_type": {"type": "str", "choices": ["P-256", "P-384", "RSA"], "default": "P-256"},
            "key_size": {"type": "int", "default": 3072, "no_log": False},
            "renew_days": {"type": "int", "default": 30},
            "renew_force": {"type": "bool", "default": False},
            "gateway": {"type": "dict", "options": _GATEWAY},
            "gateway_stays": {"type": "bool", "default": False},
            "allow_container_restart": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        mutually_exclusive=[("server_certificate", "certificate_path")],
        required_by={"certificate_path": "private_key_path"},
        supports_check_mode=True,
    )
    given = dict(module.params)
    # Ansible would hide these values wherever they stand in the answer, "true" and "json-file" in any sentence, and
    # show them among the options. What the answer has of them is chosen instead.
    module.no_log_values.clear()
    module.params["daemon_options"] = dict.fromkeys(given["daemon_options"], "(not shown)")
    if IMPORT_ERROR and given["state"] == "absent" and not inspect.has_traces():
        _exit(module, Result())  # nothing is installed for an engine where nothing was done
    if IMPORT_ERROR:
        module.fail_json(
            msg=f"Python's cryptography library 3.3 or later is missing for {sys.executable} on this host "
            f"({IMPORT_ERROR}); install it there (Debian: python3-cryptography).",
            exception=TRACEBACK,
            log=[],
            rolled_back=False,
            library_missing=True,
        )
    if os.geteuid() != 0:
        module.fail_json(msg="only root can change an engine; set 'become: true' for it.", log=[], rolled_back=False)
    key = key_types.label(given["key_type"], given["key_size"])
    try:
        source = given["certificate_path"] if given["state"] == "present" else ""
        desired = plan.Desired(
            listen=tuple(inspect.listen_addresses(given["listen"])),
            port=given["port"],
            options=given["daemon_options"],
            ca=given["ca_certificate"],
            certificate=certificate.read(source) if source else given["server_certificate"],
            source=source or "",
            server_ca=given["server_ca"],
            private_key=pathlib.Path(given["private_key_path"]) if given["private_key_path"] else None,
            names=tuple(given["names"]),
            retired_cas=given["retired_cas"],
            replace_ca=given["replace_ca"],
            allow_container_restart=given["allow_container_restart"],
            timeout=given["timeout"],
            gateway=inspect.wanted_gateway(given["gateway"]),
            gateway_stays=given["gateway_stays"],
            absent=given["state"] == "absent",
            renewal=certificate.Renewal(key, given["renew_days"], given["renew_force"]),
        )
        result = _transaction.run(desired, module.check_mode)
    except _transaction.TransactionError as error:
        module.fail_json(msg=str(error), log=error.log, rolled_back=error.rolled_back)
    except _transaction.REFUSALS as error:
        module.fail_json(msg=str(error), log=[], rolled_back=False)
    _exit(module, result)


def _exit(module: AnsibleModule, result: Result) -> None:
    values = dataclasses.asdict(result)
    for warning in values.pop("warnings"):
        module.warn(warning)
    module.exit_json(**values)


if __name__ == "__main__":
    main()
