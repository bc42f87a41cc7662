# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an endpoint offers to a client: its certificate, the client CAs it accepts, and whom it refuses."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import typing as t

_OIDS = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU", b"\x55\x04\x06": "C"}


class ProbeError(Exception):
    """The endpoint could not be asked."""


@dataclasses.dataclass(frozen=True)
class Offer:
    """The server's part of a handshake; ``acceptable_cas`` is None where it does not ask for a certificate at all."""

    certificates: tuple[bytes, ...]
    acceptable_cas: tuple[bytes, ...] | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """``outcome``: accepted, refused or unreachable for TLS; open, refused or closed for plain HTTP."""

    outcome: str
    detail: str


def _context(client: tuple[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whom the server lets in is asked here, not who it is
    if client:
        context.load_cert_chain(*client)
    return context


def offer(host: str, port: int, timeout: float = 5) -> Offer:
    """Read the server's messages of a TLS 1.2 handshake, where they are in clear; Python has no call for them."""
    context = _context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=None)
    seen = b""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    data = connection.recv(65536)
                    if not data:
                        break
                    seen += data
                    incoming.write(data)
    except OSError as error:
        if not seen.startswith(b"\x16"):
            raise ProbeError(str(error)) from error
    certificates: tuple[bytes, ...] = ()
    acceptable: tuple[bytes, ...] | None = None
    for kind, body in _handshake_messages(seen):
        if kind == 11:
            certificates = tuple(_vectors(body[3:], 3))
        elif kind == 13:
            rest = body[1 + body[0] :]
            rest = rest[2 + int.from_bytes(rest[:2], "big") :]
            acceptable = tuple(_vectors(rest[2:], 2))
    if not certificates:
        raise ProbeError("it does not answer a TLS handshake")
    return Offer(certificates, acceptable)


def _handshake_messages(stream: bytes) -> t.Iterator[tuple[int, bytes]]:
    handshake = b""
    while len(stream) >= 5 and stream[0] == 0x16:
        size = int.from_bytes(stream[3:5], "big")
        handshake, stream = handshake + stream[5 : 5 + size], stream[5 + size :]
    while len(handshake) >= 4:
        size = int.from_bytes(handshake[1:4], "big")
        yield handshake[0], handshake[4 : 4 + size]
        handshake = handshake[4 + size :]


def _vectors(data: bytes, width: int) -> t.Iterator[bytes]:
    while len(data) >= width:
        size = int.from_bytes(data[:width], "big")
        yield data[width : width + size]
        data = data[width + size :]


def readable_name(name: bytes) -> str:
    """A DER-encoded distinguished name as text, as far as its attributes are common ones."""
    parts = [
        f"{label}={_value(name, name.index(oid) + len(oid))}"
        for oid, label in _OIDS.items()
        if b"\x06\x03" + oid in name
    ]
    return ",".join(parts) or name.hex()


def _value(data: bytes, start: int) -> str:
    return data[start + 2 : start + 2 + data[start + 1]].decode("utf-8", "replace")


def try_client(host: str, port: int, client: tuple[str, str] | None, timeout: float = 5) -> Answer:
    """Ask for /_ping; with TLS 1.3 a refusal comes only with the first read after the handshake."""
    try:
        raw = socket.create_connection((host, port), timeout)
    except OSError as error:
        return Answer("unreachable", str(error))
    with raw:
        try:
            with _context(client).wrap_socket(raw) as connection:
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                answer = connection.recv(4096)
        except (ssl.SSLError, ConnectionError) as error:
            return Answer("refused", getattr(error, "reason", None) or str(error))
        except OSError as error:
            return Answer("unreachable", str(error))
    status = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
    return Answer("accepted", status) if answer else Answer("refused", "the connection was closed")


def plain_http(host: str, port: int, timeout: float = 5) -> Answer:
    """Ask for /_ping without TLS; Go answers 400 where TLS is spoken."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            answer = connection.recv(4096)
    except ConnectionRefusedError as error:
        return Answer("closed", str(error))
    except OSError as error:
        return Answer("refused", str(error))
    status = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
    return Answer("open", status) if b" 200 " in answer[:20] else Answer("refused", status)
