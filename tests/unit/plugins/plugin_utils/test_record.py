"""Whom the CA's record has and a run does not know."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan, record
from helpers.fleet import inventory

GROUPS = {"docker_engines": ["web1"], "docker_clients": ["ops1"]}


def issued(name: str, usage: str = "server", **other: Any) -> dict[str, Any]:
    return {"name": name, "usage": usage, "days_left": 300, "issuer": "5f0c", "revoked": False, **other}


def planned(playbook: str = "rotate_ca", extra: dict[str, Any] | None = None, **client: Any) -> dict[str, Any]:
    hosts = {"ops1": {"docker_client_identities": [{"name": "ops"}], **client}}
    return plan.make(inventory(groups=GROUPS, hosts=hosts, extra=extra), playbook)


def ca(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"issued": [issued("web1"), issued("ops", "client"), *entries]}


def test_those_of_the_inventory_are_known() -> None:
    assert record.unknown(planned(), ca()) == {"engines": [], "identities": []}
    assert record.shut_out(planned(), ca()) == []


def test_a_name_is_known_for_what_it_is() -> None:
    """An identity may be called like an engine."""
    found = record.unknown(planned(), ca(issued("ops"), issued("web1", "client"), issued("web2"), issued("web2")))
    assert found == {"engines": ["ops", "web2"], "identities": ["web1"]}


@pytest.mark.parametrize("over", [{"revoked": True}, {"days_left": -1}, {"issuer": ""}, {"days_left": None}])
def test_whoever_is_refused_already_is_nobody_s_concern(over: dict[str, Any]) -> None:
    assert record.unknown(planned(), ca(issued("web2", **over))) == {"engines": [], "identities": []}


@pytest.mark.parametrize("answer", [None, {}, {"issued": None}, {"issued": ["x", {}]}])
def test_a_record_that_is_none_has_nobody(answer: Any) -> None:
    assert record.unknown(planned(), answer) == {"engines": [], "identities": []}


def test_the_name_of_a_certificate_is_not_longer_than_it_can_be() -> None:
    name = "w" * 70
    made = plan.make(inventory(groups={"docker_engines": [name]}), "rotate_ca")
    assert record.unknown(made, {"issued": [issued(name[:64])]})["engines"] == []


def test_who_is_left_out_by_name_is_not_waited_for_and_a_name_of_nobody_is_said() -> None:
    gone = planned(extra={"docker_rotate_exclude": ["web2", "bob", "wbe3"]})
    (sentence,) = record.shut_out(gone, ca(issued("web2"), issued("bob", "client")))
    assert sentence.startswith("wbe3: docker_rotate_exclude has it, and it is no engine")


def test_the_identity_that_is_revoked_takes_no_part() -> None:
    extra = {"docker_revoke_name": "bob", "docker_revoke_by_rotation": True}
    assert record.shut_out(planned("revoke_client", extra), ca(issued("bob", "client"))) == []


def test_keys_of_those_who_are_not_known_stay() -> None:
    site = planned("site", docker_client_transports=["ssh"])
    assert record.kept_accounts(site, ca()) == []
    assert record.kept_accounts(site, ca(issued("bob", "client"))) == ["bob", "docker-bob"]
    shared = [{"name": "ops", "ssh_account": "deploy"}]
    site = planned("site", docker_client_transports=["ssh"], docker_client_identities=shared)
    assert record.kept_accounts(site, ca(issued("bob", "client"))) == ["bob", "deploy", "docker-bob"]


def test_a_revocation_keeps_others_and_nothing_of_whom_it_names() -> None:
    strangers = ca(issued("bob", "client"), issued("eve", "client"))
    extra = {"docker_revoke_name": "eve", "docker_client_transports": ["ssh"]}
    assert record.kept_accounts(planned("revoke_client", extra), strangers) == ["bob", "docker-bob"]
    shared = [{"name": "ops", "ssh_account": "docker-bob"}, {"name": "eve", "ssh_account": "docker-bob"}]
    known = planned("revoke_client", {**extra, "docker_client_identities": shared})
    assert record.kept_accounts(known, strangers) == [], "the key of eve goes from the account of bob"


def test_the_report_says_what_was_left_and_how_to_end_it() -> None:
    answer = ca(issued("web2"), issued("bob", "client"))
    assert record.note(planned("site"), answer) == "", "nobody purges, and nobody uses SSH"
    said = record.note(planned("site", docker_client_purge=True, docker_client_transports=["ssh"]), answer)
    assert "the CA's record has web2" in said
    assert "SSH accounts of bob were kept" in said
    assert record.note(planned("site", docker_client_purge=True), ca()) == ""
