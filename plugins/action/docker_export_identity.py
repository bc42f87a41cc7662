# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Issues an identity for a server that Ansible does not manage. Its key is in memory here until it is encrypted."""

from __future__ import annotations

import pathlib
import sys
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import VaultLib, match_encrypt_secret
from ansible_collections.bulkhead.docker.plugins.action import docker_module
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.options import CA, CERT, KEY
from ansible_collections.bulkhead.docker.plugins.plugin_utils import bundle

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import request as keys
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
except ImportError as error:
    IMPORT_ERROR = str(error)
else:
    IMPORT_ERROR = ""

_SIGN = "bulkhead.docker.docker_ca_sign"
_ARGUMENTS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "dest": {"type": "str", "required": True},
    "engines": {"type": "list", "elements": "dict", "required": True},
    "ca_certificate": {"type": "str", "required": True},
    "group": {"type": "str", "default": "default"},
    "valid_days": {"type": "int", "default": 90},
    "encrypt": {"type": "bool", "default": True},
    "dir": {"type": "str", "default": "~/.bulkhead/ca"},
    "passphrase": {"type": "str", "default": "", "no_log": True},
}


class ActionModule(docker_module.ActionModule):
    """The host of the task is the CA host, which signs; the bundle is written on the control node."""

    def answer_of(self, name: str, options: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        given = self.validate_argument_spec(argument_spec=_ARGUMENTS)[1]
        if IMPORT_ERROR:
            raise AnsibleActionFail(
                f"Python's cryptography library 3.3 or later is missing for {sys.executable} on the control node "
                f"({IMPORT_ERROR}). Install it there."
            )
        dest = pathlib.Path(given["dest"]).expanduser()
        try:
            bundle.check(dest)
            encrypt = self._encrypt() if given["encrypt"] else None
            key = keys.new_key("P-256", 0)
            sign = {
                "name": given["name"],
                "usage": "client",
                "valid_days": given["valid_days"],
                "group": given["group"],
            }
            asked = {
                "dir": given["dir"],
                "passphrase": given["passphrase"],
                "requests": [{**sign, "request": keys.request(key, given["name"]), "exported": True}],
            }
            answer = super().answer_of(_SIGN, asked, task_vars)
            if answer.get("failed"):
                return answer
            problems = [entry["problem"] for entry in answer["certificates"] if entry["problem"]]
            if problems:
                raise AnsibleActionFail(" ".join(problems))
            result = {"changed": True, "dest": str(dest), "encrypted": encrypt is not None}
            if self._task.check_mode:
                return result
            issued = answer["certificates"][0]
            entry = _entry(issued["certificate"], key)
            pem = {CA: given["ca_certificate"].encode(), CERT: issued["certificate"].encode(), KEY: key}
            identity = bundle.Identity(given["name"], pem, issued["not_after"], x509.fingerprint(entry))
            files = bundle.contents(identity, given["engines"], encrypt)
            bundle.write(dest, files)
        except bundle.BundleError as error:
            raise AnsibleActionFail(str(error)) from error
        return {
            **result,
            "files": sorted(files),
            "serial": issued["serial"],
            "not_after": issued["not_after"],
            "fingerprint_sha256": identity.fingerprint,
        }

    def _encrypt(self) -> bundle.Encrypt:
        """As `ansible-vault encrypt` does, with the first secret of the run."""
        secrets = self._loader._vault.secrets or []
        found = match_encrypt_secret(secrets) if secrets else None
        if not found:
            raise AnsibleActionFail(
                "The bundle would hold a private key, and the run has no vault secret to encrypt it with. Give one, "
                "as with --vault-password-file, or say -e docker_export_encrypt=false."
            )
        vault_id, secret = found
        return lambda data: VaultLib(secrets).encrypt(data, secret=secret, vault_id=vault_id)


def _entry(pem: str, key: bytes) -> x509.Entry:
    entry = x509.load_bundle(pem)[0]
    if not x509.same_key(entry.certificate.public_key(), x509.public_half(key)):
        raise AnsibleActionFail("The CA host has answered with a certificate for another key. Nothing was written.")
    return entry
