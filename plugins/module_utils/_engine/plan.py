# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a change of an engine consists of: its files, and everything that speaks against it before it has begun."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import tempfile
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api as _api
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line, inspect, report
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json as _daemon_json
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import hosts as _hosts
from ansible_collections.bulkhead.docker.plugins.module_utils._engine.certificate import Renewal
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509

if t.TYPE_CHECKING:
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.settings import Settings

_NOTICE = "# Written by the Ansible collection bulkhead.docker; hosts and TLS are in /etc/docker/daemon.json.\n"
_TLS_FILES = ((inspect.CA, 0o444), (inspect.CERTIFICATE, 0o444), (inspect.PRIVATE_KEY, 0o400))


# Where dockerd's flag has another name than the key of daemon.json.
_OTHER_FLAGS = {
    "authorization-plugins": ("authorization-plugin",),
    "data-root": ("graph",),
    "default-ulimits": ("default-ulimit",),
    "dns-opts": ("dns-opt",),
    "exec-opts": ("exec-opt",),
    "insecure-registries": ("insecure-registry",),
    "labels": ("label",),
    "log-opts": ("log-opt",),
    "registry-mirrors": ("registry-mirror",),
    "runtimes": ("add-runtime",),
    "storage-opts": ("storage-opt",),
}


@dataclasses.dataclass(frozen=True)
class Desired:
    """The engine as it shall be."""

    listen: tuple[str, ...]
    port: int
    options: t.Mapping[str, t.Any]
    ca: str  # the trust bundle, PEM; '' where the CA does not exist yet
    certificate: str  # PEM; '' keeps the installed one
    private_key: pathlib.Path | None  # made on this engine; None keeps the installed one
    names: tuple[str, ...]  # that the certificate must cover
    allow_container_restart: bool
    timeout: float
    retired_cas: str = ""  # PEM; CAs that this run's CA has replaced
    replace_ca: bool = False  # whether a CA that is neither of these may go
    source: str = ""  # file that something else keeps ``certificate`` in
    server_ca: str = ""  # PEM; the CAs that it comes from, where these are not those whose clients are let in
    gateway: Settings | None = None  # that stands before it; without one, dockerd listens itself
    gateway_stays: bool = False  # where one is there and none is wanted, nothing is done
    absent: bool = False  # everything that this collection did is taken back
    renewal: Renewal = dataclasses.field(default_factory=Renewal)

    @property
    def issuers(self) -> str:
        return self.server_ca or self.ca


@dataclasses.dataclass(frozen=True)
class Plan:
    """The files of a change in the order in which they change, and what the operator has to know.

    The order is one in which dockerd can be started at every moment: our drop-in is there as long as daemon.json has
    hosts.
    """

    targets: tuple[Target, ...]
    daemon_json: Target
    content: t.Mapping[str, t.Any]  # of daemon.json
    hosts: tuple[str, ...]
    certificate: str = ""
    kept: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> list[Target]:
        return [target for target in self.targets if target.differs()]

    @property
    def live_restore(self) -> bool:
        return bool(self.content.get("live-restore"))


