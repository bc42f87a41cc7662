"""docker_engine_info with an engine that exists in files alone: what it returns, and what it refuses."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import certificate, inspect, report
from ansible_collections.bulkhead.docker.plugins.modules import docker_engine_info
from helpers.engine_state import engine
from helpers.pki import SERVER, Authority
from helpers.returns import assert_documented


class AnsweredError(Exception):
    """The module has answered."""


@pytest.fixture
def run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    """The module in this process, on an engine with a certificate; the options are the arguments."""
    files = Authority("ours").pair(tmp_path, "server", SERVER, names=("web1",))
    for name, path in {"CERTIFICATE": files[0], "PRIVATE_KEY": files[1], "CA": str(tmp_path / "none")}.items():
        monkeypatch.setattr(inspect, name, pathlib.Path(path))
    monkeypatch.setattr(inspect, "gather", lambda: engine({"hosts": ["192.0.2.7"]}, ("dockerd", "-H", "fd://")))
    monkeypatch.setattr(certificate, "served", lambda _: certificate.installed())
    monkeypatch.setattr(report, "_SSH_ACCOUNTS", tmp_path)
    monkeypatch.setattr(report, "_ssh_server", lambda: {"port": 22, "host_keys": ["ssh-ed25519 AAAA"]})

    def run(**options: t.Any) -> dict[str, t.Any]:
        answers: list[dict[str, t.Any]] = []

        class Module:
            def __init__(self, argument_spec: dict[str, dict[str, t.Any]], supports_check_mode: bool) -> None:
                assert supports_check_mode
                assert not set(options) - set(argument_spec)
                self.params = {key: options.get(key, spec.get("default")) for key, spec in argument_spec.items()}

            def exit_json(self, **result: t.Any) -> None:
                answers.append(result)
                raise AnsweredError

            def fail_json(self, **result: t.Any) -> None:
                self.exit_json(failed=True, **result)

        monkeypatch.setattr(docker_engine_info, "AnsibleModule", Module)
        with pytest.raises(AnsweredError):
            docker_engine_info.main()
        return answers[0]

    return run


def test_what_it_returns_is_documented(run: t.Callable[..., dict[str, t.Any]]) -> None:
    found = run(names=["web1"], verify=True)
    assert_documented("docker_engine_info", found)
    assert found["engine"]["hosts"] == ["fd://", "tcp://192.0.2.7:2375"]
    assert found["names"] == ["web1", "localhost", "127.0.0.1", "::1"]
    assert found["host_names"] == inspect.host_names()
    assert found["certificate"] == found["served_certificate"]
    assert found["renewal_reasons"]
    assert found["findings"]


def test_what_is_refused_is_one_sentence(
    run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "neither a DNS name nor an IP address" in run(names=["web 1"])["msg"]
    monkeypatch.setattr(inspect, "gather", lambda: engine({"hosts": ["TCP://x"]}))
    assert "names the host 'TCP://x', which cannot be used" in run()["msg"]


def test_without_the_library_certificates_are_left_out(
    run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine_info, "CRYPTOGRAPHY", "")
    found = run()
    assert (found["certificate"], found["served_certificate"]) == (None, None)
    assert "renewal_reasons" not in found
    assert "so that nothing can be verified; install it there" in run(verify=True)["msg"]
