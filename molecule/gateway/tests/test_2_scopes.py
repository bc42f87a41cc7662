"""The gateways before a daemon that records what reaches it: every endpoint of Docker's API, and odd requests."""

from __future__ import annotations

import contextlib
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from behind import Client
from helpers import docker_api, odd_http
from recorded import recorded

if t.TYPE_CHECKING:
    from conftest import Lab

ENGINES = ("g12", "g13", "gt")
SCOPES = {
    "admin": "admin",
    "alice": "read-only",
    "bob": "operate",
    "carol": "status",
    "grace": "inspect",
    "traefik": "traefik",
    "prometheus": "prometheus",
}
# Seconds: HAProxy waits for the rest of many odd requests, and the daemon answers at once.
FIRST, QUIET = 0.4, 0.1


def client(lab: Lab, identity: str) -> Client:
    return Client(lab, lab.home / ".bulkhead/identities" / identity)


def on_all(test: t.Callable[[str], None]) -> None:
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        list(pool.map(test, ENGINES))


@pytest.mark.parametrize("identity", SCOPES)
def test_every_endpoint_of_every_version_has_its_verdict(lab: Lab, identity: str) -> None:
    scope = SCOPES[identity]
    verdicts = docker_api.verdicts(scope)
    assert len(verdicts) > 4000

    def test(engine: str) -> None:
        who = client(lab, identity)
        with recorded(lab, engine) as record:
            statuses = docker_api.statuses(verdicts, lambda: who.connect(engine))
        expected = docker_api.expected(verdicts)
        assert {line: status for line, status in statuses.items() if status != expected[line]} == {}, engine
        assert statuses.keys() == verdicts.keys()
        reached = {f"{method} {target}" for method, target in record["requests"]}
        assert reached == {line for line, allowed in verdicts.items() if allowed}, engine

    on_all(test)


def test_no_odd_request_reaches_what_the_scope_does_not_name(lab: Lab) -> None:
    def test(engine: str) -> None:
        for seed, identity in enumerate(("alice", "bob", "carol")):
            scope = SCOPES[identity]
            who = client(lab, identity)
            with recorded(lab, engine) as record:
                requests = list(odd_http.requests(docker_api.mutated(scope), 700, seed=seed))
                with ThreadPoolExecutor(40) as pool:
                    answers = list(pool.map(lambda request, who=who: send(who, engine, request), requests))
            assert len(answers) == 700
            assert docker_api.outside(scope, record["requests"]) == [], (engine, scope)
            assert len(record["requests"]) > 50  # the requests are not all nonsense
            heads = [head.lower() for head in record["heads"]]
            assert not [head for head in heads if "upgrade:" in head or "%" in head.split("?")[0]]

    on_all(test)


def send(who: Client, engine: str, request: bytes) -> bytes:
    """What comes back until it is quiet."""
    answer = b""
    with contextlib.suppress(OSError), who.connect(engine) as connection:
        connection.sendall(request)
        connection.settimeout(FIRST)
        while data := connection.recv(65536):
            answer += data
            connection.settimeout(QUIET)
    return answer


def test_the_engines_are_themselves_again(lab: Lab) -> None:
    for engine in ENGINES:
        assert "keep" in lab.docker("--context", f"{engine}-admin", "ps", "--format", "{{.Names}}")