def present(engine: inspect.Engine, desired: Desired) -> Plan:
    """The engine answers on its TLS endpoint."""
    _daemon_json.refuse_weak_options(desired.options)
    if engine.service.socket_unit_addresses:
        addresses = ", ".join(engine.service.socket_unit_addresses)
        raise inspect.EngineError(
            f"docker.socket listens on {addresses}, which this collection does not undo; remove that ListenStream "
            "('systemctl cat docker.socket' shows its file) and restart docker.socket."
        )
    _refuse_unknown_ca(engine, desired)
    remote = engine.command_line.remote_flags
    drop_in = engine.service.own_drop_in()
    if remote and drop_in is None:
        raise inspect.EngineError(
            f"{remote[0].source} gives dockerd '{' '.join(remote[0].words)}', which would stand against daemon.json; "
            "remove the flag there."
        )
    hosts, warnings = _listen(engine, desired)
    content, managed = _daemon_json.merge(engine.daemon_json, _keys(engine, desired, hosts), _managed(engine))
    if engine.swarm != "inactive" and content.get("live-restore"):
        raise inspect.EngineError(
            f"this engine is a swarm member, where dockerd does not start with live-restore; remove that option from "
            f"docker_engine_daemon_options or {inspect.DAEMON_JSON}."
        )
    daemon_json = _daemon_json_target(engine, content)
    certificate = _pem(desired.certificate) or (_files.content(inspect.CERTIFICATE) or b"").decode("ascii", "replace")
    targets = [
        Target(path, text, mode, secret=path == inspect.PRIVATE_KEY, restart=desired.gateway is None)
        for (path, mode), text in zip(
            _TLS_FILES, (_pem(desired.ca).encode(), certificate.encode(), _private_key(desired))
        )
        if text
    ]
    program, *words = engine.command_line.without_remote_flags()
    start = command_line.exec_start([engine.service.exec_program(program), *words])
    line = f"{_NOTICE}[Service]\nExecStart=\nExecStart={start}\n"
    targets += [
        Target(path, line.encode(errors="surrogateescape") if remote and path == drop_in else None)
        for path in engine.service.own_drop_ins
    ]
    targets.append(daemon_json)
    targets += _gateway_files(engine, desired, certificate)
    state = inspect.State(
        managed=managed,
        drop_in=str(drop_in) if remote else None,
        originals=engine.state.originals or _originals(engine),
    )
    targets.append(Target(inspect.STATE, state.dump(), 0o600, secret=True, restart=False))
    return Plan(
        targets=tuple(targets),
        daemon_json=daemon_json,
        content=content,
        hosts=tuple(hosts),
        certificate=certificate,
        warnings=tuple(warnings),
    )


def other_ca(engine: inspect.Engine, desired: Desired) -> str:
    """The CA that the engine trusts, where it is not this run's and none that this run's has replaced."""
    path = report.trusted_ca(engine)
    trusted = _files.content(path) if path and not desired.absent else None
    return x509.described(x509.strangers((trusted or b"").decode("ascii", "replace"), desired.ca, desired.retired_cas))


def _gateway_files(engine: inspect.Engine, desired: Desired, certificate: str) -> list[Target]:
    """Those of its gateway; none yet where a CA or a certificate is still to be made."""
    if not desired.gateway:
        return _places.nothing()
    key = _private_key(desired)
    if not desired.ca or not certificate or not key:
        return []
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import files  # loaded for a gateway alone

    return files.targets(
        desired.gateway,
        desired.listen,
        desired.port,
        _pem(desired.ca),
        certificate,
        key,
        engine.service.socket_path,
    )


def _refuse_unknown_ca(engine: inspect.Engine, desired: Desired) -> None:
    """Whoever has an identity of the CA that the engine trusts would be shut out."""
    other = other_ca(engine, desired)
    if other and not desired.replace_ca:
        raise inspect.EngineError(
            f"this engine trusts another CA than this run's, in {report.trusted_ca(engine)}: {other}. "
            "Point docker_ca_host and docker_ca_dir at that CA, or bring its directory back from a backup. "
            "To replace it, set docker_engine_replace_ca to true for this engine; whoever has an identity of that CA "
            "alone is shut out then."
        )


def _pem(text: str) -> str:
    """The text as a file; lookups and registered output come without the last newline."""
    return f"{text.strip()}\n" if text.strip() else ""


