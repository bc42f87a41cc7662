# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a CA has: key, certificate, revocation lists, trust bundle. What is there stays, what is missing is made.

All of it happens under the lock of the directory, and each file is on the disk before the next one is written, so that
whoever calls this again after a kill ends what had begun.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import stat
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import elsewhere, existing, revocation, rotation
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, request, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A CA that is not there yet; ``files`` hold one that is to be taken over."""

    common_name: str
    key_type: str
    key_size: int
    valid_days: int
    files: existing.Files | None = None


def ensure(
    directory: ca.Directory,
    passphrase: str,
    wanted: Wanted,
    check_mode: bool = False,
    now: datetime.datetime | None = None,
) -> list[str]:
    """The files that were written, or in check mode would be."""
    maker = _Maker(directory, passphrase, wanted, check_mode, now or datetime.datetime.now(datetime.timezone.utc))
    with ca.lock(directory, shared=check_mode, make=not check_mode):
        if not check_mode:
            _files.make_folder(directory.issued, 0o700)
        return maker.make()


def ensure_successor(
    directory: ca.Directory,
    passphrase: str,
    wanted: Wanted,
    check_mode: bool = False,
    now: datetime.datetime | None = None,
) -> list[str]:
    """The same for the successor of a CA, which is made under the lock of the CA and only while no rotation has begun.

    Otherwise somebody who was suspended in between would put a CA that nobody knows where another one is awaited.
    """
    maker = _Maker(directory.next, passphrase, wanted, check_mode, now or datetime.datetime.now(datetime.timezone.utc))
    with ca.lock_existing(directory, shared=check_mode):
        phase = directory.phase()
        if phase != "none":
            raise ca.CaError(
                f"The CA in {directory.path} is being replaced by another run, whose rotation is in the phase {phase}; "
                "no successor was made. Run the playbook bulkhead.docker.rotate_ca again: it goes on from there."
            )
        if not check_mode:
            _files.make_folder(directory.next.path, 0o700)
        return maker.make()


@dataclasses.dataclass(frozen=True)
class _Maker:
    directory: ca.Directory
    passphrase: str
    wanted: Wanted
    check_mode: bool
    now: datetime.datetime

    def make(self) -> list[str]:
        directory = self.directory
        elsewhere.refuse(directory, "none can be made there")
        if not self.check_mode:
            rotation.finish(directory)
        if directory.certificate.exists() and not directory.key.exists():
            raise ca.CaError(
                f"{directory.path} holds a CA certificate whose key is not there. Bring it back from a backup."
            )
        if not directory.key.exists() and self.check_mode:
            return [path.name for path in (directory.key, directory.certificate, directory.crl, directory.bundle)]
        is_new = not directory.certificate.exists()
        brings = is_new or self._lacks_above()
        taken_over = self._taken_over(self.wanted.files) if self.wanted.files and brings else None
        made = self._above(taken_over) if taken_over else []
        made += self._key()
        key = ca.load_key(directory.key, self.passphrase)
        if is_new:
            made.append(directory.certificate.name)
            if self.check_mode:
                return [*made, directory.crl.name, directory.bundle.name]
            own: bytes = taken_over["certificate"].encode("ascii") if taken_over else self._certificate(key)
            ca.replace(directory.certificate, own)
        return made + revocation.update_lists(directory, self.passphrase, check_mode=self.check_mode, now=self.now)

    def _key(self) -> list[str]:
        path = self.directory.key
        if path.exists():
            if stat.S_IMODE(path.stat().st_mode) == 0o600:
                return []
            if not self.check_mode:
                path.chmod(0o600)
            return [path.name]
        files = self.wanted.files
        if files:
            key: t.Any = ca.load_key(files.key, files.passphrase, existing.PASSPHRASE)
        else:
            key = request.generate(self.wanted.key_type, self.wanted.key_size)
        ca.replace(path, request.pkcs8(key, self.passphrase), 0o600)
        return [path.name]

    def _lacks_above(self) -> bool:
        try:
            self.directory.load_above(self.directory.load_certificate())
        except ca.CaError:
            return True
        return False

    def _above(self, taken_over: t.Mapping[str, t.Any]) -> list[str]:
        """Keep the certificates above an issuing CA, beside those that are kept already."""
        content = _files.content(self.directory.above) or b""
        known = pem.certificates(pem.decode(content))
        missing = [block for block in pem.certificates(taken_over["above"]) if block not in known]
        if not missing:
            return []
        if not self.check_mode:
            ca.replace(self.directory.above, "".join(f"{block}\n" for block in [*known, *missing]).encode("ascii"))
        return [self.directory.above.name]

    def _taken_over(self, files: existing.Files) -> dict[str, t.Any]:
        """What there is to take over; nothing is taken over of a CA that cannot be used."""
        if files.passphrase and not self.passphrase:
            raise ca.CaError(f"{files.key} is encrypted; it is only stored with a docker_ca_passphrase.")
        found = existing.gather(self.directory, self.passphrase, files)
        if found["problems"]:
            raise ca.CaError(" ".join(found["problems"]))
        return found

    def _certificate(self, key: t.Any) -> bytes:
        public = key.public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        # The fingerprint tells CAs apart, and a run that was interrupted here asks for the same name again.
        common_name = f"{self.wanted.common_name} {hashlib.sha256(der).hexdigest()[:8]}"
        name = cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            cx509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(cx509.random_serial_number())
            .not_valid_before(self.now - x509.CLOCK_SKEW)
            .not_valid_after(self.now + datetime.timedelta(days=self.wanted.valid_days))
            .add_extension(cx509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.key_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(cx509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, x509.signing_algorithm(key))
        )
        return certificate.public_bytes(serialization.Encoding.PEM)
