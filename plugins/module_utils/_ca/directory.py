# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of a CA: its files, its lock, its key, and the phase of a rotation."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files, _locks
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509
from cryptography.hazmat.primitives import serialization

GROUP_NAME = "1 to 32 small letters, digits, - and _, the first one a letter or digit"
PHASES = ("none", "trust", "reissue", "retire")
_LOCK_LIMIT = 60  # seconds; signing takes a fraction of one


class CaError(Exception):
    """One sentence about a CA that cannot do what is asked for."""


@dataclasses.dataclass(frozen=True)
class Directory:
    """Paths of a CA. The successor and the old CA of a rotation are directories of the same kind below it."""

    path: pathlib.Path
    top: pathlib.Path | None = None  # the directory that this one is below, in a rotation
    home: pathlib.Path | None = None  # of the CA whose access group this one is for

    @property
    def key(self) -> pathlib.Path:
        return self.path / "ca-key.pem"

    @property
    def certificate(self) -> pathlib.Path:
        return self.path / "ca-cert.pem"

    @property
    def bundle(self) -> pathlib.Path:
        return self.path / "ca.pem"

    @property
    def above(self) -> pathlib.Path:
        """The certificates above issuing CAs, those of a rotation's CAs in one file: no rename has to move them."""
        return (self.top or self.path) / "above.pem"

    @property
    def crl(self) -> pathlib.Path:
        return self.path / "crl.pem"

    @property
    def issued(self) -> pathlib.Path:
        return self.path / "issued"

    @property
    def revoked(self) -> pathlib.Path:
        """A client that was revoked is in no group any more."""
        return (self.home or self.path) / "revoked"

    @property
    def listed(self) -> pathlib.Path:
        """A file for each certificate that was put on a list, named by its serial number: a lost list gets it again."""
        return self.path / "listed"

    @property
    def holders(self) -> pathlib.Path:
        """A file for each host and each of its identities that has access, certificate or not."""
        return self.path / "holders"

    @property
    def elsewhere(self) -> pathlib.Path:
        """There where the key of the CA is not here, so that a key that is lost is not taken for one."""
        return self.path / "issued-elsewhere"

    @property
    def is_elsewhere(self) -> bool:
        return self.elsewhere.exists()

    @property
    def retired(self) -> pathlib.Path:
        """The certificates of CAs that were replaced: an engine that was left behind still trusts one of them."""
        return self.path / "retired.pem"

    @property
    def lock(self) -> pathlib.Path:
        return self.path / ".lock"

    @property
    def rotation(self) -> pathlib.Path:
        return self.path / "rotation"

    @property
    def root(self) -> Directory:
        """The CA itself, also for the CA of an access group."""
        return Directory(self.home) if self.home else self

    @property
    def groups(self) -> pathlib.Path:
        return self.path / "groups"

    def group(self, name: str) -> Directory:
        """The CA of an access group, a directory of the same kind; the CA itself is that of the group `default`."""
        if name == layout.DEFAULT_GROUP:
            return self
        if not layout.is_group(name):
            raise CaError(f"'{name}' is not the name of an access group: {GROUP_NAME}. Nothing was changed.")
        return Directory(self.groups / name, home=self.path)

    def all_groups(self) -> dict[str, Directory]:
        """The CAs of the groups by name, without `default`."""
        if self.home or not self.groups.is_dir():
            return {}
        names = sorted(path.name for path in self.groups.iterdir() if layout.is_group(path.name))
        return {name: self.group(name) for name in names if name != layout.DEFAULT_GROUP}

    @property
    def next(self) -> Directory:
        return Directory(self.path / "next", self.path)

    @property
    def previous(self) -> Directory:
        return Directory(self.path / "previous", self.path)

    def phase(self) -> str:
        """Where a rotation is. A file that says something else, or nothing, was damaged, and nobody should guess."""
        content = _files.content(self.rotation)
        if content is None:
            return "none"
        phase = content.decode("utf-8", "replace").strip()
        if phase not in PHASES[1:]:
            raise CaError(
                f"{self.rotation} holds '{phase}', which is no phase of a rotation. Write trust into it if the "
                "directory next is there, else reissue; the playbook bulkhead.docker.rotate_ca goes on from there."
            )
        return phase

    def published(self, phase: str) -> list[Directory]:
        """The CAs whose certificates are the trust bundle, and whose lists crl.pem holds; the one that signs first."""
        return [self, *({"trust": [self.next], "reissue": [self.previous]}.get(phase, []))]

    def marks(self) -> list[str]:
        """The names of the clients that were revoked."""
        if not self.revoked.is_dir():
            return []
        return sorted(path.name for path in self.revoked.iterdir() if layout.is_name(path.name))

    def load_certificate(self) -> x509.Entry:
        """The certificate of this CA."""
        try:
            entries = x509.load_bundle(pem.decode(self.certificate.read_bytes()))
        except OSError as error:
            raise CaError(f"{self.certificate} cannot be read ({error.strerror}).") from error
        except x509.CertificateError as error:
            raise CaError(f"{self.certificate} does not hold exactly one certificate ({error}).") from error
        if len(entries) != 1:
            raise CaError(f"{self.certificate} does not hold exactly one certificate, but {len(entries)}.")
        return entries[0]

    def load_above(self, entry: x509.Entry) -> list[x509.Entry]:
        """The certificates above a CA of this directory, its issuer first and the root last; none above a root."""
        content = _files.content(self.above)
        try:
            chain = x509.above(entry, x509.load_bundle(pem.decode(content)) if content else [])
        except x509.CertificateError as error:
            raise CaError(
                f"{self.above} cannot be used: {error}. Bring it back from a backup, or run the playbook "
                "bulkhead.docker.site with docker_ca_existing_certificate."
            ) from error
        if not x509.is_root([entry, *chain][-1]):
            name = entry.certificate.subject.rfc4514_string()
            raise CaError(
                f"{self.above} lacks certificates above {name}. Bring it back from a backup, or run the playbook "
                "bulkhead.docker.site with docker_ca_existing_certificate."
            )
        return chain

    def load_crl(self) -> str:
        """This CA's own revocation list, the first one of the file."""
        lists = pem.revocation_lists(pem.decode(_files.content(self.crl) or b""))
        if not lists:
            raise CaError(
                f"{self.crl} holds no revocation list. Run the playbook bulkhead.docker.site, which makes it anew, and "
                "then this again."
            )
        return lists[0]


