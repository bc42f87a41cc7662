# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bundle of an identity for a server that Ansible does not manage: what is in it, and how it is written."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import pathlib
import shutil
import tarfile
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.options import CA, CERT, KEY

Engine = t.Mapping[str, t.Any]
Encrypt = t.Callable[[bytes], bytes]

_VARIABLES = {CA: "DOCKER_CA_PEM", CERT: "DOCKER_CERT_PEM", KEY: "DOCKER_KEY_PEM"}


class BundleError(Exception):
    """One sentence about a bundle that cannot be written."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """The three files, with what a person is told about them."""

    name: str
    pem: t.Mapping[str, bytes]
    not_after: str
    fingerprint: str


def contents(identity: Identity, engines: t.Sequence[Engine], encrypt: Encrypt | None) -> dict[str, bytes]:
    """The files by their paths in the bundle. Whatever holds the key is encrypted, unless nothing is."""

    def secret(data: bytes) -> bytes:
        return encrypt(data) if encrypt else data

    found = {f"identity/{name}": data for name, data in identity.pem.items()}
    found[f"identity/{KEY}"] = secret(identity.pem[KEY])
    for engine in engines:
        found[f"contexts/{engine['context']}.dockercontext"] = secret(_context(identity, engine))
    found["variables.env"] = secret(_variables(identity))
    found["README.txt"] = _readme(identity, engines, bool(encrypt)).encode()
    return found


def _variables(identity: Identity) -> bytes:
    """For the secret store of a CI system: one line each, because many of them take no others."""
    lines = [f"{name}={base64.b64encode(identity.pem[file]).decode()}" for file, name in _VARIABLES.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _context(identity: Identity, engine: Engine) -> bytes:
    """What `docker context export` writes and `docker context import` reads."""
    meta = {
        "Name": engine["context"],
        "Metadata": {"Description": f"{engine['name']} as {identity.name} over TLS"},
        "Endpoints": {"docker": {"Host": engine["host"], "SkipTLSVerify": False}},
    }
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        _add(archive, "meta.json", json.dumps(meta, separators=(",", ":")).encode(), 0o644)
        for folder in ("tls", "tls/docker"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(entry)
        for name, data in identity.pem.items():
            _add(archive, f"tls/docker/{name}", data, 0o600)
    return output.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _readme(identity: Identity, engines: t.Sequence[Engine], encrypted: bool) -> str:
    context = engines[0]["context"]
    view = "ansible-vault decrypt --output -" if encrypted else "cat"
    lines = [
        f"Identity {identity.name} for Docker engines, valid until {identity.not_after}.",
        f"SHA-256 fingerprint of its certificate: {identity.fingerprint}",
        "",
        "It holds a private key with which whoever has it is root on these engines:",
        "",
        *(f"  {engine['context']:20}  {engine['host']}" for engine in engines),
        "",
        "identity/        folder for DOCKER_CERT_PATH",
        "contexts/        one archive for each engine:",
        f"                 {view} contexts/{context}.dockercontext | docker context import {context} -",
        f"variables.env    {', '.join(_VARIABLES.values())} in base64, for the secret store of a CI system",
        "",
        "Files with the key are encrypted with ansible-vault." if encrypted else "NOTHING IN HERE IS ENCRYPTED.",
        "Remove the bundle when it has arrived. Revoke the identity, when it is lost or no longer used:",
        f"ansible-playbook bulkhead.docker.revoke_client -e docker_revoke_name={identity.name}",
    ]
    return "".join(f"{line}\n" for line in lines)


def check(dest: pathlib.Path) -> None:
    """Before anything is signed."""
    if not dest.is_absolute():
        raise BundleError(f"docker_export_dest is {str(dest)!r}; it has to start with / or ~/.")
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise BundleError(
            f"{dest} exists on the control node and is not empty. A bundle replaces nothing: remove it when it has "
            "arrived where it is used, or name another docker_export_dest."
        )
    if not dest.parent.is_dir():
        raise BundleError(f"{dest.parent} is no directory on the control node; make it, or correct docker_export_dest.")


def write(dest: pathlib.Path, files: t.Mapping[str, bytes]) -> None:
    """All of it or nothing, and never readable by anybody else."""
    new = _files.staged(dest, "new")
    if new.exists():
        shutil.rmtree(new)
    try:
        for name, data in files.items():
            _files.make_folder((new / name).parent, 0o700)
            _files.write(new / name, data, 0o600)
        new.replace(dest)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise BundleError(f"{dest} cannot be written on the control node: {error}.") from error
    _files.sync_folder(dest.parent)
