"""A change that is killed at any moment is undone by the next run, on an engine that exists in files alone."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import itertools
import json
import os
import pathlib
import re
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _detached, _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api as _api
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import checks, inspect, plan, transaction
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line as _command_line
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)


class Authority:
    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")])
        self.pem = self._sign("ours", self.key, x509.BasicConstraints(True, 0))

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        day = datetime.timedelta(days=1)
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), serial, NOW - day, NOW + day)
        for extension in (
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
            *extensions,
        ):
            builder = builder.add_extension(extension, False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def pair(self, key_file: pathlib.Path) -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_file.parent.mkdir(parents=True, exist_ok=True)
        key_file.write_bytes(key.private_bytes(*form))
        return self._sign("web1", key, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))


@dataclasses.dataclass
class Daemon:
    """dockerd, its service manager and its API at once; what it runs with outlives the process of the module."""

    root: pathlib.Path
    words: tuple[str, ...] = ("/usr/sbin/dockerd", "-H", "fd://")

    name = "fake"
    installed, unusable = True, ""
    local_host, socket_path = "fd://", "/run/docker.sock"
    socket_unit_addresses: t.ClassVar[list[str]] = []
    system, swarm = "Debian", "inactive"

    @property
    def own_drop_ins(self) -> tuple[pathlib.Path, ...]:
        return (self.root / "docker.service.d" / "bulkhead.conf",)

    def own_drop_in(self) -> pathlib.Path:
        return self.own_drop_ins[0]

    def command_line(self) -> _command_line.CommandLine:
        return _command_line.CommandLine("docker.service", self.words, {})

    # -- the process

    @property
    def runs(self) -> dict[str, t.Any]:
        found: dict[str, t.Any] = json.loads((self.root / "runs").read_text(encoding="ascii"))
        return found

    def _run(self, **state: t.Any) -> None:
        (self.root / "runs").write_text(json.dumps({**self.runs, **state}), encoding="ascii")

    def boot(self) -> None:
        (self.root / "runs").write_text('{"start": 0, "container": true, "live": false}', encoding="ascii")
        self.restart(1)
        self._run(container=True)

    def restart(self, timeout: float) -> None:
        content = inspect.read_daemon_json()
        by_flag = "-H" in self.words and not self.own_drop_in().exists()
        if by_flag and "hosts" in content:
            self._run(process="")
            raise _service.ServiceError("dockerd ended: hosts are specified both as a flag and in the file")
        live = bool(content.get("live-restore"))
        loaded = [path.read_text(encoding="ascii") for path in sorted(inspect.TLS_DIR.glob("*.pem"))]
        state = {"process": f"p{self.runs['start'] + 1}", "start": self.runs["start"] + 1, "loaded": loaded}
        self._run(**state, live=live, container=self.runs["container"] and self.runs["live"] and live)
        if content.get("storage-driver"):
            self._run(process="")
            raise _service.ServiceError("dockerd ended: no such driver")

    def reload(self) -> None:
        content = inspect.read_daemon_json()
        if "live-restore" in content:
            self._run(live=content["live-restore"])

    def process(self) -> str:
        return str(self.runs["process"])

    def main_pid(self) -> int:
        return 1 if self.process() else 0

    def running_units(self) -> list[str]:
        return ["docker.service"] if self.process() else []

    def stop(self, running_before: t.Collection[str]) -> None:
        if not running_before:
            self._run(process="")

    def read_units(self) -> None:
        return

    def log_mark(self) -> float:
        return 0

    def log_since(self, mark: float) -> list[str]:
        return ['level=fatal msg="no such driver"']

    # -- the API

    path = "/run/docker.sock"

    def answers(self) -> bool:
        return bool(self.process())

    def wait(self, *_: t.Any) -> bool:
        return self.answers()

    def get(self, resource: str) -> t.Any:
        if not self.process():
            raise _api.ApiError("no answer")
        return {
            "LiveRestoreEnabled": self.runs["live"],
            "Swarm": {"LocalNodeState": self.swarm},
            "OperatingSystem": self.system,
        }

    def live_restore(self) -> bool:
        return bool(self.runs["live"])

    def running_containers(self) -> list[dict[str, t.Any]]:
        return [{"id": "1", "name": "survivor", "pid": 1}] if self.runs["container"] else []

    def lost(self, before: t.Collection[t.Any]) -> list[str]:
        return ["survivor"] if before and not self.runs["container"] else []


@pytest.fixture
def daemon(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    etc, state, root = tmp_path / "docker", tmp_path / "bulkhead", tmp_path / "fake"
    for folder in (etc, root):
        folder.mkdir()
    for name, path in {
        "DAEMON_JSON": etc / "daemon.json",
        "TLS_DIR": etc / "tls",
        "CA": etc / "tls" / "ca.pem",
        "CERTIFICATE": etc / "tls" / "server-cert.pem",
        "PRIVATE_KEY": etc / "tls" / "server-key.pem",
        "STATE_DIR": state,
        "STATE": state / "state.json",
        "JOURNAL": state / "journal.json",
        "PENDING_KEY": state / "pending" / "server-key.pem",
    }.items():
        monkeypatch.setattr(inspect, name, path)
    tls = tuple(zip((inspect.CA, inspect.CERTIFICATE, inspect.PRIVATE_KEY), (0o444, 0o444, 0o400)))
    monkeypatch.setattr(plan, "_TLS_FILES", tls)
    monkeypatch.setattr(transaction, "_LOCK", tmp_path / "lock")
    monkeypatch.setattr(_service.Systemd, "drop_in_dir", root / "docker.service.d")
    monkeypatch.setattr(inspect, "daemons", lambda: {})
    monkeypatch.setattr(inspect.shutil, "which", lambda *_, **__: "/bin/false")
    monkeypatch.setattr(plan, "validate", lambda *_: None)
    monkeypatch.setattr(inspect, "refuse_unusable_addresses", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)

    fake = Daemon(root)
    monkeypatch.setattr(_service, "service", lambda: fake)
    monkeypatch.setattr(_api, "LocalApi", lambda *_: fake)

    def findings(api: Daemon, listen: t.Any, port: int, ca: str, certificate: str) -> list[str]:
        serves = api.answers() and certificate in api.runs["loaded"] and ca in api.runs["loaded"]
        return [] if serves else ["it serves another certificate"]

    monkeypatch.setattr(checks, "findings", findings)
    fake.boot()
    return fake


def desired(authority: Authority, certificate: str = "", **more: t.Any) -> plan.Desired:
    values: dict[str, t.Any] = {
        "listen": ("0.0.0.0",),  # noqa: S104
        "port": 2376,
        "options": {},
        "ca": authority.pem,
        "certificate": certificate,
        "private_key": inspect.PENDING_KEY if certificate else None,
        "names": (),
        "allow_container_restart": False,
        "timeout": 1,
    }
    return plan.Desired(**{**values, **more})


def picture(daemon: Daemon) -> dict[str, str]:
    """All files of the engine; the key that waits to be installed and the folders themselves aside."""
    folders = (inspect.DAEMON_JSON.parent, inspect.STATE_DIR, daemon.own_drop_in().parent)
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path): f"{path.stat().st_mode:o} {path.read_text(encoding='utf-8')}"
        for path in files
        if path != inspect.PENDING_KEY
    }


def die_at(step: int, work: t.Callable[[], t.Any]) -> bool:
    """Run it in a process that is gone, as with kill -9, before its n-th step; whether there was such a step."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    try:
        steps = itertools.count(1)

        def mortal(real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
            def call(*args: t.Any, **named: t.Any) -> t.Any:
                if next(steps) == step:
                    os._exit(9)
                return real(*args, **named)

            return call

        for owner, names in (
            (os, ("link", "open", "mkdir", "fchmod")),
            (pathlib.Path, ("unlink", "replace", "rmdir", "mkdir")),
            (Daemon, ("restart", "reload", "read_units", "answers")),
        ):
            for name in names:
                setattr(owner, name, mortal(getattr(owner, name)))
        work()
    finally:
        os._exit(0)


def kill_everywhere(
    daemon: Daemon, before: t.Callable[[], None], change: t.Callable[[], plan.Desired], again: plan.Desired | None
) -> tuple[int, int]:
    """Kill a change before each of its steps; the next run finds the engine as before, or as it shall be."""
    undone = done = 0
    for step in itertools.count(1):
        before()
        old, wish = picture(daemon), change()
        wanted = dataclasses.replace(wish, private_key=None, certificate="") if again is None else again
        if not die_at(step, lambda wish=wish: transaction.change(wish)):  # type: ignore[misc]
            return undone, done
        if inspect.JOURNAL.exists():
            transaction._undo(transaction._Journal.read(), 1)
            undone += 1
            assert picture(daemon) == old, step
        else:
            transaction._sweep(target.path for target in _targets(wanted))  # as every run does first
            done += picture(daemon) != old
        assert daemon.runs["container"], step
        assert daemon.answers(), step
    return undone, done


def _targets(wanted: plan.Desired) -> t.Sequence[_files.Target]:
    found = inspect.look()
    return (plan.absent(found) if wanted.absent else plan.present(found, wanted)).targets


def reset(daemon: Daemon, text: str | None) -> None:
    for path in (*inspect.DAEMON_JSON.parent.rglob("*"), *inspect.STATE_DIR.rglob("*"), daemon.own_drop_in()):
        if path.is_file():
            path.unlink()
    if text is not None:
        inspect.DAEMON_JSON.write_text(text, encoding="ascii")
    daemon.boot()


@pytest.mark.parametrize("text", [None, '{"debug":  true}\n', '{"live-restore": true}'])
def test_a_first_run_that_is_killed_at_any_step_is_undone(daemon: Daemon, text: str | None) -> None:
    authority = Authority()
    undone, done = kill_everywhere(
        daemon,
        lambda: reset(daemon, text),
        lambda: desired(authority, authority.pair(inspect.PENDING_KEY)),
        None,
    )
    assert undone > 20
    assert done


def test_a_removal_that_is_killed_at_any_step_is_undone(daemon: Daemon) -> None:
    authority = Authority()

    def secured() -> None:
        reset(daemon, '{"debug":  true}\n')
        transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))

    removal = desired(authority, absent=True)
    undone, done = kill_everywhere(daemon, secured, lambda: removal, removal)
    assert undone > 20
    assert done


