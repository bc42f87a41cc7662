# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run ends with: a row for each engine and identity, what is wrong, and what to do next.

The results come from hosts. A value that makes no sense is a finding of its host and never ends the report.
"""

from __future__ import annotations

import dataclasses
import textwrap
import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import listed

Values = t.Mapping[str, t.Any]
Row = dict[str, t.Any]

WIDTH = 100
_MOST_FINDINGS = 20
_LONGEST = 300
_SOON = 30  # days


@dataclasses.dataclass(frozen=True)
class Report:
    rows: list[Row]
    problems: list[str]
    summary: str
    lines: list[str]


@dataclasses.dataclass
class _Answer:
    """What one host has said, read with the types that it should have."""

    values: Values
    findings: list[str]

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if value is None or isinstance(value, (str, int, float)):
            return clean(value)
        self.findings.append(f"its {name} is no text")
        return ""

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            self.findings.append(f"its {name} is neither true nor false")
        return value is True

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**6):
            return value
        self.findings.append(f"its {name} is {clean(value)[:20]!r} and no number of days")
        return None

    def entries(self, name: str) -> list[t.Any]:
        value = self.values.get(name) or []
        if isinstance(value, (list, tuple)):
            return list(value)[:_MOST_FINDINGS]
        self.findings.append(f"its {name} is no list")
        return []


def make(plan: Values, engines: t.Any, clients: t.Any, ca: t.Any) -> Report:
    """The report of a run. ``plan`` is the run's own; the others are what hosts have answered, by their names."""
    check = bool(plan["check_mode"])
    said_by_engines, said_by_clients = _by_host(engines), _by_host(clients)
    rows = [
        _engine(name, plan, said_by_engines.get(name))
        for name in plan["engines"]
        if name in plan["asked"]["engines"] or name in said_by_engines
    ]
    for name in plan["clients"]:
        if name in plan["asked"]["clients"] or name in said_by_clients:
            rows += _client(name, said_by_clients.get(name), check)
    rows += [*_ended(plan, check), *_left_behind(plan), *_elsewhere(plan, ca)]
    rows += _ca(plan, ca)
    with_groups = bool(plan["ca"]["groups"])
    rows = [{key: row.get(key, "") for key in ("access", *row) if key != "access" or with_groups} for row in rows]
    # A host that failed as an engine and as a client has one sentence.
    problems = list(dict.fromkeys(f"{row['name']}: {'; '.join(row['findings'])}." for row in rows if row["findings"]))
    summary = _summary(rows, check)
    lines = [*_tables(rows, check), "", *_access(plan, ca), *_ends(plan), *_left_out(plan)]
    lines += [
        *_still_valid(plan, ca),
        *_unknown(ca),
        *_ending_elsewhere(rows),
        *_problem_lines(problems),
        *_next(plan, rows, problems),
    ]
    return Report(rows, problems, summary, [*lines, "", *textwrap.wrap(summary, WIDTH)])


def clean(value: t.Any) -> str:
    """Text of a host on one line, without anything that a terminal would act on."""
    text = "" if value is None else str(value)[: 4 * _LONGEST]
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return textwrap.shorten(" ".join(words), _LONGEST, placeholder=" ...")


def _by_host(results: t.Any) -> dict[str, t.Any]:
    return {str(name): said for name, said in results.items()} if isinstance(results, t.Mapping) else {}


def _answer(said: t.Any) -> tuple[_Answer, str]:
    """A host's answer, and why it cannot be used where it cannot."""
    if said is None:
        return _Answer({}, []), "it was not asked, because something failed before or --limit leaves it out"
    if not isinstance(said, t.Mapping):
        return _Answer({}, []), "its answer is no dictionary"
    answer = _Answer(said, [])
    if not answer.flag("reachable", True):
        return answer, "it cannot be reached"
    return answer, answer.text("failed").rstrip(".")


