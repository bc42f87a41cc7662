# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may use the Docker API over SSH: what an operator writes, checked, and the lines that sshd reads."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import ipaddress
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.scopes import ADMIN

ALL = "all"  # instead of names: every account, so that no account can have this name
OTHERS = "*"  # in what is kept: every account that is not asked for; no name of anybody

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]*")
_NETWORK = re.compile(r"[0-9A-Fa-f:./]+")
# The types of keys with the algorithms of their signatures, of which sshd has to accept one.
ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "sk-ssh-ed25519@openssh.com": ("sk-ssh-ed25519@openssh.com",),
    "sk-ecdsa-sha2-nistp256@openssh.com": ("sk-ecdsa-sha2-nistp256@openssh.com",),
}


class UserError(Exception):
    """One sentence about a user, a key or a network that cannot be accepted."""


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """A public key without options: those are the role's to write."""

    kind: str
    blob: str
    comment: str

    @property
    def line(self) -> str:
        return f"{self.kind} {self.blob} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def rsa_bits(self) -> int:
        """The size of an RSA key, 0 of every other."""
        if self.kind != "ssh-rsa":
            return 0
        fields, rest = [], base64.b64decode(self.blob)
        while len(rest) >= 4:
            length = int.from_bytes(rest[:4], "big")
            fields.append(rest[4 : 4 + length])
            rest = rest[4 + length :]
        return int.from_bytes(fields[2], "big").bit_length() if len(fields) > 2 else 0


@dataclasses.dataclass(frozen=True)
class User:
    """One account as it shall be."""

    name: str
    keys: tuple[PublicKey, ...]
    principals: tuple[str, ...]
    allowed_from: tuple[str, ...]
    expires: datetime.datetime | None
    comment: str
    scope: str = ADMIN

    @property
    def admin(self) -> bool:
        return self.scope == ADMIN

    def expired(self, now: datetime.datetime) -> bool:
        return self.expires is not None and self.expires <= now

    @staticmethod
    def restrictions(gate: str) -> str:
        """What every key's line begins with."""
        return f'restrict,command="{gate}"'

    def _options(self, gate: str) -> str:
        options = [self.restrictions(gate)]
        if self.allowed_from:
            options.append(f'from="{",".join(self.allowed_from)}"')
        if self.expires:
            # sshd before 9.1 knows the host's own time only.
            options.append(f'expiry-time="{self.expires.astimezone().strftime("%Y%m%d%H%M%S")}"')
        return ",".join(options)

    def authorized_keys(self, gate: str) -> str:
        return "".join(f"{self._options(gate)} {key.line}\n" for key in self.keys)

    def authorized_principals(self, gate: str) -> str:
        return "".join(f"{self._options(gate)} {principal}\n" for principal in self.principals)


def account(identity: t.Mapping[str, t.Any]) -> str:
    """The account on engines that a client's identity logs in to."""
    return str(identity.get("ssh_account") or f"docker-{identity['name']}")


def is_account(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and name != ALL


def public_key(text: str, whose: str) -> PublicKey:
    if "PRIVATE KEY" in text:
        raise UserError(f"what stands as a public key of {whose} is a private key; give the content of the .pub file.")
    if "\n" in text.strip() or "\r" in text.strip():
        raise UserError(f"a public key of {whose} has several lines; give each key as an entry of its own.")
    words = text.split(maxsplit=2)
    if len(words) < 2 or words[0] not in ALGORITHMS:
        raise UserError(
            f"a public key of {whose} starts with '{text.strip()[:30]}' and not with a type such as ssh-ed25519; give "
            "the line of a .pub file, without options."
        )
    try:
        blob = base64.b64decode(words[1], validate=True)
    except ValueError as error:
        raise UserError(
            f"a public key of {whose} is damaged ({error}); copy the whole line of its .pub file."
        ) from error
    kind = words[0].encode()
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind) or len(blob) < len(kind) + 36:
        raise UserError(f"a public key of {whose} is not complete; copy the whole line of its .pub file.")
    comment = "".join(c for c in (words[2] if len(words) > 2 else "") if c.isprintable())
    return PublicKey(words[0], words[1], comment)


def public_keys(texts: t.Iterable[str], whose: str) -> tuple[PublicKey, ...]:
    found = {key.blob: key for key in (public_key(text, whose) for text in texts)}
    return tuple(found.values())


def moment(text: str, name: str) -> datetime.datetime:
    """The moment at which access ends; a date alone counts to its end, and a time without a zone is UTC."""
    text = text.strip()
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            day = datetime.date.fromisoformat(text)
            start = datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc)
            return start + datetime.timedelta(days=1)
        when = datetime.datetime.fromisoformat(re.sub(r"[Zz]\Z", "+00:00", text))
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"docker_ssh_users: expires of {name} is '{text}'; write a date such as 2030-12-31 or a time such as "
            "2030-12-31T18:00:00Z."
        ) from error
    return when if when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)


def networks(texts: t.Iterable[str], variable: str) -> tuple[str, ...]:
    result = []
    for text in texts:
        try:
            # Python takes any text for the zone of an address, a quote and a new line, too.
            if not _NETWORK.fullmatch(text):
                raise ValueError("it has other characters than those of addresses; a zone has no meaning here")
            result.append(str(ipaddress.ip_network(text)))
        except ValueError as error:
            raise UserError(f"{variable}: {text!r} is not an address or a network in CIDR form ({error}).") from error
    return tuple(dict.fromkeys(result))


def users(given: t.Sequence[t.Mapping[str, t.Any]], certificates: bool, keys_later: bool = False) -> list[User]:
    """The users that shall have access, in the order given; those with state absent are left out.

    In check mode a user may be without a key: the run would have made it on a client host by then.
    """
    wanted: list[User] = []
    seen: set[str] = set()
    for entry in given:
        name = str(entry["name"])
        if not NAME.fullmatch(name):
            raise UserError(
                f"docker_ssh_users: '{name}' cannot be the name of an account; use small letters, digits, '-' and '_', "
                "at most 31."
            )
        if name == ALL:
            raise UserError(
                f"docker_ssh_users: '{ALL}' stands for every account in docker_ssh_absent_names; choose another name."
            )
        if name in seen:
            raise UserError(f"docker_ssh_users names {name} twice; keep one entry.")
        seen.add(name)
        if entry["state"] == "absent":
            continue
        comment = str(entry["comment"])
        if not comment.isprintable() or re.search(r"[:,=\\\"]", comment):
            raise UserError(f"docker_ssh_users: the comment of {name} has a character that an account cannot carry.")
        user = User(
            name=name,
            keys=public_keys(entry["public_keys"], f"{name} in docker_ssh_users"),
            principals=tuple(dict.fromkeys(str(p) for p in entry["principals"])),
            allowed_from=networks(entry["allowed_from"], f"docker_ssh_users: allowed_from of {name}"),
            expires=moment(str(entry["expires"]), name) if entry["expires"] else None,
            comment=comment,
            scope=str(entry.get("scope") or ADMIN),
        )
        for principal in user.principals:
            if not _PRINCIPAL.fullmatch(principal):
                raise UserError(f"docker_ssh_users: '{principal}' of {name} cannot be a certificate's principal.")
        if not user.keys and not user.principals and not keys_later:
            raise UserError(f"docker_ssh_users: {name} has neither public_keys nor principals; give one of them.")
        if user.principals and not certificates:
            raise UserError(
                f"docker_ssh_users: {name} has principals, but docker_ssh_trusted_user_ca_keys names no CA for them."
            )
        wanted.append(user)
    return wanted
