# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds access, host by host: what the record of certificates does not tell.

Several hosts have identities of one name, some use SSH alone, and certificates expire or are installed by something
else. An entry is an empty file whose name says all, so it is there whole or not at all: ``engine,HOST`` for an engine
that trusts the CA, ``client,HOST,IDENTITY,TRANSPORT`` for an identity of a client host, ``export,IDENTITY`` for one
that was exported. Commas in names are quoted.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t
import urllib.parse

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout

_FIELDS = {"engine": ("host",), "client": ("host", "identity", "transport"), "export": ("identity",)}


@dataclasses.dataclass(frozen=True)
class Holder:
    kind: str
    host: str = ""
    identity: str = ""
    transport: str = ""

    def check(self) -> None:
        """Whether an entry can say it, and nothing beside it."""
        wanted = _FIELDS[self.kind]
        given = [name for name in ("host", "identity", "transport") if getattr(self, name)]
        if list(wanted) != given:
            raise ca.CaError(f"An entry of the kind {self.kind} has {', '.join(wanted)}, and not {', '.join(given)}.")
        if self.identity and not layout.is_name(self.identity):
            raise ca.CaError(
                f"'{self.identity}' is not the name of an identity: 1 to 64 letters, digits and @ . _ + -, the first "
                "one a letter or digit. Nothing was changed."
            )

    @property
    def file(self) -> str:
        return ",".join([self.kind, *(urllib.parse.quote(getattr(self, name), safe="") for name in _FIELDS[self.kind])])

    @classmethod
    def of_file(cls, name: str) -> Holder | None:
        """None for whatever is no entry, such as what a run that was killed has left, or written in another way."""
        kind, *values = name.split(",")
        fields = _FIELDS.get(kind, ())
        if not fields or len(fields) != len(values) or not all(values):
            return None
        holder = cls(kind, **{field: urllib.parse.unquote(value) for field, value in zip(fields, values)})
        return holder if holder.file == name else None


def found(directory: ca.Directory) -> list[Holder]:
    """All entries. The caller holds the lock."""
    try:
        names = sorted(path.name for path in directory.holders.iterdir())
    except FileNotFoundError:  # no run has handed anything out yet
        return []
    except OSError as error:
        raise ca.CaError(f"{directory.holders} cannot be read ({error.strerror}).") from error
    return [holder for holder in map(Holder.of_file, names) if holder]


def add(directory: ca.Directory, holders: t.Iterable[Holder], check_mode: bool = False) -> list[str]:
    """Write the entries that are missing; what was written. The caller holds the lock."""
    wanted = list(dict.fromkeys(holders))
    for holder in wanted:
        holder.check()
    missing = [path for path in (directory.holders / holder.file for holder in wanted) if not path.exists()]
    if missing and not check_mode:
        _files.make_folder(directory.holders, 0o700)
        for leftover in directory.holders.glob(".*.bulkhead-new"):
            leftover.unlink()
        for path in missing:
            ca.replace(path, b"", 0o600)
    return [_shown(directory, path) for path in missing]


def remove(directory: ca.Directory, ended: t.Callable[[Holder], bool], check_mode: bool = False) -> list[str]:
    """Remove the entries that have ended; what was removed. The caller holds the lock."""
    paths = [directory.holders / holder.file for holder in found(directory) if ended(holder)]
    if paths and not check_mode:
        for path in paths:
            path.unlink()
        _files.sync_folder(directory.holders)
    return [_shown(directory, path) for path in paths]


def record(
    directory: ca.Directory,
    present: t.Sequence[Holder],
    absent_hosts: t.Collection[str],
    check_mode: bool = False,
    absent: t.Collection[Holder] = (),
) -> list[str]:
    """Write entries, and remove those of hosts and of identities that have nothing any more; the files that changed.

    Whoever was revoked since the caller has read the record gets nothing.
    """
    if not present and not directory.certificate.exists():
        return []
    with ca.lock_existing(directory, shared=check_mode):
        revoked = {one.identity for one in present} & {*directory.marks()}
        if revoked:
            raise ca.CaError(
                f"{', '.join(sorted(revoked))}: revoked on the CA host since this run has read its record. Nothing was "
                "recorded and nobody was given access. Run the playbook again when the revocation has ended."
            )
        written = add(directory, present, check_mode)
        return written + remove(
            directory, lambda one: one in absent or (bool(one.host) and one.host in absent_hosts), check_mode
        )


def _shown(directory: ca.Directory, path: pathlib.Path) -> str:
    return str(path.relative_to(directory.path))
