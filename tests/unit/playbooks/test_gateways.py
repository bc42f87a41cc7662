"""What engines with a gateway are asked in each playbook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.fake_fleet import Fleet, Run
from helpers.fake_host import KEY

SCOPES = {"admin": "admin", "ci": "operate", "ops1": "admin", "build1": "admin", "jenkins": "admin"}


def _inventory(fleet: Fleet, enabled: bool = True) -> Path:
    fleet.prepare()
    content = fleet.content()
    content["docker_engines"]["hosts"]["web1"].update(
        docker_gateway_enabled=enabled,
        docker_gateway_identities=[{"name": "ci", "scope": "operate"}],
        docker_gateway_max_request_rate=100,
        docker_ssh_users=[{"name": "watch", "scope": "status", "public_keys": [KEY]}],
    )
    path = fleet.root / "with_gateway" / "inventory.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def _play(fleet: Fleet, playbook: str, **extra: Any) -> Run:
    run = fleet.play(playbook, inventory=_inventory(fleet), **extra)
    assert not run.failed, run.output
    return run


def _options(run: Run, host: str, module: str) -> list[dict[str, Any]]:
    lines = [line.split(" ", 1) for line in run.asked[host]]
    return [json.loads(options) for name, options in lines if name.rpartition(".")[2] == module]


@pytest.fixture(scope="module")
def first_with_gateway(secured: Fleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Run]:
    """web1 gets a gateway, which knows another identity than those of client hosts."""
    fleet = secured.copy(tmp_path_factory.mktemp("behind") / "fleet")
    return fleet, _play(fleet, "site")


@pytest.fixture(scope="module")
def behind(first_with_gateway: tuple[Fleet, Run]) -> Fleet:
    """The fleet in which web1 has its gateway."""
    return first_with_gateway[0]


def test_an_engine_gets_its_gateway_once(first_with_gateway: tuple[Fleet, Run]) -> None:
    fleet, run = first_with_gateway

    change = _options(run, "web1", "docker_daemon_config")[-1]
    assert {one["name"]: one["scope"] for one in change["gateway"]["identities"]} == {
        name: scope for name, scope in SCOPES.items() if name != "admin"
    }
    assert [scope["name"] for scope in change["gateway"]["scopes"]] == ["operate", "status"]
    assert change["gateway"]["accounts"] == [{"name": "watch", "identity": "watch", "scope": "status"}]
    users = _options(run, "web1", "docker_ssh_access")[-1]["users"]
    assert {user["name"]: user["scope"] for user in users}["watch"] == "status"
    assert {user["scope"] for user in users if user["name"] != "watch"} <= {"", "admin"}
    assert "POST /containers/{id}/start" in change["gateway"]["scopes"][0]["rules"]
    assert change["gateway"]["max_request_rate"] == 100
    assert change["gateway"]["revocation_lists"].startswith("-----BEGIN X509 CRL")
    assert "gateway" not in _options(run, "web2", "docker_daemon_config")[-1]

    again = _play(fleet, "site")
    assert [options["_ansible_check_mode"] for options in _options(again, "web1", "docker_daemon_config")] == [True]


@pytest.mark.slow
def test_a_revocation_goes_to_gateways_and_changes_no_dockerd(behind: Fleet) -> None:
    run = _play(behind, "revoke_client", docker_revoke_name="jenkins")

    (asked,) = _options(run, "web1", "docker_gateway")
    assert asked["revoked"] == ["jenkins"]
    assert asked["revocation_lists"].startswith("-----BEGIN X509 CRL")
    assert not _options(run, "web1", "docker_daemon_config")
    assert "no gateway has refused them on web2" in " ".join(run.output.split())

    after = _play(behind, "site", docker_client_skip_revoked=True)
    gateway = _options(after, "web1", "docker_daemon_config")[-1]["gateway"]
    assert "jenkins" not in [one["name"] for one in gateway["identities"]]


@pytest.mark.slow
def test_a_revocation_reaches_a_gateway_that_the_inventory_does_not_have(behind: Fleet) -> None:
    inventory = _inventory(behind, enabled=False)
    content = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    del content["docker_engines"]["hosts"]["web1"]["docker_ssh_users"]
    inventory.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    run = behind.play("revoke_client", inventory=inventory, docker_revoke_name="jenkins")

    assert not run.failed, run.output
    (asked,) = _options(run, "web1", "docker_gateway")
    assert asked["revoked"] == ["jenkins"]
    assert asked["revocation_lists"].startswith("-----BEGIN X509 CRL")
    assert "no gateway has refused them on web2" in " ".join(run.output.split())


def test_the_engines_alone_leave_identities_as_they_are(behind: Fleet) -> None:
    run = _play(behind, "engines")

    gateway = _options(run, "web1", "docker_daemon_config")[0]["gateway"]
    assert gateway.get("identities") is None


def test_a_verification_compares_the_gateway(behind: Fleet) -> None:
    run = _play(behind, "verify")

    assert _options(run, "web1", "docker_engine_info")[-1]["gateway"]["identities"]
    assert not _options(run, "web2", "docker_engine_info")[-1].get("gateway")


@pytest.mark.slow
def test_a_gateway_follows_access_groups(secured_once: Fleet, tmp_path: Path) -> None:
    fleet = secured_once.copy(tmp_path / "fleet")
    jenkins = {"name": "jenkins", "user": "jenkins", "access": ["ops"]}
    fleet.variables = {
        "web1": {"docker_engine_access": ["default", "ops"]},
        "build1": {"docker_client_identities": [{"name": "build1"}, jenkins]},
    }
    content = fleet.root / "home/.bulkhead/ca/groups/ops/ca.pem"

    _play(fleet, "site")
    found = fleet.holds("web1")["gateway"]
    assert {one["name"]: one["access"] for one in found["identities"]} == {
        **{name: ["default"] for name in ("ops1", "build1", "ci")},
        "jenkins": ["ops"],
    }
    assert [one["name"] for one in found["groups"]] == ["default", "ops"]
    before = content.read_text(encoding="ascii")
    assert found["groups"][1]["ca_certificate"] == before
    assert found["revocation_lists"].count("BEGIN X509 CRL") == 2

    _play(fleet, "rotate_ca", docker_rotate_groups="ops")
    found = fleet.holds("web1")["gateway"]
    after = content.read_text(encoding="ascii")
    assert after != before
    assert found["groups"][1]["ca_certificate"] == after
    assert found["revocation_lists"].count("BEGIN X509 CRL") == 2

    run = _play(fleet, "revoke_client", docker_revoke_name="jenkins")
    (asked,) = _options(run, "web1", "docker_gateway")
    assert asked["revocation_lists"].count("BEGIN X509 CRL") == 2
