"""docker_project_files: a whole tree at once, and the one to go back to."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._deploy import tree as project_tree
from helpers.docker_cli import tree

Run = Callable[..., dict[str, Any]]
SHOP = {"project": "shop", "engine": "web1"}


def files(**contents: str) -> dict[str, Any]:
    """As the action part reads them; a name with an x is executable."""
    return {
        name.replace("__", "/"): {"content": base64.b64encode(text.encode()).decode(), "executable": "x" in name}
        for name, text in contents.items()
    }


def folder(home: Path, name: str = "project") -> Path:
    return home / ".bulkhead/deploy/web1/shop" / name


def test_what_is_not_in_the_source_any_more_goes(tmp_path: Path, run_module: Run) -> None:
    first = run_module("docker_project_files", files=files(compose="a: 1\nb: 1\n", conf__old="x", run_x="#!"), **SHOP)
    assert first["changed"] and not first["has_good"] and first["path"] == str(folder(tmp_path))
    assert (folder(tmp_path) / "run_x").stat().st_mode & 0o777 == 0o755
    assert (folder(tmp_path) / "compose").stat().st_mode & 0o777 == 0o644
    # Whatever modes are for the image, nobody else gets in here.
    assert folder(tmp_path).parent.stat().st_mode & 0o777 == 0o700
    second = files(compose="a: 1\nb: 2\n", run_x="#!")
    done = run_module("docker_project_files", files=second, **SHOP)
    assert sorted(path.name for path in folder(tmp_path).iterdir()) == ["compose", "run_x"]
    assert [(entry["before"], entry["after"]) for entry in done["diff"]] == [("b: 1\n", "b: 2\n"), ("x", "")]
    before = tree(tmp_path)
    assert not run_module("docker_project_files", files=second, **SHOP)["changed"]
    assert tree(tmp_path) == before


def test_it_goes_back_to_what_was_healthy_last(tmp_path: Path, run_module: Run) -> None:
    good, broken = files(compose="good"), files(compose="broken", more="")
    run_module("docker_project_files", files=good, **SHOP)
    assert run_module("docker_project_files", state="kept", **SHOP)["has_good"]
    run_module("docker_project_files", files=broken, **SHOP)
    # Killed before it was known to be broken, and run again: the good one is not replaced.
    run_module("docker_project_files", files=broken, **SHOP)
    done = run_module("docker_project_files", state="restored", **SHOP)
    assert done["changed"] and done["has_good"]
    assert {path.name: path.read_text() for path in folder(tmp_path).iterdir()} == {"compose": "good"}
    assert not run_module("docker_project_files", state="restored", **SHOP)["changed"]


def test_without_a_healthy_one_the_files_stay_for_whoever_stops_it(tmp_path: Path, run_module: Run) -> None:
    run_module("docker_project_files", files=files(compose="broken"), **SHOP)
    done = run_module("docker_project_files", state="restored", **SHOP)
    assert (done["changed"], done["has_good"]) == (False, False)
    assert (folder(tmp_path) / "compose").read_text() == "broken"


@pytest.mark.parametrize("end", ["kept", "restored"])
def test_check_mode_leaves_nothing_behind(tmp_path: Path, run_module: Run, end: str) -> None:
    wanted = files(compose="a")
    checked = run_module("docker_project_files", check=True, files=wanted, **SHOP)
    assert checked["changed"] and checked["path"] == str(folder(tmp_path, "preview"))
    assert (folder(tmp_path, "preview") / "compose").read_text() == "a"
    run_module("docker_project_files", check=True, state=end, **SHOP)
    assert list(tmp_path.iterdir()) == []
    done = run_module("docker_project_files", files=wanted, **SHOP)
    assert done["diff"] == checked["diff"]


# A docker CLI that answers as an engine with the containers in $CONTAINERS does.
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$0.asked"
case "$*" in
  *away*) echo "cannot connect" >&2; exit 1;;
  *" ps "*) echo "$CONTAINERS";;
  *" config "*) cat "$0.model";;
esac
"""
MODEL: dict[str, Any] = {
    "name": "shop",
    "services": {
        "web": {"build": {"context": "/x"}, "image": "shop-web", "ports": [{"published": "80"}], "restart": "always"},
        "db": {"image": "db:1", "volumes": [{"type": "volume", "source": "data", "target": "/data"}]},
    },
    "volumes": {"data": {"name": "shop_data"}},
}


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The environment in which an engine has these containers and Compose understands that model."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER, encoding="utf-8")
    program.chmod(0o755)

    def answers(containers: str = "", model: dict[str, Any] | None = None) -> dict[str, str]:
        program.with_name("docker.model").write_text(json.dumps(model or MODEL), encoding="utf-8")
        return {"PATH": f"{program.parent}:{os.environ['PATH']}", "CONTAINERS": containers}

    return answers


