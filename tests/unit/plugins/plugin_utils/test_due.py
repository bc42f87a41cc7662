"""What is left to do after the first look at all hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import due, plan
from helpers.fleet import inventory

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYtnIVBqcBPtfFhWYcl2hB2DBfUjMCEtF2oqJjxA1nd"
PREVIEW: dict[str, Any] = {"would_change": False, "certificate": {"days_left": 300}, "certificate_reasons": []}
NEW = {"would_change": True, "certificate": None, "certificate_reasons": ["there is none"]}
OLD = {"would_change": True, "certificate": {"days_left": 3}, "certificate_reasons": ["it expires", "its key is short"]}
DRIFT = {**PREVIEW, "would_change": True}
CA: dict[str, Any] = {
    "complete": True,
    "phase": "none",
    "key": {"matches": True, "type": "P-256"},
    "certificates": [{"role": "previous"}, {"role": "signing", "days_left": 3000}],
    "client_bundle": "B",
    "holders": [
        *({"kind": "engine", "host": f"web{number}", "identity": "", "transport": ""} for number in (1, 2, 3)),
        {"kind": "client", "host": "localhost", "identity": "admin", "transport": "tls"},
    ],
}
ALICE = [{"name": "docker-alice", "principals": ["alice"]}]
DECLARED = {"web1": {"docker_ssh_users": ALICE, "docker_ssh_trusted_user_ca_keys": [KEY]}}
CLIENT = {"is_due": False, "failures": [], "ca_certificate": "B", "contexts_right": True, "purge": False}


def planned(playbook: str = "site", **given: Any) -> dict[str, Any]:
    return plan.make(inventory(**given), playbook)


def found(made: dict[str, Any], ca: dict[str, Any] = CA, client: Any = CLIENT, **previews: Any) -> dict[str, Any]:
    engines = {name: {"docker_engine_preview": previews.get(name, PREVIEW)} for name in made["engines"]}
    return due.due(made, {**engines, "localhost": {"docker_client_report": client}}, ca)


def test_where_everything_is_right_nothing_is_due() -> None:
    assert found(planned()) == {
        "ca": False,
        "holders": [],
        "clients": [],
        "contexts": [],
        "incomplete": [],
        "engines": [],
        "batches": 0,
        "batch": {},
        "sizes": [3],
        "certificates": {},
        "without_certificate": [],
        "lost": [],
        "unused_keys": [],
        "ssh_previews": [],
        "accounts": [],
        "ended": {},
    }


def test_an_engine_that_would_change_is_due() -> None:
    now = found(planned(), web1=NEW, web3=DRIFT)
    assert now["engines"] == ["web1", "web3"]
    assert now["certificates"] == {"web1": "web1 gets a new key and certificate: there is none."}


def test_a_renewal_brings_revocation_lists_to_gateways() -> None:
    assert found(planned("renew"), web1={**DRIFT, "revocation_due": True}, web2=DRIFT)["engines"] == ["web1"]


def test_an_engine_that_lacks_haproxy_gets_it_before_it_is_changed() -> None:
    lacks = {**DRIFT, "gateway_program_missing": True}
    assert found(planned(), web2=lacks)["incomplete"] == ["web2"]
    assert found(plan.make(inventory(check_mode=True), "site"), web2=lacks)["incomplete"] == []


def test_a_renewal_is_for_certificates_and_sets_nothing_up() -> None:
    assert found(planned("renew"), web1=NEW, web2=DRIFT, web3=OLD)["engines"] == ["web3"]
    recovered = {**DRIFT, "recovered": True}
    assert found(planned("renew"), web1=recovered)["engines"] == ["web1"]


def test_check_mode_changes_no_engine_and_tells_the_reasons() -> None:
    now = found(planned(check_mode=True), web1=NEW)
    assert (now["engines"], now["incomplete"]) == ([], ["web1"])


def test_a_ca_elsewhere_is_asked_for_all_before_a_client_that_waits_ends_the_run() -> None:
    """Nobody could verify the engines, whose keys wait for their certificates, too."""
    made = planned()
    made["ca"] = {**made["ca"], "issue_tasks": "/issue.yml", "takes_over": True}
    waiting = {"docker_client_report": CLIENT, "docker_failure": "There is no certificate yet."}
    request = {"docker_engine_preview": NEW, "docker_engine_request": {"request": "PEM"}}
    engines = {"web1": request, "web2": {"docker_engine_preview": DRIFT}, "web3": {"docker_engine_preview": PREVIEW}}
    ca = {**CA, "key": {"matches": False, "type": ""}, "existing": {"taken_over": True}}
    now = due.due(made, {**engines, "localhost": waiting}, ca)
    assert (list(now["certificates"]), now["engines"], now["unused_keys"]) == (["web1"], [], [])
    now = due.due(made, {**engines, "localhost": {"docker_client_report": CLIENT}}, ca)
    assert (list(now["certificates"]), now["engines"], now["ca"]) == (["web1"], ["web1", "web2"], False)
    other = {**ca, "existing": {"taken_over": False, "client_bundle": "N"}}
    now = due.due(made, {**engines, "localhost": {"docker_client_report": CLIENT}}, other)
    assert (now["ca"], now["clients"]) == (True, ["localhost"])
    made["playbook"] = "renew"  # which takes nothing over
    assert (
        due.due(made, {**engines, "localhost": {"docker_client_report": CLIENT}}, {**other, "bundle": "B"})["clients"]
        == []
    )


def test_an_engine_whose_certificate_something_else_keeps_requests_none() -> None:
    kept = {
        "docker_engine_certificate_path": "/etc/pki/web1.pem",
        "docker_engine_private_key_path": "/etc/pki/web1.key",
    }
    root = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    made = planned(hosts={"web1": {**kept, "docker_engine_server_ca": root}})
    assert made["server_cas"] == root
    now = found(made, client={**CLIENT, "ca_certificate": f"B{root}"}, web1=OLD, web2=OLD)
    assert (now["engines"], list(now["certificates"]), now["clients"]) == (["web1", "web2"], ["web2"], [])
    assert found(planned("renew", hosts={"web1": kept}), web1=OLD)["engines"] == ["web1"]


def test_an_engine_has_its_certificate_when_it_is_among_those_that_were_signed() -> None:
    """A certificate of a client with its name is none, and neither is one that was refused."""
    signed: list[dict[str, Any]] = [
        {"name": "web1", "usage": "server", "certificate": "PEM"},
        {"name": "web2", "usage": "client", "certificate": "PEM"},
        {"name": "web3", "usage": "server", "certificate": "", "problem": "the request has another key."},
    ]
    made = planned()
    answers: dict[str, Any] = {"docker_engine_preview": NEW, "docker_ca_signed": {"certificates": signed}}
    hosts = dict.fromkeys(made["engines"], answers) | {"localhost": {"docker_client_report": CLIENT}}
    assert due.due(made, hosts, CA)["without_certificate"] == ["web2", "web3"]
    for answer in ({}, {"docker_ca_signed": {"failed": True}}, {"docker_ca_signed": {"certificates": "PEM"}}):
        hosts["web1"] = {"docker_engine_preview": NEW, **answer}
        assert due.due(made, hosts, CA)["without_certificate"] == ["web1", "web2", "web3"]
    hosts["web2"] = {"docker_engine_preview": DRIFT}
    assert due.due(made, hosts, CA)["without_certificate"] == ["web1", "web3"]


def test_an_engine_that_did_not_answer_while_it_was_changed_is_lost() -> None:
    made = planned()
    hosts = {name: {"docker_engine_preview": NEW} for name in made["engines"]}
    hosts |= {
        "web1": {**hosts["web1"], "docker_engine_change": {"changed": True}},
        "web2": {**hosts["web2"], "docker_engine_change": {"unreachable": True}},
        "localhost": {"docker_client_report": CLIENT},
    }
    assert due.due(made, hosts, CA)["lost"] == ["web2"]


def test_a_preview_that_was_skipped_is_none() -> None:
    skipped = {"skipped": True, "would_change": True, "certificate_reasons": ["x"], "unreachable": True}
    now = found(planned(), web1=skipped)
    assert (now["engines"], now["incomplete"], now["ssh_previews"]) == ([], [], [])


@pytest.mark.parametrize(
    ("due_engines", "sizes", "batch"),
    [
        (["web1", "web2", "web3"], [1, 2], {"web1": 1, "web2": 2, "web3": 2}),
        (["web2", "web3"], [2, 1], {"web2": 1, "web3": 2}),
        (["web3"], [3], {"web3": 1}),
        (["web1", "web3"], [1, 2], {"web1": 1, "web3": 2}),
    ],
)
def test_the_first_batch_is_the_first_engine_that_is_due(
    due_engines: list[str], sizes: list[int], batch: dict[str, int]
) -> None:
    now = found(planned(), **dict.fromkeys(due_engines, NEW))
    assert (now["sizes"], now["batch"], now["batches"]) == (sizes, batch, len(sizes))


def test_engines_that_are_left_out_count_where_ansible_counts_them() -> None:
    made = planned("rotate_ca", extra={"docker_rotate_exclude": ["web1"]})
    assert found(made, web2=OLD, web3=OLD)["sizes"] == [2, 1]


def test_a_revocation_goes_on_with_accounts_after_an_engine_that_failed() -> None:
    variables: dict[str, Any] = {"docker_engine_preview": {**PREVIEW, "ssh_accounts": True}}
    for playbook, accounts in (("site", []), ("revoke_client", ["web2"])):
        extra = {"docker_revoke_name": "eve"} if playbook == "revoke_client" else {}
        made = planned(playbook, extra=extra)
        hosts = {"web1": {"docker_engine_failed": True}, "web2": variables, "web3": {}, "localhost": {}}
        assert due.due(made, hosts, CA)["accounts"] == accounts


def test_after_a_failed_change_no_engine_is_due() -> None:
    made = planned()
    engines = {name: {"docker_engine_preview": NEW} for name in made["engines"]}
    engines["web1"] = {**engines["web1"], "docker_engine_failed": True}
    now = due.due(made, {**engines, "localhost": {}}, CA)
    assert (now["engines"], now["accounts"], now["certificates"]) == ([], [], {})


def test_an_engine_that_could_not_be_prepared_keeps_no_other_from_its_turn() -> None:
    made = planned(hosts=DECLARED)
    engines: dict[str, Any] = {name: {"docker_engine_preview": NEW} for name in made["engines"]}
    engines["web1"] |= {"docker_engine_unprepared": True, "docker_failure": "It has made no certificate request."}
    engines["web2"]["docker_failure"] = "An identity of this host failed."
    now = due.due(made, {**engines, "localhost": {}}, CA)
    assert (now["engines"], list(now["certificates"]), now["batches"]) == (["web2", "web3"], ["web2", "web3"], 2)
    assert now["accounts"] == []  # web1 is the only one with an account


def test_where_nobody_got_a_certificate_nothing_is_changed() -> None:
    drift = {"docker_engine_preview": DRIFT, "docker_ssh_server": {"would_change": True}}
    unprepared = {"docker_engine_preview": NEW, "docker_engine_unprepared": True}
    variables = {"web1": drift, "web2": unprepared, "web3": unprepared, "localhost": {}}
    now = due.due(planned(hosts=DECLARED), variables, CA)
    assert (now["engines"], now["accounts"]) == ([], [])


@pytest.mark.parametrize(
    ("request_", "change", "unused"),
    [
        ({"request": "PEM"}, None, True),
        ({"request": "PEM"}, {"failed": True, "changed": False}, True),
        ({"request": "PEM"}, {"changed": True}, False),
        ({"request": "PEM"}, {"unreachable": True, "changed": False}, False),
        ({"failed": True, "msg": "full"}, None, False),
        ({"skipped": True}, None, False),
    ],
)
def test_a_key_is_removed_where_it_did_not_come_into_use(request_: Any, change: Any, unused: bool) -> None:
    made = planned()
    engines = {name: {"docker_engine_preview": NEW} for name in made["engines"]}
    engines["web2"] |= {"docker_engine_request": request_, "docker_engine_change": change}
    assert due.due(made, {**engines, "localhost": {}}, CA)["unused_keys"] == (["web2"] if unused else [])


@pytest.mark.parametrize("preview", [{"unreachable": True, "msg": "x"}, {"library_missing": True, "failed": False}])
def test_an_engine_without_a_whole_answer_is_incomplete(preview: dict[str, Any]) -> None:
    assert found(planned(), web2=preview)["incomplete"] == ["web2"]


def test_an_engine_that_was_not_asked_is_not_incomplete() -> None:
    made = planned()
    variables: dict[str, Any] = {name: {} for name in (*made["engines"], "localhost")}
    assert due.due(made, variables, CA)["incomplete"] == []


def test_accounts_are_for_those_who_let_somebody_in_or_did() -> None:
    users = [{"name": "docker-alice", "principals": ["alice"]}]
    made = planned(hosts={"web1": {"docker_ssh_users": users, "docker_ssh_trusted_user_ca_keys": [KEY]}})
    had = {**PREVIEW, "ssh_accounts": True}
    now = found(made, web2=had)
    assert now["accounts"] == now["ssh_previews"] == ["web1", "web2"]
    assert found({**made, "playbook": "revoke_client"}, web2=had)["ssh_previews"] == []
    excluded = {**made, "rotate": {"exclude": ["web1"]}}
    assert found(excluded, web2=had)["accounts"] == ["web2"]


def with_access(made: dict[str, Any], access: Any, **client: Any) -> dict[str, Any]:
    """What is due where the preview of sshd on web1 says this, and the client this."""
    engines = {name: {"docker_engine_preview": PREVIEW} for name in made["engines"]}
    engines["web1"]["docker_ssh_server"] = access
    return due.due(made, {**engines, "localhost": {"docker_client_report": CLIENT, **client}}, CA)


@pytest.mark.parametrize(
    ("access", "accounts"),
    [
        ({"would_change": False}, []),
        ({"would_change": True}, ["web1"]),
        ({"would_change": False, "unreachable": True}, ["web1"]),
        ({"unreachable": True}, ["web1"]),
        ({}, ["web1"]),
        (None, ["web1"]),
    ],
)
def test_access_that_is_right_is_left_alone(access: Any, accounts: list[str]) -> None:
    assert with_access(planned(hosts=DECLARED), access)["accounts"] == accounts
    assert with_access(planned(hosts=DECLARED, check_mode=True), access)["accounts"] == []


def key_answer(key: str) -> dict[str, Any]:
    return {"results": [{"item": {"user": ""}, "public_keys": [{"name": "admin", "public_key": key}]}]}


@pytest.mark.parametrize(
    ("before", "now", "clients", "accounts"),
    [
        (KEY, None, [], []),
        ("", None, ["localhost"], []),
        ("", KEY, ["localhost"], ["web1", "web2", "web3"]),
        (KEY, KEY, [], []),
    ],
)
def test_a_key_that_is_new_is_brought_to_the_engines(
    before: str, now: str | None, clients: list[str], accounts: list[str]
) -> None:
    made = planned(extra={"docker_client_transports": ["ssh"]})
    right = {"docker_engine_preview": PREVIEW, "docker_ssh_server": {"would_change": False}}
    answers = {"docker_client_ssh_gathered": key_answer(before)}
    answers |= {"docker_client_ssh": key_answer(now)} if now else {}
    variables = {**dict.fromkeys(made["engines"], right), "localhost": {"docker_client_report": CLIENT, **answers}}
    found_due = due.due(made, variables, CA)
    assert (found_due["clients"], found_due["accounts"]) == (clients, accounts)


@pytest.mark.parametrize(
    "ca",
    [
        {},
        {"complete": False},
        {"phase": "trust"},
        {"phase": ""},
        {"key": {"matches": False, "type": "P-256"}},
        {"key": {"matches": True, "type": "RSA 3072"}},
        {"certificates": []},
        {"certificates": [{"role": "signing", "days_left": 364}]},
        {"key": None},
    ],
)
def test_the_role_of_the_ca_runs_unless_all_is_right(ca: dict[str, Any]) -> None:
    assert found(planned(), ca={**CA, **ca} if ca else {})["ca"] is True


def test_a_ca_to_take_over_is_looked_at() -> None:
    files = {"docker_ca_existing_certificate": "/c.pem", "docker_ca_existing_private_key": "/k.pem"}
    assert found(planned(hosts={"localhost": files}))["ca"] is True


@pytest.mark.parametrize(
    "client", [None, "x", {**CLIENT, "is_due": True}, {**CLIENT, "failures": ["x"]}, {**CLIENT, "ca_certificate": "A"}]
)
def test_a_client_is_due_unless_all_is_right(client: Any) -> None:
    assert found(planned(), client=client)["clients"] == ["localhost"]


def test_a_client_that_uses_ssh_is_asked_for_its_keys() -> None:
    made = planned(hosts={"localhost": {"docker_client_transports": ["tls", "ssh"]}})
    assert found(made)["clients"] == ["localhost"]


def test_contexts_are_due_unless_they_were_right_and_nothing_has_changed_since() -> None:
    def due_contexts(client: Any = CLIENT, playbook: str = "site", **given: Any) -> Any:
        return found(planned(playbook, **given), client=client)["contexts"]

    assert due_contexts() == []
    assert due_contexts({}) == ["localhost"]
    assert due_contexts({**CLIENT, "contexts_right": False}) == ["localhost"], "one is not right, or nobody has said so"
    assert due_contexts({**CLIENT, "is_due": True}) == ["localhost"], "they get another certificate"
    assert due_contexts({**CLIENT, "ca_certificate": "A"}) == ["localhost"], "they get another CA"
    assert due_contexts({**CLIENT, "purge": True}) == ["localhost"], "it was another one when they were asked about"
    assert due_contexts(playbook="renew") == ["localhost"], "what a name may have changes within others than site"
    with_ssh = {"localhost": {"docker_client_transports": ["tls", "ssh"]}}
    assert due_contexts(hosts=with_ssh) == ["localhost"], "the engines answer with what ssh knows them by"
