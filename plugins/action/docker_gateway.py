# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module docker_gateway, whose answer is taken as data."""

from __future__ import annotations

from ansible_collections.bulkhead.docker.plugins.action.docker_module import ActionModule

__all__ = ["ActionModule"]
