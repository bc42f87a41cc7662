"""daemon.json: what is kept, what is given back, and what is refused."""

from __future__ import annotations

import json

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import daemon_json


def test_foreign_keys_stay_and_keys_no_longer_managed_get_their_value_back() -> None:
    before = {"log-driver": "journald", "debug": True}
    first, managed = daemon_json.merge(before, {"debug": False, "mtu": 1400}, daemon_json.Managed({}))
    assert first == {"log-driver": "journald", "debug": False, "mtu": 1400}
    last, managed = daemon_json.merge(first, {}, managed)
    assert last == before
    assert managed.previous == {}


def test_the_first_value_is_remembered_through_a_second_change() -> None:
    first, managed = daemon_json.merge({"mtu": 1500}, {"mtu": 1400}, daemon_json.Managed({}))
    second, managed = daemon_json.merge(first, {"mtu": 1300}, managed)
    assert second == {"mtu": 1300}
    assert daemon_json.merge(second, {}, managed)[0] == {"mtu": 1500}


def test_a_record_survives_its_way_through_json() -> None:
    _, managed = daemon_json.merge({"a": None}, {"a": 1, "b": 2}, daemon_json.Managed({}))
    again = daemon_json.Managed.from_record(json.loads(json.dumps(managed.previous)))
    assert daemon_json.merge({"a": 1, "b": 2}, {}, again)[0] == {"a": None}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{not json", "is not JSON"),
        ("[1]", "does not hold a JSON object"),
        ('{"debug": true, "debug": false}', "names the key 'debug' twice"),
    ],
)
def test_a_file_that_cannot_be_merged_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(daemon_json.DaemonJsonError, match=says) as caught:
        daemon_json.parse(text.encode(), "/etc/docker/daemon.json")
    assert "/etc/docker/daemon.json" in str(caught.value)


def test_an_empty_file_is_an_empty_object() -> None:
    assert daemon_json.parse(b"\n", "daemon.json") == {}


@pytest.mark.parametrize("key", ["hosts", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey"])
def test_options_that_decide_who_gets_in_are_refused(key: str) -> None:
    with pytest.raises(daemon_json.DaemonJsonError, match=f"'{key}' is not accepted"):
        daemon_json.refuse_weak_options({key: False})


def test_other_options_are_accepted() -> None:
    daemon_json.refuse_weak_options({"log-driver": "local", "live-restore": True})
