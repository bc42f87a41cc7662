"""What GET /_ping costs over a warm connection: at dockerd's socket, and through the gateway as two identities.

warm.py ADDRESS, on an engine where /root/admin and /root/alice are identities: prints the medians in seconds, as JSON.
It stands alone, because it runs there.
"""

from __future__ import annotations

import json
import pathlib
import socket
import ssl
import statistics
import sys
import time

ROUNDS = 400
REQUEST = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"


def local() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("/run/docker.sock")
    return connection


def through_gateway(address: str, identity: str) -> socket.socket:
    folder = pathlib.Path("/root") / identity
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    raw = socket.create_connection((address, 2376))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname=address)


def seconds(connection: socket.socket) -> float:
    begin = time.perf_counter()
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\nOK"):
        data = connection.recv(4096)
        if not data:
            raise SystemExit(f"the connection has ended after {answer!r}")
        answer += data
    return time.perf_counter() - begin


def main() -> None:
    address = sys.argv[1]
    ways = {"socket": local()}
    ways |= {identity: through_gateway(address, identity) for identity in ("admin", "alice")}
    # One after the other in each round, so that what else the machine does is the same for all.
    rounds = [{way: seconds(connection) for way, connection in ways.items()} for _ in range(ROUNDS)]
    print(json.dumps({way: statistics.median(one[way] for one in rounds) for way in ways}))


if __name__ == "__main__":
    main()