def test_removal_gives_the_file_back_byte_for_byte(daemon: Daemon) -> None:
    text = '{"debug":  true,\n\n "mtu": 1400 }'
    reset(daemon, text)
    before, authority = picture(daemon), Authority()
    first = transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    assert first.changed
    assert not transaction.change(desired(authority)).changed
    removed = transaction.change(desired(authority, absent=True))
    assert removed.changed
    assert removed.kept == []
    assert picture(daemon) == before
    assert daemon.runs["container"]
    assert not daemon.runs["live"]
    assert not transaction.change(desired(authority, absent=True)).changed


def test_what_others_changed_since_stays_and_is_named(daemon: Daemon) -> None:
    reset(daemon, '{"debug": true}')
    authority = Authority()
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY), options={"mtu": 1400}))
    content = inspect.read_daemon_json()
    inspect.DAEMON_JSON.write_text(json.dumps({**content, "debug": False, "bip": "10.0.0.1/24"}), encoding="ascii")
    removed = transaction.change(desired(authority, absent=True))
    assert removed.kept == ["bip", "debug"]
    assert inspect.read_daemon_json() == {"debug": False, "bip": "10.0.0.1/24"}


def test_hosts_without_tls_do_not_come_back(daemon: Daemon) -> None:
    daemon.words = ("/usr/sbin/dockerd",)
    reset(daemon, '{"hosts": ["tcp://0.0.0.0:2375", "unix:///run/extra.sock"]}')
    authority = Authority()
    first = transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    assert first.hosts == ["fd://", "unix:///run/extra.sock", "tcp://0.0.0.0:2376"]
    assert first.warnings == [
        f"tcp://0.0.0.0:2375 from {inspect.DAEMON_JSON} is removed: dockerd listens there no more."
    ]
    removal = plan.absent(inspect.look())
    assert removal.hosts == ("unix:///run/extra.sock",)
    assert removal.warnings == ("tcp://0.0.0.0:2375 was open to everybody before and does not come back.",)


