"""Addresses, names and the record of an engine, with this host's own sockets and files."""

from __future__ import annotations

import ipaddress
import json
import pathlib
import socket
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json, inspect

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
    with bound() as free:
        port = free.getsockname()[1]
    inspect.refuse_unusable_addresses(["127.0.0.1"], port, [])
    inspect.refuse_unusable_addresses([ANY], port, [])
    with bound() as again:  # nothing of the trial stays
        assert again.getsockname()[1]


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
        inspect.refuse_unusable_addresses(["127.0.0.1"], port, ["fd://", f"tcp://127.0.0.1:{port}"])


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


@pytest.mark.parametrize(
    ("says", "version"),
    [("Docker version 20.10.24+dfsg1, build 297e128", "20.10.24+dfsg1"), ("oops", "")],
)
def test_the_version_of_a_dockerd(tmp_path: pathlib.Path, says: str, version: str) -> None:
    program = tmp_path / "dockerd"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    assert inspect.version(str(program)) == version