def absent(engine: inspect.Engine) -> Plan:
    """The engine is as it was before this collection came, but for what others have changed since."""
    managed, recorded = _managed(engine), engine.state.recorded
    ours = recorded or bool(managed.previous)
    content, _ = _daemon_json.merge(engine.daemon_json, {}, managed)
    original = engine.state.originals.get(str(inspect.DAEMON_JSON))
    before = _daemon_json.parse(original.content if original else None, f"daemon.json as it is in {inspect.STATE}")
    kept = _differences(content, before) if recorded else []
    warnings = []
    closed = _open_hosts(engine, content) if ours else []
    if closed:
        rest = [host for host in _daemon_json.texts(content, "hosts") if host not in closed]
        content = {key: value for key, value in content.items() if key != "hosts"}
        content.update({"hosts": rest} if rest else {})
        warnings.append(
            f"{', '.join(host.strip() for host in closed)} was open to everybody before and does not come back."
        )
    # Docker 20.10 does not start with an empty file, and no file is the same to every release.
    was_none = original is None or not original.content.strip()
    if recorded and not kept and not closed and not (original and was_none):
        daemon_json = _put_back(_real(inspect.DAEMON_JSON), original)
    elif ours and not content and was_none:
        daemon_json = Target(_real(inspect.DAEMON_JSON), None)
    else:
        daemon_json = _daemon_json_target(engine, content)
    targets = [daemon_json, *(Target(path, None) for path in engine.service.own_drop_ins)]
    if ours:
        targets += [
            _put_back(path, engine.state.originals.get(str(path)), secret=path == inspect.PRIVATE_KEY)
            for path, _ in _TLS_FILES
        ]
    targets += [*_places.nothing(), Target(inspect.STATE, None, secret=True, restart=False)]
    return Plan(
        targets=tuple(targets),
        daemon_json=daemon_json,
        content=content,
        hosts=tuple(_daemon_json.hosts(content, str(inspect.DAEMON_JSON))),
        kept=tuple(kept),
        warnings=tuple(warnings),
    )


def _put_back(path: pathlib.Path, original: inspect.Original | None, secret: bool = False) -> Target:
    if original is None:
        return Target(path, None, secret=secret)
    return Target(path, original.content, original.mode, secret=secret)


