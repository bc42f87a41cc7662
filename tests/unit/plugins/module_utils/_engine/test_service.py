"""The service back ends, with real processes; systemctl is a script that answers and keeps what it was asked."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service

SOCKET = {"LoadState": "loaded", "ActiveState": "active", "Listen": "/run/docker.sock (Stream)"}
SERVICE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "FragmentPath": "/usr/lib/systemd/system/docker.service",
    "Requires": "sysinit.target docker.socket",
    "MainPID": "4711",
}


class Systemctl:
    """A systemctl of its own on the PATH."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        self.write('[ "$1" != show ] || cat "$0-$2"')
        self.units()

    def write(self, lines: str) -> None:
        program = self.folder / "systemctl"
        program.write_text(f'#!/bin/sh\necho "$@" >>"$0.log"\n{lines}\n')
        program.chmod(0o755)

    def units(self, socket: t.Mapping[str, str] = SOCKET, service: t.Mapping[str, str] = SERVICE) -> None:
        for name, properties in (("docker.socket", socket), ("docker.service", service)):
            text = "".join(f"{key}={value}\n" for key, value in properties.items())
            (self.folder / f"systemctl-{name}").write_text(text)

    def asked(self) -> list[str]:
        log = (self.folder / "systemctl.log").read_text().splitlines()
        return [line for line in log if not line.startswith("show ")]


@pytest.fixture
def systemctl(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    return Systemctl(tmp_path, monkeypatch)


def test_a_daemon_that_gets_its_socket_from_systemd(systemctl: Systemctl) -> None:
    systemd = _service.Systemd()
    assert systemd.installed
    assert systemd.uses_socket_unit
    assert (systemd.local_host, systemd.socket_path) == ("fd://", "/run/docker.sock")
    assert systemd.socket_unit_addresses == []
    assert systemd.main_pid() == 4711


def test_a_daemon_that_opens_its_own_socket(systemctl: Systemctl) -> None:
    systemctl.units({"LoadState": "not-found", "ActiveState": "inactive"}, {**SERVICE, "Requires": "sysinit.target"})
    systemd = _service.Systemd()
    assert not systemd.uses_socket_unit
    assert (systemd.local_host, systemd.socket_path) == ("unix:///var/run/docker.sock", "/var/run/docker.sock")


def test_a_host_without_docker(systemctl: Systemctl) -> None:
    systemctl.units({"LoadState": "not-found"}, {"LoadState": "not-found", "MainPID": "0"})
    systemd = _service.Systemd()
    assert not systemd.installed
    assert systemd.main_pid() == 0


def test_network_addresses_of_the_socket_unit(systemctl: Systemctl) -> None:
    listen = "/run/docker.sock (Stream)\nListen=0.0.0.0:2375 (Stream)\nListen=[::]:2375 (Stream)\nListen=@x (Stream)"
    systemctl.units({**SOCKET, "Listen": listen})
    systemd = _service.Systemd()
    assert systemd.socket_unit_addresses == ["0.0.0.0:2375", "[::]:2375"]
    assert systemd.socket_path == "/run/docker.sock"


def test_drop_ins_in_the_order_of_systemd(
    systemctl: Systemctl, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, lib = tmp_path / "etc", tmp_path / "lib"
    monkeypatch.setattr(_service, "_SYSTEMD_PATHS", (str(etc), str(lib)))
    files = [
        lib / "docker.service.d" / "10-vendor.conf",
        etc / "docker.service.d" / "20-own.conf",
        lib / "docker.service.d" / "20-own.conf",
        lib / "service.d" / "15-all.conf",
        etc / "docker.service.d" / "notes.txt",
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert _service.Systemd().drop_ins() == [files[0], files[3], files[1]]


@pytest.mark.parametrize("taken_away", [False, True])
def test_a_restart_meets_no_start_limit_and_brings_a_lost_socket_back(
    systemctl: Systemctl, tmp_path: pathlib.Path, taken_away: bool
) -> None:
    path = tmp_path / "docker.sock"
    systemctl.units({**SOCKET, "Listen": f"{path} (Stream)"})
    if not taken_away:
        path.touch()
    _service.Systemd().restart(10)
    assert systemctl.asked() == [
        "reset-failed docker.service docker.socket",
        "stop docker.service",
        *(["restart docker.socket"] if taken_away else []),
        "start docker.service",
    ]


def test_reload_and_new_unit_files(systemctl: Systemctl) -> None:
    systemd = _service.Systemd()
    systemd.reload()
    systemd.read_units()
    assert systemctl.asked() == ["reload docker.service", "daemon-reload"]


def test_what_systemd_says_when_it_refuses(systemctl: Systemctl) -> None:
    systemd = _service.Systemd()
    systemctl.write("echo Trying.; echo 'Job for docker.service failed.' >&2; echo 'See more.' >&2; exit 3")
    with pytest.raises(_service.ServiceError) as error:
        systemd.restart(10)
    assert str(error.value) == ("'systemctl stop docker.service' ended with code 3: Job for docker.service failed.")


def test_a_restart_that_does_not_end(systemctl: Systemctl) -> None:
    systemd = _service.Systemd()
    systemctl.write('[ "$1" != stop ] || exec sleep 20')
    start = time.monotonic()
    with pytest.raises(_service.ServiceError, match=r"'systemctl stop docker\.service' did not end within 1 s"):
        systemd.restart(1)
    assert time.monotonic() - start < 10


def test_no_systemctl_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(_service.ServiceError, match="'systemctl' could not be started: No such file"):
        _service.Systemd()


@pytest.fixture
def script(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> _service.ServiceScript:
    monkeypatch.setattr(_service.ServiceScript, "_pid_file", tmp_path / "docker.pid")
    monkeypatch.setattr(_service.ServiceScript, "_log_file", tmp_path / "docker.log")
    return _service.ServiceScript()


def test_the_process_of_a_service_script(script: _service.ServiceScript, tmp_path: pathlib.Path) -> None:
    assert script.main_pid() == 0
    with subprocess.Popen(["sleep", "20"]) as daemon:
        (tmp_path / "docker.pid").write_text(f"{daemon.pid}\n")
        assert script.main_pid() == daemon.pid
        daemon.kill()
    assert script.main_pid() == 0  # the file is still there, the process is not
    (tmp_path / "docker.pid").write_text("")
    assert script.main_pid() == 0


def test_reload_is_a_hangup(script: _service.ServiceScript, tmp_path: pathlib.Path) -> None:
    program = (
        "import signal,sys\nsignal.signal(signal.SIGHUP, lambda *_: sys.exit(7))\nprint(flush=True)\nsignal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout
        daemon.stdout.readline()
        (tmp_path / "docker.pid").write_text(str(daemon.pid))
        script.reload()
        try:
            assert daemon.wait(10) == 7
        finally:
            daemon.send_signal(signal.SIGKILL)


def test_reload_of_a_daemon_that_does_not_run(script: _service.ServiceScript) -> None:
    with pytest.raises(_service.ServiceError, match="dockerd does not run"):
        script.reload()


def test_the_log_of_a_service_script(script: _service.ServiceScript, tmp_path: pathlib.Path) -> None:
    assert script.log_since(0) == []
    (tmp_path / "docker.log").write_bytes(b"level=error\nnot \xff UTF-8\n")
    assert script.log_since(0) == ["level=error", "not \ufffd UTF-8"]


def test_the_back_end_of_this_host() -> None:
    expected = "systemd" if pathlib.Path("/run/systemd/system").is_dir() else "service"
    assert _service.service().name == expected
