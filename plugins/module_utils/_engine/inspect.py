# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading an engine: everything that the roles decide from and the audit reports."""

from __future__ import annotations

import base64
import dataclasses
import errno
import ipaddress
import json
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api as _api
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line as _command_line
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json as _daemon_json
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import hosts as _hosts
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names as _names

if t.TYPE_CHECKING:
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.settings import Installed, Settings

DAEMON_JSON = pathlib.Path("/etc/docker/daemon.json")
TLS_DIR = pathlib.Path("/etc/docker/tls")
CA = TLS_DIR / "ca.pem"
CERTIFICATE = TLS_DIR / "server-cert.pem"
PRIVATE_KEY = TLS_DIR / "server-key.pem"
STATE_DIR = pathlib.Path("/var/lib/bulkhead")
STATE = STATE_DIR / "state.json"
JOURNAL = STATE_DIR / "journal.json"
PENDING_KEY = STATE_DIR / "pending" / "server-key.pem"


class EngineError(Exception):
    """One sentence about an engine that cannot be worked with."""


@dataclasses.dataclass(frozen=True)
class Original:
    """A file as it was before this collection changed it first."""

    content: bytes
    mode: int


@dataclasses.dataclass(frozen=True)
class State:
    """What the collection recorded about its own work on this engine."""

    managed: _daemon_json.Managed
    drop_in: str | None
    originals: t.Mapping[str, Original | None]  # path -> the file before; None where there was none

    @property
    def recorded(self) -> bool:
        return bool(self.originals)

    @classmethod
    def read(cls) -> State:
        try:
            record = json.loads(STATE.read_text(encoding="utf-8"))
            originals = {
                path: Original(base64.b64decode(file["content"]), int(file["mode"])) if file else None
                for path, file in record["originals"].items()
            }
            drop_in = record["drop_in"]
            return cls(_daemon_json.Managed.from_record(record["managed"]), drop_in and str(drop_in), originals)
        except FileNotFoundError:
            return cls(managed=_daemon_json.Managed({}), drop_in=None, originals={})
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise EngineError(
                f"{STATE} is damaged ({error}); it records what this collection changed, restore it from a backup "
                "or remove it to start with the present daemon.json as the engine's own."
            ) from error

    def dump(self) -> bytes:
        originals = {
            path: {"content": base64.b64encode(file.content).decode(), "mode": file.mode} if file else None
            for path, file in self.originals.items()
        }
        record = {"version": 1, "managed": self.managed.previous, "drop_in": self.drop_in, "originals": originals}
        return (json.dumps(record, indent=2) + "\n").encode()


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine as it was found."""

    service: _service.Service
    api: _api.LocalApi
    state: State
    dockerd: str
    command_line: _command_line.CommandLine
    daemon_json: dict[str, t.Any]
    running: bool  # whether there is a process of dockerd
    info: _api.Info | None  # of the running daemon; None where it does not say
    info_error: str  # why it does not, where it runs
    gateway: Installed | None = None  # that stands before it

    @property
    def swarm(self) -> str:
        """The state of its membership; where the daemon does not answer, by the file that a member keeps."""
        if self.info is None:
            state = os.path.join(self.data_root, "swarm", "docker-state.json")  # noqa: PTH118
            found = os.path.exists(state)  # noqa: PTH110  # raises for no path, however odd
            return "unknown" if found else "inactive"
        return self.info.swarm

    @property
    def live_restore(self) -> bool:
        return self.info is not None and self.info.live_restore

    @property
    def data_root(self) -> str:
        """Where dockerd would keep its data if it were started now."""
        flag = self.command_line.last("data-root", "graph")
        by_file = self.daemon_json.get("data-root") or self.daemon_json.get("graph")
        return (flag.value if flag else by_file) or "/var/lib/docker"

    @property
    def gateway_hosts(self) -> list[str]:
        """Where its gateway listens."""
        gateway = self.gateway
        return [listen_host(address, gateway.port) for address in gateway.listen] if gateway else []

    @property
    def hosts(self) -> list[str]:
        """Where the daemon listens, by its daemon.json and, unless our drop-in takes them away, its flags."""
        flags = [] if self.state.drop_in else [flag.host for flag in self.command_line.hosts]
        found = [*flags, *_daemon_json.hosts(self.daemon_json, str(DAEMON_JSON))]
        return list(dict.fromkeys(found)) or [str(_hosts.parse("", self.daemon_json.get("tls") is True))]


def has_traces() -> bool:
    """Whether this collection has changed the engine. Where it has not, there need not be a Docker either."""
    return any(path.exists() for path in (JOURNAL, STATE, *_service.Systemd.own_drop_ins, _places.PLACES.settings))


def gather() -> Engine:
    """Read the engine of this host, or say in one sentence why there is none to work with."""
    if platform.system() != "Linux":
        raise EngineError(
            f"this host runs {platform.system()}, where Docker Desktop keeps its engine in a virtual machine that "
            "cannot be configured from here; take the host out of the group of engines."
        )
    service = _service.service()
    api = _api.LocalApi(service.socket_path)
    if not service.installed:
        raise EngineError(_why_no_service(api))
    if service.unusable:
        raise EngineError(service.unusable)
    command_line = _command_line_of(service)
    dockerd = _program(command_line)
    running = service.main_pid() > 0
    if not running:
        _refuse_other_daemon(service)
    # Where docker.socket listens for a daemon that is stopped, a question would start it.
    info, info_error = _ask(api) if running else (None, "")
    if info:
        _refuse_desktop(info)
    return Engine(
        service=service,
        api=api,
        state=State.read(),
        dockerd=dockerd,
        command_line=command_line,
        daemon_json=read_daemon_json(),
        running=running,
        info=info,
        info_error=info_error,
        gateway=installed_gateway(),
    )


def installed_gateway() -> Installed | None:
    if not _places.PLACES.settings.exists():
        return None
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import settings  # loaded for a gateway alone

    try:
        return settings.Installed.read()
    except _places.GatewayError as error:
        raise EngineError(str(error)) from error


def wanted_gateway(options: t.Mapping[str, t.Any] | None) -> Settings | None:
    """How a gateway shall be, from the option of the modules; None without one."""
    if not options:
        return None
    from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import settings

    return settings.read(options)


def _ask(api: _api.LocalApi) -> tuple[_api.Info | None, str]:
    try:
        return _api.Info.of(api.get("/info")), ""
    except _api.ApiError as error:
        return None, str(error)


def _refuse_desktop(info: _api.Info) -> None:
    if "docker desktop" in info.system.lower():
        raise EngineError(
            "the engine on this host is Docker Desktop, which keeps it in a virtual machine that cannot be configured "
            "from here; take the host out of the group of engines."
        )


# -- other installations ---------------------------------------------------------------------------------------------

_PROGRAMS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/sbin:/bin"
_INSTALL = "install Docker's engine from a package (Debian: docker.io, Docker: docker-ce)"
_SNAP = pathlib.Path("/snap/bin/docker")
_SNAP_DATA = pathlib.Path("/var/snap/docker")
_DESKTOP = pathlib.Path("/opt/docker-desktop")
_PODMAN_SHIM = pathlib.Path("/usr/bin/docker")


def _why_no_service(api: _api.LocalApi) -> str:
    """What this host has instead of the docker service, and what to do about it."""
    info = _ask(api)[0] if pathlib.Path(api.path).exists() else None
    if info:
        _refuse_desktop(info)
    if _SNAP.exists() or _SNAP_DATA.exists():
        return (
            "Docker on this host comes from snap, which keeps a service and a daemon.json of its own, where this "
            f"collection does not reach; remove the snap and {_INSTALL}, or take the host out of the group of engines."
        )
    if _DESKTOP.exists():
        return (
            "Docker on this host is Docker Desktop, which keeps its engine in a virtual machine that cannot be "
            "configured from here; take the host out of the group of engines."
        )
    rootless = [uid for uid in daemons().values() if uid]
    if rootless:
        return (
            f"Docker on this host is rootless and belongs to the user with the id {rootless[0]}; this collection "
            "secures the engine of a whole host, which root runs, so install that or take the host out of the group "
            "of engines."
        )
    if _is_podman_shim():
        return (
            f"{_PODMAN_SHIM} on this host is podman's replacement, and podman has no daemon that could be secured; "
            f"{_INSTALL}, or take the host out of the group of engines."
        )
    found = shutil.which("dockerd", path=_PROGRAMS)
    if found:
        return (
            f"{found} is on this host, and no service that starts it; make a docker.service for it (Docker's own is in "
            f"contrib/init/systemd of its sources) or {_INSTALL}."
        )
    return f"the docker service is not installed on this host; {_INSTALL} first."


def _is_podman_shim() -> bool:
    try:
        with _PODMAN_SHIM.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.startswith(b"#!") and b"podman" in head


def _program(command_line: _command_line.CommandLine) -> str:
    """The dockerd that the service starts, wherever it is."""
    program = command_line.words[0].lstrip("-@:+!|")
    found = shutil.which(program, path=_PROGRAMS)
    if not found and "/" in program:
        raise EngineError(
            f"dockerd is not installed on this host: {command_line.source} starts {program}, which does not exist; "
            f"{_INSTALL} or correct ExecStart."
        )
    if not found:
        raise EngineError(f"dockerd is not installed on this host; {_INSTALL} first.")
    return found


def daemons() -> dict[int, int]:
    """The user of every process of dockerd on this host, without those in containers."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text(encoding="utf-8", errors="replace").strip() != "dockerd":
                continue
            if (folder / "ns/pid").readlink() == pathlib.Path("/proc/self/ns/pid").readlink():
                found[int(folder.name)] = folder.stat().st_uid
        except OSError:  # it has ended meanwhile
            continue
    return found


