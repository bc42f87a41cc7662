"""What a Compose file may not have, and the second copy of a project for a trial."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import policy, trial
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import ProjectError

FOLDER = pathlib.Path("/trees/web/1")
DIGEST = "name@sha256:" + "0" * 64


def service(**content: t.Any) -> dict[str, t.Any]:
    return {"services": {"web": content}}


@pytest.mark.parametrize(
    "model",
    [
        service(build={"context": "https://git.example.com/x.git"}),
        service(build="git@git.example.com:x.git"),
        service(build={"context": "github.com/docker/x"}),
        service(build={"context": "/srv/x"}),
        service(build={"context": "/trees/web/1/../2"}),
        service(build={"context": "/trees/web/1", "dockerfile": "../../2/Dockerfile"}),
        service(build={"context": "/trees/web/1", "additional_contexts": {"x": "docker-image://x"}}),
        service(provider={"type": "x"}),
        {"services": {}, "configs": {"x": {"file": "/etc/shadow"}}},
        {"services": {}, "secrets": {"x": {"file": "/trees/web/1/../x"}}},
    ],
)
def test_what_no_signature_covers_is_refused(model: dict[str, t.Any]) -> None:
    with pytest.raises(ProjectError):
        policy.check(model, FOLDER, require_digests=False)


@pytest.mark.parametrize(
    "model",
    [
        service(
            build={"context": "/trees/web/1/app", "dockerfile": "Dockerfile", "additional_contexts": {"x": "service:y"}}
        ),
        service(build="."),
        service(image="name:latest"),
        {"services": {"web": {}}, "configs": {"x": {"file": "/trees/web/1/x"}}, "secrets": {"x": {"environment": "X"}}},
    ],
)
def test_what_is_in_the_tree_is_accepted(model: dict[str, t.Any]) -> None:
    policy.check(model, FOLDER, require_digests=False)


def test_a_service_cannot_change_what_is_deployed() -> None:
    own = {"type": "bind", "source": "/trees/web/1/www", "target": "/www"}
    others = [
        {**own, "read_only": True},
        {**own, "source": "/srv"},
        {"type": "volume", "source": "data", "target": "/x"},
    ]
    policy.check(service(image="x", volumes=others), FOLDER, require_digests=False)
    with pytest.raises(ProjectError, match="could write to /trees/web/1/www"):
        policy.check(service(image="x", volumes=[own]), FOLDER, require_digests=False)


@pytest.mark.parametrize("option", ["env_file", "label_file"])
def test_files_that_compose_reads_are_in_the_tree(option: str) -> None:
    for inside in ("x.env", ["/trees/web/1/x"], [{"path": "/trees/web/1/x", "required": False}], None):
        policy.check_read(service(image="x", **{option: inside}), FOLDER)
    for outside in ("/etc/x", ["/trees/web/1/x", "../x"], [{"path": "/trees/web/2/x"}], ["/trees/web/1/${X}"]):
        with pytest.raises(ProjectError, match=f"{option} of the service web"):
            policy.check_read(service(image="x", **{option: outside}), FOLDER)


def test_digests_are_wanted_on_request() -> None:
    policy.check(service(image=DIGEST), FOLDER, require_digests=True)
    mounted = {"type": "image", "source": DIGEST, "target": "/x"}
    policy.check(service(image=DIGEST, volumes=[mounted]), FOLDER, require_digests=True)
    with pytest.raises(ProjectError, match="mounts the image name:1 without a digest"):
        policy.check(service(image=DIGEST, volumes=[{**mounted, "source": "name:1"}]), FOLDER, require_digests=True)
    for content in ({"image": "name:1"}, {"image": f"{DIGEST}0"}, {"build": "."}, {"image": DIGEST, "build": "."}, {}):
        with pytest.raises(ProjectError, match="no image with a digest"):
            policy.check(service(**content), FOLDER, require_digests=True)


def test_a_trial_meets_nothing_of_the_running_project() -> None:
    original = {
        "name": "web",
        "services": {
            "web": {
                "build": {"context": "/trees/web/1"},
                "ports": [{"published": "80"}],
                "container_name": "web",
                "labels": {"traefik.enable": "true"},
                "restart": "always",
                "deploy": {"replicas": 3, "labels": {"x": "y"}, "resources": {"limits": {}}},
                "networks": {"front": {"ipv4_address": "192.0.2.1", "aliases": ["www"]}, "default": None},
                "volumes": [
                    {"type": "bind", "source": "/srv", "target": "/srv"},
                    {"type": "volume", "source": "data", "target": "/data"},
                ],
                "healthcheck": {"test": ["CMD", "true"]},
            }
        },
        "networks": {"front": {"name": "front", "external": True}, "default": {"name": "web_default", "ipam": {}}},
        "volumes": {"data": {"name": "web_data", "external": True, "driver": "local"}},
    }
    copy = trial.model(original, "web")
    assert copy == {
        "name": "web-trial",
        "services": {
            "web": {
                "image": "web-web",
                "restart": "no",
                "deploy": {"resources": {"limits": {}}},
                "networks": {"front": {"aliases": ["www"]}, "default": None},
                "volumes": [
                    {"type": "bind", "source": "/srv", "target": "/srv", "read_only": True},
                    {"type": "volume", "source": "data", "target": "/data"},
                ],
                "healthcheck": {"test": ["CMD", "true"]},
            }
        },
        "networks": {"front": {}, "default": {}},
        "volumes": {"data": {"driver": "local"}},
    }
    assert "ports" in original["services"]["web"]  # type: ignore[index]


@pytest.mark.parametrize(
    "content", [{"network_mode": "host"}, {"network_mode": "container:x"}, {"volumes_from": ["x"]}]
)
def test_what_can_only_be_once_gets_no_trial(content: dict[str, t.Any]) -> None:
    with pytest.raises(ProjectError, match="set trial to false"):
        trial.model(service(**content), "web")