def _state(failure: str, findings: t.Sequence[str], changed: bool, check: bool) -> str:
    if failure or findings:
        return "FAILED"
    if changed:
        return "would change" if check else "changed"
    return "ok"


def _findings(failure: str, answer: _Answer, check: bool) -> list[str]:
    """The failure, the findings, and what is still due; a run that changes nothing leaves that to the next."""
    found = [failure] if failure else [clean(entry).rstrip(".") for entry in answer.entries("findings")]
    if not failure and not check:
        found += [clean(entry).rstrip(".") for entry in answer.entries("reasons")]
    return list(dict.fromkeys(entry for entry in [*found, *answer.findings] if entry))


def _engine(name: str, plan: Values, said: t.Any) -> Row:
    check = plan["check_mode"]
    answer, failure = _answer(said)
    removed = name in plan["remove"]["engines"] and not failure and not check
    version, days, changed = answer.text("version"), answer.number("days_left"), answer.flag("changed")
    findings = _findings(failure, answer, check)
    return {
        "kind": "engine",
        "name": name,
        "host": name,
        "access": ", ".join(groups.access_of(plan["engines"][name])),
        "version": version,
        "endpoint": "" if removed else plan["engines"][name]["host"],
        "changed": changed,
        "days_left": days,
        "state": _state(failure, findings, changed, check),
        "findings": findings,
    }


def _client(name: str, said: t.Any, check: bool) -> list[Row]:
    answer, failure = _answer(said)
    changed, contexts = answer.flag("changed"), answer.number("contexts")
    identities = answer.entries("identities")
    findings = _findings(failure, answer, check)
    if failure or not identities:
        return [_identity_row(name, name, "", None, contexts, changed, findings, failure, check)]
    rows = []
    for entry in identities:
        if not isinstance(entry, t.Mapping):
            rows.append(
                _identity_row(name, name, "", None, contexts, changed, ["an identity is no dictionary"], "", check)
            )
            continue
        identity = _Answer(entry, [])
        who, user, days = identity.text("name"), identity.text("user"), identity.number("days_left")
        found = [*findings, *_findings("", identity, check)]
        if identity.flag("ca_outdated") and not check:
            found.append("it does not hold the trust bundle of the CA host")
        row = _identity_row(f"{who}@{name}", name, user, days, contexts, changed, found, "", check)
        rows.append({**row, "access": identity.text("access")})
    return rows


def _ended(plan: Values, check: bool) -> list[Row]:
    """The identities that have ended, of which the run has asked nothing."""
    return [
        {
            **_identity_row(f"{identity['name']}@{host}", host, identity["user"], None, None, False, [], "", check),
            "access": ", ".join(groups.access_of(identity)),
            "state": "ended",
        }
        for host in plan["asked"]["clients"]
        for identity in plan["clients"][host]["identities"]
        if identity["ended"] and plan["playbook"] != "remove"
    ]


def _ends(plan: Values) -> list[str]:
    """The days on which identities end, or have ended."""
    days = {
        ended: {
            identity["name"]: identity["expires"]
            for client in plan["clients"].values()
            for identity in client["identities"]
            if identity["expires"] and identity["ended"] is ended
        }
        for ended in (False, True)
    }
    said = {ended: listed([f"{name} ({day})" for name, day in found.items()], 20) for ended, found in days.items()}
    lines = _wrapped(f"Identities with an end: {said[False]}") if days[False] else []
    if days[True]:
        gone = "They have no certificate, SSH account, key or context any more."
        if plan["playbook"] != "site":
            gone = "They get no certificate any more, and bulkhead.docker.site removes what they have."
        lines += _wrapped(f"Ended: {said[True]}. {gone} Take them out of docker_client_identities.")
    return lines