def test_a_lost_record_does_not_keep_the_endpoint_open(daemon: Daemon) -> None:
    reset(daemon, '{"debug": true}')
    authority = Authority()
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    inspect.STATE.unlink()
    transaction.change(desired(authority))
    transaction.change(desired(authority, absent=True))
    assert inspect.read_daemon_json() == {"debug": True}
    assert not inspect.TLS_DIR.exists()


def test_an_option_that_only_fails_at_start_is_undone(daemon: Daemon) -> None:
    authority = Authority()
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    before = picture(daemon)
    with pytest.raises(transaction.TransactionError, match="answers as before") as caught:
        transaction.change(desired(authority, options={"storage-driver": "none"}))
    assert caught.value.rolled_back
    assert caught.value.log == ['level=fatal msg="no such driver"']
    assert picture(daemon) == before
    assert daemon.runs["container"]
    assert not transaction.change(desired(authority)).changed


def test_a_daemon_that_was_stopped_is_stopped_again(daemon: Daemon) -> None:
    daemon.stop([])
    authority = Authority()
    wish = desired(authority, authority.pair(inspect.PENDING_KEY), options={"storage-driver": "none"})
    with pytest.raises(transaction.TransactionError, match="stopped as before"):
        transaction.change(wish)
    assert not daemon.process()
    assert picture(daemon) == {}


