"""Addresses, names and the record of an engine, with this host's own sockets and files."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import pathlib
import socket
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api, command_line, daemon_json, inspect
from helpers.engine_state import INFO, Api, Service

ANY, ANY6 = "0.0.0.0", "::"  # noqa: S104


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        ([ANY], [ANY]),
        ([ANY6], [ANY6]),
        ([ANY, ANY6], [ANY]),
        (["192.0.2.1", "2001:DB8:0::1"], ["192.0.2.1", "2001:db8::1"]),
        (["192.0.2.1", "192.0.2.1"], ["192.0.2.1"]),
    ],
)
def test_addresses_to_bind(listen: list[str], addresses: list[str]) -> None:
    assert inspect.listen_addresses(listen) == addresses


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ([], "docker_engine_listen is empty"),
        (["fe80::1%eth0"], "the listen address 'fe80::1%eth0' is not an IP address without a zone"),
        (["fe80::%x\n"], "the listen address 'fe80::%x\\n' is not an IP address without a zone"),
        (["web1"], "the listen address 'web1' is not an IP address"),
        (["192.0.2.1:2376"], "the listen address '192.0.2.1:2376' is not an IP address"),
        ([ANY, "192.0.2.1"], f"docker_engine_listen names {ANY}, which is every address, and also 192.0.2.1"),
    ],
)
def test_addresses_that_cannot_be_meant(listen: list[str], message: str) -> None:
    with pytest.raises(inspect.EngineError) as error:
        inspect.listen_addresses(listen)
    assert str(error.value).startswith(message)


def test_an_address_in_daemon_json() -> None:
    assert inspect.listen_host("192.0.2.1", 2376) == "tcp://192.0.2.1:2376"
    assert inspect.listen_host("2001:db8::1", 2376) == "tcp://[2001:db8::1]:2376"


def test_names_of_this_host() -> None:
    names = inspect.host_names()
    hostname = socket.gethostname()
    assert names[0] == hostname.split(".", maxsplit=1)[0]
    assert hostname in names
    assert len(names) == len(set(names))
    for name in names:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            assert not set(name) & set(" :/")
        else:
            assert not address.is_unspecified


def bound(address: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


def test_an_address_and_port_that_are_free() -> None:
    with socket.socket() as kept:  # bound, so that nobody else gets the port, and not listening
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        for address in ("127.0.0.1", ANY, "127.0.0.1"):  # nothing of a trial stays
            inspect.refuse_unusable_addresses([address], kept.getsockname()[1], [])


def test_an_address_that_this_host_does_not_have() -> None:
    for address in ("192.0.2.1", "2001:db8::1"):
        with pytest.raises(inspect.EngineError) as error:
            inspect.refuse_unusable_addresses([address], 2376, [])
        assert str(error.value).startswith(f"this host does not have the listen address {address};")


@pytest.mark.parametrize("address", ["127.0.0.1", ANY])
def test_a_port_that_another_process_holds(address: str) -> None:
    with bound() as other:
        port = other.getsockname()[1]
        with pytest.raises(inspect.EngineError) as error:
            inspect.refuse_unusable_addresses([address], port, ["fd://", "tcp://127.0.0.1:1"])
        assert str(error.value).startswith(f"port {port} on {address} is taken by another process;")


def test_a_port_that_the_engine_itself_holds() -> None:
    with bound() as engine:
        port = engine.getsockname()[1]
        for own in (f"tcp://127.0.0.1:{port}", f"tcp://localhost:{port}", f"tcp://{ANY}:{port}"):
            inspect.refuse_unusable_addresses(["127.0.0.1"], port, ["fd://", own])


def test_the_port_is_ours_and_the_address_is_not_there() -> None:
    with pytest.raises(inspect.EngineError, match=r"does not have the listen address 192\.0\.2\.1"):
        inspect.refuse_unusable_addresses(["192.0.2.1"], 2376, ["tcp://0.0.0.0:2376"])


@pytest.fixture
def record(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "state.json"
    monkeypatch.setattr(inspect, "STATE", path)
    return path


def test_an_engine_without_a_record(record: pathlib.Path) -> None:
    state = inspect.State.read()
    assert (state.managed.previous, state.drop_in) == ({}, None)


def test_a_record_is_read_as_it_was_written(record: pathlib.Path) -> None:
    managed: dict[str, t.Any] = {"hosts": [], "log-driver": ["local"], "tlsverify": [None]}
    drop_in = "/etc/systemd/system/docker.service.d/bulkhead.conf"
    record.write_text(json.dumps({"version": 1, "managed": managed, "drop_in": drop_in, "originals": {}}))
    state = inspect.State.read()
    assert (state.managed, state.drop_in) == (daemon_json.Managed(managed), drop_in)
    record.write_bytes(state.dump())
    assert inspect.State.read() == state


def test_a_damaged_record_is_not_taken_for_none(record: pathlib.Path) -> None:
    record.write_text('{"version": 1, "man')
    with pytest.raises(inspect.EngineError) as error:
        inspect.State.read()
    assert str(error.value).startswith(f"{record} is damaged (")


def test_daemon_json_as_it_is(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "daemon.json"
    monkeypatch.setattr(inspect, "DAEMON_JSON", path)
    assert inspect.read_daemon_json() == {}
    path.write_text('{"log-driver": "local"}')
    assert inspect.read_daemon_json() == {"log-driver": "local"}
    path.write_text("{")
    with pytest.raises(daemon_json.DaemonJsonError, match="is not JSON"):
        inspect.read_daemon_json()


# -- which engine a host has -----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Host:
    """A host in a folder; what is made there is what it has."""

    root: pathlib.Path
    service: Service
    daemons: dict[int, int]

    def path(self, name: str, content: str = "", mode: int = 0o755) -> pathlib.Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(mode)
        return path


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    program = tmp_path / "usr/bin/dockerd"
    line = command_line.CommandLine("docker.service", (str(program), "-H", "fd://"), {})
    host = Host(tmp_path, Service(line=line), {})
    host.path("usr/bin/dockerd")
    for name, place in {
        "_SNAP": "snap/bin/docker",
        "_SNAP_DATA": "var/snap/docker",
        "_DESKTOP": "opt/docker-desktop",
        "_PODMAN_SHIM": "usr/bin/docker",
        "DAEMON_JSON": "etc/docker/daemon.json",
        "STATE": "state.json",
    }.items():
        monkeypatch.setattr(inspect, name, tmp_path / place)
    monkeypatch.setattr(inspect, "_PROGRAMS", str(tmp_path / "usr/bin"))
    monkeypatch.setattr(inspect, "daemons", lambda: host.daemons)
    monkeypatch.setattr(inspect._service, "service", lambda: host.service)
    monkeypatch.setattr(inspect._api, "LocalApi", lambda _: Api(INFO))
    return host


def refused() -> str:
    with pytest.raises(inspect.EngineError) as error:
        inspect.gather()
    return str(error.value)


def test_an_engine_that_runs(host: Host) -> None:
    found = inspect.gather()
    assert (found.running, found.info_error, found.dockerd) == (True, "", str(host.root / "usr/bin/dockerd"))
    assert found.info
    assert found.info.storage_driver == "overlay2"


def test_an_engine_that_is_stopped_is_not_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.service.pid = 0
    error = api.ApiError("a question would start it")
    monkeypatch.setattr(inspect._api, "LocalApi", lambda _: Api(error))
    found = inspect.gather()
    assert (found.running, found.info, found.info_error) == (False, None, "")


@pytest.mark.parametrize("answer", [api.ApiError("/info answers 403", 403), api.ApiError("no answer"), ["odd"]])
def test_a_daemon_that_cannot_be_asked_runs(host: Host, monkeypatch: pytest.MonkeyPatch, answer: t.Any) -> None:
    """B04, B15."""
    monkeypatch.setattr(inspect._api, "LocalApi", lambda _: Api(answer))
    found = inspect.gather()
    assert (found.running, found.info) == (True, None)
    assert found.info_error


def test_a_daemon_that_the_service_has_not_started(host: Host) -> None:
    host.service.pid, host.daemons = 0, {4711: 0}
    assert refused().startswith("dockerd runs on this host as process 4711, which the docker service (systemd) has not")
    host.daemons = {4711: 1000}  # rootless, beside a service that is stopped
    assert not inspect.gather().running


def test_dockerd_elsewhere_is_the_one_of_exec_start(host: Host) -> None:
    """B29."""
    program = host.path("opt/docker/bin/dockerd")
    host.service.line = command_line.CommandLine("docker.service", (f"-{program}", "-H", "fd://"), {})
    assert inspect.gather().dockerd == str(program)
    program.unlink()
    assert refused().startswith(
        f"dockerd is not installed on this host: docker.service starts {program}, which does not"
    )
    host.service.line = command_line.CommandLine("/etc/init.d/docker", ("dockerd",), {})
    assert inspect.gather().dockerd == str(host.root / "usr/bin/dockerd")
    (host.root / "usr/bin/dockerd").unlink()
    assert refused().startswith("dockerd is not installed on this host; install Docker's engine")


@pytest.mark.parametrize(
    ("has", "says"),
    [
        ("snap/bin/docker", "Docker on this host comes from snap, which keeps a service and a daemon.json of its own"),
        ("var/snap/docker/current/config/daemon.json", "Docker on this host comes from snap"),
        ("opt/docker-desktop/bin/com.docker.backend", "Docker on this host is Docker Desktop"),
        ("usr/bin/docker", "usr/bin/docker on this host is podman's replacement"),
        ("rootless", "Docker on this host is rootless and belongs to the user with the id 1000"),
        ("usr/bin/other", "usr/bin/dockerd is on this host, and no service that starts it"),
        ("", "the docker service is not installed on this host; install Docker's engine from a package"),
    ],
)
def test_another_installation_is_named(host: Host, has: str, says: str) -> None:
    """B29."""
    host.service.installed, host.service.socket_path = False, str(host.root / "none.sock")
    if has == "rootless":
        host.daemons = {4711: 1000}
    elif has:
        host.path(has, '#!/bin/sh\n[ -e /etc/containers/nodocker ] || echo >&2\nexec /usr/bin/podman "$@"\n')
    else:
        (host.root / "usr/bin/dockerd").unlink()
    assert says in refused()


def test_docker_desktop_by_its_answer(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {**INFO, "OperatingSystem": "Docker Desktop"}
    monkeypatch.setattr(inspect._api, "LocalApi", lambda _: Api(answer))
    assert refused().startswith("the engine on this host is Docker Desktop")


def test_the_daemons_of_this_host_are_found_by_their_processes() -> None:
    with subprocess.Popen([sys.executable, "-c", RENAMED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "renamed\n"
        assert inspect.daemons()[process.pid] == os.getuid()
        process.kill()
    assert process.pid not in inspect.daemons()


RENAMED = """
import time
open("/proc/self/comm", "w").write("dockerd")
print("renamed", flush=True)
time.sleep(600)
"""


def test_a_daemon_json_that_cannot_be_read(host: Host) -> None:
    inspect.DAEMON_JSON.mkdir(parents=True)
    assert refused() == f"{inspect.DAEMON_JSON} cannot be read (Is a directory); correct that first."


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        '{"originals": {}, "managed": {"hosts": 5}, "drop_in": null}',
        '{"originals": {"a": {"content": "", "mode": "x"}}}',
    ],
)
def test_records_of_another_form_are_damaged(
    record: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    path.write_text(record, encoding="utf-8")
    monkeypatch.setattr(inspect, "STATE", path)
    with pytest.raises(inspect.EngineError, match="is damaged"):
        inspect.State.read()


@pytest.mark.parametrize(
    ("says", "version"),
    [("Docker version 20.10.24+dfsg1, build 297e128", "20.10.24+dfsg1"), ("oops", "")],
)
def test_the_version_of_a_dockerd(tmp_path: pathlib.Path, says: str, version: str) -> None:
    program = tmp_path / "dockerd"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    assert inspect.version(str(program)) == version
