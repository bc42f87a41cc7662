# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof from outside: one identity gets in, and nobody else does."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import pathlib
import ssl
import tempfile
import typing as t
import urllib.parse

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import handshake, x509


class EndpointError(Exception):
    """One sentence about an endpoint that cannot be asked as it was described."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A client's certificate and key, by their files; ``option`` is where the user named them."""

    name: str
    certificate: str
    key: str
    option: str

    @property
    def files(self) -> tuple[str, str]:
        return self.certificate, self.key


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """What to ask, as whom, and what is expected of it."""

    docker_host: str
    ca: str
    identity: Pair
    hostname: str = ""  # the name to find in the server's certificate; the address where it is empty
    refused_pairs: tuple[Pair, ...] = ()
    closed_ports: tuple[int, ...] = ()
    timeout: float = 5


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """One try to get in: what it is called, how a finding speaks of it, what must come of it and what came."""

    name: str
    who: str
    expected: str
    answer: handshake.Answer
    hint: str = ""  # why it may have come out otherwise

    def finding(self, where: str) -> list[str]:
        if self.answer.outcome == self.expected:
            return []
        says = {"accepted": "accepts", "refused": "refuses"}.get(self.answer.outcome, "gives no verdict on")
        return [f"{where} {says} {self.who} ({self.answer.detail}){self.hint}"]

    def as_dict(self) -> dict[str, str]:
        return {
            "name": self.name,
            "expected": self.expected,
            "outcome": self.answer.outcome,
            "detail": self.answer.detail,
        }


def address(docker_host: str) -> tuple[str, int]:
    """Host and port of tcp://ADDRESS:PORT."""
    form = f"docker_host '{docker_host}' is not of the form tcp://ADDRESS:PORT (IPv6: tcp://[ADDRESS]:PORT)"
    try:
        url = urllib.parse.urlsplit(docker_host)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise EndpointError(f"{form}: {error}.") from error
    if url.scheme != "tcp":
        raise EndpointError(f"{form}; only an endpoint on the network can be asked from outside.")
    if not host or not port or "@" in url.netloc or url.path.strip("/") or url.query or url.fragment:
        raise EndpointError(f"{form}.")
    return host, port


def examine(endpoint: Endpoint) -> dict[str, t.Any]:
    """Try everything at the same time; the result is what docker_endpoint_info returns."""
    host, port = address(endpoint.docker_host)
    if port in endpoint.closed_ports:
        raise EndpointError(f"closed_ports names {port}, which is the port of docker_host; take it out of one of them.")
    bundle = _bundle(endpoint.ca, "ca_path")
    victim = _checked(endpoint.identity)
    for pair in endpoint.refused_pairs:
        _checked(pair)
    target, timeout = (host, port), endpoint.timeout
    trusted = _context(handshake.trusted_server, endpoint.identity, endpoint.ca)

    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(max_workers=32) as pool:
        impostors = [_impostor(victim, entry, pathlib.Path(folder, str(n))) for n, entry in enumerate(bundle)]

        def client(pair: Pair | None) -> concurrent.futures.Future[handshake.Answer]:
            context = _context(handshake.any_server, pair)
            return pool.submit(handshake.ask, *target, context, timeout=timeout)

        name = endpoint.hostname or host.partition("%")[0]
        verified = pool.submit(handshake.ask, *target, trusted, "/version", name, timeout)
        offered = pool.submit(_offer, *target, timeout)
        identity = client(endpoint.identity)
        nobody = client(None)
        foreign = [client(pair) for pair in impostors]
        pairs = [client(pair) for pair in endpoint.refused_pairs]
        plain = pool.submit(handshake.plain_http, *target, timeout)
        old = pool.submit(handshake.old_tls, *target, timeout)
        others = [pool.submit(handshake.plain_http, host, other, timeout) for other in endpoint.closed_ports]

    attempts = [
        _Attempt(
            "identity",
            f"the identity {endpoint.identity.certificate}",
            "accepted",
            identity.result(),
            "".join(f"; {problem}" for problem in x509.problems(victim.pem, _pem(bundle), "client")),
        ),
        _Attempt("no_certificate", "a client without a certificate", "refused", nobody.result()),
        *(
            _Attempt("foreign_ca", "a client of a foreign CA that only has the name of ours", "refused", f.result())
            for f in foreign
        ),
        *(
            _Attempt(pair.name, f"the client '{pair.name}' ({pair.certificate})", "refused", f.result())
            for pair, f in zip(endpoint.refused_pairs, pairs)  # strict= is newer than Python 3.9
        ),
        _Attempt("plain_http", "plain HTTP", "refused", _as_attempt(plain.result())),
        _Attempt("old_tls", "an outdated protocol", "refused", old.result()),
    ]
    return _result(endpoint, host, bundle, attempts, verified.result(), offered.result(), [o.result() for o in others])


def _offer(host: str, port: int, timeout: float) -> handshake.Offer | handshake.ProbeError:
    try:
        return handshake.offer(host, port, timeout)
    except handshake.ProbeError as error:
        return error


def _as_attempt(answer: handshake.Answer) -> handshake.Answer:
    outcome = {"open": "accepted", "closed": "unreachable"}.get(answer.outcome, answer.outcome)
    return dataclasses.replace(answer, outcome=outcome)


