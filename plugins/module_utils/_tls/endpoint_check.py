# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification from outside: one identity gets in, and nobody else does."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import pathlib
import ssl
import tempfile
import typing as t
import urllib.parse

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import handshake, proxy, x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import DuplicateExtension, InvalidVersion, UnsupportedGeneralNameType

_AT_ONCE = 16  # endpoints; each is asked by all clients at the same time
# A server may send anything as its certificate, and cryptography reads most of it late.
_UNREADABLE = (
    x509.CertificateError,
    DuplicateExtension,
    InvalidVersion,
    UnsupportedAlgorithm,
    UnsupportedGeneralNameType,
    ValueError,
)


class CredentialsError(Exception):
    """One sentence about a file of this host that cannot be used."""


class EndpointError(Exception):
    """Why one endpoint cannot be asked, without a full stop: it becomes a finding about that endpoint."""


@dataclasses.dataclass(frozen=True)
class CertificateFiles:
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
    """What to ask."""

    name: str
    docker_host: str
    hostname: str = ""  # the name to find in the server's certificate; the address where it is empty
    plain_ports: tuple[int, ...] = ()
    credentials: Credentials | None = None  # where they are others than for the other endpoints


@dataclasses.dataclass(frozen=True)
class Client:
    """Somebody who asks: the name in results and in findings, and what must come of it."""

    name: str
    who: str
    expected: str
    context: ssl.SSLContext
    hint: str = ""  # why it may come out otherwise


@dataclasses.dataclass(frozen=True)
class Credentials:
    """All clients, made once for all endpoints."""

    client_cas: tuple[x509.Entry, ...]  # whose clients the endpoints accept
    strict: ssl.SSLContext  # the identity once more, as a client that verifies the server
    clients: tuple[Client, ...]


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """One try to get in: its name in results and in findings, what must come of it and what came."""

    name: str
    who: str
    expected: str
    answer: handshake.Answer
    hint: str = ""

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


@dataclasses.dataclass(frozen=True)
class _Answers:
    """What one endpoint answered."""

    clients: tuple[_Attempt, ...]  # the first is the identity
    plain: _Attempt
    old_tls: _Attempt
    verified: handshake.Answer
    server: handshake.ServerHandshake | handshake.ProbeError
    plain_ports: dict[int, handshake.Answer]

    @property
    def attempts(self) -> tuple[_Attempt, ...]:
        return (*self.clients, self.plain, self.old_tls)


