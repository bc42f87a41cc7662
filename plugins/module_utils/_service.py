# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting, reloading and reading the Docker service: one small back end for systemd, one for service scripts."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _unit

DEFAULT_SOCKET = "/var/run/docker.sock"
_SYSTEMD_PATHS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


class ServiceError(Exception):
    """The service manager refused, with what it said."""


def _run(*command: str, timeout: float = 120) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"'{' '.join(command)}' did not end within {timeout:.0f} s") from error
    except OSError as error:
        raise ServiceError(f"'{command[0]}' could not be started: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ServiceError(
            f"'{' '.join(command)}' ended with code {done.returncode}: {said[0] if said else 'no message'}"
        )
    return done.stdout


class Systemd:
    """docker.service and docker.socket."""

    name = "systemd"
    drop_in_dir = pathlib.Path("/etc/systemd/system/docker.service.d")

    def __init__(self) -> None:
        self._socket = self._show("docker.socket", "LoadState", "ActiveState", "Listen")
        self._service = self._show("docker.service", "LoadState", "FragmentPath", "Requires")

    @staticmethod
    def _show(unit: str, *properties: str) -> dict[str, str]:
        text = _run("systemctl", "show", unit, *(f"--property={name}" for name in properties))
        result: dict[str, str] = {}
        for line in text.splitlines():
            name, _, value = line.partition("=")
            result[name] = f"{result[name]} {value}" if name in result else value
        return result

    @property
    def installed(self) -> bool:
        return self._service.get("LoadState") in ("loaded", "bad-setting", "error")

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

    def own_drop_in(self, recorded: str | None) -> pathlib.Path:
        """Our drop-in's path: bulkhead.conf, or a name that sorts behind a foreign drop-in that sets ExecStart."""
        ours = {"bulkhead.conf", "zzz-bulkhead.conf"} | ({pathlib.Path(recorded).name} if recorded else set())
        rivals = [path for path in self.drop_ins() if path.name not in ours and _unit.sets_exec_start(path)]
        for name in ("bulkhead.conf", "zzz-bulkhead.conf"):
            if all(path.name < name for path in rivals):
                return self.drop_in_dir / name
        raise _unit.UnitError(
            f"{rivals[-1]} sets ExecStart and sorts behind every name that ours can have; "
            "rename it, it was not touched."
        )

    def command_line(self, own: t.Collection[str]) -> _unit.CommandLine:
        fragment = self._service.get("FragmentPath") or ""
        files = [pathlib.Path(fragment)] if fragment else []
        return _unit.read_command_line([*files, *(path for path in self.drop_ins() if str(path) not in own)])

    def main_pid(self) -> int:
        return int(self._show("docker.service", "MainPID").get("MainPID") or 0)

    def reload(self) -> None:
        _run("systemctl", "reload", "docker.service")

    def read_units(self) -> None:
        _run("systemctl", "daemon-reload")

    def restart(self, timeout: float) -> None:
        # Three starts a minute are systemd's limit for this unit; a restart of ours must not meet it.
        subprocess.run(
            ("systemctl", "reset-failed", "docker.service", "docker.socket"), capture_output=True, check=False
        )
        _run("systemctl", "restart", "docker.service", timeout=timeout)

    def log_since(self, start: float) -> list[str]:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start))
        try:
            text = _run(
                "journalctl", "--unit=docker.service", f"--since={since}", "--output=cat", "--no-pager", "--lines=200"
            )
        except ServiceError:
            return []
        return text.splitlines()


class ServiceScript:
    """/etc/init.d/docker, by `service` or OpenRC's `rc-service`; its options come from one file of variables."""

    name = "service"
    local_host = f"unix://{DEFAULT_SOCKET}"
    socket_path = DEFAULT_SOCKET
    socket_unit_addresses: t.ClassVar[list[str]] = []
    _pid_file = pathlib.Path("/var/run/docker.pid")
    _log_file = pathlib.Path("/var/log/docker.log")
    _variables = (pathlib.Path("/etc/default/docker"), pathlib.Path("/etc/conf.d/docker"))

    @property
    def installed(self) -> bool:
        return pathlib.Path("/etc/init.d/docker").exists()

    def own_drop_in(self, recorded: str | None) -> None:
        """A service script has no drop-ins."""

    def command_line(self, own: t.Collection[str]) -> _unit.CommandLine:
        variables: dict[str, tuple[str, str]] = {}
        for path in self._variables:
            variables.update(_unit.read_variables(path))
        names = ("$DOCKER_OPTS",) if "DOCKER_OPTS" in variables else ()
        return _unit.CommandLine(source="/etc/init.d/docker", words=("dockerd", *names), variables=variables)

    def main_pid(self) -> int:
        try:
            pid = int(self._pid_file.read_text(encoding="ascii").strip())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return 0
        return pid

    def reload(self) -> None:
        pid = self.main_pid()
        if not pid:
            raise ServiceError(f"dockerd does not run (no process for {self._pid_file})")
        os.kill(pid, signal.SIGHUP)

    def read_units(self) -> None:
        """Nothing to read again."""

    def restart(self, timeout: float) -> None:
        script = ("rc-service", "docker", "restart") if shutil.which("rc-service") else ("service", "docker", "restart")
        _run(*script, timeout=timeout)

    def log_since(self, start: float) -> list[str]:
        try:
            return self._log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-60:]
        except OSError:
            return []


Service = t.Union[Systemd, ServiceScript]


def service() -> Service:
    """The back end of this host."""
    return Systemd() if pathlib.Path("/run/systemd/system").is_dir() else ServiceScript()
