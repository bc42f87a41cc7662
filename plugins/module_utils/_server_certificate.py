# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server certificate of an engine: what is installed, what is served, and whether it still does."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import (
    _engine,
    _engine_report,
    _proof,
    _tls_probe,
    _x509,
)


def installed() -> dict[str, t.Any] | None:
    """The server certificate on the disk."""
    pem = _read(_engine.CERTIFICATE)
    return _x509.report(_x509.load_bundle(pem)[0]) if pem else None


def served(found: _engine.Engine) -> dict[str, t.Any] | None:
    """The server certificate that the daemon hands out, which is the one from its last start."""
    for address, port in _engine_report.endpoints(found):
        try:
            offer = _tls_probe.offer(_proof.reachable(address), port)
        except _tls_probe.ProbeError:
            continue
        return _x509.report(_x509.load_der(offer.certificates[0]))
    return None


def reissue(ca: str, wanted: t.Sequence[str], key: str, renew_days: int) -> list[str]:
    """Why the installed certificate has to be replaced, one phrase each; empty where it serves."""
    pem = _read(_engine.CERTIFICATE)
    if not pem:
        return ["there is no server certificate yet"]
    try:
        private = _engine.PRIVATE_KEY.read_bytes()
    except FileNotFoundError:
        return [f"{_engine.PRIVATE_KEY} is missing"]
    certificate = _x509.load_bundle(pem)[0].certificate
    reasons = [] if _x509.key_matches(pem, private) else [f"it does not match {_engine.PRIVATE_KEY}"]
    if ca:
        # The first certificate of the bundle signs; the others are trusted for what they signed before.
        reasons += _x509.problems(pem, _x509.load_bundle(ca)[0].pem, "server", wanted)
    has = _x509.key_label(certificate)
    if has != key:
        reasons.append(f"its key is {has} instead of {key}")
    days = _x509.days_left(certificate)
    if days <= renew_days:
        reasons.append(f"{days} days are left, {renew_days} or fewer are reason to renew it")
    return reasons


def findings(found: _engine.Engine, bundle: str = "") -> list[str]:
    """What is not as it must be on an engine that the collection secures, one sentence each.

    ``bundle`` is the trust bundle that the engine has to have; empty where that does not matter.
    """
    ca, certificate = _read(_engine.CA), _read(_engine.CERTIFICATE)
    listens = _engine_report.endpoints(found)
    if not ca or not certificate:
        return [f"{_engine.TLS_DIR} holds no certificate: the engine was not secured yet"]
    if not listens:
        return [f"{_engine.DAEMON_JSON} names no TLS endpoint"]
    problems: list[str] = []
    if _engine.JOURNAL.exists():
        problems.append(f"{_engine.JOURNAL} is there: a change was interrupted, the next run undoes it")
    if bundle and {entry.pem for entry in _x509.load_bundle(ca)} != {entry.pem for entry in _x509.load_bundle(bundle)}:
        problems.append(f"{_engine.CA} is not the trust bundle of the CA host")
    for port in {port for _, port in listens}:
        addresses = [address for address, listens_on in listens if listens_on == port]
        problems += _proof.findings(found.api, addresses, port, ca, certificate)
    return problems


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
