# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role docker_client does on a client host: its variables, checked, and one record for each OS user.

What an OS user answers is taken for that user's identities alone. Names, accounts, addresses and validity come from the
variables.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import options as _contexts
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import ending, layout
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names
from ansible_collections.bulkhead.docker.plugins.plugin_utils import groups

Record = dict[str, t.Any]
Data = t.Mapping[str, t.Any]

# Where something else keeps the certificate and the key of an identity.
_PATHS = ("certificate_path", "private_key_path")
# What docker_identity_info says about one identity.
_STATUS = (
    "group",
    "left_groups",
    "folder",
    "pending",
    "exists",
    "days_left",
    "not_after",
    "reasons",
    "new_key",
    "findings",
    "other_ca",
    "issued_by_ca",
    "ca_outdated",
    "repairs",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The variables of the role."""

    host: str
    identities: t.Sequence[Data]
    engines: t.Sequence[Data] = ()
    transports: t.Collection[str] = ("tls",)
    context_name: str = ""
    current: str = ""
    valid_days: int = 365
    renew_days: int = 30
    connects_as: str = ""
    revoked: t.Collection[str] = ()
    evicted: t.Collection[str] = ()
    skip_revoked: bool = False
    replace_ca: bool = False
    new_keys: bool = False  # whether each certificate is for a new key
    group_cas: t.Mapping[str, str] = dataclasses.field(default_factory=dict)  # by access group, the CA of its clients

    def user(self, identity: Data) -> str:
        """The OS user; '' for the one that Ansible connects as."""
        user = str(identity.get("user") or "")
        return "" if user == self.connects_as else user

    def is_somebody_else(self, user: str) -> bool:
        """Whether the connecting user, ``user``, would get identities that name another one."""
        named = any(identity.get("user") == self.connects_as for identity in self.identities)
        return bool(self.connects_as) and named and user != self.connects_as

    def pairs(self, identity: Data) -> list[Record]:
        """The pairs of key and certificate of an identity: one in its folder, and one for each further group below."""
        access = groups.access_of(identity)
        found: list[Record] = [
            {"access": group, "group": group if number else ""} for number, group in enumerate(access)
        ]
        for pair in found:
            if pair["access"] != layout.DEFAULT_GROUP:
                pair["client_ca"] = str(self.group_cas.get(pair["access"], ""))
        found[0].update({"groups": list(access[1:])} if len(access) > 1 else {})
        return found

    @property
    def left_out(self) -> set[str]:
        """Those that get nothing and have nothing: they were revoked, or their day is over."""
        over = {identity["name"] for identity in self.identities if ending.is_over(str(identity.get("expires") or ""))}
        return {*self.revoked, *over}

    def by_user(self) -> dict[str, list[Data]]:
        found: dict[str, list[Data]] = {}
        for identity in self.identities:
            found.setdefault(self.user(identity), []).append(identity)
        return found


def problems(settings: Settings) -> list[str]:
    """What an argument spec cannot say about the variables, one sentence each."""
    found = [*_identity_problems(settings)]
    if any(ending_problem(f"the identity {one['name']!r}", one) for one in settings.identities):
        return found
    revoked = [identity["name"] for identity in settings.identities if identity["name"] in settings.revoked]
    if revoked and not settings.skip_revoked:
        found.append(
            f"{', '.join(revoked)} of docker_client_identities was revoked on the CA host. Take the name out of the "
            "list, or take the mark away with the playbook bulkhead.docker.revoke_client, "
            f"-e docker_revoke_name={revoked[0]} -e docker_revoke_state=absent."
        )
    found += _engine_problems(settings.engines)
    return found or [*_context_problems(settings)]


def ending_problem(who: str, identity: Data) -> str:
    """A sentence where the end of an identity cannot be read."""
    try:
        ending.end(str(identity.get("expires") or ""))
    except ending.DayError as error:
        return f"expires of {who} has to be a day: {error}."
    return ""


def _identity_problems(settings: Settings) -> t.Iterator[str]:
    if not settings.identities:
        yield "docker_client_identities is empty; name who uses the engines from here."
    seen = set()
    for identity in settings.identities:
        name, user = identity["name"], settings.user(identity)
        days = int(identity.get("valid_days") or settings.valid_days)
        for group in groups.access_of(identity):
            if not layout.is_group(group):
                yield (
                    f"The identity {name!r} has {group!r}, which cannot be the name of an access group: {groups.NAME}."
                )
        if len(groups.access_of(identity)) > 1 and _paths(identity):
            yield (
                f"The identity {name!r} has several access groups and a certificate_path, which can hold the "
                "certificate of one group alone; give it one group."
            )
        if wrong_end := ending_problem(f"the identity {name!r}", identity):
            yield wrong_end
        if len(_paths(identity)) == 1:
            yield f"The identity {name!r} needs both certificate_path and private_key_path, or none of them."
        if not layout.is_name(name):
            yield (
                f"The identity name {name!r} cannot be the name of a folder and of a certificate: 1 to 64 letters, "
                "digits and @ . _ + -, the first one a letter or digit."
            )
        if (name, user) in seen:
            yield f"docker_client_identities names {name!r} twice for {user or 'the connecting user'}."
        seen.add((name, user))
        if "ssh" in settings.transports and not _users.is_account(_users.account(identity)):
            yield (
                f"The identity {name!r} would log in to engines as {_users.account(identity)!r}, which cannot be "
                "an account; set its ssh_account."
            )
        if days <= settings.renew_days:
            yield (
                f"The identity {name!r} would be valid for {days} days, which docker_client_renew_days "
                f"({settings.renew_days}) renews in every run; choose a smaller window or a longer validity."
            )


def _engine_problems(engines: t.Iterable[Data]) -> t.Iterator[str]:
    for engine in engines:
        if not names.is_address(_address(engine)):
            yield (
                f"The engine {engine['name']} of docker_client_engines has the address {_address(engine)!r}, which is "
                "neither an IP address nor a host name as RFC 1123 allows it; set its address."
            )
        for key in ("port", "ssh_port"):
            if engine.get(key) and not 0 < int(engine[key]) < 65536:
                yield f"The engine {engine['name']} of docker_client_engines has no valid {key}: {engine[key]}."


def _context_problems(settings: Settings) -> t.Iterator[str]:
    every = set()
    for user, identities in settings.by_user().items():
        contexts = [context for identity, context in _contexts_of(settings, identities, {})]
        found = [context["name"] for context in contexts]
        every.update(found)
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            yield (
                f"Several engines or identities of {user or 'the connecting user'} give the same context name: "
                f"{', '.join(twice)}. Rename them, or change docker_client_context_name."
            )
        for context in contexts:
            try:
                _contexts.check_name(context["name"])
                _contexts.check_host(context["docker_host"])
            except _contexts.StoreError as error:
                yield f"docker_client_engines: {error}."
    if settings.current and settings.current != "default" and settings.engines and settings.current not in every:
        yield (
            f"docker_client_current is {settings.current!r}, which is not declared; the contexts are "
            f"{', '.join(sorted(every))}."
        )


def users(settings: Settings, statuses: t.Sequence[Data], failed: t.Collection[str], check_mode: bool) -> list[Record]:
    """Each OS user with what the tasks do as that user.

    Identities that were revoked or have ended are left out, and the names of the others' contexts are the same as with
    them. A user without any other is not asked: that one could keep a rotation from ending what was revoked. While a
    rotation evicts an identity, neither is one who has others, but for the connecting user, who is Ansible itself.
    ``statuses`` say what has to be done, and in check mode where the files of this run would be.
    """
    of_user = {(status["user"], status["name"], status["group"]): status for status in statuses}
    left_out = settings.left_out
    found = []
    for user, identities in settings.by_user().items():
        staying = [identity for identity in identities if identity["name"] not in left_out]
        if not staying or (user and any(identity["name"] in settings.evicted for identity in identities)):
            continue
        ahead = {
            (identity["name"], pair["group"]): of_user.get((user, identity["name"], pair["group"]), {})
            for identity in identities
            for pair in settings.pairs(identity)
        }
        every = list(_contexts_of(settings, identities, ahead if check_mode else {}))
        contexts = [context for name, context in every if name not in left_out]
        theirs = [context["name"] for context in contexts]
        asked = [
            {
                "name": identity["name"],
                "valid_days": int(identity.get("valid_days") or settings.valid_days),
                **_paths(identity),
                **({"expires": identity["expires"]} if identity.get("expires") else {}),
                **{key: value for key, value in pair.items() if key != "access" and (value or key == "client_ca")},
            }
            for identity in staying
            for pair in settings.pairs(identity)
        ]
        found.append(
            {
                "user": user,
                "become": bool(user),
                "failed": user in failed,
                "identities": asked if "tls" in settings.transports else [],
                "prepare": [
                    {
                        "name": name,
                        "request": _request(status),
                        **(status["paths"] if status["reasons"] else {}),
                        **({"group": group} if group else {}),
                        **({"remove_groups": status["left_groups"]} if status["left_groups"] else {}),
                    }
                    for (name, group), status in ahead.items()
                    if status and any(status[key] for key in ("reasons", "repairs", "ca_outdated", "left_groups"))
                ],
                "contexts": contexts,
                "current": settings.current if settings.current in ("default", *theirs) else "",
                "ssh": [ssh_identity(identity) for identity in staying],
            }
        )
    return found


def contexts_right(users: t.Iterable[Data], answers: t.Iterable[Data]) -> bool:
    """Whether every user has said that all contexts are as they shall be."""
    right = {str((one.get("item") or {}).get("user") or "") for one in answers if one.get("contexts_right") is True}
    return not any(user["failed"] or user["user"] not in right for user in users)


def _paths(identity: Data) -> Record:
    return {key: identity[key] for key in _PATHS if identity.get(key)}


def _request(status: Data) -> str:
    """What docker_identity is asked for."""
    if not status["reasons"] or status["paths"]:
        return "none"
    return "new_key" if status["new_key"] else "present_key"


def statuses(settings: Settings, answers: t.Iterable[Data]) -> tuple[list[Record], dict[str, str], list[str]]:
    """The identities with what their users answered, and a sentence for each user who gave no answer to use.

    The last are those of the sentences that are about identities of another CA.
    """
    found: list[Record] = []
    failed: dict[str, str] = {}
    other_cas: list[str] = []
    access = {
        (identity["name"], settings.user(identity), pair["group"]): pair["access"]
        for identity in settings.identities
        for pair in settings.pairs(identity)
    }
    for answer in answers:
        item = answer.get("item") or {}
        user, asked = str(item.get("user") or ""), list(item.get("identities") or [])
        told = answer.get("identities")
        if answer.get("skipped"):
            continue
        if not isinstance(told, list):
            why = " ".join(str(answer.get("module_stderr") or answer.get("msg") or "it says nothing").split())
            if answer.get("unreachable"):
                failed[user] = f"{settings.host} cannot be reached as {user or 'the connecting user'}: {why}"
                continue
            failed[user] = (
                f"The identities of {user or 'the connecting user'} on {settings.host} cannot be read. Check that the "
                f"user exists there and that Ansible may become this user. Ansible says: {why}"
            )
            continue
        pairs_told = [(status["name"], status["group"]) for status in told if {"name", *_STATUS} <= set(status)]
        if pairs_told != [(entry["name"], entry.get("group", "")) for entry in asked]:
            failed[user] = (
                f"The identities of {user or 'the connecting user'} on {settings.host} cannot be read. The answer is "
                "about other identities than were asked for; check the Python of this user."
            )
            continue
        if not user and settings.is_somebody_else(str(answer.get("user"))):
            failed[user] = (
                f"Ansible connects to {settings.host} as {answer.get('user')}, not as {settings.connects_as}, whose "
                f"identities would end up in another home. Set ansible_user of {settings.host}."
            )
            continue
        other_ca = _other_ca(settings, user, asked, told)
        if other_ca:
            failed[user] = other_ca
            other_cas.append(other_ca)
            continue
        for entry, status in zip(asked, told):
            paths = {key: entry[key] for key in _PATHS if entry.get(key)}
            record = {"name": entry["name"], "user": user, "become": bool(user), "valid_days": entry["valid_days"]}
            record["expires"] = entry.get("expires", "")
            record.update(paths=paths, access=access.get((entry["name"], user, entry.get("group", "")), ""))
            new_key = status["new_key"] or (settings.new_keys and bool(status["reasons"]))
            found.append({**record, **{key: status[key] for key in _STATUS}, "new_key": new_key})
    left_out = settings.left_out
    return [record for record in found if record["name"] not in left_out], failed, other_cas


def _other_ca(settings: Settings, user: str, asked: t.Iterable[Data], told: t.Sequence[Data]) -> str:
    others = [status for status in told if status["other_ca"] and not settings.replace_ca]
    if not others:
        return ""
    return (
        f"The identities {', '.join(status['name'] for status in others)} of {user or 'the connecting user'} on "
        f"{settings.host} are from another CA than this run's: {others[0]['other_ca']}. {_way_out(asked, others)}; to "
        "replace them, set docker_client_replace_ca to true for this host; they then open no engine of that CA any "
        "more."
    )


def _way_out(asked: t.Iterable[Data], others: t.Iterable[Data]) -> str:
    """A certificate that something else keeps may be of a CA that was followed by this run's on purpose."""
    names_of_others = [status["name"] for status in others]
    paths = [entry["certificate_path"] for entry in asked if entry["name"] in names_of_others and _paths(entry)]
    if paths:
        return (
            f"Let whoever keeps {', '.join(paths)} replace it by one of this run's CA first, and leave that CA in the "
            "trust bundle until then"
        )
    return "Point docker_ca_host and docker_ca_dir at that CA, or bring its directory back from a backup"


def requested(
    due: t.Iterable[Data], answers: t.Iterable[Data], key: str = "", whole_days: bool = False
) -> tuple[list[Record], list[str]]:
    """The identities that have a request, with what docker_ca_sign takes, and a sentence for each that has none.

    ``answers`` are what docker_identity said to each user; one of a user who failed is a failure already. ``key`` is
    the type of key that was asked for. A CA elsewhere knows ``whole_days`` alone.
    """
    by_user = {str((answer.get("item") or {}).get("user") or ""): answer for answer in answers}
    found, missing = [], []
    for identity in due:
        answer = by_user.get(identity["user"], {"skipped": True})
        told = answer.get("requests")
        entries = [entry for entry in (told if isinstance(told, list) else []) if isinstance(entry, t.Mapping)]
        pair = (identity["name"], identity["group"])
        request = next(
            (entry.get("request") for entry in entries if (entry.get("name"), entry.get("group", "")) == pair), None
        )
        if isinstance(request, str) and request:
            sign = {"name": identity["name"], "usage": "client", "names": [], "key": key}
            sign.update({"group": identity["access"]} if identity["access"] != layout.DEFAULT_GROUP else {})
            sign.update({"expires": identity["expires"]} if identity.get("expires") else {})
            days = identity["valid_days"]
            if whole_days and (left := ending.days_left(str(identity.get("expires") or ""))) is not None:
                days = min(days, left)
            found.append({**identity, "sign": {**sign, "valid_days": days, "request": request}})
        elif not answer.get("skipped") and not answer.get("failed") and not answer.get("unreachable"):
            missing.append(
                f"The identity {identity['name']} of {identity['user'] or 'the connecting user'} has no certificate "
                f"request: {answer.get('msg') or 'it says nothing'}"
            )
    return found, missing


def failures(settings: Settings, results: t.Iterable[Data]) -> list[str]:
    """A sentence about each task in a loop that failed for an OS user, and for no other."""
    found = []
    for result in results:
        item = result.get("item")
        # The loop is over users, or over identities and their certificates.
        record = item[0] if isinstance(item, (list, tuple)) else item or {}
        if result.get("failed") or result.get("unreachable"):
            why = " ".join(str(result.get("msg") or "it says nothing").split())
            found.append(f"On {settings.host}, as {record.get('user') or 'the connecting user'}: {why}")
    return found


def _contexts_of(
    settings: Settings, identities: t.Sequence[Data], ahead: t.Mapping[tuple[str, str], Data]
) -> t.Iterator[tuple[str, Record]]:
    """Name of the identity and context, for all engines that it opens. ``ahead`` says which files are still to come."""
    pattern = settings.context_name or ("{engine}-{identity}" if len(identities) > 1 else "{engine}")
    shared = [_address(engine) for engine in settings.engines]
    for identity in identities:
        for engine in settings.engines:
            group = groups.pair_for(identity, engine)
            if group is None:
                continue
            known_as = str(engine.get("context") or engine["name"])
            name = pattern.replace("{engine}", known_as).replace("{identity}", identity["name"])
            text = f"{engine['name']} as {identity['name']}"
            if "tls" in settings.transports:
                pair = "/".join(filter(None, (identity["name"], group)))
                status = ahead.get((identity["name"], group), {})
                yield identity["name"], _tls_context(name, text, pair, engine, status)
            if "ssh" in settings.transports and engine.get("ssh", True):
                alone = shared.count(_address(engine)) == 1
                yield identity["name"], _ssh_context(f"{name}-ssh", text, identity, engine, alone)


def _tls_context(name: str, text: str, path: str, engine: Data, status: Data) -> Record:
    """``path`` is that of the pair below the folder of all identities."""
    folder, pending = (f"~/.bulkhead/{kind}/{path}" for kind in ("identities", "pending"))
    pair = pending if status.get("reasons") else folder
    return {
        "name": name,
        "docker_host": tls_endpoint(engine),
        "ca_path": f"{pending if status.get('ca_outdated') else folder}/ca.pem",
        "client_cert": f"{pair}/cert.pem",
        "client_key": f"{pair if status.get('new_key') else folder}/key.pem",
        "cert_path": folder,
        "description": f"{text} over TLS",
    }


def _ssh_context(name: str, text: str, identity: Data, engine: Data, alone: bool) -> Record:
    return {
        "name": name,
        "docker_host": ssh_endpoint(_users.account(identity), engine, alone),
        "description": f"{text} over SSH",
    }


def tls_endpoint(engine: Data) -> str:
    return f"tcp://{names.bracketed(_address(engine))}:{engine.get('port') or 2376}"


def ssh_endpoint(account: str, engine: Data, alone: bool) -> str:
    """A port that is not said is left to ssh's settings, which cannot tell two engines with one address apart."""
    port = engine.get("ssh_port")
    shown = f":{port}" if port and not (int(port) == 22 and alone) else ""
    return f"ssh://{account}@{names.bracketed(_address(engine))}{shown}"


def _address(engine: Data) -> str:
    return str(engine.get("address") or engine["name"]).strip("[]")


def ssh_identity(identity: Data) -> Record:
    """An identity as docker_ssh_client takes it."""
    entry = {"name": identity["name"], "account": _users.account(identity)}
    if identity.get("ssh_private_key"):
        entry["private_key"] = identity["ssh_private_key"]
    return entry


def ssh_engines(settings: Settings) -> list[Record]:
    """The engines as docker_ssh_client takes them, without those that let nobody of this host in over SSH."""
    return [
        {
            "name": engine["name"],
            "address": _address(engine),
            "host_keys": list(engine.get("ssh_host_keys") or []),
            **({"port": int(engine["ssh_port"])} if engine.get("ssh_port") else {}),
        }
        for engine in settings.engines
        if engine.get("ssh", True) and any(groups.opens(one, engine) for one in settings.identities)
    ]


def removals(settings: Settings, wanted: t.Sequence[str]) -> list[Record]:
    """What each user loses: the identities ``wanted``, whoever's they are, or all that are declared.

    ``ssh`` is for docker_ssh_client. A key that was brought along is not in ``~/.bulkhead`` and stays. ``accounts`` are
    those that no identity of the user logs in to any more.
    """
    declared = settings.by_user()
    if wanted:
        declared.setdefault("", [])
    found = []
    for user, identities in declared.items():
        theirs = {identity["name"]: identity for identity in identities}
        going: list[Data] = [theirs.get(name, {"name": name}) for name in wanted or theirs]
        staying = {_users.account(identity) for identity in identities if identity not in going}
        found.append(
            {
                "user": user,
                "become": bool(user),
                "identities": [{"name": identity["name"]} for identity in going],
                "ssh": [ssh_identity(identity) for identity in going],
                "accounts": sorted({_users.account(identity) for identity in going} - staying),
            }
        )
    return found