def _differences(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> list[str]:
    return [key for key in sorted({*one, *other}) if key not in one or key not in other or one[key] != other[key]]


def _open_hosts(engine: inspect.Engine, content: t.Mapping[str, t.Any]) -> list[str]:
    """The hosts of a former daemon.json that need no client certificate of one CA; refused where they are flags."""
    if report.verifies(engine, content):
        return []
    for flag in engine.command_line.hosts:
        if _hosts.is_network(flag.host):
            raise inspect.EngineError(
                f"{flag.source} gives dockerd '{' '.join(flag.words)}', which would be open to everybody again without "
                "this collection; remove the flag there first."
            )
    return _daemon_json.network_entries(content, str(inspect.DAEMON_JSON))


def _listen(engine: inspect.Engine, desired: Desired) -> tuple[list[str], list[str]]:
    """The entries of hosts, and a sentence for everything else that dockerd listened on or was told about TLS."""
    warnings = []
    for flag in engine.command_line.remote_flags:
        if flag.name != "host":
            warnings.append(f"--{flag.name} from {flag.source} is taken over by daemon.json.")
        elif _hosts.is_network(flag.host):
            warnings.append(f"{flag.value} from {flag.source} is taken over: dockerd listens there no more.")
    path = str(inspect.DAEMON_JSON)
    tcp = [] if desired.gateway else [inspect.listen_host(address, desired.port) for address in desired.listen]
    # Under our own mutual TLS, an entry that goes is an address or port of ours that has changed.
    if not _managed(engine).previous or not _daemon_json.asks_for_client_certificates(engine.daemon_json):
        for host in _hosts.network(_daemon_json.hosts(engine.daemon_json, path)):
            if str(host) not in tcp and not (desired.gateway and host.port == desired.port):
                warnings.append(f"{host} from {path} is removed: dockerd listens there no more.")
    sockets = _hosts.extra_sockets(
        [*_daemon_json.hosts(engine.daemon_json, path), *(flag.host for flag in engine.command_line.hosts)]
    )
    return list(dict.fromkeys([engine.service.local_host, *sockets, *tcp])), warnings


def _keys(engine: inspect.Engine, desired: Desired, hosts: t.Sequence[str]) -> dict[str, t.Any]:
    """The keys of daemon.json that are ours."""
    for key in desired.options:
        flag = engine.command_line.last(key, *_OTHER_FLAGS.get(key, ()))
        if flag:
            raise inspect.EngineError(
                f"daemon option '{key}' is also given as a flag by {flag.source}; dockerd refuses to start "
                "with both, remove one of them."
            )
    keys: dict[str, t.Any] = {
        "hosts": list(hosts),
        "tlsverify": True,
        "tlscacert": str(inspect.CA),
        "tlscert": str(inspect.CERTIFICATE),
        "tlskey": str(inspect.PRIVATE_KEY),
    }
    if may_have_live_restore(engine):
        keys["live-restore"] = True
    return {**keys, **desired.options}


def may_have_live_restore(engine: inspect.Engine) -> bool:
    """Whether daemon.json decides about live-restore: not on a swarm member, and not beside the flag."""
    return engine.swarm == "inactive" and not engine.command_line.last("live-restore")


def _managed(engine: inspect.Engine) -> _daemon_json.Managed:
    """What is ours in daemon.json: as recorded or, where the record is lost, everything about hosts and TLS."""
    if engine.state.recorded or engine.daemon_json.get("tlscacert") != str(inspect.CA):
        return engine.state.managed
    ours = ("hosts", "live-restore", *_daemon_json.TLS_KEYS)
    return _daemon_json.Managed({key: [] for key in ours if key in engine.daemon_json})


def _originals(engine: inspect.Engine) -> dict[str, inspect.Original | None]:
    """The files that a removal gives back; none where they are ours already and only the record is lost."""
    lost = bool(_managed(engine).previous)
    originals: dict[str, inspect.Original | None] = {}
    for path in (inspect.DAEMON_JSON, *(path for path, _ in _TLS_FILES)):
        content = None if lost else _files.content(path)
        originals[str(path)] = None if content is None else inspect.Original(content, _files.mode(path, 0))
    return originals


def _real(path: pathlib.Path) -> pathlib.Path:
    """Where a link leads: the file is changed there, and the link stays."""
    return path.resolve()


def _daemon_json_target(engine: inspect.Engine, content: t.Mapping[str, t.Any]) -> Target:
    path = _real(inspect.DAEMON_JSON)
    current = _files.content(path)
    # Where the content is the same, not a byte of somebody's file is touched.
    same = content == engine.daemon_json
    return Target(path, current if same else _daemon_json.dump(content, like=current), _files.mode(path, 0o644))


def _private_key(desired: Desired) -> bytes:
    if desired.private_key is None:
        return _files.content(inspect.PRIVATE_KEY) or b""
    try:
        return desired.private_key.read_bytes()
    except OSError as error:
        raise inspect.EngineError(
            f"the private key {desired.private_key} cannot be read on the engine ({error.strerror}); "
            "make it there first."
        ) from error


def certificate_problem(desired: Desired, plan: Plan) -> str:
    """What dockerd would not start with, or start with and clients would then not accept; '' where all is well."""
    key = next((target.content for target in plan.targets if target.path == inspect.PRIVATE_KEY), None)
    if not plan.certificate:
        return (
            "the engine has no server certificate yet and none was given; set server_certificate and private_key_path."
        )
    if not key:
        return f"{inspect.PRIVATE_KEY} is missing on the engine and no key was given; set private_key_path."
    if not x509.key_matches(plan.certificate, key):
        return "the server certificate does not match its private key; give the pair that belongs together."
    through = bool(desired.source)
    problems = x509.problems(plan.certificate, desired.issuers, usage="server", names=desired.names, through=through)
    if problems and desired.source:
        return (
            f"clients would not accept the server certificate in {desired.source}: {'; '.join(problems)}. Let "
            "whoever keeps it there correct that, or correct docker_engine_certificate_path or docker_engine_server_ca."
        )
    return f"clients would not accept the server certificate: {'; '.join(problems)}." if problems else ""


def refuse_container_loss(engine: inspect.Engine, desired: Desired) -> None:
    """A restart may end no container, unless the operator allows just that."""
    if desired.allow_container_restart or not engine.running or engine.live_restore:
        return
    if engine.info is None:
        raise inspect.EngineError(
            f"dockerd runs, but cannot be asked ({engine.info_error}{_elsewhere(engine)}), so that a restart would end "
            "containers that run; let root use dockerd's local socket, or set docker_engine_allow_container_restart to "
            "true."
        )
    if engine.swarm != "inactive":
        raise inspect.EngineError(
            "this engine is a swarm member, where a restart of dockerd ends its containers; drain the node and set "
            "docker_engine_allow_container_restart to true."
        )
    by_flag = engine.command_line.last("live-restore")
    if by_flag and engine.api.running_containers():
        raise inspect.EngineError(
            f"containers run and {by_flag.source} switches live-restore off, so that a restart of dockerd would end "
            "them; remove the flag there or set docker_engine_allow_container_restart to true."
        )


def _elsewhere(engine: inspect.Engine) -> str:
    """Where a daemon listens that does not listen on the local socket."""
    found = [_hosts.parse(host) for host in engine.hosts]
    if any(host.scheme == "fd" or host.address == engine.service.socket_path for host in found):
        return ""
    own = {_hosts.DEFAULT_SOCKET, str(pathlib.Path(_hosts.DEFAULT_SOCKET).resolve())}
    if any(host.address in own for host in found):
        return ""
    return f"; it listens on {', '.join(map(str, found))} instead"


@dataclasses.dataclass(frozen=True)
class _Setting:
    """Something with which another daemon would find other containers, or lose them."""

    name: str
    runs: str
    by_files: str
    source: str


def refuse_pending_edits(engine: inspect.Engine, plan: Plan) -> None:
    """Somebody's edit that no daemon has loaded yet must not come to life by a restart of ours.

    The same for an option of the operator's own with which the containers that run would not be found again.
    """
    if engine.info is None:
        return
    for setting in _settings(engine, engine.info, engine.daemon_json):
        if setting.by_files != setting.runs:
            raise inspect.EngineError(
                f"{setting.source} says {setting.name} {setting.by_files}, and the running dockerd uses {setting.runs} "
                "(docker info); take the edit back, or restart dockerd with it first."
            )
    if not engine.info.containers_running:
        return
    for setting in _settings(engine, engine.info, plan.content):
        if setting.by_files != setting.runs:
            raise inspect.EngineError(
                f"containers run with {setting.name} {setting.runs}, and would not be found again with "
                f"{setting.by_files}; stop them first or leave that option out of docker_engine_daemon_options."
            )


def _settings(engine: inspect.Engine, info: _api.Info, content: t.Mapping[str, t.Any]) -> t.Iterator[_Setting]:
    """What runs beside what the flags and this daemon.json say, as far as these say it."""

    def given(key: str, *flags: str) -> tuple[str, str]:
        flag = engine.command_line.last(key, *flags)
        return (flag.value, flag.source) if flag else (str(content.get(key) or ""), str(inspect.DAEMON_JSON))

    root, source = given("data-root", "graph")
    root = root or str(content.get("graph") or "/var/lib/docker")
    runs = re.sub(r"/\d+\.\d+$", "", info.data_root) if info.userns_remap else info.data_root
    if runs and os.path.realpath(root) != os.path.realpath(runs):
        yield _Setting("data-root", runs, root, source)
    driver, source = given("storage-driver")
    if driver and info.storage_driver and not info.containerd_images:  # there the name is a snapshotter's
        yield _Setting("storage-driver", info.storage_driver, driver, source)
    remap, source = given("userns-remap")
    yield _Setting("userns-remap", _on(info.userns_remap), _on(bool(remap)), source)
    snapshotter = (content.get("features") or {}).get("containerd-snapshotter")
    if isinstance(snapshotter, bool):
        source = str(inspect.DAEMON_JSON)
        yield _Setting("containerd-snapshotter", _on(info.containerd_images), _on(snapshotter), source)
    for option, source in _exec_options(engine, content):
        name, _, value = option.partition("=")
        if name == "native.cgroupdriver" and value and info.cgroup_driver:
            yield _Setting(name, info.cgroup_driver, value, source)


def _exec_options(engine: inspect.Engine, content: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    flags = [(flag.value, flag.source) for flag in engine.command_line.flags if flag.name == "exec-opt"]
    return [*flags, *((option, str(inspect.DAEMON_JSON)) for option in _daemon_json.texts(content, "exec-opts"))]


def _on(value: bool) -> str:
    return "on" if value else "off"


def refuse_reload_traps(engine: inspect.Engine) -> None:
    """Authorization plugins that a reload would drop, or that dockerd would end for, which it does at a reload."""
    flag = engine.command_line.last("authorization-plugin")
    if flag:
        raise inspect.EngineError(
            f"{flag.source} gives dockerd '{' '.join(flag.words)}', which it forgets at the reload that this "
            "change needs; name the plugin in 'authorization-plugins' of daemon.json instead and restart dockerd."
        )
    active = engine.info.authorization_plugins if engine.info else ()
    for plugin in _daemon_json.texts(engine.daemon_json, "authorization-plugins"):
        if plugin not in active:
            raise inspect.EngineError(
                f"{inspect.DAEMON_JSON} names the authorization plugin '{plugin}', which the running dockerd does not "
                "use and might end for at the reload that this change needs; restart dockerd with it or remove it."
            )


def validate(engine: inspect.Engine, desired: Desired, plan: Plan, tls: bool) -> None:
    """dockerd's own check of the candidate, with the flags it will be started with (Docker 23.0 and later).

    Without ``tls`` all but the TLS files is checked, because there is no certificate that will be used.
    """
    flags = [
        word
        for flag in engine.command_line.flags
        if flag.name not in (*command_line.REMOTE_FLAGS, "config-file") and not {"$", "%"} & set("".join(flag.words))
        for word in flag.words
    ]
    with tempfile.TemporaryDirectory(prefix="bulkhead-", dir="/run") as folder:
        candidate = dict(plan.content)
        if not tls and not desired.absent:
            candidate = {key: value for key, value in candidate.items() if key not in _daemon_json.TLS_KEYS}
        elif not desired.absent:
            # The key stays where it is: it is never copied for a check.
            candidate["tlskey"] = str(desired.private_key or inspect.PRIVATE_KEY)
            for key, content in (("tlscacert", desired.ca), ("tlscert", plan.certificate)):
                candidate[key] = str(pathlib.Path(folder, f"{key}.pem"))
                _files.write(pathlib.Path(candidate[key]), content.encode(), 0o400)
        file = pathlib.Path(folder, "daemon.json")
        _files.write(file, _daemon_json.dump(candidate), 0o400)
        done = subprocess.run(
            (engine.dockerd, "--validate", f"--config-file={file}", *flags),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode and "unknown flag: --validate" not in done.stderr:
        said = done.stderr.strip().splitlines()
        message = said[-1].replace(str(file), str(inspect.DAEMON_JSON)) if said else "no message"
        raise inspect.EngineError(f"dockerd refuses the new {inspect.DAEMON_JSON}: {message}; nothing was changed.")
    if tls and desired.gateway:
        from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import files

        files.validate(plan.targets)
