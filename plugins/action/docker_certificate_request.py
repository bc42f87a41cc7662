# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module docker_certificate_request, whose answer is taken as data: the request, and nothing else.

What the certificate is to say is the caller's, and is put beside the request here. The host does not even learn it,
unless a CA elsewhere reads it in the request.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.validation import check_type_bool, check_type_int, check_type_list
from ansible_collections.bulkhead.docker.plugins.action import docker_module
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import key_types


class ActionModule(docker_module.ActionModule):
    """As every other module, and what docker_ca_sign takes."""

    def answer_of(self, name: str, options: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        # ansible-core 2.18 gives text for a number and a truth value that come from a template.
        try:
            size = check_type_int(options.get("key_size") or 3072)
            sign = {
                "name": options.get("common_name"),
                "usage": "server",
                "names": check_type_list(options.get("names") or []),
                "valid_days": check_type_int(options.pop("valid_days", 365)),
                "key": key_types.label(options.get("key_type") or "P-256", size),
            }
            elsewhere = check_type_bool(options.get("issued_elsewhere") or False)
        except TypeError as error:
            raise AnsibleActionFail(f"An option of docker_certificate_request has another type: {error}.") from error
        if not elsewhere:
            options.pop("names", None)
        answer = super().answer_of(name, options, task_vars)
        answer.pop("sign", None)  # whatever the host says there
        if not answer.get("failed") and answer.get("request"):
            answer["sign"] = {**sign, "request": answer["request"]}
        return answer
