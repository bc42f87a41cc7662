# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change of SSH access at a time on a host."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _locks

LOCK = pathlib.Path("/run/bulkhead-ssh.lock")  # where no removal has to look for it
_TIMEOUT = 120


def held(is_awaited: t.Callable[[], bool] = lambda: True) -> contextlib.AbstractContextManager[None]:
    return _locks.held(LOCK, "SSH access to this host", _TIMEOUT, is_awaited)
