"""Identities are taken out of a gateway that is there, and nothing else of the engine is looked at."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import types
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import (
    files,
    places,
    revocation,
    service,
    settings,
)
from helpers import gateway as _gateway
from helpers import pki

pytestmark = pytest.mark.skipif(not _gateway.HAPROXY, reason="needs HAProxy")

DAYS = datetime.timedelta(days=9)


@pytest.fixture
def gateway(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[_gateway.Gateway]:
    """A running one, which the module believes to be the engine's."""
    made = _gateway.make(tmp_path, {"root": "admin", "alice": "status"})
    monkeypatch.setattr(places, "PLACES", made.places)
    monkeypatch.setattr(places, "USER", "root")
    monkeypatch.setattr(places, "program", lambda: _gateway.HAPROXY)
    monkeypatch.setattr(files, "_group_of", lambda _: "docker")
    monkeypatch.setattr(revocation, "_LOCK", tmp_path / "lock")
    monkeypatch.setattr(_service, "service", lambda: types.SimpleNamespace(socket_path=str(made.daemon.path)))
    monkeypatch.setattr(service, "runs", lambda: made.process is not None)
    monkeypatch.setattr(service, "start", lambda unit_changed: made.reload())
    lists = _gateway.crl(made.authority, [], DAYS).decode()
    wanted = settings.read(
        {
            "identities": {"root": "admin", "alice": "status"},
            "scopes": [{"name": "status", "rules": [str(rule) for rule in _gateway.scope("status").rules]}],
            "revocation_lists": lists,
        }
    )
    server = made.places.server.read_text(encoding="ascii")
    certificate, key = server.partition("-----BEGIN PRIVATE")[::2]
    for target in files.targets(
        wanted,
        ["127.0.0.1"],
        made.port,
        made.authority.pem,
        certificate,
        f"-----BEGIN PRIVATE{key}".encode(),
        str(made.daemon.path),
    ):
        if target.path != places.UNIT:
            target.stage()
            target.swap()
            _files.sweep(target.path)
    made.start()
    yield made
    made.stop()
    made.daemon.close()


def _pair(gateway: _gateway.Gateway, name: str) -> tuple[str, str]:
    return gateway.authority.pair(gateway.folder, name, pki.CLIENT)


def test_an_identity_is_refused_and_cut_and_others_are_not(gateway: _gateway.Gateway) -> None:
    alice, root = _pair(gateway, "alice"), _pair(gateway, "root")
    streams = [gateway.client(files) for files in (alice, root)]
    for stream in streams:
        stream.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
        assert b"200 OK" in stream.recv(1000)
    begun = [gateway.begin(alice), gateway.begin(root)]
    lists = _gateway.crl(gateway.authority, [_gateway.serial(alice)], DAYS).decode()
    assert revocation.run(["alice"], lists, check_mode=True).changed
    assert b"200 OK" in gateway.ask(alice)
    result = revocation.run(["alice"], lists)
    assert result.changed
    assert result.ended == 1
    assert streams[0].recv(1000) == b""
    assert begun[0].finish() == b""
    assert b"200 OK" in begun[1].finish()
    assert gateway.ask(alice) == b""
    assert gateway.ask(_pair(gateway, "alice")) == b""  # a new certificate for a name that nobody declares
    streams[1].sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    assert b"200 OK" in streams[1].recv(1000)
    assert not revocation.run(["alice"], lists).changed
    found = settings.Installed.read()
    assert found is not None
    assert found.settings.identities == {"root": "admin"}
    assert found.settings.scopes == ()
    assert found.settings.revocation_lists == lists


def test_what_haproxy_does_not_load_is_taken_back(gateway: _gateway.Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in gateway.places.config.iterdir()}
    tried = []

    def fails(unit_changed: bool) -> None:
        tried.append(unit_changed)
        if len(tried) == 1:
            raise places.UnitError("it did not load")

    monkeypatch.setattr(service, "start", fails)
    with pytest.raises(places.GatewayError, match=r"it did not load\. Its previous files are back"):
        revocation.run(["alice"], "")
    assert {path.name: path.read_bytes() for path in gateway.places.config.iterdir()} == before
    assert b"200 OK" in gateway.ask(_pair(gateway, "alice"))


