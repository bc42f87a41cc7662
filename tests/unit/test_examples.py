"""The pipelines of examples/delivery, and what their script refuses before it asks any engine, with real contexts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers.docker_cli import docker
from helpers.pki import CLIENT, Authority

EXAMPLE = Path(__file__).parents[2] / "examples/delivery"
COMMAND = "ci/deploy shop web1 web2-ssh"
HOST = "tcp://127.0.0.1:1"  # nobody listens there
Deploy = Callable[..., str]


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    """Runs the script, which has to fail, and returns what it says."""

    def run(context: str, **environment: str) -> str:
        done = subprocess.run(
            [EXAMPLE / "ci/deploy", EXAMPLE / "shop", context],
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    return run


def context(home: Path, days: int, more: str = "") -> str:
    """A context over TLS whose client's certificate ends in so many days."""
    authority = Authority("CA")
    certificate, key = authority.pair(home, "build1", CLIENT, days=days)
    tls = f"ca={authority.file(home)},cert={certificate},key={key}"
    docker(home, "context", "create", "web1", "--docker", f"host={HOST},{tls}{more}")
    return "web1"


def test_every_pipeline_runs_the_same_command() -> None:
    gitlab = yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    github = yaml.safe_load((EXAMPLE / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
    assert gitlab["deploy"]["script"] == [COMMAND]
    assert [step["run"] for step in github["jobs"]["deploy"]["steps"] if "run" in step] == [COMMAND]
    assert f"sh '{COMMAND}'" in (EXAMPLE / "Jenkinsfile").read_text(encoding="utf-8")
    words = ", ".join(f'"{word}"' for word in COMMAND.split())
    assert f"command=[{words}]" in (EXAMPLE / "master.cfg").read_text(encoding="utf-8")


def test_a_context_that_is_not_there_is_named(deploy: Deploy) -> None:
    assert "has no context web1 here. An identity that was revoked or removed loses its contexts." in deploy("web1")


def test_the_local_engine_is_no_target(tmp_path: Path, deploy: Deploy) -> None:
    assert "which is no remote engine" in deploy("default")
    docker(tmp_path, "context", "create", "local", "--docker", "host=unix:///run/docker.sock")
    assert "leads to unix:///run/docker.sock, which is no remote engine" in deploy("local")


def test_plain_http_is_refused(tmp_path: Path, deploy: Deploy) -> None:
    docker(tmp_path, "context", "create", "web1", "--docker", f"host={HOST}")
    assert "the context web1 has no ca.pem, so that docker would speak plain HTTP" in deploy("web1")


def test_an_engine_that_is_not_checked_is_refused(tmp_path: Path, deploy: Deploy) -> None:
    said = deploy(context(tmp_path, 90, ",skip-tls-verify=true"))
    assert "the context web1 does not check the engine's certificate" in said


def test_a_certificate_is_named_before_it_ends_and_when_it_has(tmp_path: Path, deploy: Deploy) -> None:
    name = context(tmp_path, 20)
    assert "WARNING" not in deploy(name)
    said = deploy(name, DEPLOY_WARN_DAYS="30")
    assert "WARNING: the certificate of the context web1 ends on" in said and "bulkhead.docker.renew" in said
    docker(tmp_path, "context", "rm", name)
    said = deploy(context(tmp_path, -2))
    assert "the certificate of the context web1 expired on" in said and "Renew the identity" in said


def test_nothing_in_the_environment_decides_where_it_goes(tmp_path: Path, deploy: Deploy) -> None:
    elsewhere = {"DOCKER_HOST": "tcp://127.0.0.1:2", "DOCKER_TLS_VERIFY": "", "DOCKER_CONTEXT": "default"}
    assert f"{HOST} does not answer" in deploy(context(tmp_path, 90), **elsewhere)


def test_a_host_key_is_not_taken_at_first_sight(tmp_path: Path, deploy: Deploy) -> None:
    docker(tmp_path, "context", "create", "web1-ssh", "--docker", "host=ssh://docker-build1@nowhere.example")
    assert "ssh of this user would take any host key for the context web1-ssh" in deploy("web1-ssh")


def fake_docker(folder: Path, cases: str) -> str:
    """A PATH with a docker CLI that answers some commands by itself."""
    fake = folder / "bin/docker"
    fake.parent.mkdir()
    script = f'#!/bin/sh\ncase "$*" in\n{cases}\n*) exec {shutil.which("docker")} "$@" ;;\nesac\n'
    fake.write_text(script, encoding="utf-8")
    fake.chmod(0o755)
    return f"{fake.parent}:{os.environ['PATH']}"


def test_compose_is_not_believed_that_waited_too_long(tmp_path: Path, deploy: Deploy) -> None:
    """It ends with 0, and a container that is still starting."""
    context(tmp_path, 90)
    cases = """
        *version*) echo 26.1.5 ;;
        *" up "*) ;;
        *" ps "*) echo 4f2d; echo 77aa ;;
        *.State.Health*) printf '/shop-db-1 healthy\\n/shop-web-1 starting\\n' ;;
    """
    said = deploy("web1", PATH=fake_docker(tmp_path, cases), DEPLOY_WAIT="7")
    assert said.endswith("deploy: shop-web-1 on web1 had not become healthy after 7 seconds.\n"), said


@pytest.mark.parametrize(
    ("after", "says"),
    [
        ("remote error: tls: bad certificate", "refuses the identity of the context web1: it was revoked"),
        ("write: connection reset by peer", "ends each connection of the context web1: it refuses the identity, or"),
        ("dial tcp: connection refused", "does not answer: dial tcp: connection refused"),
    ],
)
def test_a_connection_that_ends_without_a_reason_is_tried_again(
    tmp_path: Path, deploy: Deploy, after: str, says: str
) -> None:
    """A client of TLS 1.3 that writes before it reads the alert does not see it."""
    context(tmp_path, 90)
    first = tmp_path / "first"
    cases = f"""*version*)
        if mkdir {first} 2>/dev/null; then echo "write: broken pipe" >&2; else echo "{after}" >&2; fi
        exit 1 ;;
    """
    said = deploy("web1", PATH=fake_docker(tmp_path, cases))
    assert f"{HOST} {says}" in said, said