def _left_behind(plan: Values) -> list[Row]:
    """What docker_rotate_exclude keeps from a revocation, which has not ended for it."""
    name = plan["revoke"]["name"]
    if plan["playbook"] != "revoke_client" or plan["revoke"]["state"] != "present":
        return []
    advice = "bring it back and run bulkhead.docker.site, or take the host out of the inventory for good"
    if not plan["revoke"]["by_rotation"]:
        advice = "run the playbook again without docker_rotate_exclude, or take the host out of the inventory for good"
    of_engine = f"it was left out and lets {name} in as before; {advice}"
    of_client = f"it was left out and keeps the key of {name}; {advice}"
    excluded = plan["rotate"]["exclude"]
    engines = [_engine(host, plan, {"findings": [of_engine]}) for host in plan["engines"] if host in excluded]
    clients = [_client(host, {"findings": [of_client]}, False) for host in plan["clients"] if host in excluded]
    return [*engines, *(row for rows in clients for row in rows)]


def _elsewhere(plan: Values, ca: t.Any) -> list[Row]:
    """Identities that no client host of the inventory has: exported ones, and those of hosts that are gone."""
    if not isinstance(ca, t.Mapping) or plan["playbook"] == "remove":
        return []
    rows = []
    for entry in _Answer(ca, []).entries("elsewhere"):
        name, days = clean(entry["name"]), entry["days_left"]
        row = _identity_row(name, plan["ca"]["host"], "", days, None, False, [], "", False)
        rows.append({**row, "state": "exported" if entry["exported"] else "elsewhere"})
    return rows


def _ending_elsewhere(rows: t.Sequence[Row]) -> list[str]:
    """No run renews them, so somebody has to."""
    soon = {
        state: [f"{row['name']} ({row['days_left']} days)" for row in rows if _ends_soon(row, state)]
        for state in ("exported", "elsewhere")
    }
    lines = []
    if soon["exported"]:
        lines += _wrapped(
            f"Exported identities that end soon: {listed(soon['exported'], 20)}. Export those anew that are in use: "
            "bulkhead.docker.export_identity."
        )
    if soon["elsewhere"]:
        lines += _wrapped(
            f"Identities that no host of this inventory has, and that end soon: {listed(soon['elsewhere'], 20)}. Run "
            "bulkhead.docker.renew with an inventory that has their hosts."
        )
    return lines


def _ends_soon(row: Row, state: str) -> bool:
    return bool(row["state"] == state and row["days_left"] < _SOON)


def _identity_row(
    name: str,
    host: str,
    user: str,
    days: int | None,
    contexts: int | None,
    changed: bool,
    findings: t.Sequence[str],
    failure: str,
    check: bool,
) -> Row:
    return {
        "kind": "identity",
        "name": name,
        "host": host,
        "user": user,
        "contexts": contexts,
        "changed": changed,
        "days_left": days,
        "state": _state(failure, findings, changed, check),
        "findings": list(dict.fromkeys(findings)),
    }


def _ca(plan: Values, said: t.Any) -> list[Row]:
    """The CA, where the run has read it. What it signs ends with it at the latest."""
    planned, would_replace = plan["ca"], plan["playbook"] == "rotate_ca" and plan["check_mode"]
    if not isinstance(said, t.Mapping) or not said.keys() - {"replaced"}:
        return []
    groups_said = [(one, f" -e docker_rotate_groups={one.get('group')}") for one in said.get("groups") or ()]
    return [_authority(one, planned, would_replace, option) for one, option in [(said, ""), *groups_said]]


def _authority(said: Values, planned: Values, would_replace: bool, option: str) -> Row:
    answer = _Answer(said, [])
    name, days = answer.text("common_name") or "CA", answer.number("days_left")
    findings = [*(clean(entry).rstrip(".") for entry in answer.entries("findings")), *answer.findings]
    if days is not None and days < planned["minimum_days"] and not would_replace:
        advice = f"replace it with the playbook bulkhead.docker.rotate_ca{option}"
        if planned["issue_tasks"]:
            advice = "put its successor behind it in docker_ca_existing_certificate"
        findings.append(
            f"it ends in {days} days, less than docker_ca_minimum_days ({planned['minimum_days']}), and every "
            f"certificate with it; {advice}"
        )
    return {
        "kind": "ca",
        "name": name,
        "host": planned["host"],
        "changed": False,
        "days_left": days,
        "state": _state("", findings, False, False),
        "findings": findings,
    }


