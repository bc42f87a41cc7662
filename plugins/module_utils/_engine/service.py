# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting, reloading and reading the Docker service: one small back end for systemd, one for service scripts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line as _command_line

DEFAULT_SOCKET = "/var/run/docker.sock"
_SYSTEMD_PATHS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


# systemd's own, in its order; a name without a path is looked up there.
_PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What follows docker.service when it is stopped or restarted. The last one exists since systemd 249.
_FOLLOWERS = ("RequiredBy", "BoundBy", "ConsistsOf", "PropagatesStopTo")
# States from which a unit comes by itself.
_MOVING = ("activating", "deactivating")
# docker.service alone, without what follows it; systemd calls it a job mode.
_ALONE = "--job-mode=ignore-requirements"
# Commands of the Docker CLI that run for as long as a container does.
_ATTACHED = {"run", "start", "attach", "up", "wait"}
_CLIENTS = {"docker", "docker-compose"}


class ServiceError(Exception):
    """The service manager refused, with what it said."""


class ServiceTimeoutError(ServiceError):
    """It did not answer in time."""


def _run(*command: str, timeout: float = 120) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceTimeoutError(f"'{' '.join(command)}' did not end within {timeout:.0f} s") from error
    except OSError as error:
        raise ServiceError(f"'{command[0]}' could not be started: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ServiceError(
            f"'{' '.join(command)}' ended with code {done.returncode}: {said[0] if said else 'no message'}"
        )
    return done.stdout


def _process(pid: int) -> str:
    """What tells a process from every other one, also after a reboot; '' where there is none."""
    try:
        started = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot()} {pid} {started}"


@dataclasses.dataclass(frozen=True)
class _Program:
    """A process of this host, and the service that it belongs to."""

    pid: int
    parent: int
    words: tuple[str, ...]
    unit: str  # '' where it is in none, as those in containers are

    @property
    def is_attached_client(self) -> bool:
        """Whether it is a Docker CLI, or a shell's or Python's, that ends when dockerd does."""
        names = {pathlib.Path(word).name for word in self.words[:2]}
        return bool(_CLIENTS & names) and bool(_ATTACHED & set(self.words))