def open_directory(path: str) -> Directory:
    """The directory as an option names it, with ~ expanded already."""
    if not pathlib.Path(path).is_absolute():
        raise CaError(f"The directory of the CA, '{path}', has to start with / or ~/.")
    found = pathlib.Path(path)
    home = found.parent.parent
    is_group = found.parent == Directory(home).groups and Directory(home).certificate.exists()
    return Directory(found, home=home if is_group else None)


def refuse_masking(passphrase: str, answer: t.Any) -> None:
    """Ansible masks a passphrase wherever its text occurs in an answer, and nobody could use a masked path or name."""
    if passphrase and passphrase in json.dumps(answer, ensure_ascii=False):
        raise CaError(
            "The passphrase is a part of the path of the CA or of a name in its certificates, which would be masked in "
            "what Ansible reports. Choose another passphrase. Nothing was changed."
        )


def load_key(path: pathlib.Path, passphrase: str, option: str = "docker_ca_passphrase") -> t.Any:
    """A private key; the sentence of a failure names the variable with its passphrase."""
    try:
        text = pem.private_key(pem.decode(path.read_bytes()))
    except OSError as error:
        raise CaError(f"{path} cannot be read ({error.strerror}).") from error
    if not text:
        raise CaError(f"{path} holds no private key in PEM format.")
    if pem.is_encrypted(text) and not passphrase:
        raise CaError(f"{path} is encrypted, and {option} is not set.")
    if passphrase and not pem.is_encrypted(text):
        raise CaError(f"{path} is not encrypted, although {option} is set.")
    try:
        return serialization.load_pem_private_key(text.encode(), passphrase.encode() or None)
    except x509.UNREADABLE as error:
        raise CaError(f"{path} cannot be read with {option} ({error}).") from error


def replace(path: pathlib.Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all, also after a power failure."""
    _files.replace(path, data, mode)


def check_exists(directory: Directory) -> None:
    if not directory.certificate.exists():
        raise CaError(
            f"There is no CA in {directory.path}. Make one with the role docker_ca, or correct docker_ca_dir."
        )


@contextlib.contextmanager
def lock(
    directory: Directory,
    shared: bool = False,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
    make: bool = False,
) -> t.Iterator[None]:
    """Keep others from changing the directory. Reading shares the lock, and needs none where nobody has made one.

    The directory may be gone afterwards, because whoever had the lock has removed the CA; ``make`` brings it back.
    """
    descriptor = _open_locked(directory, shared, make, clock, sleep)
    if descriptor is None:
        yield
        return
    try:
        if shared:
            yield
            return
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock_existing(directory: Directory, shared: bool = False) -> t.Iterator[None]:
    """The same for a CA that has to be there, before and after somebody else had the lock."""
    check_exists(directory)
    with lock(directory, shared=shared):
        check_exists(directory)
        yield


def _open_locked(
    directory: Directory, shared: bool, make: bool, clock: t.Callable[[], float], sleep: t.Callable[[float], None]
) -> int | None:
    """The lock that others would take, too: whoever removes the CA takes its file along, while others wait for it."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT)
    end = clock() + _LOCK_LIMIT
    while True:
        try:
            if make:
                _files.make_folder(directory.path, 0o700)
            descriptor = os.open(directory.lock, flags, 0o600)
        except FileNotFoundError:
            if make and clock() <= end:
                sleep(0.1)
                continue
            if not shared:
                raise CaError(f"There is no CA in {directory.path}.") from None
            return None
        except OSError as error:
            raise CaError(f"{directory.lock} cannot be opened ({error.strerror}).") from error
        is_taken = False
        try:
            _acquire(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, directory, end, clock, sleep)
            is_taken = _locks.is_still_at(directory.lock, descriptor)
        finally:
            if not is_taken:
                os.close(descriptor)
        if is_taken:
            return descriptor


def _acquire(
    descriptor: int,
    kind: int,
    directory: Directory,
    end: float,
    clock: t.Callable[[], float],
    sleep: t.Callable[[float], None],
) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock() > end:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                who = f"process {holder}" if holder.isdigit() else "another process"
                raise CaError(
                    f"The CA in {directory.path} is in use by {who} for more than {_LOCK_LIMIT} seconds. Run this "
                    "again when that has ended."
                ) from None
            sleep(0.1)
        else:
            return
