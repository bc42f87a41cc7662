# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a deployment from happening, each a sentence."""

from __future__ import annotations


class GitopsError(Exception):
    """One sentence about what is wrong and the way out."""


class CommandError(GitopsError):
    """A program that could not be started, did not end in time or failed."""


class FetchError(GitopsError):
    """The Git server did not give what was asked for."""


class RefusedError(GitopsError):
    """A revision that is not deployed, because it could be somebody else's."""


class ProjectError(GitopsError):
    """A project that cannot be deployed as its revision has it; nothing of it was touched."""
