# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run has collected about its hosts, read from the variables that its tasks have registered.

docker_report takes it at the end, and a rotation asks it who has not followed. An answer is taken for its host alone.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import due as _due
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups as _groups
from ansible_collections.bulkhead.docker.plugins.plugin_utils import handover as _handover
from ansible_collections.bulkhead.docker.plugins.plugin_utils import record as _record
from ansible_collections.bulkhead.docker.plugins.plugin_utils import replaced as _replaced
from ansible_collections.bulkhead.docker.plugins.plugin_utils import report as _report
from ansible_collections.bulkhead.docker.plugins.plugin_utils import rotation as _rotation
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import listed, unknown

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]
Plan = t.Mapping[str, t.Any]
Values = t.Mapping[str, t.Any]
Record = dict[str, t.Any]

# By kind of host, what the roles register there; of the engines, the last change first.
_REGISTERED = {
    "engines": (
        "docker_engine_removed",
        "docker_engine_change",
        "docker_engine_report",
        "docker_engine_preview",
        "docker_ssh_server",
    ),
    "clients": ("docker_client_removed", "docker_client_contexts", "docker_client_ssh", "docker_client_report"),
}
_NEVER_SET_UP = "it was never set up, which is for the playbook bulkhead.docker.site to do"


def results(plan: Plan, hostvars: Hostvars) -> Record:
    """What is known of every host at the end of a run, as docker_report takes it, and what playbooks decide from it."""
    ca = _ca_state(plan, hostvars)
    beside = _records_beside(hostvars)
    of_ca = hostvars.get(plan["ca"]["host"], {})
    hostvars = _of_each(plan, hostvars)
    known = collected(plan, hostvars)
    everybody: dict[str, list[str]] = plan["asked"]
    rotated = _groups.rotated(plan, ca, of_ca)
    concerned = {
        kind: [name for name in names if _groups.concerned(plan, kind, name, rotated)]
        for kind, names in everybody.items()
    }
    unanswered = _each(concerned, hostvars, known, _trouble)
    issued = [entry for _group, entry in _groups.issued(ca)]
    replaced = _replaced.sentence(plan, hostvars, [*issued, *beside])
    rotation = _rotation.rotation(plan, ca, _each(everybody, hostvars, known, _not_ready))
    return {
        **known,
        "ca": {
            **_ca(plan, ca, of_ca, rotation, _still_open(plan, hostvars, of_ca)),
            **({"replaced": replaced} if replaced else {}),
        },
        "replaced": replaced,
        "revoked_is_known": plan["revoke"]["known"]
        or _record.has_identity(plan["revoke"]["name"], ca)
        or _has_account(plan, hostvars),
        "rotation": rotation,
        "unanswered": [*unanswered, *_record.shut_out(plan, ca, rotated)],
        "left_over": [*_each(concerned, hostvars, known, _behind), *_kept_behind(plan, hostvars, ca, rotated)],
        "not_restored": _not_restored(plan, hostvars),
        "removed": _removed(plan, hostvars),
        "without_keys": _without_keys(plan["asked"]["clients"], hostvars),
        "nobody": [*_nobody(plan, ca), *_record.still_held(plan, ca)],
    }


def due(plan: Plan, hostvars: Hostvars) -> Record:
    """What is left to do, which conditions of tasks ask for each host and so without the rest."""
    return _due.due(plan, _of_each(plan, hostvars), _ca_state(plan, hostvars))


def _of_each(plan: Plan, hostvars: Hostvars) -> dict[str, Values]:
    """Ansible puts the variables of a host together each time that it is asked for them."""
    return {name: hostvars.get(name, {}) for name in (*plan["engines"], *plan["clients"])}


def _has_account(plan: Plan, hostvars: Hostvars) -> bool:
    """Whether an engine has had an account of the identity that is revoked, so that its name is no mistake."""
    answers = [answer for name in plan["engines"] for answer in _answers(hostvars[name], "docker_ssh_server")]
    removed = [name for answer in answers for name in _entries(answer.get("removed"))]
    return any(account in removed for account in plan["revoke"]["accounts"]["own"])


