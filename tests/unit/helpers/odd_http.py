"""Requests that try to say one thing to a proxy and another one to the server behind it."""

from __future__ import annotations

import random
import typing as t

SMUGGLED = b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n"
_HOSTS = ("http://d", "http://d:2375", "http://u:p@d", "HTTP://d", "http:", "//d", "unix:", "tcp://d")
_VERSIONS = ("/v1.41", "/v1.24", "/v1.23", "/v1.9", "/v1.999", "/v1.41.", "/v1.41/", "/V1.41", "/v1.41/v1.41", "/v2.0")
_VERSIONS += ("/v1.41%2e", "/v.", "/v1..41", "/v1.041", "/v1.41%00", "/%761.41")
_ENDS = ("/", "//", "/.", "/..", ";x", "%00", "%20", "?", "?x=/containers/create", "#/json", "\\", "%2f", "%0d%0a", ".")
_INSIDE = ("//", "/./", "/x/../", "/%2e%2e/", "/..;/", "\\", "%2f", "%5c", "/%2e/", "/.%2e/", ";/", "/*/", "/\x7f/")
_BEFORE = ("/x/..", "/.", "/%2e", "/containers/..", "/_ping/..", "/_ping/%2e%2e", "/_ping?", "/_ping#", "/_ping;", "/")
_HEADERS: tuple[bytes, ...] = (
    *(b"Upgrade: tcp\r\nConnection: Upgrade", b"Upgrade: h2c\r\nConnection: close, upgrade\r\nUpgrade: tcp"),
    *(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: YWJjZA==\r\nSec-WebSocket-Version: 13",),
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    *(b"X-HTTP-Method-Override: POST", b"X-Original-URL: /containers/create", b"X-Rewrite-URL: /containers/create"),
    *(b"Host: other\r\nHost: d", b"Connection: content-length, host", b"Expect: 100-continue", b"TE: trailers"),
    *(b"Cookie: " + b"a" * 20000, b"X: " + b"b" * 8000, b" folded: x", b"No colon at all", b"Bad\x00Name: x"),
)
_BODIES: tuple[tuple[bytes, bytes], ...] = (
    (b"Content-Length: %d" % len(SMUGGLED), SMUGGLED),
    (b"Content-Length: 0\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 500", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: xchunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding : chunked\r\nContent-Length: 5", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 5", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked, identity\r\nContent-Length: 5", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked", b"0;a=\n\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\nUpgrade: tcp\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked", b"ffffffffffffffff1\r\n" + SMUGGLED),
    (b"Content-Length: 2\r\nContent-Length: 0", b"{}" + SMUGGLED),
    (b"Content-Length: 0, 2", b"{}" + SMUGGLED),
    (b"Content-Length: +2", b"{}" + SMUGGLED),
    (b"Content-Length: -1", SMUGGLED),
    (b"Content-Length: 0x2", b"{}" + SMUGGLED),
    (b"Content-Length: 2", b'{"HostConfig": {"Privileged": true}}'),
    (b"Content-Length: 0", SMUGGLED),
)
_METHODS = ("get", "Post", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PRI", "GET\t", " GET", "G\x00ET", "DELETE")
_PROTOCOLS = ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1", "", "HTTP/1.1 x", "HTTP/11")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def requests(endpoints: t.Sequence[tuple[str, str]], count: int, seed: int = 20261129) -> t.Iterator[bytes]:
    """``endpoints`` are methods and paths; the same requests in every run."""
    chance = random.Random(seed)
    yield PREFACE
    for number in range(count - 1):
        method, path = endpoints[number % len(endpoints)]
        yield _request(chance, method, path)


def _request(chance: random.Random, method: str, path: str) -> bytes:
    protocol, ending, headers, body = "HTTP/1.1", b"\r\n", [b"Host: d"], b""
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(12)
        if kind == 0:
            path = _encoded(chance, path)
        elif kind == 1:
            path = chance.choice(_VERSIONS) + path
        elif kind == 2:
            path += chance.choice(_ENDS)
        elif kind == 3:
            at = path.find("/", chance.randrange(len(path)))
            path = path[:at] + chance.choice(_INSIDE) + path[at + 1 :] if at > 0 else path
        elif kind == 4:
            path = chance.choice(_BEFORE) + path
        elif kind == 5:
            path = chance.choice(_HOSTS) + path
        elif kind == 6:
            path = "".join(c.upper() if chance.random() < 0.3 else c for c in path)
        elif kind == 7:
            headers.append(chance.choice(_HEADERS))
        elif kind == 8:
            header, body = chance.choice(_BODIES)
            headers.append(header)
        elif kind == 9:
            method = chance.choice(_METHODS)
        elif kind == 10:
            protocol = chance.choice(_PROTOCOLS)
        else:
            ending = chance.choice((b"\n", b"\r", b"\r\n\x00", b"\r\n "))
    line = f"{method} {path} {protocol}".encode("latin-1", "replace")
    before = chance.choice((b"", b"", b"", b"\r\n", b"\n\n", b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"))
    return before + ending.join([line, *headers]) + b"\r\n\r\n" + body


def _encoded(chance: random.Random, path: str) -> str:
    share = chance.choice((0.1, 0.5, 1.0))
    form = chance.choice(("%{:02x}", "%{:02X}", "%25{:02x}", "%u00{:02x}", "%c0%{:02x}"))
    return "/" + "".join(form.format(ord(c)) if chance.random() < share else c for c in path[1:])
