"""The plan of the fleet: what is in it, and everything that is refused before a host is contacted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import plan
from helpers.fleet import inventory


def problems(playbook: str = "site", **given: Any) -> list[str]:
    with pytest.raises(plan.PlanError) as error:
        plan.make(inventory(**given), playbook)
    return error.value.problems


def test_an_inventory_of_engines_alone_is_enough() -> None:
    made = plan.make(inventory(), "site")
    assert list(made["engines"]) == ["web1", "web2", "web3"]
    assert made["engines"]["web1"]["host"] == "tcp://192.0.2.1:2376"
    assert list(made["clients"]) == ["localhost"]
    assert made["ca"] == {"host": "localhost", "dir": "~/.bulkhead/ca", "given": [], "has_passphrase": False}
    assert made["verifier"]["host"] == "localhost"
    assert made["verifier"]["identity"] == "admin"
    assert made["batches"] == [["web1"], ["web2"], ["web3"]]
    assert json.loads(json.dumps(made)) == made
