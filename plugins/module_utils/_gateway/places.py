# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a gateway is on its engine, and how one is taken away.

Apart from how it works, which no engine without a gateway needs: what a module imports is compiled anew each time that
it runs on a host.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil

from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target

NAME = "docker-gateway.service"
USER = "docker-gateway"
UNIT = pathlib.Path("/etc/systemd/system/docker-gateway.service")

_PROGRAMS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/sbin:/bin"


class GatewayError(Exception):
    """One sentence about a gateway that cannot be as it shall be."""


class UnitError(Exception):
    """What systemd said when it did not do as it was told."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Folders of the gateway."""

    config: pathlib.Path = pathlib.Path("/etc/docker-gateway")
    run: pathlib.Path = pathlib.Path("/run/docker-gateway")

    @property
    def haproxy(self) -> pathlib.Path:
        return self.config / "haproxy.cfg"

    @property
    def server(self) -> pathlib.Path:
        """Certificate and key."""
        return self.config / "server.pem"

    @property
    def ca(self) -> pathlib.Path:
        return self.config / "ca.pem"

    @property
    def revocation_lists(self) -> pathlib.Path:
        return self.config / "crl.pem"

    @property
    def settings(self) -> pathlib.Path:
        return self.config / "settings.json"

    @property
    def sockets_program(self) -> pathlib.Path:
        """What makes the folders of the sockets of SSH accounts."""
        return self.config / "ssh_sockets.py"

    @property
    def master(self) -> pathlib.Path:
        return self.run / "master.sock"


PLACES = Places()


def program() -> str:
    """HAProxy of this host; '' where there is none."""
    return shutil.which("haproxy", path=_PROGRAMS) or ""


def nothing() -> list[Target]:
    """No gateway."""
    files = (
        *(PLACES.haproxy, PLACES.server, PLACES.ca, PLACES.revocation_lists, UNIT, PLACES.sockets_program),
        PLACES.settings,
    )
    return [Target(path, None, secret=path == PLACES.server, restart=False) for path in files]


def is_ours(path: pathlib.Path) -> bool:
    return path == UNIT or path.parent == PLACES.config
