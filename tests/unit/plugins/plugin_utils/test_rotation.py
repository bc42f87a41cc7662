"""Whether a renewal begins to rotate the CA."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan, rotation
from ansible_collections.bulkhead.docker.plugins.plugin_utils.plan import PlanError
from helpers.fleet import inventory

ON = {"docker_ca_rotate_when_due": True}
ISSUED = {"name": "web1", "usage": "server", "issuer": "AB", "revoked": False, "days_left": 30}


def planned(playbook: str = "renew", limit: str = "", rotates: bool = False, **extra: Any) -> dict[str, Any]:
    return plan.make(inventory(extra={**ON, **extra}, limit=limit), playbook, rotates)


def found(made: dict[str, Any], days: int = 364, unanswered: tuple[str, ...] = (), **ca: Any) -> dict[str, Any]:
    state = {
        "phase": "none",
        "certificates": [{"role": "next"}, {"role": "signing", "days_left": days}],
        "problems": [],
        "holders": [{"kind": "engine", "host": "web1", "identity": "", "transport": ""}],
    }
    return rotation.rotation(made, {**state, **ca}, unanswered)


@pytest.mark.parametrize(("days", "begins"), [(365, False), (364, True), (-1, True)])
def test_it_begins_in_the_window_of_the_ca(days: int, begins: bool) -> None:
    assert found(planned(), days)["begins"] is begins


@pytest.mark.parametrize("phase", ["trust", "reissue", "retire"])
def test_a_rotation_that_was_interrupted_goes_on(phase: str) -> None:
    assert found(planned(), days=3000, phase=phase)["begins"]


@pytest.mark.parametrize("made", [planned(docker_ca_rotate_when_due=False), planned("rotate_ca"), planned("site")])
def test_it_is_for_a_renewal_that_was_told_so(made: dict[str, Any]) -> None:
    nothing = {"is_due": False, "obstacles": [], "begins": False}
    assert found(made, unanswered=("web1: it cannot be reached",)) == nothing
    assert found(made, phase="trust") == nothing


def test_a_ca_that_is_not_there_is_none_to_replace() -> None:
    assert not found(planned(), certificates=[])["is_due"]
    assert not rotation.rotation(planned(), {}, ())["is_due"]


def test_a_record_without_hosts_stands_against_it() -> None:
    """Of a backup of a part of it, such as one without the folder that says who holds what."""
    (said,) = found(planned(), holders=[], issued=[ISSUED])["obstacles"]
    assert "its record, holders/, has no host that holds them" in said
    assert found(planned(), holders=[], issued=[{**ISSUED, "days_left": -1}])["begins"]


def test_hosts_and_exports_that_would_be_shut_out_stand_against_it() -> None:
    held = {"kind": "client", "identity": "admin", "transport": "tls"}
    holders = [
        {**held, "host": "build9"},
        {**held, "host": "build8", "transport": "ssh"},
        {"kind": "export", "host": "", "identity": "nas", "transport": ""},
    ]
    nas = {**ISSUED, "name": "nas", "usage": "client"}
    strangers, exports = found(planned(), holders=holders, issued=[nas])["obstacles"]
    assert strangers.startswith("the CA's record has admin on the client host build9, which")
    assert exports.startswith("the identities nas were exported and would end with the CA")


def test_whatever_would_shut_somebody_out_stands_against_it() -> None:
    now = found(
        planned(limit="web1"),
        unanswered=("web2: it cannot be reached",),
        problems=["/ca/issued/x.pem does not hold exactly one certificate."],
        issued=[{**ISSUED, "name": "web9"}],
    )
    assert (now["is_due"], now["begins"]) == (True, False)
    assert [reason.partition(",")[0] for reason in now["obstacles"]] == [
        "/ca/issued/x.pem does not hold exactly one certificate",
        "--limit leaves hosts out",
        "web2: it cannot be reached",
        "the CA's record has the server web9",
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"usage": "client", "name": "admin"},
        {"name": "web9", "revoked": True},
        {"name": "web9", "days_left": -1},
        {"name": "web9", "issuer": ""},
    ],
)
def test_certificates_of_the_inventory_and_those_that_nobody_accepts_do_not(entry: dict[str, Any]) -> None:
    assert found(planned(), issued=[{**ISSUED, **entry}])["begins"]


@pytest.mark.parametrize("entry", [{"name": "web9"}, {"name": "admin"}, {"usage": "client"}])
def test_a_name_counts_for_its_usage(entry: dict[str, Any]) -> None:
    assert not found(planned(), issued=[{**ISSUED, **entry}])["begins"]


def test_the_plan_of_the_rotation_is_that_of_rotate_ca_and_forces_nothing() -> None:
    made = planned(rotates=True, docker_renew_force=True)
    assert (made["playbook"], made["renew"], made["engines"]["web1"]["renew_force"]) == (
        "rotate_ca",
        {"force": False},
        False,
    )


def test_a_ca_of_ones_own_is_refused_before_it_is_due() -> None:
    own = {"docker_ca_existing_certificate": "/srv/ca.pem", "docker_ca_existing_private_key": "/srv/ca.key"}
    with pytest.raises(PlanError, match="docker_ca_rotate_when_due of localhost makes no successor"):
        planned(**own)
    assert planned("rotate_ca", **own)["ca"]["takes_over"]
    assert planned(docker_ca_rotate_when_due=False, **own)["ca"]["takes_over"]


def test_variables_of_other_playbooks_take_nobody_out_of_a_renewal() -> None:
    """An inventory may still have them from an earlier run."""

    def with_variable(name: str, value: Any) -> dict[str, Any]:
        return plan.make(inventory(extra=ON, play={name: value}), "renew")

    left_out = found(with_variable("docker_rotate_exclude", ["web2"]))
    assert left_out["obstacles"] == ["docker_rotate_exclude leaves out web2; take the variable away"]
    stranger = with_variable("docker_revoke_name", "laptop")
    unknown = found(stranger, issued=[{**ISSUED, "name": "laptop", "usage": "client"}])
    assert "the client laptop" in unknown["obstacles"][0]


def test_certificates_that_something_else_installs_stand_against_it() -> None:
    pair = {"certificate_path": "/etc/pki/me.pem", "private_key_path": "/etc/pki/me.key"}
    kept = {f"docker_engine_{name}": value for name, value in pair.items()}
    hosts = {"web1": kept, "ops1": {"docker_client_identities": [{"name": "ops", **pair}]}}
    groups = {"docker_engines": ["web1", "web2"], "docker_clients": ["ops1"]}
    made = plan.make(inventory(groups=groups, hosts=hosts, extra=ON), "renew")
    (obstacle,) = found(made)["obstacles"]
    assert obstacle.startswith("something else installs the certificates of web1, ops on ops1,")
