"""A change that is killed at any moment is undone by the next run, on an engine that exists in files alone."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import fcntl
import itertools
import json
import os
import pathlib
import re
import time
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _detached, _files, _locks
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api as _api
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import checks, inspect, plan, transaction
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line as _command_line
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._engine.certificate import Renewal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from helpers import returns

NOW = datetime.datetime.now(datetime.timezone.utc)


class Authority:
    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")])
        self.pem = self._sign("ours", self.key, 730, x509.BasicConstraints(True, 0))

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, days: int, *extensions: x509.ExtensionType) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        start, end = NOW - datetime.timedelta(days=1), NOW + datetime.timedelta(days=days)
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), serial, start, end)
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
        return self._sign("web1", key, 365, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))


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
    keeps_socket = True

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
        (self.root / "runs").write_text('{"start": 0, "container": true, "live": false, "with": {}}', encoding="ascii")
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
        runs = {"DockerRootDir": content.get("data-root", "/var/lib/docker")}
        state = {
            "with": runs,
            "process": f"p{self.runs['start'] + 1}",
            "start": self.runs["start"] + 1,
            "loaded": loaded,
        }
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

    def hold(self) -> None:
        self._run(held=True)

    def release(self) -> None:
        self._run(held=False)

    def exec_program(self, program: str) -> str:
        return pathlib.Path(program).name

    conflicts: t.ClassVar[list[str]] = []

    def restart_conflicts(self) -> list[str]:
        return self.conflicts

    def followers(self) -> list[str]:
        return ["shop.service"]

    def start_again(self, units: t.Sequence[str]) -> None:
        self._run(started=units)

    ended: t.ClassVar[dict[str, str]] = {}

    def not_active(self, units: t.Sequence[str], timeout: float) -> dict[str, str]:
        return {unit: state for unit, state in self.ended.items() if unit in units}

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
            **self.runs["with"],
            "OperatingSystem": self.system,
            "ServerVersion": "9.9",
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
        assert not daemon.runs.get("held") or inspect.JOURNAL.exists(), step
    return undone, done


def _targets(wanted: plan.Desired) -> t.Sequence[_files.Target]:
    found = inspect.gather()
    return (plan.absent(found) if wanted.absent else plan.present(found, wanted)).targets


def reset(daemon: Daemon, text: str | None) -> None:
    for path in (*inspect.DAEMON_JSON.parent.rglob("*"), *inspect.STATE_DIR.rglob("*"), daemon.own_drop_in()):
        if path.is_file():
            path.unlink()
    if text is not None:
        inspect.DAEMON_JSON.write_text(text, encoding="ascii")
    daemon.boot()


def test_there_is_nothing_to_take_back_where_nothing_was_done(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Docker itself has gone meanwhile."""
    authority = Authority()
    monkeypatch.setattr(_service.Systemd, "own_drop_ins", (daemon.own_drop_in(),))
    before = picture(daemon)

    def gone() -> t.NoReturn:
        raise inspect.EngineError("this host has no service docker.")

    monkeypatch.setattr(inspect, "gather", gone)
    done = transaction.change(desired(authority, absent=True))
    assert (done.changed, done.would_change, picture(daemon)) == (False, False, before)
    with pytest.raises(inspect.EngineError, match="no service docker"):
        transaction.change(desired(authority))

    daemon.own_drop_in().parent.mkdir(parents=True, exist_ok=True)
    daemon.own_drop_in().write_text("[Service]", encoding="utf-8")
    with pytest.raises(inspect.EngineError, match="no service docker"):
        transaction.change(desired(authority, absent=True))


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
    removal = plan.absent(inspect.gather())
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

    def write(path: pathlib.Path, data: bytes, mode: int, group: int = 0) -> None:
        if next(written) == room:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, data, mode, group)

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


def stamps(folder: pathlib.Path) -> dict[pathlib.Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "lock"}


