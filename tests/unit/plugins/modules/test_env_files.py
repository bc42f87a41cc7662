"""docker_contexts with env_files: what tools that read no contexts get, and when it goes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from helpers.docker_cli import tree

Run = Callable[..., dict[str, Any]]
SSH = {"name": "web1-ssh", "docker_host": "ssh://docker-build1@192.0.2.1:2222"}


@pytest.fixture
def over_tls(tmp_path: Path, identities: list[Any]) -> Callable[..., dict[str, Any]]:
    """A context with an identity that lies where the role puts it."""

    def context(name: str, host: str = "tcp://192.0.2.1:2376", identity: str = "build1") -> dict[str, Any]:
        folder = tmp_path / ".bulkhead/identities" / identity
        folder.mkdir(parents=True, exist_ok=True)
        files = {"ca": identities[0].ca, "cert": identities[0].cert, "key": identities[0].key}
        for file, source in files.items():
            shutil.copy(source, folder / f"{file}.pem")
        paths = {"ca_path": "ca", "client_cert": "cert", "client_key": "key"}
        tls = {option: f"~/.bulkhead/identities/{identity}/{file}.pem" for option, file in paths.items()}
        return {"name": name, "docker_host": host, **tls, "cert_path": f"~/.bulkhead/identities/{identity}"}

    return context


def env(home: Path) -> list[str]:
    return sorted(path.name for path in (home / ".bulkhead/env").glob("*"))


def sourced(path: Path) -> dict[str, str]:
    """As a shell and docker-py take it."""
    done = subprocess.run(
        ["sh", "-c", 'set -a; . "$0"; env', str(path)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    return {name: value for name, value in found.items() if name.startswith("DOCKER_")}


def test_each_context_gets_its_files(tmp_path: Path, run_module: Run, over_tls: Callable[..., dict[str, Any]]) -> None:
    contexts = [over_tls("web1"), over_tls("web2", "tcp://[2001:db8::2]:2376"), SSH]
    options = {"contexts": contexts, "env_files": True}
    before = tree(tmp_path)
    checked = run_module("docker_contexts", check=True, **options)
    assert tree(tmp_path) == before
    made = run_module("docker_contexts", **options)
    assert checked["diff"] == made["diff"] and made["changed"]
    assert made["env_files"] == [str(tmp_path / ".bulkhead/env" / name) for name in ("web1", "web2", "web1-ssh")]
    assert not run_module("docker_contexts", **options)["changed"]

    folder = tmp_path / ".bulkhead/env"
    identity = str(tmp_path / ".bulkhead/identities/build1")
    assert sourced(folder / "web2/docker.env") == {
        "DOCKER_HOST": "tcp://[2001:db8::2]:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": identity,
    }
    client = docker.from_env(environment=sourced(folder / "web1/docker.env"), version="1.41")
    assert client.api.base_url == "https://192.0.2.1:2376"
    assert (
        client.api.cert == (f"{identity}/cert.pem", f"{identity}/key.pem") and client.api.verify == f"{identity}/ca.pem"
    )
    # A shell in which TLS variables of another engine are left is not an SSH client's.
    assert sourced(folder / "web1-ssh/docker.env") == {"DOCKER_HOST": SSH["docker_host"]}

    properties = (folder / "web1/.testcontainers.properties").read_text(encoding="utf-8").splitlines()[1:]
    assert properties == [
        "docker.host=tcp://192.0.2.1:2376",
        "docker.tls.verify=1",
        f"docker.cert.path={identity}",
    ]
    block = (folder / "web1/docker.tf").read_text(encoding="utf-8")
    assert f'host      = "tcp://192.0.2.1:2376"\n  cert_path = "{identity}"\n' in block
    assert sorted(path.name for path in (folder / "web1-ssh").iterdir()) == ["docker.env", "docker.tf"]
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
        assert path.is_dir() or "PRIVATE KEY" not in path.read_text(encoding="utf-8")


def test_they_follow_their_context(tmp_path: Path, run_module: Run, over_tls: Callable[..., dict[str, Any]]) -> None:
    run_module("docker_contexts", contexts=[over_tls("web1"), over_tls("web2")], env_files=True)
    moved = [over_tls("web1", "tcp://192.0.2.9:2376")]
    done = run_module("docker_contexts", contexts=moved, env_files=True)
    assert [entry["after_header"] for entry in done["diff"]] == ["context web1", str(tmp_path / ".bulkhead/env/web1")]
    assert env(tmp_path) == ["web1", "web2"]
    run_module("docker_contexts", contexts=moved, env_files=True, purge=True)
    assert env(tmp_path) == ["web1"]
    assert sourced(tmp_path / ".bulkhead/env/web1/docker.env")["DOCKER_HOST"] == "tcp://192.0.2.9:2376"
    run_module("docker_context", name="web1", state="absent")
    assert env(tmp_path) == []


def test_they_go_when_they_are_not_wanted_any_more(
    tmp_path: Path, run_module: Run, over_tls: Callable[..., dict[str, Any]]
) -> None:
    contexts = [over_tls("web1")]
    run_module("docker_contexts", contexts=contexts, env_files=True)
    run_module("docker_contexts", contexts=[over_tls("db1")], env_files=True, context_set="other")
    assert run_module("docker_contexts", contexts=contexts)["changed"]
    assert env(tmp_path) == ["db1"]
    assert not run_module("docker_contexts", contexts=contexts, purge=True)["changed"]
    assert (tmp_path / ".bulkhead/identities/build1/key.pem").exists()


def test_they_go_with_the_identity_also_where_nothing_else_is_left_of_it(
    tmp_path: Path, run_module: Run, over_tls: Callable[..., dict[str, Any]]
) -> None:
    contexts = [over_tls("web1"), over_tls("web1-eve", identity="eve"), SSH]
    run_module("docker_contexts", contexts=contexts, env_files=True)
    for name in ("web1-eve", "web1-ssh"):
        run = ["docker", "context", "rm", name]
        subprocess.run(run, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True, capture_output=True)
    options = {"contexts": [], "remove_identities": ["eve"], "remove_accounts": ["docker-build1"]}
    assert run_module("docker_contexts", check=True, **options)["changed"]
    run_module("docker_contexts", **options)
    assert env(tmp_path) == ["web1"]
    assert not run_module("docker_contexts", **options)["changed"]


def test_what_somebody_else_has_written_stays(
    tmp_path: Path, run_module: Run, over_tls: Callable[..., dict[str, Any]]
) -> None:
    own = tmp_path / ".bulkhead/env/web1/docker.env"
    own.parent.mkdir(parents=True)
    own.write_text("DOCKER_HOST=tcp://192.0.2.77:2376\n", encoding="utf-8")
    failed = run_module("docker_contexts", contexts=[over_tls("web1")], env_files=True)
    assert failed["failed"] and "has files that this collection did not write; move them away" in failed["msg"]
    assert not (tmp_path / ".docker/contexts/meta").exists()
    run_module("docker_contexts", contexts=[], purge=True, remove_identities=["build1"])
    assert own.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cert_path": ""}, "its env files need cert_path"),
        ({"validate_certs": False}, "which no env file can say"),
        ({"cert_path": "~/my identities"}, "has characters that env files cannot hold"),
    ],
)
def test_what_an_env_file_cannot_say_is_refused(
    tmp_path: Path,
    run_module: Run,
    over_tls: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    sentence: str,
) -> None:
    failed = run_module("docker_contexts", contexts=[{**over_tls("web1"), **changes}], env_files=True)
    assert failed["failed"] and sentence in failed["msg"], failed
    assert env(tmp_path) == []


def test_files_of_a_pair_for_a_further_group_are_those_of_its_identity(
    tmp_path: Path, run_module: Run, over_tls: Callable[..., dict[str, Any]]
) -> None:
    """The last folder has the name of the group, which an identity may have, too."""
    contexts = [over_tls("web1", identity="build1/ops"), over_tls("web2", identity="ops")]
    run_module("docker_contexts", contexts=contexts, env_files=True)
    assert env(tmp_path) == ["web1", "web2"]
    run_module("docker_contexts", contexts=[], remove_identities=["ops"])
    assert env(tmp_path) == ["web1"]
