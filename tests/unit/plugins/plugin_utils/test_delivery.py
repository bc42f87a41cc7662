"""What the plan says about exports and deployments, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan
from helpers.fleet import inventory

GROUPS = {"docker_engines": ["web1", "web 2"], "docker_clients": ["build1", "build2"]}
HOSTS = {
    "build1": {
        "docker_client_identities": [{"name": "build1", "user": "jenkins"}],
        "docker_client_transports": ["ssh", "tls"],
    },
    "build2": {"docker_client_identities": [{"name": "ci", "user": "ci"}, {"name": "ops", "user": "ci"}]},
}
SHOP = {"name": "shop", "src": "/srv/shop"}


def made(playbook: str = "deploy", options: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
    variables = {f"docker_{playbook.partition('_')[0]}_{name}": value for name, value in extra.items()}
    return plan.make(inventory(**{"groups": GROUPS, "hosts": HOSTS, "extra": variables, **(options or {})}), playbook)


def problems(*arguments: Any, **extra: Any) -> list[str]:
    with pytest.raises(plan.PlanError) as error:
        made(*arguments, **extra)
    return list(error.value.problems)


def test_a_project_goes_to_its_engines_in_their_order_as_the_only_identity() -> None:
    deploy = made(projects=[SHOP, {**SHOP, "name": "db", "engines": ["web 2"], "files": ["db.yaml"]}])["deploy"]
    assert {key: deploy[key] for key in ("client", "user", "become")} == {
        "client": "build1",
        "user": "jenkins",
        "become": True,
    }
    steps = [(step["project"], step["engine"], step["folder"], step["context"]) for step in deploy["steps"]]
    assert steps == [
        ("shop", "web1", "web1", "web1-ssh"),
        ("shop", "web 2", "web-2", "web-2-ssh"),
        ("db", "web 2", "web-2", "web-2-ssh"),
    ]
    assert deploy["steps"][2]["files"] == ["db.yaml"]


def test_transport_and_identity_decide_about_the_context() -> None:
    over_tls = made(projects=[SHOP], transport="tls")["deploy"]
    assert [step["context"] for step in over_tls["steps"]] == ["web1", "web-2"]
    several = made(projects=[SHOP], client="build2", identity="ops")["deploy"]
    assert [step["context"] for step in several["steps"]] == ["web1-ops", "web-2-ops"]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({}, "docker_deploy_projects is empty"),
        ({"client": "web1"}, "docker_deploy_client is 'web1', which is no client host."),
        ({"client": "build2"}, "build2 has the identities ci, ops; say which one deploys"),
        (
            {"identity": "biuld1"},
            "docker_deploy_identity is 'biuld1', which build1 does not have. Did you mean build1?",
        ),
        ({"client": "build2", "identity": "ci", "transport": "ssh"}, "docker_deploy_transport is ssh, which build2"),
        ({"wait_timeout": 0}, "docker_deploy_wait_timeout has to be 1 or more"),
        ({"projects": [{**SHOP, "name": "../x"}]}, "which Compose does not take"),
        ({"projects": [SHOP, SHOP]}, "docker_deploy_projects has 'shop' twice."),
        ({"projects": [{**SHOP, "src": "shop"}]}, "the src of shop is 'shop'; it has to start with / or ~/"),
        ({"projects": [{**SHOP, "files": ["../x.yaml"]}]}, "has the file '../x.yaml', which is not in its src"),
        ({"projects": [{**SHOP, "engines": ["web3"]}]}, "shop names 'web3', which is no engine."),
        ({"projects": [SHOP], "options": {"limit": "web1", "in_run": {"web1"}}}, "--limit leaves out build1"),
        (
            {"projects": [SHOP], "options": {"hosts": {**HOSTS, "web 2": {"docker_ssh_enabled": False}}}},
            "docker_deploy_projects: web 2 has no accounts over SSH (docker_ssh_enabled is false).",
        ),
    ],
)
def test_what_cannot_be_deployed_is_refused(extra: dict[str, Any], sentence: str) -> None:
    assert [problem for problem in problems(**extra) if sentence in problem]


def test_an_export_names_its_engines_as_contexts_are_named() -> None:
    export = made("export_identity", name="github", dest="~/out", engines="web 2")["export"]
    assert export == {
        "name": "github",
        "dest": "~/out",
        "group": "default",
        "valid_days": 90,
        "encrypt": True,
        "engines": [{"name": "web 2", "context": "web-2", "host": "tcp://192.0.2.2:2376"}],
    }
    assert len(made("export_identity", name="github", dest="/out")["export"]["engines"]) == 2


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"dest": "/out"}, "docker_export_name is ''; name the identity that the server gets"),
        ({"dest": "/out", "name": "a/b"}, "docker_export_name is 'a/b'"),
        ({"dest": "/out", "name": "ops"}, "which is an identity of build2. Its key stays there"),
        ({"name": "github"}, "docker_export_dest is ''; name the folder on the control node"),
        ({"name": "github", "dest": "out"}, "docker_export_dest is 'out'"),
        ({"name": "github", "dest": "/out", "valid_days": 0}, "docker_export_valid_days has to be 1 or more"),
        ({"name": "github", "dest": "/out", "engines": "wbe1"}, "has 'wbe1', which is no engine. Did you mean web1?"),
        (
            {"name": "github", "dest": "/out", "options": {"limit": "web1", "in_run": {"web1"}}},
            "--limit leaves out localhost, which keeps the CA",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused(extra: dict[str, Any], sentence: str) -> None:
    assert [problem for problem in problems("export_identity", **extra) if sentence in problem]


def test_other_playbooks_do_nothing_of_it() -> None:
    found = made("site")
    assert (found["export"], found["deploy"]) == ({}, {})
