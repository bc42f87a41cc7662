# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: docker_ssh_users
short_description: Adds the identities of client hosts to the users of an engine
version_added: "0.1.0"
description:
  - Takes what an inventory declares as C(docker_ssh_users) and adds the public keys that the role
    P(bulkhead.docker.docker_client#role) has made or found on client hosts in the same run. Each goes to the account
    of its identity.
  - A client host that was not asked for its keys in this run is an error, because its users would lose access.
author:
  - The bulkhead.docker maintainers (@bulkhead)
positional: _input, clients, hostvars
options:
  _input:
    description: The declared users.
    type: list
    elements: dict
    required: true
  clients:
    description: Inventory names of the client hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Let the clients' users in
  ansible.builtin.include_role:
    name: bulkhead.docker.docker_ssh
  vars:
    docker_ssh_users: "{{ declared_users | bulkhead.docker.docker_ssh_users(groups['docker_clients'], hostvars) }}"
"""

RETURN = r"""
_value:
  description: The users, as the role P(bulkhead.docker.docker_ssh#role) takes them.
  type: list
  elements: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError


def docker_ssh_users(
    declared: t.Iterable[t.Mapping[str, t.Any]],
    clients: t.Iterable[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
) -> list[dict[str, t.Any]]:
    users = {str(user["name"]): dict(user) for user in declared}
    for client in clients:
        answer = hostvars[client].get("docker_client_ssh")
        if answer is None:
            raise AnsibleFilterError(
                f"The client host {client} was not asked for its SSH keys in this run, so that its users would lose "
                "access. Let the play reach it as well, or take it out of the client hosts."
            )
        for result in answer.get("results", []):
            for key in result.get("public_keys", []):
                user = users.setdefault(key["account"], {"name": key["account"], "comment": f"identity {key['name']}"})
                known = list(user.get("public_keys") or [])
                user["public_keys"] = [*known, key["public_key"]] if key["public_key"] else known
    return list(users.values())


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"docker_ssh_users": docker_ssh_users}
