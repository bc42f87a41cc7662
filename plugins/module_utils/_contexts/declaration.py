# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole set of contexts as it is declared, and whether a user has it."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import (
    cli_config,
    options,
    plan,
    store,
    surroundings,
)


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What the options say, with the TLS files that check mode found missing."""

    wanted: plan.Wanted
    missing: tuple[str, ...]

    def warnings(self, root: pathlib.Path, environment: t.Mapping[str, str]) -> list[str]:
        """Why clients of this user may not use the contexts."""
        return surroundings.warnings(root, [context.host for context in self.wanted.contexts], environment)


def of_options(given: t.Mapping[str, t.Any], check: bool) -> Declaration:
    contexts, missing = [], set()
    for one in given["contexts"]:
        context, of_context = options.from_options(one, check)
        contexts.append(context)
        missing.update(of_context)
    wanted = plan.Wanted(
        contexts=tuple(contexts),
        current=given["current"] or "",
        set_name=given["context_set"],
        purge=given["purge"],
        env_files=given["env_files"],
    )
    return Declaration(wanted, tuple(sorted(missing)))


def is_met(given: t.Mapping[str, t.Any], environment: t.Mapping[str, str]) -> bool:
    """Whether docker_contexts would change nothing, and has nothing to warn of or to refuse."""
    root = plan.folder(given["config_dir"])
    try:
        declared = of_options(given, True)
        result = plan.run(declared.wanted, True, store.Store(root))
    except (options.StoreError, cli_config.ConfigError, OSError, ValueError, TypeError, AttributeError, RecursionError):
        return False  # the user may have put anything there, of which docker_contexts says what is wrong
    return not (result.changed or result.warnings or declared.missing or declared.warnings(root, environment))
