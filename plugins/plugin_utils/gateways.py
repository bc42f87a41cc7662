# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateways of the plan: scopes, and which identity has which of them on an engine."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import scopes

_FOLDER = pathlib.Path(__file__).parents[2] / "roles" / "docker_gateway" / "files" / "scopes"


def built_in_or_none(name: str) -> t.Sequence[str] | None:
    """The lines of a scope that comes with the collection."""
    file = _FOLDER / f"{name}.scope"
    return file.read_text(encoding="utf-8").splitlines() if scopes.is_name(name) and file.exists() else None


def built_in(name: str) -> t.Sequence[str]:
    return built_in_or_none(name) or ()
