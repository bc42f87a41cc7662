# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the attributes of modules mean; each adds its `support`, and `details` where there is more to say."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return the changed status prediction without modifying the target.
  diff_mode:
    description: Shows what it changes, or would change in check mode, when Ansible runs with C(--diff).
  idempotent:
    description: Changes nothing when it runs again with the same options.
  platform:
    description: Operating systems of the hosts that it runs on.
"""

    # For modules that gather something.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Only reads, so that it does the same in check mode.
  diff_mode:
    support: N/A
    details: Changes nothing that a diff could show.
  idempotent:
    support: full
    details: Changes nothing.
"""
