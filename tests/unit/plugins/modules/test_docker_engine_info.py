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


@pytest.mark.parametrize("given_by", ["daemon.json", "a flag"])
def test_the_cas_are_those_of_the_file_that_dockerd_has(
    run: t.Callable[..., dict[str, t.Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    given_by: str,
) -> None:
    """Whatever is in the folder where the collection keeps its own."""
    ours, other = Authority("ours now"), Authority("somebody else's")
    monkeypatch.setattr(inspect, "CA", tmp_path / "own.pem")
    inspect.CA.write_text(ours.pem, encoding="ascii")
    path = tmp_path / "corporate.pem"
    path.write_text(ours.pem + other.pem, encoding="ascii")
    tls = {"hosts": ["tcp://192.0.2.7:2376"], "tlsverify": True}
    if given_by == "a flag":
        found = engine(tls, ("dockerd", f"--tlscacert={path}"))
    else:
        found = engine({**tls, "tlscacert": str(path)})
    monkeypatch.setattr(inspect, "gather", lambda: found)

    said = run(ca_certificate=ours.pem)["other_cas"]
    assert said.startswith("CN=somebody else's (SHA-256 ")
    assert "ours now" not in said
    assert run(ca_certificate=ours.pem + other.pem)["other_cas"] == ""
    assert run()["other_cas"] == ""  # nothing to compare with

    # The collection's own file alone makes nobody trusted.
    inspect.CA.write_text(other.pem, encoding="ascii")
    path.write_text(ours.pem, encoding="ascii")
    assert run(ca_certificate=ours.pem)["other_cas"] == ""
    assert run(ca_certificate=other.pem)["other_cas"].startswith("CN=ours now (SHA-256 ")


def test_no_ca_is_trusted_where_no_certificate_is_asked_for(
    run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "corporate.pem"
    path.write_text(Authority("other").pem, encoding="ascii")
    open_to_all = engine({"hosts": ["tcp://192.0.2.7:2376"], "tls": True, "tlscacert": str(path)})
    monkeypatch.setattr(inspect, "gather", lambda: open_to_all)
    found = run(ca_certificate=Authority("ours now").pem)
    assert (found["other_cas"], found["engine"]["hosts_without_tls"]) == ("", ["tcp://192.0.2.7:2376"])
