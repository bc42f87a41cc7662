"""What a gateway answers to identities, compared with their scopes."""

from __future__ import annotations

import pathlib
import shutil
import sys
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import calls, config
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import ssh_gate
from helpers import gateway as _gateway
from helpers import pki

pytestmark = pytest.mark.skipif(not _gateway.HAPROXY, reason="needs HAProxy")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[_gateway.Gateway]:
    accounts = {"docker-alice": ("alice", "status")}
    made = _gateway.make(tmp_path_factory.mktemp("gateway"), {"alice": "status"}, accounts=accounts)
    made.start()
    yield made
    made.stop()
    made.daemon.close()


def _call(
    gateway: _gateway.Gateway, name: str, method: str, path: str, allowed: bool, account: str | None = None
) -> calls.Call:
    folder = gateway.folder / f"identity-{name}"
    if not folder.exists():
        folder.mkdir()
        pair = gateway.authority.pair(gateway.folder, name, pki.CLIENT)
        shutil.copy(pair[0], folder / "cert.pem")
        shutil.copy(pair[1], folder / "key.pem")
        pathlib.Path(folder / "ca.pem").write_text(gateway.authority.pem, encoding="ascii")
    return calls.Call(name, str(folder), method, path, allowed, account)


def _findings(gateway: _gateway.Gateway, *asked: calls.Call) -> list[str]:
    result = calls.check(calls.Endpoint("web1", "localhost", gateway.port, 2222), asked, 5)
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


@pytest.fixture
def ssh(gateway: _gateway.Gateway, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A login to docker-alice, whose gate is the real one. The file that is returned has a line for each of them."""
    gate = tmp_path / "gate"
    path = str(config.socket_of_account(gateway.places, "{}"))
    text = pathlib.Path(ssh_gate.__file__).read_text(encoding="utf-8")
    text = text.replace(f'"{ssh_gate.LIMITED}"', f'"{path}"').replace(
        "LIMITED.format(user)", 'LIMITED.format("docker-alice")'
    )
    gate.write_text(text, encoding="utf-8")
    program = tmp_path / "ssh"
    log = tmp_path / "log"
    program.write_text(
        f"""#!/bin/sh
echo "$*" >>{log}
case "$*" in *docker-alice*) ;; *) echo 'Permission denied (publickey).' >&2; exit 255 ;; esac
export SSH_ORIGINAL_COMMAND='docker system dial-stdio' SSH_CONNECTION='192.0.2.9 40000 192.0.2.1 22'
exec {sys.executable} -IS {gate}
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return log


ASKED = (
    ("HEAD", "/_ping", True),
    ("HEAD", "/info", False),
    ("GET", "/containers/json", True),
    ("GET", "//containers/json", False),
    ("GET", "/containers/%6ason", False),
    ("POST", "/containers/x/start", False),
    ("GET", "/containers/x/archive?path=/", False),
    ("GET", "/version", True),
)


def test_an_account_is_asked_over_one_login(gateway: _gateway.Gateway, ssh: pathlib.Path) -> None:
    over_tls = [_call(gateway, "alice", *asked) for asked in ASKED]
    over_ssh = [_call(gateway, "alice", *asked, account="docker-alice") for asked in ASKED]
    assert _findings(gateway, *over_tls, *over_ssh) == []
    (login,) = ssh.read_text(encoding="utf-8").splitlines()
    assert "-l docker-alice -p 2222 -- localhost docker system dial-stdio" in login


@pytest.mark.usefixtures("ssh")
def test_a_gateway_that_does_otherwise_over_ssh_does_not_pass(gateway: _gateway.Gateway) -> None:
    asked = [_call(gateway, "alice", method, path, not allowed, "docker-alice") for method, path, allowed in ASKED]
    assert _findings(gateway, *asked) == [
        f"the gateway answers {200 if allowed else 403} to alice over SSH and {method} {path}, which the scope "
        f"{'does not name' if allowed else 'names'}"
        for method, path, allowed in ASKED
    ]


@pytest.mark.usefixtures("ssh")
def test_an_account_that_cannot_log_in_is_said(gateway: _gateway.Gateway) -> None:
    assert _findings(gateway, _call(gateway, "bob", "GET", "/version", True, "docker-bob")) == [
        "the gateway gave no answer to bob over SSH and GET /version (Permission denied (publickey))"
    ]
