# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left to do after the first look at all hosts, so that a play ends at once where there is nothing.

What an engine answers decides about that engine alone. One that fails ends the changes of all others; a new SSH key of
a client is brought to all engines.
"""

from __future__ import annotations

import typing as t

from ansible_collections.bulkhead.docker.plugins.plugin_utils import engines, groups, handover, record

Plan = t.Mapping[str, t.Any]
Values = t.Mapping[str, t.Any]


def due(plan: Plan, variables: t.Mapping[str, Values], ca: Values) -> dict[str, t.Any]:
    """``variables`` are those of each host; ``ca`` is what docker_ca_info said about the CA."""
    unprepared = [name for name in plan["engines"] if "docker_engine_unprepared" in variables[name]]
    no_certificate = bool(unprepared) and unprepared == _in_need_of_a_certificate(plan, variables)
    failed = no_certificate or any("docker_engine_failed" in variables[name] for name in plan["engines"])
    changes = [] if plan["check_mode"] or failed else plan["engines"]
    changed = [name for name in changes if _engine_is_due(plan, variables[name])]
    # Of CAs elsewhere, all certificates are asked for before the run ends for want of one that verifies the engines.
    elsewhere = bool(plan["ca"]["issue_tasks"])
    waits = (
        elsewhere
        and plan["playbook"] == "site"
        and any("docker_failure" in variables[name] for name in plan["clients"])
    )
    # As many in each batch as the plan has, so that the first batch does something.
    in_run = [name for name in changed if plan["engines"][name]["batch"]]
    batches = engines.in_batches(in_run, [len(batch) for batch in plan["batches"]])
    # An engine that fails ends what makes others like it. It does not keep an account that was revoked on them.
    stays = (failed or waits) and plan["playbook"] != "revoke_client"
    with_accounts = [name for name in plan["engines"] if _has_accounts(plan, name, variables[name])]
    ended = record.ended(plan, ca)
    new_keys = handover.has_new_keys(plan, variables, ca.get("revoked") or ())
    return {
        "ca": _ca_is_due(plan, ca),
        "holders": [] if plan["check_mode"] else record.unrecorded(plan, ca),
        "ended": ended,
        "clients": [name for name in plan["clients"] if _client_is_due(plan, name, variables[name], ca)],
        # What an identity that has ended leaves is removed by its name, which may be in the files of another one.
        "contexts": [
            name for name in plan["clients"] if name in ended or not _has_contexts(plan, name, variables[name], ca)
        ],
        "incomplete": [name for name in plan["engines"] if _is_incomplete(plan, variables[name])],
        "engines": [] if waits else changed,
        "batches": len(batches),
        "batch": {name: number for number, batch in enumerate(batches, 1) for name in batch},
        "sizes": _sizes(plan, batches),
        "certificates": {
            name: f"{name} gets a new key and certificate: {'; '.join(reasons)}."
            for name in changed
            if (reasons := _certificate_reasons(plan, name, variables[name]))
        },
        "without_certificate": [name for name in changed if _lacks_certificate(plan, name, variables[name])],
        "lost": [name for name in plan["engines"] if _change(variables[name]).get("unreachable")],
        # One that is issued elsewhere may be on its way, for the key that waits.
        "unused_keys": [name for name in plan["engines"] if not elsewhere and _has_unused_key(variables[name])],
        "ssh_previews": [name for name in with_accounts if _is_previewed(plan, variables[name])],
        "accounts": [name for name in with_accounts if not stays and _access_is_due(plan, variables[name], new_keys)],
    }


def _sizes(plan: Plan, batches: t.Sequence[t.Sequence[str]]) -> list[int]:
    """The same for `serial`, which counts all engines of the run: a batch ends with the last one that is due in it."""
    left_out = plan["rotate"]["exclude"]
    order = [name for name, engine in plan["engines"].items() if engine["batch"] or name in left_out]
    ends = [order.index(batch[-1]) + 1 for batch in batches]
    return [end - begin for begin, end in zip([0, *ends], ends)] or [max(1, len(order))]


def _preview(variables: Values) -> Values:
    """Nothing where it was skipped."""
    preview = _mapping(variables.get("docker_engine_preview"))
    return {} if preview.get("skipped") else preview


def _change(variables: Values) -> Values:
    return _mapping(variables.get("docker_engine_change"))


def _certificate_reasons(plan: Plan, name: str, variables: Values) -> list[str]:
    """Why this run creates a key and a certificate for an engine, which it does not where something else keeps them."""
    if plan["engines"][name]["certificate_path"]:
        return []
    return [*map(str, _preview(variables).get("certificate_reasons") or [])]


def _lacks_certificate(plan: Plan, name: str, variables: Values) -> bool:
    """Whether it needs one and is not among those that were signed."""
    signed = _mapping(variables.get("docker_ca_signed")).get("certificates")
    mine = (
        entry
        for entry in (signed if isinstance(signed, list) else [])
        if isinstance(entry, t.Mapping) and (entry.get("name"), entry.get("usage")) == (name[:64], "server")
    )
    return bool(_certificate_reasons(plan, name, variables)) and not next(mine, {}).get("certificate")


def _ca_is_due(plan: Plan, ca: Values) -> bool:
    """Whether the role docker_ca has something to do or to refuse; it says what."""
    takes_over, elsewhere = plan["ca"]["takes_over"], bool(plan["ca"]["issue_tasks"])
    found = groups.states(ca)
    is_right = _is_right(plan, ca, elsewhere, takes_over) and all(
        _is_right(plan, found.get(group, {})) for group in plan["ca"]["groups"]
    )
    return not is_right or (takes_over and _mapping(ca.get("existing")).get("taken_over") is not True)


def _is_right(plan: Plan, ca: Values, elsewhere: bool = False, takes_over: bool = False) -> bool:
    key = _mapping(ca.get("key"))
    signing: Values = next((one for one in ca.get("certificates") or [] if one.get("role") == "signing"), {})
    return (
        ca.get("complete") is True
        and ca.get("phase") == "none"
        and (elsewhere or key.get("matches") is True)
        and (takes_over or key.get("type") == plan["ca"]["key"])
        and int(signing.get("days_left") or 0) >= plan["ca"]["minimum_days"]
    )


def _client_is_due(plan: Plan, name: str, variables: Values, ca: Values) -> bool:
    """Also where a user failed, or has no SSH key yet for the accounts on engines."""
    report = _mapping(variables.get("docker_client_report"))
    return (
        not report
        or bool(report.get("is_due") or report.get("failures"))
        or report.get("ca_certificate") != handover.client_bundle(plan, ca)
        or (
            "ssh" in plan["clients"][name]["transports"]
            and not handover.has_all_keys(plan, name, variables, ca.get("revoked") or ())
        )
    )


def _has_contexts(plan: Plan, name: str, variables: Values, ca: Values) -> bool:
    """Whether a client host has the contexts that it was asked for with its identities, and nothing has changed since.

    The settings of ssh need what engines have answered meanwhile.
    """
    report, client = _mapping(variables.get("docker_client_report")), plan["clients"][name]
    return (
        plan["playbook"] == "site"
        and "ssh" not in client["transports"]
        and not _client_is_due(plan, name, variables, ca)
        and report.get("contexts_right") is True
        and report.get("purge") is (bool(client["purge"]) and not record.unknown(plan, ca)["engines"])
    )


def _is_incomplete(plan: Plan, variables: Values) -> bool:
    """An engine that did not answer, or that lacks a library or HAProxy."""
    preview = _preview(variables)
    return bool(preview) and bool(
        preview.get("unreachable")
        or preview.get("library_missing")
        or (preview.get("gateway_program_missing") and not plan["check_mode"])
        or (plan["check_mode"] and preview.get("certificate_reasons"))
    )


def _engine_is_due(plan: Plan, variables: Values) -> bool:
    """Not one that could not be prepared. A renewal is for certificates and revocation lists, and sets no engine up."""
    preview = _preview(variables)
    if not preview.get("would_change") or "docker_engine_unprepared" in variables:
        return False
    kinds = ("certificate_reasons", "recovered", "revocation_due")
    is_renewal = bool(preview.get("certificate") and any(preview.get(kind) for kind in kinds))
    return is_renewal or plan["playbook"] != "renew"


def _has_unused_key(variables: Values) -> bool:
    """Whether an engine has made a key in this run and has not come to use it."""
    has_key = bool(_mapping(variables.get("docker_engine_request")).get("request"))
    change = _change(variables)
    return has_key and change.get("changed") is not True and not change.get("unreachable")


def _has_accounts(plan: Plan, name: str, variables: Values) -> bool:
    """Where somebody is let in over SSH, or was before, unless a rotation leaves the engine out."""
    has_accounts = _uses_ssh(plan, name) or bool(_preview(variables).get("ssh_accounts"))
    return has_accounts and name not in plan["rotate"]["exclude"]


def _is_previewed(plan: Plan, variables: Values) -> bool:
    """Whether sshd is asked, before anything is changed, what it would refuse and what would change."""
    return plan["playbook"] == "site" and bool(_preview(variables))


def _access_is_due(plan: Plan, variables: Values, new_keys: bool) -> bool:
    """In check mode the preview has said it all; else it counts for the keys that it was made with."""
    if "docker_engine_unprepared" in variables:
        return False
    if not _is_previewed(plan, variables):
        return True
    if plan["check_mode"]:
        return False
    preview = _mapping(variables.get("docker_ssh_server"))
    return new_keys or bool(preview.get("unreachable")) or preview.get("would_change") is not False


def _in_need_of_a_certificate(plan: Plan, variables: t.Mapping[str, Values]) -> list[str]:
    return [name for name in plan["engines"] if _certificate_reasons(plan, name, variables[name])]


def _uses_ssh(plan: Plan, name: str) -> bool:
    return any(user.get("state") != "absent" for user in handover.ssh_users(plan, name))


def _mapping(value: t.Any) -> Values:
    return value if isinstance(value, t.Mapping) else {}
