"""Which accounts on engines are an identity's: one rule, for what is revoked and for what is declared."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import accounts, handover, plan
from helpers.fleet import inventory

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYtnIVBqcBPtfFhWYcl2hB2DBfUjMCEtF2oqJjxA1nd"


@pytest.mark.parametrize(
    ("name", "logs_in", "declared", "theirs"),
    [
        ("eve", {}, [], {"docker-eve"}),
        ("eve", {"docker-eve": {"eve"}}, ["docker-eve"], {"docker-eve"}),
        ("eve", {"al": {"eve"}}, [], {"al", "docker-eve"}),
        ("eve", {"al": {"eve"}}, ["docker-eve"], {"al"}),
        ("eve", {"al": {"bob"}}, ["docker-eve"], {"docker-eve"}),
        ("E v e", {}, [], set()),
    ],
)
def test_the_accounts_of_an_identity(
    name: str, logs_in: dict[str, set[str]], declared: list[str], theirs: set[str]
) -> None:
    assert accounts.of_identity(name, logs_in, declared) == theirs


@pytest.mark.parametrize(
    ("account", "is_declared", "is_there"), list(itertools.product(("", "al"), (False, True), (False, True)))
)
def test_what_is_revoked_is_what_no_engine_gets_any_more(account: str, is_declared: bool, is_there: bool) -> None:
    """Also where the identity is not in the inventory any more."""
    eve: dict[str, Any] = {"name": "eve", **({"ssh_account": account} if account else {})}
    users = [{"name": "docker-eve", "public_keys": [KEY]}] if is_declared else []
    hosts: dict[str, Any] = {
        "localhost": {
            "docker_client_transports": ["tls", "ssh"],
            "docker_client_identities": [{"name": "admin"}, *([eve] if is_there else [])],
        },
        **{name: {"docker_ssh_users": users} for name in ("web1", "web2", "web3")},
    }
    made = plan.make(inventory(hosts, extra={"docker_revoke_name": "eve"}), "revoke_client")
    own = set(made["revoke"]["accounts"]["own"])
    assert {user["name"]: user["state"] for user in handover.ssh_users(made, "web1", None, ["eve"])} == dict.fromkeys(
        own, "absent"
    )
    left = {user["name"] for user in handover.ssh_users({**made, "playbook": "verify"}, "web1", None, ["eve"])}
    assert not left & own
    assert left - {"docker-admin"} <= {"docker-eve"} - own
