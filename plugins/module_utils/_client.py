# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client host lacks: identities that are due, and the contexts that its users shall have."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import store as context_store
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Identity = t.Mapping[str, t.Any]
Record = dict[str, t.Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")
_CURVES = {"P-256": "secp256r1", "P-384": "secp384r1"}
_MODES = {"key": "-rw-------", "cert": "-rw-r--r--", "ca": "-rw-r--r--"}


def problems(
    identities: t.Sequence[Identity],
    engines: t.Sequence[t.Mapping[str, t.Any]],
    transports: t.Sequence[str],
    pattern: str,
    current: str,
    valid_days: int,
    renew_days: int,
) -> list[str]:
    """What an argument spec cannot say about the variables, one sentence each."""
    found = []
    seen = set()
    for identity in identities:
        name, user, days = identity["name"], _user(identity), int(identity.get("valid_days") or valid_days)
        if not _NAME.fullmatch(name):
            found.append(
                f"The identity name {name!r} cannot be the name of a folder and of a certificate: 1 to 64 letters, "
                "digits and @ . _ + -, the first one a letter or digit."
            )
        if (name, user) in seen:
            found.append(f"docker_client_identities names {name!r} twice for {user or 'the connecting user'}.")
        seen.add((name, user))
        if "ssh" in transports and not _users.NAME.fullmatch(_users.account(identity)):
            found.append(
                f"The identity {name!r} would log in to engines as {_users.account(identity)!r}, which cannot be "
                "an account; set its ssh_account."
            )
        if days <= renew_days:
            found.append(
                f"The identity {name!r} would be valid for {days} days, which docker_client_renew_days ({renew_days}) "
                "renews in every run; choose a smaller window or a longer validity."
            )
    if not found:
        found = _context_problems(stores(identities, engines, transports, pattern, current), current)
    return found


def _context_problems(wanted: t.Sequence[Record], current: str) -> list[str]:
    found = []
    every = set()
    for store in wanted:
        names = [context["name"] for context in store["contexts"]]
        every.update(names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            found.append(
                f"Several engines or identities of {store['user'] or 'the connecting user'} give the same context "
                f"name: {', '.join(twice)}. Rename them, or change docker_client_context_name."
            )
        for context in store["contexts"]:
            try:
                context_store.check_name(context["name"])
                context_store.check_host(context["docker_host"])
            except context_store.StoreError as error:
                found.append(f"docker_client_engines: {error}.")
    if current and current != "default" and current not in every:
        found.append(
            f"docker_client_current is {current!r}, which is not declared; the contexts are "
            f"{', '.join(sorted(every)) or 'none'}."
        )
    return found


def users(identities: t.Sequence[Identity]) -> list[Record]:
    """The names of each user's identities. The user without a name is the connecting one."""
    found: dict[str, list[str]] = {}
    for identity in identities:
        found.setdefault(_user(identity), []).append(identity["name"])
    return [{"user": user, "names": names} for user, names in found.items()]


def leaving(identities: t.Sequence[Identity], names: t.Sequence[str]) -> list[Record]:
    """What each user loses: the identities of ``names``, whoever's they are, or all that are declared.

    ``ssh`` is for docker_ssh_client. A key that was brought along is not in ``~/.bulkhead`` and stays. ``accounts`` are
    those that no identity of the user logs in to any more.
    """
    declared = users(identities)
    if names and not any(not record["user"] for record in declared):
        declared.append({"user": "", "names": []})
    found = []
    for record in declared:
        theirs = {identity["name"]: identity for identity in identities if _user(identity) == record["user"]}
        going = [theirs.get(name, {"name": name}) for name in names or record["names"]]
        staying = {_users.account(identity) for identity in theirs.values() if identity not in going}
        found.append(
            {
                "user": record["user"],
                "paths": [path for identity in going for path in folders(identity["name"])],
                "ssh": [_ssh_identity(identity) for identity in going],
                "accounts": sorted({_users.account(identity) for identity in going} - staying),
            }
        )
    return found


def stores(
    identities: t.Sequence[Identity],
    engines: t.Sequence[t.Mapping[str, t.Any]],
    transports: t.Sequence[str],
    pattern: str,
    current: str,
    judged: t.Sequence[Record] = (),
    without: t.Collection[str] = (),
) -> list[Record]:
    """Each user's contexts. What ``judged`` says will be rewritten is looked for where nothing is yet.

    Identities in ``without`` get none, and the names of the others' contexts are the same as with them.
    """
    ahead = {(record["name"], record["user"]): record for record in judged}
    found: dict[str, list[Record]] = {}
    for identity in identities:
        user = _user(identity)
        siblings = sum(_user(other) == user for other in identities)
        name = pattern or ("{engine}-{identity}" if siblings > 1 else "{engine}")
        contexts = found.setdefault(user, [])
        for engine in engines if identity["name"] not in without else ():
            if "tls" in transports:
                contexts.append(_tls_context(identity, engine, name, ahead))
            if "ssh" in transports:
                contexts.append(_ssh_context(identity, engine, name))
    return [
        {
            "user": user,
            "contexts": contexts,
            "current": current if current in ("default", *(context["name"] for context in contexts)) else "",
        }
        for user, contexts in found.items()
    ]


def _tls_context(
    identity: Identity, engine: t.Mapping[str, t.Any], pattern: str, ahead: t.Mapping[tuple[str, str], Record]
) -> Record:
    record = ahead.get((identity["name"], _user(identity)), {})
    folder, pending = folders(identity["name"])
    pair = pending if record.get("reasons") else folder
    return {
        "name": _context_name(identity, engine, pattern),
        "docker_host": f"tcp://{_address(engine)}:{engine.get('port') or 2376}",
        "ca_path": f"{pending if record.get('ca_outdated') else folder}/ca.pem",
        "client_cert": f"{pair}/cert.pem",
        "client_key": f"{pair if record.get('new_key') else folder}/key.pem",
    }


def _ssh_context(identity: Identity, engine: t.Mapping[str, t.Any], pattern: str) -> Record:
    port = int(engine.get("ssh_port") or 22)
    return {
        "name": f"{_context_name(identity, engine, pattern)}-ssh",
        "docker_host": f"ssh://{_users.account(identity)}@{_address(engine)}{'' if port == 22 else f':{port}'}",
    }


def _context_name(identity: Identity, engine: t.Mapping[str, t.Any], pattern: str) -> str:
    return pattern.replace("{engine}", engine["name"]).replace("{identity}", identity["name"])


def _address(engine: t.Mapping[str, t.Any]) -> str:
    address = str(engine.get("address") or engine["name"])
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def ssh_users(identities: t.Sequence[Identity]) -> list[Record]:
    """Each user's identities as docker_ssh_client takes them."""
    found: dict[str, list[Record]] = {}
    for identity in identities:
        found.setdefault(_user(identity), []).append(_ssh_identity(identity))
    return [{"user": user, "identities": entries} for user, entries in found.items()]


def _ssh_identity(identity: Identity) -> Record:
    entry = {"name": identity["name"], "account": _users.account(identity)}
    if identity.get("ssh_private_key"):
        entry["private_key"] = identity["ssh_private_key"]
    return entry


def ssh_engines(engines: t.Sequence[t.Mapping[str, t.Any]]) -> list[Record]:
    """The engines as docker_ssh_client takes them."""
    return [
        {
            "name": engine["name"],
            "address": str(engine.get("address") or engine["name"]),
            "port": int(engine.get("ssh_port") or 22),
            "host_keys": engine.get("ssh_host_keys") or [],
        }
        for engine in engines
    ]


def folders(name: str, home: str = "~") -> tuple[str, str]:
    """Where an identity lives, and where its next key and certificate wait until both are there."""
    return f"{home}/.bulkhead/identities/{name}", f"{home}/.bulkhead/pending/{name}"


def judge(
    identities: t.Sequence[Identity],
    looks: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]],
    bundle: str,
    key: str,
    valid_days: int,
    renew_days: int,
    force: bool,
    now: datetime.datetime | None = None,
) -> list[Record]:
    """What has to be done for each identity.

    ``looks`` is what the role's files/look.sh said, by user and in the order of the list. ``key`` is the wanted type,
    such as P-256 or RSA 3072. The first certificate of ``bundle`` is the CA that signs.
    """
    left = {user: list(look) for user, look in looks.items()}
    records = []
    for identity in identities:
        user = _user(identity)
        found = left[user].pop(0)
        reasons, new_key = _due(identity["name"], found, bundle, key, renew_days, force, now)
        folder, pending = folders(identity["name"], found["home"])
        repairs = [
            {"path": path, "state": "directory", "mode": "0700"}
            for path, mode in ((folder, found.get("folder")), (pending, found.get("pending_folder")))
            if mode != "drwx------" and (path == folder or reasons)
        ]
        repairs += [
            {"path": f"{folder}/{name}.pem", "state": "file", "mode": "0600" if name == "key" else "0644"}
            for name, mode in _MODES.items()
            if found.get(f"{name}_mode", mode) != mode
        ]
        records.append(
            {
                "name": identity["name"],
                "user": user,
                "valid_days": int(identity.get("valid_days") or valid_days),
                "folder": folder,
                "pending": pending,
                "exists": "folder" in found,
                "reasons": reasons,
                "days_left": _days_left(found.get("cert", "")),
                "new_key": new_key,
                "repairs": repairs,
                "ca_outdated": not bundle or _blocks(found.get("ca", "")) != _blocks(bundle),
            }
        )
    return records


