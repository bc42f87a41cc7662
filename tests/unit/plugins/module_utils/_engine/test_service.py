"""The service back ends, with real processes; systemctl is a script that answers and keeps what it was asked."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import types
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
        self.write(
            '[ "$1" = show ] || exit 0; shift; between=\n'
            'for unit in "$@"; do case $unit in --*) break ;; esac\n'
            '$between; cat "$0-$unit" || exit 1; between=echo; done'
        )
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


RESTART = "restart --job-mode=ignore-requirements docker.service"


@pytest.mark.parametrize(
    ("state", "listeners", "asked"),
    [
        ("active", 1, [RESTART]),
        ("active", 2, [f"{RESTART} docker.socket"]),  # a dockerd with a unix:// host of that path
        ("inactive", 1, [f"{RESTART} docker.socket"]),
        ("active", 0, [f"{RESTART} docker.socket"]),
    ],
)
def test_a_restart_leaves_alone_what_follows_docker_and_its_socket_if_that_is_in_place(
    systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch, state: str, listeners: int, asked: list[str]
) -> None:
    """B01, B17."""
    monkeypatch.setattr(_service, "_listeners", lambda _: listeners)
    systemctl.units({**SOCKET, "ActiveState": state})
    systemd = _service.Systemd()
    assert systemd.keeps_socket == (asked == [RESTART])
    systemd.restart(10)
    assert systemctl.asked() == ["reset-failed docker.service docker.socket", *asked]


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_daemon_that_is_stopped_is_started_with_what_it_requires(systemctl: Systemctl, state: str) -> None:
    systemctl.units(SOCKET, {**SERVICE, "ActiveState": state})
    _service.Systemd().restart(10)
    assert systemctl.asked() == ["reset-failed docker.service docker.socket", "start docker.service"]


def test_a_daemon_that_fails_is_not_started_again_by_systemd_while_it_is_held(
    systemctl: Systemctl, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = tmp_path / "docker.service.d" / "zzz-bulkhead-hold.conf"
    monkeypatch.setattr(_service.Systemd, "_hold", hold)
    systemd = _service.Systemd()
    systemd.release()
    assert systemctl.asked() == []
    systemd.hold()
    assert "RestartSec=1h" in hold.read_text()
    systemd.release()
    assert not hold.parent.exists()
    assert systemctl.asked() == ["daemon-reload"]


def test_the_listeners_of_a_socket(tmp_path: pathlib.Path) -> None:
    path, other = tmp_path / "docker.sock", tmp_path / "link"
    other.symlink_to(tmp_path)
    assert _service._listeners(str(path)) == 0
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(path))
        first.listen()
        assert _service._listeners(str(path)) == 1
        path.unlink()
        second.bind(str(other / "docker.sock"))
        second.listen()
        assert _service._listeners(str(path)) == 2


def test_new_unit_files(systemctl: Systemctl) -> None:
    _service.Systemd().read_units()
    assert systemctl.asked() == ["daemon-reload"]


def test_what_systemd_says_when_it_refuses(systemctl: Systemctl) -> None:
    systemd = _service.Systemd()
    systemctl.write("echo Trying.; echo 'Job for docker.service failed.' >&2; echo 'See more.' >&2; exit 3")
    with pytest.raises(_service.ServiceError) as error:
        systemd.read_units()
    assert str(error.value) == "'systemctl daemon-reload' ended with code 3: Job for docker.service failed."


@pytest.mark.parametrize(("own_limit", "limit"), [("infinity", 7), ("1min 30s", 90), ("2s", 7)])
def test_a_restart_that_does_not_end(
    systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch, own_limit: str, limit: int
) -> None:
    systemctl.units(SOCKET, {**SERVICE, "ActiveState": "activating", "TimeoutStartUSec": own_limit})
    systemd, real = _service.Systemd(), subprocess.run

    def run(command: tuple[str, ...], timeout: float | None = None, **how: t.Any) -> t.Any:
        if command[1] == "restart":
            raise subprocess.TimeoutExpired(command, timeout or 0)
        return real(command, **how)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(_service.ServiceError) as error:
        systemd.restart(7)
    assert str(error.value) == (
        f"dockerd did not restart within {limit} s (systemd says that it is activating; more time is "
        "docker_engine_restart_timeout)"
    )


PROGRAMS = {
    "a service": ("docker run --name worker image", "worker.service"),
    "a shell of a service": ("/bin/sh /usr/bin/docker-compose up", "shop.service"),
    "one that ends by itself": ("docker ps", "audit.service"),
    "somebody at a terminal": ("docker run -it image", ""),
    "somebody over SSH": ("docker run -it image", "ssh.service"),
    "a shim": ("/usr/bin/containerd-shim-runc-v2 -namespace moby", "docker.service"),
}


@pytest.fixture
def programs(systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the programs that run; every test adds its own."""
    names: list[str] = []
    found = {name: _service._Program(20, 19, tuple(line.split()), unit) for name, (line, unit) in PROGRAMS.items()}
    for unit, pid in {"worker": 20, "shop": 19, "ssh": 3, "audit": 20}.items():
        (systemctl.folder / f"systemctl-{unit}.service").write_text(f"MainPID={pid}\nActiveState=active\n")
    monkeypatch.setattr(_service, "_programs", lambda: iter([found[name] for name in names]))
    return names


