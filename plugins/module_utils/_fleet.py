# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a whole fleet's reports say together: who does not follow the CA, and how long all certificates last."""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users

Vars = t.Mapping[str, t.Any]
HostVars = t.Mapping[str, Vars]
Row = dict[str, t.Any]


def rows(names: t.Mapping[str, t.Sequence[str]], hostvars: HostVars, present: t.Collection[str]) -> list[Row]:
    """One for each engine and identity: its name, the days that are left of it, and what is wrong with it.

    ``names`` are the ``engines`` and ``clients`` to look at, ``present`` the hosts that have not failed in this run.
    """
    found = []
    for kind, judge in (("engines", _engine), ("clients", _client)):
        for name in names[kind]:
            values = hostvars[name] if name in present else {}
            failure = str(((values.get("fleet_failure") or {}).get("msg")) or "")
            if name not in present:
                found.append(_row(name, ["it could not be asked, or something failed there before"]))
            elif failure:
                found.append(_row(name, [failure]))
            else:
                found += judge(name, values)
    return found


def due(names: t.Sequence[str], hostvars: HostVars, kind: str, force: bool) -> list[str]:
    """The hosts on which something that exists has to be renewed; what was never made is not for a renewal to make."""
    is_due = {"engines": _engine_due, "clients": _client_due}[kind]
    said = {name: hostvars[name] for name in names if name in hostvars}
    return [name for name, values in said.items() if not values.get("fleet_failure") and is_due(values, force)]


def renewed(names: t.Sequence[str], hostvars: HostVars) -> list[str]:
    """The hosts for which the playbook has said that something is renewed."""
    said = ("fleet_renewed_identities", "fleet_renewed_engine")
    return [name for name in names if any((hostvars[name].get(word) or {}).get("msg") for word in said)]


def ssh_accounts(
    name: str, clients: t.Sequence[str], engines: t.Sequence[str], hostvars: HostVars
) -> dict[str, list[str]]:
    """The accounts that an identity of that name logs in to: ``alone``, and those that are ``shared``.

    Others may use them, too: identities of other names, or whoever the inventory declares for the account.
    """
    users: dict[str, set[str]] = {}
    for client in clients:
        for identity in hostvars[client].get("docker_client_identities") or [{"name": "admin"}]:
            users.setdefault(_users.account(identity), set()).add(identity["name"])
    declared = {
        user["name"]
        for engine in engines
        if engine in hostvars
        for user in hostvars[engine].get("docker_ssh_users") or []
    }
    theirs = {account for account, names in users.items() if name in names} or {_users.account({"name": name})}
    shared = {account for account in theirs if users.get(account, set()) - {name} or account in declared}
    return {"alone": sorted(theirs - shared), "shared": sorted(shared)}


def _engine_due(values: Vars, force: bool) -> bool:
    report = values.get("docker_engine_report") or {}
    return bool(report.get("certificate") and (force or report["renewal_reasons"] or report["findings"]))


def _client_due(values: Vars, force: bool) -> bool:
    return any(
        identity["days_left"] is not None and (force or identity["reasons"] or identity["ca_outdated"])
        for identity in _identities(values) or ()
    )


def _identities(values: Vars) -> t.Sequence[Vars] | None:
    """None where the host was not asked or did not answer."""
    found = (values.get("docker_client_report") or {}).get("msg")
    return found if isinstance(found, (list, tuple)) else None


def _row(name: str, problems: t.Sequence[str], days: t.Sequence[t.Any] = ()) -> Row:
    return {"name": name, "days": min((int(day) for day in days if day is not None), default=None), "wrong": problems}


def _engine(name: str, values: Vars) -> list[Row]:
    report = values.get("docker_engine_report") or {}
    if "engine" not in report:
        return [_row(name, [str(report.get("msg") or "it did not answer").strip().rstrip(".")])]
    installed, served = report.get("certificate") or {}, report.get("served_certificate") or {}
    wrong = [*(report.get("renewal_reasons") or []), *(report.get("findings") or [])]
    if not report.get("cryptography"):
        wrong.append("Python's cryptography library is missing there")
    row = _row(name, wrong, [installed.get("days_left"), served.get("days_left")])
    return [{**row, "installed": installed.get("days_left"), "served": served.get("days_left")}]


def _client(name: str, values: Vars) -> list[Row]:
    identities = _identities(values)
    if identities is None:
        return [_row(name, ["it did not answer"])]
    found = []
    for identity in identities:
        wrong = list(identity["reasons"])
        if identity["ca_outdated"]:
            wrong.append("it does not hold the trust bundle of the CA host")
        who = f"{identity['name']}@{name}"
        found.append({**_row(who, wrong, [identity["days_left"]]), "installed": identity["days_left"]})
    return found


def lines(found: t.Sequence[Row]) -> list[str]:
    """One line for each certificate, those that end first at the top."""
    result = []
    for row in sorted(found, key=lambda row: -1 if row["days"] is None else row["days"]):
        days = f"{row.get('installed')} days on disk" if row.get("installed") is not None else "no certificate seen"
        if row.get("served") is not None:
            days += f", {row['served']} as served"
        result.append(f"{row['name']}: {days}" + (f" ({'; '.join(row['wrong'])})" if row["wrong"] else ""))
    return result


def wrong(found: t.Sequence[Row]) -> list[str]:
    """A sentence for each that is not as it must be, and one for a host that failed as an engine and as a client."""
    return list(dict.fromkeys(f"{row['name']}: {'; '.join(row['wrong'])}" for row in found if row["wrong"]))


def summary(found: t.Sequence[Row], renewed: t.Sequence[str], check: bool = False) -> str:
    """All of it in one line."""
    known = [row for row in found if row["days"] is not None]
    first = min(known, key=lambda row: t.cast("int", row["days"]), default=None)
    bad = dict.fromkeys(row["name"] for row in found if row["wrong"])
    return "; ".join(
        [
            f"{len(found)} certificates",
            f"{'to be renewed' if check else 'renewed'} on {', '.join(renewed)}" if renewed else "nothing was due",
            f"the first ends in {first['days']} days ({first['name']})" if first else "none could be read",
            f"NOT AS IT MUST BE: {', '.join(bad)}" if bad else "all as they must be",
        ]
    )
