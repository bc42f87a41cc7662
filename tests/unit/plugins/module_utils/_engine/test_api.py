"""The local API, read from a real unix socket."""

from __future__ import annotations

import pathlib
import socket
import threading
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api as _api
from helpers.local_api import LocalEngine

NOBODY = 2**22 + 1  # beyond the highest PID that Linux gives


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> t.Iterator[LocalEngine]:
    with LocalEngine(tmp_path / "docker.sock").running() as engine:
        yield engine


def container(name: str, running: bool = True, pid: int = NOBODY, exit_code: int = 0) -> dict[str, t.Any]:
    state = {"Running": running, "Pid": pid if running else 0, "ExitCode": exit_code, "Restarting": False}
    return {"Id": f"id-{name}", "Name": f"/{name}", "RestartCount": 0, "State": state}


def show(engine: LocalEngine, *containers: dict[str, t.Any]) -> None:
    running = [entry for entry in containers if entry["State"]["Running"]]
    engine.answers["/containers/json"] = [{"Id": entry["Id"], "Names": [entry["Name"]]} for entry in running]
    for entry in containers:
        engine.answers[f"/containers/{entry['Id']}/json"] = entry


def test_json_and_text(engine: LocalEngine) -> None:
    engine.answers["/info"] = {"LiveRestoreEnabled": True}
    api = _api.LocalApi(engine.path)
    assert api.get("/info") == {"LiveRestoreEnabled": True}
    assert api.get("/_ping") == "OK"
    assert api.answers()
    assert api.live_restore()


def test_an_error_names_socket_resource_and_status(engine: LocalEngine) -> None:
    engine.answers["/info"] = 500
    with pytest.raises(_api.ApiError) as error:
        _api.LocalApi(engine.path).get("/info")
    assert str(error.value) == f"{engine.path} answers /info with status 500"


def test_an_authorization_plugin_is_quoted(engine: LocalEngine) -> None:
    """B15."""
    said = "authorization denied by plugin deny-local: only named users"
    engine.answers["/info"] = {"message": said}
    engine.statuses["/info"] = 403
    with pytest.raises(_api.ApiError) as error:
        _api.LocalApi(engine.path).info()
    assert str(error.value) == f"{engine.path} answers /info with status 403: {said}"


@pytest.mark.parametrize(
    "answer",
    [[], "no JSON", {"Swarm": "x"}, {"Swarm": {"LocalNodeState": 1}}, {"LiveRestoreEnabled": "yes"}, {"Plugins": []}],
)
def test_an_info_that_docker_does_not_write(engine: LocalEngine, answer: t.Any) -> None:
    engine.answers["/info"] = answer
    with pytest.raises(_api.ApiError, match="something else than Docker writes"):
        _api.LocalApi(engine.path).info()


def test_what_info_tells(engine: LocalEngine) -> None:
    engine.answers["/info"] = {
        "ServerVersion": "28.5.2",
        "DockerRootDir": "/srv/docker/100000.100000",
        "Driver": "overlayfs",
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "CgroupDriver": "systemd",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=userns"],
        "Swarm": {"LocalNodeState": "active"},
        "Plugins": {"Authorization": ["opa"]},
        "ContainersRunning": 3,
    }
    info = _api.LocalApi(engine.path).info()
    assert (info.version, info.swarm, info.containers_running) == ("28.5.2", "active", 3)
    assert (info.userns_remap, info.containerd_images, info.live_restore) == (True, True, False)
    assert info.authorization_plugins == ("opa",)


def test_a_socket_behind_which_nobody_is(tmp_path: pathlib.Path) -> None:
    api = _api.LocalApi(str(tmp_path / "none.sock"))
    with pytest.raises(_api.ApiError, match=r"none\.sock does not answer \("):
        api.get("/info")
    assert not api.answers()


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH\r\n", None])
def test_a_socket_that_says_something_else_or_nothing(tmp_path: pathlib.Path, says: bytes | None) -> None:
    path = str(tmp_path / "other.sock")
    asked = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            if says is None:
                asked.wait(60)
            else:
                connection.sendall(says)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(_api.ApiError, match="does not answer"):
            _api.LocalApi(path, timeout=0.3).get("/info")
        asked.set()
        thread.join()


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_api, "time", clock)
    return clock


def test_waiting_ends_when_it_answers(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api.LocalApi, "answers", lambda _: clock.now > 7)
    assert _api.LocalApi("/nonexistent").wait(10)
    assert 7 < clock.now < 8


@pytest.mark.parametrize(("seconds", "alive", "ends"), [(30, 1, 30), (30, 0, 5), (3, 0, 3)])
def test_waiting_ends_with_the_time_or_without_a_daemon(clock: Clock, seconds: float, alive: int, ends: float) -> None:
    assert not _api.LocalApi("/nonexistent").wait(seconds, lambda: alive)
    assert ends < clock.now < ends + 1


def test_running_containers_by_name(engine: LocalEngine) -> None:
    show(engine, container("web", pid=20), container("db", pid=10), container("old", running=False))
    engine.answers["/containers/json"] += [{"Id": f"id-{name}", "Names": [f"/{name}"]} for name in ("old", "gone")]
    assert _api.LocalApi(engine.path).running_containers() == [
        {"id": "id-db", "name": "db", "pid": 10},
        {"id": "id-web", "name": "web", "pid": 20},
    ]


def test_what_a_restart_has_ended(engine: LocalEngine) -> None:
    names = ("kept", "started-again", "stopped", "killed", "finished", "failed", "removed")
    before = [{"id": f"id-{name}", "name": name, "pid": NOBODY} for name in names]
    show(
        engine,
        container("kept"),
        container("started-again", pid=NOBODY + 1),
        container("stopped", running=False, exit_code=143),
        container("killed", running=False, exit_code=137),
        container("finished", running=False),
        container("failed", running=False, exit_code=1),
    )
    assert _api.LocalApi(engine.path).lost(before) == ["started-again", "stopped", "killed"]
