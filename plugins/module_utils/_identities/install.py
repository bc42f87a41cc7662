# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts an identity's files into place, so that a run that is killed leaves nothing that the next one cannot end."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import stat
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import status
from ansible_collections.bulkhead.docker.plugins.module_utils._identities.layout import (
    CA,
    CERT,
    FOLDER_MODE,
    KEY,
    MODES,
    Layout,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import request as keys
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509

Diff = dict[str, str]


class InstallError(Exception):
    """One sentence about files that cannot be put into place."""


@dataclasses.dataclass(frozen=True)
class _Step:
    header: str
    before: str
    after: str
    apply: t.Callable[[], None]

    @property
    def diff(self) -> Diff:
        return {
            "before_header": self.header,
            "after_header": self.header,
            "before": self.before,
            "after": self.after,
        }


def present(layout: Layout, bundle: str, certificate: str, expects_key: bool, check: bool) -> list[Diff]:
    """Make folders and modes right, write the trust bundle, and install the certificate; empty where it was there.

    What is trusted comes first: while a CA is replaced, its successor is known before anyone needs it. The key comes
    before its certificate, and is the one that waits if that is the certificate's.
    """
    installs = _certificate_steps(layout, certificate, check) if certificate else []
    steps = _folder_steps(layout, expects_key or bool(installs)) + _mode_steps(layout)
    found = status.read(layout.folder / CA)
    if bundle and status.blocks(found.text) != status.blocks(bundle):
        steps.append(_file_step(layout.folder / CA, found, bundle))
    steps += installs
    if not check:
        for step in steps:
            step.apply()
    return [step.diff for step in steps]


def make_key(layout: Layout, key_type: str, size: int) -> None:
    """A key in the folder where it waits for its certificate; one of a run that was interrupted waits there already."""
    path = layout.pending / KEY
    (layout.pending / CERT).unlink(missing_ok=True)
    if not keys.is_of_type(path, key_type, size):
        _files.replace(path, keys.new_key(key_type, size), MODES[KEY])
    path.chmod(MODES[KEY])


def take(layout: Layout, source: status.Source, check: bool) -> str:
    """The certificate that something else keeps; its key waits where present() expects it."""
    certificate, key = status.read(source.certificate), status.read(source.key)
    for path, file in ((source.certificate, certificate), (source.key, key)):
        if file.content is None:
            raise InstallError(f"{path} cannot be read ({file.problem or 'it is not there'})")
    if not check:
        _maker(layout.pending, layout)()
        _files.replace(layout.pending / KEY, key.content or b"", MODES[KEY])
    return certificate.text


def request(layout: Layout, new_key: bool) -> str:
    """The certificate request of the key that waits, or of the present one."""
    path = (layout.pending if new_key else layout.folder) / KEY
    return keys.request(path.read_bytes(), layout.name, "client")


def _folder_steps(layout: Layout, expects_key: bool) -> list[_Step]:
    steps = []
    for folder in (layout.folder, *([layout.pending] if expects_key else [])):
        mode = _files.mode(folder, 0) if folder.is_dir() else 0
        if mode != FOLDER_MODE:
            before = f"mode {mode:04o}\n" if mode else ""
            steps.append(_Step(str(folder), before, f"mode {FOLDER_MODE:04o}\n", _maker(folder, layout)))
    return steps


def _maker(folder: pathlib.Path, layout: Layout) -> t.Callable[[], None]:
    above = 3 if layout.group else 2  # up to ~/.bulkhead

    def make() -> None:
        missing = [path for path in (folder, *list(folder.parents)[:above]) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            path.chmod(FOLDER_MODE)  # whatever the umask has left of it
        folder.chmod(FOLDER_MODE)

    return make


def _mode_steps(layout: Layout) -> list[_Step]:
    steps = []
    for name, mode in MODES.items():
        path = layout.folder / name
        with contextlib.suppress(FileNotFoundError):
            found = path.stat().st_mode
            if stat.S_ISREG(found) and stat.S_IMODE(found) != mode:
                before, after = f"mode {stat.S_IMODE(found):04o}\n", f"mode {mode:04o}\n"
                steps.append(_Step(str(path), before, after, lambda path=path, mode=mode: path.chmod(mode)))  # type: ignore[misc]
    return steps


def _file_step(path: pathlib.Path, found: status.File, pem: str) -> _Step:
    text = pem.strip() + "\n"

    def write() -> None:
        staged = _files.staged(path, "new")
        _files.write(staged, text.encode("ascii"), MODES[path.name])
        staged.replace(path)
        _files.sync_folder(path.parent)

    return _Step(str(path), _described(found.content), _described(text.encode("ascii")), write)


def _certificate_steps(layout: Layout, pem: str, check: bool) -> list[_Step]:
    certificate, found = x509.load_bundle(pem)[0].certificate, status.read(layout.folder / CERT)
    if status.blocks(found.text) == status.blocks(pem) and _is_key(layout.folder / KEY, certificate):
        return []
    waits = _is_key(layout.pending / KEY, certificate)
    if not waits and not check and not _is_key(layout.folder / KEY, certificate):
        raise InstallError(
            f"the certificate is for none of the keys in {layout.pending} and {layout.folder}; run again"
        )
    staged = _file_step(layout.pending / CERT, status.File(), pem)

    def install() -> None:
        staged.apply()
        for name in (KEY, CERT) if waits else (CERT,):
            (layout.pending / name).replace(layout.folder / name)
            (layout.folder / name).chmod(MODES[name])
            _files.sync_folder(layout.folder)
        for name in (KEY, CERT):  # of runs before that were interrupted
            (layout.pending / name).unlink(missing_ok=True)
        for folder in (layout.pending, *([layout.pending.parent] if layout.group else [])):
            _files.remove_if_empty(folder)

    return [_Step(str(layout.folder / CERT), _described(found.content), staged.after, install)]


def _is_key(path: pathlib.Path, certificate: t.Any) -> bool:
    try:
        return x509.same_key(certificate.public_key(), x509.public_half(status.read(path).content or b""))
    except x509.UNREADABLE:
        return False


def _described(content: bytes | None) -> str:
    if content is None:
        return ""
    try:
        return x509.describe(content)
    except x509.UNREADABLE:
        return "(no certificate)\n"