@pytest.mark.parametrize(
    ("runs", "kill_mode", "says"),
    [
        (["one that ends by itself", "somebody at a terminal", "somebody over SSH", "a shim"], "process", []),
        (["a service"], "process", ["worker.service runs a container in the foreground of a docker command"]),
        (
            ["a service", "a shell of a service"],
            "process",
            ["shop.service, worker.service run a container in the foreground of a docker command"],
        ),
        (["a shim"], "control-group", ["docker.service has KillMode=control-group and the containers' own processes"]),
        (["a shim"], "mixed", ["docker.service has KillMode=mixed and the containers' own processes"]),
        ([], "mixed", []),
    ],
)
def test_what_a_restart_would_end(
    systemctl: Systemctl, programs: list[str], runs: list[str], kill_mode: str, says: list[str]
) -> None:
    """B01."""
    systemctl.units(SOCKET, {**SERVICE, "KillMode": kill_mode})
    programs += runs
    found = _service.Systemd().restart_conflicts()
    assert [len(found), *(sentence.startswith(words) for sentence, words in zip(found, says))] == [
        len(says),
        *map(bool, says),
    ]


def test_what_a_restart_may_take_down_is_started_again(systemctl: Systemctl, programs: list[str]) -> None:
    """B01."""
    systemctl.units(
        SOCKET, {**SERVICE, "RequiredBy": "shop.service gone.service docker.socket", "BoundBy": "bound.service"}
    )
    for name, state in (("shop", "active"), ("gone", "inactive"), ("bound", "active")):
        (systemctl.folder / f"systemctl-{name}.service").write_text(f"ActiveState={state}\n")
    programs.append("a service")
    systemd = _service.Systemd()
    assert systemd.followers() == ["bound.service", "shop.service", "worker.service"]
    systemd.start_again([])
    systemd.start_again(["shop.service"])
    assert systemctl.asked() == ["start --no-block shop.service"]