def collected(plan: Plan, hostvars: Hostvars) -> dict[str, Record]:
    """Engines and clients."""
    stopped_by = next((name for name in plan["engines"] if "docker_engine_failed" in hostvars.get(name, {})), "")
    return {
        "engines": {
            name: _engine(plan, name, hostvars[name], stopped_by)
            for name in plan["engines"]
            if _was_asked(hostvars.get(name, {}), "engines")
        },
        "clients": {
            name: _client(plan["playbook"], hostvars[name])
            for name in plan["clients"]
            if _was_asked(hostvars.get(name, {}), "clients")
        },
    }


def failure(result: t.Any) -> str:
    """The sentence of a task that failed, or of those of its loop that did; '' where another host's task failed."""
    result = result if isinstance(result, t.Mapping) else {}
    looped = [entry for entry in _entries(result.get("results")) if isinstance(entry, t.Mapping)]
    entries = [entry for entry in looped if entry.get("failed") is True]
    said = [_report.clean(entry.get("msg")) or "no error message" for entry in entries or [result] if entry]
    return "; ".join(dict.fromkeys(said))


def _not_restored(plan: Plan, hostvars: Hostvars) -> list[str]:
    """Engines that this run has not given back for certain."""
    removed = {name: hostvars.get(name, {}).get("docker_engine_removed") for name in plan["engines"]}
    return [
        name
        for name, answer in removed.items()
        if name not in plan["rotate"]["exclude"]
        and (
            not isinstance(answer, t.Mapping)
            or answer.get("failed")
            or answer.get("unreachable")
            or not isinstance(answer.get("changed"), bool)
        )
    ]


def _removed(plan: Plan, hostvars: Hostvars) -> list[str]:
    """Hosts that have nothing of this collection any more for certain, and those that the inventory has no more."""
    remove, secured = plan["remove"], _not_restored(plan, hostvars)
    left = {name for name in remove["engines"] if name in secured}
    left |= {name for name in remove["engines"] if hostvars.get(name, {}).get("docker_failure")}
    left |= {*remove["clients"]} - {*_without_keys(remove["clients"], hostvars)}
    hosts = dict.fromkeys([*remove["engines"], *remove["clients"], *remove["recorded"]])
    return [name for name in hosts if name not in left]


def _without_keys(clients: t.Sequence[str], hostvars: Hostvars) -> list[str]:
    """Client hosts on which everything is removed that was to be removed."""
    answers = {name: _answers(hostvars.get(name, {}), "docker_client_removed") for name in clients}
    return [
        name
        for name in clients
        if answers[name]
        and not any(answer.get("failed") or answer.get("unreachable") for answer in answers[name])
        and not hostvars[name].get("docker_failure")
        and not hostvars[name].get("docker_client_not_removed")
    ]


def _nobody(plan: Plan, ca: Values) -> list[str]:
    """What docker_remove_hosts has, and neither the inventory nor the record of the CA."""
    known = _record.recorded_hosts(ca)
    return [
        f"docker_remove_hosts has {name!r}, which is no engine and no client, and the CA host has no record of it. "
        f"Nothing was changed. {unknown(name, [*plan['engines'], *plan['clients'], *known])}"
        for name in plan["remove"]["recorded"]
        if not {name, name[:64]} & known
    ]


def _each(
    asked: t.Mapping[str, t.Sequence[str]],
    hostvars: Hostvars,
    known: t.Mapping[str, Record],
    reason_of: t.Callable[[str, Record | None, t.Mapping[str, t.Any]], str],
) -> list[str]:
    """Hosts that the run asks, each with the reason why it is named."""
    found = []
    for kind in ("engines", "clients"):
        for name in asked[kind]:
            reason = reason_of(kind, known[kind].get(name), hostvars.get(name, {}))
            found += [f"{name}: {reason}"] if reason else []
    return found


def _trouble(kind: str, result: Record | None, variables: Values) -> str:
    """Why a host did not answer, or refuses what is planned."""
    if result is None:
        return "it was not asked"
    if not result.get("answers", result["reachable"]):
        return "it cannot be reached"
    if result["failed"]:
        return str(result["failed"]).rstrip(".")
    return "; ".join(str(failure).rstrip(".") for failure in result["failures"]) if kind == "clients" else ""


