# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules of the CA need where Python's cryptography library is missing, and most of this folder with it."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

# The options of an entry of who has access.
HOLDER = {
    "kind": {"type": "str", "choices": ["engine", "client", "export"], "required": True},
    "host": {"type": "str", "default": ""},
    "identity": {"type": "str", "default": ""},
    "transport": {"type": "str", "choices": ["", "tls", "ssh"], "default": ""},
}


def fail_without(module: AnsibleModule, import_error: str) -> None:
    """``import_error`` is the traceback of the import that failed; '' where none did."""
    if import_error:
        module.fail_json(
            msg=missing_required_lib("cryptography", reason="on the CA host (Debian: python3-cryptography)"),
            exception=import_error,
        )
