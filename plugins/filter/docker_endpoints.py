# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: docker_endpoints
short_description: Tells how clients reach engines of the inventory
version_added: "0.1.0"
description:
  - Turns names of inventory hosts into the list that the role P(bulkhead.docker.docker_client#role) takes
    as C(docker_client_engines).
author:
  - The bulkhead.docker maintainers (@bulkhead)
positional: _input, hostvars
options:
  _input:
    description: Inventory names of engines.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Make contexts for all engines
  ansible.builtin.include_role:
    name: bulkhead.docker.docker_client
  vars:
    docker_client_engines: "{{ groups['docker_engines'] | bulkhead.docker.docker_endpoints(hostvars) }}"
"""

RETURN = r"""
_value:
  description:
    - For each engine its C(name), C(address) and C(port), and for SSH C(ssh_port) and C(ssh_host_keys).
    - The address is C(docker_engine_address), else C(ansible_host), else the inventory name.
    - The port is C(docker_engine_port), else 2376.
    - >-
      The port of sshd is C(ansible_port), else what the role P(bulkhead.docker.docker_ssh#role) or a look of the role
      P(bulkhead.docker.docker_engine#role) has found in this run, else 22. The host keys are those that one of them has
      read over Ansible's connection; without it there are none.
  type: list
  elements: dict
  sample: [{name: web1, address: 192.0.2.10, port: 2376, ssh_port: 22, ssh_host_keys: [ssh-ed25519 AAAA]}]
"""

import typing as t


def docker_endpoints(names: t.Iterable[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    return [
        {
            "name": name,
            "address": str(hostvars[name].get("docker_engine_address") or hostvars[name].get("ansible_host") or name),
            "port": int(hostvars[name].get("docker_engine_port") or 2376),
            "ssh_port": int(hostvars[name].get("ansible_port") or _ssh_server(hostvars[name]).get("port") or 22),
            "ssh_host_keys": list(_ssh_server(hostvars[name]).get("host_keys") or []),
        }
        for name in names
    ]


def _ssh_server(variables: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    looks = (variables.get(name) or {} for name in ("docker_engine_report", "docker_engine_look"))
    found = [variables.get("docker_ssh_server"), *((look.get("engine") or {}).get("ssh_server") for look in looks)]
    return next((server for server in found if server and server.get("host_keys")), {})


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"docker_endpoints": docker_endpoints}
