"""What speaks against a change before it has begun: silent daemons and edits that no daemon has loaded yet."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json, inspect, plan
from helpers.engine_state import engine


@pytest.fixture(autouse=True)
def no_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of this machine's own engine is read."""
    for name in ("CA", "CERTIFICATE", "PRIVATE_KEY", "STATE"):
        monkeypatch.setattr(inspect, name, tmp_path / name)


def desired(**more: t.Any) -> plan.Desired:
    values: dict[str, t.Any] = {
        "listen": ("192.0.2.1",),
        "port": 2376,
        "options": {},
        "ca": "",
        "certificate": "",
        "private_key": None,
        "names": (),
        "allow_container_restart": False,
        "timeout": 60,
    }
    return plan.Desired(**{**values, **more})


@pytest.mark.parametrize(
    ("words", "content", "warnings"),
    [
        (("-H", "tcp://"), {}, ["tcp:// from docker.service is taken over: dockerd listens there no more."]),
        (("-H", "192.0.2.7"), {}, ["192.0.2.7 from docker.service is taken over: dockerd listens there no more."]),
        (
            ("--tls=false",),
            {"hosts": [" tcp://192.0.2.7:2375 "]},
            [
                "--tls from docker.service is taken over by daemon.json.",
                "tcp://192.0.2.7:2375 from /etc/docker/daemon.json is removed: dockerd listens there no more.",
            ],
        ),
        ((), {"hosts": ["unix:///run/own.sock", "192.0.2.1:2376"]}, []),
        ((), {"hosts": None}, []),
    ],
)
def test_listeners_in_every_spelling_are_taken_over(
    words: tuple[str, ...], content: dict[str, t.Any], warnings: list[str]
) -> None:
    """B02, B05."""
    made = plan.present(engine(content, ("/usr/sbin/dockerd", *words)), desired())
    assert list(made.warnings) == warnings
    own = ["unix:///run/own.sock"] if "own.sock" in str(content) else []
    assert list(made.hosts) == ["fd://", *own, "tcp://192.0.2.1:2376"]


def test_open_listeners_do_not_come_back_in_any_spelling() -> None:
    before = daemon_json.Managed({"hosts": [["fd://", " 192.0.2.7 ", "tcp://"]], "tlscacert": [], "tlsverify": []})
    record = inspect.State(before, None, {str(inspect.DAEMON_JSON): None})
    ours = {"hosts": ["fd://", "tcp://192.0.2.1:2376"], "tlsverify": True, "tlscacert": str(inspect.CA)}
    removal = plan.absent(dataclasses.replace(engine(ours, ("dockerd",)), state=record))
    assert removal.content == {"hosts": ["fd://"]}
    assert removal.warnings == ("192.0.2.7, tcp:// was open to everybody before and does not come back.",)
    # Without a CA, --tlsverify lets in whoever has a certificate of any CA that the system trusts.
    for flags, is_open in (
        (("--tlsverify=0",), True),
        (("--tlsverify",), True),
        (("--tlsverify=0", "--tlscacert=/ca.pem"), True),
        (("--tlsverify=T", "--tlscacert=/ca.pem"), False),
    ):
        flagged = dataclasses.replace(engine(ours, ("dockerd", "-H", "tcp://", *flags)), state=record)
        with (
            contextlib.nullcontext() if not is_open else pytest.raises(inspect.EngineError, match="'-H tcp://', which")
        ):
            plan.absent(flagged)


@pytest.mark.parametrize("option", ["labels", "exec-opts", "registry-mirrors", "mtu"])
def test_an_option_that_is_also_a_flag(option: str) -> None:
    flags = ("--label=a=b", "--exec-opt", "native.cgroupdriver=systemd", "--registry-mirror=https://m", "--mtu=1400")
    with pytest.raises(
        inspect.EngineError, match=f"daemon option '{option}' is also given as a flag by docker.service"
    ):
        plan.present(engine(words=("dockerd", *flags)), desired(options={option: []}))


@pytest.mark.parametrize(
    ("original", "gives_back"),
    [(None, None), (b"", None), (b" \n", None), (b"null", b"null"), (b'{"debug": true}', b'{"debug": true}')],
)
def test_what_a_removal_gives_back(original: bytes | None, gives_back: bytes | None) -> None:
    """Docker 20.10 does not start with an empty daemon.json."""
    before = {} if original is None or b"debug" not in original else {"debug": True}
    file = None if original is None else inspect.Original(original, 0o644)
    record = inspect.State(daemon_json.Managed({"tlsverify": []}), None, {str(inspect.DAEMON_JSON): file})
    found = dataclasses.replace(engine({**before, "tlsverify": True}), state=record)
    assert plan.absent(found).daemon_json.content == gives_back


# -- a daemon that runs and cannot be asked ---------------------------------------------------------------------------

DENIED = "/run/docker.sock answers /info with status 403: authorization denied by plugin deny-local: only named users"
NOBODY = "/run/docker.sock does not answer ([Errno 2] No such file or directory)"