@pytest.mark.parametrize("step", ["start", "cut"])
def test_a_run_that_was_killed_is_made_up_for(
    gateway: _gateway.Gateway, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Also by one that is no revocation: it compares what it wants with the record."""

    class KilledError(BaseException):
        pass

    def killed(*_: t.Any, **__: t.Any) -> None:
        raise KilledError

    alice = _pair(gateway, "alice")
    stream = gateway.client(alice)
    stream.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    assert b"200 OK" in stream.recv(1000)
    with monkeypatch.context() as patch:
        patch.setattr(service, step, killed)
        with pytest.raises(KilledError):
            revocation.run(["alice"], "")
    installed = settings.Installed.read()
    assert installed is not None
    assert installed.settings.without(["alice"]).changed_for(installed) == ["alice"]
    result = revocation.run(["alice"], "")
    assert (result.changed, result.ended) == (True, 1)
    assert stream.recv(1000) == b""
    assert gateway.ask(alice) == b""


@pytest.mark.parametrize("damaged", ["haproxy.cfg", "server.pem", "ca.pem", "crl.pem"])
def test_haproxy_checks_the_files_that_it_would_get(gateway: _gateway.Gateway, damaged: str) -> None:
    found = [_files.Target(path, path.read_bytes()) for path in gateway.places.config.iterdir()]
    files.validate(found)
    made = [dataclasses.replace(one, content=b"nothing\n") if one.path.name == damaged else one for one in found]
    with pytest.raises(places.GatewayError, match=r"HAProxy refuses the configuration .+; nothing"):
        files.validate(made)


def test_an_engine_without_a_gateway_stays_as_it_is(
    gateway: _gateway.Gateway, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PLACES", places.Places(tmp_path / "none"))
    result = revocation.run(["alice"], "")
    assert (result.changed, result.gateway) == (False, False)


def test_the_list_of_another_ca_keeps_no_identity_from_being_refused(gateway: _gateway.Gateway) -> None:
    """The engine was not there when its CA was replaced."""
    other = _gateway.crl(pki.Authority("bulkhead.docker CA 0123abcd"), [], DAYS).decode()
    before = gateway.places.revocation_lists.read_bytes()
    assert revocation.run(["alice"], other).changed
    assert gateway.places.revocation_lists.read_bytes() == before
    assert gateway.ask(_pair(gateway, "alice")) == b""
    assert b"200 OK" in gateway.ask(_pair(gateway, "root"))


def test_a_list_that_is_damaged_keeps_no_identity_from_being_refused(gateway: _gateway.Gateway) -> None:
    damaged = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
    gateway.places.revocation_lists.write_text(damaged, encoding="ascii")
    alice = _pair(gateway, "alice")
    lists = _gateway.crl(gateway.authority, [_gateway.serial(alice)], DAYS).decode()
    assert revocation.run(["alice"], lists).changed
    assert gateway.places.revocation_lists.read_text(encoding="ascii") == lists
    assert gateway.ask(alice) == b""


def test_a_gateway_without_lists_gets_those_that_it_can_use(gateway: _gateway.Gateway) -> None:
    gateway.places.revocation_lists.unlink()
    other = _gateway.crl(pki.Authority("bulkhead.docker CA 0123abcd"), [], DAYS).decode()
    revocation.run(["nobody"], other)
    assert not gateway.places.revocation_lists.exists()
    alice = _pair(gateway, "alice")
    lists = _gateway.crl(gateway.authority, [_gateway.serial(alice)], DAYS).decode()
    revocation.run(["nobody"], other + lists)
    assert gateway.places.revocation_lists.read_text(encoding="ascii") == lists
    assert gateway.ask(alice) == b""
    assert b"200 OK" in gateway.ask(_pair(gateway, "root"))