def _refuse_other_daemon(service: _service.Service) -> None:
    """A dockerd of root's that the service has not started stands in the way of one that it starts."""
    others = sorted(pid for pid, uid in daemons().items() if uid == 0)
    if others:
        raise EngineError(
            f"dockerd runs on this host as process {others[0]}, which the docker service ({service.name}) has not "
            "started; end that process, start the service instead, and run this again."
        )


def _command_line_of(service: _service.Service) -> _command_line.CommandLine:
    """What starts dockerd; refused where its flags cannot be read, or where they name another daemon.json."""
    found = service.command_line()
    program = found.words[0].lstrip("-@:+!|")
    if pathlib.Path(program).name != "dockerd":
        raise EngineError(
            f"{found.source} starts {program} instead of dockerd, whose flags cannot be seen through it; "
            "name dockerd itself in ExecStart."
        )
    for flag in found.flags:
        if flag.name == "config-file" and flag.value != str(DAEMON_JSON):
            raise EngineError(
                f"{flag.source} gives dockerd --config-file={flag.value}, and this collection works with "
                f"{DAEMON_JSON}; move the file there and remove the flag."
            )
    return found


def read_daemon_json() -> dict[str, t.Any]:
    try:
        content = DAEMON_JSON.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EngineError(f"{DAEMON_JSON} cannot be read ({error.strerror}); correct that first.") from error
    return _daemon_json.parse(content, str(DAEMON_JSON))


