# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A copy of a project that nobody reaches, to see whether a new version becomes healthy before the old one goes."""

from __future__ import annotations

import copy
import typing as t

from .compose import Model
from .errors import ProjectError

SUFFIX = "-trial"
# Names and addresses that the running project has, and labels by which a proxy would send requests here.
_REMOVED = (
    *("ports", "container_name", "labels", "scale", "external_links", "mac_address", "build", "profiles"),
    *("pull_policy", "hostname"),
)
_ADDRESSES = ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address", "gw_priority")


def model(original: Model, project: str) -> Model:
    """The same services with networks and volumes of their own, no published port, and what is mounted read-only."""
    trial = copy.deepcopy(original)
    trial["name"] = project + SUFFIX
    for name, service in (trial.get("services") or {}).items():
        _refuse(name, service)
        service.setdefault("image", f"{project}-{name}")
        for key in _REMOVED:
            service.pop(key, None)
        service["restart"] = "no"
        if isinstance(service.get("deploy"), dict):
            for key in ("replicas", "labels", "restart_policy"):
                service["deploy"].pop(key, None)
        for network in (service.get("networks") or {}).values():
            for key in _ADDRESSES:
                (network or {}).pop(key, None)
        for volume in service.get("volumes") or []:
            if volume.get("type") == "bind":
                volume["read_only"] = True
    for kind in ("networks", "volumes"):
        trial[kind] = {name: _own(entry) for name, entry in (trial.get(kind) or {}).items()}
    return trial


def _refuse(name: str, service: t.Mapping[str, t.Any]) -> None:
    mode = str(service.get("network_mode", ""))
    if mode == "host" or mode.startswith("container:") or service.get("volumes_from"):
        raise ProjectError(
            f"the service {name} shares the network or the volumes of something else, so that a second copy would meet "
            "the first; set trial to false for this project."
        )


def _own(entry: t.Any) -> dict[str, t.Any]:
    dropped = ("name", "external", "ipam")
    return {key: value for key, value in (entry or {}).items() if key not in dropped}
