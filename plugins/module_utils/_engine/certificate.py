# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server certificate of an engine: what is installed, what is served, and whether it still does."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import checks, inspect, report
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import handshake, pem, renewal, x509


@dataclasses.dataclass(frozen=True)
class Renewal:
    """When a certificate is due although it is right."""

    key: str = "P-256"  # the type that its key shall have
    renew_days: int = 30
    force: bool = False


@dataclasses.dataclass(frozen=True)
class Pair:
    """A server certificate with its private key, as they are on the disk."""

    certificate: bytes | None
    private_key: bytes | None

    @classmethod
    def installed(cls) -> Pair:
        return cls(_files.content(inspect.CERTIFICATE), _files.content(inspect.PRIVATE_KEY))

    @property
    def pem(self) -> str:
        """The certificate as text; what is no ASCII is no PEM and is found out as such."""
        return (self.certificate or b"").decode("ascii", "replace")

    def end(self, ca: str) -> dict[str, t.Any] | None:
        """When the certificate ends, and whether the first CA of a bundle stands above it; None without one."""
        try:
            certificate = x509.load_bundle(self.pem)[0]
            signer = x509.load_bundle(ca)[0].pem if ca else ""
            return {
                "issued_by_ca": bool(signer) and x509.chain_ends_in(self.pem, signer),
                "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
                "days_left": x509.days_left(certificate.certificate),
            }
        except x509.UNREADABLE:
            return None

    def due(self, ca: str, names: t.Sequence[str], wanted: Renewal) -> list[str]:
        """Why it has to be replaced, one phrase each; empty where it serves."""
        if self.certificate is None:
            return ["there is no server certificate yet"]
        if self.private_key is None:
            return [f"{inspect.PRIVATE_KEY} is missing"]
        reasons = renewal.reasons(self.pem, ca, "server", wanted.key, wanted.renew_days, names)
        try:
            if not x509.key_matches(self.pem, self.private_key):
                reasons.append(f"it does not match {inspect.PRIVATE_KEY}")
        except x509.UNREADABLE:
            reasons.append(f"{inspect.PRIVATE_KEY} cannot be read")
        return [*reasons, *(["its renewal is asked for"] if wanted.force else [])]


def read(path: str) -> str:
    """The certificates of a file that something else keeps, each as OpenSSL writes it."""
    try:
        blocks = pem.certificates(pem.decode(pathlib.Path(path).read_bytes()))
    except OSError as error:
        raise inspect.EngineError(
            f"the server certificate {path} cannot be read on the engine ({error.strerror}); let whoever keeps it "
            "there put it there first, or correct docker_engine_certificate_path."
        ) from error
    if not blocks:
        raise inspect.EngineError(
            f"{path} holds no server certificate in PEM format; correct docker_engine_certificate_path."
        )
    return "".join(f"{block}\n" for block in blocks)


def kept_by_others(path: str, pair: Pair, text: str) -> list[str]:
    """Why the pair that something else keeps has to be taken over, one phrase each."""
    certificate = text.strip().encode("ascii", "replace")
    return [] if (pair.certificate or b"").strip() == certificate else [f"{path} holds another one than dockerd has"]


def not_renewed(path: str, text: str, renew_days: int) -> list[str]:
    """A sentence about a certificate that something else keeps, and has not renewed in time."""
    entry = x509.load_bundle(text)[0]
    if not renewal.due(entry.not_after, renew_days):
        return []
    return [
        f"its certificate in {path} ends on {entry.not_after:%Y-%m-%d} and was not renewed; whoever keeps it there has "
        "to renew it"
    ]


def installed() -> dict[str, t.Any] | None:
    """The server certificate on the disk."""
    pem = Pair.installed().pem
    return x509.report(x509.load_bundle(pem)[0]) if pem else None


def served(found: inspect.Engine) -> dict[str, t.Any] | None:
    """The server certificate that the daemon hands out, which is the one from its last start."""
    for address, port in report.endpoints(found):
        try:
            server = handshake.read_handshake(checks.reachable(address), port)
        except handshake.ProbeError:
            continue
        return x509.report(x509.load_der(server.certificates[0]))
    return None


def reissue(ca: str, wanted: t.Sequence[str], key: str, renew_days: int, source: str = "") -> list[str]:
    """Why the installed certificate has to be replaced, one phrase each; empty where it serves.

    ``source`` is the file in which something else keeps it.
    """
    if source:
        return kept_by_others(source, Pair.installed(), read(source))
    return Pair.installed().due(ca, wanted, Renewal(key, renew_days))


def other_cas(found: inspect.Engine, bundle: str) -> str:
    """The CAs that dockerd trusts beside those of the bundle: it lets in whoever has a certificate of one."""
    path = report.trusted_ca(found)
    installed = ((_files.content(path) if path else None) or b"").decode("ascii", "replace")
    return x509.described(x509.unknown(installed, bundle)) if bundle else ""


def findings_at_source(source: str, renew_days: int) -> list[str]:
    """What is wrong where something else keeps the certificate, one sentence each."""
    if not source:
        return []
    text = read(source)
    newer = [f"{reason}; run bulkhead.docker.renew" for reason in kept_by_others(source, Pair.installed(), text)]
    return [*newer, *not_renewed(source, text, renew_days)]


def findings(found: inspect.Engine, bundle: str = "") -> list[str]:
    """What failed verification on an engine that the collection secures, one sentence each.

    ``bundle`` is the trust bundle that the engine has to have; empty where that does not matter.
    """
    ca, certificate = _read(inspect.CA), _read(inspect.CERTIFICATE)
    listens = report.endpoints(found)
    if not ca or not certificate:
        return [f"{inspect.TLS_DIR} holds no certificate: the engine was not secured yet"]
    if not listens:
        return [f"{inspect.DAEMON_JSON} names no TLS endpoint"]
    problems: list[str] = []
    if inspect.JOURNAL.exists():
        problems.append(f"{inspect.JOURNAL} is there: a change was interrupted, the next run undoes it")
    if bundle and {entry.pem for entry in x509.load_bundle(ca)} != {entry.pem for entry in x509.load_bundle(bundle)}:
        problems.append(f"{inspect.CA} is not the trust bundle of the CA host")
    for port in {port for _, port in listens}:
        addresses = [address for address, listens_on in listens if listens_on == port]
        problems += checks.findings(found.api, addresses, port, ca, certificate)
    return problems


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
