"""A snap's CLI, which reads another folder, and proxies, which a client goes through without being asked."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import surroundings

PROXY = {"HTTPS_PROXY": "http://user:secret@proxy:3128"}


@pytest.mark.parametrize(
    ("docker_host", "excepted", "is_proxied"),
    [
        ("tcp://192.0.2.1:2376", "", True),
        ("tcp://192.0.2.1:2376", "192.0.2.1", False),
        ("tcp://192.0.2.1:2376", " 192.0.2.0/24 ,x", False),
        ("tcp://192.0.2.1:2376", "192.0.2.1:2376", False),
        ("tcp://192.0.2.1:2376", "192.0.2.1:2377", True),
        ("tcp://192.0.2.1:2376", "192.0.2", True),
        ("tcp://192.0.2.1:2376", "192.0.2.9/99,,", True),
        ("tcp://192.0.2.1:2376", "*", False),
        ("tcp://[2001:db8::1]:2376", "2001:db8::/32", False),
        ("tcp://[2001:db8::1]:2376", "[2001:db8:0::1]", False),
        ("tcp://[2001:db8::1]:2376", "[2001:db8::1]:2376", False),
        ("tcp://[2001:db8::1]:2376", "2001:db8::2", True),
        ("tcp://web1.example.com:2376", "example.com", False),
        ("tcp://web1.example.com:2376", "ample.com", True),
        ("tcp://web1.example.com:2376", ".example.com", False),
        ("tcp://web1.example.com:2376", "*.Example.com", False),
        ("tcp://example.com:2376", ".example.com", True),
        ("tcp://web1:2376", "web1:2376", False),
        ("tcp://localhost:2376", "", False),
        ("tcp://127.0.0.9:2376", "", False),
        ("tcp://[::1]:2376", "", False),
        ("ssh://a@192.0.2.1", "", False),
        ("unix:///run/docker.sock", "", False),
    ],
)
def test_what_goes_through_a_proxy(docker_host: str, excepted: str, is_proxied: bool) -> None:
    """S2."""
    assert surroundings.is_proxied(docker_host, {**PROXY, "NO_PROXY": excepted}) is is_proxied
    assert surroundings.is_proxied(docker_host, {"https_proxy": "x", "no_proxy": excepted}) is is_proxied
    assert not surroundings.is_proxied(docker_host, {"HTTP_PROXY": "x", "NO_PROXY": excepted})


def test_a_proxy_is_named_without_its_password(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    hosts = ["tcp://192.0.2.2:2376", "tcp://192.0.2.1:2376", "ssh://a@192.0.2.3"]
    (warning,) = surroundings.warnings(tmp_path, hosts, PROXY)
    assert warning.endswith("Add to NO_PROXY: 192.0.2.1,192.0.2.2")
    assert "secret" not in warning
    assert surroundings.warnings(tmp_path, hosts, {}) == []


def test_a_snap_reads_another_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B29."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _, path=None: "/snap/bin/docker" if path else None)
    (warning,) = surroundings.warnings(tmp_path / ".docker", [], {})
    assert f"reads {tmp_path}/snap/docker/current/.docker instead of {tmp_path}/.docker" in warning
    assert "docker_client_config_dir" in warning
    assert surroundings.warnings(tmp_path / "snap/docker/current/.docker", [], {}) == []
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/docker")
    assert surroundings.warnings(tmp_path / ".docker", [], {}) == []
