# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scopes of a gateway, for the role docker_gateway."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.scopes import ADMIN, ScopeError
from ansible_collections.bulkhead.docker.plugins.plugin_utils import gateways

Entries = t.Iterable[t.Mapping[str, t.Any]]


def _scopes(identities: Entries, own: Entries) -> list[dict[str, t.Any]]:
    try:
        return gateways.resolved([identity.get("scope") or ADMIN for identity in identities], own)
    except ScopeError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"docker_gateway_calls": gateways.calls, "docker_gateway_scopes": _scopes}
