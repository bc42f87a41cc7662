# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role docker_client derives from its variables and from one look at the host."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

try:
    from ansible_collections.bulkhead.docker.plugins.module_utils import _client
    from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""


def _call(name: str) -> t.Callable[..., t.Any]:
    def filtered(*args: t.Any, **options: t.Any) -> t.Any:
        if MISSING:
            raise AnsibleFilterError(f"The control node needs Python's cryptography library: {MISSING}")
        try:
            return getattr(_client, name)(*args, **options)
        except x509.CertificateError as error:
            raise AnsibleFilterError(f"The trust bundle of the CA host cannot be read: {error}") from error

    return filtered


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "docker_client_contexts": _call("stores"),
            "docker_client_identities": _call("judge"),
            "docker_client_leaving": _call("leaving"),
            "docker_client_problems": _call("problems"),
            "docker_client_ssh_engines": _call("ssh_engines"),
            "docker_client_ssh_users": _call("ssh_users"),
            "docker_client_users": _call("users"),
        }
