# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the gateway of an engine shall be, and how it was set up last. Needs no cryptography."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import scopes as _scopes
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.config import Account
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.places import GatewayError
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem


@dataclasses.dataclass(frozen=True)
class Settings:
    """Who may do what, apart from the TLS files, which are the engine's."""

    identities: t.Mapping[str, str] | None  # name -> scope; None: those that the gateway has
    scopes: tuple[_scopes.Scope, ...]
    revocation_lists: str = ""  # PEM
    max_connections: int = 500
    max_request_rate: int = 0
    accounts: tuple[Account, ...] = ()  # of SSH, those that are no admins
    # With access groups: by group the CAs of its clients, PEM, and by identity its groups.
    groups: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    access: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    revoked: tuple[str, ...] = ()  # of the identities that the gateway has

    def completed(self, installed: Installed | None) -> Settings:
        """With the identities that the gateway has, where a run does not know them, and without who was revoked."""
        if self.identities is not None:
            return self
        if installed is None:
            raise GatewayError(
                "this engine has no gateway yet, and this run knows no identities that it could let in; run the "
                "playbook bulkhead.docker.site, which knows the client hosts."
            )
        last = installed.settings.without(self.revoked)
        return dataclasses.replace(
            self, identities=last.identities, scopes=last.scopes, accounts=last.accounts, access=last.access
        )

    def without(self, names: t.Collection[str]) -> Settings:
        """The same for everybody but these identities, with the scopes that are left."""
        identities = {name: scope for name, scope in (self.identities or {}).items() if name not in names}
        accounts = tuple(account for account in self.accounts if account.identity not in names)
        used = {*identities.values(), *(account.scope for account in accounts)}
        return dataclasses.replace(
            self,
            identities=identities,
            accounts=accounts,
            scopes=tuple(scope for scope in self.scopes if scope.name in used),
            access={name: groups for name, groups in self.access.items() if name in identities},
        )

    def scope_of(self, account: str) -> str:
        """What an SSH account may do through the gateway; '' where it has no socket there."""
        return next((one.scope for one in self.accounts if one.name == account), "")

    def groups_of(self, name: str) -> tuple[str, ...]:
        """The access groups of the engine that an identity is in; without groups the one for all."""
        default = (layout.DEFAULT_GROUP,)
        return tuple(group for group in self.access.get(name, default) if group in (self.groups or default))

    def changed_for(self, installed: Installed | None) -> list[str]:
        """The identities of the gateway that are gone, or may do something else now."""
        if installed is None:
            return []
        before, now = installed.settings._powers(), self._powers()
        return sorted(name for name in before if before[name] != now.get(name))

    def _powers(self) -> dict[str, t.Any]:
        rules = {scope.name: scope for scope in self.scopes}
        return {
            name: (rules.get(scope, scope), self.groups_of(name))
            for name, scope in _scopes_by_name(self.identities, self.accounts)
        }

    def dump(self, listen: t.Sequence[str], port: int) -> bytes:
        record = {
            "version": 1,
            "listen": list(listen),
            "port": port,
            "identities": dict(self.identities or {}),
            "accounts": [dataclasses.asdict(account) for account in self.accounts],
            "scopes": [
                {"name": scope.name, "rules": [str(rule) for rule in scope.rules], "log_only": scope.log_only}
                for scope in self.scopes
            ],
            "max_connections": self.max_connections,
            "max_request_rate": self.max_request_rate,
        }
        if self.groups:
            record["groups"] = dict(self.groups)
        if self.access:
            record["access"] = {name: list(groups) for name, groups in self.access.items()}
        return (json.dumps(record, indent=1) + "\n").encode()


@dataclasses.dataclass(frozen=True)
class Installed:
    """What the gateway was set up with."""

    settings: Settings
    listen: tuple[str, ...]
    port: int

    @classmethod
    def read(cls) -> Installed | None:
        content = _files.content(places.PLACES.settings)
        if content is None:
            return None
        lists = pem.decode(_files.content(places.PLACES.revocation_lists) or b"")
        try:
            record = json.loads(content)
            settings = read({**record, "revocation_lists": lists})
            return cls(settings, tuple(map(str, record["listen"])), int(record["port"]))
        except (ValueError, TypeError, KeyError, AttributeError, GatewayError) as error:
            raise GatewayError(
                f"{places.PLACES.settings} is damaged ({error}); remove it and run the playbook bulkhead.docker.site, "
                "which writes it anew."
            ) from error


