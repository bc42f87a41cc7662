# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A context as it is declared, checked: whatever passes is safe to write and usable by the CLI."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import ssl
import typing as t
import urllib.parse

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names

CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
# What docker_context and docker_contexts take for one context, beside its name and endpoint.
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "validate_certs": {"type": "bool", "default": True},
    "description": {"type": "str"},
}
# What docker_contexts and docker_identity_info take for a whole set.
DECLARED: dict[str, dict[str, t.Any]] = {
    "contexts": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "docker_host": {"type": "str", "required": True},
            **ARGUMENTS,
            "cert_path": {"type": "path"},
        },
    },
    "env_files": {"type": "bool", "default": False},
    "current": {"type": "str"},
    "purge": {"type": "bool", "default": False},
    "context_set": {"type": "str", "default": "bulkhead"},
    "config_dir": {"type": "path"},
}

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+$-]*")

Tls = t.Mapping[str, t.Optional[bytes]]


class StoreError(Exception):
    """One sentence about a context that cannot be written or a store that cannot be changed."""


@dataclasses.dataclass(frozen=True)
class Context:
    """A context as it shall be; ``tls`` is empty for endpoints without, and None stands for a file yet to come."""

    name: str
    host: str
    tls: Tls = dataclasses.field(default_factory=dict)
    skip_verify: bool = False
    description: str | None = None  # None keeps the one that is there
    cert_path: str = ""  # the folder that holds the three files, for tools that read no contexts


def check_name(name: str) -> None:
    if name == "default":
        raise StoreError("the context name 'default' is Docker's own; choose another one")
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"the context name {name!r} is not allowed by Docker: at least two characters, the first one a letter or "
            "digit, the others letters, digits and _ . + -"
        )


def check_host(host: str) -> str:
    """The scheme of an endpoint that the CLI can use."""
    scheme, separator, rest = host.partition("://")
    if not separator or re.search(r"[\s\x00-\x1f\x7f]", host):
        raise StoreError(f"docker_host {host!r} is no URL; use unix:///PATH, ssh://USER@HOST or tcp://HOST:PORT")
    if scheme in ("http", "https"):
        raise StoreError(f"docker_host {host!r}: Docker contexts have no {scheme}:// endpoints; use tcp://{rest}")
    if scheme not in ("unix", "ssh", "tcp"):
        raise StoreError(f"docker_host {host!r} is none of unix://, ssh:// and tcp://")
    if scheme == "unix":
        if not rest.startswith("/"):
            raise StoreError(f"docker_host {host!r} needs an absolute path, as in unix:///run/docker.sock")
        return scheme
    try:
        url = urllib.parse.urlsplit(host)
        port = url.port
    except ValueError as error:
        raise StoreError(f"docker_host {host!r} is no URL ({error})") from error
    if not url.hostname or url.query or url.fragment:
        raise StoreError(f"docker_host {host!r} needs a host, and no query or fragment")
    if not names.is_address(url.hostname):
        raise StoreError(
            f"docker_host {host!r} has the host {url.hostname!r}, which is neither an IP address nor a host name as "
            "RFC 1123 allows it (letters, digits and hyphens between dots)"
        )
    authority = names.bracketed(url.hostname) + (f":{port}" if port is not None else "")
    if url.netloc.rpartition("@")[2].lower() != authority:
        raise StoreError(f"docker_host {host!r} is no URL; use {scheme}://{authority}")
    if scheme == "tcp" and (url.username is not None or not port):
        raise StoreError(f"docker_host {host!r} needs a port and no user name, as in tcp://{url.hostname}:2376")
    if scheme == "ssh" and url.password is not None:
        raise StoreError("docker_host holds a password, which Docker refuses; use an SSH key")
    if scheme == "ssh" and url.username is not None and not _USER.fullmatch(url.username):
        raise StoreError(f"docker_host {host!r} has the user {url.username!r}, which cannot be an account")
    return scheme


def from_options(options: t.Mapping[str, t.Any], check: bool) -> tuple[Context, list[str]]:
    """A context from the options that both modules have, and the TLS files that check mode found missing."""
    name, host = options["name"], options["docker_host"] or ""
    check_name(name)
    try:
        scheme = check_host(host)
        given = {option: options[option] for option in ("ca_path", "client_cert", "client_key") if options[option]}
        if scheme != "tcp":
            if given:
                raise StoreError(f"docker_host {host!r} takes no TLS files; leave {', '.join(given)} out")
            return Context(name, host, description=options["description"]), []
        if len(given) < 3:
            raise StoreError(
                f"docker_host {host!r} needs ca_path, client_cert and client_key, because without all three clients "
                "would speak plain HTTP or trust every public CA"
            )
        tls, missing = read_tls(**given, check=check)
    except StoreError as error:
        raise StoreError(f"context {name!r}: {error}") from error
    cert_path = options.get("cert_path") or ""
    return Context(name, host, tls, not options["validate_certs"], options["description"], cert_path), missing


def read_tls(ca_path: str, client_cert: str, client_key: str, check: bool) -> tuple[Tls, list[str]]:
    """The three files' contents, which fit together, and the paths that check mode found missing."""
    paths = {CA: pathlib.Path(ca_path), CERT: pathlib.Path(client_cert), KEY: pathlib.Path(client_key)}
    found = {name: _read(path, check) for name, path in paths.items()}
    missing = [str(path) for name, path in paths.items() if found[name] is None]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if found[CA] is not None:
        try:
            context.load_verify_locations(cafile=str(paths[CA]))
        except ssl.SSLError as error:
            raise StoreError(f"ca_path {ca_path} holds no certificate in PEM format ({error.reason})") from error
    if b"ENCRYPTED" in (found[KEY] or b""):
        raise StoreError(f"client_key {client_key} is encrypted, which Docker clients cannot use; decrypt it first")
    if found[CERT] is not None and found[KEY] is not None:
        try:
            context.load_cert_chain(client_cert, client_key, password="")
        except ssl.SSLError as error:
            if "MISMATCH" in (error.reason or ""):
                raise StoreError(
                    f"client_key {client_key} is not the key of the certificate client_cert {client_cert}"
                ) from error
            raise StoreError(
                f"client_cert {client_cert} and client_key {client_key} cannot be used ({error.reason})"
            ) from error
    if any(_read(path, check) != found[name] for name, path in paths.items()):
        raise StoreError(f"{ca_path}, {client_cert} or {client_key} is being replaced right now; run again")
    return found, missing


def _read(path: pathlib.Path, check: bool) -> bytes | None:
    try:
        return _files.read_regular(path)[0]
    except FileNotFoundError as error:
        if check:
            return None
        raise StoreError(f"{path} cannot be read: there is no such file") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