def test_without_a_certificate_that_is_due_nothing_is_changed_and_all_is_told(
    daemon: Daemon, tmp_path: pathlib.Path
) -> None:
    reset(daemon, '{"debug": true}')
    authority, before = Authority(), stamps(tmp_path)
    with pytest.raises(
        inspect.EngineError, match=r"due and none is given: there is no server certificate yet\. Nothing was"
    ):
        transaction.change(desired(authority))
    asked = transaction.change(desired(authority), check_mode=True)
    assert stamps(tmp_path) == before
    assert asked.certificate_reasons == ["there is no server certificate yet"]
    assert asked.would_change
    assert asked.certificate is None
    assert (asked.version, asked.running, asked.ssh_accounts, asked.ssh_server) == ("9.9", True, False, None)
    assert (asked.changed, asked.restarted) == (True, True)
    assert str(inspect.DAEMON_JSON) in " ".join(each["after_header"] for each in asked.diff)


def test_an_engine_that_is_right_costs_one_call(daemon: Daemon, tmp_path: pathlib.Path) -> None:
    authority = Authority()
    first = transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    assert first.certificate
    assert first.certificate["days_left"] == 364
    before = stamps(tmp_path)
    for check_mode in (True, False):
        again = transaction.change(desired(authority), check_mode)
        assert (again.changed, again.would_change, again.certificate_reasons) == (False, False, [])
        assert again.certificate == first.certificate
    assert stamps(tmp_path) == before


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"names": ("elsewhere.example",)}, "it lacks the names elsewhere.example"),
        ({"ca": Authority().pem, "replace_ca": True}, "it is not issued by the CA of the trust bundle"),
        ({"ca": "", "replace_ca": True}, "there is no CA yet"),
        ({"renewal": Renewal(key="P-384")}, "its key is P-256 instead of P-384"),
        ({"renewal": Renewal(renew_days=365)}, "it expires on "),
        ({"renewal": Renewal(force=True)}, "its renewal is asked for"),
    ],
)
def test_why_a_certificate_is_due(daemon: Daemon, tmp_path: pathlib.Path, wish: dict[str, t.Any], reason: str) -> None:
    authority = Authority()
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    before = stamps(tmp_path)
    told = transaction.change(desired(authority, **wish), check_mode=True)
    assert [each.startswith(reason) for each in told.certificate_reasons] == [True]
    assert told.would_change
    assert stamps(tmp_path) == before


def test_a_pair_that_something_else_keeps_is_taken_over_when_it_is_another(
    daemon: Daemon, tmp_path: pathlib.Path
) -> None:
    ours, theirs = Authority(), Authority()
    key = tmp_path / "kept.key"

    def wish(certificate: str, **more: t.Any) -> plan.Desired:
        kept = {"source": "/etc/pki/docker.pem", "private_key": key, "server_ca": theirs.pem}
        return desired(ours, certificate, **{**kept, **more})

    first = theirs.pair(key)
    assert transaction.change(wish(first, ca=""), check_mode=True).would_change  # before there is a CA
    told = transaction.change(wish(first), check_mode=True)
    assert told.certificate_reasons == ["/etc/pki/docker.pem holds another one than dockerd has"]
    assert transaction.change(wish(first)).restarted
    assert inspect.CERTIFICATE.read_text().strip() == first.strip()
    before = stamps(tmp_path)
    again = transaction.change(wish(first, renewal=Renewal(renew_days=365, force=True)))
    assert (again.changed, again.certificate_reasons) == (False, [])
    assert "was not renewed; whoever keeps it" in again.findings[0]
    assert stamps(tmp_path) == before
    assert transaction.change(wish(theirs.pair(key))).restarted

    wrong = theirs.pair(key)
    for bad, says in (({"server_ca": ""}, "not issued by the CA"), ({"names": ("web9",)}, "it lacks the names web9")):
        with pytest.raises(inspect.EngineError, match=f"in /etc/pki/docker.pem: .*{says}.* Let whoever keeps it"):
            transaction.change(wish(wrong, **bad))