def _not_ready(kind: str, result: Record | None, variables: Values) -> str:
    """The same, and for a renewal that rotates the CA a host that it would set up."""
    trouble = _trouble(kind, result, variables)
    if trouble or result is None:
        return trouble
    entries = [result] if kind == "engines" else [one for one in result["identities"] if isinstance(one, t.Mapping)]
    is_new = any(_NEVER_SET_UP in _entries(entry.get("reasons")) for entry in entries)
    return _NEVER_SET_UP if is_new else ""


def _behind(kind: str, result: Record | None, variables: Values) -> str:
    """In a rotation: why a host has not followed into the CA's phase."""
    trouble = _trouble(kind, result, variables)
    if trouble or result is None:
        return trouble
    if kind == "engines":
        preview = variables.get("docker_engine_preview") or {}
        reasons = [*_entries(preview.get("certificate_reasons")), *_entries(preview.get("reasons"))]
        return ("; ".join(map(str, reasons)) or "it would change again") if preview.get("would_change") else ""
    identities = [entry for entry in result["identities"] if isinstance(entry, t.Mapping)]
    late = [str(entry.get("name")) for entry in identities if entry.get("reasons") or entry.get("ca_outdated")]
    return f"its identities {', '.join(late)} are not issued yet" if late else ""


def _kept_behind(plan: Plan, hostvars: Hostvars, ca: Values, rotated: t.Collection[str]) -> list[str]:
    """The same, for certificates that no run issues: those of the old CA end with it, and who has one is shut out."""
    wanted = {
        group: _wanted_of_others(plan, group, state)
        for group, state in _groups.states(ca).items()
        if group in rotated and state.get("phase") in ("reissue", "retire")
    }
    found = []
    for name in plan["asked"]["engines"] if _groups.DEFAULT in wanted else ():
        path, preview = plan["engines"][name]["certificate_path"], hostvars[name].get("docker_engine_preview")
        certificate = preview.get("certificate") if isinstance(preview, t.Mapping) else None
        follows = isinstance(certificate, t.Mapping) and certificate.get("issued_by_ca") is True
        if path and not plan["engines"][name]["server_ca"] and not follows:
            found.append(f"{name}: its certificate in {path} is not one of that CA; {wanted[_groups.DEFAULT]}")
    for name in plan["asked"]["clients"]:
        (report,) = _answers(hostvars[name], "docker_client_report") or [{}]
        for entry in _entries(report.get("identities")):
            paths = entry.get("paths") if isinstance(entry, t.Mapping) else None
            access = entry.get("access", _groups.DEFAULT) if paths else ""
            if paths and access in wanted and entry.get("issued_by_ca") is not True:
                found.append(
                    f"{name}: the certificate of {entry.get('name')} in {paths['certificate_path']} is not one of that "
                    f"CA; {wanted[access]}"
                )
    return found


def _wanted_of_others(plan: Plan, group: str, ca: Values) -> str:
    folder = plan["ca"]["dir"] if group == _groups.DEFAULT else f"{plan['ca']['dir']}/groups/{group}"
    signing: Values = next((one for one in _entries(ca.get("certificates")) if one.get("role") == "signing"), {})
    return (
        f"let whoever keeps it there replace it by one of the CA that signs now, {signing.get('subject')} (SHA-256 "
        f"{signing.get('fingerprint_sha256')}), which is the first in ca.pem in {folder} on {plan['ca']['host']}"
    )


def _was_asked(variables: Values, kind: str) -> bool:
    return "docker_failure" in variables or any(_answers(variables, name) for name in _REGISTERED[kind])


