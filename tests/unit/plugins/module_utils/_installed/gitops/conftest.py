"""A signed repository on this machine, and what an engine has declared of it."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._gitops import options
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import settings as _settings
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.repository import Repository
from signed import Clone

NOW = 1_800_000_000.0  # 2027-01-15
DATE = "2027-01-01T12:00:00Z"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob", "mallory"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True
        )
    return folder


class Lab:
    """A clone to push from, and the engine's own repository with its settings."""

    def __init__(self, folder: pathlib.Path, keys: pathlib.Path) -> None:
        self.clone = Clone(folder / "clone", keys)
        self.places = _settings.Places(folder / "etc", folder / "state")
        self.places.config.mkdir()
        self.places.state.mkdir()
        self._server = folder / "server.git"
        self.clone.git("init", "--quiet", "--bare", "--initial-branch", "main", str(self._server))
        self.clone.git("remote", "add", "origin", str(self._server))
        signers = [
            options.Signer("alice@example.com", (self._public("alice"),), None, None),
            options.Signer("bob@example.com", (self._public("bob"),), None, options._moment("2026-01-01", "", "bob")),
        ]
        self.places.allowed_signers.write_text("".join(signer.lines for signer in signers), encoding="utf-8")
        self.signers = signers

    def _public(self, name: str) -> t.Any:
        return options._users.public_key((self.clone.keys / f"{name}.pub").read_text(encoding="utf-8"), name)

    def settings(self, **changes: t.Any) -> _settings.Settings:
        given = {
            "url": f"file://{self._server}",
            "verify": "commit",
            "branch": "main",
            "tags": "v*",
            "signers": tuple(
                _settings.Signer(
                    signer.name,
                    signer.keys[0].fingerprint,
                    None,
                    signer.valid_before.timestamp() if signer.valid_before else None,
                )
                for signer in self.signers
            ),
            "projects": (),
            "correct_drift": False,
            "paused": False,
            "settle_seconds": 0,
            "notify": (),
            "metrics_directory": "",
            "docker_host": "unix:///nowhere",
            "registry_login": False,
            "https_login": False,
            "ca_file": "",
        }
        return _settings.Settings(**{**given, **changes})

    def repository(self, **changes: t.Any) -> Repository:
        return Repository(self.settings(**changes), self.places)

    def push(self, *references: str) -> None:
        self.clone.git("push", "--quiet", "--force", "origin", *(references or ("HEAD:refs/heads/main",)))


@pytest.fixture
def lab(tmp_path: pathlib.Path, keys: pathlib.Path) -> Lab:
    return Lab(tmp_path, keys)