def _programs() -> t.Iterator[_Program]:
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            units = re.findall(r"/([^/\n]+\.service)(?=[/\n])", (process / "cgroup").read_text(encoding="utf-8"))
            parent = int((process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
        yield _Program(int(process.name), parent, tuple(words), units[-1] if units else "")


def _seconds(text: str) -> float:
    """A span of time as systemd prints it, such as 1min 30s; 0 where it has no end."""
    units = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
    return sum(float(number) * units.get(unit, 0) for number, unit in re.findall(r"([\d.]+)([a-z]+)", text))


def boot() -> str:
    """The id of this boot of the host."""
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Systemd:
    """docker.service and docker.socket."""

    name = "systemd"
    drop_in_dir = pathlib.Path("/etc/systemd/system/docker.service.d")
    # The second one is for engines where a foreign drop-in that sets ExecStart sorts behind the first one.
    own_drop_ins = (drop_in_dir / "bulkhead.conf", drop_in_dir / "zzz-bulkhead.conf")
    _hold = pathlib.Path("/run/systemd/system/docker.service.d/zzz-bulkhead-hold.conf")

    def __init__(self) -> None:
        properties = ("LoadState", "ActiveState", "FragmentPath", "Requires", "KillMode", "TimeoutStartUSec", "Listen")
        self._service, self._socket = self._show_each(("docker.service", "docker.socket"), *properties, *_FOLLOWERS)

    @staticmethod
    def _show_each(units: t.Sequence[str], *properties: str) -> list[dict[str, str]]:
        """What systemd says of each unit, in their order, which an empty line is between."""
        text = _run("systemctl", "show", *units, *(f"--property={name}" for name in properties))
        found: list[dict[str, str]] = [{} for unit in units]
        for result, block in zip(found, text.split("\n\n")):
            for line in block.splitlines():
                name, _, value = line.partition("=")
                result[name] = f"{result[name]} {value}" if name in result else value
        return found

    def _show(self, unit: str, *properties: str) -> dict[str, str]:
        return self._show_each((unit,), *properties)[0]

    @property
    def installed(self) -> bool:
        return self._service.get("LoadState") not in (None, "", "not-found")

    @property
    def unusable(self) -> str:
        """Why systemd would not start dockerd, whatever its configuration; '' where it would."""
        for unit, state in (("docker.service", self._service), ("docker.socket", self._socket)):
            needed = unit == "docker.service" or "docker.socket" in self._service.get("Requires", "").split()
            if state.get("LoadState") == "masked" and needed:
                return (
                    f"{unit} is masked, so that systemd would not start dockerd again; run 'systemctl unmask {unit}'."
                )
        return ""

    @property
    def uses_socket_unit(self) -> bool:
        """Whether docker.socket hands the local socket to dockerd (host fd://)."""
        return self._socket.get("LoadState") == "loaded" and (
            self._socket.get("ActiveState") == "active" or "docker.socket" in self._service.get("Requires", "").split()
        )

    @property
    def local_host(self) -> str:
        return "fd://" if self.uses_socket_unit else f"unix://{DEFAULT_SOCKET}"

    @property
    def socket_path(self) -> str:
        paths = [word for word in self._socket.get("Listen", "").split() if word.startswith("/")]
        return paths[0] if self.uses_socket_unit and paths else DEFAULT_SOCKET

    @property
    def socket_unit_addresses(self) -> list[str]:
        """Network addresses that docker.socket opens; dockerd serves them with or without TLS."""
        return [
            a for a in re.findall(r"(\S+) \(Stream\)", self._socket.get("Listen", "")) if not a.startswith(("/", "@"))
        ]

    def drop_ins(self) -> list[pathlib.Path]:
        """All drop-ins in the order in which systemd reads them; of one name, the first path wins."""
        found: dict[str, pathlib.Path] = {}
        for folder in ("docker.service.d", "service.d"):
            for base in _SYSTEMD_PATHS:
                for path in sorted(pathlib.Path(base, folder).glob("*.conf")):
                    found.setdefault(path.name, path)
        return [found[name] for name in sorted(found)]

    def own_drop_in(self) -> pathlib.Path:
        """Our drop-in's path: the first of our names that sorts behind every foreign drop-in that sets ExecStart."""
        rivals = [
            path for path in self.drop_ins() if path not in self.own_drop_ins and _command_line.sets_exec_start(path)
        ]
        for own in self.own_drop_ins:
            if all(path.name < own.name for path in rivals):
                return own
        raise _command_line.UnitError(
            f"{rivals[-1]} sets ExecStart and sorts behind every name that ours can have; "
            "rename it, it was not touched."
        )

    def command_line(self) -> _command_line.CommandLine:
        """What would be started if our drop-in were not there."""
        fragment = self._service.get("FragmentPath") or ""
        files = [pathlib.Path(fragment)] if fragment else []
        return _command_line.read_command_line(
            [*files, *(path for path in self.drop_ins() if path not in self.own_drop_ins)]
        )

    def main_pid(self, unit: str = "docker.service") -> int:
        return int(self._show(unit, "MainPID").get("MainPID") or 0)

    def process(self) -> str:
        return _process(self.main_pid())

    def running_units(self) -> list[str]:
        units = (("docker.service", self._service), ("docker.socket", self._socket))
        return [name for name, state in units if state.get("ActiveState") in ("active", "activating", "reloading")]

    def exec_program(self, program: str) -> str:
        """How a drop-in names a program: without its path where systemd finds it, as another package may move it."""
        name = pathlib.Path(program).name
        if os.path.realpath(shutil.which(name, path=_PROGRAM_PATH) or "") != os.path.realpath(program):
            return program
        version = re.search(r"\d+", _run("systemctl", "show", "--property=Version"))
        return name if version and int(version[0]) >= 240 else program

    def reload(self) -> None:
        """A hangup is dockerd's own signal for it; a unit need not have an ExecReload."""
        _hang_up(self.main_pid())

    def read_units(self) -> None:
        _run("systemctl", "daemon-reload")

    def restart(self, timeout: float) -> None:
        """Restart dockerd, and nothing that requires it: what follows docker.service would end its containers."""
        limit = max(timeout, _seconds(self._service.get("TimeoutStartUSec", "")))
        # Three starts a minute are systemd's limit for this unit; a restart of ours must not meet it.
        self._forget_failures()
        try:
            if self._show("docker.service", "ActiveState").get("ActiveState") in ("inactive", "failed"):
                _run("systemctl", "start", "docker.service", timeout=limit)
            else:
                socket = ["docker.socket"] if self._socket_is_lost() else []
                _run("systemctl", "restart", _ALONE, "docker.service", *socket, timeout=limit)
        except ServiceTimeoutError as error:
            state = self._show("docker.service", "ActiveState").get("ActiveState")
            raise ServiceError(
                f"dockerd did not restart within {limit:.0f} s (systemd says that it is {state}; more time is "
                "docker_engine_restart_timeout)"
            ) from error

    def hold(self) -> None:
        """Keep systemd from starting a dockerd that fails again by itself, which takes along what follows it.

        It waits instead, as for its next try.
        """
        _files.make_folder(self._hold.parent)
        _files.write(self._hold, b"[Service]\nRestart=on-failure\nRestartSec=1h\n", 0o644)

    def release(self) -> None:
        """Take that back."""
        if self._hold.exists():
            self._hold.unlink()
            _files.remove_if_empty(self._hold.parent)
            self.read_units()

    def _socket_is_lost(self) -> bool:
        """Whether docker.socket is stopped, or a dockerd with a unix:// host took its place: that removes its path."""
        active = self._socket.get("ActiveState") == "active"
        return self.uses_socket_unit and not (active and _listeners(self.socket_path) == 1)

    @property
    def keeps_socket(self) -> bool:
        """Whether containers that have mounted the local socket still reach dockerd through it after a restart."""
        return self.uses_socket_unit and not self._socket_is_lost()

    def restart_conflicts(self) -> list[str]:
        """What a restart would end, although live-restore keeps containers; one sentence each."""
        found = []
        units = self._attached_units()
        if units:
            found.append(
                f"{', '.join(units)} {'run' if len(units) > 1 else 'runs'} a container in the foreground of a docker "
                "command, which ends with every restart of dockerd, and takes the container along"
            )
        kills = self._service.get("KillMode", "process") not in ("process", "none")
        if kills and any(
            each.unit == "docker.service" and pathlib.Path(each.words[0]).name.startswith("containerd-shim")
            for each in _programs()
        ):
            found.append(
                f"docker.service has KillMode={self._service['KillMode']} and the containers' own processes in it, so "
                "that systemd ends them together with dockerd"
            )
        return found

    def followers(self) -> list[str]:
        """Units that a restart may take down: those that follow docker.service, and those with a docker command."""
        names = {name for key in _FOLLOWERS for name in self._service.get(key, "").split()} - {"docker.socket"}
        names.update(self._attached_units())
        return sorted(name for name in names if self._show(name, "ActiveState").get("ActiveState") == "active")

    def _attached_units(self) -> list[str]:
        """Services that are a Docker CLI, or a script around one. What cron or sshd has started is none of them."""
        clients = [each for each in _programs() if each.unit and each.is_attached_client]
        return sorted({each.unit for each in clients if self.main_pid(each.unit) in (each.pid, each.parent)})

    @staticmethod
    def start_again(units: t.Sequence[str]) -> None:
        """Start what does not run any more; what does stays as it is, and what cannot be started is its own matter."""
        if units:
            subprocess.run(("systemctl", "start", "--no-block", *units), capture_output=True, check=False)

    def not_active(self, units: t.Sequence[str], timeout: float) -> dict[str, str]:
        """What systemd says of those units that do not run; what is being started or stopped gets this long."""
        end = time.monotonic() + timeout
        while True:
            found = {unit: self._show(unit, "ActiveState", "Job") for unit in units}
            # A job that has only been queued shows in no state yet.
            moves = any(each.get("Job") or each.get("ActiveState") in _MOVING for each in found.values())
            if not moves or time.monotonic() > end:
                states = {unit: each.get("ActiveState", "unknown") for unit, each in found.items()}
                return {unit: state for unit, state in states.items() if state not in ("active", "reloading")}
            time.sleep(0.2)

    def stop(self, running_before: t.Collection[str]) -> None:
        """Stop what did not run before."""
        units = [unit for unit in ("docker.service", "docker.socket") if unit not in running_before]
        if units:
            _run("systemctl", "stop", *units)
            self._forget_failures()

    @staticmethod
    def _forget_failures() -> None:
        subprocess.run(
            ("systemctl", "reset-failed", "docker.service", "docker.socket"), capture_output=True, check=False
        )

    def log_mark(self) -> float:
        return time.time()

    def log_since(self, mark: float) -> list[str]:
        """What dockerd itself has said since, or else what systemd has said about it."""
        with contextlib.suppress(ServiceError):
            _run("journalctl", "--sync")  # the last words of a dockerd that has ended may still be on their way
        try:
            text = _run(
                "journalctl",
                "--unit=docker.service",
                f"--since=@{int(mark)}",
                "--output=short-unix",
                "--no-pager",
                "--quiet",
                "--lines=500",
            )
        except ServiceError:
            return []
        entries = [re.match(r"([\d.]+) \S+ ([^\s:[]+)[^:]*: (.*)", line) for line in text.splitlines()]
        lines = [(entry[2], entry[3]) for entry in entries if entry and float(entry[1]) >= mark]
        return [line for who, line in lines if who == "dockerd"] or [line for _, line in lines]


def _listeners(path: str) -> int:
    """How many sockets listen under this path, whoever holds them; one that has lost its file counts, too."""
    real = os.path.realpath(path)
    lines = pathlib.Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    fields = [line.split(maxsplit=7) for line in lines]
    listening = [each[7] for each in fields if len(each) == 8 and each[3] == "00010000"]
    return sum(each.startswith("/") and os.path.realpath(each) == real for each in listening)


def _hang_up(pid: int) -> None:
    if not pid:
        raise ServiceError("dockerd does not run")
    os.kill(pid, signal.SIGHUP)


class ServiceScript:
    """/etc/init.d/docker, by `service` or OpenRC's `rc-service`; its options come from one file of variables."""

    name = "service"
    local_host = f"unix://{DEFAULT_SOCKET}"
    socket_path = DEFAULT_SOCKET
    socket_unit_addresses: t.ClassVar[list[str]] = []
    own_drop_ins: t.ClassVar[tuple[pathlib.Path, ...]] = ()  # a service script has none
    unusable = ""
    keeps_socket = False  # dockerd makes its socket anew whenever it starts
    _pid_file = pathlib.Path("/var/run/docker.pid")
    _log_file = pathlib.Path("/var/log/docker.log")
    _variables = (pathlib.Path("/etc/default/docker"), pathlib.Path("/etc/conf.d/docker"))

    @property
    def installed(self) -> bool:
        return pathlib.Path("/etc/init.d/docker").exists()

    def own_drop_in(self) -> None:
        """A service script has no drop-ins."""

    def command_line(self) -> _command_line.CommandLine:
        variables: dict[str, tuple[str, str]] = {}
        for path in self._variables:
            variables.update(_command_line.read_variables(path, exported=True))
        names = [f"${name}" for name in ("DOCKER_OPTS", "DOCKERD_OPTS") if name in variables]
        return _command_line.CommandLine(source="/etc/init.d/docker", words=("dockerd", *names), variables=variables)

    def main_pid(self) -> int:
        try:
            pid = int(self._pid_file.read_text(encoding="ascii").strip())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return 0
        return pid

    def process(self) -> str:
        return _process(self.main_pid())

    def running_units(self) -> list[str]:
        return ["docker"] if self.main_pid() else []

    @staticmethod
    def exec_program(program: str) -> str:
        return program

    def hold(self) -> None:
        """Nobody starts a dockerd again that has failed."""

    def release(self) -> None:
        """Nothing is held."""

    @staticmethod
    def restart_conflicts() -> list[str]:
        """None: a script supervises no other services."""
        return []

    @staticmethod
    def followers() -> list[str]:
        return []

    @staticmethod
    def start_again(units: t.Sequence[str]) -> None:
        """Nothing follows a script."""

    @staticmethod
    def not_active(units: t.Sequence[str], timeout: float) -> dict[str, str]:
        return {}

    def reload(self) -> None:
        _hang_up(self.main_pid())

    def read_units(self) -> None:
        """Nothing to read again."""

    def restart(self, timeout: float) -> None:
        """Stop and start: scripts' own restart goes on, and says nothing, where dockerd takes long to end."""
        self._stop(timeout)
        _run(*self._script("start"), timeout=timeout)

    def stop(self, running_before: t.Collection[str]) -> None:
        if not running_before:
            self._stop(60)

    def _stop(self, timeout: float) -> None:
        process, end = self.process(), time.monotonic() + timeout
        with contextlib.suppress(ServiceError):  # it complains about a daemon that does not run
            _run(*self._script("stop"), timeout=timeout)
        while process and self.process() == process:
            if time.monotonic() > end:
                raise ServiceError(
                    f"dockerd did not end within {timeout:.0f} s (more time is docker_engine_restart_timeout)"
                )
            time.sleep(0.1)

    @staticmethod
    def _script(action: str) -> tuple[str, ...]:
        return ("rc-service", "docker", action) if shutil.which("rc-service") else ("service", "docker", action)

    def log_mark(self) -> float:
        try:
            return self._log_file.stat().st_size
        except OSError:
            return 0

    def log_since(self, mark: float) -> list[str]:
        try:
            with self._log_file.open("rb") as file:
                file.seek(int(mark))
                return file.read().decode("utf-8", "replace").splitlines()[-500:]
        except OSError:
            return []


Service = t.Union[Systemd, ServiceScript]


def service() -> Service:
    """The back end of this host."""
    return Systemd() if pathlib.Path("/run/systemd/system").is_dir() else ServiceScript()