def read_credentials(
    ca: str,
    identity: CertificateFiles,
    refused_pairs: t.Sequence[CertificateFiles] = (),
    client_cas: str = "",
    is_refused: bool = False,
) -> Credentials:
    """The identity, which has to get in, and who must not: nobody in particular, foreign CAs, the refused pairs.

    ``client_cas`` are those whose clients are accepted, in PEM; empty for all of the bundle ``ca``. An identity that
    ``is_refused`` is in none of the access groups of the endpoint.
    """
    bundle = _bundle(ca, "ca_path")
    certificate = _checked(identity)
    for pair in refused_pairs:
        _checked(pair)
    try:
        accepted = x509.load_bundle(client_cas) if client_cas else bundle
    except x509.CertificateError as error:
        raise CredentialsError(f"client_cas: {error}.") from error
    cas = [*accepted, *(entry for entry in bundle if entry not in accepted)]
    problems = [] if is_refused else x509.problems(certificate.pem, "\n".join(entry.pem for entry in cas), "client")
    clients = [
        Client(
            "identity",
            f"the identity {identity.certificate}{', which is in none of its access groups' if is_refused else ''}",
            "refused" if is_refused else "accepted",
            _context(handshake.any_server, identity),
            "".join(f"; {problem}" for problem in problems),
        ),
        Client("no_certificate", "a client without a certificate", "refused", handshake.any_server()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for number, authority in enumerate(cas):
            impostor = _impostor(certificate, authority, pathlib.Path(folder, str(number)))
            who = "a client of a foreign CA that only has the name of ours"
            clients.append(Client("foreign_ca", who, "refused", _context(handshake.any_server, impostor)))
    for pair in refused_pairs:
        who = f"the client '{pair.name}' ({pair.certificate})"
        clients.append(Client(pair.name, who, "refused", _context(handshake.any_server, pair)))
    return Credentials(tuple(accepted), _context(handshake.trusted_server, identity, ca), tuple(clients))


def check_endpoints(endpoints: t.Sequence[Endpoint], credentials: Credentials, timeout: float) -> dict[str, t.Any]:
    """Ask all endpoints, many at the same time; the result is what docker_endpoint_info returns."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        results = list(pool.map(lambda endpoint: check_endpoint(endpoint, credentials, timeout), endpoints))
    return {"ok": all(result["ok"] for result in results), "endpoints": results}


def warnings(endpoints: t.Sequence[Endpoint], environment: t.Mapping[str, str]) -> list[str]:
    """What stands between the docker CLI and endpoints that are right."""
    behind = []
    for endpoint in endpoints:
        try:
            host, port = address(endpoint.docker_host)
        except EndpointError:
            continue
        if proxy.is_used(host, port, environment):
            behind.append(host)
    if not behind:
        return []
    names = ", ".join(dict.fromkeys(behind))
    return [
        f"HTTPS_PROXY is set here and NO_PROXY does not name {names}: the docker CLI goes through the proxy, and this "
        "verification does not. Add them to NO_PROXY, unless the proxy lets the CLI through."
    ]


def check_endpoint(endpoint: Endpoint, credentials: Credentials, timeout: float) -> dict[str, t.Any]:
    """Try everything on one endpoint at the same time; whatever goes wrong there is a finding about it."""
    try:
        host, port = _target(endpoint)
    except EndpointError as error:
        return _result(endpoint, None, None, {}, [str(error)])
    credentials = endpoint.credentials or credentials
    answers = _ask(endpoint, host, port, credentials, timeout)
    version = _version(answers.verified)
    findings = []
    certificate = None
    try:
        if isinstance(answers.server, handshake.ServerHandshake):
            certificate = x509.report(x509.load_der(answers.server.certificates[0]))
    except _UNREADABLE as error:
        findings.append(f"{endpoint.docker_host} serves a certificate that cannot be read ({error})")
    findings += _about_endpoint(endpoint, host, answers, certificate, version, credentials.client_cas)
    for number, answer in answers.plain_ports.items():
        findings += _about_port(host, number, answer)
    return _result(endpoint, answers, certificate, version, findings)


def address(docker_host: str) -> tuple[str, int]:
    """Host and port of tcp://ADDRESS:PORT."""
    form = f"docker_host '{docker_host}' is not of the form tcp://ADDRESS:PORT (IPv6: tcp://[ADDRESS]:PORT)"
    try:
        url = urllib.parse.urlsplit(docker_host)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise EndpointError(f"{form}: {error}") from error
    if url.scheme != "tcp":
        raise EndpointError(f"{form}; only an endpoint on the network can be asked from outside")
    if not host or not port or "@" in url.netloc or url.path.strip("/") or url.query or url.fragment:
        raise EndpointError(form)
    if not _is_name(host):
        raise EndpointError(f"{form}: '{host}' is no name and no address")
    return host, port


def _is_name(host: str) -> bool:
    """Whether the resolver and OpenSSL take it at all."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host


def _target(endpoint: Endpoint) -> tuple[str, int]:
    host, port = address(endpoint.docker_host)
    where = endpoint.docker_host
    if endpoint.hostname and not _is_name(endpoint.hostname):
        raise EndpointError(f"tls_hostname '{endpoint.hostname}' of {where} is no name and no address")
    if port in endpoint.plain_ports:
        raise EndpointError(f"plain_ports names {port}, which is the port of {where}; take it out of one of them")
    for number in endpoint.plain_ports:
        if not 0 < number < 65536:
            raise EndpointError(f"plain_ports names {number} for {where}, which is no port; take it out")
    return host, port


def _ask(endpoint: Endpoint, host: str, port: int, credentials: Credentials, timeout: float) -> _Answers:
    name = endpoint.hostname or host.partition("%")[0]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        verified = pool.submit(handshake.ask, host, port, credentials.strict, "/version", name, timeout)
        server = pool.submit(_handshake, host, port, timeout)
        clients = [
            (client, pool.submit(handshake.ask, host, port, client.context, timeout=timeout))
            for client in credentials.clients
        ]
        plain = pool.submit(handshake.plain_http, host, port, timeout)
        old = pool.submit(handshake.old_tls, host, port, timeout)
        others = {number: pool.submit(handshake.plain_http, host, number, timeout) for number in endpoint.plain_ports}
    return _Answers(
        clients=tuple(
            _Attempt(client.name, client.who, client.expected, answer.result(), client.hint)
            for client, answer in clients
        ),
        plain=_Attempt("plain_http", "plain HTTP", "refused", _as_attempt(plain.result())),
        old_tls=_Attempt("old_tls", "an outdated protocol", "refused", old.result()),
        verified=verified.result(),
        server=server.result(),
        plain_ports={number: answer.result() for number, answer in others.items()},
    )


def _handshake(host: str, port: int, timeout: float) -> handshake.ServerHandshake | handshake.ProbeError:
    try:
        return handshake.read_handshake(host, port, timeout)
    except handshake.ProbeError as error:
        return error


def _as_attempt(answer: handshake.Answer) -> handshake.Answer:
    outcome = {"open": "accepted", "closed": "unreachable"}.get(answer.outcome, answer.outcome)
    return dataclasses.replace(answer, outcome=outcome)


def _result(
    endpoint: Endpoint,
    answers: _Answers | None,
    certificate: dict[str, t.Any] | None,
    version: dict[str, str],
    findings: list[str],
) -> dict[str, t.Any]:
    """What is returned about one endpoint; ``answers`` is None where it could not be asked."""
    acceptable = None
    if answers and isinstance(answers.server, handshake.ServerHandshake):
        acceptable = answers.server.acceptable_cas
    return {
        "name": endpoint.name,
        "docker_host": endpoint.docker_host,
        "ok": not findings,
        "findings": findings,
        "engine_version": version.get("Version"),
        "api_version": version.get("ApiVersion"),
        "server_verified": answers is not None and answers.verified.outcome in ("accepted", "refused"),
        "certificate": certificate,
        "acceptable_cas": None if acceptable is None else [handshake.readable_name(name) for name in acceptable],
        "attempts": [attempt.as_dict() for attempt in answers.attempts] if answers else [],
        "plain_ports": [
            {"port": port, "open": answer.outcome != "closed", "docker": answer.docker, "detail": answer.detail}
            for port, answer in (answers.plain_ports if answers else {}).items()
        ],
    }


def _about_endpoint(
    endpoint: Endpoint,
    host: str,
    answers: _Answers,
    certificate: dict[str, t.Any] | None,
    version: dict[str, str],
    client_cas: t.Sequence[x509.Entry],
) -> list[str]:
    where, verified = endpoint.docker_host, answers.verified
    if all(attempt.answer.outcome == "unreachable" for attempt in answers.clients):
        if answers.plain.answer.outcome == "unreachable":
            return [f"{where} cannot be reached ({answers.plain.answer.detail})"]
        return [f"{where} does not speak TLS ({verified.detail})", *answers.plain.finding(where)]
    found = [finding for attempt in answers.attempts for finding in attempt.finding(where)]
    found += _about_server(where, endpoint.hostname or host, verified, certificate)
    if not version and verified.outcome != "untrusted" and answers.clients[0].answer.outcome == "accepted":
        found.append(f"{where} does not answer GET /version as a Docker engine does ({verified.detail})")
    return found + _about_clients(where, client_cas, answers.server)


def _about_server(where: str, name: str, verified: handshake.Answer, certificate: dict[str, t.Any] | None) -> list[str]:
    found = []
    if verified.outcome == "untrusted":
        found.append(f"{where} serves a certificate that clients do not accept as that of {name} ({verified.detail})")
    if certificate and certificate["usages"] != ["serverAuth"]:
        usages = ", ".join(certificate["usages"]) or "every purpose"
        found.append(f"{where} serves a certificate for {usages} instead of serverAuth alone")
    return found


def _about_clients(
    where: str, client_cas: t.Sequence[x509.Entry], server: handshake.ServerHandshake | handshake.ProbeError
) -> list[str]:
    if isinstance(server, handshake.ProbeError):
        return [f"{where} does not say which client CAs it accepts ({server})"]
    if server.acceptable_cas is None:
        return [f"{where} does not ask for a client certificate"]
    ours = {entry.subject_der for entry in client_cas}
    if set(server.acceptable_cas) == ours:
        return []
    accepted = _names(server.acceptable_cas) or "every CA of the system"
    return [f"{where} accepts clients of {accepted} instead of {_names(ours)} alone"]


def _names(subjects: t.Iterable[bytes]) -> str:
    names = sorted(handshake.readable_name(subject) for subject in subjects)
    return " and ".join(names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} others"])


def _about_port(host: str, port: int, answer: handshake.Answer) -> list[str]:
    if answer.outcome == "closed":
        return []
    where = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    way_out = f"close it, or leave {port} out of plain_ports where it is another service of yours"
    if answer.docker:
        return [f"{where} is open and answers the Docker API without TLS ({answer.detail}); {way_out}"]
    return [f"{where} is open, though no Docker API without TLS answers there ({answer.detail}); {way_out}"]


def _version(answer: handshake.Answer) -> dict[str, str]:
    """What the engine says of its versions, or nothing where it does not answer as one."""
    head, _, body = answer.response.partition(b"\r\n\r\n")
    try:
        version = json.loads(body) if b" 200 " in head[:14] else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(version, dict) or not isinstance(version.get("ApiVersion"), str):
        return {}
    return {key: version[key] for key in ("Version", "ApiVersion") if isinstance(version.get(key), str)}


def _read(path: str, option: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise CredentialsError(f"{option}: {path} cannot be read on this host ({error.strerror}).") from error


def _bundle(path: str, option: str) -> list[x509.Entry]:
    try:
        return x509.load_bundle(_read(path, option).decode("utf-8", "replace"))
    except x509.CertificateError as error:
        raise CredentialsError(f"{option}: {path}: {error}.") from error


def _checked(pair: CertificateFiles) -> x509.Entry:
    """The pair's certificate, once it is sure that OpenSSL will take both files without a question."""
    entry = _bundle(pair.certificate, f"{pair.option}cert")[0]
    key = _read(pair.key, f"{pair.option}key")
    try:
        matches = x509.key_matches(entry.pem, key)
    except x509.CertificateError as error:
        raise CredentialsError(f"{pair.option}key: {pair.key}: {error}.") from error
    if not matches:
        raise CredentialsError(
            f"{pair.option}key: {pair.key} is not the key of the certificate {pair.certificate}; name files that "
            "belong together."
        )
    return entry


def _context(make: t.Callable[..., ssl.SSLContext], pair: CertificateFiles, *bundle: str) -> ssl.SSLContext:
    try:
        return make(*bundle, pair.files)
    except OSError as error:
        files = ", ".join([*bundle, *pair.files])
        raise CredentialsError(f"OpenSSL on this host does not take {files} ({error}).") from error


def _impostor(victim: x509.Entry, authority: x509.Entry, base: pathlib.Path) -> CertificateFiles:
    pair = CertificateFiles("foreign_ca", f"{base}.pem", f"{base}-key.pem", "")
    for path, content in zip(pair.files, x509.impostor(victim.certificate, authority.certificate)):
        pathlib.Path(path).touch(mode=0o600)
        pathlib.Path(path).write_bytes(content)
    return pair
