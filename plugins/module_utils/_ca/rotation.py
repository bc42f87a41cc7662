# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The replacement of a CA by its successor: trust, reissue, retire, done.

The file `rotation` holds the phase and is written before the other files move, so whoever calls this again after a
kill ends what had begun. Every change is one rename, and each is on the disk before the next one.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import elsewhere, inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509

ORDER = (*ca.PHASES, "done")
_MOVED = ("ca-key.pem", "ca-cert.pem", "crl.pem")


@dataclasses.dataclass(frozen=True)
class Outcome:
    path: pathlib.Path
    phase: str
    changed: bool


def advance(directory: ca.Directory, wanted: str, check_mode: bool = False) -> Outcome:
    """Enter a phase, the one after the present one, or end what an earlier call had begun."""
    elsewhere.refuse(directory, "it cannot be rotated here")
    if check_mode:
        if not directory.certificate.exists():
            return Outcome(directory.path, "none", wanted != "done")
        return Outcome(directory.path, directory.phase(), _would_change(directory, wanted))
    with ca.lock(directory):
        phase = directory.phase()
        _check(directory, phase, wanted)
        changed = _would_change(directory, wanted)
        if changed:
            _apply(directory, phase, wanted)
        return Outcome(directory.path, directory.phase(), changed)


def _check(directory: ca.Directory, phase: str, wanted: str) -> None:
    steps = ORDER.index(wanted) - ORDER.index(phase)
    if steps > 1 and (phase, wanted) != ("none", "done"):
        raise ca.CaError(
            f"The rotation of the CA in {directory.path} is in the phase {phase} and cannot go to {wanted} at once: "
            "trust, reissue, retire and done follow each other. Nothing was changed."
        )
    ca.check_exists(directory)
    if (phase, wanted) == ("none", "trust"):
        missing = [name for name in _MOVED if not (directory.next.path / name).exists()]
        if missing:
            raise ca.CaError(f"{directory.next.path} holds no whole CA to change to; missing: {', '.join(missing)}.")
    if (phase, wanted) == ("trust", "reissue") or _swap_is_due(directory, phase):
        _check_exchange(directory)


def _check_exchange(directory: ca.Directory) -> None:
    """Only the CA that was published in the phase `trust` takes the place of the one that signs, whose files stay."""
    if not _is_published(directory, directory.next):
        raise ca.CaError(
            f"The CA in {directory.next.path} is not in the trust bundle {directory.bundle}, so that hosts do not know "
            "it, and it does not take the place of the one that signs. "
            + (
                "Run the playbook bulkhead.docker.rotate_ca, which publishes it first."
                if directory.phase() == "trust"
                else "Move that directory away if it is not the successor of this rotation, else bring the trust "
                "bundle back from a backup; then run the playbook bulkhead.docker.rotate_ca again."
            )
        )
    for name in _MOVED:
        successor, present, old = _places(directory, name)
        if successor.exists() and old.exists() and old.read_bytes() != present.read_bytes():
            raise ca.CaError(
                f"{old} is not a copy of {present}, which would be lost when the successor takes its place. Move "
                f"{old.parent} away, and run the playbook bulkhead.docker.rotate_ca again."
            )


def _is_published(directory: ca.Directory, successor: ca.Directory) -> bool:
    if not successor.certificate.exists():
        return not successor.key.exists()  # the key is moved first, the certificate next
    certificate = successor.load_certificate().pem
    return certificate in _present_bundle(directory) and certificate != directory.load_certificate().pem


def _places(directory: ca.Directory, name: str) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
    """A file of the successor, of the CA that signs and of the old one."""
    return directory.next.path / name, directory.path / name, directory.previous.path / name


def _would_change(directory: ca.Directory, wanted: str) -> bool:
    phase = directory.phase()
    if _enters(phase, wanted) or (phase, wanted) == ("retire", "done") or _swap_is_due(directory, phase):
        return True
    return publish(directory, check_mode=True)


def _enters(phase: str, wanted: str) -> bool:
    return wanted in ca.PHASES and ca.PHASES.index(wanted) == ca.PHASES.index(phase) + 1


def _swap_is_due(directory: ca.Directory, phase: str) -> bool:
    return phase in ("reissue", "retire") and directory.next.path.exists()


def _apply(directory: ca.Directory, phase: str, wanted: str) -> None:
    if _enters(phase, wanted):
        ca.replace(directory.rotation, f"{wanted}\n".encode(), 0o600)
        phase = wanted
    if _swap_is_due(directory, phase):
        _swap(directory)
    if phase == "retire":
        _record_retired(directory)
    publish(directory)
    if (phase, wanted) == ("retire", "done"):
        if directory.previous.path.exists():
            shutil.rmtree(directory.previous.path)
        _files.sync_folder(directory.path)
        directory.rotation.unlink()
        _files.sync_folder(directory.path)


def _record_retired(directory: ca.Directory) -> None:
    """Keep the certificate of the old CA, so that what still trusts it is known as ours."""
    if not directory.previous.certificate.exists():
        return
    known = inspect.retired(directory)
    old = f"{directory.previous.load_certificate().pem}\n"
    if old not in known:
        ca.replace(directory.retired, f"{known}{old}".encode())


def finish(directory: ca.Directory) -> None:
    """End the exchange of files that a killed run has begun; whoever calls this holds the lock."""
    for place in (directory, directory.next, directory.previous):
        _files.sweep(place.key)  # a key that was about to be written, maybe without a passphrase
    if _swap_is_due(directory, directory.phase()):
        _swap(directory)


def publish(directory: ca.Directory, check_mode: bool = False) -> bool:
    """Write the trust bundle and the revocation lists as the present phase has them; whether they were others."""
    files = _published(directory, directory.phase()).items()
    due = [(path, content) for path, content in files if _files.content(path) != content]
    for path, content in [] if check_mode else due:
        ca.replace(path, content)
    return bool(due)


def _swap(directory: ca.Directory) -> None:
    """The successor signs from now on; the old CA stays known."""
    _check_exchange(directory)
    _files.make_folder(directory.previous.path, 0o700)
    for name in _MOVED:
        successor, present, old = _places(directory, name)
        if not successor.exists():
            continue
        if not old.exists():
            os.link(present, old)
            _files.sync_folder(old.parent)
        successor.replace(present)
        _files.sync_folder(directory.path)
    shutil.rmtree(directory.next.path)
    _files.sync_folder(directory.path)


def _published(directory: ca.Directory, phase: str) -> dict[pathlib.Path, bytes]:
    """The trust bundle, and a revocation list of each CA in it, the CA that signs first."""
    cas = directory.published(phase)
    certificates = [one.load_certificate().pem for one in cas]
    if phase == "none":  # nothing is taken away from a bundle without a rotation
        certificates += [block for block in _present_bundle(directory) if block not in certificates]
    return {
        directory.bundle: "".join(f"{block}\n" for block in certificates).encode(),
        directory.crl: "".join(f"{one.load_crl()}\n" for one in cas).encode(),
    }


def _present_bundle(directory: ca.Directory) -> list[str]:
    try:
        return [entry.pem for entry in x509.load_bundle(pem.decode(_files.content(directory.bundle) or b""))]
    except x509.CertificateError:
        return []
