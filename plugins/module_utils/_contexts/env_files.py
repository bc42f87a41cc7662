# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a context says, for tools that read no contexts: a folder for each, ``~/.bulkhead/env/NAME``.

The files hold no secret; they name the folder of the identity.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files as files
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.options import Context, StoreError

ENV, PROPERTIES, TERRAFORM = "docker.env", ".testcontainers.properties", "docker.tf"

_MARK = re.compile(r"# Written by bulkhead\.docker, set (\S.*)")
# What shells, systemd, `docker run --env-file`, Java's properties and HCL all take as it stands.
_PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./\[\]_-]+")


@dataclasses.dataclass(frozen=True)
class Mark:
    """Whose a folder is."""

    set_name: str
    host: str
    identity: str  # empty over SSH


def contents(context: Context, set_name: str) -> dict[str, str]:
    """The files of a context, by their names."""
    tls = bool(context.tls)
    if tls and not context.cert_path:
        raise StoreError(f"context {context.name!r}: its env files need cert_path, the folder of its three TLS files")
    if tls and context.skip_verify:
        raise StoreError(
            f"context {context.name!r} has validate_certs: false, which no env file can say; set env_files to false"
        )
    for value in (context.host, context.cert_path):
        if value and not _PLAIN.fullmatch(value):
            raise StoreError(
                f"context {context.name!r}: {value!r} has characters that env files cannot hold without quotes, which "
                "not every program reads; use another folder, or set env_files to false"
            )
    mark = f"# Written by bulkhead.docker, set {set_name}\n"
    env = [("DOCKER_HOST", context.host)]
    if tls:
        env += [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", context.cert_path)]
    found = {
        ENV: mark + "".join(f"{name}={value}\n" for name, value in env),
        TERRAFORM: mark + _terraform(context),
    }
    if tls:  # Testcontainers for Java, Go and Node.js cannot use ssh://
        properties = [
            ("docker.host", context.host),
            ("docker.tls.verify", "1"),
            ("docker.cert.path", context.cert_path),
        ]
        found[PROPERTIES] = mark + "".join(f"{name}={value}\n" for name, value in properties)
    return found


def _terraform(context: Context) -> str:
    lines = [f'  host      = "{context.host}"', *([f'  cert_path = "{context.cert_path}"'] if context.tls else [])]
    return "\n".join(['provider "docker" {', *lines, "}", ""])


class EnvFiles:
    """The folders of all contexts of a user."""

    def __init__(self, home: pathlib.Path) -> None:
        self.root = home / ".bulkhead/env"

    def folder(self, name: str) -> pathlib.Path:
        return self.root / name

    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob(f"*/{ENV}"))

    def find(self, name: str) -> dict[str, str]:
        """Those of the three files that are there."""
        found = {}
        for file in (ENV, PROPERTIES, TERRAFORM):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found[file] = files.read_regular(self.folder(name) / file)[0].decode("utf-8", "replace")
        return found

    def mark(self, name: str) -> Mark | None:
        """None for a folder that somebody else made."""
        lines = self.find(name).get(ENV, "").splitlines()
        found = _MARK.fullmatch(lines[0]) if lines else None
        if not found:
            return None
        values = dict(line.partition("=")[::2] for line in lines[1:])
        folders = pathlib.Path(values.get("DOCKER_CERT_PATH", "")).parts
        # NAME, or NAME/GROUP for a further access group.
        below = folders[folders.index("identities") + 1 :] if "identities" in folders else folders[-1:]
        return Mark(found.group(1), values.get("DOCKER_HOST", ""), below[0] if below else "")

    def check(self, name: str) -> None:
        if self.find(name) and not self.mark(name):
            raise StoreError(
                f"{self.folder(name)} has files that this collection did not write; move them away, or set env_files "
                "to false"
            )

    def write(self, name: str, wanted: t.Mapping[str, str]) -> None:
        folder = self.folder(name)
        files.make_folder(folder, 0o700)
        for file in set(self.find(name)) - set(wanted):
            (folder / file).unlink()
        # The marked one first: a run that is killed leaves nothing that the next one takes for somebody else's.
        for file, text in sorted(wanted.items(), key=lambda item: item[0] != ENV):
            files.replace(folder / file, text.encode(), 0o600)

    def remove(self, name: str) -> None:
        folder = self.folder(name)
        for file in (TERRAFORM, PROPERTIES, ENV):
            with contextlib.suppress(FileNotFoundError):
                (folder / file).unlink()
        for path in (folder, self.root, self.root.parent):
            files.remove_if_empty(path)
