"""Gateways in the plan: who gets in with which scope, and what would make somebody root."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import gateways, handover, plan
from helpers.fleet import inventory

GROUPS = {"docker_engines": ["web1", "web2"], "docker_clients": ["build1"]}
ON = {"docker_gateway_enabled": True}


def _made(
    identities: list[dict[str, t.Any]], playbook: str = "site", engine: dict[str, t.Any] | None = None, **client: t.Any
) -> plan.Plan:
    hosts: dict[str, dict[str, t.Any]] = {"web1": engine or ON, "web2": engine or ON}
    hosts["build1"] = {"docker_client_identities": identities, **client}
    return plan.make(inventory(hosts, GROUPS), playbook)


def _problem(*args: t.Any, **named: t.Any) -> str:
    with pytest.raises(plan.PlanError) as error:
        _made(*args, **named)
    return str(error.value)


def test_a_gateway_knows_the_identities_of_all_clients() -> None:
    made = _made([{"name": "admin"}, {"name": "alice", "scope": "status"}])
    gateway = made["engines"]["web1"]["gateway"]
    assert gateway["identities"] == [{"name": "admin", "scope": "admin"}, {"name": "alice", "scope": "status"}]
    assert [scope["name"] for scope in gateway["scopes"]] == ["status"]
    assert "GET /containers/json" in gateway["scopes"][0]["rules"]


def test_an_engine_without_a_gateway_has_none() -> None:
    made = plan.make(inventory({}, GROUPS), "site")
    assert [engine["gateway"] for engine in made["engines"].values()] == [None] * len(made["engines"])
    assert handover.engine_gateway(made, "web1", {}) == {}


def test_a_run_of_engines_alone_says_who_was_revoked() -> None:
    made = plan.make(inventory({"web1": ON}, GROUPS), "engines")
    given = handover.engine_gateway(made, "web1", {"revoked": ["eve"]})
    assert (given.get("identities"), given["revoked"]) == (None, ["eve"])


def test_a_limited_identity_is_root_nowhere() -> None:
    hosts = {"web1": ON, "build1": {"docker_client_identities": [{"name": "alice", "scope": "status"}]}}
    with pytest.raises(plan.PlanError, match="web2 has no gateway, where whoever gets in is root"):
        plan.make(inventory(hosts, GROUPS), "site")


@pytest.mark.parametrize("transports", [["ssh"], ["tls", "ssh"]])
def test_a_limited_identity_is_root_nowhere_over_ssh_either(transports: list[str]) -> None:
    client = {
        "docker_client_identities": [{"name": "admin"}, {"name": "alice", "scope": "status"}],
        "docker_client_transports": transports,
    }
    with pytest.raises(plan.PlanError, match="web2 has no gateway, where whoever gets in is root"):
        plan.make(inventory({"web1": ON, "build1": client}, GROUPS), "site")
    if transports == ["ssh"]:  # where there is no account, either
        hosts = {"web1": ON, "web2": {"docker_ssh_enabled": False}, "build1": client}
        assert plan.make(inventory(hosts, GROUPS), "site")["engines"]["web2"]["gateway"] is None


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "B"
OVER_SSH = {"docker_client_transports": ["tls", "ssh"]}


def test_a_gateway_has_a_socket_for_each_account_with_a_limited_scope() -> None:
    users = [
        {"name": "docker-bob", "public_keys": [KEY]},
        {"name": "ci", "public_keys": [KEY], "scope": "operate"},
        {"name": "docker-alice", "expires": "2030-12-31"},
        {"name": "gone", "public_keys": [KEY], "scope": "status", "state": "absent"},
    ]
    identities = [{"name": "admin"}, {"name": "alice", "scope": "status"}]
    made = _made(identities, engine={**ON, "docker_ssh_users": users}, **OVER_SSH)
    gateway = made["engines"]["web1"]["gateway"]
    assert gateway["accounts"] == [
        {"name": "ci", "identity": "ci", "scope": "operate"},
        {"name": "docker-alice", "identity": "alice", "scope": "status"},
    ]
    assert [scope["name"] for scope in gateway["scopes"]] == ["operate", "status"]
    assert [one["name"] for one in gateway["identities"]] == ["admin", "alice"]
    scopes = {user["name"]: user.get("scope") or "admin" for user in handover.ssh_users(made, "web1")}
    assert scopes == {
        **{"docker-bob": "admin", "ci": "operate", "docker-alice": "status", "gone": "status"},
        "docker-admin": "admin",
    }


def test_no_socket_is_there_for_whom_the_engine_has_no_account() -> None:
    identities = [{"name": "admin"}, {"name": "alice", "scope": "status"}]
    assert _made(identities)["engines"]["web1"]["gateway"]["accounts"] == []
    off = {**ON, "docker_ssh_enabled": False}
    assert _made(identities, engine=off, **OVER_SSH)["engines"]["web1"]["gateway"]["accounts"] == []


def test_a_declared_account_with_a_limited_scope_is_root_nowhere() -> None:
    user = {"name": "ci", "public_keys": [KEY], "scope": "status"}
    said = _problem([{"name": "admin"}], engine={"docker_ssh_users": [user]})
    assert "docker_ssh_users of web1 gives ci the scope status, and web1 has no gateway" in said
    _made([{"name": "admin"}], engine={"docker_ssh_users": [{**user, "state": "absent"}]})


def test_an_account_with_a_limited_scope_is_one_identity_s_alone() -> None:
    alice, bob = ({"name": name, "scope": "status", "ssh_account": "team"} for name in ("alice", "bob"))
    said = _problem([alice, bob], engine=ON, **OVER_SSH)
    assert "The account team of web1 has a limited scope and several holders (alice, bob), whom" in said
    with_keys = {**ON, "docker_ssh_users": [{"name": "team", "public_keys": [KEY]}]}
    assert "holders (alice, docker_ssh_users), whom" in _problem([alice], engine=with_keys, **OVER_SSH)
    admins = [{**one, "scope": "admin"} for one in (alice, bob)]
    assert _made(admins, engine=ON, **OVER_SSH)["engines"]["web1"]["gateway"]["accounts"] == []


def test_an_account_has_one_scope() -> None:
    alice = {"name": "alice", "scope": "status"}
    other = {**ON, "docker_ssh_users": [{"name": "docker-alice", "scope": "operate"}]}
    said = _problem([alice], engine=other, **OVER_SSH)
    assert "The account docker-alice of web1 has several scopes (operate, status)" in said
    unknown = {**ON, "docker_ssh_users": [{"name": "ci", "public_keys": [KEY], "scope": "stats"}]}
    assert "there is no scope 'stats'" in _problem([alice], engine=unknown)
    named = {**ON, "docker_ssh_users": [{"name": "alice", "public_keys": [KEY], "scope": "operate"}]}
    assert "The identity 'alice' has the scopes status and operate on web1" in _problem([alice], engine=named)


def test_a_scope_has_to_be_there() -> None:
    assert "there is no scope 'readonly'. Did you mean read-only?" in _problem([{"name": "alice", "scope": "readonly"}])


def test_one_name_has_one_scope() -> None:
    engine = {**ON, "docker_gateway_identities": [{"name": "alice"}]}
    said = _problem([{"name": "alice", "scope": "status"}], engine=engine)
    assert "The identity 'alice' has the scopes status and admin on web1" in said


def test_a_site_has_scopes_and_identities_of_its_own() -> None:
    engine = {
        **ON,
        "docker_gateway_identities": [{"name": "ci", "scope": "own"}, {"name": "proxy", "scope": "traefik"}],
        "docker_gateway_scopes": [
            {"name": "own", "rules": ["include status", "POST /build body"]},
            {"name": "traefik", "log_only": True},
        ],
    }
    scopes = {
        one["name"]: one for one in _made([{"name": "admin"}], engine=engine)["engines"]["web1"]["gateway"]["scopes"]
    }
    assert scopes["own"]["rules"][-1] == "POST /build body"
    assert not scopes["own"]["log_only"]
    assert scopes["traefik"]["log_only"]
    assert "GET /containers/{id}/json" in scopes["traefik"]["rules"]


@pytest.mark.parametrize(
    ("variable", "value"), [("docker_gateway_max_connections", 0), ("docker_gateway_max_request_rate", -1)]
)
def test_a_limit_is_a_sensible_number(variable: str, value: int) -> None:
    assert f"{variable} of web1 is {value}" in _problem([{"name": "admin"}], engine={**ON, variable: value})


def test_a_run_without_clients_leaves_identities_as_they_are() -> None:
    made = _made([{"name": "admin"}], playbook="engines")
    assert "identities" not in made["engines"]["web1"]["gateway"]
    assert "identities" not in handover.engine_gateway(made, "web1", {"revoked": ["admin"]})


def test_whoever_was_revoked_is_left_out() -> None:
    made = _made([{"name": "admin"}, {"name": "alice", "scope": "status"}])
    gateway = handover.engine_gateway(made, "web1", {"revoked": ["alice"], "revocation_lists": "lists"})
    assert gateway["identities"] == [{"name": "admin", "scope": "admin"}]
    assert gateway["revocation_lists"] == "lists"


def test_the_account_of_whoever_was_revoked_has_no_socket() -> None:
    """Another account of that name stays."""
    users = [{"name": "alice", "public_keys": [KEY], "scope": "status"}]
    made = _made(
        [{"name": "admin"}, {"name": "alice", "scope": "status"}], engine={**ON, "docker_ssh_users": users}, **OVER_SSH
    )
    gateway = handover.engine_gateway(made, "web1", {"revoked": ["alice"]})
    assert [account["name"] for account in gateway["accounts"]] == ["alice"]


def test_a_shared_name_of_an_account_is_another_one_s_on_engines_of_another_group() -> None:
    ann, bob = (
        {"name": name, "access": [group], "scope": "status", "ssh_account": "team"}
        for name, group in (("ann", "staging"), ("bob", "default"))
    )
    hosts = {
        "web1": {**ON, "docker_engine_access": ["staging"]},
        "web2": ON,
        "build1": {"docker_client_identities": [{"name": "admin", "access": ["default", "staging"]}, ann, bob]},
    }
    hosts["build1"].update(OVER_SSH)
    made = plan.make(inventory(hosts, GROUPS), "site")
    accounts = {
        name: handover.engine_gateway(made, name, {"revoked": ["ann"]})["accounts"] for name in ("web1", "web2")
    }
    assert accounts == {"web1": [], "web2": [{"name": "team", "identity": "bob", "scope": "status"}]}


def test_a_revocation_rewrites_the_accounts_of_whom_it_names_and_no_other() -> None:
    """Not one that no site has brought to the engine yet, which has no socket there."""
    shared = [
        {"name": name, "access": access, "ssh_account": "team"} for name, access in (("ann", ["staging"]), *ADMINS)
    ]
    new = {"name": "new", "access": ["default"], "scope": "status"}
    identities = {"docker_client_identities": [*shared, new], **OVER_SSH}
    alone = {"docker_client_identities": [{"name": "eve", "access": ["default", "staging"]}], **OVER_SSH}
    hosts = {"web1": {**ON, "docker_engine_access": ["staging"]}, "web2": ON, "build1": identities, "build2": alone}
    fleet = {**GROUPS, "docker_clients": ["build1", "build2"]}
    made = plan.make(inventory(hosts, fleet, extra={"docker_revoke_name": "ann"}), "revoke_client")
    assert made["revoke"]["accounts"] == {"own": ["docker-ann"], "shared": ["team"]}
    keys = [{"name": name, "account": "team", "public_key": KEY} for name, _access in ADMINS]
    told = {"build1": {"docker_client_ssh": {"results": [{"item": {"user": ""}, "public_keys": keys}]}}, "build2": {}}
    team, own = handover.ssh_users(made, "web2", told, ["ann"])
    assert (team["name"], len(team["public_keys"])) == ("team", 2)
    assert own == {"name": "docker-ann", "state": "absent"}
    # Where nobody else logs in to it, it goes, and before anybody's keys are asked for.
    gone = {name: handover.revoked_accounts(made, name) for name in ("web1", "web2")}
    assert gone == {"web1": ["docker-ann", "team"], "web2": ["docker-ann"]}
    assert handover.ssh_users(made, "web1", told, ["ann"]) == [own, {"name": "team", "state": "absent"}]


ADMINS = (("bob", ["default"]), ("cat", ["default"]))


def _playbook(name: str, engine: dict[str, t.Any], identities: list[dict[str, t.Any]], **play: t.Any) -> plan.Plan:
    hosts: dict[str, dict[str, t.Any]] = {"web1": engine, "build1": {"docker_client_identities": identities}}
    groups = {"docker_engines": ["web1"], "docker_clients": ["build1"]}
    return plan.make(inventory(hosts, groups, play=play), name)


def test_an_export_is_for_whom_the_gateway_knows() -> None:
    play = {"docker_export_name": "ci", "docker_export_dest": "/tmp/ci"}
    with pytest.raises(plan.PlanError, match="The gateway of web1 does not know 'ci'"):
        _playbook("export_identity", ON, [{"name": "admin"}], **play)
    known = {**ON, "docker_gateway_identities": [{"name": "ci", "scope": "operate"}]}
    assert _playbook("export_identity", known, [{"name": "admin"}], **play)["export"]["name"] == "ci"
    assert _playbook("export_identity", {}, [{"name": "admin"}], **play)["export"]["name"] == "ci"


def test_a_deployment_needs_an_admin() -> None:
    play = {"docker_deploy_projects": [{"name": "shop", "src": "/srv/shop"}]}
    with pytest.raises(plan.PlanError, match="only an admin may create containers"):
        _playbook("deploy", ON, [{"name": "alice", "scope": "operate"}], **play)


def test_gateways_are_asked_what_scopes_name_and_what_they_do_not() -> None:
    made = _made(
        [{"name": "admin"}, {"name": "alice", "scope": "status"}, {"name": "bob", "scope": "operate", "user": "x"}]
    )
    (web1,) = gateways.calls(made, ["web1"])
    assert web1["address"] == "192.0.2.1"
    asked = {(call["method"], call["path"]): call["allowed"] for call in web1["calls"]}
    assert {call["identity"] for call in web1["calls"]} == {"alice"}
    assert asked["GET", "/containers/json"]
    assert not asked["GET", "/info"]
    assert not asked["GET", "//containers/json"]
    assert sum(asked.values()) == 2
    assert gateways.calls(plan.make(inventory({}, GROUPS), "site"), ["web1"]) == []


@pytest.mark.parametrize("transports", [["ssh"], ["tls", "ssh"]])
def test_gateways_are_asked_the_same_over_ssh(transports: list[str]) -> None:
    identities = [{"name": "admin"}, {"name": "alice", "scope": "status"}]
    made = _made(identities, docker_client_transports=transports, engine={**ON, "ansible_port": 2222})
    (web1,) = gateways.calls(made, ["web1"])
    assert web1["ssh_port"] == 2222
    over = {
        transport: [
            (call["method"], call["path"], call["allowed"])
            for call in web1["calls"]
            if call.get("account") == ("docker-alice" if transport == "ssh" else None)
        ]
        for transport in transports
    }
    assert all(asked == over["ssh"] for asked in over.values())
    assert len(web1["calls"]) == len(transports) * len(over["ssh"])
    assert ("GET", "/containers/json", True) in over["ssh"]


def test_an_admin_verifies_the_engines() -> None:
    assert _made([{"name": "alice", "scope": "prometheus"}, {"name": "root"}])["verifier"]["identity"] == "root"


STAGING = {**ON, "docker_engine_access": ["staging", "ops"]}


def test_a_gateway_knows_which_groups_an_identity_has_in_common_with_its_engine() -> None:
    identities = [
        {"name": "ann", "access": ["staging"]},
        {"name": "bob", "access": ["default"]},
        {"name": "cat", "access": ["ops", "default", "staging"]},
    ]
    hosts = {"web1": STAGING, "web2": ON, "build1": {"docker_client_identities": identities}}
    made = plan.make(inventory(hosts, GROUPS), "site")
    assert made["engines"]["web1"]["gateway"]["identities"] == [
        {"name": "ann", "scope": "admin", "access": ["staging"]},
        {"name": "cat", "scope": "admin", "access": ["ops", "staging"]},
    ]
    assert made["engines"]["web2"]["gateway"]["identities"] == [
        {"name": "bob", "scope": "admin"},
        {"name": "cat", "scope": "admin"},
    ]
    of_groups = [{"name": name, "bundle": name.upper(), "revocation_lists": f"{name};"} for name in ("ops", "staging")]
    ca = {"bundle": "DEFAULT", "revocation_lists": "default;", "groups": of_groups, "revoked": ["cat"]}
    gateway = handover.engine_gateway(made, "web1", ca)
    assert [one["name"] for one in gateway["identities"]] == ["ann"]
    assert gateway["revocation_lists"] == "staging;ops;"
    assert gateway["groups"] == [
        {"name": "staging", "ca_certificate": "STAGING"},
        {"name": "ops", "ca_certificate": "OPS"},
    ]
    alone = handover.engine_gateway(made, "web2", ca)
    assert alone["revocation_lists"] == "default;"
    assert "groups" not in alone


def test_a_gateway_is_asked_with_the_pair_that_opens_its_engine() -> None:
    identities = [
        {"name": "root", "access": ["staging"]},
        {"name": "cat", "access": ["default", "ops"], "scope": "status"},
        {"name": "dan", "access": ["default"], "scope": "status"},
    ]
    hosts = {"web1": STAGING, "web2": ON, "build1": {"docker_client_identities": identities}}
    made = plan.make(inventory(hosts, GROUPS), "site")
    asked = {
        one["name"]: {(call["identity"], call["group"]) for call in one["calls"]}
        for one in gateways.calls(made, ["web1", "web2"])
    }
    assert asked == {"web1": {("cat", "ops")}, "web2": {("cat", ""), ("dan", "")}}


def test_an_exported_identity_has_a_group_of_the_engine() -> None:
    engine = {**STAGING, "docker_gateway_identities": [{"name": "ci", "access": ["ops", "prod"]}]}
    made = _made([{"name": "ann", "access": ["staging"]}], engine=engine)
    assert made["engines"]["web1"]["gateway"]["identities"][1] == {"name": "ci", "scope": "admin", "access": ["ops"]}
    engine["docker_gateway_identities"] = [{"name": "ci"}]
    said = _problem([{"name": "ann", "access": ["staging"]}], engine=engine)
    assert "docker_gateway_identities of web1: the access of ci is default, and docker_engine_access is staging" in said
    play = {"docker_export_name": "ci", "docker_export_dest": "/tmp/ci", "docker_export_group": "staging"}
    engine["docker_gateway_identities"] = [{"name": "ci", "access": ["ops"]}]
    with pytest.raises(plan.PlanError, match="The gateway of web1 does not know 'ci'"):
        _playbook("export_identity", engine, [{"name": "ann", "access": ["staging"]}], **play)


def test_who_has_ended_does_not_get_in() -> None:
    made = _made([{"name": "admin"}, {"name": "alice", "scope": "status", "expires": "2020-01-01"}])
    assert made["engines"]["web1"]["gateway"]["identities"] == [{"name": "admin", "scope": "admin"}]


def test_one_name_has_one_scope_also_on_a_host_that_uses_ssh_alone() -> None:
    hosts = {
        "web1": ON,
        "ops1": {"docker_client_identities": [{"name": "alice"}], "docker_client_transports": ["ssh"]},
        "ops2": {
            "docker_client_identities": [{"name": "alice", "scope": "status"}],
            "docker_client_transports": ["tls", "ssh"],
        },
    }
    groups = {"docker_engines": ["web1"], "docker_clients": ["ops1", "ops2"]}
    with pytest.raises(
        plan.PlanError, match=r"The identity 'alice' has the scopes (status and admin|admin and status) on web1"
    ):
        plan.make(inventory(hosts, groups), "site")