def test_units_that_do_not_run_after_they_had_time_to_start(
    systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl.write('cat "$0-$2"; [ "$1" = show ] && [ -e "$0-$2-next" ] && mv "$0-$2-next" "$0-$2"; true')
    for name, *answers in (
        ("shop", "ActiveState=active"),
        ("bound", "ActiveState=failed\nJob=7", "ActiveState=failed"),  # queued, then tried in vain
        ("part", "ActiveState=activating", "ActiveState=active"),
        ("gone", "ActiveState=inactive"),
    ):
        for answer, file in zip(answers, (f"systemctl-{name}.service", f"systemctl-{name}.service-next")):
            (systemctl.folder / file).write_text(f"{answer}\n")
    monkeypatch.setattr(_service, "time", types.SimpleNamespace(monotonic=lambda: 0, sleep=lambda _: None))
    systemd = _service.Systemd()
    assert systemd.not_active([f"{name}.service" for name in ("shop", "bound", "part", "gone")], 60) == {
        "bound.service": "failed",
        "gone.service": "inactive",
    }
    assert systemd.not_active([], 60) == {}


def test_a_unit_that_never_comes_to_rest_is_named_in_the_end(
    systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    (systemctl.folder / "systemctl-shop.service").write_text("ActiveState=activating\n")
    clock = [0.0]
    fake = types.SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda _: clock.__setitem__(0, clock[0] + 20))
    monkeypatch.setattr(_service, "time", fake)
    assert _service.Systemd().not_active(["shop.service"], 30) == {"shop.service": "activating"}
    assert clock[0] == 40


def test_the_last_words_of_dockerd_are_waited_for(systemctl: Systemctl) -> None:
    """The journal writes them only when it is told to, as under load."""
    journalctl = systemctl.folder / "journalctl"
    said = [
        "90.5 host dockerd[7]: from the time before",
        "100.5 host systemd[1]: docker.service: Failed with result 'exit-code'.",
        "100.2 host dockerd[8]: failed to start daemon: no such directory",
    ]
    (systemctl.folder / "said").write_text("\n".join(said))
    journalctl.write_text('#!/bin/sh\ncd "${0%/*}"\n[ "$1" = --sync ] && mv said written; cat written\n')
    journalctl.chmod(0o755)
    assert _service.Systemd().log_since(100.0) == ["failed to start daemon: no such directory"]


def test_what_systemd_says_counts_where_dockerd_said_nothing(systemctl: Systemctl) -> None:
    journalctl = systemctl.folder / "journalctl"
    journalctl.write_text('#!/bin/sh\n[ "$1" != --sync ] && echo "100.5 host systemd[1]: Failed to start."\n')
    journalctl.chmod(0o755)  # this one cannot be told to write
    assert _service.Systemd().log_since(100.0) == ["Failed to start."]
    journalctl.write_text("#!/bin/sh\nexit 1\n")
    assert _service.Systemd().log_since(100.0) == []


def test_programs_are_found_with_the_service_that_they_belong_to() -> None:
    words = pathlib.Path("/proc/self/cmdline").read_text(encoding="utf-8").split("\0")[:-1]
    own = [each for each in _service._programs() if [*each.words] == words]
    assert own
    assert not any(each.is_attached_client for each in own)


@pytest.mark.parametrize(
    ("program", "version", "named"),
    [
        ("/PATH/dockerd", "Version=252.39", "dockerd"),
        ("/PATH/dockerd", "Version=239", "/PATH/dockerd"),
        ("/opt/docker/dockerd", "Version=252", "/opt/docker/dockerd"),
        ("-/PATH/dockerd", "Version=252", "-/PATH/dockerd"),
    ],
)
def test_a_drop_in_names_no_path_that_another_package_would_move(
    systemctl: Systemctl,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    version: str,
    named: str,
) -> None:
    """B02."""
    (tmp_path / "dockerd").touch(0o755)
    monkeypatch.setattr(_service, "_PROGRAM_PATH", f"/nowhere:{tmp_path}")
    systemd = _service.Systemd()
    systemctl.write(f"echo {version}")
    assert systemd.exec_program(program.replace("/PATH", str(tmp_path))) == named.replace("/PATH", str(tmp_path))


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


@pytest.mark.parametrize("kind", ["systemd", "script"])
def test_reload_is_a_hangup(
    systemctl: Systemctl, script: _service.ServiceScript, tmp_path: pathlib.Path, kind: str
) -> None:
    """Of dockerd itself, so that a unit without ExecReload does not matter."""
    program = (
        "import signal,sys\nsignal.signal(signal.SIGHUP, lambda *_: sys.exit(7))\nprint(flush=True)\nsignal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout
        daemon.stdout.readline()
        systemctl.units(SOCKET, {**SERVICE, "MainPID": str(daemon.pid)})
        (tmp_path / "docker.pid").write_text(str(daemon.pid))
        (_service.Systemd() if kind == "systemd" else script).reload()
        try:
            assert daemon.wait(60) == 7
        finally:
            daemon.send_signal(signal.SIGKILL)


def test_reload_of_a_daemon_that_does_not_run(systemctl: Systemctl, script: _service.ServiceScript) -> None:
    systemctl.units(SOCKET, {**SERVICE, "MainPID": "0"})
    for service in (_service.Systemd(), script):
        with pytest.raises(_service.ServiceError, match="dockerd does not run"):
            service.reload()


def test_a_script_has_nothing_that_follows_it(script: _service.ServiceScript) -> None:
    assert (script.restart_conflicts(), script.followers(), script.keeps_socket) == ([], [], False)


def test_the_log_of_a_service_script(script: _service.ServiceScript, tmp_path: pathlib.Path) -> None:
    assert script.log_since(0) == []
    (tmp_path / "docker.log").write_bytes(b"level=error\nnot \xff UTF-8\n")
    assert script.log_since(0) == ["level=error", "not \ufffd UTF-8"]


def test_the_back_end_of_this_host() -> None:
    expected = "systemd" if pathlib.Path("/run/systemd/system").is_dir() else "service"
    assert _service.service().name == expected
