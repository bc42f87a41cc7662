"""Where dockerd listens: the entries as dockerd 20.10.5, 20.10.24, 26.1.5 and 28.5.2 took them when they were tried."""

from __future__ import annotations

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import hosts

LOCAL = "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("tcp://", "tcp://localhost:2375"),
        ("tcp://127.0.0.1", "tcp://127.0.0.1:2375"),
        ("127.0.0.1", "tcp://127.0.0.1:2375"),
        ("127.0.0.1:7001", "tcp://127.0.0.1:7001"),
        ("tcp://127.0.0.1:", "tcp://127.0.0.1:2375"),
        ("tcp://127.0.0.1:07001", "tcp://127.0.0.1:7001"),
        (":7001", "tcp://localhost:7001"),
        ("tcp://:7001", "tcp://localhost:7001"),
        ("localhost", "tcp://localhost:2375"),
        ("web1.example.com:2376", "tcp://web1.example.com:2376"),
        (" tcp://192.0.2.7:2375 ", "tcp://192.0.2.7:2375"),
        ("tcp://[::1]:7001", "tcp://[::1]:7001"),
        ("[0::1]:7001", "tcp://[::1]:7001"),
        ("tcp://[::1]", "tcp://[::1]:2375"),
        ("tcp://user@127.0.0.1:7001?x=1", "tcp://127.0.0.1:7001"),
        ("", LOCAL),
        ("  ", LOCAL),
        ("unix://", LOCAL),
        ("unix:///run/own.sock", "unix:///run/own.sock"),
        ("fd://", "fd://"),
        ("fd://*", "fd://"),
        ("fd://3", "fd://3"),
    ],
)
def test_an_entry_in_our_spelling(written: str, means: str) -> None:
    """B02."""
    assert str(hosts.parse(written)) == means
    assert str(hosts.parse(means)) == means


def test_an_empty_entry_of_a_daemon_with_tls() -> None:
    assert str(hosts.parse("", tls=True)) == "tcp://localhost:2376"
    assert str(hosts.parse("tcp://", tls=True)) == "tcp://localhost:2375"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("TCP://127.0.0.1:7001", "in small letters, and not 'TCP'"),
        ("FD://", "not 'FD'"),
        ("http://127.0.0.1:7001", "not 'http'"),
        ("npipe://", "not 'npipe'"),
        ("tcp://127.0.0.1:7001/", "nothing may follow address and port"),
        ("tcp://127.0.0.1:7001/v1", "nothing may follow address and port"),
        ("tcp:///run/docker.sock", "nothing may follow address and port"),
        ("unix:/run/own.sock", "nothing may follow address and port"),
        ("/run/own.sock", "nothing may follow address and port"),
        ("tcp://127.0.0.1:http", "nothing may follow address and port"),
        ("tcp://::1:7001", "an IPv6 address stands in brackets"),
        ("tcp:127.0.0.1:7001", "an IPv6 address stands in brackets"),
        ("tcp://[::1:7001", "an IPv6 address stands in brackets"),
        ("tcp://[web1]:7001", "is not an IPv6 address"),
        ("tcp://[fe80::1%lo]:7001", "an address with a zone is not supported"),
        ("tcp://*:7001", "is neither an IP address nor a name"),
        ("tcp://127.0.0.1:70000", "70000 is not a port"),
        ("tcp://127.0.0.1:0", "0 is not a port"),
    ],
)
def test_an_entry_with_which_dockerd_does_not_start(written: str, why: str) -> None:
    with pytest.raises(hosts.HostError) as error:
        hosts.parse(written)
    assert why in str(error.value)


def test_which_entries_listen_on_the_network_and_which_are_other_sockets() -> None:
    entries = ["fd://", "tcp://", "unix://", "unix:///run/docker.sock", "unix:///run/own.sock", "192.0.2.7"]
    assert [str(host) for host in hosts.network(entries)] == ["tcp://localhost:2375", "tcp://192.0.2.7:2375"]
    assert hosts.extra_sockets(entries) == ["unix:///run/own.sock"]