def _summary(rows: t.Sequence[Row], check: bool) -> str:
    """All of it in one line."""
    kinds = [("engine", "engine", "engines"), ("identity", "identity", "identities")]
    counts = [(sum(row["kind"] == kind for row in rows), one, many) for kind, one, many in kinds]
    changed = list(dict.fromkeys(row["host"] for row in rows if row["changed"]))
    ends = [(row["days_left"], row["name"]) for row in rows if row["days_left"] is not None]
    failed = list(dict.fromkeys(row["name"] for row in rows if row["findings"]))
    first = min(ends, default=None)
    return "; ".join(
        [
            ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts),
            f"{'to be changed' if check else 'changed'}: {listed(changed)}" if changed else "nothing to change",
            f"the first certificate ends in {first[0]} days ({first[1]})" if first else "no certificate was read",
            f"FAILED: {listed(failed, 20)}" if failed else "no problems",
        ]
    )


def _tables(rows: t.Sequence[Row], check: bool) -> list[str]:
    engines = [
        [row["name"], *_groups(row), row["version"] or "-", row["endpoint"] or "-", _days(row), row["state"]]
        for row in rows
        if row["kind"] == "engine"
    ]
    identities = [
        [row["name"], *_groups(row), row["user"] or "-", _count(row["contexts"]), _days(row), row["state"]]
        for row in rows
        if row["kind"] == "identity"
    ]
    access = ["ACCESS"] if any("access" in row for row in rows) else []
    authorities = [[row["name"], row["host"], _days(row), row["state"]] for row in rows if row["kind"] == "ca"]
    tables = [
        _table(["ENGINE", *access, "DOCKER", "ENDPOINT", "DAYS LEFT", "STATE"], engines),
        _table(["IDENTITY", *access, "USER", "CONTEXTS", "DAYS LEFT", "STATE"], identities),
        _table(["CA", "ON", "DAYS LEFT", "STATE"], authorities),
    ]
    lines: list[str] = []
    for table in filter(None, tables):
        lines += ["", *table] if lines else table
    return ["In check mode, nothing was changed:", *lines] if check else lines


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    """Columns as wide as what is in them; what is too wide for the page is cut, the widest column first."""
    if not body:
        return []
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH:
        widths[widths.index(max(widths))] -= 1
    return ["  ".join(_cell(text, width) for text, width in zip(line, widths)).rstrip() for line in [head, *body]]


def _cell(text: str, width: int) -> str:
    return (text if len(text) <= width else f"{text[: width - 3]}...").ljust(width)


def _groups(row: Row) -> list[str]:
    """Its access groups, where there is more than the one for all."""
    return [row["access"] or "-"] if "access" in row else []


def _days(row: Row) -> str:
    return _count(row["days_left"])


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _access(plan: Values, ca: t.Any) -> list[str]:
    """Who may get in over SSH, as the plan has it: the same accounts on many engines are said once."""
    if plan["playbook"] == "remove":
        return []
    revoked = _Answer(ca, []).entries("revoked") if isinstance(ca, t.Mapping) else []
    of_clients = [
        identity
        for client in plan["clients"].values()
        if "ssh" in client["transports"]
        for identity in client["identities"]
        if identity["name"] not in revoked and not identity["ended"]
    ]
    engines: dict[tuple[str, ...], list[str]] = {}
    for name, engine in plan["engines"].items():
        if name in plan["rotate"]["exclude"] or not engine["ssh"]["enabled"]:
            continue
        declared = [user["name"] for user in engine["ssh"]["users"] if user["state"] != "absent"]
        let_in = [identity["ssh_account"] for identity in of_clients if groups.opens(identity, engine)]
        accounts = tuple(dict.fromkeys([*let_in, *declared]))
        if accounts:
            engines.setdefault(accounts, []).append(name)
    return [
        line
        for accounts, names in engines.items()
        for line in _wrapped(
            f"SSH accounts on {'all engines' if len(names) == len(plan['engines']) else listed(names)}: "
            f"{listed(accounts, 20)}"
        )
    ]


