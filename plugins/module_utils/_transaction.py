# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing an engine as one transaction: recover, look, merge, validate, live-restore, apply, probe, commit or undo.

It runs on the engine, so that a lost connection cannot leave it half changed; a killed one leaves a journal, from
which the next run undoes it before it does anything else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import (
    _daemon_json,
    _docker_api,
    _engine,
    _files,
    _proof,
    _service,
    _unit,
    _x509,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target

_LIVE = _engine.DAEMON_JSON.with_name(".daemon.json.bulkhead-live")
_NOTICE = "# Written by the Ansible collection bulkhead.docker; hosts and TLS are in /etc/docker/daemon.json.\n"


class TransactionError(Exception):
    """One sentence: what failed, in which state the engine is, and what dockerd said."""

    def __init__(self, message: str, log: t.Sequence[str] = (), rolled_back: bool = False) -> None:
        super().__init__(message)
        self.log = list(log)
        self.rolled_back = rolled_back


@dataclasses.dataclass(frozen=True)
class Desired:
    """The engine as it shall be."""

    listen: tuple[str, ...]
    port: int
    options: t.Mapping[str, t.Any]
    ca: str  # the trust bundle, PEM; '' only in check mode, where the CA does not exist yet
    certificate: str  # PEM; '' keeps the installed one
    private_key: pathlib.Path | None  # made on this engine; None keeps the installed one
    names: tuple[str, ...]  # that the certificate must cover
    allow_container_restart: bool
    timeout: float


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done."""

    changed: bool = False
    restarted: bool = False
    recovered: bool = False
    reasons: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)
    containers: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    hosts: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The files of a change, what is run with them, and what the operator has to know."""

    targets: tuple[Target, ...]
    hosts: tuple[str, ...]
    words: tuple[str, ...]  # dockerd's command line afterwards
    daemon_json: t.Mapping[str, t.Any]
    certificate: str
    warnings: tuple[str, ...]

    @property
    def changes(self) -> list[Target]:
        return [target for target in self.targets if target.differs()]


def run(desired: Desired, check_mode: bool = False) -> Result:
    """Bring the engine to the desired state, or leave it as it was and say why."""
    _daemon_json.refuse_weak_options(desired.options)
    result = Result()
    with _lock(check_mode):
        if _engine.JOURNAL.exists():
            result.recovered = result.changed = True
            result.reasons.append("an interrupted change was undone")
            if not check_mode:
                _undo(_Journal.read(), desired.timeout)
        engine = _engine.look()
        plan = _plan(engine, desired)
        result.warnings += plan.warnings
        result.hosts = list(plan.hosts)
        changes = plan.changes
        result.diff = [_diff(target) for target in changes]
        complete = bool(desired.ca and plan.certificate)
        if not complete and not check_mode:
            raise _engine.EngineError(
                "the engine has no server certificate yet and none was given; set server_certificate and private_key."
            )
        if complete:
            _check_certificate(desired, plan)
        served = engine.hosts if engine.running else []
        _engine.refuse_unusable_addresses(desired.listen, desired.port, served)
        reason = _restart_reason(engine, desired, plan, changes, complete)
        result.reasons += [reason] if reason else []
        result.changed = result.changed or bool(changes) or bool(reason) or not complete
        if reason:
            _refuse_container_loss(engine, desired, plan)
            result.restarted = True
        if changes and complete:
            _validate(engine, plan)
        if engine.running:
            result.containers = engine.api.running_containers()
        if check_mode or not (changes or reason):
            return result
        _apply(engine, desired, plan, bool(reason), result.containers)
    return result


@contextlib.contextmanager
def _lock(check_mode: bool) -> t.Iterator[None]:
    if check_mode:
        yield
        return
    _engine.STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(_engine.STATE_DIR / "lock", "w", encoding="ascii") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# -- plan -------------------------------------------------------------------------------------------------------------


def _plan(engine: _engine.Engine, desired: Desired) -> Plan:
    warnings: list[str] = []
    if engine.service.socket_unit_addresses:
        addresses = ", ".join(engine.service.socket_unit_addresses)
        raise _engine.EngineError(
            f"docker.socket listens on {addresses}, which this collection does not undo; remove that ListenStream "
            "('systemctl cat docker.socket' shows its file) and restart docker.socket."
        )
    remote = engine.command_line.remote_flags
    drop_in = engine.service.own_drop_in(engine.state.drop_in)
    if remote and drop_in is None:
        raise _engine.EngineError(
            f"{remote[0].source} gives dockerd '{' '.join(remote[0].words)}', which would stand against daemon.json; "
            "remove the flag there."
        )
    for flag in remote:
        if flag.name == "host" and _daemon_json.plain_hosts([flag.value]):
            warnings.append(f"{flag.value} from {flag.source} is taken over: dockerd listens there no more.")
        elif flag.name != "host":
            warnings.append(f"--{flag.name} from {flag.source} is taken over by daemon.json.")
    previous_hosts = [str(host) for host in engine.daemon_json.get("hosts", [])]
    tcp = [_engine.listen_host(address, desired.port) for address in desired.listen]
    for host in _daemon_json.plain_hosts(previous_hosts):
        if host not in tcp:
            warnings.append(f"{host} from {_engine.DAEMON_JSON} is removed: dockerd listens there no more.")
    sockets = [
        h for h in previous_hosts if h.startswith("unix:") and h[7:] not in ("/var/run/docker.sock", "/run/docker.sock")
    ]
    hosts = [engine.service.local_host, *sockets, *tcp]
    keys: dict[str, t.Any] = {
        "hosts": hosts,
        "tlsverify": True,
        "tlscacert": str(_engine.CA),
        "tlscert": str(_engine.CERTIFICATE),
        "tlskey": str(_engine.PRIVATE_KEY),
    }
    flag_names = {flag.name: flag for flag in engine.command_line.flags}
    if "live-restore" not in flag_names and engine.swarm == "inactive":
        keys["live-restore"] = True
    keys.update(desired.options)
    for key in desired.options:
        if key in flag_names:
            raise _engine.EngineError(
                f"daemon option '{key}' is also given as a flag by {flag_names[key].source}; dockerd refuses to start "
                "with both, remove one of them."
            )
    if engine.swarm != "inactive" and keys.get("live-restore"):
        raise _engine.EngineError(
            "this engine is a swarm member, where dockerd does not start with live-restore; remove that option."
        )
    content, managed = _daemon_json.merge(engine.daemon_json, keys, engine.state.managed)
    current = Target(_engine.DAEMON_JSON, None).existing()
    text = _daemon_json.dump(content).encode()
    if current is not None and content == engine.daemon_json:
        text = current  # same content: not a byte of somebody's file is touched
    words = engine.command_line.without_remote_flags()
    needs_drop_in = bool(remote)
    state = _engine.State(managed=managed, drop_in=str(drop_in) if needs_drop_in else None)
    certificate = desired.certificate or (Target(_engine.CERTIFICATE, None).existing() or b"").decode()
    targets = []
    if desired.ca:
        targets.append(Target(_engine.CA, desired.ca.encode(), 0o444))
    if certificate:
        targets.append(Target(_engine.CERTIFICATE, certificate.encode(), 0o444))
    private = desired.private_key.read_bytes() if desired.private_key else Target(_engine.PRIVATE_KEY, None).existing()
    if private:
        targets.append(Target(_engine.PRIVATE_KEY, private, 0o400, secret=True))
    targets.append(Target(_engine.DAEMON_JSON, text, _mode(_engine.DAEMON_JSON, 0o644)))
    if drop_in is not None:
        line = f"{_NOTICE}[Service]\nExecStart=\nExecStart={_unit.exec_start(words)}\n".encode()
        targets.append(Target(drop_in, line if needs_drop_in else None))
        if engine.state.drop_in and engine.state.drop_in != str(drop_in):
            targets.append(Target(pathlib.Path(engine.state.drop_in), None))
    targets.append(Target(_engine.STATE, state.dump(), 0o600, restart=False))
    return Plan(tuple(targets), tuple(hosts), tuple(words), content, certificate, tuple(warnings))


def _mode(path: pathlib.Path, default: int) -> int:
    return path.stat().st_mode & 0o7777 if path.exists() else default


def _diff(target: Target) -> dict[str, str]:
    describe = _x509.describe if target.path in (_engine.CA, _engine.CERTIFICATE) else None
    return {
        "before_header": str(target.path),
        "after_header": str(target.path),
        "before": _files.diff_text(target, target.existing(), describe),
        "after": _files.diff_text(target, target.content, describe),
    }


def _check_certificate(desired: Desired, plan: Plan) -> None:
    """Refuse what dockerd would start with and clients would then not accept."""
    key = next((target.content for target in plan.targets if target.path == _engine.PRIVATE_KEY), None)
    if not key:
        raise _engine.EngineError(f"{_engine.PRIVATE_KEY} is missing on the engine and no private_key was given.")
    if not _x509.key_matches(plan.certificate, key):
        raise _engine.EngineError(
            "the server certificate does not match its private key; give the pair that belongs together."
        )
    problems = _x509.problems(plan.certificate, desired.ca, usage="server", names=desired.names)
    if problems:
        raise _engine.EngineError(f"clients would not accept the server certificate: {'; '.join(problems)}.")


def _restart_reason(
    engine: _engine.Engine, desired: Desired, plan: Plan, changes: t.Sequence[Target], complete: bool
) -> str:
    if not engine.running:
        return "dockerd does not answer on its local socket"
    changed = [str(target.path) for target in changes if target.restart]
    if changed:
        return f"dockerd reads {', '.join(changed)} only when it starts"
    if not complete:
        return "dockerd reads its certificate only when it starts"
    findings = _proof.findings(engine.api, desired.listen, desired.port, desired.ca, plan.certificate)
    return f"dockerd does not run with what its files say: {findings[0]}" if findings else ""


def _refuse_container_loss(engine: _engine.Engine, desired: Desired, plan: Plan) -> None:
    """A restart may end no container, unless the operator allows just that."""
    if desired.allow_container_restart or not engine.running:
        return
    if engine.swarm != "inactive":
        raise _engine.EngineError(
            "this engine is a swarm member, where a restart of dockerd ends its containers; drain the node and set "
            "docker_engine_allow_container_restart to true."
        )
    by_flag = any(flag.name == "live-restore" and flag.value != "false" for flag in engine.command_line.flags)
    if not plan.daemon_json.get("live-restore") and not by_flag and engine.api.running_containers():
        raise _engine.EngineError(
            "containers run and live-restore is switched off, so that a restart of dockerd would end them; remove "
            "live-restore: false or set docker_engine_allow_container_restart to true."
        )


def _validate(engine: _engine.Engine, plan: Plan) -> None:
    """dockerd's own check of the candidate, with the flags it will be started with (Docker 23.0 and later)."""
    if (
        "--validate"
        not in subprocess.run((engine.dockerd, "--help"), capture_output=True, text=True, check=False).stdout
    ):
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as folder:
        candidate = dict(plan.daemon_json)
        for key, path in (("tlscacert", _engine.CA), ("tlscert", _engine.CERTIFICATE), ("tlskey", _engine.PRIVATE_KEY)):
            content = next((target.content for target in plan.targets if target.path == path), None)
            if content is None:
                return
            candidate[key] = str(pathlib.Path(folder, path.name))
            _files.write(pathlib.Path(candidate[key]), content, 0o400)
        file = pathlib.Path(folder, "daemon.json")
        _files.write(file, _daemon_json.dump(candidate).encode(), 0o400)
        flags = [
            word for flag in engine.command_line.flags if flag.name not in _unit.REMOTE_FLAGS for word in flag.words
        ]
        done = subprocess.run(
            (engine.dockerd, "--validate", f"--config-file={file}", *flags), capture_output=True, text=True, check=False
        )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        message = said[-1].replace(str(file), str(_engine.DAEMON_JSON)) if said else "no message"
        raise _engine.EngineError(f"dockerd refuses the new {_engine.DAEMON_JSON}: {message}; nothing was changed.")


# -- journal, apply, undo ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Journal:
    """What an undo needs; written before the first file changes, removed with the commit."""

    files: list[dict[str, t.Any]]  # path, old, existed
    pid: int
    running: bool
    containers: list[dict[str, t.Any]]
    live: bool  # whether containers live through a restart with the old daemon.json plus live-restore

    @classmethod
    def read(cls) -> _Journal:
        try:
            return cls(**json.loads(_engine.JOURNAL.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise TransactionError(
                f"{_engine.JOURNAL} of an interrupted change is damaged ({error}); compare /etc/docker with its "
                ".bulkhead-old files by hand and remove the journal."
            ) from error

    def write(self) -> None:
        new = _engine.JOURNAL.with_suffix(".new")
        _files.write(new, json.dumps(dataclasses.asdict(self)).encode(), 0o600)
        new.replace(_engine.JOURNAL)
        _files.sync_folder(_engine.STATE_DIR)


@contextlib.contextmanager
def _undisturbed() -> t.Iterator[None]:
    """A lost connection must not end us half way: its signals are ignored until all is done or undone."""
    names = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    before = {name: signal.signal(name, signal.SIG_IGN) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _apply(
    engine: _engine.Engine,
    desired: Desired,
    plan: Plan,
    restart: bool,
    containers: list[dict[str, t.Any]],
) -> None:
    changes = plan.changes
    wants_live = bool(plan.daemon_json.get("live-restore"))
    live_text = _daemon_json.dump({**engine.daemon_json, "live-restore": True}).encode()
    daemon_json = next(target for target in plan.targets if target.path == _engine.DAEMON_JSON)
    staged = [*changes, *([] if daemon_json in changes else [daemon_json])]
    try:
        for target in staged:
            target.stage()
        _files.write(_LIVE, live_text, daemon_json.mode)
        journal = _Journal(
            files=[{"path": str(s.path), "old": str(s.old), "existed": s.path.exists()} for s in staged],
            pid=engine.service.main_pid(),
            running=engine.running,
            containers=containers,
            live=wants_live,
        )
        journal.write()
    except OSError as error:
        _drop(staged)
        raise TransactionError(
            f"the new files could not be prepared ({error.strerror}: {error.filename}); nothing was changed."
        ) from error
    start = time.time()
    with _undisturbed():
        try:
            if restart and engine.running and wants_live and not engine.live_restore:
                _switch_live_restore_on(engine, daemon_json.path)
            for target in changes:
                target.swap()
            engine.service.read_units()
            if restart:
                _restart(engine.service, engine.api, desired.timeout)
                findings = _proof.findings(engine.api, desired.listen, desired.port, desired.ca, plan.certificate)
                lost = [] if desired.allow_container_restart else engine.api.lost(containers)
                findings += [f"the container {name} was ended" for name in lost]
                if findings:
                    raise TransactionError(f"the engine does not answer as it must: {'; '.join(findings)}")
        except (TransactionError, _service.ServiceError, _docker_api.ApiError, OSError) as error:
            log = _complaints(engine.service.log_since(start))
            state = _undo(journal, desired.timeout)
            because = f" dockerd says: {log[-1]}" if log else ""
            raise TransactionError(f"{error}.{because} {state}", log, rolled_back=True) from error
        _drop(staged)
        shutil.rmtree(_engine.PENDING_KEY.parent, ignore_errors=True)
        _engine.JOURNAL.unlink()


def _switch_live_restore_on(engine: _engine.Engine, path: pathlib.Path) -> None:
    """Alone and by reload, before anything else; a reload that dockerd rejects ends with code 0, so ask the daemon."""
    _files.place(_LIVE, path)
    engine.service.reload()
    end = time.monotonic() + 10
    while not engine.api.live_restore():
        if time.monotonic() > end:
            raise TransactionError("dockerd did not take live-restore over, so that a restart would end its containers")
        time.sleep(0.05)


def _restart(service: _service.Service, api: _docker_api.LocalApi, timeout: float) -> None:
    service.restart(timeout)
    if not api.wait(timeout):
        raise TransactionError(f"dockerd does not answer on {api.path} within {timeout:.0f} s of its restart")


def _undo(journal: _Journal, timeout: float) -> str:
    """Give all files back, restart dockerd with them if it was restarted, and say in which state the engine is."""
    service = _service.service()
    api = _docker_api.LocalApi(service.socket_path)
    with _undisturbed():
        for file in journal.files:
            _files.restore(pathlib.Path(file["path"]), file["existed"], pathlib.Path(file["old"]))
        service.read_units()
        untouched = journal.running and service.main_pid() == journal.pid and api.answers()
        problem = ""
        if not untouched and journal.running:
            daemon_json = next(f for f in journal.files if f["path"] == str(_engine.DAEMON_JSON))
            if journal.live and _LIVE.exists():
                # Started without live-restore, dockerd would end the containers that still run.
                _files.place(_LIVE, _engine.DAEMON_JSON)
            try:
                _restart(service, api, timeout)
            except (_service.ServiceError, TransactionError) as error:
                problem = str(error)
            _files.restore(_engine.DAEMON_JSON, daemon_json["existed"], pathlib.Path(daemon_json["old"]))
        lost = api.lost(journal.containers) if api.answers() else []
        for file in journal.files:
            path = pathlib.Path(file["path"])
            Target(path, None).drop_staged()
        _LIVE.unlink(missing_ok=True)
        _engine.JOURNAL.unlink(missing_ok=True)
    if problem:
        return f"Its previous files are back, but dockerd does not start with them: {problem}."
    ended = f", without {', '.join(lost)}, which had to be ended" if lost else ""
    return f"Its previous files are back and the engine answers as before{ended}."


def _drop(targets: t.Iterable[Target]) -> None:
    for target in targets:
        target.drop_staged()
    _LIVE.unlink(missing_ok=True)


def _complaints(log: t.Sequence[str]) -> list[str]:
    words = ("fatal", "error", "failed", "unable", "invalid")
    return [line.strip() for line in log if any(word in line.lower() for word in words)][-8:]
