# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_contexts
short_description: Brings a whole set of Docker contexts into the declared state
version_added: "0.1.0"
description:
  - Does in one call for many contexts what M(bulkhead.docker.docker_context) does for one. All of them are checked before the
    first one is written.
  - A context that this module makes is marked in its metadata as a member of O(context_set). Only marked contexts are ever removed by
    O(purge); one that somebody else made, or copied from a marked one, is not, even when this module has changed it.
author:
  - The bulkhead.docker maintainers (@bulkhead)
extends_documentation_fragment:
  - bulkhead.docker.context
  - bulkhead.docker.context.folder
  - bulkhead.docker.context.contexts
options:
  remove_accounts:
    description: >-
      Remove the contexts that this module made, in any set, whose C(ssh://) endpoint logs in as one of these users, unless O(contexts)
      names them.
    type: list
    elements: str
    default: []
  remove_identities:
    description:
      - Remove the contexts that this module made, in any set, whose client certificate is for one of these common names, unless
        O(contexts) names them.
      - Needs Python's cryptography library on the host.
    type: list
    elements: str
    default: []
seealso:
  - module: bulkhead.docker.docker_context
  - module: community.docker.docker_context_info
"""

EXAMPLES = r"""
- name: Have a context for each engine and for nothing else
  bulkhead.docker.docker_contexts:
    contexts:
      - name: web1
        docker_host: tcp://web1.example.com:2376
        ca_path: ~/.bulkhead/identities/admin/ca.pem
        client_cert: ~/.bulkhead/identities/admin/cert.pem
        client_key: ~/.bulkhead/identities/admin/key.pem
      - name: web2-ssh
        docker_host: ssh://docker-remote@web2.example.com
    current: web1
    purge: true

- name: Have no context of this identity any more
  bulkhead.docker.docker_contexts:
    contexts: []
    remove_identities: [alice]
    remove_accounts: [docker-alice]
"""

RETURN = r"""
contexts:
  description: The declared contexts, and one that was made the current one, as M(community.docker.docker_context_info) describes them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The context's name.
      type: str
      sample: web1
    current:
      description: Whether it is the current one.
      type: bool
    description:
      description: Its description, if it has one.
      type: str
    meta_path:
      description: Folder of its C(meta.json).
      type: str
    tls_path:
      description: Folder of its TLS files.
      type: str
    config:
      description: Options for the modules of community.docker, for use in C(module_defaults).
      type: dict
      contains:
        docker_host:
          description: The endpoint.
          type: str
          sample: tcp://web1.example.com:2376
        tls:
          description: Whether TLS is used.
          type: bool
        ca_path:
          description: The trust bundle in the store.
          returned: with C(tcp://)
          type: str
        client_cert:
          description: The client's certificate in the store.
          returned: with C(tcp://)
          type: str
        client_key:
          description: Path of its private key in the store.
          returned: with C(tcp://)
          type: str
        validate_certs:
          description: Whether the engine's certificate is checked.
          returned: with C(tcp://)
          type: bool
env_files:
  description: The folders with files for tools that read no contexts, in the order of O(contexts).
  returned: success
  type: list
  elements: str
  sample: ["/home/jenkins/.bulkhead/env/web1"]
removed:
  description: Names of the contexts that were removed.
  returned: success
  type: list
  elements: str
current_context_name:
  description: The context that C(config.json) makes the current one.
  returned: success
  type: str
  sample: default
"""

import dataclasses
import os
import sys
import typing as t
import urllib.parse

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import (
    cli_config,
    declaration,
    env_files,
    options,
    plan,
    store,
)

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
except ImportError as error:
    IMPORT_ERROR = str(error)
else:
    IMPORT_ERROR = ""


def belongs_to(names: t.Collection[str], accounts: t.Collection[str]) -> t.Callable[[str, bytes], bool]:
    """Whether a context logs in to one of the accounts, or with a certificate for one of the names."""

    def is_theirs(docker_host: str, pem: bytes) -> bool:
        url = urllib.parse.urlsplit(docker_host)
        if url.scheme == "ssh" and url.username in accounts:
            return True
        if not names or not pem:
            return False
        try:
            entry = x509.load_bundle(pem.decode("ascii", "replace"))[0]
        except x509.CertificateError:
            return False
        return any(name in names for name in entry.common_names)

    return is_theirs


def is_for(names: t.Collection[str], accounts: t.Collection[str]) -> t.Callable[[env_files.Mark], bool]:
    """The same of env files, which may be all that is left of a context."""
    return lambda mark: mark.identity in names or urllib.parse.urlsplit(mark.host).username in accounts


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **options.DECLARED,
            "remove_accounts": {"type": "list", "elements": "str", "default": []},
            "remove_identities": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["contexts"] is None:
        module.fail_json(msg="contexts is missing. Give an empty list for a set that shall have none.")
    root = plan.folder(given["config_dir"])
    leaving = (given["remove_identities"], given["remove_accounts"])
    if given["remove_identities"] and IMPORT_ERROR:
        module.fail_json(
            msg=f"Python's cryptography library 3.3 or later is missing for {sys.executable} on this host ({IMPORT_ERROR}); "
            "remove_identities needs it to read certificates."
        )
    try:
        declared = declaration.of_options(given, module.check_mode)
        wanted = dataclasses.replace(
            declared.wanted, gone=belongs_to(*leaving) if any(leaving) else None, env_gone=is_for(*leaving)
        )
        result = plan.run(wanted, module.check_mode, store.Store(root))
    except (options.StoreError, cli_config.ConfigError) as error:
        module.fail_json(msg=f"{error}.")
    except OSError as error:
        module.fail_json(msg=f"The Docker contexts in {root} cannot be changed: {error}.")
    for path in declared.missing:
        module.warn(f"{path} does not exist yet; the run itself needs it.")
    for warning in (*result.warnings, *declared.warnings(root, os.environ)):
        module.warn(f"{warning}.")
    module.exit_json(
        changed=result.changed,
        contexts=result.contexts,
        env_files=result.env_files,
        removed=result.removed,
        current_context_name=result.current,
        diff=result.diff,
    )


if __name__ == "__main__":
    main()