def test_a_full_disk_changes_nothing(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority()
    room, real = 0, _files.write

    def write(path: pathlib.Path, data: bytes, mode: int) -> None:
        if next(written) == room:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, data, mode)

    monkeypatch.setattr(_files, "write", write)
    while True:
        reset(daemon, '{"debug": true}')
        before, written = picture(daemon), itertools.count()
        wish = desired(authority, authority.pair(inspect.PENDING_KEY))
        try:
            transaction.change(wish)
            break
        except transaction.TransactionError as error:
            assert "No space left on device" in str(error)
            assert not error.rolled_back
        assert picture(daemon) == before
        room += 1
    assert room > 6


def test_check_mode_touches_nothing(daemon: Daemon, tmp_path: pathlib.Path) -> None:
    authority = Authority()
    certificate = authority.pair(inspect.PENDING_KEY)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = transaction.change(desired(authority, certificate), check_mode=True)
    assert result.changed
    assert result.restarted
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("unusual", "says"),
    [
        ({"installed": False, "system": "Docker Desktop"}, "is Docker Desktop, which keeps it in a virtual machine"),
        ({"installed": False}, "and no service that starts it"),
        ({"unusable": "docker.socket is masked"}, "docker.socket is masked"),
        ({"socket_unit_addresses": ["[::]:2375"]}, "docker.socket listens on"),
        ({"words": ("/bin/sh", "-c", "dockerd")}, "starts /bin/sh instead of dockerd"),
        ({"words": ("dockerd", "--config-file=/etc/other.json")}, "--config-file=/etc/other.json"),
        ({"words": ("dockerd", "--authorization-plugin=opa")}, "which it forgets at the reload"),
        ({"words": ("dockerd", "--live-restore=false")}, "switches live-restore off"),
        ({"words": ("dockerd", "--mtu=1400")}, "daemon option 'mtu' is also given as a flag"),
        ({"swarm": "active"}, "is a swarm member, where a restart of dockerd ends its containers"),
    ],
)
def test_an_unusual_engine_is_refused_and_left_alone(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, unusual: dict[str, t.Any], says: str
) -> None:
    authority = Authority()
    wish = desired(authority, authority.pair(inspect.PENDING_KEY), options={"mtu": 1400} if "mtu" in says else {})
    for name, value in unusual.items():
        monkeypatch.setattr(Daemon if name != "words" else daemon, name, value)
    before, runs = picture(daemon), daemon.runs
    with pytest.raises(transaction.REFUSALS, match=re.escape(says)):
        transaction.change(wish)
    assert picture(daemon) == before
    assert daemon.runs == runs


def test_a_plugin_for_which_dockerd_would_end_at_a_reload_is_refused(daemon: Daemon) -> None:
    reset(daemon, '{"authorization-plugins": ["opa"]}')
    authority = Authority()
    with pytest.raises(inspect.EngineError, match="authorization plugin 'opa', which the running dockerd does not use"):
        transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))


def test_a_link_to_daemon_json_stays_one(daemon: Daemon, tmp_path: pathlib.Path) -> None:
    real = tmp_path / "elsewhere.json"
    real.write_text('{"debug": true}', encoding="ascii")
    inspect.DAEMON_JSON.symlink_to(real)
    authority = Authority()
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    assert json.loads(real.read_text(encoding="ascii"))["tlsverify"]
    transaction.change(desired(authority, absent=True))
    assert inspect.DAEMON_JSON.is_symlink()
    assert real.read_text(encoding="ascii") == '{"debug": true}'


def test_tls_files_of_somebody_else_come_back(daemon: Daemon) -> None:
    inspect.TLS_DIR.mkdir()
    inspect.PRIVATE_KEY.write_text("somebody's", encoding="ascii")
    before, authority = picture(daemon), Authority()
    shown = transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    assert "somebody's" not in json.dumps(dataclasses.asdict(shown))
    transaction.change(desired(authority, absent=True))
    assert picture(daemon) == before


def test_work_apart_goes_on_without_its_caller(tmp_path: pathlib.Path) -> None:
    assert _detached.run(lambda: {"pid": os.getpid()})["pid"] != os.getpid()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        _detached.run(lambda: 1 / 0)
    with pytest.raises(_detached.DetachedProcessError, match="ended from outside"):
        _detached.run(lambda: os._exit(1))