@pytest.mark.parametrize(
    ("content", "words", "error", "says"),
    [
        ({"hosts": ["fd://"]}, ("dockerd",), DENIED, f"dockerd runs, but cannot be asked ({DENIED}), so that"),
        (
            {"hosts": ["tcp://127.0.0.1:2375"], "tls": False},
            ("dockerd",),
            NOBODY,
            f"cannot be asked ({NOBODY}; it listens on tcp://127.0.0.1:2375 instead), so that",
        ),
        ({}, ("dockerd", "-H", "unix:///run/own.sock"), NOBODY, "; it listens on unix:///run/own.sock instead"),
        ({"tls": True}, ("dockerd",), NOBODY, "; it listens on tcp://localhost:2376 instead"),
    ],
)
def test_a_daemon_that_cannot_be_asked_is_not_restarted(
    content: dict[str, t.Any], words: tuple[str, ...], error: str, says: str
) -> None:
    """B04, B15."""
    silent = engine(content, words, error=error)
    assert silent.running
    with pytest.raises(inspect.EngineError) as refusal:
        plan.refuse_container_loss(silent, desired())
    assert says in str(refusal.value)
    assert "set docker_engine_allow_container_restart to true" in str(refusal.value)
    plan.refuse_container_loss(silent, desired(allow_container_restart=True))
    plan.refuse_container_loss(engine(content, words, running=False), desired())


# -- edits that no daemon has loaded yet ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words", "info", "says"),
    [
        ({"data-root": "/srv/docker"}, (), {}, "daemon.json says data-root /srv/docker, and the running dockerd uses"),
        ({}, ("--data-root=/srv/docker",), {}, "docker.service says data-root /srv/docker"),
        ({}, (), {"DockerRootDir": "/srv/docker"}, "daemon.json says data-root /var/lib/docker"),
        (
            {"storage-driver": "vfs"},
            (),
            {},
            "says storage-driver vfs, and the running dockerd uses overlay2 (docker info)",
        ),
        ({"userns-remap": "default"}, (), {}, "says userns-remap on, and the running dockerd uses off"),
        ({}, (), {"SecurityOptions": ["name=userns"]}, "says userns-remap off, and the running dockerd uses on"),
        ({"features": {"containerd-snapshotter": True}}, (), {}, "says containerd-snapshotter on"),
        ({"exec-opts": ["native.cgroupdriver=cgroupfs"]}, (), {}, "says native.cgroupdriver cgroupfs"),
        ({}, ("--exec-opt", "native.cgroupdriver=cgroupfs"), {}, "docker.service says native.cgroupdriver cgroupfs"),
    ],
)
def test_an_edit_that_no_daemon_has_loaded_is_refused_by_name(
    content: dict[str, t.Any], words: tuple[str, ...], info: dict[str, t.Any], says: str
) -> None:
    """B18."""
    found = engine(content, ("dockerd", *words), info)
    with pytest.raises(inspect.EngineError) as error:
        plan.refuse_pending_edits(found, plan.present(found, desired()))
    assert says in str(error.value)


SNAPSHOTTER = [["driver-type", "io.containerd.snapshotter.v1"]]


@pytest.mark.parametrize(
    ("content", "info"),
    [
        ({}, {}),
        ({"log-driver": "local", "data-root": "/var/lib/docker/"}, {}),
        ({"userns-remap": "default"}, {"SecurityOptions": ["name=userns"], "DockerRootDir": "/var/lib/docker/1.2"}),
        ({"storage-driver": "overlay2", "exec-opts": ["native.cgroupdriver=systemd"]}, {}),
        ({"features": {"containerd-snapshotter": False}}, {}),
        ({"storage-driver": "overlay2"}, {"Driver": "overlayfs", "DriverStatus": SNAPSHOTTER}),
        ({}, {"DockerRootDir": "", "Driver": "", "CgroupDriver": ""}),
    ],
)
def test_what_runs_as_the_files_say_is_left_alone(content: dict[str, t.Any], info: dict[str, t.Any]) -> None:
    found = engine(content, info=info)
    plan.refuse_pending_edits(found, plan.present(found, desired()))


def test_an_option_of_the_operators_that_would_hide_containers() -> None:
    option = desired(options={"data-root": "/srv/docker"})
    found = engine()
    with pytest.raises(
        inspect.EngineError, match="containers run with data-root /var/lib/docker, and would not be found"
    ):
        plan.refuse_pending_edits(found, plan.present(found, option))
    empty = engine(info={"ContainersRunning": 0})
    plan.refuse_pending_edits(empty, plan.present(empty, option))


def test_an_authorization_plugin_that_no_daemon_has_loaded() -> None:
    content = {"authorization-plugins": ["opa"]}
    with pytest.raises(inspect.EngineError, match="names the authorization plugin 'opa', which the running dockerd"):
        plan.refuse_reload_traps(engine(content))
    plan.refuse_reload_traps(engine(content, info={"Plugins": {"Authorization": ["opa"]}}))