def _engine(plan: Plan, name: str, variables: Values, stopped_by: str) -> Record:
    answers = [answer for registered in _REGISTERED["engines"] for answer in _answers(variables, registered)]
    last: Values = answers[0] if answers else {}
    certificate = _first(answers, "certificate") or {}
    return {
        "reachable": not any(answer.get("unreachable") for answer in answers),
        "failed": variables.get("docker_failure") or _failure(variables),
        "changed": any(answer.get("changed") is True for answer in answers),
        "version": _first(answers, "version") or (_first(answers, "engine") or {}).get("version"),
        "days_left": None if name in plan["remove"]["engines"] else certificate.get("days_left"),
        "findings": [
            *_entries(last.get("findings")),
            *_entries(variables.get("docker_verify_findings")),
            *_without_host_key(plan, variables),
            *_trusts_others(plan, variables),
        ],
        "reasons": _still_due(plan["playbook"], last, stopped_by),
    }


def _first(answers: t.Iterable[Values], key: str) -> t.Any:
    """A change that failed was undone and says nothing, so what was gathered before it still holds."""
    return next((answer[key] for answer in answers if answer.get(key)), None)


def _failure(variables: Values) -> str:
    """Why an engine could not be verified from inside, which is no failure of its task."""
    for report in _answers(variables, "docker_engine_report"):
        if report.get("failed") or "engine" not in report:
            return str(report.get("msg") or "it gave no answer")
    return ""


def _without_host_key(plan: Plan, variables: Values) -> list[str]:
    """An engine with accounts to which no client could connect. Playbooks that only take accounts away get no key."""
    unknown = [
        answer
        for answer in _answers(variables, "docker_ssh_server")
        if _entries(answer.get("users")) and not _handover.host_keys(answer)
    ]
    if not unknown or plan["check_mode"] or plan["playbook"] != "site":
        return []
    return ["it has answered no SSH host key that clients could know it by"]


def _trusts_others(plan: Plan, variables: Values) -> list[str]:
    """In a revocation: an engine that is open, or has another CA than the present one, where the mark says nothing."""
    found = []
    for report in _answers(variables, "docker_engine_report") if plan["playbook"] == "revoke_client" else ():
        name, engine = plan["revoke"]["name"], report.get("engine")
        is_open = _entries(engine.get("hosts_without_tls")) if isinstance(engine, t.Mapping) else []
        if is_open:
            found.append(
                f"it lets {name} in like everybody, because it asks for no certificate at {listed(is_open)}; secure it "
                "with bulkhead.docker.site"
            )
        if report.get("other_cas"):
            found.append(
                f"it may let {name} in as before, because it trusts a CA that is not the present one; bring it to that "
                f"with bulkhead.docker.site: {report['other_cas']}"
            )
        elif "other_cas" not in report and isinstance(engine, t.Mapping) and engine.get("managed"):
            found.append("Python's cryptography library is missing there, so that the CA that it trusts is not known")
    return found


def _still_due(playbook: str, last: Values, stopped_by: str) -> list[t.Any]:
    """What this run should have changed and has not. A renewal is about certificates alone."""
    if not last.get("would_change") or last.get("changed"):
        return []
    certificate_reasons = _entries(last.get("certificate_reasons"))
    if playbook == "renew":
        if not last.get("certificate"):
            return [_NEVER_SET_UP]
        if not certificate_reasons:
            return ["dockerd does not run"] if last.get("running") is False else []
    if stopped_by:
        return [f"it was not changed, because {stopped_by} failed before it"]
    return certificate_reasons or _entries(last.get("reasons")) or ["it is not what the inventory says"]


def _client(playbook: str, variables: Values) -> Record:
    (report,) = _answers(variables, "docker_client_report") or [{}]
    answers = [
        answer
        for name in _REGISTERED["clients"]
        if name != "docker_client_report"
        for answer in _answers(variables, name)
    ]
    contexts = _answers(variables, "docker_client_contexts")
    # A user whose identity is being revoked can end a module as if the host were not there.
    leaving = _answers(variables, "docker_client_removed") if playbook == "revoke_client" else []
    return {
        "answers": not any(answer.get("unreachable") for answer in answers if answer not in leaving),
        "reachable": not any(answer.get("unreachable") for answer in answers),
        "failed": variables.get("docker_failure") or "",
        "changed": any(answer.get("changed") is True for answer in answers),
        "contexts": _contexts(contexts, report),
        "identities": _identities(playbook, _entries(report.get("identities"))),
        "failures": _entries(report.get("failures")),
        "findings": [*_entries(report.get("failures")), *filter(None, [variables.get("docker_client_not_removed")])],
    }


