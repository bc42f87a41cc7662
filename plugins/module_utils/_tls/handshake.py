# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an endpoint shows a client: its certificate, the client CAs it accepts, and whom it refuses."""

from __future__ import annotations

import dataclasses
import os
import socket
import ssl
import time
import typing as t

_OIDS = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU", b"\x55\x04\x06": "C"}
_OLD_VERSIONS = {b"\x03\x02": "TLS 1.1", b"\x03\x01": "TLS 1.0", b"\x03\x00": "SSL 3.0"}
_ALERTS = {40: "handshake failure", 70: "protocol version"}
_LIMIT = 65536  # no answer that is asked for here is longer


class ProbeError(Exception):
    """The endpoint could not be asked."""


@dataclasses.dataclass(frozen=True)
class ServerHandshake:
    """The server's part of a handshake; ``acceptable_cas`` is None where it does not ask for a certificate at all."""

    certificates: tuple[bytes, ...]
    acceptable_cas: tuple[bytes, ...] | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one attempt.

    ``outcome`` over TLS: accepted or refused by the server, untrusted where its own certificate is not accepted,
    and unreachable where neither side came to a verdict.
    ``outcome`` over plain HTTP: open, refused (somebody is there and does not serve HTTP), or closed (nobody is).
    """

    outcome: str
    detail: str
    response: bytes = b""

    @property
    def docker(self) -> bool:
        """Whether it answered as a Docker engine does."""
        head = self.response.split(b"\r\n\r\n", 1)[0].lower()
        return b"\r\napi-version:" in head or b"\r\nserver: docker/" in head


def any_server(client: tuple[str, str] | None = None) -> ssl.SSLContext:
    """For asking whom the server lets in, not who it is; ``client`` is the certificate's and the key's file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client:
        context.load_cert_chain(*client)
    return context


def trusted_server(ca: str, client: tuple[str, str]) -> ssl.SSLContext:
    """For asking as the strictest client does: only this bundle, the name checked, and what RFC 5280 requires."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_STRICT | getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    context.load_verify_locations(cafile=ca)
    context.load_cert_chain(*client)
    return context


def read_handshake(host: str, port: int, timeout: float = 5) -> ServerHandshake:
    """Read the server's messages of a TLS 1.2 handshake, where they are in clear; Python has no call for them."""
    context = any_server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    end = time.monotonic() + timeout
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
                    data = connection.recv(_LIMIT)
                    if not data or len(seen) > _LIMIT or time.monotonic() > end:
                        break
                    seen += data
                    incoming.write(data)
    except OSError as error:
        if not seen.startswith(b"\x16"):
            raise ProbeError(_reason(error)) from error
    certificates: tuple[bytes, ...] = ()
    acceptable: tuple[bytes, ...] | None = None
    for kind, body in _handshake_messages(seen):
        if kind == 11:
            certificates = tuple(_vectors(body[3:], 3))
        elif kind == 13 and body:
            rest = body[1 + body[0] :]
            rest = rest[2 + int.from_bytes(rest[:2], "big") :]
            acceptable = tuple(_vectors(rest[2:], 2))
    if not certificates:
        raise ProbeError("it does not answer a TLS handshake")
    return ServerHandshake(certificates, acceptable)


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
    size = int.from_bytes(data[start + 1 : start + 2], "big")
    return _printable(data[start + 2 : start + 2 + size])