def test_a_pair_that_something_else_keeps_tells_whether_it_is_of_the_ca_that_signs(
    daemon: Daemon, tmp_path: pathlib.Path
) -> None:
    old, new = Authority(), Authority()
    key = tmp_path / "kept.key"
    kept: dict[str, t.Any] = {"source": "/etc/pki/docker.pem", "private_key": key}
    first = old.pair(key)

    def follows(ca: str, certificate: str) -> bool | None:
        told = transaction.change(desired(old, certificate, **kept, ca=ca)).certificate
        return told and told["issued_by_ca"]

    assert follows(old.pem, first) is True
    # Nothing is due, and the bundle is there: only this says that the engine is not ready for the old one to go.
    assert follows(new.pem + old.pem, first) is False
    before = stamps(tmp_path)
    with pytest.raises(inspect.EngineError, match="it is not issued by the CA of the trust bundle"):
        transaction.change(desired(old, first, **kept, ca=new.pem), check_mode=True)
    assert stamps(tmp_path) == before
    assert follows(new.pem + old.pem, new.pair(key)) is True


def test_no_engine_leaves_a_ca_that_the_run_does_not_know(daemon: Daemon) -> None:
    old, new = Authority(), Authority()
    transaction.change(desired(old, old.pair(inspect.PENDING_KEY)))
    pair, before = new.pair(inspect.PENDING_KEY), picture(daemon)
    for check_mode in (True, False):
        for ca in ("", new.pem):
            with pytest.raises(
                inspect.EngineError, match=r"another CA than this run's, in .*ca.pem: CN=.* \(SHA-256 \w{64}"
            ):
                transaction.change(desired(new, pair, ca=ca), check_mode)
    assert picture(daemon) == before

    # A rotation, a CA that was replaced by one while the engine was away, and whoever says so.
    for more in ({"ca": new.pem + old.pem}, {"retired_cas": old.pem}, {"replace_ca": True}):
        told = transaction.change(desired(new, pair, **more), check_mode=True)
        assert told.would_change
        # Only there somebody is shut out, and it has to be said who gave it the identity.
        assert bool(re.fullmatch(r"CN=.* \(SHA-256 \w{64}, valid until .*\)", told.replaced_ca)) == (
            "replace_ca" in more
        )
    assert transaction.change(desired(new, pair, retired_cas=old.pem)).changed
    assert inspect.CA.read_text(encoding="ascii") == new.pem


def test_a_trust_bundle_that_is_damaged_keeps_nobody_s_access(daemon: Daemon) -> None:
    authority, other = Authority(), Authority()
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    inspect.CA.unlink()
    inspect.CA.write_bytes(b"\xff")
    assert transaction.change(desired(other, other.pair(inspect.PENDING_KEY))).changed


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("CERTIFICATE", b"\xff\x00", "the certificate cannot be read (the text holds no PEM certificate)"),
        ("CERTIFICATE", b"", "the certificate cannot be read (the text holds no PEM certificate)"),
        ("PRIVATE_KEY", b"\xff", "PATH cannot be read"),
        ("PRIVATE_KEY", None, "PATH is missing"),
    ],
)
def test_a_damaged_pair_is_replaced(daemon: Daemon, path: str, content: bytes | None, reason: str) -> None:
    authority = Authority()
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    file: pathlib.Path = getattr(inspect, path)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    told = transaction.change(desired(authority), check_mode=True)
    assert reason.replace("PATH", str(file)) in told.certificate_reasons
    transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    assert not transaction.change(desired(authority)).would_change


def test_what_speaks_against_a_change_is_said_before_a_certificate_is_made(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "words", ("dockerd", "--live-restore=false"))
    with pytest.raises(inspect.EngineError, match="switches live-restore off"):
        transaction.change(desired(Authority()), check_mode=True)


def test_a_trust_bundle_that_is_none_is_refused(daemon: Daemon) -> None:
    with pytest.raises(inspect.EngineError, match="ca_certificate is no trust bundle"):
        transaction.change(desired(Authority(), ca="nonsense"))


