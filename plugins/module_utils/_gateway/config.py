# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of HAProxy for the gateway of an engine.

TLS ends in one frontend, which sends each identity to a backend of its own, so that its connections can be ended
alone. That of an admin is the engine itself, byte for byte. That of anybody else is a frontend of the identity's scope
behind a socket, which understands HTTP and refuses what no rule of the scope names.

HAProxy cannot ask who is at the other end of a unix socket. So each SSH account with a limited scope has a socket of
its own, in a folder that only this account can pass, and whoever comes through it is the account's identity. It leads
to the same backend as the identity's certificate, and through it to the same scope.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.places import Places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.scopes import ADMIN, Scope
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import gateway_sockets

_NOTICE = "# Written by the role docker_gateway of the Ansible collection bulkhead.docker, which overwrites changes.\n"
# What a backend's name can have of the characters of an identity's; a colon is in no identity's name.
_ESCAPES = {"@": ":a", "+": ":p"}
# A list that is empty in the file and filled while HAProxy runs, in processes of former configurations alone.
NAMES_TO_REFUSE = "/dev/null"
_LOG_ONLY, _REFUSED, _ALLOWED, _REDUCED = "would-be-refused", "refused", "allowed", "reduced"


def socket_of_account(places: Places, name: str) -> pathlib.Path:
    return gateway_sockets.folder(places.run, name) / "docker.sock"


@dataclasses.dataclass(frozen=True)
class Identity:
    """A client by the common name of its certificate, and by the CAs that may have signed it."""

    name: str
    scope: str
    issuers: tuple[str, ...]  # subjects of CAs, as RFC 2253 writes them

    @property
    def backend(self) -> str:
        return backend(self.name)


@dataclasses.dataclass(frozen=True)
class Account:
    """An SSH account with a limited scope, and whose it is: that is what the log says."""

    name: str
    identity: str
    scope: str