def _problem_lines(problems: t.Sequence[str]) -> list[str]:
    return ["Problems:", *(line for problem in problems for line in _wrapped(f"- {problem}"))] if problems else []


def _left_out(plan: Values) -> list[str]:
    """Who asked for it knows, and whoever reads the report later has to."""
    names = [name for name in plan["rotate"]["exclude"] if name not in plan["rotate"]["unconcerned"]]
    if not names:
        return []
    return _wrapped(
        f"Left out (docker_rotate_exclude): {listed(names)}. Engines among them trust the CA that they did before, and "
        "let in the same accounts; nothing was taken from anybody there."
    )


def _still_valid(plan: Values, ca: t.Any) -> list[str]:
    """What a revocation cannot end: no release of dockerd reads a revocation list."""
    answer = _Answer(ca if isinstance(ca, t.Mapping) else {}, [])
    count, engines, revoke = answer.number("still_valid"), answer.entries("still_open"), plan["revoke"]
    if plan["playbook"] != "revoke_client" or revoke["state"] != "present" or not count or not engines:
        return []
    end = "docker_revoke_by_rotation=true ends that now."
    if plan["ca"]["issue_tasks"]:
        end = "Let another CA follow the one that has issued them (docs/pki.md), which ends that."
    return _wrapped(
        f"Engines still accept {count} certificates of {revoke['name']}, because dockerd reads no revocation list and "
        f"no gateway has refused them on {listed(engines)}: whoever has a copy of the key gets in there until they "
        f"expire. {end}"
    )


def _unknown(ca: t.Any) -> list[str]:
    """What the run has left to those whom the CA's record has and the inventory has not."""
    notes = [ca.get("note"), ca.get("replaced")] if isinstance(ca, t.Mapping) else []
    return [line for note in notes if isinstance(note, str) and note for line in _wrapped(note)]


def _next(plan: Values, rows: t.Sequence[Row], problems: t.Sequence[str]) -> list[str]:
    playbook, check = plan["playbook"], plan["check_mode"]
    if problems:
        advice = f"Repair what is named above and run bulkhead.docker.{playbook} again."
    elif check:
        changes = playbook == "rotate_ca" or plan["revoke"]["by_rotation"] or any(row["changed"] for row in rows)
        advice = "Run it without --check to make these changes." if changes else "There is nothing to do."
    elif playbook == "site":
        advice = _first_steps(plan)
    elif playbook == "renew":
        advice = "Nothing; run bulkhead.docker.renew again within a week."
    else:
        advice = ""
    return _wrapped(f"Next: {advice}") if advice else []


def _first_steps(plan: Values) -> str:
    verifier = plan["verifier"]
    over_tls = bool(verifier) and "tls" in verifier["transports"]
    opened = [engine for engine in plan["engines"].values() if verifier and groups.opens(verifier, engine)]
    engine = next((engine for engine in opened if over_tls or engine["ssh"]["enabled"]), None)
    if not verifier or not engine:
        return "Run bulkhead.docker.renew every week."
    client = plan["clients"][verifier["host"]]
    users = [identity["user"] for identity in client["identities"]]
    several = users.count(verifier["user"]) > 1
    pattern = client["context_name"] or ("{engine}-{identity}" if several else "{engine}")
    context = pattern.replace("{engine}", engine["context"]).replace("{identity}", verifier["identity"])
    suffix = "" if over_tls else "-ssh"
    who = f"{verifier['user'] or verifier['connects_as'] or 'the connecting user'} on {verifier['host']}"
    return f"docker --context {context}{suffix} ps (as {who}), and run bulkhead.docker.renew every week."


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
