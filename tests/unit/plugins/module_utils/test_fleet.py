from __future__ import annotations

import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _fleet

NAMES = {"engines": ["web1", "web2"], "clients": ["build1"]}


def engine(installed: int | None = 300, served: int | None = 300, **more: t.Any) -> dict[str, t.Any]:
    report = {
        "engine": {},
        "cryptography": "43",
        "certificate": {"days_left": installed} if installed is not None else None,
        "served_certificate": {"days_left": served} if served is not None else None,
        "renewal_reasons": [],
        "findings": [],
    }
    return {"docker_engine_report": {**report, **more}}


def client(*days: int | None, **more: t.Any) -> dict[str, t.Any]:
    identities = [
        {"name": f"me{n}", "days_left": left, "reasons": [], "ca_outdated": False, **more}
        for n, left in enumerate(days)
    ]
    return {"docker_client_report": {"msg": identities}}


FINE = {"web1": engine(), "web2": engine(200, 40), "build1": client(100, 350)}


def rows(present: t.Sequence[str] = ("web1", "web2", "build1"), **changed: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return _fleet.rows(NAMES, {**FINE, **changed}, present)


def test_a_fleet_as_it_must_be() -> None:
    found = rows()
    assert _fleet.wrong(found) == []
    assert _fleet.lines(found) == [
        "web2: 200 days on disk, 40 as served",
        "me0@build1: 100 days on disk",
        "web1: 300 days on disk, 300 as served",
        "me1@build1: 350 days on disk",
    ]
    assert (
        _fleet.summary(found, [])
        == "4 certificates; nothing was due; the first ends in 40 days (web2); all as they must be"
    )
    assert _fleet.summary(found, ["web2"], check=True).startswith("4 certificates; to be renewed on web2; ")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"web1": {"docker_engine_report": {"unreachable": True, "msg": "No route."}}}, "web1: No route"),
        ({"web1": {"docker_engine_report": {"msg": "dockerd is not installed."}}}, "web1: dockerd is not installed"),
        ({"web1": {}}, "web1: it did not answer"),
        ({"web1": engine() | {"fleet_failure": {"msg": "undone"}}}, "web1: undone"),
        ({"web1": engine(renewal_reasons=["30 days are left"])}, "web1: 30 days are left"),
        ({"web1": engine(findings=["it serves another"])}, "web1: it serves another"),
        ({"web1": engine(cryptography="")}, "web1: Python's cryptography library is missing there"),
        ({"build1": {"docker_client_report": {"unreachable": True}}}, "build1: it did not answer"),
        ({"build1": client(5, reasons=["it expires"])}, "me0@build1: it expires"),
        ({"build1": client(5, ca_outdated=True)}, "me0@build1: it does not hold the trust bundle of the CA host"),
    ],
)
def test_what_is_not_as_it_must_be_is_named(changed: dict[str, t.Any], says: str) -> None:
    found = rows(**changed)
    assert _fleet.wrong(found) == [says]
    assert f"NOT AS IT MUST BE: {says.split(':')[0]}" in _fleet.summary(found, [])


def test_an_old_report_of_a_host_that_failed_since_does_not_count() -> None:
    assert _fleet.wrong(rows(present=["web1", "build1"])) == [
        "web2: it could not be asked, or something failed there before"
    ]


def test_what_is_due() -> None:
    hosts = {
        "fine": engine(),
        "old": engine(renewal_reasons=["30 days are left"]),
        "stale": engine(findings=["it serves another"]),
        "new": engine(None, None, renewal_reasons=["there is no server certificate yet"]),
        "away": {"docker_engine_report": {"unreachable": True}},
        "failed": engine(renewal_reasons=["x"]) | {"fleet_failure": {"msg": "no"}},
    }
    assert _fleet.due(list(hosts), hosts, "engines", force=False) == ["old", "stale"]
    assert _fleet.due(list(hosts), hosts, "engines", force=True) == ["fine", "old", "stale"]
    clients = {
        "fine": client(100),
        "old": client(100, 5, reasons=["it expires"]),
        "outdated": client(100, ca_outdated=True),
        "new": client(None, reasons=["it does not exist yet"]),
        "away": {"docker_client_report": {"unreachable": True}},
    }
    assert _fleet.due(list(clients), clients, "clients", force=False) == ["old", "outdated"]
    assert _fleet.due(list(clients), clients, "clients", force=True) == ["fine", "old", "outdated"]


def test_accounts_of_an_identity_are_its_own_or_shared() -> None:
    eve, ops = {"name": "eve"}, {"name": "eve", "ssh_account": "docker-ops"}
    hosts: dict[str, dict[str, t.Any]] = {
        "build1": {"docker_client_identities": [{"name": "admin"}, eve]},
        "build2": {"docker_client_identities": [{"name": "admin", "ssh_account": "docker-ops"}, ops]},
        "build3": {},
        "web1": {"docker_ssh_users": [{"name": "docker-carol"}]},
        "web2": {},
    }
    clients, engines = ["build1", "build2", "build3"], ["web1", "web2", "unknown"]

    def accounts(name: str) -> tuple[list[str], list[str]]:
        found = _fleet.ssh_accounts(name, clients, engines, hosts)
        return found["alone"], found["shared"]

    assert accounts("eve") == (["docker-eve"], ["docker-ops"])
    assert accounts("gone") == (["docker-gone"], [])  # the name was taken out of the inventory before
    assert accounts("carol") == ([], ["docker-carol"])
    assert accounts("admin") == (["docker-admin"], ["docker-ops"])


def test_a_host_that_fails_is_named_once() -> None:
    both = {"web1": engine() | client(100) | {"fleet_failure": {"msg": "undone"}}}
    found = _fleet.rows({"engines": ["web1"], "clients": ["web1"]}, both, ["web1"])
    assert _fleet.wrong(found) == ["web1: undone"]
    assert _fleet.summary(found, []).endswith("NOT AS IT MUST BE: web1")


def test_a_host_is_renewed_that_was_said_to_be_and_not_skipped() -> None:
    said, skipped = {"msg": "it is renewed"}, {"skipped": True}
    hosts = {
        "both": {"fleet_renewed_identities": said, "fleet_renewed_engine": said},
        "engine": {"fleet_renewed_engine": said},
        "client": {"fleet_renewed_identities": said, "fleet_renewed_engine": skipped},
        "stopped": {"fleet_renewed_engine": skipped},
        "idle": {},
    }
    assert _fleet.renewed(list(hosts), hosts) == ["both", "engine", "client"]