def _contexts(written: t.Sequence[Values], report: Values) -> int | None:
    """Their number; None where they were neither written nor found to be right."""
    if written:
        return sum(len(_entries(answer.get("contexts"))) for answer in written)
    return len(_entries(report.get("contexts"))) if report.get("contexts_right") is True else None


def _identities(playbook: str, found: list[t.Any]) -> list[t.Any]:
    """A renewal sets no host up, where there is no identity yet."""
    known = [entry for entry in found if isinstance(entry, t.Mapping)]
    if playbook != "renew" or any(entry.get("exists") for entry in known):
        return found
    return [{**entry, "reasons": [_NEVER_SET_UP], "ca_outdated": False} for entry in known]


def _ca_state(plan: Plan, hostvars: Hostvars) -> Values:
    """The CA as the run has left it, or has read it; whoever --limit left has read it for all."""
    on_host = _answers(hostvars.get(plan["ca"]["host"], {}), "docker_ca_state")
    read = (answer for name in hostvars for answer in _answers(hostvars[name], "docker_ca_gathered"))
    return on_host[0] if on_host else next(read, {})


def _records_beside(hostvars: Hostvars) -> list[Values]:
    """What other CAs on the CA host have signed, where engines may leave one of them."""
    gathered = (answer for name in hostvars for answer in _answers(hostvars[name], "docker_ca_gathered"))
    return [entry for entry in _entries(next(gathered, {}).get("beside")) if isinstance(entry, t.Mapping)]


def _still_open(plan: Plan, hostvars: Hostvars, of_ca: Values) -> list[str]:
    """In a revocation: the engines that trust the CA of a certificate of the identity, and no gateway has refused it.

    Whether there is one is what the host has said, and a gateway that has not answered lets in whom it did before.
    """
    groups = _entries(of_ca.get("docker_ca_still_valid_groups"))
    refused = {
        name
        for name in plan["engines"]
        for answer in _answers(hostvars.get(name, {}), "docker_gateway_revoked")
        if answer.get("gateway") is True and not answer.get("failed")
    }
    return [
        name
        for name, engine in plan["engines"].items()
        if name not in refused and {*_groups.access_of(engine)} & {*groups}
    ]


def _ca(plan: Plan, state: Values, variables: Values, rotation: Values, still_open: t.Sequence[str]) -> Record:
    """``variables`` are those of the CA host, with what a revocation has said."""
    signing = [entry for entry in _entries(state.get("certificates")) if entry.get("role") == "signing"]
    if plan["remove"]["ca"]:
        signing = []  # what was read before it went is no news
    findings = _ca_findings(plan, state, bool(signing)) if state else []
    revoke = plan["revoke"]
    if variables.get("docker_ca_doubt") and not (revoke["by_rotation"] and plan["check_mode"]):
        ends = "docker_revoke_by_rotation=true ends all of them"
        if plan["ca"]["issue_tasks"]:
            ends = "all of them end when another CA follows the one that has issued them (docs/pki.md)"
        findings.append(
            f"it is not certain which certificates {revoke['name']} has, and {ends}: {variables['docker_ca_doubt']}"
        )
    revokes = plan["playbook"] == "revoke_client" and revoke["state"] == "present"
    if revokes and revoke["kept"] and not revoke["by_rotation"]:
        findings.append(
            f"engines accept the certificate of {revoke['name']} until it ends or they trust another CA, and it "
            f"is in no record, because something else installs it on these hosts: {listed(revoke['kept'])}"
        )
    findings += _record.not_reached(plan, state)
    if rotation["obstacles"]:
        findings.append(f"docker_ca_rotate_when_due does not replace it: {'; '.join(rotation['obstacles'])}")
    if variables.get("docker_ca_failure"):
        findings.append(f"certificates of removed engines are on no revocation list: {variables['docker_ca_failure']}")
    if variables.get("docker_record_failure"):
        findings.append(f"its record still has hosts that were removed: {variables['docker_record_failure']}")
    if not signing and not findings:
        return {}
    return {
        "common_name": signing[0].get("common_name") if signing else "",
        "days_left": signing[0].get("days_left") if signing else None,
        "revoked": _entries(state.get("revoked")),
        # Certificates of an identity that is being revoked, and the engines that accept them as before.
        "still_valid": len(_entries(variables.get("docker_ca_still_valid"))),
        "still_open": list(still_open),
        "elsewhere": _elsewhere(plan, state),
        "findings": findings,
        "note": " ".join(filter(None, _notes(plan, state))),
        "groups": [] if plan["remove"]["ca"] else _of_groups(plan, state),
    }


