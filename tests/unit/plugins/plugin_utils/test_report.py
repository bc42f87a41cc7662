"""The report of a run: what it says of good hosts, and that no host can break it for the others."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan, report
from helpers.fleet import inventory

CA = {"common_name": "bulkhead.docker CA 1a2b3c4d", "days_left": 3649}


def planned(playbook: str = "site", **given: Any) -> dict[str, Any]:
    return plan.make(inventory(**given), playbook)


def engine(days: Any = 364, **more: Any) -> dict[str, Any]:
    return {"version": "26.1.5+dfsg1", "days_left": days, "changed": False, "findings": [], **more}


def client(days: Any = 364, **more: Any) -> dict[str, Any]:
    identity = {"name": "admin", "user": "ops", "days_left": days}
    return {"identities": [identity], "contexts": 3, "changed": False, **more}


def test_a_good_run_fits_on_a_page() -> None:
    engines = {"web1": engine(), "web2": engine(12), "web3": engine(changed=True)}
    made = report.make(planned(), engines, {"localhost": client()}, CA)
    assert made.lines == [
        "ENGINE  DOCKER        ENDPOINT              DAYS LEFT  STATE",
        "web1    26.1.5+dfsg1  tcp://192.0.2.1:2376  364        ok",
        "web2    26.1.5+dfsg1  tcp://192.0.2.2:2376  12         ok",
        "web3    26.1.5+dfsg1  tcp://192.0.2.3:2376  364        changed",
        "",
        "IDENTITY         USER  CONTEXTS  DAYS LEFT  STATE",
        "admin@localhost  ops   3         364        ok",
        "",
        "CA                           ON         DAYS LEFT  STATE",
        "bulkhead.docker CA 1a2b3c4d  localhost  3649       ok",
        "",
        "Next: docker --context web1 ps (as ops on localhost), and run bulkhead.docker.renew every week.",
        "",
        "3 engines, 1 identity; changed: web3; the first certificate ends in 12 days (web2); no problems",
    ]
    assert made.problems == []


def test_what_is_wrong_is_one_sentence_for_each_row() -> None:
    engines = {
        "web1": engine(findings=["its endpoint lets anybody in.", "port 2375 is open"]),
        "web2": {"reachable": False},
        "web3": {"failed": "The change was undone."},
    }
    clients = {"localhost": {"failed": "The change was undone."}}
    made = report.make(planned(), engines, clients, {})
    assert made.problems == [
        "web1: its endpoint lets anybody in; port 2375 is open.",
        "web2: it cannot be reached.",
        "web3: The change was undone.",
        "localhost: The change was undone.",
    ]
    assert made.summary.endswith("FAILED: web1, web2, web3, localhost")
    assert "Problems:" in made.lines
    assert "Next: Repair what is named above and run bulkhead.docker.site again." in made.lines


def test_a_host_that_failed_as_engine_and_client_is_named_once() -> None:
    groups = {"docker_engines": ["web1"], "docker_clients": ["web1"]}
    failed = {"web1": {"failed": "It is full."}}
    made = report.make(planned(groups=groups), failed, failed, {})
    assert made.problems == ["web1: It is full."]
    assert made.summary.endswith("FAILED: web1")


def test_an_engine_that_nobody_asked_is_a_problem_unless_it_is_not_in_the_run() -> None:
    made = report.make(planned(), {"web1": engine(), "web2": engine()}, {}, {})
    assert made.problems == [
        "web3: it was not asked, because something failed before or --limit leaves it out.",
        "localhost: it was not asked, because something failed before or --limit leaves it out.",
    ]
    limited = report.make(planned(limit="web1", in_run={"web1"}), {"web1": engine()}, {}, {})
    assert [row["name"] for row in limited.rows] == ["web1"]
    assert limited.problems == []


def test_what_is_due_is_a_problem_where_it_should_be_done_by_now() -> None:
    due = {"web1": engine(5, changed=True, reasons=["it expires on 2030-01-01"]), "web2": engine(), "web3": engine()}
    outdated = client()
    outdated["identities"][0].update(reasons=["its key is RSA 2048, not P-256"], ca_outdated=True)
    made = report.make(planned("renew"), due, {"localhost": outdated}, {})
    assert made.problems == [
        "web1: it expires on 2030-01-01.",
        "admin@localhost: its key is RSA 2048, not P-256; it does not hold the trust bundle of the CA host.",
    ]
    checked = report.make(planned("renew", check_mode=True), due, {"localhost": outdated}, {})
    assert checked.problems == []
    assert checked.lines[0] == "In check mode, nothing was changed:"
    assert checked.rows[0]["state"] == "would change"
    assert "to be changed: web1" in checked.summary
    assert "Next: Run it without --check to make these changes." in checked.lines
    good = {name: engine() for name in due}
    for playbook, advice in (("renew", "There is nothing to do."), ("rotate_ca", "Run it without --check")):
        nothing = report.make(planned(playbook, check_mode=True), good, {"localhost": client()}, {})
        assert any(line.startswith(f"Next: {advice}") for line in nothing.lines)


def test_a_ca_that_ends_soon_is_a_problem() -> None:
    engines = {name: engine() for name in ("web1", "web2", "web3")}
    made = report.make(planned("renew"), engines, {"localhost": client()}, {**CA, "days_left": 3})
    (problem,) = made.problems
    assert problem.startswith("bulkhead.docker CA 1a2b3c4d: it ends in 3 days, less than docker_ca_minimum_days (365)")
    assert "bulkhead.docker.rotate_ca" in problem
    assert "the first certificate ends in 3 days (bulkhead.docker CA 1a2b3c4d)" in made.summary


def test_who_may_get_in_over_ssh() -> None:
    alice = {"docker_ssh_users": [{"name": "docker-alice", "public_keys": [KEY]}, {"name": "gone", "state": "absent"}]}
    hosts = {"localhost": {"docker_client_transports": ["tls", "ssh"]}, "web1": alice, "web2": alice}
    made = report.make(planned(hosts=hosts), {}, {}, {})
    assert "SSH accounts on web1, web2: docker-admin, docker-alice" in made.lines
    assert "SSH accounts on web3: docker-admin" in made.lines
    everywhere = report.make(planned(hosts={"localhost": {"docker_client_transports": ["ssh"]}}), {}, {}, {})
    assert "SSH accounts on all engines: docker-admin" in everywhere.lines


def test_an_engine_without_accounts_is_not_named_with_them() -> None:
    hosts = {"localhost": {"docker_client_transports": ["ssh"]}, "web1": {"docker_ssh_enabled": False}}
    made = report.make(
        planned(hosts=hosts), {name: engine() for name in ("web1", "web2", "web3")}, {"localhost": client()}, {}
    )
    assert "SSH accounts on web2, web3: docker-admin" in made.lines
    assert any(line.startswith("Next: docker --context web2-ssh ps ") for line in made.lines)


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g alice"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("hello", "web1: its answer is no dictionary."),
        ({"days_left": "x"}, "web1: its days_left is 'x' and no number of days."),
        ({"days_left": True}, "web1: its days_left is 'True' and no number of days."),
        ({"days_left": 10**40}, "web1: its days_left is '10000000000000000000' and no number of days."),
        ({"version": ["26"]}, "web1: its version is no text."),
        ({"changed": "yes"}, "web1: its changed is neither true nor false."),
        ({"findings": {"a": 1}}, "web1: its findings is no list."),
        ({"findings": ["\x1b[2Jall\nis\rwell"]}, "web1: [2Jall is well."),
    ],
)
def test_nonsense_of_one_host_is_its_own_finding(said: Any, problem: str) -> None:
    made = report.make(planned(), {"web1": said, "web2": engine(), "web3": engine()}, {"localhost": client()}, CA)
    assert made.problems == [problem]
    assert made.summary.endswith("FAILED: web1")


def test_no_answer_ends_the_report_or_touches_another_host() -> None:
    values = [None, True, -1, 2**70, 1.5, "", "x" * 5000, "\x1b]0;\n", [], [None], [[1]], {}, {"a": {}}, {"name": []}]
    names = [
        *("reachable", "failed", "changed", "version", "days_left", "findings", "reasons"),
        *("contexts", "identities", "ca_outdated", "common_name"),
    ]
    source = random.Random(1)
    made = planned("renew")
    good = {"web2": engine(), "web3": engine()}
    whole = report.make(made, {"web1": engine(), **good}, {}, {}).rows[1:3]
    for _ in range(500):
        said: Any = {name: source.choice(values) for name in source.sample(names, source.randint(0, len(names)))}
        said = source.choice([said, said, said, source.choice(values)])
        identities = {"identities": [said, source.choice(values)]}
        found = report.make(made, {"web1": said, **good}, {"localhost": source.choice([said, identities])}, said)
        json.dumps(found.rows)
        assert [row for row in found.rows if row["name"] in good] == whole
        assert all(len(line) <= report.WIDTH and line.isprintable() for line in found.lines)


def test_long_names_stay_on_the_page() -> None:
    names = [f"{'engine' * 12}-{number}.example.com" for number in range(2)]
    groups = {"docker_engines": names}
    made = report.make(planned(groups=groups), {name: engine() for name in names}, {}, {})
    assert max(map(len, made.lines)) <= report.WIDTH
    assert made.lines[1].startswith("engineengine")


def test_who_was_left_out_is_said_and_gets_no_credit() -> None:
    hosts = {"localhost": {"docker_client_transports": ["tls", "ssh"]}}
    extra = {"docker_rotate_exclude": ["web3"]}
    engines = {"web1": engine(), "web2": engine()}
    made = report.make(planned("rotate_ca", hosts=hosts, extra=extra), engines, {"localhost": client()}, CA)
    said = " ".join(" ".join(made.lines).split())
    assert "Left out (docker_rotate_exclude): web3. Engines among them trust the CA that they did before" in said
    assert "SSH accounts on web1, web2: docker-admin" in made.lines
    assert made.problems == []


def test_a_revocation_says_what_engines_accept_as_before() -> None:
    engines = dict.fromkeys(("web1", "web2", "web3"), engine())
    revoke = planned("revoke_client", extra={"docker_revoke_name": "eve"})
    still = {"still_valid": 2, "still_open": ["web1", "web3"]}
    made = report.make(revoke, engines, {"localhost": client()}, {**CA, **still})
    said = " ".join(" ".join(made.lines).split())
    assert "Engines still accept 2 certificates of eve, because dockerd reads no" in said
    assert "no gateway has refused them on web1, web3: whoever" in said
    for ca in (CA, {**CA, **still, "still_open": []}):
        assert "still accept" not in " ".join(report.make(revoke, engines, {"localhost": client()}, ca).lines)


def test_what_is_wrong_with_the_ca_is_a_problem_of_its_row() -> None:
    ca = {
        "common_name": "",
        "days_left": None,
        "findings": ["there is no CA in ~/.bulkhead/ca; correct docker_ca_dir."],
    }
    made = report.make(
        planned("verify"), dict.fromkeys(("web1", "web2", "web3"), engine()), {"localhost": client()}, ca
    )
    assert made.problems == ["CA: there is no CA in ~/.bulkhead/ca; correct docker_ca_dir."]


def test_a_revocation_has_not_ended_where_somebody_was_left_out() -> None:
    extra = {"docker_rotate_exclude": ["web3"], "docker_revoke_name": "eve"}
    engines = {"web1": engine(), "web2": engine()}
    made = report.make(planned("revoke_client", extra=extra), engines, {"localhost": client()}, CA)
    (problem,) = made.problems
    assert problem.startswith("web3: it was left out and lets eve in as before; run the playbook again without")
    back = planned("revoke_client", extra={**extra, "docker_revoke_state": "absent"})
    assert report.make(back, engines, {"localhost": client()}, CA).problems == []
