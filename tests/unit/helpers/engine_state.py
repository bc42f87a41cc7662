"""An engine as it was read, without a host: the pure functions on it need no more."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api, command_line, daemon_json, inspect

INFO: dict[str, t.Any] = {
    "ServerVersion": "28.5.2",
    "OperatingSystem": "Debian GNU/Linux 13 (trixie)",
    "LiveRestoreEnabled": False,
    "Swarm": {"LocalNodeState": "inactive"},
    "ContainersRunning": 1,
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "CgroupDriver": "systemd",
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "Plugins": {"Authorization": None},
}


@dataclasses.dataclass
class Service:
    """A service manager of which nothing is asked but what a plan needs."""

    name: str = "systemd"
    installed: bool = True
    unusable: str = ""
    local_host: str = "fd://"
    socket_path: str = "/run/docker.sock"
    socket_unit_addresses: t.Sequence[str] = ()
    own_drop_ins: tuple[pathlib.Path, ...] = (pathlib.Path("/nonexistent/docker.service.d/bulkhead.conf"),)
    line: command_line.CommandLine = dataclasses.field(
        default_factory=lambda: command_line.CommandLine("docker.service", ("/usr/sbin/dockerd", "-H", "fd://"), {})
    )
    pid: int = 1

    def own_drop_in(self) -> pathlib.Path:
        return self.own_drop_ins[0]

    def command_line(self) -> command_line.CommandLine:
        return self.line

    def exec_program(self, program: str) -> str:
        return program

    def main_pid(self) -> int:
        return self.pid


class Api:
    """A local socket with one answer."""

    path = "/run/docker.sock"

    def __init__(self, answer: t.Any) -> None:
        self.answer = answer

    def get(self, resource: str) -> t.Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def engine(
    content: t.Mapping[str, t.Any] | None = None,
    words: t.Sequence[str] = ("/usr/sbin/dockerd", "-H", "fd://"),
    info: t.Mapping[str, t.Any] | None = None,
    error: str = "",
    running: bool = True,
    **service: t.Any,
) -> inspect.Engine:
    """A running engine; ``info`` is what differs from a usual answer, ``error`` why there is none."""
    line = command_line.CommandLine("docker.service", tuple(words), {})
    answer = {**INFO, **(info or {})}
    return inspect.Engine(
        service=t.cast("t.Any", Service(line=line, **service)),
        api=t.cast("t.Any", Api(answer)),
        state=inspect.State(daemon_json.Managed({}), None, {}),
        dockerd="/usr/sbin/dockerd",
        command_line=line,
        daemon_json=dict(content or {}),
        running=running,
        info=api.Info.of(answer) if running and not error else None,
        info_error=error,
    )
