# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking gateways from outside whether identities may do what their scopes name, and nothing else: over TLS and SSH."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import http.client
import io
import math
import pathlib
import re
import socket
import ssl
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import probe

_AT_ONCE = 16
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_REFUSED = 403


@dataclasses.dataclass(frozen=True)
class Call:
    """A request, and whether the scope of who sends it has a rule for it."""

    identity: str
    folder: str
    method: str
    path: str
    allowed: bool
    account: str | None = None  # over SSH


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A gateway; without a port of sshd, the user's settings of ssh say it."""

    name: str
    address: str
    port: int
    ssh_port: int | None = None


def check(endpoint: Endpoint, calls: t.Sequence[Call], timeout: float) -> dict[str, t.Any]:
    """What came of the calls at one gateway."""
    accounts = dict.fromkeys(call.account for call in calls if call.account)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        over_tls = {
            call: pool.submit(_status, endpoint.address, endpoint.port, call, timeout)
            for call in calls
            if not call.account
        }
        over_ssh = {
            account: pool.submit(_statuses, endpoint, account, [c for c in calls if c.account == account], timeout)
            for account in accounts
        }
    found = {call: future.result() for call, future in over_tls.items()}
    for future in over_ssh.values():
        found.update(future.result())
    answers = [found[call] for call in calls]
    findings = []
    for call, (status, detail) in zip(calls, answers):
        request = f"{call.identity}{' over SSH' if call.account else ''} and {call.method} {call.path}"
        if not status:
            findings.append(f"the gateway gave no answer to {request} ({detail})")
        elif call.allowed and (status == _REFUSED or status >= 500):
            findings.append(f"the gateway answers {status} to {request}, which the scope names")
        elif not call.allowed and status != _REFUSED:
            findings.append(f"the gateway answers {status} to {request}, which the scope does not name")
    return {
        "name": endpoint.name,
        "ok": not findings,
        "findings": findings,
        "calls": [
            {
                "identity": call.identity,
                "account": call.account,
                "method": call.method,
                "path": call.path,
                "allowed": call.allowed,
                "status": status or None,
            }
            for call, (status, _detail) in zip(calls, answers)
        ],
    }


def _status(host: str, port: int, call: Call, timeout: float) -> tuple[int, str]:
    folder = pathlib.Path(call.folder).expanduser()
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
        raw = socket.create_connection((host, port), timeout)
        with raw, context.wrap_socket(raw, server_hostname=host) as connection:
            connection.sendall(_head(call, "close").encode("ascii"))
            answer = b""
            while b"\r\n" not in answer:
                data = connection.recv(4096)
                if not data:
                    break
                answer += data
    except OSError as error:
        return 0, getattr(error, "reason", None) or error.strerror or str(error)
    match = _STATUS.match(answer)
    return (int(match[1]), "") if match else (0, "the connection was closed")


def _head(call: Call, connection: str) -> str:
    return (
        f"{call.method} {call.path} HTTP/1.1\r\nHost: docker\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n"
    )


def _statuses(endpoint: Endpoint, account: str, calls: t.Sequence[Call], timeout: float) -> dict[Call, tuple[int, str]]:
    """All of an account over one login, since sshd shuts out addresses that open many."""
    last = calls[-1]
    requests = "".join(_head(call, "close" if call is last else "keep-alive") for call in calls)
    at = probe.Endpoint(endpoint.name, endpoint.address, account, endpoint.ssh_port)
    said, cause = probe.ask(at, requests.encode("ascii"), math.ceil(timeout))
    stream = _Answers(said)
    return {call: (status, "" if status else cause) for call in calls for status in [stream.status(call.method)]}


class _Answers(io.BytesIO):
    """The answers of one connection, one after the other."""

    def makefile(self, mode: str) -> _Answers:
        """As http.client wants it of a socket."""
        del mode
        return self

    def close(self) -> None:
        """http.client would, after each of them."""

    def status(self, method: str) -> int:
        """That of the next one; 0 where there is none any more."""
        response = http.client.HTTPResponse(t.cast(socket.socket, self), method=method)
        try:
            response.begin()
            response.read()
        except (http.client.HTTPException, OSError, ValueError):
            self.seek(0, io.SEEK_END)
            return 0
        return response.status
