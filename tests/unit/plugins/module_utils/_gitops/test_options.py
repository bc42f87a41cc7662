"""What an operator declares of deployments: the units and files that follow, and every mistake in a sentence."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._gitops import files, options
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import settings as _settings
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from helpers import ssh_engine

PROJECT = {
    "name": "web",
    "path": "",
    "files": [],
    "secrets": [],
    "trial": False,
    "require_digests": False,
    "wait_seconds": 120,
    "state": "present",
}
SIGNER = {"name": "alice@example.com", "public_keys": [ssh_engine.ED25519], "valid_after": "", "valid_before": ""}


def given(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "repository": "ssh://git@git.example.com/srv/deploy.git",
        "host_keys": [ssh_engine.ED25519],
        "verify": "commit",
        "branch": "main",
        "tags": "v*",
        "signers": [SIGNER],
        "projects": [PROJECT],
        "interval": 60,
        "drift": "report",
        "paused": False,
        "settle_seconds": 5,
        "notify": [],
        "metrics_directory": "",
        "registry_config": "",
        "https_login_file": "",
        "ca_file": "",
        **changes,
    }


def secret(**changes: str) -> dict[str, t.Any]:
    return {"projects": [{**PROJECT, "secrets": [{"name": "DB", "file": "", "encrypted_file": "", **changes}]}]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"repository": ""}, "docker_gitops_repository"),
        ({"repository": "git@git.example.com:x.git"}, "docker_gitops_repository"),
        ({"repository": "https://user:secret@git.example.com/x"}, "without a password"),
        ({"repository": "ssh://git:secret@git.example.com/x"}, "without a password"),
        ({"repository": "ssh://-oProxyCommand=x/y"}, "docker_gitops_repository"),
        ({"repository": "ssh://git@git.example.com/x?y"}, "docker_gitops_repository"),
        ({"repository": "file:///srv/x"}, "docker_gitops_repository"),
        ({"repository": "http://git.example.com/x"}, "docker_gitops_repository"),
        ({"repository": "ext::sh -c x"}, "docker_gitops_repository"),
        ({"host_keys": []}, "docker_gitops_host_keys is empty"),
        ({"branch": "main..x"}, "docker_gitops_branch"),
        ({"branch": "-x"}, "docker_gitops_branch"),
        ({"branch": "a:b"}, "docker_gitops_branch"),
        ({"tags": "v*-*"}, "docker_gitops_tags"),
        ({"tags": ""}, "docker_gitops_tags"),
        ({"signers": []}, "docker_gitops_signers is empty"),
        ({"signers": [{**SIGNER, "name": "*"}]}, "docker_gitops_signers"),
        ({"signers": [{**SIGNER, "name": 'a namespaces="x"'}]}, "docker_gitops_signers"),
        ({"signers": [SIGNER, SIGNER]}, "twice"),
        ({"signers": [SIGNER, {**SIGNER, "name": "bob"}]}, "that of another signer"),
        ({"signers": [{**SIGNER, "public_keys": []}]}, "no public key"),
        ({"signers": [{**SIGNER, "valid_after": "tomorrow"}]}, "write 2030-12-31"),
        ({"signers": [{**SIGNER, "valid_after": "2030-01-02", "valid_before": "2030-01-01"}]}, "not before"),
        ({"projects": []}, "docker_gitops_projects is empty"),
        ({"projects": [PROJECT, PROJECT]}, "twice"),
        ({"projects": [{**PROJECT, "name": "Web"}]}, "cannot be the name of a project"),
        ({"projects": [{**PROJECT, "name": "web-trial"}]}, "cannot be the name of a project"),
        ({"projects": [{**PROJECT, "path": "../x"}]}, "write a folder of the repository"),
        ({"projects": [{**PROJECT, "path": "/x"}]}, "write a folder of the repository"),
        ({"projects": [{**PROJECT, "files": ["../x"]}]}, "no file below its path"),
        ({"projects": [{**PROJECT, "files": ["/x"]}]}, "no file below its path"),
        ({"projects": [{**PROJECT, "wait_seconds": 0}]}, "wait_seconds"),
        (secret(name="DOCKER_HOST", file="/x"), "cannot be the variable"),
        (secret(name="PATH", file="/x"), "cannot be the variable"),
        (secret(name="LD_PRELOAD", file="/x"), "cannot be the variable"),
        (secret(name="COMPOSE_EXPERIMENTAL_GIT_REMOTE", file="/x"), "cannot be the variable"),
        (secret(), "needs the absolute path"),
        (secret(file="/x", encrypted_file="/x"), "not both"),
        (secret(encrypted_file="x"), "needs the absolute path"),
        ({"notify": ["notify"]}, "absolute path"),
        ({"metrics_directory": "x"}, "absolute path"),
        ({"registry_config": "/x\nExecStartPre=/bin/sh"}, "absolute path"),
        ({"interval": 5}, "docker_gitops_interval"),
        ({"settle_seconds": -1}, "docker_gitops_settle_seconds"),
    ],
)
def test_a_mistake_is_a_sentence(changes: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises((options.DeploymentError, _users.UserError), match=sentence) as error:
        options.read(given(**changes))
    assert "\n" not in str(error.value)


def test_the_engine_reads_what_was_declared(tmp_path: pathlib.Path) -> None:
    entry = {**PROJECT, **secret(file="/etc/db")["projects"][0]}
    desired = options.read(given(projects=[entry], notify=["/bin/true"], metrics_directory="/var/lib/metrics"))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(desired.config("unix:///run/docker.sock")), encoding="utf-8")
    found = _settings.read(path)
    assert (found.scheme, found.docker_host, found.notify) == ("ssh", "unix:///run/docker.sock", ("/bin/true",))
    assert found.projects[0].path == "web"
    assert found.projects[0].secrets == (_settings.Secret("DB", "/etc/db", ""),)
    assert found.signers[0].fingerprint.startswith("SHA256:")


def test_a_signer_s_line_is_one_that_ssh_keygen_reads(tmp_path: pathlib.Path) -> None:
    signer = {**SIGNER, "valid_after": "2020-01-01", "valid_before": "2030-12-31T18:00:00Z"}
    desired = options.read(given(signers=[signer]))
    line = desired.signers[0].lines
    assert line.startswith('alice@example.com namespaces="git",valid-after="20')
    allowed = tmp_path / "allowed"
    allowed.write_text(line, encoding="utf-8")
    command = ["ssh-keygen", "-Y", "match-principals", "-f", str(allowed), "-I", "alice@example.com"]
    assert subprocess.run(command, capture_output=True, check=False).stdout == b"alice@example.com\n"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ssh://git@git.example.com/x", "git.example.com"),
        ("ssh://git@git.example.com:22/x", "git.example.com"),
        ("ssh://git.example.com:2222/~git/x", "[git.example.com]:2222"),
        ("ssh://[2001:db8::1]:2222/x", "[2001:db8::1]:2222"),
        ("https://git.example.com/group/x.git", "git.example.com"),
    ],
)
def test_the_host_key_is_pinned_for_the_server_s_name(url: str, host: str) -> None:
    assert options.read(given(repository=url)).host == host


def test_credentials_reach_the_unit_and_only_that() -> None:
    changes = {**secret(encrypted_file="/etc/credstore.encrypted/db"), "registry_config": "/root/.docker/config.json"}
    unit = next(target for target in files.units(options.read(given(**changes))) if target.path.name == files.SERVICE)
    assert unit.content is not None
    lines = unit.content.decode().splitlines()
    assert "LoadCredentialEncrypted=web.DB:/etc/credstore.encrypted/db" in lines
    assert "LoadCredential=config.json:/root/.docker/config.json" in lines
    for line in (
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "CapabilityBoundingSet=CAP_DAC_OVERRIDE",
    ):
        assert line in lines


def test_what_is_installed_runs_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LIBRARY", tmp_path / "lib/gitops")
    monkeypatch.setattr(files, "PROGRAM", tmp_path / "docker-gitops")
    (tmp_path / "lib/gitops").mkdir(parents=True)
    for target in files.programs():
        assert target.content is not None
        target.path.write_bytes(target.content)
    source = pathlib.Path(_settings.__file__).parent
    assert {path.name for path in source.glob("*.py")} == {path.name for path in (tmp_path / "lib/gitops").iterdir()}
    done = subprocess.run(
        [sys.executable, "-IBSE", str(tmp_path / "docker-gitops"), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "forget" in done.stdout
    assert not list((tmp_path / "lib/gitops").glob("__pycache__"))