def test_check_mode_tells_of_the_certificate_that_an_undo_gives_back(daemon: Daemon) -> None:
    authority = Authority()
    first = desired(authority, authority.pair(inspect.PENDING_KEY))
    assert die_at_restart(lambda: transaction.change(first))
    assert inspect.CERTIFICATE.read_text(encoding="ascii") == first.certificate
    told = transaction.change(desired(authority), check_mode=True)
    assert (told.recovered, told.would_change) == (True, True)
    assert (told.certificate_reasons, told.certificate) == (["there is no server certificate yet"], None)

    other = Authority()
    transaction.change(first)
    assert die_at_restart(lambda: transaction.change(desired(other, other.pair(inspect.PENDING_KEY), replace_ca=True)))
    assert inspect.CA.read_text(encoding="ascii") == other.pem
    told = transaction.change(desired(authority), check_mode=True)
    assert (told.recovered, told.would_change, told.certificate_reasons) == (True, True, [])


def die_at_restart(work: t.Callable[[], t.Any]) -> bool:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    try:
        setattr(Daemon, "read_units", lambda _: os._exit(9))  # noqa: B010  # in this child alone
        work()
    finally:
        os._exit(0)


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


# -- an undo says what it has reached ---------------------------------------------------------------------------------


def undo(daemon: Daemon, **before: t.Any) -> str:
    """The state that an undo of a change names; the engine was restarted by that change."""
    inspect.STATE_DIR.mkdir(exist_ok=True)
    journal: dict[str, t.Any] = {
        "files": [],
        "daemon_json": str(inspect.DAEMON_JSON),
        "running": ["docker.service"],
        "process": "before",
        "answered": True,
        "ran_with": {},
        "boot": _service.boot(),
        "live_restore": True,
        "containers": [],
        "followers": ["shop.service"],
        **before,
    }
    return transaction._undo(transaction._Journal(**journal), 1)


def test_an_undo_starts_again_what_followed_docker(daemon: Daemon) -> None:
    """B01."""
    daemon.hold()
    assert undo(daemon) == "Its previous files are back and the engine answers as before."
    assert daemon.runs["started"] == ["shop.service"]
    assert not daemon.runs["held"]


def test_an_undo_names_the_units_that_it_could_not_start_again(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Daemon, "ended", {"shop.service": "failed", "other.service": "inactive"})
    ended = "shop.service was active and is failed now ('systemctl status shop.service' shows why)."
    assert undo(daemon) == f"Its previous files are back and the engine answers, but not as before: {ended}"
    assert undo(daemon, answered=False).endswith(f"does not answer on its local socket, but {ended}")


def test_an_undo_names_what_its_files_brought_to_life(daemon: Daemon) -> None:
    """The previous daemon.json had an edit that nobody had loaded: the file comes back, what ran does not."""
    inspect.DAEMON_JSON.write_text('{"data-root": "/srv/docker"}', encoding="ascii")
    containers = [{"id": "1", "name": "survivor", "pid": os.getpid()}]
    said = undo(daemon, ran_with={"DockerRootDir": "/var/lib/docker"}, containers=containers)
    assert said == (
        "Its previous files are back and the engine answers, but not as before: dockerd runs with DockerRootDir "
        "/srv/docker instead of /var/lib/docker, because its files already said so before this change; "
        "survivor runs on, unknown to dockerd."
    )


def test_an_undo_names_the_containers_that_it_had_to_end(daemon: Daemon) -> None:
    said = undo(daemon, containers=[{"id": "1", "name": "survivor", "pid": 2**22 + 1}])
    assert said.endswith("but not as before: survivor had to be ended.")


def test_an_undo_of_a_daemon_that_does_not_answer_runs_it_again(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: t.Any) -> t.Any:
        raise _api.ApiError("answers /info with status 403: only named users", 403)

    monkeypatch.setattr(Daemon, "answers", lambda _: False)
    monkeypatch.setattr(Daemon, "get", refuse)
    said = undo(daemon, answered=False)
    assert said == (
        "Its previous files are back and dockerd runs with them; as before, it does not answer on its local socket."
    )
    assert daemon.process()


