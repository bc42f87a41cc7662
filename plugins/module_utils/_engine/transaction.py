# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing an engine as one transaction: recover, gather, plan, live-restore, apply, probe, commit or undo.

It runs on the engine, in a process of its own, so that a lost connection cannot leave it half changed; where that
process is killed, too, it leaves a journal, from which the next run undoes it before it does anything else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _detached, _files, _locks
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api as _api
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import (
    certificate,
    checks,
    command_line,
    hosts,
    inspect,
    report,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json as _daemon_json
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import plan as _plan
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._engine.plan import Desired, Plan
from ansible_collections.bulkhead.docker.plugins.module_utils._engine.result import Result
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import service as _gateway
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import handshake, x509

if t.TYPE_CHECKING:
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.settings import Installed

_LOCK = pathlib.Path("/run/bulkhead.lock")
_LOCK_TIMEOUT = 300
_RELOAD_TIMEOUT = 10
_UNITS_TIMEOUT = 30  # for the units that an undo starts again
_UNDO_TIMEOUT = 150  # at least: systemd gives a daemon that does not stop 90 seconds before it kills it
# Lines of its log that tell of no failure of dockerd; our own verification tries clients that it has to refuse.
_NO_COMPLAINT = re.compile(r"level=(trace|debug|info|warning)\b|TLS handshake error")

REFUSALS = (
    _locks.LockError,
    _daemon_json.DaemonJsonError,
    _api.ApiError,
    inspect.EngineError,
    _service.ServiceError,
    _places.GatewayError,
    _places.UnitError,
    command_line.UnitError,
    x509.CertificateError,
    OSError,
)


# With which a change that has begun fails.
_FAILURES = (_service.ServiceError, _places.UnitError, _api.ApiError, OSError)


class TransactionError(Exception):
    """One sentence: what failed, in which state the engine is, and what dockerd said."""

    def __init__(self, message: str, log: t.Sequence[str] = (), rolled_back: bool = False) -> None:
        super().__init__(message)
        self.log = list(log)
        self.rolled_back = rolled_back


def run(desired: Desired, check_mode: bool = False) -> Result:
    """Bring the engine to the desired state, or leave it as it was and say why."""
    if check_mode:
        return change(desired, check_mode=True)

    def work(is_awaited: t.Callable[[], bool]) -> dict[str, t.Any]:
        try:
            return {"result": dataclasses.asdict(change(desired, is_awaited=is_awaited))}
        except TransactionError as error:
            return {"error": str(error), "log": error.log, "rolled_back": error.rolled_back}
        except REFUSALS as error:
            return {"error": str(error), "log": [], "rolled_back": False}

    try:
        answer = _detached.run(work)
    except _detached.DetachedProcessError as error:
        raise TransactionError(f"{error}; the next run undoes what it has begun.") from error
    if "error" in answer:
        raise TransactionError(answer["error"], answer["log"], answer["rolled_back"])
    return Result(**answer["result"])


def change(desired: Desired, check_mode: bool = False, is_awaited: t.Callable[[], bool] = lambda: True) -> Result:
    """The same in this process. What nobody awaits any more does not begin."""
    result = Result()
    _refuse_unreadable_bundle(desired.ca)
    with contextlib.nullcontext() if check_mode else _lock(is_awaited):
        if inspect.JOURNAL.exists():
            result.recovered = result.would_change = result.changed = True
            journal = _Journal.read()
            if check_mode:
                result.reasons.append("an interrupted change is undone first; what is changed then is known only then")
                _describe(result, inspect.gather(), desired, journal.pair())
                return result
            result.reasons.append(f"a change that was interrupted is undone. {_undo(journal, desired.timeout)}")
        if desired.absent and not inspect.has_traces():
            return result
        engine = inspect.gather()
        _describe(result, engine, desired, certificate.Pair.installed())
        _refuse_no_gateway(engine, desired)
        if desired.gateway:
            _refuse_gateway(engine, check_mode)
            desired = dataclasses.replace(desired, gateway=desired.gateway.completed(engine.gateway))
            result.gateway_program_missing = not _places.program()
        lacks_ca = not desired.absent and not desired.ca
        waits = lacks_ca or (bool(result.certificate_reasons) and not desired.certificate)
        plan = _plan.absent(engine) if desired.absent else _plan.present(engine, desired)
        changes = plan.changes
        result.replaced_ca = _plan.other_ca(engine, desired)
        result.hosts = list(plan.hosts)
        result.kept = list(plan.kept)
        result.warnings = list(plan.warnings)
        if engine.info:
            result.containers = engine.api.running_containers()
        reason = _reason(engine, desired, plan, changes, waits)
        if reason:
            _refuse_restart(engine, desired, plan)
            result.warnings += _left_without_socket(engine)
        if changes:
            _plan.validate(engine, desired, plan, not waits)
        gateway_reason = "" if waits else _gateway_reason(engine, desired, plan, changes)
        result.revocation_due = bool(engine.gateway) and any(
            each.path == _places.PLACES.revocation_lists for each in changes
        )
        differs = bool(changes or reason or waits or gateway_reason)
        result.would_change = result.would_change or differs
        if lacks_ca and not check_mode and not result.certificate_reasons:
            _refuse_certificate(desired, plan)
        if waits and not check_mode:
            kept = "Only a change that was interrupted was undone." if result.recovered else "Nothing was changed."
            raise inspect.EngineError(
                f"a server certificate is due and none is given: {'; '.join(result.certificate_reasons)}. {kept} "
                "Run the playbook again, or set server_certificate."
            )
        result.changed = result.changed or differs
        result.restarted = bool(reason)
        result.reasons += [each for each in (reason, gateway_reason) if each]
        result.diff = [_diff(target) for target in changes]
        if not check_mode:
            _sweep(target.path for target in plan.targets)
            if differs:
                _locks.end_if_not_awaited(is_awaited)
                _Change(engine, desired, plan, changes, bool(reason), bool(gateway_reason), result.containers).make()
                result.running = result.running or result.restarted
                result.certificate = certificate.Pair.installed().end(desired.issuers)
    return result


def _refuse_no_gateway(engine: inspect.Engine, desired: Desired) -> None:
    """Without its gateway, whoever has a certificate is root: with a limited scope, revoked or declared by nobody."""
    if desired.gateway_stays and engine.gateway and not desired.gateway:
        raise inspect.EngineError(
            "this engine has a gateway, and docker_gateway_enabled is false for it in a run that does not know whom "
            "the gateway limits. Set docker_gateway_enabled to true for this engine, or take the gateway away with the "
            "playbook bulkhead.docker.site, which knows the client hosts."
        )


def _refuse_gateway(engine: inspect.Engine, check_mode: bool) -> None:
    """A gateway that this host cannot have."""
    if engine.service.name == _service.ServiceScript.name:
        raise inspect.EngineError(
            "the gateway runs as a unit of systemd, which this host does not have; leave docker_gateway_enabled off "
            "for this engine."
        )
    if not check_mode and not _places.program():
        raise inspect.EngineError(
            "HAProxy is missing on this host, which the gateway is; install it (Debian: haproxy)."
        )


def _gateway_reason(engine: inspect.Engine, desired: Desired, plan: Plan, changes: t.Sequence[Target]) -> str:
    """Why the gateway is started, loads its files again or is stopped; '' where nothing of it happens."""
    if any(_places.is_ours(target.path) for target in changes):
        return "the gateway gets other files" if desired.gateway else "the gateway is taken away"
    if not desired.gateway:
        return ""
    if not _gateway.runs() or not _gateway.starts_at_boot():
        return "the gateway does not run, or would not start at boot"
    found = checks.endpoint_findings(desired.listen, desired.port, desired.ca, plan.certificate)
    return f"the gateway does not run with what its files say: {found[0]}" if found else ""


def _refuse_unreadable_bundle(ca: str) -> None:
    try:
        if ca:
            x509.load_bundle(ca)
    except x509.CertificateError as error:
        raise inspect.EngineError(f"ca_certificate is no trust bundle: {error}.") from error


def _describe(result: Result, engine: inspect.Engine, desired: Desired, pair: certificate.Pair) -> None:
    """What the roles and the report want to know of an engine, and whether its certificate is due."""
    found = report.engine(engine)
    result.version, result.running = found["version"], found["running"]
    result.ssh_accounts, result.ssh_server = found["ssh_accounts"], found["ssh_server"]
    result.certificate = pair.end(desired.issuers)
    if desired.source and not desired.absent:
        result.certificate_reasons = certificate.kept_by_others(desired.source, pair, desired.certificate)
        result.findings = certificate.not_renewed(desired.source, desired.certificate, desired.renewal.renew_days)
    elif not desired.absent:
        result.certificate_reasons = pair.due(desired.issuers, desired.names, desired.renewal)


def _lock(is_awaited: t.Callable[[], bool]) -> contextlib.AbstractContextManager[None]:
    """One change at a time; in /run, where no full disk and no reboot is in the way."""
    return _locks.held(_LOCK, "this engine", _LOCK_TIMEOUT, is_awaited)


def _refuse_restart(engine: inspect.Engine, desired: Desired, plan: Plan) -> None:
    """A restart that would end containers, or that cannot be prepared."""
    _plan.refuse_container_loss(engine, desired)
    _plan.refuse_pending_edits(engine, plan)
    if engine.info and not engine.live_restore:
        _plan.refuse_reload_traps(engine)
    conflicts = engine.service.restart_conflicts() if engine.running and not desired.allow_container_restart else []
    if conflicts:
        raise inspect.EngineError(
            f"{'; '.join(conflicts)}; set docker_engine_allow_container_restart to true to have them started again."
        )


def _left_without_socket(engine: inspect.Engine) -> list[str]:
    """The containers that hold the local socket which dockerd makes anew."""
    if not engine.info or engine.service.keeps_socket:
        return []
    sockets = {engine.api.path, "/run/docker.sock", "/var/run/docker.sock"}
    names = sorted(
        str(container["Names"][0]).lstrip("/")
        for container in engine.api.get("/containers/json")
        if any(mount.get("Source") in sockets for mount in container.get("Mounts") or [])
    )
    if not names:
        return []
    return [
        f"dockerd makes {engine.api.path} anew when it restarts, so that containers that have it mounted do not reach "
        f"it until they are restarted themselves: docker restart {' '.join(names)}"
    ]


def _reason(engine: inspect.Engine, desired: Desired, plan: Plan, changes: t.Sequence[Target], waits: bool) -> str:
    """Why dockerd has to be restarted; '' where it has not. Refuses what cannot work.

    ``waits`` is a change that has to wait for its certificate.
    """
    changed = [str(target.path) for target in changes if target.restart and target.content_differs()]
    because = f"dockerd reads {', '.join(changed)} only when it starts" if changed else ""
    if desired.absent:
        return because if engine.running else ""
    if not waits:
        _refuse_certificate(desired, plan)
    served = [*(engine.hosts if engine.running else []), *engine.gateway_hosts]
    inspect.refuse_unusable_addresses(desired.listen, desired.port, served)
    if not engine.info:
        return f"dockerd does not {'answer on its local socket' if engine.running else 'run'}"
    if because or waits:
        return because or "dockerd reads its certificate only when it starts"
    listen = () if desired.gateway else desired.listen
    findings = checks.findings(engine.api, listen, desired.port, desired.ca, plan.certificate)
    return f"dockerd does not run with what its files say: {findings[0]}" if findings else ""


def _refuse_certificate(desired: Desired, plan: Plan) -> None:
    if not desired.ca:
        raise inspect.EngineError("ca_certificate is empty; give the trust bundle that belongs to server_certificate.")
    problem = _plan.certificate_problem(desired, plan)
    if problem:
        raise inspect.EngineError(problem)


def _diff(target: Target) -> dict[str, str]:
    if target.path in (inspect.CA, inspect.CERTIFICATE):
        return _files.diff(target, _described)
    if target.path != inspect.DAEMON_JSON.resolve():
        return _files.diff(target, command_line.described)  # a drop-in; what is secret is not shown at all
    # Proxies and options of log drivers hold passwords.
    before, after = _daemon_json.diff(target.existing(), target.content, str(inspect.DAEMON_JSON))
    return {**_files.diff(target), "before": before, "after": after}


def _described(content: bytes) -> str:
    try:
        return x509.describe(content)
    except x509.UNREADABLE:
        return "(no certificate that can be read)\n"


# -- daemon.json through a restart -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Cover:
    """Two copies of a daemon.json without live-restore, for the restart with it: one switches it on, one off again.

    dockerd ends the containers that it finds when it starts without live-restore. Removing the key and reloading does
    not switch it off, only an explicit false does.
    """

    path: pathlib.Path  # of daemon.json
    name: str

    @property
    def on(self) -> pathlib.Path:
        return _files.staged(self.path, f"{self.name}-on")

    @property
    def off(self) -> pathlib.Path:
        return _files.staged(self.path, f"{self.name}-off")

    def stage(self, content: t.Mapping[str, t.Any], mode: int) -> None:
        for path, value in ((self.on, True), (self.off, False)):
            _files.write(path, _daemon_json.dump({**content, "live-restore": value}), mode)

    def switch(self, engine: _Engine, value: bool) -> None:
        """Alone and by reload; a reload that dockerd rejects ends with code 0, so the daemon is asked."""
        _files.place(self.on if value else self.off, self.path)
        engine.reload(value)


@dataclasses.dataclass(frozen=True)
class _Engine:
    """The running daemon, as far as a change and its undoing move it."""

    service: _service.Service
    api: _api.LocalApi
    timeout: float

    def reload(self, live_restore: bool) -> None:
        self.service.reload()
        end = time.monotonic() + _RELOAD_TIMEOUT
        while self.api.live_restore() != live_restore:
            if time.monotonic() > end:
                raise TransactionError(
                    f"dockerd did not take live-restore: {json.dumps(live_restore)} over when it was told to reload"
                )
            time.sleep(0.05)

    def restart(self, answers: bool = True) -> None:
        """``answers`` is whether it can be expected to answer on its local socket."""
        self.service.restart(self.timeout)
        if answers and not self.api.wait(self.timeout, self.service.main_pid):
            raise TransactionError(
                f"dockerd does not answer on {self.api.path} within {self.timeout:.0f} s after its restart (more time "
                "is docker_engine_restart_timeout)"
            )


# -- journal, change, undo -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Journal:
    """What an undo needs; written before the first file changes, removed with the commit."""

    files: list[dict[str, t.Any]]  # path, existed; in the order in which they change
    daemon_json: str
    running: list[str]  # the units that ran
    process: str  # of the daemon; '' where it did not run
    answered: bool  # whether it answered on its local socket
    ran_with: dict[str, str]  # what it said of itself, as far as its files decide it
    boot: str
    live_restore: bool  # of the running daemon
    containers: list[dict[str, t.Any]]
    followers: list[str]  # units that a restart may take down
    gateway_ran: bool = False

    @classmethod
    def read(cls) -> _Journal:
        try:
            journal = cls(**json.loads(inspect.JOURNAL.read_text(encoding="utf-8")))
            files = [{"path": str(file["path"]), "existed": bool(file["existed"])} for file in journal.files]
            return dataclasses.replace(journal, files=files)
        except (ValueError, TypeError, KeyError) as error:
            raise TransactionError(
                f"{inspect.JOURNAL} of an interrupted change is damaged ({error}); compare the files in /etc/docker "
                "with their hidden .bulkhead-old copies by hand, then remove the journal."
            ) from error

    def pair(self) -> certificate.Pair:
        """The certificate and the key that an undo gives back."""

        def before(path: pathlib.Path) -> bytes | None:
            for file in self.files:
                if file["path"] == str(path):
                    old = _files.staged(path, "old")
                    return _files.content(old if os.path.lexists(old) else path) if file["existed"] else None
            return _files.content(path)

        return certificate.Pair(before(inspect.CERTIFICATE), before(inspect.PRIVATE_KEY))

    def write(self) -> None:
        _files.replace(inspect.JOURNAL, json.dumps(dataclasses.asdict(self)).encode(), 0o600)

    def remove(self) -> None:
        """The moment from which the change, or its undoing, stands. What is staged goes only after it."""
        inspect.JOURNAL.unlink(missing_ok=True)
        _files.sync_folder(inspect.STATE_DIR)
        _sweep(pathlib.Path(file["path"]) for file in self.files)
        _tidy()


def _sweep(paths: t.Iterable[pathlib.Path]) -> None:
    """Remove what was staged."""
    for path in (*paths, inspect.JOURNAL):
        _files.sweep(path)


def _tidy() -> None:
    """Remove the folders that were made for a change and are empty without it."""
    for folder in (inspect.TLS_DIR, inspect.STATE_DIR, _service.Systemd.drop_in_dir, _places.PLACES.config):
        _files.remove_if_empty(folder)


class _Change:
    """Files, then one restart, then the verification; everything back when one of them fails."""

    def __init__(
        self,
        engine: inspect.Engine,
        desired: Desired,
        plan: Plan,
        changes: t.Sequence[Target],
        restart: bool,
        gateway: bool,
        containers: list[dict[str, t.Any]],
    ) -> None:
        self.engine, self.desired, self.plan = engine, desired, plan
        self.restart, self.gateway, self.containers = restart, gateway, containers
        self.daemon = _Engine(engine.service, engine.api, desired.timeout)
        self.followers = engine.service.followers() if restart else []
        covered = restart and engine.info is not None and _plan.may_have_live_restore(engine)
        # daemon.json belongs to it also where it stays: live-restore passes through it.
        self.changes = [
            target for target in plan.targets if target in changes or (covered and target is plan.daemon_json)
        ]
        path = plan.daemon_json.path
        self.before = _Cover(path, "before") if covered and not engine.daemon_json.get("live-restore") else None
        self.after = _Cover(path, "after") if covered and not plan.live_restore else None
        self.switches_on = covered and not engine.live_restore

    def make(self) -> None:
        journal = self._stage()
        mark = self.engine.service.log_mark()
        try:
            self._apply()
            self._verify()
            self.engine.service.release()
        except (TransactionError, *_FAILURES) as error:
            log = _complaints(self.engine.service.log_since(mark))
            because = f" dockerd says: {log[-1].rstrip('.')}." if log else ""
            try:
                state = _undo(journal, self.desired.timeout)
            except (TransactionError, *_FAILURES) as second:
                raise TransactionError(
                    f"{error}.{because} It could not be undone ({second}); the next run tries that again first.", log
                ) from error
            raise TransactionError(f"{error}.{because} {state}", log, rolled_back=True) from error
        journal.remove()
        if self.desired.private_key == inspect.PENDING_KEY or self.desired.absent:
            shutil.rmtree(inspect.PENDING_KEY.parent, ignore_errors=True)
            _files.remove_if_empty(inspect.STATE_DIR)
        if self.gateway and not self.desired.gateway:
            _gateway.remove_account()

    def _stage(self) -> _Journal:
        """Take all the space that the change and its undoing need."""
        journal = _Journal(
            files=[{"path": str(s.path), "existed": os.path.lexists(s.path)} for s in self.changes],
            daemon_json=str(self.plan.daemon_json.path),
            running=self.engine.service.running_units(),
            process=self.engine.service.process(),
            answered=self.engine.info is not None,
            ran_with=_runs_with(self.engine.api) if self.engine.info else {},
            boot=_service.boot(),
            live_restore=self.engine.live_restore,
            containers=self.containers,
            followers=self.followers,
            gateway_ran=self.gateway and _gateway.runs(),
        )
        try:
            if self.gateway and self.desired.gateway:
                _gateway.ensure_account()
            inspect.STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
            for target in self.changes:
                target.stage()
            if self.before:
                self.before.stage(self.engine.daemon_json, self.plan.daemon_json.mode)
            if self.after:
                self.after.stage(self.plan.content, self.plan.daemon_json.mode)
            journal.write()
        except (OSError, _places.UnitError) as error:
            _sweep(target.path for target in self.plan.targets)
            _tidy()
            why = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
            raise TransactionError(f"the new files could not be prepared ({why}); nothing was changed.") from error
        return journal

    def _apply(self) -> None:
        if self.switches_on:
            if self.before:
                self.before.switch(self.daemon, True)
            else:
                self.daemon.reload(True)
        for target in self.changes:
            target.swap()
        if self.gateway and not self.desired.gateway:
            _gateway.stop()  # dockerd listens there now
        if self.restart:
            self._restart()
        if self.gateway and self.desired.gateway:
            _gateway.start(any(target.path == _places.UNIT for target in self.changes))
            _gateway.cut(self.desired.gateway.changed_for(self.engine.gateway))

    def _restart(self) -> None:
        if self.after:
            _files.place(self.after.on, self.after.path)
        if self.followers:
            self.engine.service.hold()
        self.engine.service.read_units()
        self.daemon.restart()
        self.engine.service.start_again(self.followers)
        if self.after:
            self.after.switch(self.daemon, False)
            self.plan.daemon_json.swap()

    def _verify(self) -> None:
        if not self.restart and not self.gateway:
            return
        desired, api = self.desired, self.engine.api
        if desired.absent:
            findings = _still_open(self.engine, self.plan)
        else:
            findings = checks.findings(api, desired.listen, desired.port, desired.ca, self.plan.certificate)
        lost = [] if desired.allow_container_restart else api.lost(self.containers)
        findings += [f"the container {name} was ended" for name in lost]
        if findings:
            raise TransactionError(f"the engine failed verification: {'; '.join(findings)}")


def _still_open(engine: inspect.Engine, plan: Plan) -> list[str]:
    """Former endpoints of ours at which somebody still answers."""
    stay = {host.port for host in hosts.network([*plan.hosts, *(flag.host for flag in engine.command_line.hosts)])}
    found = []
    for host in hosts.network([*engine.hosts, *engine.gateway_hosts]):
        if host.port in stay:
            continue
        if handshake.plain_http(checks.reachable(host.address), host.port).outcome != "closed":
            found.append(f"{host} still answers")
    return found


def _undo(journal: _Journal, timeout: float) -> str:
    """Give all files back, restart dockerd with them if it was restarted, and say in which state the engine is."""
    service = _service.service()
    daemon = _Engine(service, _api.LocalApi(service.socket_path), max(timeout, _UNDO_TIMEOUT))
    has_gateway = any(_places.is_ours(pathlib.Path(file["path"])) for file in journal.files)
    tried = _gateway_settings()
    if has_gateway and not journal.gateway_ran:
        _gateway.stop()
    path = pathlib.Path(journal.daemon_json)
    cover = _Cover(path, "before")
    covered = cover.on.exists() and cover.off.exists()
    restarted = bool(journal.process) and service.process() != journal.process
    with contextlib.suppress(_service.ServiceError, _api.ApiError, TransactionError):
        after = _Cover(path, "after")
        if restarted and after.on.exists() and not daemon.api.live_restore():
            after.switch(daemon, True)  # it was switched off again already, and there is one more restart to come
    for file in reversed(journal.files):
        _put_back(file)
    service.read_units()
    problem = ""
    if not journal.process:
        service.stop(journal.running)
    else:
        try:
            if restarted or (journal.answered and not daemon.api.answers()):
                if covered:
                    _files.place(cover.on, path)
                daemon.restart(journal.answered)
            if covered and not journal.live_restore and daemon.api.live_restore():
                cover.switch(daemon, False)
        except (_service.ServiceError, _api.ApiError, TransactionError) as error:
            problem = str(error)
        for file in journal.files:
            if file["path"] == journal.daemon_json:
                _put_back(file)
        service.start_again(journal.followers)
    if has_gateway and journal.gateway_ran:
        _gateway.start(unit_changed=False)
        restored = _gateway_settings()
        _gateway.cut(restored.settings.changed_for(tried) if restored else ())  # who could do more meanwhile
    service.release()
    state = _state_after_undo(journal, daemon, problem)
    journal.remove()
    return state


def _gateway_settings() -> Installed | None:
    with contextlib.suppress(inspect.EngineError):
        return inspect.installed_gateway()
    return None


def _state_after_undo(journal: _Journal, daemon: _Engine, problem: str) -> str:
    """What an undo has reached, which gives files back and not always what ran."""
    if problem:
        hint = " Containers run on; start it with live-restore to keep them." if journal.containers else ""
        return f"Its previous files are back, but dockerd does not run with them: {problem}.{hint}"
    if not journal.process:
        return "Its previous files are back, and dockerd is stopped as before."
    ended = [
        f"{unit} was active and is {state} now ('systemctl status {unit}' shows why)"
        for unit, state in daemon.service.not_active(journal.followers, _UNITS_TIMEOUT).items()
    ]
    if not journal.answered:
        but = f", but {'; '.join(ended)}" if ended else ""
        return (
            "Its previous files are back and dockerd runs with them; as before, it does not answer on its local "
            f"socket{but}."
        )
    try:
        differs = [*_differences(journal, daemon.api), *ended]
    except _api.ApiError as error:
        return f"Its previous files are back and dockerd runs with them, but cannot be asked: {error}."
    if differs:
        return f"Its previous files are back and the engine answers, but not as before: {'; '.join(differs)}."
    return "Its previous files are back and the engine answers as before."


def _differences(journal: _Journal, api: _api.LocalApi) -> list[str]:
    """What runs otherwise than before the change."""
    now = _runs_with(api)
    found = [
        f"dockerd runs with {name} {now[name]} instead of {value}, because its files already said so before this change"
        for name, value in journal.ran_with.items()
        if now.get(name, value) != value
    ]
    lost = set(api.lost(journal.containers)) if journal.boot == _service.boot() else set()
    for container in (each for each in journal.containers if each["name"] in lost):
        alive = pathlib.Path(f"/proc/{container['pid']}").exists()
        found.append(f"{container['name']} {'runs on, unknown to dockerd' if alive else 'had to be ended'}")
    return found


def _runs_with(api: _api.LocalApi) -> dict[str, str]:
    """What the files decide when dockerd starts, as it runs now."""
    info = api.get("/info")
    return {name: str(info.get(name)) for name in ("DockerRootDir", "Driver", "LoggingDriver", "CgroupDriver")}


def _put_back(file: t.Mapping[str, t.Any]) -> None:
    path = pathlib.Path(file["path"])
    _files.restore(path, file["existed"], _files.staged(path, "old"))


def _complaints(log: t.Sequence[str]) -> list[str]:
    """The errors in a log. dockerd prints what it ends with without a level, and not always with a word for it."""
    words = ("fatal", "error", "failed", "unable", "invalid")
    said = [line.strip() for line in log if line.strip() and not _NO_COMPLAINT.search(line)]
    return ([line for line in said if any(word in line.lower() for word in words)] or said)[-8:]
