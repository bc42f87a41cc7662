# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification on the engine itself: endpoints serve our certificate, to clients of our CA alone."""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import api as _api
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import handshake, x509

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def findings(
    api: _api.LocalApi, listen: t.Iterable[str], port: int, ca: str, certificate: str, timeout: float = 5
) -> list[str]:
    """One sentence for each thing that failed verification; empty where nothing did."""
    found = [] if api.answers() else [f"{api.path} does not answer"]
    return found + endpoint_findings(listen, port, ca, certificate, timeout)


def endpoint_findings(listen: t.Iterable[str], port: int, ca: str, certificate: str, timeout: float = 5) -> list[str]:
    """The same of the endpoints alone, whoever serves them."""
    return [finding for address in listen for finding in _endpoint(reachable(address), port, ca, certificate, timeout)]


def reachable(address: str) -> str:
    """The address at which this host reaches a listener of its own."""
    return _LOOPBACK.get(address, address)


def _endpoint(host: str, port: int, ca: str, certificate: str, timeout: float) -> list[str]:
    where = inspect.listen_host(host, port)
    try:
        server = handshake.read_handshake(host, port, timeout)
    except handshake.ProbeError as error:
        return [f"{where} does not speak TLS ({error})"]
    found = []
    if not server.certificates or server.certificates[0] != x509.der(certificate):
        found.append(f"{where} serves another certificate than the installed one")
    ours = {entry.subject_der for entry in x509.load_bundle(ca)}
    if server.acceptable_cas is None:
        found.append(f"{where} does not ask for a client certificate")
    elif set(server.acceptable_cas) != ours:
        names = ", ".join(handshake.readable_name(name) for name in server.acceptable_cas) or "every CA of the system"
        found.append(f"{where} accepts clients of {names} instead of our CA alone")
    for files, who in (
        (None, "without a certificate"),
        ((str(inspect.CERTIFICATE), str(inspect.PRIVATE_KEY)), "with the server's certificate"),
    ):
        answer = handshake.try_client(host, port, client=files, timeout=timeout)
        if answer.outcome != "refused":
            found.append(f"{where} does not refuse a client {who} ({answer.outcome}: {answer.detail})")
    plain = handshake.plain_http(host, port, timeout)
    if plain.outcome == "open":
        found.append(f"{where} answers plain HTTP")
    return found