def _days_left(pem: str) -> int | None:
    try:
        return x509.days_left(x509.load_bundle(pem)[0].certificate)
    except x509.CertificateError:
        return None


def _due(
    name: str,
    found: t.Mapping[str, t.Any],
    bundle: str,
    key: str,
    renew_days: int,
    force: bool,
    now: datetime.datetime | None,
) -> tuple[list[str], bool]:
    """Why an identity has to be issued, and whether that needs a new key."""
    pending = found.get("pending") or []
    if "key_mode" not in found:
        return ["it has no private key" if "cert" in found else "it does not exist yet"], True
    reasons, new_key = [], False
    if pending:
        # The key moves first: one that waits is not in use yet, a certificate that waits alone is for the key in use.
        reasons.append("an earlier run was interrupted")
        new_key = "key" in pending
    elif found.get("fits") is False:
        reasons.append("its key and its certificate do not belong together")
        new_key = True
    if force:
        reasons.append("docker_client_renew_force is set")
        new_key = True
    if "cert" not in found:
        return [*reasons, "it has no certificate"], new_key
    what, other_key = _certificate_problems(name, found["cert"], bundle, key, renew_days, now)
    return reasons + what, new_key or other_key


def _certificate_problems(
    name: str, pem: str, bundle: str, key: str, renew_days: int, now: datetime.datetime | None
) -> tuple[list[str], bool]:
    try:
        entry = x509.load_bundle(pem)[0]
    except x509.CertificateError as error:
        return [f"its certificate cannot be read: {error}"], False
    now = now or datetime.datetime.now(datetime.timezone.utc)
    public = entry.certificate.public_key()
    kind = f"RSA {public.key_size}" if isinstance(public, rsa.RSAPublicKey) else "another type"
    if isinstance(public, ec.EllipticCurvePublicKey):
        kind = next((label for label, curve in _CURVES.items() if curve == public.curve.name), public.curve.name)
    found = []
    if entry.common_names != [name]:
        found.append(f"its certificate is for {', '.join(entry.common_names) or 'nobody'}")
    if kind != key:
        found.append(f"its key is {kind}, not {key}")
    if bundle:
        found += x509.problems(pem, x509.load_bundle(bundle)[0].pem, "client", at=now)
    else:
        found.append("there is no CA yet")
    if now <= entry.not_after < now + datetime.timedelta(days=renew_days):
        found.append(f"it expires on {entry.not_after:%Y-%m-%d}")
    return found, kind != key


def _blocks(pem: str) -> list[str]:
    return re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)


def _user(identity: Identity) -> str:
    return str(identity.get("user") or "")
