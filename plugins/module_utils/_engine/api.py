# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker API on the engine's own socket: just what the transaction and its report read.

Whatever answers there is data: an answer of another form is an error like none at all.
"""

from __future__ import annotations

import calendar
import dataclasses
import http.client
import json
import pathlib
import socket
import time
import typing as t
import urllib.parse


class ApiError(Exception):
    """The local socket did not answer as a Docker engine does."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status  # of the HTTP answer, 0 where there was none


_T = t.TypeVar("_T", str, int, bool, list, dict)  # type: ignore[type-arg]


def _value(answer: t.Any, key: str, kind: type[_T]) -> _T:
    """A value of an answer; what is missing or null is empty, which is how Go writes an empty list."""
    value = answer.get(key) if isinstance(answer, dict) else answer
    if value is None and isinstance(answer, dict):
        return kind()
    if not isinstance(value, kind) or not isinstance(answer, dict):
        raise ApiError(f"an answer of the Docker API has something else than Docker writes where {key} belongs")
    # NUL and half a character can stand in JSON, and in no path.
    return value.replace("\0", "?").encode(errors="replace").decode() if isinstance(value, str) else value


@dataclasses.dataclass(frozen=True)
class Info:
    """What the running daemon says of itself in /info."""

    version: str
    system: str
    live_restore: bool
    swarm: str
    containers_running: int
    data_root: str
    storage_driver: str
    containerd_images: bool  # whether images and containers are kept by containerd's snapshotter
    cgroup_driver: str
    userns_remap: bool
    authorization_plugins: tuple[str, ...]

    @classmethod
    def of(cls, answer: t.Any) -> Info:
        status = [entry for entry in _value(answer, "DriverStatus", list) if isinstance(entry, list)]
        plugins = _value(_value(answer, "Plugins", dict), "Authorization", list)
        return cls(
            version=_value(answer, "ServerVersion", str),
            system=_value(answer, "OperatingSystem", str),
            live_restore=_value(answer, "LiveRestoreEnabled", bool),
            swarm=_value(_value(answer, "Swarm", dict), "LocalNodeState", str) or "inactive",
            containers_running=_value(answer, "ContainersRunning", int),
            data_root=_value(answer, "DockerRootDir", str),
            storage_driver=_value(answer, "Driver", str),
            containerd_images=["driver-type", "io.containerd.snapshotter.v1"] in status,
            cgroup_driver=_value(answer, "CgroupDriver", str),
            userns_remap=any(
                "name=userns" in str(option).split(",") for option in _value(answer, "SecurityOptions", list)
            ),
            authorization_plugins=tuple(_value({"plugin": plugin}, "plugin", str) for plugin in plugins),
        )


@dataclasses.dataclass(frozen=True)
class _Container:
    """A container, as far as it tells whether a restart has ended it."""

    id: str
    name: str
    running: bool
    pid: int
    exit_code: int
    restarts_itself: bool  # its PID changes without anybody's doing

    @classmethod
    def of(cls, name: str, answer: t.Any) -> _Container:
        state = _value(answer, "State", dict)
        return cls(
            id=name,
            name=_value(answer, "Name", str).lstrip("/"),
            running=_value(state, "Running", bool),
            pid=_value(state, "Pid", int),
            exit_code=_value(state, "ExitCode", int),
            restarts_itself=_value(state, "Restarting", bool)
            or (_value(answer, "RestartCount", int) > 0 and _just_started(_value(state, "StartedAt", str))),
        )


def _just_started(started: str) -> bool:
    """Whether a restart policy may be at work: Docker waits at most a minute between two starts."""
    try:
        return time.time() - calendar.timegm(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S")) < 120
    except ValueError as error:
        raise ApiError(f"an answer of the Docker API says {started!r} where a time belongs") from error


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
        try:
            content = json.loads(body) if "json" in (answer.getheader("Content-Type") or "") else body.decode()
        except (ValueError, RecursionError) as error:
            raise ApiError(f"{self.path} answers {resource} with what is not JSON", answer.status) from error
        if answer.status != 200:
            said = content.get("message") if isinstance(content, dict) else content if isinstance(content, str) else ""
            words = f": {' '.join(str(said).split())[:300]}" if said else ""
            raise ApiError(f"{self.path} answers {resource} with status {answer.status}{words}", answer.status)
        return content

    def info(self) -> Info:
        return Info.of(self.get("/info"))

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
        return self.info().live_restore

    def running_containers(self) -> list[dict[str, t.Any]]:
        """Id, name and PID of each container that runs; one that keeps ending and being restarted does not."""
        containers = []
        for entry in _value({"containers": self.get("/containers/json")}, "containers", list):
            found = self._inspect(_value(entry, "Id", str))
            if found and found.running and not found.restarts_itself:
                containers.append({"id": found.id, "name": found.name, "pid": found.pid})
        return sorted(containers, key=lambda container: str(container["name"]))

    def _inspect(self, container: str) -> _Container | None:
        try:
            return _Container.of(container, self.get(f"/containers/{urllib.parse.quote(container, safe='')}/json"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

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
            if found.running and found.pid == container["pid"]:
                continue
            if found.running or found.exit_code in (137, 143):
                names.append(str(container["name"]))
        return names