def test_a_damaged_journal_is_named(daemon: Daemon) -> None:
    inspect.STATE_DIR.mkdir()
    for text in ("{", "[]", '{"files": []}', '{"files": [{}]}'):
        inspect.JOURNAL.write_text(text, encoding="ascii")
        with pytest.raises(transaction.TransactionError, match=r"journal\.json of an interrupted change is damaged"):
            transaction.change(desired(Authority()))


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (  # Docker 20.10
            ['time="T" level=warning msg="Unable to find io controller"', "mkdir /proc/nowhere: no such file", ""],
            ["mkdir /proc/nowhere: no such file"],
        ),
        (["plugin says hello", "failed to start daemon: no such driver"], ["failed to start daemon: no such driver"]),
        (['time="T" level=error msg="x"', 'time="T" level=info msg="error"'], ['time="T" level=error msg="x"']),
        (["Starting Docker...", "docker.service: Failed with result"], ["docker.service: Failed with result"]),
        (["http: TLS handshake error from 127.0.0.1:1: tls: no certificate"], []),
    ],
)
def test_what_dockerd_ended_with_is_found_in_its_log(log: list[str], said: list[str]) -> None:
    assert transaction._complaints(log) == said


# -- what a restart does to others ------------------------------------------------------------------------------------


def test_what_a_restart_would_end_is_refused_unless_allowed(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """B01."""
    monkeypatch.setattr(Daemon, "conflicts", ["worker.service runs a container in the foreground"])
    authority = Authority()
    wish = desired(authority, authority.pair(inspect.PENDING_KEY))
    before = picture(daemon)
    with pytest.raises(
        inspect.EngineError, match=r"worker\.service runs .*; set docker_engine_allow_container_restart"
    ):
        transaction.change(wish)
    assert picture(daemon) == before
    assert transaction.change(dataclasses.replace(wish, allow_container_restart=True)).restarted
    assert daemon.runs["started"] == ["shop.service"]
    assert not transaction.change(desired(authority)).would_change  # no restart, nothing to refuse


@pytest.mark.parametrize("keeps_socket", [True, False])
def test_containers_that_hold_a_socket_that_is_made_anew_are_named(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, keeps_socket: bool
) -> None:
    """B17."""
    entries = [
        {"Names": ["/watcher"], "Mounts": [{"Source": "/var/run/docker.sock"}]},
        {"Names": ["/folder"], "Mounts": [{"Source": "/run"}]},
        {"Names": ["/other"], "Mounts": None},
    ]
    real = Daemon.get
    monkeypatch.setattr(Daemon, "get", lambda self, what: entries if what == "/containers/json" else real(self, what))
    monkeypatch.setattr(Daemon, "keeps_socket", keeps_socket)
    authority = Authority()
    wish = desired(authority, authority.pair(inspect.PENDING_KEY))
    for check_mode in (True, False):
        warnings = transaction.change(wish, check_mode).warnings
        assert (
            [warning.rpartition(": ")[2] for warning in warnings] == [] if keeps_socket else ["docker restart watcher"]
        )


def test_a_diff_shows_no_secret_of_daemon_json(daemon: Daemon) -> None:
    """S4."""
    reset(daemon, '{"http-proxy": "http://user:hunter1@proxy", "log-opts": {"splunk-token": "hunter2"}, "mtu": 1500}')
    authority = Authority()
    wish = desired(authority, authority.pair(inspect.PENDING_KEY), options={"log-opts": {"splunk-token": "hunter3"}})
    shown = transaction.change(wish)
    texts = json.dumps(shown.diff)
    assert '\\"tlsverify\\": true' in texts
    assert "hunter" not in texts


def test_a_diff_shows_no_value_of_a_unit_s_flags(daemon: Daemon) -> None:
    """Our drop-in repeats the whole command line of the unit, without where dockerd listens."""
    reset(daemon, "{}")
    authority = Authority()
    secret = ("--log-opt", "splunk-token=hunter1", "--http-proxy", "http://user:hunter2@proxy")
    daemon.words = ("/usr/bin/dockerd", "-H", "fd://", *secret)
    shown = transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY)))
    assert "hunter1" in daemon.own_drop_in().read_text(encoding="utf-8")
    (found,) = [each for each in shown.diff if each["after_header"].startswith(str(daemon.own_drop_in()))]
    assert found["after"].endswith(" --log-opt (not shown) --http-proxy (not shown)\n")
    assert "hunter" not in json.dumps(dataclasses.asdict(shown))

    secret = ("--log-opt", "splunk-token=hunter3", "--http-proxy", "http://user:hunter2@proxy")
    daemon.words = ("/usr/bin/dockerd", "-H", "fd://", *secret)
    (found,) = transaction.change(desired(authority)).diff
    assert found["after"] == f"{found['before']}(other values, which are not shown)\n"
    assert "hunter" not in str(found)


