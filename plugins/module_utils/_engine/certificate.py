# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server certificate of an engine: what is installed, what is served, and whether it still does."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._engine import checks, inspect, report
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import handshake, x509


def installed() -> dict[str, t.Any] | None:
    """The server certificate on the disk."""
    pem = _read(inspect.CERTIFICATE)
    return x509.report(x509.load_bundle(pem)[0]) if pem else None


def served(found: inspect.Engine) -> dict[str, t.Any] | None:
    """The server certificate that the daemon hands out, which is the one from its last start."""
    for address, port in report.endpoints(found):
        try:
            offer = handshake.offer(checks.reachable(address), port)
        except handshake.ProbeError:
            continue
        return x509.report(x509.load_der(offer.certificates[0]))
    return None


def reissue(ca: str, wanted: t.Sequence[str], key: str, renew_days: int) -> list[str]:
    """Why the installed certificate has to be replaced, one phrase each; empty where it serves."""
    pem = _read(inspect.CERTIFICATE)
    if not pem:
        return ["there is no server certificate yet"]
    try:
        private = inspect.PRIVATE_KEY.read_bytes()
    except FileNotFoundError:
        return [f"{inspect.PRIVATE_KEY} is missing"]
    certificate = x509.load_bundle(pem)[0].certificate
    reasons = [] if x509.key_matches(pem, private) else [f"it does not match {inspect.PRIVATE_KEY}"]
    if ca:
        # The first certificate of the bundle signs; the others are trusted for what they signed before.
        reasons += x509.problems(pem, x509.load_bundle(ca)[0].pem, "server", wanted)
    has = x509.key_label(certificate)
    if has != key:
        reasons.append(f"its key is {has} instead of {key}")
    days = x509.days_left(certificate)
    if days <= renew_days:
        reasons.append(f"{days} days are left, {renew_days} or fewer are reason to renew it")
    return reasons


def findings(found: inspect.Engine, bundle: str = "") -> list[str]:
    """What is not as it must be on an engine that the collection secures, one sentence each.

    ``bundle`` is the trust bundle that the engine has to have; empty where that does not matter.
    """
    ca, certificate = _read(inspect.CA), _read(inspect.CERTIFICATE)
    listens = report.endpoints(found)
    if not ca or not certificate:
        return [f"{inspect.TLS_DIR} holds no certificate: the engine was not secured yet"]
    if not listens:
        return [f"{inspect.DAEMON_JSON} names no TLS endpoint"]
    problems: list[str] = []
    if inspect.JOURNAL.exists():
        problems.append(f"{inspect.JOURNAL} is there: a change was interrupted, the next run undoes it")
    if bundle and {entry.pem for entry in x509.load_bundle(ca)} != {entry.pem for entry in x509.load_bundle(bundle)}:
        problems.append(f"{inspect.CA} is not the trust bundle of the CA host")
    for port in {port for _, port in listens}:
        addresses = [address for address, listens_on in listens if listens_on == port]
        problems += checks.findings(found.api, addresses, port, ca, certificate)
    return problems


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