def _result(
    endpoint: Endpoint,
    host: str,
    bundle: list[x509.Entry],
    attempts: list[_Attempt],
    verified: handshake.Answer,
    offered: handshake.Offer | handshake.ProbeError,
    others: list[handshake.Answer],
) -> dict[str, t.Any]:
    where = endpoint.docker_host
    version = _version(verified)
    certificate = None
    acceptable: tuple[bytes, ...] | None = None
    if isinstance(offered, handshake.Offer):
        certificate = x509.load_der(offered.certificates[0])
        acceptable = offered.acceptable_cas

    handshakes = [attempt for attempt in attempts if attempt.name not in ("plain_http", "old_tls")]
    if all(attempt.answer.outcome == "unreachable" for attempt in handshakes):
        plain = next(attempt for attempt in attempts if attempt.name == "plain_http")
        if plain.answer.outcome == "unreachable":
            findings = [f"{where} cannot be reached ({plain.answer.detail})"]
        else:
            findings = [f"{where} does not speak TLS ({verified.detail})", *plain.finding(where)]
    else:
        findings = [finding for attempt in attempts for finding in attempt.finding(where)]
        findings += _about_server(where, endpoint.hostname or host, verified, certificate)
        if not version and verified.outcome != "untrusted" and attempts[0].answer.outcome == "accepted":
            findings.append(f"{where} does not answer GET /version as a Docker engine does ({verified.detail})")
        findings += _about_clients(where, bundle, offered)
    for port, answer in zip(endpoint.closed_ports, others):
        findings += _about_port(host, port, answer)

    return {
        "docker_host": where,
        "ok": not findings,
        "findings": findings,
        "engine_version": version.get("Version"),
        "api_version": version.get("ApiVersion"),
        "server_verified": verified.outcome in ("accepted", "refused"),
        "certificate": certificate and x509.report(certificate),
        "acceptable_cas": None if acceptable is None else [handshake.readable_name(name) for name in acceptable],
        "attempts": [attempt.as_dict() for attempt in attempts],
        "closed_ports": [
            {"port": port, "open": answer.outcome != "closed", "docker": answer.docker, "detail": answer.detail}
            for port, answer in zip(endpoint.closed_ports, others)
        ],
    }


def _about_server(where: str, name: str, verified: handshake.Answer, certificate: x509.Entry | None) -> list[str]:
    found = []
    if verified.outcome == "untrusted":
        found.append(f"{where} serves a certificate that clients do not accept as that of {name} ({verified.detail})")
    if certificate and certificate.usages != ["serverAuth"]:
        usages = ", ".join(certificate.usages) or "every purpose"
        found.append(f"{where} serves a certificate for {usages} instead of serverAuth alone")
    return found


def _about_clients(where: str, bundle: list[x509.Entry], offered: handshake.Offer | handshake.ProbeError) -> list[str]:
    if isinstance(offered, handshake.ProbeError):
        return [f"{where} does not say which client CAs it accepts ({offered})"]
    if offered.acceptable_cas is None:
        return [f"{where} does not ask for a client certificate"]
    ours = {entry.subject_der for entry in bundle}
    if set(offered.acceptable_cas) == ours:
        return []
    accepted = _names(offered.acceptable_cas) or "every CA of the system"
    return [f"{where} accepts clients of {accepted} instead of {_names(ours)} alone"]


def _names(subjects: t.Iterable[bytes]) -> str:
    names = sorted(handshake.readable_name(subject) for subject in subjects)
    return " and ".join(names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} others"])


def _about_port(host: str, port: int, answer: handshake.Answer) -> list[str]:
    if answer.outcome == "closed":
        return []
    where = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    if answer.docker:
        return [f"{where} is open and answers the Docker API without TLS ({answer.detail})"]
    return [f"{where} is open and must be closed, though no Docker API without TLS answers there ({answer.detail})"]


def _version(answer: handshake.Answer) -> dict[str, t.Any]:
    """The engine's own account of itself, or nothing where it gave none."""
    head, _, body = answer.response.partition(b"\r\n\r\n")
    try:
        version = json.loads(body) if b" 200 " in head[:14] else {}
    except ValueError:
        return {}
    return version if isinstance(version, dict) and "ApiVersion" in version else {}


def _read(path: str, option: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise EndpointError(f"{option}: {path} cannot be read on this host ({error.strerror}).") from error


def _bundle(path: str, option: str) -> list[x509.Entry]:
    try:
        return x509.load_bundle(_read(path, option).decode("utf-8", "replace"))
    except x509.CertificateError as error:
        raise EndpointError(f"{option}: {path}: {error}.") from error


def _pem(bundle: list[x509.Entry]) -> str:
    return "\n".join(entry.pem for entry in bundle)


def _checked(pair: Pair) -> x509.Entry:
    """The pair's certificate, once it is sure that OpenSSL will take both files without a question."""
    entry = _bundle(pair.certificate, f"{pair.option}cert")[0]
    key = _read(pair.key, f"{pair.option}key")
    try:
        matches = x509.key_matches(entry.pem, key)
    except x509.CertificateError as error:
        raise EndpointError(f"{pair.option}key: {pair.key}: {error}.") from error
    if not matches:
        raise EndpointError(
            f"{pair.option}key: {pair.key} is not the key of the certificate {pair.certificate}; name files that "
            "belong together."
        )
    return entry


def _context(make: t.Callable[..., ssl.SSLContext], pair: Pair | None, *bundle: str) -> ssl.SSLContext:
    try:
        return make(*bundle, pair and pair.files)
    except OSError as error:
        files = ", ".join([*bundle, *(pair.files if pair else ())])
        raise EndpointError(f"OpenSSL on this host does not take {files} ({error}).") from error


def _impostor(victim: x509.Entry, authority: x509.Entry, base: pathlib.Path) -> Pair:
    pair = Pair("foreign_ca", f"{base}.pem", f"{base}-key.pem", "")
    for path, content in zip(pair.files, x509.impostor(victim.certificate, authority.certificate)):
        pathlib.Path(path).touch(mode=0o600)
        pathlib.Path(path).write_bytes(content)
    return pair
