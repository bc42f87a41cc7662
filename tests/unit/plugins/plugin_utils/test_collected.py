"""What hosts have left in a run, as the report takes it."""

from __future__ import annotations

import random
from typing import Any

from ansible_collections.bulkhead.docker.plugins.plugin_utils import collected

PREVIEW = {
    "would_change": True,
    "certificate_reasons": ["it expires on 2030-01-01"],
    "version": "26.1.5",
    "certificate": {"days_left": 3},
}


def test_an_engine_that_was_changed_has_nothing_due() -> None:
    change = {**PREVIEW, "changed": True, "certificate": {"days_left": 364}}
    found = collected.engine({"docker_engine_preview": PREVIEW, "docker_engine_change": change}, check=False)
    assert found is not None
    assert (found["days_left"], found["changed"], found["reasons"]) == (364, True, [])


def test_an_engine_that_was_not_changed_says_what_is_due() -> None:
    found = collected.engine({"docker_engine_preview": PREVIEW}, check=False)
    assert found is not None
    assert (found["days_left"], found["changed"]) == (3, False)
    assert found["reasons"] == ["it expires on 2030-01-01"]
    other = collected.engine({"docker_engine_preview": {"would_change": True, "changed": True}}, check=False)
    assert other is not None
    assert other["reasons"] == ["it is not yet as it shall be"]
    checked = collected.engine({"docker_engine_preview": PREVIEW}, check=True)
    assert checked is not None
    assert checked["changed"] is True


def test_in_a_phase_the_newest_preview_counts() -> None:
    change = {**PREVIEW, "changed": True}
    preview = {**PREVIEW, "would_change": False, "certificate_reasons": []}
    results = {"docker_engine_preview": preview, "docker_engine_change": change}
    right = collected.engine(results, check=False, phase="trust")
    assert right is not None
    assert right["reasons"] == []
    late = collected.engine({**results, "docker_engine_preview": PREVIEW}, check=False, phase="trust")
    assert late is not None
    assert late["reasons"] == ["it expires on 2030-01-01"]


def test_what_failed_and_what_was_verified() -> None:
    assert collected.engine({}, check=False) is None
    failed = collected.engine({"docker_failure": "It was undone."}, check=False)
    assert failed is not None
    assert failed["failed"] == "It was undone."
    away = collected.engine({"docker_engine_preview": {"unreachable": True, "msg": "no route"}}, check=False)
    assert away is not None
    assert away["reachable"] is False
    report = {"engine": {"version": "20.10.5"}, "findings": ["2375 is open"], "certificate": {"days_left": 9}}
    verified = collected.engine(
        {"docker_engine_report": report, "docker_verify_findings": ["anybody gets in"]}, check=False
    )
    assert verified is not None
    assert (verified["version"], verified["days_left"]) == ("20.10.5", 9)
    assert verified["findings"] == ["2375 is open", "anybody gets in"]
    broken = collected.engine({"docker_engine_report": {"failed": True, "msg": "no docker"}}, check=False)
    assert broken is not None
    assert broken["failed"] == "no docker"


def test_clients_and_the_ca() -> None:
    assert collected.client({}) is None
    identity = {"name": "admin", "user": "", "days_left": 30}
    results = {
        "docker_client_report": {"identities": [identity], "failures": ["bob is no user there"]},
        "docker_client_contexts": {"results": [{"changed": True, "contexts": [{}, {}]}, {"contexts": [{}]}, "x"]},
    }
    found = collected.client(results)
    assert found is not None
    assert (found["contexts"], found["changed"]) == (3, True)
    assert (found["identities"], found["findings"]) == ([identity], ["bob is no user there"])
    certificates = [{"role": "next", "common_name": "new"}, {"role": "signing", "common_name": "CA", "days_left": 9}]
    assert collected.ca({"docker_ca_state": {"certificates": certificates}}) == {"common_name": "CA", "days_left": 9}
    assert collected.ca({}) == {}


def test_nonsense_is_taken_for_nothing() -> None:
    source = random.Random(2)
    values: list[Any] = [None, 1, "x", [], ["x"], [[1]], {}, {"results": 5}, {"contexts": "x"}, {"certificates": [1]}]
    names = [
        *("docker_engine_preview", "docker_engine_change", "docker_engine_report", "docker_verify_findings"),
        *("docker_client_report", "docker_client_contexts", "docker_ca_state", "docker_failure"),
    ]
    for _ in range(300):
        results = {name: source.choice(values) for name in names}
        collected.engine(results, check=source.random() < 0.5, phase=source.choice(["", "trust"]))
        collected.client(results)
        collected.ca(results)
