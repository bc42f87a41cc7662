# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sockets that the gateway of this host has for accounts with a limited scope, as far as the accounts decide it.

The gateway makes them. Whom each is open to follows the accounts, which come and go without it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import settings as _settings
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import gateway_sockets
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users


class SocketError(Exception):
    """One sentence about an account for which the gateway has no socket."""


def check(users: t.Iterable[_users.User]) -> None:
    """Whether the gateway knows each account with the scope that it shall have."""
    installed = _settings.Installed.read()
    for user in users:
        known = installed.settings.scope_of(user.name) if installed else ""
        if not user.admin and known != user.scope:
            raise SocketError(
                f"{user.name} has the scope {user.scope}, and the gateway of this host does not know that account with "
                "it; set the gateway up first, with the playbook bulkhead.docker.site or the role docker_gateway."
            )


def _names() -> list[str]:
    installed = _settings.Installed.read()
    return [account.name for account in installed.settings.accounts] if installed else []


def differs() -> bool:
    return gateway_sockets.differs(_places.PLACES.run, _names())


def follow() -> None:
    """A number that another account has had opens nothing any more."""
    gateway_sockets.set_access(_places.PLACES.run, _names())
