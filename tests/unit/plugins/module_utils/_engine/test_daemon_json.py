"""daemon.json: what is kept, what is given back, and what is refused."""

from __future__ import annotations

import codecs
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
        ('{"Hosts": ["fd://"]}', "names the key 'Hosts', which dockerd does not know; write it as 'hosts'"),
        ('{"hosts": "tcp://192.0.2.9:2376"}', "gives the key 'hosts' something other than a list of texts"),
        ('{"hosts": [1]}', "gives the key 'hosts' something other than a list of texts"),
        ('{"tlsverify": "true"}', "gives the key 'tlsverify' something other than true or false"),
        ('{"data-root": 1}', "gives the key 'data-root' something other than a text"),
        ('{"mtu": NaN}', "is not JSON"),
        ('{"mtu": 1e999}', "is not JSON"),
        ('{"debug": true} {}', "is not JSON"),
        ("[" * 100000, "is not JSON"),
    ],
)
def test_a_file_that_cannot_be_merged_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(daemon_json.DaemonJsonError, match=says) as caught:
        daemon_json.parse(text.encode(), "/etc/docker/daemon.json")
    assert "/etc/docker/daemon.json" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b" \n\t", b"null", b" null\n", codecs.BOM_UTF8])
def test_what_is_the_same_to_dockerd_as_no_file(content: bytes | None) -> None:
    assert daemon_json.parse(content, "daemon.json") == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_encoding_that_dockerd_reads(encoding: str) -> None:
    assert daemon_json.parse('{"labels": ["a=ü"]}'.encode(encoding), "daemon.json") == {"labels": ["a=ü"]}


def test_odd_bytes_and_halves_of_characters_are_read_as_docker_20_10_reads_them() -> None:
    content = daemon_json.parse(b'{"labels": ["a=\xe9", "\\ud800"]}', "daemon.json")
    assert content == {"labels": ["a=\ufffd", "\ufffd"]}
    assert json.loads(daemon_json.dump(content)) == content


def test_null_is_no_entry() -> None:
    """B05."""
    content = daemon_json.parse(b'{"hosts": null, "tls": null, "insecure-registries": null}', "daemon.json")
    assert daemon_json.hosts(content, "daemon.json") == []
    content = daemon_json.parse(b'{"hosts": [null, "tcp://"]}', "daemon.json")
    assert daemon_json.hosts(content, "daemon.json") == ["unix:///var/run/docker.sock", "tcp://localhost:2375"]
    assert daemon_json.network_entries(content, "daemon.json") == ["tcp://"]


def test_a_host_that_dockerd_does_not_take_is_refused_by_name() -> None:
    with pytest.raises(daemon_json.DaemonJsonError, match=r"names the host 'TCP://1.2.3.4', which cannot be used \(it"):
        daemon_json.hosts({"hosts": ["TCP://1.2.3.4"]}, "/etc/docker/daemon.json")


def test_a_diff_shows_what_changes_and_no_secret() -> None:
    """S4."""
    before = b'{"log-opts": {"splunk-token": "s3cret"}, "proxies": {"http-proxy": "http://me:s3cret@p"}, "mtu": 1400}'
    after = b'{"log-opts": {"splunk-token": "s3cret"}, "proxies": {"http-proxy": "http://me:other@p"}, "debug": true}'
    old, new = (json.loads(side) for side in daemon_json.diff(before, after, "daemon.json"))
    assert old == {"log-opts": "(not shown)", "proxies": "(not shown)", "mtu": 1400}
    assert new == {"log-opts": "(not shown)", "proxies": "(not shown, another one)", "debug": True}
    assert daemon_json.diff(None, b'{"hosts": ["fd://"]}', "daemon.json") == (
        "",
        '{\n    "hosts": [\n        "fd://"\n    ]\n}\n',
    )
    assert (
        daemon_json.diff(b'{"registry-mirrors": ["https://me:s3cret@m"]}', None, "daemon.json")[0].count("s3cret") == 0
    )


@pytest.mark.parametrize("key", ["hosts", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey"])
def test_options_that_decide_who_gets_in_are_refused(key: str) -> None:
    with pytest.raises(daemon_json.DaemonJsonError, match=f"'{key}' is not accepted"):
        daemon_json.refuse_weak_options({key: False})


@pytest.mark.parametrize(
    ("key", "value"), [("TLSVerify", False), ("features", "x"), ("data-root", 5), ("exec-opts", "x")]
)
def test_options_with_which_dockerd_would_not_start_are_refused(key: str, value: object) -> None:
    with pytest.raises(daemon_json.DaemonJsonError, match=f"^docker_engine_daemon_options .* the key '{key}'"):
        daemon_json.refuse_weak_options({key: value})


def test_other_options_are_accepted() -> None:
    daemon_json.refuse_weak_options({"log-driver": "local", "live-restore": True})
