# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a change of an engine answers; needs no cryptography, where there is nothing to change."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done; and the engine as the roles and the report need it."""

    changed: bool = False
    would_change: bool = False
    restarted: bool = False
    recovered: bool = False
    reasons: list[str] = dataclasses.field(default_factory=list)
    certificate_reasons: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)
    containers: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    hosts: list[str] = dataclasses.field(default_factory=list)
    kept: list[str] = dataclasses.field(default_factory=list)
    version: str = ""
    running: bool = False
    ssh_accounts: bool = False
    ssh_server: dict[str, t.Any] | None = None
    certificate: dict[str, t.Any] | None = None
    replaced_ca: str = ""
    gateway_program_missing: bool = False
    revocation_due: bool = False  # whether the gateway has other lists than those that were given
    findings: list[str] = dataclasses.field(default_factory=list)