def version(dockerd: str) -> str:
    """The version of the installed dockerd, such as 20.10.24+dfsg1."""
    try:
        done = subprocess.run((dockerd, "--version"), capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return ""
    words = done.stdout.split()
    return words[2].rstrip(",") if len(words) > 2 else ""


def host_names() -> list[str]:
    """The names and addresses by which this host knows itself: short name, FQDN, default addresses."""
    hostname = socket.gethostname()
    names = [hostname.split(".", maxsplit=1)[0], hostname]
    try:
        names += [entry[3] for entry in socket.getaddrinfo(hostname, None, flags=socket.AI_CANONNAME) if entry[3]]
    except OSError:
        names += []
    for family, beyond in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((beyond, 9))  # asks the routing table only, nothing is sent
                names.append(probe.getsockname()[0])
        except OSError:
            continue
    return list(dict.fromkeys(names))


def refuse_unusable_addresses(listen: t.Iterable[str], port: int, served: t.Collection[str]) -> None:
    """Refuse an address that this host does not have, or a port that another process holds.

    ``served`` is where this engine listens now: hosts as in daemon.json.
    """
    if not 0 < port < 65536:
        raise EngineError(f"{port} is no port; set docker_engine_port to one from 1 to 65535.")
    for address in listen:
        wildcard = ipaddress.ip_address(address).is_unspecified
        names = (address, "localhost") if ipaddress.ip_address(address).is_loopback else (address,)
        own = {listen_host(each, port) for each in (*names, "0.0.0.0", "::")}  # noqa: S104
        is_ours = any(host in own or (wildcard and host.endswith(f":{port}")) for host in served)
        try:
            _try_listening(address, wildcard, 0 if is_ours else port)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL):
                raise EngineError(
                    f"this host does not have the listen address {address}; correct docker_engine_listen."
                ) from error
            if error.errno == errno.EADDRINUSE:
                raise EngineError(
                    f"port {port} on {address} is taken by another process; end that process or set docker_engine_port."
                ) from error
            raise EngineError(
                f"dockerd could not listen on {address}, port {port} ({error.strerror}); correct docker_engine_listen "
                "or docker_engine_port."
            ) from error


def _try_listening(address: str, wildcard: bool, port: int) -> None:
    """As Go does it: either wildcard is both address families, where the host has IPv6."""
    both = wildcard and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        probe.bind(("::" if both else address, port))
        probe.listen(1)


def listen_host(address: str, port: int) -> str:
    """The entry of daemon.json's hosts for an address."""
    return _hosts.tcp(address, port)


def listen_addresses(listen: t.Sequence[str]) -> list[str]:
    """The addresses to bind: dockerd listens on IPv4 and IPv6 for either wildcard, so the two are one."""
    addresses = []
    for text in listen:
        if not _names.is_ip(text):
            raise EngineError(
                f"the listen address {text!r} is not an IP address without a zone; correct docker_engine_listen."
            )
        addresses.append(ipaddress.ip_address(text))
    if not addresses:
        raise EngineError(
            "docker_engine_listen is empty; name at least one address, or take the host out of the group."
        )
    wildcards = [address for address in addresses if address.is_unspecified]
    others = [address for address in addresses if not address.is_unspecified]
    if wildcards and others:
        raise EngineError(
            f"docker_engine_listen names {wildcards[0]}, which is every address, and also {others[0]}; "
            "keep one of them."
        )
    return [str(wildcards[0])] if wildcards else [str(address) for address in dict.fromkeys(addresses)]
