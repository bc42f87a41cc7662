"""Who is said to be shut out where engines leave the CA that they trust for this run's."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan, report, results
from helpers.fleet import inventory

OLD = f"CN=old (SHA-256 {'ab' * 32}, valid until 2036-11-21)"
LEAVES: dict[str, Any] = {"docker_engine_preview": {"would_change": True, "replaced_ca": OLD}}
SIGNING = {"role": "signing", "common_name": "new", "days_left": 3000}


def entry(name: str, usage: str = "client", days: Any = 300, issuer: str = "CN=old") -> dict[str, Any]:
    return {"name": name, "usage": usage, "days_left": days, "issuer": "", "issuer_subject": issuer, "revoked": False}


def planned(replace: bool = True, **more: Any) -> dict[str, Any]:
    clients = {
        "ops1": {"docker_client_identities": [{"name": "alice"}]},
        "ops2": {"docker_client_identities": [{"name": "bob"}]},
    }
    groups = {"docker_engines": ["web1", "web2"], "docker_clients": ["ops1", "ops2"]}
    flags = {"docker_engine_replace_ca": replace}
    return plan.make(inventory({**clients, "web1": flags, "web2": flags}, groups, **more), "site")


def said(made: dict[str, Any], issued: list[dict[str, Any]], **hosts: Any) -> str:
    mine = {"docker_ca_state": {"certificates": [SIGNING], "issued": issued, "phase": "none"}}
    variables = {"localhost": mine, "web1": LEAVES, "web2": {"docker_engine_preview": {}}, **hosts}
    known = results.results(made, variables)
    shown = report.make(made, known["engines"], known["clients"], known["ca"])
    assert known["replaced"] in " ".join(" ".join(shown.lines).split())
    return str(known["replaced"])


def test_the_names_are_those_of_the_record_and_of_hosts_that_the_run_does_not_reach() -> None:
    issued = [
        entry("github"),
        entry("alice"),
        entry("gone", days=-1),
        entry("nonsense", days="x"),
        entry("of-another", issuer="CN=older"),
        {**entry("eve"), "revoked": True},
        entry("web9", "server"),
        entry("web1", "server"),
    ]
    made = planned(in_run={"web1", "web2", "ops1", "localhost"}, limit="x")
    moves = {"docker_client_report": {"identities": [{"name": "alice", "other_ca": OLD}], "failures": []}}
    assert said(made, issued, ops1=moves) == (
        f"docker_engine_replace_ca takes {OLD} from web1: whoever has an identity of that CA alone is shut out of "
        "them. Those that are known are bob on ops2 (not in this run), github (in the record of the CA host); there "
        "may be others. This run gives new ones to alice on ops1. Engines in the record that this run does not reach "
        "stay with it: web9."
    )


def test_a_record_beside_the_present_one_is_read_too_and_none_is_said() -> None:
    assert "Neither the inventory nor a record on the CA host names one" in said(planned(), [])
    beside = {"docker_ca_gathered": {"beside": [entry("gitlab"), "nonsense"]}}
    assert "known are gitlab (in the record of the CA host)" in said(planned(), [], ops1=beside)


@pytest.mark.parametrize("told", [None, 7, "", {"replaced_ca": 7}, {"replaced_ca": None}, {"replaced_ca": ""}])
def test_nothing_is_said_where_no_engine_leaves_a_ca(told: Any) -> None:
    leaves = isinstance(told, dict) and told["replaced_ca"] == 7
    assert bool(said(planned(), [entry("github")], web1={"docker_engine_preview": told})) is leaves
    assert said(planned(replace=False), [entry("github")]) == ""