def backend(name: str) -> str:
    """The backend of an identity; the same in every configuration, because streams outlive them."""
    return "id_" + "".join(_ESCAPES.get(character, character) for character in name)


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the configuration is made from."""

    binds: tuple[str, ...]
    socket: str  # of dockerd
    identities: tuple[Identity, ...]
    scopes: tuple[Scope, ...]  # those that an identity has
    checks_revocation: bool
    max_connections: int  # of each identity
    max_request_rate: int  # requests of an identity with a limited scope within 10 seconds; 0: no limit
    accounts: tuple[Account, ...] = ()
    places: Places = dataclasses.field(default_factory=Places)

    def render(self) -> str:
        return "\n".join(
            [_NOTICE, *self._global(), *self._outer(), *self._accounts(), *self._backends(), *self._inner()]
        )

    def _global(self) -> list[str]:
        return [
            "global",
            "    log stdout format short daemon",
            "    maxconn 4000",
            # Without these, a client whose certificate was revoked comes back with the TLS session that it had.
            "    tune.ssl.cachesize 0",
            # An answer that is reduced has to fit into it.
            "    tune.bufsize 65536",
            "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
            "",
            "defaults",
            "    log global",
            "    timeout connect 10s",
            # For handshakes and requests; what follows them may be silent for as long as logs -f is.
            "    timeout client 30s",
            "    timeout server 168h",
            "    timeout tunnel 168h",
            "    option clitcpka",
            "    option srvtcpka",
            "",
        ]

    def _outer(self) -> t.Iterator[str]:
        places = self.places
        lists = f" crl-file {places.revocation_lists}" if self.checks_revocation else ""
        # A list that is past its date goes on refusing whom it names, and nobody else.
        expired = "crt-ignore-err 12 ca-ignore-err 12"
        options = f"ssl crt {places.server} alpn http/1.1 verify required ca-file {places.ca}{lists} {expired}"
        yield "frontend tls"
        yield "    mode tcp"
        yield from (f"    bind {bind} {options}" for bind in self.binds)
        yield (
            '    log-format "connection identity=%{+Q,+E}[var(sess.name)] scope=%[var(sess.scope)] src=%ci:%cp '
            'state=%ts milliseconds=%Tt sent=%B received=%U"'
        )
        yield "    tcp-request session set-var(sess.name) ssl_c_s_dn(cn)"
        issuers = list(dict.fromkeys(issuer for identity in self.identities for issuer in identity.issuers))
        for number, issuer in enumerate(issuers):
            yield f"    acl ca_{number} ssl_c_i_dn(,0,rfc2253) -m str -- {_quoted(issuer)}"
        # A subject with two common names says two things.
        yield "    acl two_names ssl_c_s_dn(cn,2) -m found"
        for identity in self.identities:
            cas = [f"ca_{issuers.index(issuer)}" for issuer in identity.issuers]
            of = " || ".join(f"{ca} !two_names {{ ssl_c_s_dn(cn) -m str -- {identity.name} }}" for ca in cas)
            yield f"    tcp-request session set-var(sess.identity) str({identity.backend}) if {of}"
            yield f"    tcp-request session set-var(sess.scope) str({identity.scope}) if {of}"
        yield "    tcp-request content reject unless { var(sess.identity) -m found }"
        yield "    unique-id-format %[var(sess.name)]"
        yield "    use_backend %[var(sess.identity)]"
        yield ""

    def _accounts(self) -> t.Iterator[str]:
        for account in self.accounts:
            yield f"frontend ssh_{account.name}"
            yield "    mode tcp"
            # The folder says who gets here. The gate of the account begins with the address that sshd has seen.
            yield f"    bind unix@{socket_of_account(self.places, account.name)} mode 666 accept-proxy"
            yield (
                f'    log-format "connection identity=%{{+Q,+E}}[var(sess.name)] scope={account.scope} '
                f'account={account.name} src=%ci:%cp state=%ts milliseconds=%Tt sent=%B received=%U"'
            )
            # Without an address, HAProxy's own announcement to the scope would lack the identity.
            yield "    tcp-request session reject unless { src -m found }"
            yield f"    tcp-request session set-var(sess.name) str({account.identity})"
            yield "    unique-id-format %[var(sess.name)]"
            yield f"    default_backend {backend(account.identity)}"
            yield ""

    def _backends(self) -> t.Iterator[str]:
        scopes = {identity.name: identity.scope for identity in self.identities}
        scopes.update((account.identity, account.scope) for account in self.accounts)
        for name, scope in scopes.items():
            yield f"backend {backend(name)}"
            yield "    mode tcp"
            yield f"    tcp-request content reject if {{ var(sess.name) -m str -f {NAMES_TO_REFUSE} }}"
            yield f"    tcp-request content reject if {{ be_conn gt {self.max_connections} }}"
            if scope == ADMIN:
                yield f"    server engine unix@{self.socket}"
            else:
                socket = self.socket_of(scope)
                yield f"    server scope unix@{socket} send-proxy-v2 proxy-v2-options unique-id"
            yield ""

    def socket_of(self, scope: str) -> pathlib.Path:
        return self.places.run / f"scope-{scope}.sock"

    def _inner(self) -> t.Iterator[str]:
        for scope in self.scopes:
            yield from self._scope(scope)
        if self.scopes:
            yield "backend engine"
            yield "    mode http"
            yield "    http-reuse never"
            yield f"    server engine unix@{self.socket}"
            if any(rule.reduced for scope in self.scopes for rule in scope.rules):
                yield from _reduced()
            yield ""

    def _scope(self, scope: Scope) -> t.Iterator[str]:
        yield f"frontend scope_{scope.name}"
        yield "    mode http"
        yield f"    bind unix@{self.socket_of(scope.name)} accept-proxy mode 600 proto h1"
        yield "    timeout client 168h"
        yield "    timeout http-request 30s"
        yield "    timeout http-keep-alive 10m"
        yield (
            f'    log-format "request identity=%{{+Q,+E}}[var(sess.name)] scope={scope.name} src=%ci:%cp '
            'verdict=%[var(txn.verdict)] status=%ST method=%{+Q,+E}HM path=%{+Q,+E}[var(txn.path)] state=%tsc"'
        )
        yield "    tcp-request session set-var(sess.name) fc_pp_unique_id"
        yield "    http-request set-var(txn.path) path"
        yield f"    http-request set-var(txn.verdict) str({_REFUSED})"
        if self.max_request_rate:
            yield "    stick-table type string len 64 size 10k expire 1m store http_req_rate(10s)"
            yield "    http-request track-sc0 var(sess.name)"
            yield (
                f"    {_answer(429, 'the gateway of this engine takes no more requests for now, try again later')} "
                f"if {{ sc_http_req_rate(0) gt {self.max_request_rate} }}"
            )
        yield "    acl is_path url_beg /"
        yield "    acl has_body req.hdr_val(content-length) gt 0"
        yield "    acl has_body req.hdr(transfer-encoding) -m found"
        yield "    acl upgrades req.hdr(upgrade) -m found"
        # The last rule that fits counts, and a whole answer is more. Who learns what a tool needs has to see the whole.
        for rule in sorted(scope.rules, key=lambda rule: not rule.reduced):
            if rule.reduced and scope.log_only:
                continue
            content = "" if rule.body else " !has_body"
            yield (
                f"    http-request set-var(txn.verdict) str({_REDUCED if rule.reduced else _ALLOWED}) "
                f"if is_path !upgrades{content} "
                f"{{ method {' '.join(rule.methods)} }} {{ path_reg {_quoted(rule.pattern)} }}"
            )
        refused = f"{{ var(txn.verdict) -m str {_REFUSED} }}"
        if scope.log_only:
            yield f"    http-request set-var(txn.verdict) str({_LOG_ONLY}) if {refused}"
        else:
            text = f"the gateway of this engine refuses this request, because the scope {scope.name} has no rule for it"
            yield f"    {_answer(403, text)} if {refused}"
        yield "    default_backend engine"
        yield ""


def _reduced() -> t.Iterator[str]:
    """Of what the engine says about a container, what `docker logs` needs: its id, and whether it has a terminal."""
    when = f"{{ var(txn.verdict) -m str {_REDUCED} }} {{ status 200 }}"
    known = f"{when} {{ var(txn.id) -m reg ^[0-9a-f]{{64}}$ }}"
    yield f"    http-response wait-for-body time 10s if {when}"
    yield f"    http-response set-var(txn.id) res.body,json_query('$.Id') if {when}"
    yield f"    http-response set-var(txn.tty) res.body,json_query('$.Config.Tty'),bool if {when}"
    for tty, test in (("true", "{ var(txn.tty) -m bool }"), ("false", "{ var(txn.tty) -m found }")):
        yield (
            "    http-response return status 200 content-type application/json "
            f'lf-string \'{{"Id": "%[var(txn.id)]", "Config": {{"Tty": {tty}}}}}\' if {known} {test}'
        )
    text = "the gateway of this engine cannot reduce the answer to what this scope may see"
    yield f"    {_answer(502, text, 'http-response')} if {when}"


def _answer(status: int, text: str, to: str = "http-request") -> str:
    """An answer of the form that Docker's clients show."""
    return f'{to} return status {status} content-type application/json string \'{{"message": "{text}"}}\''


def _quoted(text: str) -> str:
    """One word for HAProxy; nothing in single quotes is special but their end."""
    return "'" + text.replace("'", "'\\''") + "'"


def binds(listen: t.Iterable[str], port: int, has_ipv6: bool) -> tuple[str, ...]:
    """Addresses as dockerd has them: either wildcard is both families, where the host has IPv6."""
    found = []
    for address in listen:
        if ipaddress.ip_address(address).is_unspecified and has_ipv6:
            found.append(f"ipv6@:::{port} v4v6")
        else:
            found.append(f"{'ipv6' if ':' in address else 'ipv4'}@{address}:{port}")
    return tuple(found)