def _notes(plan: Plan, state: Values) -> t.Iterator[str]:
    if plan["playbook"] in ("site", "revoke_client"):
        yield _record.note(plan, state)
    if plan["playbook"] in ("site", "renew", "verify"):
        yield _groups.still_open(plan, state)
        yield _groups.outlasted(plan, state)


def _of_groups(plan: Plan, state: Values) -> list[Record]:
    """The CAs of access groups, in the form of the CA itself."""
    found = []
    for group, one in _groups.states(state).items():
        signing = [entry for entry in _entries(one.get("certificates")) if entry.get("role") == "signing"]
        if group in plan["ca"]["groups"] and signing:
            found.append(
                {
                    "group": group,
                    "common_name": signing[0].get("common_name"),
                    "days_left": signing[0].get("days_left"),
                    "findings": _findings_of_group(plan, group, one),
                }
            )
    return found


def _findings_of_group(plan: Plan, group: str, state: Values) -> list[str]:
    """What `renew` and `verify` say about it; who verifies need not have the passphrase."""
    opens = (state.get("key") or {}).get("opens") is True
    if plan["playbook"] not in ("renew", "verify"):
        return []
    found = [str(problem) for problem in _entries(state.get("problems")) if opens or plan["playbook"] == "renew"]
    if state.get("phase") not in ("none", "", None):
        found.append(
            f"its rotation was interrupted; run bulkhead.docker.rotate_ca -e docker_rotate_groups={group}, which goes "
            "on where it stopped"
        )
    return found


def _elsewhere(plan: Plan, state: Values) -> list[Record]:
    """Identities in the CA's record that no client host of this inventory has: exported ones, and those of the gone."""
    ours = {identity["name"] for client in plan["clients"].values() for identity in client["identities"]}
    exported = {one.get("identity") for one in _entries(state.get("holders")) if one.get("kind") == "export"}
    last: dict[str, int] = {}
    for _group, entry in _groups.issued(state):
        if _groups.is_accepted(entry, "client") and entry["name"] not in ours:
            last[entry["name"]] = max(entry["days_left"], last.get(entry["name"], 0))
    return [{"name": name, "days_left": days, "exported": name in exported} for name, days in sorted(last.items())]


def _ca_findings(plan: Plan, state: Values, has_certificate: bool) -> list[str]:
    """What `renew` and `verify` say about the CA beside its end. Who verifies need not have the passphrase."""
    if plan["playbook"] not in ("renew", "verify"):
        return []
    key = state.get("key")
    opens = isinstance(key, t.Mapping) and key.get("opens") is True
    found = [str(problem) for problem in _entries(state.get("problems")) if opens or plan["playbook"] == "renew"]
    if not has_certificate and not found:
        found.append(f"there is no CA in {plan['ca']['dir']}; correct docker_ca_host or docker_ca_dir")
    if state.get("phase") not in ("none", "", None):
        found.append("its rotation was interrupted; run bulkhead.docker.rotate_ca, which goes on where it stopped")
    return [*found, *filter(None, [_record.without_hosts(state)])]


def _answers(variables: Values, name: str) -> list[t.Mapping[str, t.Any]]:
    """What a task has registered, each result of its loop where it has one; nothing of what was skipped."""
    value = variables.get(name)
    found = value.get("results", [value]) if isinstance(value, t.Mapping) else []
    return [answer for answer in _entries(found) if isinstance(answer, t.Mapping) and not answer.get("skipped")]


def _entries(value: t.Any) -> list[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
