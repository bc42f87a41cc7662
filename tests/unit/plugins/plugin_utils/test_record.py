"""Whom the CA's record has and a run does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan, record
from helpers.fleet import inventory

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHMb0Oq6mK1CjW8lYj4nqgq7k3Zs7v1F8r1Yx2mQ0abc"
GROUPS = {"docker_engines": ["web1"], "docker_clients": ["ops1"]}


def issued(name: str, usage: str = "server", **other: Any) -> dict[str, Any]:
    return {"name": name, "usage": usage, "days_left": 300, "issuer": "5f0c", "revoked": False, **other}


def planned(playbook: str = "rotate_ca", extra: dict[str, Any] | None = None, **client: Any) -> dict[str, Any]:
    hosts = {"ops1": {"docker_client_identities": [{"name": "ops"}], **client}}
    return plan.make(inventory(groups=GROUPS, hosts=hosts, extra=extra), playbook)


def ca(*entries: dict[str, Any], holders: Sequence[dict[str, str]] = (), **other: Any) -> dict[str, Any]:
    return {"issued": [issued("web1"), issued("ops", "client"), *entries], "holders": [*holders], **other}


def engine(host: str) -> dict[str, str]:
    return {"kind": "engine", "host": host, "identity": "", "transport": ""}


def client(host: str, identity: str, transport: str = "tls") -> dict[str, str]:
    return {"kind": "client", "host": host, "identity": identity, "transport": transport}


def export(identity: str) -> dict[str, str]:
    return {"kind": "export", "host": "", "identity": identity, "transport": ""}


NOBODY: dict[str, Any] = {"engines": [], "clients": {}, "exports": {}, "identities": []}


def test_those_of_the_inventory_are_known() -> None:
    assert record.unknown(planned(), ca()) == NOBODY
    assert record.shut_out(planned(), ca()) == []


def test_a_name_is_known_for_what_it_is() -> None:
    """An identity may be called like an engine."""
    found = record.unknown(planned(), ca(issued("ops"), issued("web1", "client"), issued("web2"), issued("web2")))
    assert found == {**NOBODY, "engines": ["ops", "web2"], "identities": ["web1"]}


@pytest.mark.parametrize("over", [{"revoked": True}, {"days_left": -1}, {"issuer": ""}, {"days_left": None}])
def test_whoever_is_refused_already_is_nobody_s_concern(over: dict[str, Any]) -> None:
    assert record.unknown(planned(), ca(issued("web2", **over))) == NOBODY


@pytest.mark.parametrize("answer", [None, {}, {"issued": None}, {"issued": ["x", {}]}])
def test_a_record_that_is_none_has_nobody(answer: Any) -> None:
    assert record.unknown(planned(), answer) == NOBODY


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
    assert record.kept_accounts(site, ca(), "web1") == []
    assert record.kept_accounts(site, ca(issued("bob", "client")), "web1") == ["bob", "docker-bob", "docker-ops"]
    shared = [{"name": "ops", "ssh_account": "deploy"}]
    site = planned("site", docker_client_transports=["ssh"], docker_client_identities=shared)
    assert record.kept_accounts(site, ca(issued("bob", "client")), "web1") == ["bob", "deploy", "docker-bob"]


def declaring(playbook: str, *accounts: str, **client: Any) -> dict[str, Any]:
    users = [{"name": name, "public_keys": [KEY]} for name in accounts]
    hosts = {"ops1": client, "web1": {"docker_ssh_users": users}}
    return plan.make(inventory(groups=GROUPS, hosts=hosts), playbook)


def test_keys_of_those_who_are_not_known_stay_in_whatever_account_they_are() -> None:
    """The record does not say in which: in that of another identity, or in one that the inventory declares."""
    identities = [{"name": "alice"}, {"name": "ops", "ssh_account": "team"}]
    made = declaring("site", "deploy", docker_client_transports=["ssh"], docker_client_identities=identities)
    bob = ca(holders=[client("build9", "bob", "ssh")])
    assert record.kept_accounts(made, bob, "web1") == ["bob", "deploy", "docker-alice", "docker-bob", "team"]


BOB = {"holders": [{"kind": "client", "host": "build9", "identity": "bob", "transport": "ssh"}]}


def test_who_may_not_reach_an_engine_any_more_keeps_nothing_there_although_somebody_is_not_known() -> None:
    identities = [{"name": "ops", "access": ["ops", "staging"]}, {"name": "ann", "access": ["staging"]}]
    hosts = {
        "ops1": {"docker_client_transports": ["ssh"], "docker_client_identities": identities},
        "web1": {"docker_engine_access": ["ops"], "docker_ssh_users": [{"name": "deploy", "public_keys": [KEY]}]},
        "web2": {"docker_engine_access": ["staging"]},
    }
    made = plan.make(inventory(groups={**GROUPS, "docker_engines": ["web1", "web2"]}, hosts=hosts), "site")
    strangers = ["bob", "docker-bob"]
    assert record.kept_accounts(made, ca(**BOB), "web1") == sorted([*strangers, "deploy", "docker-ops"])
    assert record.kept_accounts(made, ca(**BOB), "web2") == sorted([*strangers, "docker-ann", "docker-ops"])
    # Another host that has the identity and is not known changes nothing of that.
    ann = ca(holders=[client("build9", "ann", "ssh")])
    assert record.kept_accounts(made, ann, "web1") == []
    assert record.kept_accounts(made, ann, "web2") == ["ann", "docker-ann", "docker-ops"]


def test_who_has_ended_keeps_nothing_although_somebody_is_not_known() -> None:
    identities = [{"name": "ops"}, {"name": "ann", "expires": "2020-01-01"}]
    made = declaring("site", "deploy", docker_client_transports=["ssh"], docker_client_identities=identities)
    there = ca(holders=[*BOB["holders"], client("build9", "ann", "ssh")])
    assert record.kept_accounts(made, there, "web1") == ["bob", "deploy", "docker-bob", "docker-ops"]


def test_whoever_holds_certificates_of_other_groups_alone_is_no_reason_to_keep_anything() -> None:
    """A team is locked out of an engine by taking its group away there."""
    hosts = {
        "ops1": {"docker_client_transports": ["ssh"], "docker_client_identities": [{"name": "ops", "access": ["ops"]}]},
        "web1": {"docker_engine_access": ["ops"]},
    }
    made = plan.make(inventory(groups=GROUPS, hosts=hosts), "site")
    of_groups = [
        {"name": "staging", "issued": [issued("bob", "client")]},
        {"name": "ops", "issued": [issued("ops", "client")]},
    ]
    answer = {"issued": [issued("web1")], "groups": of_groups, **BOB}
    assert record.kept_accounts(made, answer, "web1") == []
    assert record.note(made, answer) == ""
    of_groups[1]["issued"].append(issued("bob", "client"))
    assert record.kept_accounts(made, answer, "web1") == ["bob", "docker-bob", "docker-ops"]
    assert "SSH keys of identities on build9 (bob) were kept" in record.note(made, answer)


def test_an_account_of_whom_was_revoked_is_not_kept() -> None:
    identities = [{"name": "alice"}, {"name": "ops", "ssh_account": "team"}, {"name": "ci", "ssh_account": "team"}]
    made = declaring("site", "docker-carol", docker_client_transports=["ssh"], docker_client_identities=identities)
    revoked = ca(issued("bob", "client"), revoked=["alice", "carol"])
    assert record.kept_accounts(made, revoked, "web1") == ["bob", "docker-bob", "team"]
    # An engine that the revocation has not reached has the key of ci in the account.
    revoked["revoked"].append("ci")
    assert record.kept_accounts(made, revoked, "web1") == ["bob", "docker-bob"]


def test_a_revocation_leaves_everybody_alone_but_whom_it_names() -> None:
    strangers = ca(issued("bob", "client"), issued("eve", "client"))
    extra = {"docker_revoke_name": "eve"}
    shared = [{"name": "ops", "ssh_account": "docker-bob"}, {"name": "eve", "ssh_account": "docker-bob"}]
    using = {"docker_client_transports": ["ssh"], "docker_client_identities": shared}
    known = planned("revoke_client", extra, **using)
    assert record.kept_accounts(known, strangers, "web1") == ["*"]
    said = record.note(known, strangers)
    assert said.startswith("docker-bob lost the SSH keys of all whom this inventory has not, because eve")
    assert record.note(known, ca()) == ""


def test_the_report_says_what_was_left_and_how_to_end_it() -> None:
    answer = ca(issued("web2"), issued("bob", "client"))
    assert record.note(planned("site"), answer) == "", "nobody purges, and nobody uses SSH"
    said = record.note(planned("site", docker_client_purge=True, docker_client_transports=["ssh"]), answer)
    assert "the CA's record has web2" in said
    assert "SSH accounts of bob were kept" in said
    assert record.note(planned("site", docker_client_purge=True), ca()) == ""


def test_hosts_count_and_not_the_names_of_their_identities() -> None:
    """Two hosts with one identity, one that uses SSH alone, and one whose certificate has expired."""
    there = [engine("web1"), client("ops1", "ops"), client("ops2", "ops"), client("ops3", "ops", "ssh"), engine("web9")]
    expired = issued("eve", "client", days_left=-1)

    found = record.unknown(planned(), ca(expired, holders=[*there, client("ops4", "eve")]))

    clients = {"ops2": {"ops": ["tls"]}, "ops3": {"ops": ["ssh"]}, "ops4": {"eve": ["tls"]}}
    assert found == {**NOBODY, "engines": ["web9"], "clients": clients}
    assert record.shut_out(planned(), ca(holders=there)) == [
        "web9: it trusts the CA and is no engine of this inventory",
        "ops2: it holds ops and is no client host of this inventory",
    ]
    remove = planned("remove", {"docker_remove_hosts": "all", "docker_remove_ca": True})
    assert "ops3: it holds ops and is no client host of this inventory" in record.shut_out(remove, ca(holders=there))


def test_an_identity_of_a_host_that_is_not_known_has_one_sentence() -> None:
    strangers = ca(issued("bob", "client"), holders=[client("build1", "bob"), client("build1", "bob", "ssh")])
    assert record.shut_out(planned(), strangers) == ["build1: it holds bob and is no client host of this inventory"]


def test_a_revocation_names_the_client_hosts_that_it_has_not_reached() -> None:
    held = ca(
        holders=[client("build9", "bob"), client("build9", "bob", "ssh"), client("ops1", "bob"), client("x", "y")]
    )
    (said,) = record.not_reached(planned("revoke_client", {"docker_revoke_name": "bob"}), held)
    assert said.startswith("build9 may have the keys of bob as before: the CA's record has these client hosts")
    left_out = ca(holders=[client("ops1", "bob")])
    assert record.not_reached(planned("revoke_client", {"docker_revoke_name": "bob"}), left_out) == []


def test_a_host_that_is_left_out_takes_its_identities_along() -> None:
    alice = ca(issued("alice", "client"), holders=[client("ops2", "alice")])
    assert record.shut_out(planned(extra={"docker_rotate_exclude": ["ops2"]}), alice) == []
    two = ca(issued("alice", "client"), holders=[client("ops2", "alice"), client("ops3", "alice")])
    (sentence,) = record.shut_out(planned(extra={"docker_rotate_exclude": ["ops2"]}), two)
    assert sentence == "ops3: it holds alice and is no client host of this inventory"


def test_an_engine_with_a_long_name_is_one_engine() -> None:
    name = "w" * 70
    found = ca(issued(name[:64]), holders=[engine(name)])
    assert record.unknown(planned(), found)["engines"] == [name]
    assert record.shut_out(planned(), found) == [
        f"{name}: it holds a server certificate and is no engine of this inventory"
    ]
    assert record.shut_out(planned(extra={"docker_rotate_exclude": [name]}), found) == []


def test_a_host_that_is_gone_is_not_removed_with_keys_that_nobody_has_revoked() -> None:
    gone = planned("remove", {"docker_remove_hosts": "build9,build8"})
    held = [client("build9", "bob"), client("build9", "bob", "ssh"), client("build9", "ops"), client("build8", "eve")]
    (said,) = record.still_held(gone, ca(holders=held, revoked=["eve"]))
    assert said.startswith("build9 is gone with the keys of bob, which engines accept from whoever has them.")
    assert "-e docker_revoke_name=bob" in said
    elsewhere = ca(holders=[*held, client("build7", "bob")], revoked=["eve"])
    assert record.still_held(gone, elsewhere) == [], "another host has it"


@pytest.mark.parametrize("left_out", ["ops2", "ops"])
def test_a_host_or_its_identity_is_left_out_by_name(left_out: str) -> None:
    gone = planned(extra={"docker_rotate_exclude": [left_out, "web9"]})
    assert record.shut_out(gone, ca(holders=[client("ops2", "ops"), engine("web9")])) == []


def test_whoever_was_revoked_holds_nothing() -> None:
    assert record.unknown(planned(), ca(holders=[client("ops2", "eve", "ssh")], revoked=["eve"])) == NOBODY
    revoked = planned("revoke_client", {"docker_revoke_name": "eve"})
    assert record.unknown(revoked, ca(holders=[client("ops2", "eve", "ssh")])) == NOBODY


def test_an_exported_identity_is_no_stranger_and_ends_with_the_ca() -> None:
    exported = ca(issued("nas", "client", days_left=80), holders=[export("nas")])
    site = planned("site", docker_client_transports=["ssh"])
    assert record.kept_accounts(site, exported, "web1") == []
    assert record.note(site, exported) == ""
    (sentence,) = record.shut_out(planned(), exported)
    assert sentence.startswith("nas: it was exported, and its certificate, valid for 80 days, ends with the CA")
    assert record.shut_out(planned(extra={"docker_rotate_exclude": ["nas"]}), exported) == []


def test_an_export_hides_no_host_with_an_identity_of_its_name() -> None:
    both = ca(issued("nas", "client"), holders=[export("nas"), client("nas1", "nas")])
    assert record.unknown(planned(), both) == {**NOBODY, "clients": {"nas1": {"nas": ["tls"]}}}


def test_keys_of_a_host_that_is_not_known_stay_also_where_its_identity_has_a_name_that_is() -> None:
    site = planned("site", docker_client_transports=["ssh"])
    assert record.kept_accounts(site, ca(holders=[client("ops2", "ops")]), "web1") == [], "it has no SSH key"
    with_key = ca(holders=[client("ops2", "ops", "ssh")])
    assert record.kept_accounts(site, with_key, "web1") == ["docker-ops", "ops"]
    said = record.note(site, with_key)
    assert said.startswith("SSH keys of identities on ops2 (ops) were kept")
    assert "revoke identities that no other host has with bulkhead.docker.revoke_client, and then" in said
    assert said.endswith("remove them with bulkhead.docker.remove, -e docker_remove_hosts=ops2.")


def test_a_run_records_whom_it_gives_access_and_nobody_twice() -> None:
    site = planned("site", docker_client_transports=["tls", "ssh"])
    wanted = [engine("web1"), client("ops1", "ops"), client("ops1", "ops", "ssh")]
    assert record.unrecorded(site, ca()) == wanted
    assert record.unrecorded(site, ca(holders=wanted)) == []
    assert record.unrecorded(site, ca(holders=wanted[:1], revoked=["ops"])) == []
    assert record.unrecorded(planned("renew"), ca()) == [], "it sets nobody up"
    assert record.unrecorded(site, ca(exists=False)) == wanted, "whatever makes the CA records them"
    assert record.unrecorded(planned("engines"), ca()) == wanted[:1]
    assert record.unrecorded(planned("engines"), ca(exists=False)) == [], "there is nothing to keep it in"


def test_a_rotation_that_revokes_records_whom_it_gives_a_certificate() -> None:
    two = [{"name": "ops"}, {"name": "eve"}]
    extra = {"docker_revoke_name": "eve"}
    assert record.unrecorded(planned("revoke_client", extra, docker_client_identities=two), ca()) == []
    extra = {**extra, "docker_revoke_by_rotation": True}
    rotates = planned("revoke_client", extra, docker_client_identities=two)
    assert record.unrecorded(rotates, ca()) == [engine("web1"), client("ops1", "ops")]


def test_a_revocation_names_the_engines_that_it_has_not_reached() -> None:
    extra = {"docker_revoke_name": "bob"}
    (said,) = record.not_reached(planned("revoke_client", extra), ca(issued("web2"), holders=[engine("web9")]))
    assert said.startswith("web2, web9 may let bob in as before: ")
    assert record.not_reached(planned("revoke_client", extra), ca()) == []
    allowed = planned("revoke_client", {**extra, "docker_revoke_state": "absent"})
    assert record.not_reached(allowed, ca(issued("web2"))) == []
    assert record.not_reached(planned("site"), ca(issued("web2"))) == []
