"""The plan of the fleet: what is in it, and everything that is refused before a host is contacted."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import engines as _engines
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import UnresolvedError
from helpers.fleet import inventory

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "B"


def problems(playbook: str = "site", **given: Any) -> list[str]:
    with pytest.raises(plan.PlanError) as error:
        plan.make(inventory(**given), playbook)
    return error.value.problems


def test_an_inventory_of_engines_alone_is_enough() -> None:
    made = plan.make(inventory(), "site")
    assert list(made["engines"]) == ["web1", "web2", "web3"]
    assert made["engines"]["web1"]["host"] == "tcp://192.0.2.1:2376"
    assert list(made["clients"]) == ["localhost"]
    assert made["ca"]["host"] == "localhost"
    assert made["ca"]["dir"] == "~/.bulkhead/ca"
    assert made["ca"]["has_passphrase"] is False
    assert made["verifier"]["host"] == "localhost"
    assert made["verifier"]["identity"] == "admin"
    assert made["batches"] == [["web1"], ["web2", "web3"]]
    assert json.loads(json.dumps(made)) == made


def test_an_engine_that_is_switched_off_has_no_accounts_and_clients_no_context_for_them() -> None:
    user = {"name": "docker-carol", "public_keys": [KEY]}
    hosts = {
        "localhost": {"docker_client_transports": ["ssh"], "docker_client_current": "web2-ssh"},
        "web1": {"docker_ssh_enabled": False, "docker_ssh_users": [user]},
    }
    made = plan.make(inventory(hosts), "site")
    assert (made["engines"]["web1"]["ssh"]["enabled"], made["engines"]["web1"]["ssh"]["users"]) == (False, [])
    hosts["localhost"]["docker_client_current"] = "web1-ssh"
    (problem,) = problems(hosts=hosts)
    assert "'web1-ssh', which is none of its contexts: web2-ssh, web3-ssh" in problem


def test_an_engine_is_what_its_variables_say() -> None:
    hosts = {
        "web1": {
            "docker_engine_address": "web1.example.com.",
            "docker_engine_port": "2377",
            "docker_engine_listen": "10.0.0.5, 2001:DB8::5",
            "docker_engine_names": ["lb.example.com", "*.apps.example.com", "192.0.2.99"],
            "docker_engine_daemon_options": {"log-driver": "local"},
            "docker_engine_allow_container_restart": "yes",
        }
    }
    engine = plan.make(inventory(hosts), "site")["engines"]["web1"]
    assert engine["host"] == "tcp://web1.example.com:2377"
    assert engine["listen"] == ["10.0.0.5", "2001:db8::5"]
    assert engine["names"] == [
        "web1",
        "192.0.2.1",
        "web1.example.com",
        "lb.example.com",
        "*.apps.example.com",
        "192.0.2.99",
        "localhost",
        "127.0.0.1",
        "::1",
    ]
    assert engine["daemon_options"] == {"log-driver": "local"}
    assert engine["allow_container_restart"] is True
    assert "docker_engine_listen" in engine["given"]
    assert "docker_engine_key_type" not in engine["given"]


@pytest.mark.parametrize(
    ("given", "address", "host"),
    [
        ({"ansible_host": "[2001:DB8:0::1]"}, "2001:db8::1", "tcp://[2001:db8::1]:2376"),
        ({"ansible_host": None, "ansible_ssh_host": "192.0.2.11"}, "192.0.2.11", "tcp://192.0.2.11:2376"),
        ({"ansible_host": "192.0.2.1", "ansible_ssh_host": "192.0.2.11"}, "192.0.2.1", "tcp://192.0.2.1:2376"),
        ({"ansible_host": None}, "web1", "tcp://web1:2376"),
        ({"docker_engine_address": "192.0.2.40"}, "192.0.2.40", "tcp://192.0.2.40:2376"),
    ],
)
def test_the_address_that_clients_use(given: dict[str, Any], address: str, host: str) -> None:
    """B09."""
    engine = plan.make(inventory({"web1": given}), "site")["engines"]["web1"]
    assert (engine["address"], engine["host"]) == (address, host)
    assert f"{address}" in engine["names"] or f"{address}" in engine["names"]


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({}, None),
        ({"ansible_port": 2222}, 2222),
        ({"ansible_ssh_port": "2222"}, 2222),
        ({"ansible_host": "127.0.0.1", "ansible_port": 2201, "docker_engine_address": "192.0.2.40"}, None),
        ({"ansible_port": 2222, "docker_engine_address": "192.0.2.1"}, 2222),
        ({"ansible_port": 2222, "ansible_connection": "local"}, None),
    ],
)
def test_a_port_of_ssh_counts_at_the_address_that_ansible_uses(given: dict[str, Any], port: int | None) -> None:
    """B09, B10."""
    assert plan.make(inventory({"web1": given}), "site")["engines"]["web1"]["ssh_port"] == port


@pytest.mark.parametrize(
    "address",
    [
        "*=exec=id>pwned;true",
        "192.0.2.12,192.0.2.11",
        "*",
        "web 2",
        "-oProxyCommand=id",
        "web2:2376",
        "ops@web2",
        "tcp://web2:2376",
        "192.0.2.300",
        "127.1",
        "0x7f.1",
        "a" * 64,
        "müller.example",
    ],
)
@pytest.mark.parametrize("variable", ["docker_engine_address", "ansible_host"])
def test_an_address_with_a_meaning_of_its_own_is_refused(variable: str, address: str) -> None:
    found = problems(hosts={"web1": {variable: address}})
    assert len(found) == 1
    assert found[0].startswith(
        "docker_engine_address of web1 is " if variable == "docker_engine_address" else "web1 has no address"
    )


def test_a_zone_in_an_address_needs_another_address_for_clients() -> None:
    """B24."""
    zoned = {"ansible_host": "fe80::5054:ff:fe12:3456%br-lab"}
    (found,) = problems(hosts={"web1": zoned})
    assert "a link-local address with a zone" in found
    assert "docker_engine_address" in found
    engine = plan.make(inventory({"web1": {**zoned, "docker_engine_address": "192.0.2.7"}}), "site")["engines"]["web1"]
    assert [name for name in engine["names"] if "fe80" in name] == []


@pytest.mark.parametrize(
    ("name", "context", "in_certificate"),
    [
        ("web_1", "web_1", True),
        ("web 1 (old)", "web-1-old", False),
        ("a" * 70, "a" * 70, False),
        ("default", "engine-default", True),
        ("w", "engine-w", True),
        ("_gateway", "engine-gateway", True),
        ("2001:db8::9", "2001-db8-9", True),
        ("ünïcode", "n-code", False),
    ],
)
def test_an_inventory_name_that_is_no_dns_name_works_with_an_address(
    name: str, context: str, in_certificate: bool
) -> None:
    made = plan.make(inventory(groups={"docker_engines": [name]}), "site")
    engine = made["engines"][name]
    assert engine["context"] == context
    assert engine["common_name"] == name[:64]
    assert (f"{name.lower()}" in engine["names"] or f"{name}" in engine["names"]) is in_certificate
    assert "192.0.2.1" in engine["names"]


def test_two_names_that_give_the_same_context_are_refused() -> None:
    (found,) = problems(groups={"docker_engines": ["web 1", "web(1"]})
    assert "'web-1' several times: web 1 for admin, web(1 for admin" in found


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("docker_engine_port", "many", "docker_engine_port of web1 is 'many'; it has to be a whole number."),
        ("docker_engine_port", 70000, "docker_engine_port of web1 is 70000; a port is a number from 1 to 65535."),
        ("docker_engine_port", True, "docker_engine_port of web1 is true; it has to be a whole number."),
        ("docker_engine_listen", [], "docker_engine_listen of web1 is empty"),
        ("docker_engine_listen", ["eth0"], "docker_engine_listen of web1 has 'eth0'; dockerd listens on IP addresses"),
        ("docker_engine_listen", ["fe80::1%eth0"], "docker_engine_listen of web1 has 'fe80::1%eth0'"),
        ("docker_engine_listen", {"a": 1}, 'docker_engine_listen of web1 is {"a": 1}; it has to be a list.'),
        ("docker_engine_names", ["not a name"], "docker_engine_names of web1 has 'not a name'"),
        ("docker_engine_daemon_options", "log", "docker_engine_daemon_options of web1 is text; it has to be a dict"),
        ("docker_engine_daemon_options", {"tlsverify": False}, "docker_engine_daemon_options of web1 has tlsverify"),
        ("docker_engine_daemon_options", {"hosts": []}, "docker_engine_daemon_options of web1 has hosts"),
        ("docker_engine_key_type", "DSA", "docker_engine_key_type of web1 is 'DSA'; it has to be one of P-256"),
        ("docker_engine_valid_days", 30, "docker_engine_valid_days of web1 (30) has to be more than"),
        ("docker_engine_renew_days", -1, "docker_engine_renew_days of web1 is negative"),
        ("docker_engine_restart_timeout", 0, "docker_engine_restart_timeout of web1 has to be 1 or more"),
        ("docker_engine_allow_container_restart", "maybe", "docker_engine_allow_container_restart of web1 is 'maybe'"),
        ("docker_engine_address", True, "docker_engine_address of web1 is true; it has to be text, in quotes"),
        ("ansible_port", "ssh", "ansible_port of web1 is 'ssh'; a port is a number from 1 to 65535."),
        ("docker_ssh_users", ["alice"], "entry 1 of docker_ssh_users of web1 is 'alice'; it has to be a dictionary"),
        ("docker_ssh_users", [{"nam": "a"}], "entry 1 of docker_ssh_users of web1 has no option nam; the options are"),
        ("docker_ssh_users", [{"state": "absent"}], "entry 1 of docker_ssh_users of web1 has no name; set it."),
        (
            "docker_ssh_users",
            [{"name": "Root!"}],
            "On web1: docker_ssh_users: 'Root!' cannot be the name of an account",
        ),
        ("docker_ssh_users", [{"name": "alice"}], "docker_ssh_users of web1: alice has neither public_keys nor"),
        ("docker_ssh_client_networks", ["lan"], "On web1: docker_ssh_client_networks: 'lan' is not an address"),
        ("docker_ssh_max_startups", "100-200", "docker_ssh_max_startups of web1 is '100-200'; write it as sshd does"),
        ("docker_ssh_max_sessions", 0, "docker_ssh_max_sessions of web1 is 0; it has to be 1 to 1000"),
        ("docker_ssh_confirm_timeout", 1, "docker_ssh_confirm_timeout of web1 has to be 5 or more"),
        (
            "docker_engine_prot",
            1,
            "The variable docker_engine_prot of web1 is unknown. Did you mean docker_engine_port?",
        ),
        ("docker_ca_dir", "/srv/ca", "docker_ca_dir is set for web1, but the CA is on localhost."),
        ("docker_ca_host", "web2", "docker_ca_host is set for web1, but it is one value for the whole run."),
    ],
)
def test_what_is_wrong_with_an_engine_is_one_sentence(variable: str, value: Any, said: str) -> None:
    (found,) = problems(hosts={"web1": {variable: value}})
    assert found.startswith(said)
    assert found.endswith((".", "?", ")."))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("docker_client_identities", [], "docker_client_identities of localhost is empty"),
        (
            "docker_client_identities",
            [{"name": "a b"}],
            "The identity 'a b' of localhost cannot be the name of a folder",
        ),
        ("docker_client_identities", [{"name": "a"}, {"name": "a"}], "docker_client_identities of localhost names 'a'"),
        (
            "docker_client_identities",
            [{"name": "a"}, {"name": "a", "user": "ops"}],
            "docker_client_identities of local",
        ),
        ("docker_client_identities", [{"name": "a", "valid_days": 20}], "The identity 'a' of localhost would be valid"),
        ("docker_client_transports", [], "docker_client_transports of localhost is empty"),
        (
            "docker_client_transports",
            ["http"],
            "an entry of docker_client_transports of localhost is 'http'; it has to",
        ),
        (
            "docker_client_current",
            "web9",
            "docker_client_current of localhost is 'web9', which is none of its contexts",
        ),
        ("docker_client_context_name", "{identity}", "On localhost, ops would get the context 'admin' several times"),
        ("docker_client_context_name", "{engine}!", "docker_client_context_name of localhost gives the context name"),
        ("docker_client_context_set", "", "docker_client_context_set of localhost is empty"),
        ("docker_client_key_size", 1024, ""),  # of RSA keys alone
        (
            "docker_ca_dir",
            "ca",
            "docker_ca_dir of localhost is 'ca'; it has to start with / or ~/, and has no line break.",
        ),
        (
            "docker_ca_dir",
            "/ca\nx",
            "docker_ca_dir of localhost is '/ca\\nx'; it has to start with / or ~/, and has no",
        ),
        ("docker_ca_dir", "/ca\n", "docker_ca_dir of localhost is '/ca\\n'; it has to start with / or ~/, and has no"),
        ("docker_ca_common_name", "x" * 56, "docker_ca_common_name of localhost has to have 1 to 55 characters."),
        (
            "docker_ca_existing_certificate",
            "/ca.pem",
            "docker_ca_existing_certificate of localhost goes with docker_ca_existing_private_key, or with",
        ),
        (
            "docker_ca_valid_days",
            365,
            "docker_ca_valid_days of localhost has to be more than its docker_ca_minimum_days",
        ),
    ],
)
def test_what_is_wrong_with_the_control_node_is_one_sentence(variable: str, value: Any, said: str) -> None:
    given = inventory(play={}, hosts={"localhost": {variable: value}})
    if not said:
        plan.make(given, "site")
        return
    with pytest.raises(plan.PlanError) as error:
        plan.make(given, "site")
    assert [problem for problem in error.value.problems if not problem.startswith(said)] == []


def test_what_stands_against_a_ca_whose_key_is_elsewhere(tmp_path: Path) -> None:
    tasks = tmp_path / "issue.yml"
    right = {"docker_ca_existing_certificate": "/ca.pem", "docker_ca_issue_tasks": str(tasks)}

    def problems(playbook: str = "site", extra: dict[str, Any] | None = None, **given: Any) -> list[str]:
        try:
            plan.make(inventory(hosts={"localhost": {**right, **given}}, extra=extra), playbook)
        except plan.PlanError as error:
            return error.problems
        return []

    assert "it has to be a file of tasks on the control node" in problems()[0]
    tasks.write_text("[]")
    assert problems() == problems("renew") == problems("verify") == []
    assert "exclude each other" in problems(docker_ca_existing_private_key="/key.pem")[0]
    assert "goes with" in problems(docker_ca_existing_certificate="")[0]
    for refused in (problems("rotate_ca"), problems("renew", docker_ca_rotate_when_due=True)):
        assert "so that it is not replaced by a playbook" in " ".join(refused)
    revoke = {"docker_revoke_name": "alice"}
    assert problems("revoke_client", extra=revoke) == []
    (problem,) = problems("revoke_client", extra={**revoke, "docker_revoke_by_rotation": True})
    assert "Put the new CA behind the present one" in problem
    assert "so is its passphrase" in problems("change_passphrase")[0]
    assert "no identity of it is exported" in " ".join(problems("export_identity"))


def test_identities_have_everything_that_others_need() -> None:
    identities = [{"name": "build1", "user": "jenkins", "valid_days": 90}, {"name": "al.ice", "ssh_account": "alice"}]
    groups = {"docker_engines": ["web1"], "docker_clients": ["build1"]}
    hosts = {
        "build1": {
            "docker_client_identities": identities,
            "docker_client_transports": ["tls", "ssh"],
            "ansible_user": "deploy",
        }
    }
    made = plan.make(inventory(hosts, groups), "site")
    client = made["clients"]["build1"]
    assert client["identities"] == [
        {
            "name": "build1",
            "user": "jenkins",
            "access": ["default"],
            "scope": "admin",
            "valid_days": 90,
            "ssh_account": "docker-build1",
            "ssh_private_key": "",
            "certificate_path": "",
            "private_key_path": "",
            "expires": "",
            "ended": False,
        },
        {
            "name": "al.ice",
            "user": "",
            "access": ["default"],
            "scope": "admin",
            "valid_days": 365,
            "ssh_account": "alice",
            "ssh_private_key": "",
            "certificate_path": "",
            "private_key_path": "",
            "expires": "",
            "ended": False,
        },
    ]
    assert client["connects_as"] == "deploy"
    verifier = made["verifier"]
    assert (verifier["host"], verifier["identity"], verifier["user"]) == ("build1", "build1", "jenkins")
    assert verifier["folder"] == "~/.bulkhead/identities/build1"
    assert [candidate["identity"] for candidate in verifier["candidates"]] == ["build1", "al.ice"]


@pytest.mark.parametrize(
    ("given", "user"),
    [
        ({}, "ops"),
        ({"ansible_ssh_user": "old"}, "old"),
        ({"ansible_connection": "local", "ansible_user": "deploy"}, "ops"),
    ],
)
def test_who_works_on_a_client_host(given: dict[str, Any], user: str) -> None:
    """B20."""
    groups = {"docker_engines": ["web1"], "docker_clients": ["build1"]}
    assert plan.make(inventory({"build1": given}, groups), "site")["clients"]["build1"]["connects_as"] == user


def test_an_account_that_leaves_cannot_be_a_client_s() -> None:
    users = [{"name": "docker-admin", "state": "absent"}]
    hosts: dict[str, Any] = {"web1": {"docker_ssh_users": users}}
    plan.make(inventory(hosts), "site")  # nobody logs in with SSH
    (found,) = problems(hosts={**hosts, "localhost": {"docker_client_transports": ["ssh"]}})
    assert "an identity of a client host logs in to that account" in found


def test_an_account_of_a_client_needs_no_key_in_the_inventory() -> None:
    users = [{"name": "docker-admin", "allowed_from": ["192.0.2.0/24"]}]
    hosts = {"web1": {"docker_ssh_users": users}, "localhost": {"docker_client_transports": ["ssh"]}}
    assert plan.make(inventory(hosts), "site")["engines"]["web1"]["ssh"]["users"][0]["name"] == "docker-admin"


def test_engines_with_one_endpoint_are_refused() -> None:
    (found,) = problems(hosts={"web2": {"ansible_host": "192.0.2.1"}})
    assert found.startswith("web1, web2 have the same endpoint tcp://192.0.2.1:2376")
    ports = {"web1": {"docker_engine_port": 2377}, "web2": {"ansible_host": "192.0.2.1"}}
    plan.make(inventory(ports), "site")


def test_an_engine_that_may_name_itself_knows_the_names_of_others() -> None:
    engines = plan.make(inventory({"web1": {"docker_engine_trust_host_names": True}}), "site")["engines"]
    assert engines["web1"]["foreign_names"] == ["192.0.2.2", "192.0.2.3", "web2", "web3"]
    assert engines["web2"]["foreign_names"] == []


def test_a_host_names_itself_and_nobody_else() -> None:
    said = ["web1.example.com", "WEB1", "*.example.com", "web2", "Web2.", "a.team.example.com", "192.0.2.2", "a b", ""]
    foreign = ["web2", "192.0.2.2", "*.team.example.com"]

    assert _engines.own_names(said, foreign) == ["web1.example.com", "web1"]


def test_all_problems_are_in_one_message() -> None:
    hosts = {"web1": {"docker_engine_port": 0}, "web2": {"docker_engine_listen": ["x"]}}
    with pytest.raises(plan.PlanError) as error:
        plan.make(inventory(hosts, extra={"docker_revok_name": "eve"}), "site")
    assert len(error.value.problems) == 3
    assert str(error.value) == "\n".join(error.value.problems)


# Groups and the CA host


def test_groups_that_are_missing_have_defaults_and_empty_ones_are_errors() -> None:
    assert problems(groups={"web": ["web1"]})[0].startswith("The inventory has no hosts in 'docker_engines'.")
    (found,) = problems(groups={"docker_engines": ["web1"], "docker_clients": []})
    assert found.startswith("The inventory has no hosts in 'docker_clients'.")
    (found,) = problems(groups={"docker_engines": ["web1"], "docker_ca": []})
    assert found.startswith("The group docker_ca is empty;")
    (found,) = problems(groups={"docker_engines": ["web1"], "docker_ca": ["a", "b"]})
    assert found.startswith("The group docker_ca has 2 hosts (a, b);")


def test_other_groups_and_patterns_can_be_named() -> None:
    groups = {"web": ["web1"], "db": ["db1", "db2"], "tools": ["build1"]}
    extra = {"docker_engine_hosts": "web:db:!db2", "docker_client_hosts": "tools", "docker_ca_host": "build1"}
    made = plan.make(inventory(groups=groups, extra=extra), "site")
    assert list(made["engines"]) == ["web1", "db1"]
    assert list(made["clients"]) == ["build1"]
    assert made["ca"]["host"] == "build1"
    assert list(
        plan.make(inventory(groups=groups, extra={**extra, "docker_client_hosts": "localhost"}), "site")["clients"]
    )


def test_the_ca_host_is_a_host_of_the_inventory() -> None:
    (found,) = problems(extra={"docker_ca_host": "wbe1"})
    assert found.startswith("docker_ca_host is 'wbe1', which is no host of the inventory. Did you mean web1?")
    assert problems(extra={"docker_ca_host": "docker_engines"})
    assert plan.make(inventory(extra={"docker_ca_host": "localhost"}), "site")["ca"]["host"] == "localhost"


def test_the_passphrase_is_no_part_of_the_plan() -> None:
    hosts = {"localhost": {"docker_ca_passphrase": "a-long-passphrase"}}
    made = plan.make(inventory(hosts), "site")
    assert made["ca"]["has_passphrase"] is True
    assert "a-long-passphrase" not in json.dumps(made)


# What nobody may set, or nobody knows


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"docker_revoke_by_rotaton": True}, "Did you mean docker_revoke_by_rotation?"),
        ({"docker_revoke": "eve"}, "The extra variable docker_revoke is unknown."),
        ({"docker_plan": {}}, "The extra variable docker_plan is the collection's own; remove it."),
        ({"docker_verify_host": "web1"}, "The extra variable docker_verify_host is the collection's own; remove it."),
        ({"__docker_engine_ca": ""}, "The extra variable __docker_engine_ca is the collection's own; remove it."),
        ({"ansible_become": True}, "The extra variable ansible_become would hold for every host"),
        ({"ansible_connection": "local"}, "The extra variable ansible_connection would hold for every host"),
        ({"docker_remove_hosts": "web1"}, "The extra variable docker_remove_hosts does nothing in the playbook site"),
        ({"docker_renew_force": True}, "The extra variable docker_renew_force does nothing in the playbook site"),
    ],
)
def test_extra_variables_that_do_not_do_what_they_seem_to(extra: dict[str, Any], said: str) -> None:
    found = problems(extra=extra)
    assert [problem for problem in found if said in problem] == found


def test_a_job_that_was_relaunched_makes_no_plan_but_that_of_engines() -> None:
    extra = {"awx_job_launch_type": "relaunch"}
    (said,) = problems("site", extra=extra)
    assert said.startswith("This job was relaunched, so that it may be a slice of a job template, and site has to")
    assert said.endswith("launch the job template itself.")
    assert plan.make(inventory(extra=extra), "engines")["engines"]


def test_variables_of_others_stay_theirs() -> None:
    plan.make(inventory({"web1": {"docker_users": ["a"], "docker_edition": "ce"}}), "site")
    given = {"web1": {"docker_engine_report": {}}}
    plan.make(inventory(given, results=lambda host: {"docker_engine_report"}), "site")  # of an earlier play
    assert problems(hosts=given)


def test_a_misspelt_variable_of_many_hosts_is_said_once() -> None:
    hosts = {f"web{number}": {"docker_engine_prot": 1} for number in range(1, 4)}
    (found,) = problems(hosts=hosts)
    assert "of web1, web2, web3 is unknown" in found


def test_facts_with_our_names_are_refused() -> None:
    facts = {"web2": {"docker_engine_address": "192.0.2.1", "default_ipv4": {}}}
    (found,) = problems(facts=lambda host: facts.get(host, {}))
    assert found.startswith("web2 has facts with the names of this collection's variables: docker_engine_address.")
    assert problems(facts=lambda host: {"__docker_ca": 1} if host == "localhost" else {})


def test_variables_beside_the_playbook_are_not_forgotten_without_a_word() -> None:
    """B06."""
    unread = {"docker_engine_listen": "/p/group_vars/all.yml", "docker_foo": "/p/group_vars/all.yml"}
    (found,) = problems(unread=unread)
    assert found.startswith("/p/group_vars/all.yml has docker_engine_listen, but Ansible does not read it")
    hosts = {"web1": {"docker_engine_listen": ["192.0.2.1"]}}
    plan.make(inventory(hosts, unread=unread), "site")  # the inventory says it, too


def test_variables_that_cannot_be_resolved_are_named_with_a_way_out() -> None:
    """B23."""
    missing = UnresolvedError("'dict object' has no attribute 'default_ipv4'")
    (found,) = problems(hosts={"web3": {"docker_engine_listen": missing}}, in_run={"web1"}, limit="web1")
    assert found.startswith("docker_engine_listen of web3 cannot be resolved: 'dict object' has no attribute")
    assert "gather none" in found
    assert "fact cache" in found
    assert "--limit" in found
    assert "ansible_host of web3" in problems(hosts={"web3": {"ansible_host": missing}})[0]


# Batches


@pytest.mark.parametrize(
    ("serial", "sizes"),
    [
        ("25%", [2, 2, 2, 2]),
        ("40%", [3, 3, 2]),
        (1, [1] * 8),
        ("3", [3, 3, 2]),
        ([1, "50%"], [1, 4, 3]),
        ("100%", [8]),
        (0, [8]),
        ("1%", [1] * 8),
    ],
)
def test_batches_are_those_of_serial(serial: Any, sizes: list[int]) -> None:
    names = [f"web{number}" for number in range(8)]
    made = plan.make(inventory(groups={"docker_engines": names}, play={"docker_engine_serial": serial}), "site")
    assert [len(batch) for batch in made["batches"]] == sizes
    assert [name for batch in made["batches"] for name in batch] == names


@pytest.mark.parametrize("serial", ["many", -1, [], True, "25.5%", {"a": 1}])
def test_a_serial_that_is_none_is_refused(serial: Any) -> None:
    (found,) = problems(play={"docker_engine_serial": serial})
    assert found.startswith("docker_engine_serial is ")


def test_the_size_of_batches_may_stand_with_the_engines() -> None:
    hosts = {name: {"docker_engine_serial": 2} for name in ("web1", "web2", "web3")}
    assert plan.make(inventory(hosts), "site")["batches"] == [["web1", "web2"], ["web3"]]
    (found,) = problems(hosts={**hosts, "web2": {"docker_engine_serial": 1}})
    assert found == "docker_engine_serial differs between engines; it is one value for all of them."


def test_a_limit_leaves_engines_out_of_batches_and_in_the_plan() -> None:
    made = plan.make(inventory(limit="web2", in_run={"web2"}), "site")
    assert made["batches"] == [["web2"]]
    assert {name: engine["batch"] for name, engine in made["engines"].items()} == {"web1": 0, "web2": 1, "web3": 0}
    assert made["clients"]["localhost"]["in_run"] is False


# What single playbooks are told


def test_removal_does_not_guess() -> None:
    (found,) = problems("remove")
    assert found.startswith("Name the hosts that remote access is to be taken from: -e docker_remove_hosts=NAME")
    assert "The engines are web1, web2, web3; the clients localhost." in found


@pytest.mark.parametrize("playbook", ["site", "renew", "rotate_ca", "revoke_client"])
def test_a_control_node_that_ends_with_the_run_is_no_client_by_default(playbook: str) -> None:
    extra = {"docker_revoke_name": "eve"} if playbook == "revoke_client" else {}
    (found,) = problems(playbook, extra=extra, temporary=True)
    assert found.startswith("The inventory has no group docker_clients")
    plan.make(inventory(extra={**extra, "docker_client_hosts": "localhost"}, temporary=True), playbook)
    plan.make(inventory(temporary=True), "verify")


def test_a_host_that_the_inventory_has_not_is_for_the_record_to_know() -> None:
    made = plan.make(inventory(extra={"docker_remove_hosts": "web1,web9"}), "remove")
    removed = {"engines": ["web1"], "clients": [], "recorded": ["web9"], "ca": False}
    assert made["remove"] == {**removed, "servers": ["web1", "web9"]}


@pytest.mark.parametrize(
    ("engine", "client", "identity", "refused"),
    [
        ("w" * 220, "c" * 156, "i" * 64, []),
        ("w" * 221, "c" * 157, "i" * 64, ["www", "ccc"]),
        ("ü" * 37, "c", "i", ["ü"]),
    ],
)
def test_a_name_of_which_there_could_be_no_entry_is_refused_before_anything_is_done(
    engine: str, client: str, identity: str, refused: list[str]
) -> None:
    """A name of a file has at most 255 bytes."""
    groups = {"docker_engines": [engine], "docker_clients": [client]}
    hosts = {client: {"docker_client_identities": [{"name": identity}]}}
    try:
        plan.make(inventory(groups=groups, hosts=hosts), "site")
    except plan.PlanError as error:
        found = [problem for problem in error.problems if "is too long: in its record" in problem]
        assert [problem.startswith(f"The inventory name '{name}") for problem, name in zip(found, refused)]
        assert len(found) == len(refused), error.problems
    else:
        assert refused == []


def test_a_removal_revokes_common_names_which_are_not_longer_than_they_can_be() -> None:
    long, gone = "w" * 70, "v" * 70
    made = plan.make(
        inventory(groups={"docker_engines": [long]}, extra={"docker_remove_hosts": f"{long},{gone}"}), "remove"
    )
    assert made["remove"]["recorded"] == [gone]
    assert made["remove"]["servers"] == [long[:64], gone[:64]]


@pytest.mark.parametrize(
    ("hosts", "removed"),
    [
        ("web1", {"engines": ["web1"], "clients": [], "recorded": [], "ca": False}),
        (["web3", "web1"], {"engines": ["web1", "web3"], "clients": [], "recorded": [], "ca": False}),
        ("docker_engines", {"engines": ["web1", "web2", "web3"], "clients": [], "recorded": [], "ca": False}),
        ("localhost", {"engines": [], "clients": ["localhost"], "recorded": [], "ca": False}),
        ("all", {"engines": ["web1", "web2", "web3"], "clients": ["localhost"], "recorded": [], "ca": False}),
    ],
)
def test_removal_takes_names_and_groups(hosts: Any, removed: dict[str, Any]) -> None:
    made = plan.make(inventory(extra={"docker_remove_hosts": hosts}), "remove")
    assert made["remove"] == {**removed, "servers": removed["engines"]}


def test_the_ca_goes_with_everything_else_only() -> None:
    made = plan.make(inventory(extra={"docker_remove_hosts": "all", "docker_remove_ca": "true"}), "remove")
    assert made["remove"]["ca"] is True
    assert problems("remove", extra={"docker_remove_hosts": "web1", "docker_remove_ca": True})
    limited = {"limit": "web1", "in_run": {"web1"}}
    assert problems("remove", extra={"docker_remove_hosts": "all", "docker_remove_ca": True}, **limited)


def test_a_revocation_needs_a_name() -> None:
    assert problems("revoke_client")[0].startswith("Name the identity: -e docker_revoke_name=NAME.")
    assert problems("revoke_client", extra={"docker_revoke_name": "../x"})[0].startswith("docker_revoke_name is '../x'")
    assert problems("revoke_client", extra={"docker_revoke_name": "eve", "docker_revoke_state": "gone"})


def test_accounts_that_a_revocation_ends_and_those_that_others_share() -> None:
    groups = {"docker_engines": ["web1"], "docker_clients": ["build1", "build2"]}
    hosts: dict[str, Any] = {
        "build1": {
            "docker_client_transports": ["ssh"],
            "docker_client_identities": [{"name": "eve"}, {"name": "bob", "ssh_account": "docker-ops"}],
        },
        "build2": {
            "docker_client_transports": ["ssh", "tls"],
            "docker_client_identities": [
                {"name": "eve", "ssh_account": "docker-ops"},
                {"name": "carol"},
                {"name": "dan"},
            ],
        },
        "web1": {"docker_ssh_users": [{"name": "docker-carol"}, {"name": "docker-ops"}]},
    }

    def revoked(name: str) -> dict[str, Any]:
        made = plan.make(inventory(hosts, groups, extra={"docker_revoke_name": name}), "revoke_client")["revoke"]
        return {"known": made["known"], **made["accounts"]}

    def recorded(name: str, **extra: Any) -> bool:
        made = plan.make(inventory(hosts, groups, extra={"docker_revoke_name": name, **extra}), "revoke_client")
        return bool(made["revoke"]["recorded"])

    by_rotation = {"docker_revoke_by_rotation": True}
    assert [recorded(name) for name in ("eve", "bob", "dan", "gone")] == [True, False, True, False]
    assert [recorded(name, **by_rotation) for name in ("eve", "bob", "dan", "gone")] == [True, False, True, True]
    assert revoked("eve") == {"known": True, "own": ["docker-eve"], "shared": ["docker-ops"]}
    assert revoked("carol") == {"known": True, "own": ["docker-carol"], "shared": []}
    assert revoked("dan") == {"known": True, "own": ["docker-dan"], "shared": []}
    assert revoked("gone") == {"known": False, "own": ["docker-gone"], "shared": []}


def test_an_account_of_another_name_is_theirs_and_one_with_declared_keys_stays() -> None:
    identities = [
        {"name": "Build"},
        {"name": "alice", "ssh_account": "al"},
        {"name": "ops", "ssh_account": "ci"},
    ]

    def revoked(name: str, *declared: dict[str, Any], transports: tuple[str, ...] = ("tls", "ssh")) -> dict[str, Any]:
        known = identities if "ssh" not in transports else identities[1:]
        client = {"docker_client_transports": list(transports), "docker_client_identities": [*known, {"name": "left"}]}
        hosts = {"localhost": client, "web1": {"docker_ssh_users": list(declared)}}
        made = plan.make(inventory(hosts, extra={"docker_revoke_name": name}), "revoke_client")
        return dict(made["revoke"]["accounts"])

    assert revoked("Build", transports=("tls",)) == {
        "own": [],
        "shared": [],
    }  # which no account can be called after
    assert revoked("alice") == {"own": ["al", "docker-alice"], "shared": []}
    assert revoked("alice", {"name": "al"}) == {"own": ["al", "docker-alice"], "shared": []}
    assert revoked("alice", {"name": "al", "public_keys": [KEY]}) == {"own": ["docker-alice"], "shared": ["al"]}
    assert revoked("ops", {"name": "docker-ops", "public_keys": [KEY]}) == {"own": ["ci"], "shared": []}


def test_the_word_for_all_accounts_is_no_account() -> None:
    """A revocation would take everything away."""
    identity = {"name": "eve", "ssh_account": "all"}
    hosts = {"localhost": {"docker_client_transports": ["ssh"], "docker_client_identities": [identity]}}
    (problem,) = problems(hosts=hosts)
    assert "would log in to engines as 'all', which cannot be an account" in problem


def test_somebody_is_left_to_verify_the_engines() -> None:
    (found,) = problems("revoke_client", extra={"docker_revoke_name": "admin"})
    assert found.startswith("admin is the only identity of localhost, from where engines are verified")
    hosts = {"localhost": {"docker_client_identities": [{"name": "admin"}, {"name": "eve"}]}}
    made = plan.make(inventory(hosts, extra={"docker_revoke_name": "admin"}), "revoke_client")
    assert made["verifier"]["identity"] == "eve"
    back = {"docker_revoke_name": "admin", "docker_revoke_state": "absent"}
    assert plan.make(inventory(extra=back), "revoke_client")["verifier"]["identity"] == "admin"


def test_a_rotation_is_for_all_hosts() -> None:
    limited: dict[str, Any] = {"limit": "web1", "in_run": {"web1"}}
    assert "takes no --limit" in problems("rotate_ca", **limited)[0]
    rotating = {"docker_revoke_name": "eve", "docker_revoke_by_rotation": True}
    assert "takes no --limit" in problems("revoke_client", extra=rotating, **limited)[0]


def test_a_limit_that_leaves_out_the_ca_host_is_refused_where_all_happens_there() -> None:
    given: dict[str, Any] = {"extra": {"docker_revoke_name": "eve"}}
    sentence = "--limit leaves out localhost, which keeps the CA; add it to --limit, or nothing would be done there."
    assert problems("revoke_client", limit="web1", in_run={"web1"}, **given) == [sentence]
    assert problems("change_passphrase", limit="web1", in_run={"web1"}) == [sentence]
    plan.make(inventory(limit="web1,localhost", in_run={"web1", "localhost"}, **given), "revoke_client")


def test_whom_a_run_has_to_reach() -> None:
    engines, clients = ["web1", "web2", "web3"], ["localhost"]
    everybody = {"engines": engines, "clients": clients}
    name = {"docker_revoke_name": "eve"}
    limited: dict[str, Any] = {"limit": "web1,localhost", "in_run": {"web1", "localhost"}}
    asked = {
        playbook: plan.make(inventory(**limited, extra=extra), playbook)["asked"]
        for playbook, extra in {
            "site": {},
            "renew": {},
            "verify": {},
            "remove": {"docker_remove_hosts": "web1,web2"},
            "revoke_client": name,
        }.items()
    }
    assert asked == {
        "site": {"engines": ["web1"], "clients": clients},
        "renew": {"engines": ["web1"], "clients": clients},
        "verify": {"engines": ["web1"], "clients": []},
        "remove": {"engines": ["web1"], "clients": []},
        "revoke_client": everybody,
    }
    assert plan.make(inventory(extra={"docker_rotate_exclude": "web2"}), "rotate_ca")["asked"] == {
        "engines": ["web1", "web3"],
        "clients": clients,
    }
    back = inventory(extra={**name, "docker_revoke_state": "absent"})
    assert plan.make(back, "revoke_client")["asked"] == {"engines": [], "clients": []}


def test_hosts_that_a_rotation_leaves_out() -> None:
    groups = {"docker_engines": ["web1", "web2"], "docker_clients": ["build1", "build2"]}
    extra = {"docker_rotate_exclude": ["web2", "build1"]}
    made = plan.make(inventory(groups=groups, extra=extra), "rotate_ca")
    assert made["batches"] == [["web1"]]
    assert list(made["engines"]) == ["web1", "web2"]  # contexts point at it
    assert made["verifier"]["host"] == "build2"
    # The CA's record may have a name that the inventory has not.
    assert plan.make(inventory(groups=groups, extra={"docker_rotate_exclude": "web9"}), "rotate_ca")
    revoked = {"docker_revoke_name": "x", "docker_rotate_exclude": "web9"}
    assert "web9" in problems("revoke_client", groups=groups, extra=revoked)[0]
    removed = {"docker_remove_hosts": "web1", "docker_rotate_exclude": "web9"}
    assert "web9" in problems("remove", groups=groups, extra=removed)[0]
    everything = {"docker_remove_hosts": "all", "docker_remove_ca": True, "docker_rotate_exclude": "web2,web9"}
    assert plan.make(inventory(groups=groups, extra=everything), "remove")["remove"]["engines"] == ["web1"]
    assert "every client host" in problems("rotate_ca", extra={"docker_rotate_exclude": "localhost"})[0]


def test_changing_the_passphrase_needs_no_engines() -> None:
    assert plan.make(inventory(groups={"docker_ca": ["vault"]}), "change_passphrase")["ca"]["host"] == "vault"


def test_a_playbook_that_nobody_knows_is_refused() -> None:
    assert problems("sight") == [
        "The playbook 'sight' is none of site, engines, verify, renew, rotate_ca, revoke_client, remove, "
        "change_passphrase, export_identity, deploy."
    ]


def test_a_limit_that_leaves_out_ssh_keys_is_refused() -> None:
    given: dict[str, Any] = {
        "groups": {"docker_engines": ["web1"], "docker_clients": ["build1"]},
        "hosts": {"build1": {"docker_client_transports": ["tls", "ssh"]}},
    }

    assert problems(**given, limit="web1", in_run={"web1"}) == [
        "--limit leaves out build1, whose SSH keys the accounts on engines hold; add them to --limit, or their users "
        "would lose access."
    ]
    assert plan.make(inventory(**given, limit="web1,build1", in_run={"web1", "build1"}), "site")
    assert plan.make(inventory(**given, limit="web1", in_run={"web1"}), "renew")


def test_an_identity_of_the_connecting_user_has_no_user() -> None:
    given: dict[str, Any] = {
        "groups": {"docker_engines": ["web1"], "docker_clients": ["build1"]},
        "hosts": {
            "build1": {
                "ansible_user": "ops",
                "docker_client_identities": [{"name": "ops", "user": "ops"}, {"name": "ci", "user": "jenkins"}],
            }
        },
    }
    identities = plan.make(inventory(**given), "site")["clients"]["build1"]["identities"]
    assert [(identity["name"], identity["user"]) for identity in identities] == [("ops", ""), ("ci", "jenkins")]


def test_a_rotation_asks_an_os_user_whom_it_evicts_only_where_nobody_else_could_verify() -> None:
    def made(*identities: dict[str, str], **extra: Any) -> tuple[str, list[str]]:
        hosts = {"localhost": {"ansible_user": "ops", "docker_client_identities": list(identities)}}
        given = {"docker_revoke_name": "eve", "docker_revoke_by_rotation": True, **extra}
        planned = plan.make(inventory(hosts, extra=given), "revoke_client")
        return planned["verifier"]["identity"], planned["clients"]["localhost"]["evicts"]

    eve, second, other = {"name": "eve", "user": "j"}, {"name": "ci", "user": "j"}, {"name": "bob", "user": "k"}
    assert made(eve, second, other) == ("bob", ["eve"])
    assert made(eve, second, {"name": "admin"}) == ("admin", ["eve"])
    assert made(eve, second) == ("ci", [])
    assert made(eve, second, other, docker_revoke_by_rotation=False)[1] == []
    # Whom Ansible connects as could stop everything anyway.
    assert made({"name": "eve"}, {"name": "admin"}, other) == ("admin", ["eve"])


OVER, TODAY = "2026-05-31", datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)


def _of(identities: list[dict[str, Any]], playbook: str = "site", **hosts: dict[str, Any]) -> plan.Plan:
    groups = {"docker_engines": ["web1"], "docker_clients": ["build1", *(name for name in hosts if name != "web1")]}
    build1 = {"docker_client_identities": identities, "docker_client_transports": ["tls", "ssh"]}
    return plan.make(inventory({"build1": build1, **hosts}, groups), playbook, now=TODAY)


def _said(*args: Any, **named: Any) -> str:
    with pytest.raises(plan.PlanError) as error:
        _of(*args, **named)
    return str(error.value)


def test_an_identity_ends_with_its_day() -> None:
    made = _of([{"name": "ann", "expires": OVER}, {"name": "bob", "expires": "2026-06-01"}])
    assert [one["ended"] for one in made["clients"]["build1"]["identities"]] == [True, False]
    assert made["verifier"]["identity"] == "bob"
    # A date without quotes is one in YAML.
    made = _of([{"name": "ann", "expires": datetime.date(2026, 6, 1)}])
    assert made["clients"]["build1"]["identities"][0]["expires"] == "2026-06-01"


def test_another_host_verifies_where_all_identities_of_one_have_ended() -> None:
    made = _of([{"name": "ann", "expires": OVER}], ops1={"docker_client_identities": [{"name": "olga"}]})
    assert (made["verifier"]["host"], made["verifier"]["identity"]) == ("ops1", "olga")


@pytest.mark.parametrize("end", ["tomorrow", "2026-13-01", "2026-1-1", "2026-06-01T12:00:00Z"])
def test_an_end_is_a_day(end: str) -> None:
    said = _said([{"name": "ann", "expires": end}, {"name": "bob"}])
    assert f"expires of the identity 'ann' of build1 has to be a day: {end!r} is no date such as 2030-12-31." in said


def test_somebody_has_to_be_left() -> None:
    assert "The day of every identity is over (expires)" in _said([{"name": "ann", "expires": OVER}])
    hosts: dict[str, dict[str, Any]] = {"web1": {"docker_engine_access": ["staging"]}}
    ann = {"name": "ann", "access": ["staging"], "expires": OVER}
    hosts["build1"] = {"docker_client_identities": [ann, {"name": "bob"}]}
    groups = {"docker_engines": ["web1", "web2"], "docker_clients": ["build1"]}
    with pytest.raises(plan.PlanError) as error:
        plan.make(inventory(hosts, groups), "site", now=TODAY)
    (said,) = error.value.problems
    assert said.startswith("The day of every identity that opens web1 is over (expires)")


def test_a_name_has_one_end_and_so_has_an_account() -> None:
    other = {"docker_client_identities": [{"name": "ann"}]}
    said = _said([{"name": "ann", "expires": "2027-01-01"}], ops1=other)
    assert "The identity 'ann' has several ends (expires): 2027-01-01 on build1, none on ops1." in said
    shared = [{"name": "ann", "ssh_account": "ops", "expires": "2027-01-01"}, {"name": "bob", "ssh_account": "ops"}]
    assert "The account ops is for identities with different ends (expires): ann (2027-01-01), bob (none)" in _said(
        shared
    )
    declared = {"docker_ssh_users": [{"name": "docker-ann", "allowed_from": ["192.0.2.0/24"]}]}
    said = _said([{"name": "ann", "expires": "2027-01-01"}], web1=declared)
    assert "docker_ssh_users of web1 has docker-ann with another end (expires)" in said
    declared["docker_ssh_users"][0]["expires"] = "2027-01-01"
    assert _of([{"name": "ann", "expires": "2027-01-01"}], web1=declared)["verifier"]["identity"] == "ann"


def test_who_has_ended_deploys_nothing() -> None:
    play = {"docker_deploy_projects": [{"name": "shop", "src": "/srv/shop"}], "docker_deploy_identity": "ann"}
    hosts = {"build1": {"docker_client_identities": [{"name": "ann", "expires": OVER}, {"name": "bob"}]}}
    groups = {"docker_engines": ["web1"], "docker_clients": ["build1"]}
    with pytest.raises(plan.PlanError, match="The day of the identity ann of build1 is over"):
        plan.make(inventory(hosts, groups, play=play), "deploy", now=TODAY)