# -- the lock, and a caller that is gone ------------------------------------------------------------------------------


def test_the_lock_is_for_root_alone_and_its_holder_is_named(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    lock, now = tmp_path / "lock", itertools.count(0.0, 100.0)
    lock.touch(0o666)
    monkeypatch.setattr(transaction.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(transaction.time, "sleep", lambda _: None)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(_locks.LockError, match=rf"^the process {os.getpid()} \(.+\) has held .* for 5 minutes"):
            transaction.change(desired(Authority()))
    assert lock.stat().st_mode & 0o777 == 0o600
    authority = Authority()
    assert transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY))).changed


def test_a_change_that_nobody_awaits_does_not_begin(daemon: Daemon, tmp_path: pathlib.Path) -> None:
    authority = Authority()
    wish = desired(authority, authority.pair(inspect.PENDING_KEY))
    before = picture(daemon)
    with pytest.raises(_locks.LockError, match="nobody waits for this change any more"):
        transaction.change(wish, is_awaited=lambda: False)
    with (tmp_path / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(_locks.LockError, match="nobody waits for this change any more"):
            transaction.change(wish, is_awaited=lambda: False)
    assert picture(daemon) == before


def test_what_dockerd_says_last_counts_where_no_word_tells_a_complaint() -> None:
    starting = "level=info msg=starting"
    assert transaction._complaints([starting, "mkdir /proc/nowhere: no such file or directory", ""]) == [
        "mkdir /proc/nowhere: no such file or directory"
    ]
    assert transaction._complaints(["level=fatal msg=no", starting]) == ["level=fatal msg=no"]
    assert transaction._complaints([]) == []


def test_work_apart_goes_on_without_its_caller(tmp_path: pathlib.Path) -> None:
    assert _detached.run(lambda _: {"pid": os.getpid()})["pid"] != os.getpid()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        _detached.run(lambda _: 1 / 0)
    with pytest.raises(_detached.DetachedProcessError, match="ended from outside"):
        _detached.run(lambda _: os._exit(1))


def test_a_caller_whose_output_nobody_reads_ends_and_its_work_knows(tmp_path: pathlib.Path) -> None:
    """As after a lost connection: the caller ends, and the work that it has started sees that it is alone."""
    reader, writer = os.pipe()
    alone = tmp_path / "alone"

    def work(is_awaited: t.Callable[[], bool]) -> None:
        while is_awaited():
            time.sleep(0.01)
        alone.write_text("alone", encoding="ascii")

    caller = os.fork()
    if not caller:
        try:
            os.close(reader)
            os.dup2(writer, 1)
            os.close(writer)
            _detached.run(work)
        finally:
            os._exit(3)
    os.close(writer)
    os.close(reader)  # nobody reads what the caller would say
    assert os.waitstatus_to_exitcode(os.waitpid(caller, 0)[1]) == 3
    end = time.monotonic() + 60
    while not (alone.exists() and alone.read_text(encoding="ascii") == "alone"):
        assert time.monotonic() < end, "the work does not notice that nobody waits"
        time.sleep(0.01)


def test_the_module_returns_what_it_documents(daemon: Daemon) -> None:
    authority = Authority()
    first = transaction.change(desired(authority, authority.pair(inspect.PENDING_KEY), options={"mtu": 1400}))
    told = transaction.change(desired(authority, ca="", replace_ca=True), check_mode=True)
    second = dataclasses.replace(told, ssh_accounts=True, ssh_server={"port": 22, "host_keys": ["ssh-ed25519 AAAA"]})
    failed = {"failed": True, "msg": "no", "log": ["level=fatal"], "rolled_back": True}
    without_library = {"failed": True, "log": [], "rolled_back": False, "library_missing": True}
    returns.assert_documented(
        "docker_daemon_config", dataclasses.asdict(first), dataclasses.asdict(second), failed, without_library
    )