def _printable(text: bytes) -> str:
    """A server's words as one line that no terminal takes for anything but text."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.decode("utf-8", "replace"))


def try_client(host: str, port: int, client: tuple[str, str] | None, timeout: float = 5) -> Answer:
    """Ask for /_ping as the holder of these two files, or as one who has none."""
    try:
        context = any_server(client)
    except OSError as error:
        return Answer("unreachable", f"the client's files cannot be used: {_reason(error)}")
    return ask(host, port, context, timeout=timeout)


def ask(
    host: str,
    port: int,
    context: ssl.SSLContext,
    resource: str = "/_ping",
    name: str | None = None,
    timeout: float = 5,
) -> Answer:
    """GET over TLS; with TLS 1.3 a refusal comes only with the first read after the handshake."""
    try:
        raw = socket.create_connection((host, port), timeout)
    except OSError as error:
        return Answer("unreachable", _reason(error))
    with raw:
        try:
            with context.wrap_socket(raw, server_hostname=name) as connection:
                answer = _get(connection, resource, timeout)
        except ssl.SSLCertVerificationError as error:
            return Answer("untrusted", error.verify_message)
        except ConnectionError as error:
            return Answer("refused", _reason(error))
        except ssl.SSLError as error:
            # Only what the server did is a refusal; that our own OpenSSL gives up says nothing about the server.
            refused = any(word in str(error).lower() for word in ("alert", "eof"))
            return Answer("refused" if refused else "unreachable", _reason(error))
        except OSError as error:
            return Answer("unreachable", _reason(error))
    if not answer:
        return Answer("refused", "the connection was closed")
    return Answer("accepted", _status(answer), answer)


def _get(connection: socket.socket, resource: str, timeout: float) -> bytes:
    """The answer to one request, as far as it comes in time; in HTTP/1.0 its end is the end of the connection."""
    connection.sendall(f"GET {resource} HTTP/1.0\r\nHost: docker\r\n\r\n".encode("ascii"))
    end = time.monotonic() + timeout
    answer = b""
    while len(answer) < _LIMIT and time.monotonic() < end:
        try:
            data = connection.recv(_LIMIT)
        except OSError:
            if answer:
                break
            raise
        if not data:
            break
        answer += data
    return answer


def _status(answer: bytes) -> str:
    return _printable(answer.split(b"\r\n", 1)[0][:80])


def _reason(error: OSError) -> str:
    """An alert in its own words ('bad certificate'), any other error in the system's."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return reason.split("ALERT_")[-1].replace("_", " ").lower()
    return error.strerror or str(error)


def plain_http(host: str, port: int, timeout: float = 5) -> Answer:
    """Ask for /_ping without TLS; where TLS is spoken, Go and others answer 400, the rest with an alert."""
    try:
        connection = socket.create_connection((host, port), timeout)
    except OSError as error:
        return Answer("closed", _reason(error))
    with connection:
        try:
            answer = _get(connection, "/_ping", timeout)
        except OSError as error:
            return Answer("refused", _reason(error))
    if not answer.startswith(b"HTTP/"):
        return Answer("refused", "it does not answer in HTTP")
    return Answer("refused" if b" 400 " in answer[:14] else "open", _status(answer), answer)


def old_tls(host: str, port: int, timeout: float = 5) -> Answer:
    """Offer nothing newer than TLS 1.1, by hand because today's OpenSSL may not; servers may answer with less."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(_hello(b"\x03\x02"))
            answer = connection.recv(_LIMIT)
    except ConnectionResetError as error:
        return Answer("refused", _reason(error))
    except OSError as error:
        return Answer("unreachable", _reason(error))
    if answer[:1] == b"\x16" and answer[9:11] in _OLD_VERSIONS:
        return Answer("accepted", _OLD_VERSIONS[answer[9:11]])
    if answer[:1] == b"\x15" and len(answer) > 6:
        return Answer("refused", _ALERTS.get(answer[6], f"alert {answer[6]}"))
    return Answer("refused", "no TLS handshake")


def _hello(version: bytes) -> bytes:
    """The first message of a handshake, with ciphers and curves that any server of that time has."""
    ciphers = b"\xc0\x0a\xc0\x14\xc0\x09\xc0\x13\x00\x35\x00\x2f\x00\x0a"
    curves = b"\x00\x0a" + _vector(_vector(b"\x00\x1d\x00\x17\x00\x18\x00\x19", 2), 2)
    points = b"\x00\x0b" + _vector(_vector(b"\x00", 1), 2)
    body = version + os.urandom(32) + _vector(b"", 1) + _vector(ciphers, 2) + _vector(b"\x00", 1)
    return b"\x16\x03\x01" + _vector(b"\x01" + _vector(body + _vector(curves + points, 2), 3), 2)


def _vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data
