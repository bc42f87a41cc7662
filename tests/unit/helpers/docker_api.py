"""Docker's published API, which scopes may use what of it, and whether a gateway agrees."""

from __future__ import annotations

import functools
import pathlib
import posixpath
import re
import socket
import typing as t
import urllib.parse

_NAMES = {"keep", "4e1f", "busybox", "team", "app:1", "web", "data", "rexray", "n1", "s1", "t1", "x1", "c1"}
_OLDEST = 24  # that a gateway lets through
_VERSIONS = range(12, 56)
_AT_ONCE = 100  # requests of a connection; HAProxy refuses a buffer that is full of them


class Endpoint(t.NamedTuple):
    """One of Docker's API, and the scopes that may use it."""

    method: str
    path: str
    since: int
    scopes: frozenset[str]

    @property
    def route(self) -> str:
        """What dockerd takes for it, whose names can have slashes."""
        return "/".join(".+" if part in _NAMES else re.escape(part) for part in self.path.split("/"))

    def allows(self, scope: str) -> bool:
        return scope == "admin" or scope in self.scopes


@functools.cache
def table() -> tuple[Endpoint, ...]:
    lines = (pathlib.Path(__file__).parent / "docker_api.txt").read_text(encoding="utf-8").splitlines()
    entries = [words for line in lines if (words := line.partition("#")[0].split())]
    return tuple(
        Endpoint(method, path, int(since.partition(".")[2]), frozenset(scopes))
        for method, path, since, *scopes in entries
    )


def verdicts(scope: str) -> dict[str, bool]:
    """METHOD PATH of every endpoint in every version, and without one, and whether the scope may use it."""
    return {
        f"{endpoint.method} {f'/v1.{minor}' if minor else ''}{endpoint.path}": endpoint.allows(scope)
        and (scope == "admin" or minor is None or minor >= _OLDEST)
        for endpoint in table()
        for minor in (None, *(minor for minor in _VERSIONS if minor >= endpoint.since))
    }


def expected(verdicts: t.Mapping[str, bool]) -> dict[str, int]:
    return {line: 200 if allowed else 403 for line, allowed in verdicts.items()}


def statuses(lines: t.Iterable[str], connect: t.Callable[[], socket.socket]) -> dict[str, int]:
    """The status of each request."""
    found: dict[str, int] = {}
    wanted = list(lines)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        headers = ["Host: d\r\nContent-Length: 0\r\n"] * (len(some) - 1) + ["Host: d\r\nConnection: close\r\n"]
        with connect() as connection:
            requests = [f"{line} HTTP/1.1\r\n{header}\r\n" for line, header in zip(some, headers)]
            connection.sendall("".join(requests).encode())
            answer = b""
            while data := connection.recv(65536):
                answer += data
        found |= zip(some, map(int, re.findall(rb"HTTP/1\.1 (\d+) ", answer)))
    return found


def mutated(scope: str) -> list[tuple[str, str]]:
    """Endpoints to make odd requests of, those of the scope more often."""
    own = [endpoint for endpoint in table() if endpoint.allows(scope)]
    return [(endpoint.method, endpoint.path) for endpoint in (*table(), *own * 3)]


def outside(scope: str, requests: t.Iterable[t.Sequence[str]]) -> list[str]:
    """The requests, METHOD and target, that have reached a daemon and are not of the scope."""
    own = [(endpoint.method, re.compile(endpoint.route)) for endpoint in table() if endpoint.allows(scope)]
    return [
        f"{method} {target}"
        for method, target in requests
        if not any(method == one and route.fullmatch(_as_dockerd_routes(target)) for one, route in own)
    ]


def _as_dockerd_routes(target: str) -> str:
    """Decoded, cleaned and without its version, whatever form it has."""
    path = urllib.parse.unquote(target.partition("?")[0])
    path = re.sub(r"^[a-zA-Z]+://[^/]*", "", path)
    cleaned = posixpath.normpath(f"/{path.lstrip('/')}")
    return re.sub(r"^/v[0-9.]+(?=/)", "", cleaned)