def read(options: t.Mapping[str, t.Any]) -> Settings:
    """Of the module's option, or of the record of the last time."""
    given = options.get("identities")
    identities = None if given is None else _identities(given)
    accounts = _accounts(options.get("accounts") or ())
    scopes = tuple(_scope(entry) for entry in options.get("scopes") or ())
    known = {_scopes.ADMIN, *(scope.name for scope in scopes)}
    found: dict[str, str] = {}
    for name, scope in _scopes_by_name(identities, accounts):
        if scope not in known:
            raise GatewayError(f"the identity {name} has the scope {scope!r}, which has no rules; give them in scopes.")
        if found.setdefault(name, scope) != scope:
            raise GatewayError(f"the identity {name} has several scopes; give it one.")
    used = set(found.values())
    return Settings(
        identities=identities,
        scopes=tuple(sorted((scope for scope in scopes if scope.name in used), key=lambda scope: scope.name)),
        revocation_lists="".join(f"{block}\n" for block in pem.revocation_lists(options.get("revocation_lists") or "")),
        max_connections=int(options.get("max_connections") or 500),
        max_request_rate=int(options.get("max_request_rate") or 0),
        accounts=accounts,
        groups=_groups(options.get("groups") or ()),
        access=_access(options, identities or {}),
        revoked=tuple(map(str, options.get("revoked") or ())),
    )


def _scopes_by_name(
    identities: t.Mapping[str, str] | None, accounts: t.Iterable[Account]
) -> t.Iterator[tuple[str, str]]:
    yield from (identities or {}).items()
    yield from ((account.identity, account.scope) for account in accounts)


def _accounts(given: t.Iterable[t.Mapping[str, t.Any]]) -> tuple[Account, ...]:
    found = [Account(*(str(entry[key]) for key in ("name", "identity", "scope"))) for entry in given]
    for account in found:
        if not _users.is_account(account.name) or not layout.is_name(account.identity):
            raise GatewayError(
                f"{account.name!r} of {account.identity!r} is not the account of an identity; correct it in accounts."
            )
        if account.scope == _scopes.ADMIN:
            raise GatewayError(
                f"the account {account.name} has the scope admin, and admins use dockerd's own socket; leave it out of "
                "accounts."
            )
    if len({account.name for account in found}) != len(found):
        raise GatewayError("an account is in accounts twice; name each once.")
    return tuple(sorted(found, key=lambda account: account.name))


def _identities(given: t.Any) -> dict[str, str]:
    pairs = given.items() if isinstance(given, t.Mapping) else [(one["name"], one["scope"]) for one in given]
    found: dict[str, str] = {}
    for name, scope in pairs:
        if not layout.is_name(str(name)):
            raise GatewayError(f"{name!r} is not the name of an identity; correct it in identities.")
        if found.setdefault(str(name), str(scope)) != scope:
            raise GatewayError(f"the identity {name} has several scopes; give it one.")
    return dict(sorted(found.items()))


def _groups(given: t.Any) -> dict[str, str]:
    pairs = given.items() if isinstance(given, t.Mapping) else [(one["name"], one["ca_certificate"]) for one in given]
    found = {str(name): str(ca) for name, ca in pairs}
    for name in found:
        if not layout.is_group(name):
            raise GatewayError(f"{name!r} is not the name of an access group; correct it in groups.")
    return found


def _access(options: t.Mapping[str, t.Any], identities: t.Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Of the module's option, where each identity has it, or of the record."""
    given = options.get("identities") or ()
    of_record = isinstance(given, t.Mapping)
    pairs = (options.get("access") or {}).items() if of_record else ((one["name"], one.get("access")) for one in given)
    found = {str(name): tuple(map(str, groups)) for name, groups in pairs if groups}
    return {name: found[name] for name in identities if name in found}


def _scope(entry: t.Mapping[str, t.Any]) -> _scopes.Scope:
    name = str(entry["name"])
    if not _scopes.is_name(name):
        raise GatewayError(
            f"{name!r} is not the name of a scope: 1 to 32 small letters, digits, _ and -, and not admin; correct it."
        )
    try:
        rules = tuple(_scopes.rule(str(line), f"the scope {name}") for line in entry.get("rules") or ())
    except _scopes.ScopeError as error:
        raise GatewayError(str(error)) from error
    return _scopes.Scope(name, rules, bool(entry.get("log_only")))
