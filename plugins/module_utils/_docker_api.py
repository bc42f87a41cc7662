# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker API on the engine's own socket: just what the transaction and its report read."""

from __future__ import annotations

import http.client
import json
import socket
import time
import typing as t


class ApiError(Exception):
    """The local socket did not answer as a Docker engine does."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class LocalApi:
    """GET requests to one unix socket."""

    def __init__(self, path: str, timeout: float = 10) -> None:
        self.path = path
        self._timeout = timeout

    def get(self, resource: str) -> t.Any:
        connection = _UnixConnection(self.path, self._timeout)
        try:
            connection.request("GET", resource)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{self.path} does not answer ({error})") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ApiError(f"{self.path} answers {resource} with status {answer.status}")
        return json.loads(body) if "json" in (answer.getheader("Content-Type") or "") else body.decode()

    def answers(self) -> bool:
        try:
            return bool(self.get("/_ping") == "OK")
        except ApiError:
            return False

    def wait(self, seconds: float) -> bool:
        """Whether it answers within that time."""
        end = time.monotonic() + seconds
        while not self.answers():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def live_restore(self) -> bool:
        return bool(self.get("/info").get("LiveRestoreEnabled"))

    def running_containers(self) -> list[dict[str, t.Any]]:
        """Id, name and PID of each container that runs."""
        containers = []
        for entry in self.get("/containers/json"):
            state = self._state(entry["Id"])
            if state and state["Running"]:
                containers.append({"id": entry["Id"], "name": entry["Names"][0].lstrip("/"), "pid": state["Pid"]})
        return sorted(containers, key=lambda container: str(container["name"]))

    def _state(self, container: str) -> dict[str, t.Any] | None:
        try:
            state: dict[str, t.Any] = self.get(f"/containers/{container}/json")["State"]
        except ApiError:
            return None
        return state

    def lost(self, before: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
        """Names of containers that a restart of the daemon has ended.

        One that is gone (--rm) or came to its own end since is not lost: dockerd ends containers with a signal.
        """
        names = []
        for container in before:
            state = self._state(container["id"])
            if state is None or (state["Running"] and state["Pid"] == container["pid"]):
                continue
            if state["Running"] or state["ExitCode"] in (137, 143):
                names.append(str(container["name"]))
        return names
