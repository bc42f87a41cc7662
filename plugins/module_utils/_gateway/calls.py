# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking gateways from outside whether identities may do what their scopes name, and nothing else."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import pathlib
import re
import socket
import ssl
import typing as t

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


def check(endpoint: tuple[str, str, int], calls: t.Sequence[Call], timeout: float) -> dict[str, t.Any]:
    """What came of the calls at one gateway, by its name, address and port."""
    name, host, port = endpoint
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda call: _status(host, port, call, timeout), calls))
    findings = []
    for call, (status, detail) in zip(calls, answers):
        request = f"{call.identity} and {call.method} {call.path}"
        if not status:
            findings.append(f"the gateway gave no answer to {request} ({detail})")
        elif call.allowed and (status == _REFUSED or status >= 500):
            findings.append(f"the gateway answers {status} to {request}, which the scope names")
        elif not call.allowed and status != _REFUSED:
            findings.append(f"the gateway answers {status} to {request}, which the scope does not name")
    return {
        "name": name,
        "ok": not findings,
        "findings": findings,
        "calls": [
            {
                "identity": call.identity,
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
            head = f"{call.method} {call.path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Length: 0"
            connection.sendall(f"{head}\r\n\r\n".encode("ascii"))
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
