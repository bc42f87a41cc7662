"""Access groups in the plan: who opens what, who verifies it, and what is refused before a host is contacted."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import clients, groups, handover, plan, record
from helpers.fleet import inventory

MEMBERS = {"docker_engines": ["web1", "web2", "web3"], "docker_clients": ["build1", "ops1"]}
HOSTS: dict[str, dict[str, Any]] = {
    "web1": {"docker_engine_access": ["staging"]},
    "web2": {"docker_engine_access": "staging, ops"},
    "web3": {"docker_engine_access": ["ops", "default"]},
    "build1": {
        "docker_client_identities": [
            {"name": "build1", "access": ["staging"]},
            {"name": "ann", "user": "ann", "access": ["staging", "ops"]},
        ],
        "docker_client_transports": ["tls", "ssh"],
    },
    "ops1": {"docker_client_identities": [{"name": "ops1", "access": ["ops"]}, {"name": "root1"}]},
}


def made(hosts: dict[str, dict[str, Any]] | None = None, playbook: str = "site", **given: Any) -> plan.Plan:
    changed = {name: {**HOSTS[name], **(hosts or {}).get(name, {})} for name in HOSTS}
    return plan.make(inventory(changed, MEMBERS, **given), playbook)


def problems(hosts: dict[str, dict[str, Any]], playbook: str = "site", **given: Any) -> list[str]:
    with pytest.raises(plan.PlanError) as error:
        made(hosts, playbook, **given)
    return error.value.problems


def test_without_groups_there_is_one_for_all() -> None:
    found = plan.make(inventory(), "site")
    assert found["ca"]["groups"] == []
    assert {engine: values["access"] for engine, values in found["engines"].items()} == {
        name: ["default"] for name in ("web1", "web2", "web3")
    }
    assert [one["identity"] for one in found["verifiers"]] == ["admin"]


def test_the_plan_has_every_group_and_a_verifier_for_every_engine() -> None:
    found = made()
    assert found["ca"]["groups"] == ["ops", "staging"]
    assert found["engines"]["web2"]["access"] == ["staging", "ops"]
    assert [(one["host"], one["identity"]) for one in found["verifiers"]] == [("build1", "build1"), ("build1", "ann")]
    ann = found["clients"]["build1"]["identities"][1]
    of_ann = clients.contexts_of(ann, found["clients"]["build1"], found["engines"])
    assert set(of_ann) == {(engine, transport) for engine in ("web1", "web2", "web3") for transport in ("tls", "ssh")}
    of_ops = clients.contexts_of(found["clients"]["ops1"]["identities"][0], found["clients"]["ops1"], found["engines"])
    assert of_ops == {("web2", "tls"): "web2-ops1", ("web3", "tls"): "web3-ops1"}


def test_accounts_over_ssh_are_those_of_the_engine_s_groups() -> None:
    found = made()
    accounts = {
        name: {user["name"]: user.get("state", "present") for user in handover.ssh_users(found, name)}
        for name in found["engines"]
    }
    both = {"docker-build1": "present", "docker-ann": "present"}
    assert accounts == {"web1": both, "web2": both, "web3": {"docker-ann": "present", "docker-build1": "absent"}}


def ca(*names: str) -> dict[str, Any]:
    issued = [{"name": "stranger", "usage": "client", "issuer": "x", "days_left": 9, "revoked": False}]
    groups_of_ca = [
        {"name": name, "bundle": f"{name}\n", "retired": f"old {name}\n", "issued": issued} for name in names
    ]
    return {
        "bundle": "default\n",
        "client_bundle": "default\nroot\n",
        "retired": "",
        "issued": [],
        "groups": groups_of_ca,
    }


def test_an_engine_trusts_the_cas_of_its_groups_and_no_other() -> None:
    found, state = made(), ca("ops", "staging")
    trusted = {name: handover.engine_bundle(found, state, name) for name in found["engines"]}
    assert trusted == {"web1": "staging\n", "web2": "staging\nops\n", "web3": "ops\ndefault\n"}
    assert handover.engine_bundle(found, state) == "default\n"
    assert handover.client_bundle(found, state) == "default\nroot\n"
    # Servers have their certificates from one CA, whoever is let in.
    assert {handover.engine_server_ca(found, state, name) for name in found["engines"]} == {"default\n"}
    assert handover.engine_server_ca(plan.make(inventory(), "site"), state, "web1") == ""
    # As long as a CA is missing nobody knows what to trust.
    assert handover.engine_bundle(found, ca("ops"), "web2") == ""
    assert groups.cas_of_clients(found, ca("ops")) == {"ops": "ops\n", "staging": ""}


def test_an_engine_may_leave_a_group_and_no_other_ca() -> None:
    assert groups.known_cas(made(), ca("ops")) == "default\nold ops\nops\n"
    assert groups.known_cas(plan.make(inventory(), "site"), ca()) == ""


def test_whom_the_record_of_a_group_has_is_no_stranger_to_the_run() -> None:
    found = made()
    assert record.unknown(found, ca("staging"))["identities"] == ["stranger"]
    assert record.unknown(found, ca())["identities"] == []


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ({"web1": {"docker_engine_access": []}}, "docker_engine_access of web1 is empty, which would be for nobody"),
        ({"web1": {"docker_engine_access": ["Ops"]}}, "docker_engine_access of web1 has 'Ops', which cannot be"),
        ({"web1": {"docker_engine_access": ["prod"]}}, "docker_engine_access of web1 is prod, and no identity is in"),
        (
            {"ops1": {"docker_client_identities": [{"name": "ops1", "access": ["opps"]}]}},
            "access of the identity 'ops1' of ops1 has the group 'opps', which no engine has. Did you mean ops?",
        ),
        (
            {"ops1": {"docker_client_identities": [{"name": "ops1", "access": []}]}},
            "access of the identity 'ops1' of ops1 is empty",
        ),
        (
            {
                "ops1": {
                    "docker_client_identities": [
                        {"name": "x", "access": ["ops", "default"], "certificate_path": "/c", "private_key_path": "/k"}
                    ]
                }
            },
            "has several access groups and a certificate_path",
        ),
        ({"build1": {"docker_client_context_name": "all"}}, "would get the context 'all' several times"),
        ({"build1": {"docker_client_current": "web3-build1"}}, "which is none of its contexts"),
    ],
)
def test_what_cannot_be_is_refused(hosts: dict[str, dict[str, Any]], says: str) -> None:
    assert any(says in problem for problem in problems(hosts)), problems(hosts)


def test_a_run_of_engines_alone_knows_no_identity() -> None:
    found = made({"web1": {"docker_engine_access": ["prod"]}}, "engines")
    assert (found["ca"]["groups"], found["verifiers"]) == (["default", "ops", "prod", "staging"][1:], [])


def test_the_only_identity_that_opens_an_engine_is_not_revoked() -> None:
    hosts = {
        "build1": {
            "docker_client_identities": [{"name": "build1", "access": ["ops"]}, {"name": "ann", "access": ["staging"]}]
        }
    }
    assert made(hosts, "revoke_client", extra={"docker_revoke_name": "build1"})["revoke"]["groups"] == ["ops"]
    (problem,) = problems(hosts, "revoke_client", extra={"docker_revoke_name": "ann"})
    assert "ann is the only identity that opens web1" in problem


def test_the_name_of_a_ca_has_room_for_the_group(tmp_path: Any) -> None:
    long = {"localhost": {"docker_ca_common_name": "x" * 52}}
    hosts = {**HOSTS, **long}
    with pytest.raises(plan.PlanError, match="The CA of the access group 'ops' would be called"):
        plan.make(inventory(hosts, MEMBERS), "site")
    (tmp_path / "issue.yml").touch()
    elsewhere = {"docker_ca_issue_tasks": str(tmp_path / "issue.yml"), "docker_ca_existing_certificate": "/ca.pem"}
    with pytest.raises(plan.PlanError, match="ops, staging would be CAs of their own, whose keys are here"):
        plan.make(inventory({**HOSTS, "localhost": elsewhere}, MEMBERS), "site")
