# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts hand to each other in a run, for the playbooks."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.bulkhead.docker.plugins.plugin_utils import engines, groups, handover, record, results


def _ssh_users(*args: t.Any, **options: t.Any) -> list[dict[str, t.Any]]:
    try:
        return handover.ssh_users(*args, **options)
    except handover.HandoverError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "docker_ca_refusal": handover.ca_refusal,
            "docker_client_bundle": handover.client_bundle,
            "docker_client_engines": handover.client_engines,
            "docker_due": results.due,
            "docker_engine_options": handover.engine_options,
            "docker_engine_bundle": handover.engine_bundle,
            "docker_engine_server_ca": handover.engine_server_ca,
            "docker_cas_of_clients": groups.cas_of_clients,
            "docker_known_cas": groups.known_cas,
            "docker_rotated_groups": groups.rotated,
            "docker_rotation_phases": groups.phases,
            "docker_engine_gateway": handover.engine_gateway,
            "docker_failure": results.failure,
            "docker_own_names": engines.own_names,
            "docker_run_results": results.results,
            "docker_shut_out": record.shut_out,
            "docker_ssh_kept": record.kept_accounts,
            "docker_ssh_revoked": handover.revoked_accounts,
            "docker_ssh_users": _ssh_users,
            "docker_unknown": record.unknown,
            "docker_certificate_names": engines.certificate_names,
            "docker_subject_alt_names": engines.subject_alt_names,
        }
