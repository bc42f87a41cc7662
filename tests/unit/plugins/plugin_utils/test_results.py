"""What is known of every host at the end of a run, and who has not followed in a rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan, report, results
from helpers.fleet import inventory
from helpers.pki import Authority

PREVIEW = {
    "changed": False,
    "would_change": False,
    "certificate_reasons": [],
    "reasons": [],
    "recovered": False,
    "version": "26.1.5",
    "certificate": {"days_left": 300, "not_after": "2030-01-01T00:00:00Z"},
}
DUE = {**PREVIEW, "would_change": True, "certificate_reasons": ["it expires on 2026-12-01"]}
DRIFT = {**PREVIEW, "would_change": True, "reasons": ["dockerd reads /etc/docker/daemon.json only when it starts"]}
UNREACHABLE = {"unreachable": True, "changed": False, "msg": "no route"}
IDENTITY = {
    "name": "admin",
    "user": "",
    "days_left": 300,
    "reasons": [],
    "other_ca": "",
    "ca_outdated": False,
    "exists": True,
}
CLIENT = {"docker_client_report": {"identities": [IDENTITY], "failures": []}}
CONTEXTS = {"contexts": ["web1", "web2"], "contexts_right": True}


def planned(playbook: str = "site", **given: Any) -> dict[str, Any]:
    extra = {
        "remove": {"docker_remove_hosts": "web1,web2"},
        "revoke_client": {"docker_revoke_name": "eve"},
    }.get(playbook, {})
    return plan.make(inventory(extra={**extra, **given.pop("extra", {})}, **given), playbook)


def hostvars(**hosts: Any) -> dict[str, dict[str, Any]]:
    good = {name: {"docker_engine_preview": PREVIEW} for name in ("web1", "web2", "web3")}
    return {"localhost": CLIENT, **good, **hosts}


def problems(made: dict[str, Any], variables: dict[str, dict[str, Any]]) -> list[str]:
    """As the report says them, without advice."""
    known = results.results(made, variables)
    return report.make(made, known["engines"], known["clients"], known["ca"]).problems


@pytest.mark.parametrize("playbook", ["site", "renew", "rotate_ca"])
def test_a_fleet_that_is_right_has_no_problems(playbook: str) -> None:
    assert problems(planned(playbook), hostvars()) == []


def test_a_change_that_was_made_is_reported_with_the_new_certificate() -> None:
    changed = {**DUE, "changed": True, "certificate": {"days_left": 364}}
    web1 = {"docker_engine_preview": DUE, "docker_engine_change": changed}
    known = results.results(planned("renew"), hostvars(web1=web1))
    assert known["engines"]["web1"]["changed"] is True
    assert known["engines"]["web1"]["days_left"] == 364
    assert known["engines"]["web1"]["reasons"] == []
    assert known["engines"]["web2"]["changed"] is False


def test_a_renewal_leaves_alone_what_no_certificate_is_due_for() -> None:
    assert problems(planned("renew"), hostvars(web1={"docker_engine_preview": DRIFT})) == []
    assert problems(planned("site"), hostvars(web1={"docker_engine_preview": DRIFT})) == [
        "web1: dockerd reads /etc/docker/daemon.json only when it starts."
    ]


def test_a_renewal_reports_what_was_never_set_up() -> None:
    fresh = {**DUE, "certificate": None, "certificate_reasons": ["there is none"]}
    new_client = {"docker_client_report": {"identities": [{**IDENTITY, "exists": False, "reasons": ["x"]}]}}
    found = problems(planned("renew"), hostvars(web1={"docker_engine_preview": fresh}, localhost=new_client))
    assert found == [
        "web1: it was never set up, which is for the playbook bulkhead.docker.site to do.",
        "admin@localhost: it was never set up, which is for the playbook bulkhead.docker.site to do.",
    ]


def test_a_renewal_reports_a_dockerd_that_does_not_run() -> None:
    down = {**DRIFT, "running": False}
    assert problems(planned("renew"), hostvars(web1={"docker_engine_preview": down})) == ["web1: dockerd does not run."]


def test_engines_after_one_that_failed_say_who_it_was() -> None:
    failed = {"docker_engine_preview": DUE, "docker_engine_failed": True, "docker_failure": "It is full."}
    found = problems(planned("renew"), hostvars(web1=failed, web2={"docker_engine_preview": DUE}))
    assert found == ["web1: It is full.", "web2: it was not changed, because web1 failed before it."]


def test_a_change_that_was_undone_leaves_what_was_gathered_before() -> None:
    undone = {"failed": True, "changed": False, "msg": "It was undone."}
    web1 = {"docker_engine_preview": DUE, "docker_engine_change": undone, "docker_failure": "It was undone."}
    known = results.results(planned("renew"), hostvars(web1=web1))["engines"]["web1"]
    assert (known["version"], known["days_left"], known["failed"]) == ("26.1.5", 300, "It was undone.")


def test_an_engine_that_was_verified_says_what_failed() -> None:
    asked = {"findings": ["its port 2375 is open"], "engine": {"version": "26"}, "certificate": {"days_left": 3}}
    variables = {
        "web1": {"docker_engine_report": asked, "docker_verify_findings": ["it lets anybody in"]},
        "web2": {"docker_engine_report": {"failed": False, "msg": "There is no Docker."}},
        "web3": {"docker_engine_report": {**UNREACHABLE}, "docker_verify_findings": ["no answer"]},
    }
    assert problems(planned("verify"), variables) == [
        "web1: its port 2375 is open; it lets anybody in.",
        "web2: There is no Docker.",
        "web3: it cannot be reached.",
    ]


def test_a_removal_asks_for_the_hosts_that_were_named_and_no_others() -> None:
    removed = {"changed": True, "version": "26.1.5", "certificate": {"days_left": 300}}
    variables = {
        "web1": {"docker_engine_removed": removed, "docker_ssh_server": {"changed": True}},
        "web2": {"docker_engine_removed": UNREACHABLE, "docker_ssh_server": {"skipped": True}},
    }
    made = planned("remove")
    known = results.results(made, variables)
    said = report.make(made, known["engines"], known["clients"], known["ca"])
    assert said.problems == ["web2: it cannot be reached."]
    assert [(row["name"], row["endpoint"], row["days_left"], row["state"]) for row in said.rows] == [
        ("web1", "", None, "changed"),
        ("web2", "tcp://192.0.2.2:2376", None, "FAILED"),
    ]


def test_the_ca_is_needed_until_every_engine_has_answered_that_it_was_restored() -> None:
    answers: dict[str, Any] = {
        "web1": {"docker_engine_removed": {"changed": False}},
        "web2": {"docker_engine_removed": {"changed": True, "failed": True}},
        "web3": {"docker_engine_removed": UNREACHABLE},
    }
    made = planned("remove", extra={"docker_remove_hosts": "all"})
    assert results.results(made, answers)["not_restored"] == ["web2", "web3"]
    assert results.results(made, {})["not_restored"] == ["web1", "web2", "web3"]


def test_a_client_that_was_removed_has_no_identities_any_more() -> None:
    removed = {"docker_client_removed": {"results": [{"changed": False}, {"changed": True}]}}
    known = results.results(planned("remove", extra={"docker_remove_hosts": "all"}), {"localhost": removed})
    assert known["clients"]["localhost"]["changed"] is True
    assert known["clients"]["localhost"]["identities"] == []


def test_a_revocation_is_complete_when_all_were_reached_whatever_the_limit_is() -> None:
    taken = {"docker_ssh_server": {"changed": True, "removed": ["docker-eve"]}}
    variables = {
        "localhost": {"docker_client_removed": {"results": [{"changed": True}]}},
        "web1": taken,
        "web2": {"docker_ssh_server": UNREACHABLE},
    }
    made = planned("revoke_client", limit="web1,web2,localhost", in_run={"web1", "web2", "localhost"})
    assert problems(made, variables) == [
        "web2: it cannot be reached.",
        "web3: it was not asked, because something failed before or --limit leaves it out.",
    ]
    again = planned("revoke_client", extra={"docker_revoke_state": "absent"})
    assert problems(again, {}) == []


def test_the_accounts_of_who_was_revoked_are_not_in_the_report() -> None:
    hosts = {
        "localhost": {
            "docker_client_transports": ["tls", "ssh"],
            "docker_client_identities": [{"name": "admin"}, {"name": "eve"}],
        }
    }
    signing = {"role": "signing", "common_name": "CA", "days_left": 3000}
    state = {"docker_ca_state": {"certificates": [signing], "revoked": ["eve"]}}
    made = planned("revoke_client", hosts=hosts)
    known = results.results(made, {"localhost": {**CLIENT, **state}})
    lines = report.make(made, known["engines"], known["clients"], known["ca"]).lines
    assert "SSH accounts on all engines: docker-admin" in lines


def test_the_ca_is_the_one_that_the_run_has_left_or_else_has_read() -> None:
    read, left = (
        {"certificates": [{"role": "next"}, {"role": "signing", "common_name": name, "days_left": 9}], "revoked": []}
        for name in ("old", "new")
    )
    made = planned("renew")
    limited = results.results(made, hostvars(web2={"docker_ca_gathered": read}))  # --limit leaves the CA host out
    assert limited["ca"]["common_name"] == "old"
    both = {**CLIENT, "docker_ca_gathered": read, "docker_ca_state": left}
    assert results.results(made, hostvars(localhost=both))["ca"]["common_name"] == "new"
    assert results.results(made, hostvars())["ca"] == {}


@pytest.mark.parametrize("playbook", ["renew", "verify"])
def test_a_ca_that_is_not_there_or_in_a_rotation_is_a_finding(playbook: str) -> None:
    def findings(**state: Any) -> list[str]:
        variables = hostvars(localhost={**CLIENT, "docker_ca_gathered": {"phase": "none", "problems": [], **state}})
        return list(results.results(planned(playbook), variables)["ca"]["findings"])

    assert findings() == ["there is no CA in ~/.bulkhead/ca; correct docker_ca_host or docker_ca_dir"]
    signing = [{"role": "signing", "common_name": "CA", "days_left": 900}]
    assert findings(certificates=signing) == []
    (said,) = findings(certificates=signing, phase="trust")
    assert said.startswith("its rotation was interrupted; run bulkhead.docker.rotate_ca")
    damaged = {"certificates": signing, "problems": ["issued/x.pem cannot be read."]}
    assert findings(**damaged, key={"opens": True}) == ["issued/x.pem cannot be read."]
    issued = [{"name": "bob", "usage": "client", "issuer": "AB", "revoked": False, "days_left": 30}]
    (said,) = findings(certificates=signing, issued=issued)
    assert "its record, holders/, has no host that holds them; run bulkhead.docker.site" in said
    # Whoever verifies need not have the passphrase.
    assert bool(findings(**damaged, key={"opens": False})) == (playbook == "renew")


def test_what_is_left_of_a_revoked_identity_keeps_no_rotation_from_beginning() -> None:
    """Its user can end a module as if the host were not there."""
    made = planned("revoke_client", extra={"docker_revoke_name": "eve", "docker_revoke_by_rotation": True})
    left = {**CLIENT, "docker_client_removed": {"results": [UNREACHABLE]}, "docker_client_not_removed": "As eve: x."}
    engines = {name: {"docker_engine_preview": PREVIEW} for name in ("web1", "web2", "web3")}
    found = results.results(made, hostvars(**engines, localhost=left))
    assert found["unanswered"] == []
    assert found["clients"]["localhost"]["findings"] == ["As eve: x."]


def test_a_removal_says_whose_certificates_are_on_no_list() -> None:
    made = planned("remove", extra={"docker_remove_hosts": ["web1"]})
    ca = results.results(made, hostvars(localhost={**CLIENT, "docker_ca_failure": "The key cannot be used."}))["ca"]
    assert ca["findings"] == ["certificates of removed engines are on no revocation list: The key cannot be used."]
    ca = results.results(made, hostvars(localhost={**CLIENT, "docker_record_failure": "The disk is full."}))["ca"]
    assert ca["findings"] == ["its record still has hosts that were removed: The disk is full."]


def test_a_rotation_does_not_begin_without_everybody() -> None:
    made = planned("rotate_ca", extra={"docker_rotate_exclude": ["web3"]})
    mute = {"docker_client_report": {"identities": [], "failures": ["The identities of ops cannot be read."]}}
    variables = hostvars(
        web1={"docker_engine_preview": UNREACHABLE, "docker_failure": "web1 cannot be reached: no route."},
        web2={"docker_failure": "web2 is part of a swarm."},
        web3={},
        localhost=mute,
    )
    assert results.results(made, variables)["unanswered"] == [
        "web1: it cannot be reached",
        "web2: web2 is part of a swarm",
        "localhost: The identities of ops cannot be read",
    ]
    assert results.results(made, hostvars(web1={"docker_engine_preview": DUE}))["unanswered"] == []
    assert results.results(planned("rotate_ca"), hostvars(web3={}))["unanswered"] == ["web3: it was not asked"]


def test_a_rotation_goes_on_when_all_have_followed() -> None:
    made = planned("rotate_ca")
    late = {"docker_client_report": {"identities": [{**IDENTITY, "ca_outdated": True}], "failures": []}}
    variables = hostvars(web1={"docker_engine_preview": DUE}, web2={"docker_engine_preview": DRIFT}, localhost=late)
    assert results.results(made, variables)["left_over"] == [
        "web1: it expires on 2026-12-01",
        "web2: dockerd reads /etc/docker/daemon.json only when it starts",
        "localhost: its identities admin are not issued yet",
    ]
    assert results.results(made, hostvars())["left_over"] == []


KEPT = {"certificate_path": "/etc/pki/docker.pem", "private_key_path": "/etc/pki/docker.key"}
OF_ENGINE = {f"docker_engine_{name}": path for name, path in KEPT.items()}


@pytest.mark.parametrize("phase", ["none", "trust", "reissue", "retire"])
def test_a_rotation_waits_for_certificates_that_no_run_issues(phase: str) -> None:
    """Where the file of what installs it is the one that is installed, nothing is due and nothing would change."""
    company = {**OF_ENGINE, "docker_engine_server_ca": Authority("company").pem}
    made = planned(
        "rotate_ca",
        hosts={
            "web1": OF_ENGINE,
            "web2": company,
            "web3": OF_ENGINE,
            "localhost": {"docker_client_identities": [{"name": "admin", **KEPT}, {"name": "ops"}]},
        },
    )
    assert [*made["rotate"]["kept"]] == ["web1", "web3", "admin on localhost"]
    old = {**PREVIEW, "certificate": {"days_left": 300, "issued_by_ca": False}}
    new = {**PREVIEW, "certificate": {"days_left": 300, "issued_by_ca": True}}
    signing = {"role": "signing", "subject": "CN=new", "fingerprint_sha256": "ab12"}
    answers: dict[str, Any] = {
        "docker_ca_state": {"phase": phase, "certificates": [signing, {"role": "previous", "subject": "CN=old"}]},
        "docker_client_report": {
            "identities": [
                {**IDENTITY, "paths": KEPT, "issued_by_ca": False, "findings": ["/etc/pki/docker.pem is not used"]},
                {**IDENTITY, "name": "ops", "paths": {}, "issued_by_ca": True},
            ],
            "failures": [],
        },
    }
    variables = hostvars(
        localhost=answers,
        web1={"docker_engine_preview": old},
        web2={"docker_engine_preview": old},
        web3={"docker_engine_preview": new},
    )
    found = results.results(made, variables)["left_over"]
    waits = phase in ("reissue", "retire")
    assert [entry.partition("; ")[0] for entry in found] == (
        [
            "web1: its certificate in /etc/pki/docker.pem is not one of that CA",
            "localhost: the certificate of admin in /etc/pki/docker.pem is not one of that CA",
        ]
        if waits
        else []
    )
    assert all("CN=new (SHA-256 ab12), which is the first in ca.pem in ~/.bulkhead/ca on localhost" in e for e in found)
    # Who does not say it has not followed.
    del answers["docker_client_report"]["identities"][0]["issued_by_ca"]
    variables["web3"] = {"docker_engine_preview": PREVIEW}
    assert len(results.results(made, variables)["left_over"]) == (3 if waits else 0)


@pytest.mark.parametrize("nonsense", [None, 7, "x", [], ["x"], {"results": "x"}, {"results": [None, 3]}, {"msg": 3}])
def test_no_answer_of_a_host_breaks_the_results(nonsense: Any) -> None:
    registered = [name for names in results._REGISTERED.values() for name in names]
    variables = {name: dict.fromkeys((*registered, "docker_ca_state"), nonsense) for name in hostvars()}
    for playbook in ("site", "renew", "verify", "remove", "revoke_client"):
        problems(planned(playbook), variables)
    results.results(planned("rotate_ca"), variables)["left_over"]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"failed": True, "msg": "It is full."}, "It is full."),
        ({"failed": True, "msg": "a\x1b[2J\nb"}, "a [2J b"),
        ({"failed": True}, "no error message"),
        ({"failed": True, "results": 5, "msg": "no"}, "no"),
        (
            {
                "results": [{"failed": True, "msg": "x"}, {"msg": "y"}, 3, {"failed": True, "msg": "z"}],
                "msg": "One failed",
            },
            "x; z",
        ),
        # Ansible brings hosts into a rescue when the failure of another ends the run.
        ({}, ""),
        (None, ""),
        ("text", ""),
    ],
)
def test_a_failure_is_one_sentence_whatever_a_host_says(result: Any, said: str) -> None:
    assert results.failure(result) == said


@pytest.mark.parametrize("key", ["ssh-ed25519 AAAA", "* ssh-ed25519 AAAA", ""])
def test_an_engine_that_no_client_could_know_is_named_itself(key: str) -> None:
    web1 = {"docker_engine_preview": PREVIEW, "docker_ssh_server": {"users": ["docker-admin"], "host_keys": [key]}}
    nobody = {"docker_engine_preview": PREVIEW, "docker_ssh_server": {"users": [], "host_keys": []}}

    assert problems(planned("site"), hostvars(web1=web1, web2=nobody)) == [
        "web1: it has answered no SSH host key that clients could know it by."
    ]


def test_identities_that_no_host_has_are_listed_and_named_before_they_end() -> None:
    def entry(name: str, days: int, **more: Any) -> dict[str, Any]:
        return {"name": name, "usage": "client", "days_left": days, "issuer": "ab", "revoked": False, **more}

    issued = [
        entry("github", 3),
        entry("github", 12),  # exported again
        entry("gitlab", 80),
        entry("admin", 300),
        entry("gone", -1),
        entry("eve", 40, revoked=True),
        entry("before", 40, issuer=""),
        entry("web9", 40, usage="server"),
    ]
    signing = {"role": "signing", "common_name": "Docker CA", "days_left": 900}
    holders = [{"kind": "export", "host": "", "identity": name, "transport": ""} for name in ("github", "old")]
    state = {"certificates": [signing], "issued": [*issued, entry("bob", 20)], "holders": holders}
    made = planned("renew")
    variables = hostvars(localhost={**CLIENT, "docker_ca_state": {**state, "phase": "none", "key": {"opens": True}}})
    known = results.results(made, variables)
    found = report.make(made, known["engines"], known["clients"], known["ca"])
    rows = {row["name"]: (row["days_left"], row["state"]) for row in found.rows if row["kind"] == "identity"}
    assert rows == {
        "admin@localhost": (300, "ok"),
        "bob": (20, "elsewhere"),
        "github": (12, "exported"),
        "gitlab": (80, "elsewhere"),
    }
    assert found.problems == []
    assert "the first certificate ends in 12 days (github)" in found.summary
    said = " ".join(" ".join(found.lines).split())
    assert "Exported identities that end soon: github (12 days). Export those anew" in said
    assert "no host of this inventory has, and that end soon: bob (20 days). Run bulkhead.docker.renew" in said


@pytest.mark.parametrize(
    ("by_rotation", "state", "named"), [(False, "present", True), (True, "present", False), (False, "absent", False)]
)
def test_a_certificate_that_something_else_installs_is_in_no_record_and_is_named(
    by_rotation: bool, state: str, named: bool
) -> None:
    pair = {"certificate_path": "/etc/pki/eve.pem", "private_key_path": "/etc/pki/eve.key"}
    made = planned(
        "revoke_client",
        hosts={"localhost": {"docker_client_identities": [{"name": "ops"}, {"name": "eve", **pair}]}},
        extra={"docker_revoke_by_rotation": by_rotation, "docker_revoke_state": state},
    )
    found = results.results(made, hostvars())["ca"].get("findings", [])
    assert [text for text in found if text.startswith("engines accept the certificate of eve until it ends")] == (
        found if named else []
    )
    assert bool(found) is named


@pytest.mark.parametrize("elsewhere", [True, False])
def test_who_ends_certificates_that_nobody_knows_depends_on_who_has_the_key(tmp_path: Path, elsewhere: bool) -> None:
    tasks = tmp_path / "issue.yml"
    tasks.write_text("[]", encoding="ascii")
    given = {"docker_ca_issue_tasks": str(tasks), "docker_ca_existing_certificate": "/etc/pki/ca.pem"}
    made = planned("revoke_client", hosts={"localhost": given if elsewhere else {}})
    variables = hostvars(localhost={**CLIENT, "docker_ca_doubt": "issued/x.pem cannot be read."})
    (said,) = results.results(made, variables)["ca"]["findings"]
    assert ("docker_revoke_by_rotation=true" in said) is not elsewhere
    assert ("when another CA follows the one that has issued them (docs/pki.md)" in said) is elsewhere
    assert said.endswith("issued/x.pem cannot be read.")


def test_contexts_are_counted_where_they_were_written_or_found_to_be_right() -> None:
    def counted(report: dict[str, Any], **answers: Any) -> Any:
        variables = {"localhost": {"docker_client_report": {**CLIENT["docker_client_report"], **report}, **answers}}
        return results.collected(planned(), variables)["clients"]["localhost"]["contexts"]

    assert counted({}) is None
    assert counted(CONTEXTS) == 2
    assert counted({**CONTEXTS, "contexts_right": False}) is None
    assert counted(CONTEXTS, docker_client_contexts={"results": [{"contexts": [{"name": "web1"}]}]}) == 1
    assert counted({}, docker_client_contexts={"results": []}) is None, "of a client host without users"
