# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks derive from the reports of all hosts."""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _fleet


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "docker_fleet": _fleet.rows,
            "docker_fleet_due": _fleet.due,
            "docker_fleet_lines": _fleet.lines,
            "docker_fleet_renewed": _fleet.renewed,
            "docker_fleet_ssh_accounts": _fleet.ssh_accounts,
            "docker_fleet_summary": _fleet.summary,
            "docker_fleet_wrong": _fleet.wrong,
        }