def test_a_second_copy_meets_nothing_of_the_project(
    tmp_path: Path, run_module: Run, engine: Callable[..., dict[str, str]]
) -> None:
    run_module("docker_project_files", files=files(compose="a"), **SHOP)
    tried = {"state": "trial", "context": "web1-ssh", "compose_files": ["a.yaml"], **SHOP}
    done = run_module("docker_project_files", env=engine("id"), **tried)
    assert done["path"] == str(folder(tmp_path, "trial")) and not done["changed"]
    (file,) = folder(tmp_path, "trial").iterdir()
    assert file.name == "compose.json" and file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "name": "shop-trial",
        "services": {
            "web": {"build": {"context": "/x"}, "restart": "no"},  # an image of its own
            "db": {**MODEL["services"]["db"], "restart": "no"},
        },
        "networks": {},
        "volumes": {"data": {}},
    }
    (asked,) = [line for line in (tmp_path / "bin/docker.asked").read_text().splitlines() if " config " in line]
    project = folder(tmp_path)
    assert asked == (
        f"--context web1-ssh compose --project-name shop --project-directory {project} --file {project}/a.yaml "
        "config --format json"
    )
    for end in ("kept", "restored"):
        run_module("docker_project_files", env=engine(), **tried)
        run_module("docker_project_files", state=end, **SHOP)
        assert not folder(tmp_path, "trial").exists()
    run_module("docker_project_files", check=True, env=engine(), **tried)
    assert not folder(tmp_path, "trial").exists()
    shared = {**MODEL, "services": {"web": {"image": "x", "network_mode": "host"}}}
    done = run_module("docker_project_files", env=engine(model=shared), **tried)
    assert done["msg"].endswith("set trial to false for this project."), done["msg"]


def test_it_says_what_the_engine_and_the_files_are(run_module: Run, engine: Callable[..., dict[str, str]]) -> None:
    wanted = {"files": files(compose="a"), "context": "web1", **SHOP}
    first = run_module("docker_project_files", env=engine("id"), **wanted)
    assert (first["running"], first["is_good"]) == (True, False)
    assert run_module("docker_project_files", state="kept", **SHOP)["is_good"]
    again = run_module("docker_project_files", env=engine(), **wanted)
    assert (again["running"], again["is_good"]) == (False, True)
    away = run_module("docker_project_files", env=engine(), **{**wanted, "context": "away", "files": files(other="b")})
    assert "docker ps through the context away has failed: cannot connect." in away["msg"]
    assert run_module("docker_project_files", env=engine(), **wanted)["is_good"]  # nothing was written


def test_a_diff_shows_no_secrets(run_module: Run) -> None:
    run_module("docker_project_files", files=files(**{".env": "PASSWORD=one", "secret_key": "one"}), **SHOP)
    done = run_module("docker_project_files", files=files(**{".env": "PASSWORD=two", "secret_key": "two"}), **SHOP)
    assert done["changed"] and len(done["diff"]) == 2
    assert "one" not in str(done["diff"]) and "two" not in str(done["diff"])


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../../out"])
def test_no_file_leads_out_of_the_project(tmp_path: Path, run_module: Run, name: str) -> None:
    entry = {"content": "", "executable": False}
    done = run_module("docker_project_files", files={name: entry}, **SHOP)
    assert done["failed"] and "lead out of it" in done["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("key", "value"), [("project", "../x"), ("project", "Shop"), ("engine", "../x")])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, run_module: Run, key: str, value: str) -> None:
    done = run_module("docker_project_files", files=files(compose=""), **{**SHOP, key: value})
    assert done["failed"], done
    assert list(tmp_path.iterdir()) == []


def test_a_source_is_read_without_git_and_refused_where_it_leads_elsewhere(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").touch()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/a").write_bytes(b"a")
    assert project_tree.read(tmp_path) == {"conf/a": project_tree.File(b"a", False)}
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(project_tree.TreeError, match="is a symbolic link"):
        project_tree.read(tmp_path)
    (tmp_path / "link").unlink()
    (tmp_path / "large").write_bytes(b"0" * project_tree.MOST_BYTES)
    with pytest.raises(project_tree.TreeError, match="has more than 5 MiB"):
        project_tree.read(tmp_path)
