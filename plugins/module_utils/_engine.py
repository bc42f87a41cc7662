# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at an engine: everything that the roles decide from and the audit reports."""

from __future__ import annotations

import dataclasses
import errno
import ipaddress
import json
import pathlib
import platform
import shutil
import socket
import subprocess
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _daemon_json, _docker_api, _service, _unit

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
class State:
    """What the collection recorded about its own work on this engine."""

    managed: _daemon_json.Managed
    drop_in: str | None

    @classmethod
    def read(cls) -> State:
        try:
            record = json.loads(STATE.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(managed=_daemon_json.Managed({}), drop_in=None)
        except ValueError as error:
            raise EngineError(
                f"{STATE} is damaged ({error}); it records what this collection changed, restore it from a backup "
                "or remove it to start with the present daemon.json as the engine's own."
            ) from error
        return cls(managed=_daemon_json.Managed.from_record(record["managed"]), drop_in=record["drop_in"])

    def dump(self) -> bytes:
        record = {"version": 1, "managed": self.managed.previous, "drop_in": self.drop_in}
        return (json.dumps(record, indent=2) + "\n").encode()


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine as it was found."""

    service: _service.Service
    api: _docker_api.LocalApi
    state: State
    dockerd: str
    command_line: _unit.CommandLine
    daemon_json: dict[str, t.Any]
    info: dict[str, t.Any] | None  # of the running daemon; None where it does not answer

    @property
    def running(self) -> bool:
        return self.info is not None

    @property
    def swarm(self) -> str:
        return str(((self.info or {}).get("Swarm") or {}).get("LocalNodeState") or "inactive")

    @property
    def live_restore(self) -> bool:
        return bool((self.info or {}).get("LiveRestoreEnabled"))

    @property
    def hosts(self) -> list[str]:
        """Where the daemon listens, by its flags and its daemon.json."""
        flags = [flag.value for flag in self.command_line.flags if flag.name == "host"]
        return [*flags, *(host for host in self.daemon_json.get("hosts", []) if host not in flags)]


def look() -> Engine:
    """Read the engine of this host, or say in one sentence why there is none to work with."""
    if platform.system() != "Linux":
        raise EngineError(
            f"this host runs {platform.system()}, where Docker Desktop keeps its engine in a virtual machine that "
            "cannot be configured from here; take the host out of the group of engines."
        )
    service = _service.service()
    dockerd = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/sbin:/bin")
    api = _docker_api.LocalApi(service.socket_path)
    info = _info(api)
    if info and "docker desktop" in str(info.get("OperatingSystem", "")).lower():
        raise EngineError(
            "the engine on this host is Docker Desktop, which keeps it in a virtual machine that cannot be configured "
            "from here; take the host out of the group of engines."
        )
    if not dockerd or not service.installed:
        missing = "dockerd" if not dockerd else "the docker service"
        raise EngineError(
            f"{missing} is not installed on this host; "
            "install Docker's engine first (Debian: docker.io, Docker: docker-ce)."
        )
    state = State.read()
    own = {state.drop_in} if state.drop_in else set()
    return Engine(
        service=service,
        api=api,
        state=state,
        dockerd=dockerd,
        command_line=service.command_line(own),
        daemon_json=read_daemon_json(),
        info=info,
    )


def read_daemon_json() -> dict[str, t.Any]:
    try:
        text = DAEMON_JSON.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return _daemon_json.parse(text, str(DAEMON_JSON))


def _info(api: _docker_api.LocalApi) -> dict[str, t.Any] | None:
    try:
        info: dict[str, t.Any] = api.get("/info")
    except _docker_api.ApiError:
        return None
    return info


def version(dockerd: str) -> str:
    """The version of the installed dockerd, such as 20.10.24+dfsg1."""
    done = subprocess.run((dockerd, "--version"), capture_output=True, text=True, check=False)
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
    """Refuse an address that this host does not have, or a port that another process holds."""
    port_is_ours = any(host.endswith(f":{port}") for host in served)
    for address in listen:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, 0 if port_is_ours else port))
                probe.listen(1)
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise EngineError(
                        f"this host does not have the listen address {address}; correct docker_engine_listen."
                    ) from error
                if error.errno == errno.EADDRINUSE:
                    raise EngineError(
                        f"port {port} on {address} is taken by another process; end that process or set "
                        "docker_engine_port."
                    ) from error
                raise


def listen_host(address: str, port: int) -> str:
    """The entry of daemon.json's hosts for an address; always with its port, since dockerd's default varies."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def listen_addresses(listen: t.Sequence[str]) -> list[str]:
    """The addresses to bind: dockerd listens on IPv4 and IPv6 for either wildcard, so the two are one."""
    addresses = []
    for text in listen:
        try:
            addresses.append(ipaddress.ip_address(text))
        except ValueError as error:
            raise EngineError(
                f"the listen address '{text}' is not an IP address; correct docker_engine_listen."
            ) from error
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
