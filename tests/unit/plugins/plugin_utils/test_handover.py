"""What hosts hand to each other: only keys, and only for themselves."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml
from ansible_collections.bulkhead.docker.plugins.modules import docker_daemon_config
from ansible_collections.bulkhead.docker.plugins.plugin_utils import handover
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan as plan_of_fleet
from helpers.fleet import inventory

ROOT = pathlib.Path(__file__).parents[4]

BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "B"
KEY = f"ssh-ed25519 {BLOB}"


def plan(**clients: Any) -> dict[str, Any]:
    engine = {"context": "web1", "address": "192.0.2.1", "port": 2376, "host": "tcp://192.0.2.1:2376", "ssh_port": None}
    return {
        "playbook": "verify",
        "engines": {
            "web1": {**engine, "ssh": {"enabled": True, "users": [{"name": "ops", "public_keys": [KEY]}]}},
            "web2": {
                **engine,
                "context": "web2",
                "address": "192.0.2.2",
                "ssh_port": 2222,
                "ssh": {"enabled": True, "users": []},
            },
        },
        "clients": clients,
        "rotate": {"exclude": []},
    }


def client(*identities: dict[str, Any], transports: tuple[str, ...] = ("ssh",)) -> dict[str, Any]:
    going_on = {"expires": "", "ended": False}
    return {"identities": [{**going_on, **identity} for identity in identities], "transports": list(transports)}


ALICE = {"name": "alice", "user": "", "ssh_account": "docker-alice", "scope": "admin"}


def answer(*keys: dict[str, str], user: str = "") -> dict[str, Any]:
    return {"docker_client_ssh": {"results": [{"item": {"user": user}, "public_keys": list(keys)}]}}


def test_the_address_comes_from_the_plan_and_the_host_keys_from_the_engine() -> None:
    hostvars = {
        "web1": {
            "docker_engine_address": "192.0.2.66",
            "docker_ssh_server": {"port": 2200, "host_keys": [f"{KEY} root@web1"], "address": "192.0.2.66"},
        },
        "web2": {"docker_engine_preview": {"ssh_server": {"port": 22, "host_keys": [KEY]}}},
    }

    made = plan()
    with_ssh = {"build1": {"transports": ["tls", "ssh"]}}
    web1, web2 = handover.client_engines({**made, "clients": with_ssh}, hostvars)

    assert (web1["address"], web1["ssh_port"], web1["ssh_host_keys"]) == ("192.0.2.1", 2200, [KEY])
    assert (web2["ssh_port"], web2["ssh_host_keys"]) == (2222, [KEY])  # the port of the plan counts

    _, web2 = handover.client_engines(made, hostvars)
    assert web2["ssh_host_keys"] == [], "nobody logs in there"


@pytest.mark.parametrize(
    "server",
    [
        {"port": "x", "host_keys": [f"{KEY}\nweb2 {KEY}"]},
        {"port": -1, "host_keys": "ssh-ed25519 AAAA"},
        {"port": True, "host_keys": [{"a": 1}, None, "*"]},
        {"host_keys": ["@cert-authority * " + KEY]},
        "none",
        None,
    ],
)
def test_nonsense_of_an_engine_is_no_key_and_no_port(server: Any) -> None:
    web1 = handover.client_engines(plan(), {"web1": {"docker_ssh_server": server}}, ["web1"])[0]

    assert web1["ssh_port"] is None
    assert web1["ssh_host_keys"] == []


def test_a_client_says_a_key_and_the_plan_says_whose_account_it_opens() -> None:
    hostvars = {"build1": answer({"name": "alice", "account": "ops", "public_key": KEY + " alice@build1"})}

    users = handover.ssh_users(plan(build1=client(ALICE)), "web1", hostvars)

    assert [user["name"] for user in users] == ["ops", "docker-alice"]
    assert users[1]["public_keys"] == [KEY]


def test_a_client_cannot_speak_for_an_identity_that_it_does_not_have() -> None:
    hostvars = {"build1": answer({"name": "mallory", "account": "ops", "public_key": KEY})}

    users = handover.ssh_users(plan(build1=client(ALICE)), "web1", hostvars)

    assert [(user["name"], user["public_keys"]) for user in users] == [("ops", [KEY]), ("docker-alice", [])]


ASKED = [("alice", "docker-alice"), ("deploy", "ops")]
TOLD = [
    {"name": "alice", "account": "docker-alice", "public_key": KEY + " alice@build1"},
    {"name": "deploy", "account": "ops", "public_key": KEY},
]


def test_an_answer_with_a_key_for_each_identity_is_taken() -> None:
    assert handover.public_key_problems(ASKED, TOLD, check_mode=False) == []
    assert handover.public_key_problems([], [], check_mode=False) == []


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (f'command="id" {KEY}', "and not with a type"),
        (f'from="*",{KEY}', "and not with a type"),
        (f"{KEY}\n{KEY}", "has several lines"),
        (f"{KEY} x\r\nssh-rsa AAAA", "has several lines"),
        ("ssh-ed25519 AAAA", "is not complete"),
        (f"ssh-rsa {BLOB}", "is not complete"),
        ("ssh-ed25519 \u00e4\u00f6", "a public key of alice"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "is a private key"),
        ("", "and not with a type"),
    ],
)
def test_a_key_that_engines_would_refuse_is_named(key: str, said: str) -> None:
    problems = handover.public_key_problems(ASKED, [{**TOLD[0], "public_key": key}, TOLD[1]], check_mode=False)

    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        TOLD[:1],
        [*TOLD, TOLD[0]],
        TOLD[::-1],
        [{**TOLD[0], "account": "docker-mallory"}, TOLD[1]],
        [{**TOLD[0], "name": "mallory"}, TOLD[1]],
        ["alice", "deploy"],
    ],
)
def test_keys_of_others_are_no_answer(told: Any) -> None:
    assert handover.public_key_problems(ASKED, told, check_mode=False) == [
        "it has other identities or accounts than were asked for"
    ]


def test_check_mode_has_no_key_yet() -> None:
    told = [{**TOLD[0], "public_key": ""}, TOLD[1]]

    assert handover.public_key_problems(ASKED, told, check_mode=True) == []
    assert handover.public_key_problems(ASKED, told, check_mode=False) != []


def test_one_os_user_cannot_speak_for_another_s_identity() -> None:
    deploy = {"name": "deploy", "user": "jenkins", "ssh_account": "docker-deploy", "scope": "admin"}
    hostvars = {"build1": answer({"name": "deploy", "account": "docker-deploy", "public_key": KEY}, user="bob")}

    users = handover.ssh_users(plan(build1=client(deploy)), "web2", hostvars)

    assert users[0]["public_keys"] == []


def test_a_client_that_was_not_asked_ends_the_run() -> None:
    with pytest.raises(handover.HandoverError, match="build1 was not asked for its SSH keys"):
        handover.ssh_users(plan(build1=client(ALICE)), "web1", {"build1": {}})


def test_who_was_revoked_or_uses_tls_alone_has_no_account() -> None:
    clients = {"build1": client(ALICE), "build2": client(ALICE, transports=("tls",))}

    users = handover.ssh_users(plan(**clients), "web2", {"build1": {}, "build2": {}}, revoked=["alice"])

    assert users == []


def test_an_engine_that_is_switched_off_has_no_account() -> None:
    made = plan(build1=client(ALICE))
    made["engines"]["web1"]["ssh"]["enabled"] = False

    assert handover.ssh_users(made, "web1", {"build1": answer({"name": "alice", "public_key": KEY})}) == []
    assert [engine["ssh"] for engine in handover.client_engines(made, {})] == [False, True]


def test_an_account_that_the_inventory_declares_ends_with_its_identity() -> None:
    made = plan(build1=client({"name": "dave", "user": "", "ssh_account": "docker-carol", "scope": "admin"}))
    made["engines"]["web1"]["ssh"]["users"].append({"name": "docker-carol", "public_keys": [KEY], "state": "present"})

    users = handover.ssh_users(made, "web1", {"build1": answer()}, revoked=["carol"])

    # Without the key that was declared for carol.
    assert [(user["name"], user["public_keys"]) for user in users] == [("ops", [KEY]), ("docker-carol", [])]
    with pytest.raises(handover.HandoverError, match="has docker-carol, and carol was revoked"):
        handover.ssh_users({**made, "playbook": "site"}, "web1", {"build1": answer()}, revoked=["carol"])


def test_a_declared_account_of_somebody_else_stays() -> None:
    """Of the same name as an identity that logs in to another account."""
    made = plan(build1=client({"name": "ops", "user": "", "ssh_account": "ci", "scope": "admin"}))
    made["engines"]["web1"]["ssh"]["users"].append({"name": "docker-ops", "public_keys": [KEY], "state": "present"})
    users = handover.ssh_users({**made, "playbook": "site"}, "web1", {"build1": answer()}, revoked=["ops"])
    assert [user["name"] for user in users if user.get("state") != "absent"] == ["ops", "docker-ops"]
    assert users[-1] == {"name": "ci", "state": "absent"}


CA = {"elsewhere": False, "existing": None}
HERE = {"host": "vault", "dir": "/srv/ca", "issue_tasks": ""}
BAD = {"problems": ["It ends in 3 days."]}


DAMAGED = {**CA, "name": "ops", "record_problems": ["/srv/ca/issued cannot be read (Permission denied)."]}
SHUTS_OUT = ("site", "rotate_ca", "remove")  # whom a record that is not whole does not name


@pytest.mark.parametrize(
    ("playbook", "ca", "answer", "said"),
    [
        ("site", HERE, CA, ""),
        ("site", HERE, {**CA, "existing": {"problems": []}}, ""),
        ("site", HERE, {"unreachable": True, "msg": "no route"}, "The CA host vault cannot be reached: no route. "),
        ("site", HERE, {"failed": True, "msg": "It is damaged."}, "It is damaged."),
        ("site", HERE, {}, "no reason given."),
        ("site", HERE, None, "no reason given."),
        ("verify", HERE, {**CA, "elsewhere": True}, "The key of the CA in /srv/ca on vault is elsewhere. "),
        ("verify", {**HERE, "issue_tasks": "/issue.yml"}, {**CA, "elsewhere": True}, ""),
        ("site", HERE, {**CA, "existing": BAD}, "The CA to take over on vault cannot be used. It ends in 3 days. "),
        ("renew", HERE, {**CA, "existing": BAD}, ""),
        (
            "renew",
            {**HERE, "issue_tasks": "/issue.yml"},
            {**CA, "elsewhere": True, "existing": BAD},
            "The CA to take over on vault cannot be used. It ends in 3 days. Correct docker_ca_existing_certificate. ",
        ),
        *((playbook, HERE, DAMAGED, "The CA's record in /srv/ca on vault is damaged, ") for playbook in SHUTS_OUT),
        *(
            (playbook, HERE, {**CA, "groups": [DAMAGED]}, "The CA's record in /srv/ca on vault ")
            for playbook in SHUTS_OUT
        ),
        *((playbook, HERE, DAMAGED, "") for playbook in ("verify", "renew", "engines", "revoke_client")),
    ],
)
def test_a_ca_that_a_run_cannot_use_is_refused(playbook: str, ca: dict[str, Any], answer: Any, said: str) -> None:
    refusal = handover.ca_refusal({"playbook": playbook, "ca": ca}, answer)
    assert refusal.startswith(said)
    assert bool(refusal) == bool(said)


def test_the_playbooks_and_the_role_alone_give_the_same_options() -> None:
    made = plan_of_fleet.make(inventory(hosts={"web1": {"docker_engine_names": ["web.example.com"]}}), "site")

    options = handover.engine_options(made, "web1", {}, ["told.example.com", "web.example.com"])

    assert options["names"] == [*made["engines"]["web1"]["names"], "told.example.com"]
    own = yaml.safe_load((ROOT / "roles/docker_engine/vars/main.yml").read_text(encoding="utf-8"))
    assert set(options) == set(own["__docker_engine_own_options"])
    documented = yaml.safe_load(docker_daemon_config.DOCUMENTATION)["options"]
    assert set(options) <= set(documented)


def test_an_account_ends_with_its_identity() -> None:
    made = plan(build1=client({**ALICE, "expires": "2027-01-01"}))
    told = {"build1": answer({"name": "alice", "public_key": KEY})}
    account = next(user for user in handover.ssh_users(made, "web2", told) if user["name"] == "docker-alice")
    assert (account["expires"], account["public_keys"]) == ("2027-01-01", [KEY])
    made["clients"]["build1"]["identities"][0]["ended"] = True
    assert handover.ssh_users(made, "web2", told) == []
    # Declared for where it may come from, and without a key of its own.
    declared = {"name": "docker-alice", "allowed_from": ["192.0.2.0/24"], "public_keys": [], "principals": []}
    made["engines"]["web2"]["ssh"]["users"] = [declared]
    assert handover.ssh_users(made, "web2", told) == []
    declared["public_keys"] = [KEY]
    assert handover.ssh_users(made, "web2", told) == [declared]


def test_a_declared_account_without_keys_is_not_there_where_its_identity_does_not_get_in() -> None:
    """As in docker_ssh_users for all engines, of which the identity opens some."""
    made = plan(build1=client({**ALICE, "access": ["staging"]}))
    declared = {"name": "docker-alice", "allowed_from": ["192.0.2.0/24"], "public_keys": [], "principals": []}
    for name, access in (("web1", ["staging"]), ("web2", ["ops"])):
        made["engines"][name].update(access=access, ssh={"enabled": True, "users": [dict(declared)]})
    told = {"build1": answer({"name": "alice", "public_key": KEY})}
    assert [user["public_keys"] for user in handover.ssh_users(made, "web1", told)] == [[KEY]]
    assert handover.ssh_users(made, "web2", told) == []
