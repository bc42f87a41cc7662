"""What is told about an engine, and the names that its certificate has to cover."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import inspect, report
from helpers.engine_state import engine


@pytest.fixture(autouse=True)
def no_accounts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_SSH_ACCOUNTS", tmp_path / "docker-ssh")


def test_the_certificate_covers_what_it_is_told_and_nothing_that_the_host_says() -> None:
    names = report.names(["Web1.example.com", "192.0.2.1", "2001:DB8:0::1", "*.example.com"])
    own = ["localhost", "127.0.0.1", "::1"]
    assert names == ["web1.example.com", "192.0.2.1", "2001:db8::1", "*.example.com", *own]
    assert not set(inspect.host_names()) - {"localhost"} & set(names)
    assert report.subject_alt_names(names)[:2] == ["DNS:web1.example.com", "IP:192.0.2.1"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("web 1", "'web 1' is neither a DNS name nor an IP address"),
        ("web1\n", "is neither a DNS name nor an IP address"),
        (f"{'x' * 64}.example.com", "is neither a DNS name nor an IP address"),
        ("fe80::1%br-lab", "fe80::1%br-lab is a link-local address with a zone"),
    ],
)
def test_a_name_that_no_certificate_can_cover(name: str, says: str) -> None:
    """B24."""
    with pytest.raises(inspect.EngineError) as error:
        report.names([name])
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("content", "words", "hosts", "open_hosts"),
    [
        ({}, ("-H", "fd://"), ["fd://"], []),
        ({}, ("-H", "tcp://"), ["tcp://localhost:2375"], ["tcp://localhost:2375"]),
        ({}, (), ["unix:///var/run/docker.sock"], []),
        ({"tls": True}, (), ["tcp://localhost:2376"], ["tcp://localhost:2376"]),
        ({"hosts": None}, (), ["unix:///var/run/docker.sock"], []),
        ({"hosts": ["192.0.2.7"], "tlsverify": True}, (), ["tcp://192.0.2.7:2375"], ["tcp://192.0.2.7:2375"]),
        ({"hosts": ["192.0.2.7"], "tlsverify": True, "tlscacert": "/ca"}, (), ["tcp://192.0.2.7:2375"], []),
        ({}, ("-H", "192.0.2.7", "--tlsverify=1", "--tlscacert=/ca"), ["tcp://192.0.2.7:2375"], []),
        (
            {},
            ("-H", "192.0.2.7", "--tlsverify=0", "--tlscacert=/ca"),
            ["tcp://192.0.2.7:2375"],
            ["tcp://192.0.2.7:2375"],
        ),
    ],
)
def test_where_dockerd_listens_and_who_gets_in(
    content: dict[str, t.Any], words: tuple[str, ...], hosts: list[str], open_hosts: list[str]
) -> None:
    """B02, B05."""
    told = report.engine(engine(content, ("dockerd", *words)))
    assert (told["hosts"], told["hosts_without_tls"]) == (hosts, open_hosts)
    assert report.endpoints(engine(content, ("dockerd", *words))) == [
        ("192.0.2.7" if "192.0.2.7" in host else "localhost", int(host[-4:]))
        for host in hosts
        if host.startswith("tcp")
    ]


def test_a_daemon_that_runs_and_says_nothing() -> None:
    """B04, B15."""
    told = report.engine(engine(error="/run/docker.sock answers /info with status 403"))
    assert (told["running"], told["unanswered"]) == (True, "/run/docker.sock answers /info with status 403")
    assert (told["live_restore"], told["containers_running"]) == (False, 0)
    told = report.engine(engine(running=False))
    assert (told["running"], told["unanswered"]) == (False, "")
