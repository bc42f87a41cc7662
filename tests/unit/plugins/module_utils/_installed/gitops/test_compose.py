"""What Compose is asked, of a docker CLI that is a script."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import commands, compose, settings
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import CommandError, ProjectError

SCRIPT = """#!/bin/sh
printf '%s\\n' "$*" >>"$0.asked"
env | sort >"$0.env"
case "$*" in
  *"image inspect"*here*) echo sha256:1;;
  *"image inspect"*sha256:2*) echo sha256:2;;
  *"image inspect"*) exit 1;;
  *" up "*) echo "invalid port: hunter2 line-one" >&2; exit 1;;
  *"ps "*) echo "$CONTAINERS";;
  *inspect*) cat "$0.inspect";;
  *"--hash"*) echo "web abc"; echo "db def";;
esac
"""


@pytest.fixture
def docker(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(SCRIPT, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(commands, "PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def engine(tmp_path: pathlib.Path) -> compose.Engine:
    return compose.Engine("unix:///run/x.sock", settings.Places(tmp_path / "etc", tmp_path / "state"))


def project(tmp_path: pathlib.Path, **variables: str) -> compose.Compose:
    (tmp_path / "tree").mkdir(exist_ok=True)
    (tmp_path / "tree/compose.yml").touch()
    return compose.Compose(engine(tmp_path), "web", tmp_path / "tree", (), variables)


def asked(docker: pathlib.Path) -> list[str]:
    return docker.with_name("docker.asked").read_text(encoding="utf-8").splitlines()


def test_nothing_of_the_environment_reaches_compose_but_what_is_declared(
    tmp_path: pathlib.Path, docker: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_FILE", "/etc/passwd")
    found = project(tmp_path, DB="secret").hashes()
    assert found == {"web": "abc", "db": "def"}
    seen = dict(line.split("=", 1) for line in docker.with_name("docker.env").read_text(encoding="utf-8").splitlines())
    assert seen.pop("PWD") == "/"
    seen = {name: value for name, value in seen.items() if name not in ("_", "OLDPWD", "SHLVL")}
    assert seen == {
        "BUILDX_CONFIG": f"{tmp_path}/state/buildx",
        "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false",
        "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false",
        "COMPOSE_PROJECT_NAME": "web",
        "DB": "secret",
        "DOCKER_CONFIG": f"{tmp_path}/etc/docker",
        "DOCKER_HOST": "unix:///run/x.sock",
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{docker.parent}:/usr/bin:/bin",
    }
    assert f"--project-directory {tmp_path}/tree --file {tmp_path}/tree/compose.yml config" in asked(docker)[0]


def test_a_message_has_no_secret(tmp_path: pathlib.Path, docker: pathlib.Path) -> None:
    with pytest.raises(CommandError) as error:
        project(tmp_path, PORT="hunter2", KEY="line-one\nline-two").up(5)
    assert "invalid port: *** ***" in str(error.value)
    assert error.value.__cause__ is None


def test_only_images_that_are_not_here_are_pulled(tmp_path: pathlib.Path, docker: pathlib.Path) -> None:
    services: dict[str, t.Any] = {
        "here": {"image": "here:latest"},
        "missing": {"image": "missing"},
        "built": {"build": "."},
        "fresh": {"image": "here:1", "pull_policy": "always"},
    }
    project(tmp_path).pull({"services": services})
    assert [line.split(" pull ")[1] for line in asked(docker) if " pull " in line] == ["--quiet missing fresh"]


def test_a_name_means_again_the_image_that_it_meant(tmp_path: pathlib.Path, docker: pathlib.Path) -> None:
    images = {"here:1": "sha256:1", "here:2": "sha256:2", "gone": "sha256:2", "pruned": "sha256:3"}
    engine(tmp_path).name_again(images)
    tagged = [line.split(" tag ")[1] for line in asked(docker) if " tag " in line]
    assert tagged == ["sha256:2 here:2", "sha256:2 gone"]


def test_containers_are_read_with_their_state(
    tmp_path: pathlib.Path, docker: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"com.docker.compose.service": "web", "com.docker.compose.config-hash": "abc"}
    found = {
        "Name": "/web-web-1",
        "Image": "sha256:1",
        "Config": {"Labels": labels, "Image": "web"},
        "State": {"Status": "running", "Health": {"Status": "unhealthy"}},
        "RestartCount": 3,
    }
    docker.with_name("docker.inspect").write_text(json.dumps([found]), encoding="utf-8")
    asks = engine(tmp_path)
    assert asks.containers("web") == []
    asks.env["CONTAINERS"] = "id"
    (container,) = asks.containers("web")
    assert container == compose.Container("web-web-1", "web", "abc", "running", "unhealthy", 3, "web", "sha256:1")
    with pytest.raises(CommandError, match="is not healthy but unhealthy"):
        compose.check_steady(asks, "web", {"web-web-1": 3})
    for health, steady in (("starting", False), ("healthy", True), ("none", True)):
        found["State"] = {"Status": "running", "Health": {"Status": health}}
        docker.with_name("docker.inspect").write_text(json.dumps([found]), encoding="utf-8")
        if steady:
            assert compose.check_steady(asks, "web", {"web-web-1": 3}) == ["web"]
            continue
        with pytest.raises(CommandError, match="is not healthy but starting"):
            compose.check_steady(asks, "web", {"web-web-1": 3})
    found["State"] = {"Status": "running", "Health": {"Status": "unhealthy"}}
    docker.with_name("docker.inspect").write_text(json.dumps([found]), encoding="utf-8")
    with pytest.raises(CommandError, match="ends again and again"):
        compose.check_steady(asks, "web", {"web-web-1": 2})
    found["State"] = {"Status": "running"}
    docker.with_name("docker.inspect").write_text(json.dumps([found]), encoding="utf-8")
    assert compose.check_steady(asks, "web", {"web-web-1": 3}) == ["web"]


def test_secrets_are_read_from_files_and_credentials(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "web.B").write_text("two\nlines\n", encoding="utf-8")
    (tmp_path / "a").write_text("one", encoding="utf-8")
    declared = (settings.Secret("A", str(tmp_path / "a"), ""), settings.Secret("B", "", "web.B"))
    one = settings.Project("web", "web", (), declared, False, False, 5, True)
    assert compose.secrets(one) == {"A": "one", "B": "two\nlines"}
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(ProjectError, match="the secret A cannot be read"):
        compose.secrets(one)


def test_a_folder_without_a_compose_file_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "compose.yml").touch()  # Compose would find this one
    (tmp_path / "tree").mkdir()
    with pytest.raises(ProjectError, match="the project has no"):
        compose.Compose(engine(tmp_path), "web", tmp_path / "tree", (), {})
