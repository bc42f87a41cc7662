# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker API on the engine's own socket: just what the transaction and its report read."""

from __future__ import annotations

import calendar
import http.client
import json
import pathlib
import socket
import time
import typing as t


class ApiError(Exception):
    """The local socket did not answer as a Docker engine does."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status  # of the HTTP answer, 0 where there was none


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
            raise ApiError(f"{self.path} answers {resource} with status {answer.status}", answer.status)
        return json.loads(body) if "json" in (answer.getheader("Content-Type") or "") else body.decode()

    def answers(self) -> bool:
        try:
            return bool(self.get("/_ping") == "OK")
        except ApiError:
            return False

    def wait(self, seconds: float, alive: t.Callable[[], t.Any] = lambda: True, patience: float = 5) -> bool:
        """Whether it answers within that time; gives up when the daemon's process is gone for ``patience`` seconds."""
        end = time.monotonic() + seconds
        seen = time.monotonic()
        while not self.answers():
            now = time.monotonic()
            if alive():
                seen = now
            if now > end or now - seen > patience:
                return False
            time.sleep(0.05)
        return True

    def live_restore(self) -> bool:
        return bool(self.get("/info").get("LiveRestoreEnabled"))

    def running_containers(self) -> list[dict[str, t.Any]]:
        """Id, name and PID of each container that runs; one that keeps ending and being restarted does not."""
        containers = []
        for entry in self.get("/containers/json"):
            found = self._inspect(entry["Id"])
            if found and found["State"]["Running"] and not _restarts_itself(found):
                pid = found["State"]["Pid"]
                containers.append({"id": entry["Id"], "name": str(found["Name"]).lstrip("/"), "pid": pid})
        return sorted(containers, key=lambda container: str(container["name"]))

    def _inspect(self, container: str) -> dict[str, t.Any] | None:
        try:
            found: dict[str, t.Any] = self.get(f"/containers/{container}/json")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def lost(self, before: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
        """Names of containers that a restart of the daemon has ended, or that it does not know any more.

        One that is gone with its process (--rm) or came to its own end since is not lost: dockerd ends containers with
        a signal.
        """
        names = []
        for container in before:
            found = self._inspect(container["id"])
            if found is None:
                if pathlib.Path(f"/proc/{container['pid']}").exists():
                    names.append(str(container["name"]))
                continue
            state = found["State"]
            if state["Running"] and state["Pid"] == container["pid"]:
                continue
            if state["Running"] or state["ExitCode"] in (137, 143):
                names.append(str(container["name"]))
        return names


def _restarts_itself(container: t.Mapping[str, t.Any]) -> bool:
    """Whether its restart policy has just started it again: its PID changes without anybody's doing.

    Docker waits at most a minute between two starts.
    """
    if container["State"].get("Restarting"):
        return True
    if not container.get("RestartCount"):
        return False
    started = time.strptime(container["State"]["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S")
    return time.time() - calendar.timegm(started) < 120
