"""What a gateway answers to identities, compared with their scopes."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import calls
from helpers import gateway as _gateway
from helpers import pki

pytestmark = pytest.mark.skipif(not _gateway.HAPROXY, reason="needs HAProxy")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[_gateway.Gateway]:
    made = _gateway.make(tmp_path_factory.mktemp("gateway"), {"alice": "status"})
    made.start()
    yield made
    made.stop()
    made.daemon.close()


def _call(gateway: _gateway.Gateway, name: str, method: str, path: str, allowed: bool) -> calls.Call:
    folder = gateway.folder / f"identity-{name}"
    if not folder.exists():
        folder.mkdir()
        pair = gateway.authority.pair(gateway.folder, name, pki.CLIENT)
        shutil.copy(pair[0], folder / "cert.pem")
        shutil.copy(pair[1], folder / "key.pem")
        pathlib.Path(folder / "ca.pem").write_text(gateway.authority.pem, encoding="ascii")
    return calls.Call(name, str(folder), method, path, allowed)


def _findings(gateway: _gateway.Gateway, *asked: calls.Call) -> list[str]:
    result = calls.check(("web1", "localhost", gateway.port), asked, 5)
    assert result["ok"] is not bool(result["findings"])
    return t.cast("list[str]", result["findings"])


def test_a_gateway_that_does_as_declared_passes(gateway: _gateway.Gateway) -> None:
    asked = [
        _call(gateway, "alice", "GET", "/containers/json", True),
        _call(gateway, "alice", "GET", "//containers/json", False),
        _call(gateway, "alice", "POST", "/containers/x/start", False),
    ]
    assert _findings(gateway, *asked) == []


def test_a_gateway_that_does_otherwise_does_not_pass(gateway: _gateway.Gateway) -> None:
    assert _findings(gateway, _call(gateway, "alice", "GET", "/version", False)) == [
        "the gateway answers 200 to alice and GET /version, which the scope does not name"
    ]
    assert _findings(gateway, _call(gateway, "alice", "GET", "/info", True)) == [
        "the gateway answers 403 to alice and GET /info, which the scope names"
    ]
    (said,) = _findings(gateway, _call(gateway, "nobody", "GET", "/version", True))
    assert said.startswith("the gateway gave no answer to nobody and GET /version (")
