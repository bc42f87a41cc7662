# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run has registered for each host, as the report takes it. Any of it may be missing or make no sense."""

from __future__ import annotations

import typing as t

Values = t.Mapping[str, t.Any]
Record = dict[str, t.Any]


def engine(results: Values, check: bool, phase: str = "") -> Record | None:
    """What is known of an engine; None where it was not asked.

    ``docker_engine_preview`` is the transaction without a change, ``docker_engine_change`` the one with it. In a
    ``phase`` of a rotation the preview is made anew after the change, and counts alone.
    """
    preview, change = _mapping(results, "docker_engine_preview"), _mapping(results, "docker_engine_change")
    report = _mapping(results, "docker_engine_report")
    failure = results.get("docker_failure") or ""
    if not (preview or change or report or failure):
        return None
    last = preview if phase or not change else change
    done = not phase and change.get("changed") is True and not change.get("failed")
    found: Record = {
        "reachable": not any(answer.get("unreachable") for answer in (last, report)),
        "failed": failure or _message(last) or _message(report),
        "changed": bool(check and preview.get("would_change")) or (change.get("changed") or False),
        "version": last.get("version") or _mapping(report, "engine").get("version"),
        "days_left": _mapping(last or report, "certificate").get("days_left"),
        "findings": [*_entries(report, "findings"), *_entries(results, "docker_verify_findings")],
        "reasons": [] if done else [*_entries(preview, "certificate_reasons"), *_entries(report, "renewal_reasons")],
    }
    if preview.get("would_change") and not done and not found["reasons"]:
        found["reasons"] = ["it is not yet as it shall be"]
    return found


def client(results: Values) -> Record | None:
    """What is known of a client host; None where it was not asked."""
    report = _mapping(results, "docker_client_report")
    written = [entry for entry in _entries(_mapping(results, "docker_client_contexts"), "results") if _is(entry)]
    failure = results.get("docker_failure") or ""
    if not (report or written or failure):
        return None
    return {
        "reachable": not report.get("unreachable"),
        "failed": failure,
        "changed": any(entry.get("changed") is True for entry in written),
        "contexts": sum(len(_entries(entry, "contexts")) for entry in written) if written else None,
        "identities": _entries(report, "identities"),
        "findings": _entries(report, "failures"),
    }


def ca(results: Values) -> Record:
    """The certificate of the CA that signs."""
    certificates = _entries(_mapping(results, "docker_ca_state"), "certificates")
    signing: Values = next((entry for entry in certificates if _is(entry) and entry.get("role") == "signing"), {})
    return {name: signing[name] for name in ("common_name", "days_left") if name in signing}


def _is(value: t.Any) -> bool:
    return isinstance(value, t.Mapping)


def _mapping(values: Values, name: str) -> Values:
    value = values.get(name)
    return value if isinstance(value, t.Mapping) else {}


def _entries(values: Values, name: str) -> list[t.Any]:
    value = values.get(name)
    return list(value) if isinstance(value, (list, tuple)) else []


def _message(answer: Values) -> t.Any:
    return (answer.get("msg") or "it failed without a message") if answer.get("failed") else ""
