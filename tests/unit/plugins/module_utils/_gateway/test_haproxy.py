"""The configuration as the real HAProxy understands it: who gets in, and what reaches the daemon."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import threading
import time
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import config, control, scopes
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import ssh_gate
from helpers import docker_api, odd_http, pki, recording_daemon
from helpers import gateway as _gateway

pytestmark = pytest.mark.skipif(not _gateway.HAPROXY, reason="needs HAProxy")

Files = tuple[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def gateway(folder: pathlib.Path) -> t.Iterator[_gateway.Gateway]:
    identities = {"root": "admin", "alice@example.com": "status", "c+1": "status"}
    identities.update({f"c-{name}": name for name in _gateway.BUILT_IN})
    with _started(folder, identities) as made:
        yield made


@contextlib.contextmanager
def _started(folder: pathlib.Path, identities: dict[str, str], **options: t.Any) -> t.Iterator[_gateway.Gateway]:
    made = _gateway.make(folder, identities, **options)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        made.daemon.close()


def _pair(gateway: _gateway.Gateway, name: str, *usages: t.Any, authority: pki.Authority | None = None) -> Files:
    return (authority or gateway.authority).pair(gateway.folder, name, *(usages or (pki.CLIENT,)))


# -- who gets in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["root", "alice@example.com", "c+1", "c-operate"])
def test_an_identity_gets_in(gateway: _gateway.Gateway, name: str) -> None:
    assert gateway.ask(_pair(gateway, name)).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("name", ["nobody", "ROOT", "roo", "root2", "alice@example.co", "root,CN=root"])
def test_whom_the_configuration_does_not_name_does_not_get_in(gateway: _gateway.Gateway, name: str) -> None:
    before = len(gateway.daemon.requests)
    assert gateway.ask(_pair(gateway, name)) == b""
    assert len(gateway.daemon.requests) == before


def test_a_client_without_a_certificate_does_not_get_in(gateway: _gateway.Gateway) -> None:
    assert gateway.ask(None) == b""


def test_a_servers_certificate_is_no_clients(gateway: _gateway.Gateway) -> None:
    assert gateway.ask(_pair(gateway, "root", pki.SERVER)) == b""


def test_a_ca_of_the_same_name_is_another_one(gateway: _gateway.Gateway) -> None:
    other = pki.Authority("bulkhead.docker CA 0123abcd")
    assert gateway.ask(_pair(gateway, "root", authority=other)) == b""


def test_a_name_of_another_trusted_ca_is_another_identity(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    made = _gateway.make(tmp_path, {"root": "admin"})
    other = pki.Authority("bulkhead.docker CA 4567cdef")
    lists = [_gateway.crl(one, [], datetime.timedelta(days=9)) for one in (made.authority, other)]
    made.places.ca.write_text(made.authority.pem + other.pem, encoding="ascii")
    made.places.revocation_lists.write_bytes(b"".join(lists))
    try:
        made.start()
        assert made.ask(_pair(made, "root")) != b""
        assert made.ask(_pair(made, "root", authority=other)) == b""
        assert made.daemon.requests == [("GET", "/_ping")]
    finally:
        made.stop()
        made.daemon.close()


def test_plain_http_gets_no_answer(gateway: _gateway.Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as connection:
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
        assert not _gateway.received(connection).startswith(b"HTTP")


def test_an_admin_upgrades_and_closes_one_direction(gateway: _gateway.Gateway) -> None:
    """Bytes pass as they are, in both directions, and the end of one is not the end of the other."""
    request = b"POST /exec/1/start HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n"
    assert b"200 OK" in gateway.ask(_pair(gateway, "root"), request + b"GET /bye HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert gateway.daemon.heads[-2] == request


# -- what they may do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", _gateway.BUILT_IN)
def test_every_endpoint_of_every_version_has_its_verdict(gateway: _gateway.Gateway, scope: str) -> None:
    gateway.daemon.requests.clear()
    verdicts = docker_api.verdicts(scope)
    assert docker_api.statuses(verdicts, lambda: gateway.scope_socket(scope)) == docker_api.expected(verdicts)
    reached = [f"{method} {path}" for method, path in gateway.daemon.requests]
    assert reached == [line for line, allowed in verdicts.items() if allowed]


@pytest.mark.parametrize("scope", ["operate", "read-only", "status"])
def test_no_odd_request_reaches_what_the_scope_does_not_name(gateway: _gateway.Gateway, scope: str) -> None:
    gateway.daemon.requests.clear()
    gateway.daemon.heads.clear()
    for request in odd_http.requests(docker_api.mutated(scope), 2500):
        with gateway.scope_socket(scope) as connection, contextlib.suppress(OSError):
            connection.settimeout(1)
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            _gateway.received(connection)
    assert docker_api.outside(scope, gateway.daemon.requests) == []
    assert len(gateway.daemon.requests) > 100  # the requests are not all nonsense
    assert not [head for head in gateway.daemon.heads if b"upgrade:" in head.lower() or b"%" in head.split(b"?")[0]]


def test_a_container_is_not_started_with_another_configuration(gateway: _gateway.Gateway) -> None:
    """Before 1.24, the content of that request is a configuration, with which its sender is root on the host."""
    body = b'{"Privileged": true, "Binds": ["/:/host"]}'
    gateway.daemon.requests.clear()
    for path in (b"/v1.23/containers/keep/start", b"/v1.41/containers/keep/start", b"/containers/keep/start"):
        head = b"POST " + path + b" HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
        answer = gateway.ask(_pair(gateway, "c-operate"), head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert b" 403 " in answer
    assert gateway.daemon.requests == []


def test_a_refusal_is_an_answer_that_clients_show(gateway: _gateway.Gateway) -> None:
    answer = gateway.ask(_pair(gateway, "c-status"), b"POST /commit HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
    assert answer.endswith(
        b'{"message": "the gateway of this engine refuses this request, because the scope status has no rule for it"}'
    )


@pytest.mark.parametrize("more", [0, 500, 50_000])
@pytest.mark.parametrize("tty", [True, False])
def test_a_reduced_answer_has_what_docker_logs_needs_and_nothing_else(
    gateway: _gateway.Gateway, tty: bool, more: int
) -> None:
    gateway.daemon.container = recording_daemon.container(tty, "x" * more)
    request = b"GET /v1.41/containers/web/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    head, _, body = gateway.ask(_pair(gateway, "c-read-only"), request).partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert json.loads(body) == {"Id": "0123456789abcdef" * 4, "Config": {"Tty": tty}}
    assert b"hunter2" in gateway.ask(_pair(gateway, "c-inspect"), request)  # which includes read-only


@pytest.mark.parametrize(
    "container", [recording_daemon.container(True, "x" * 70_000), b"{}", b"no JSON", b'{"Id": "1\'2"}']
)
def test_an_answer_that_cannot_be_reduced_is_none(gateway: _gateway.Gateway, container: bytes) -> None:
    gateway.daemon.container = container
    request = b"GET /containers/web/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    answer = gateway.ask(_pair(gateway, "c-read-only"), request)
    gateway.daemon.container = recording_daemon.container(False)
    assert b" 502 " in answer
    assert b"hunter2" not in answer


def test_the_log_says_who_did_what(gateway: _gateway.Gateway) -> None:
    gateway.ask(_pair(gateway, "alice@example.com"), b"GET /info?key=secret HTTP/1.1\r\nConnection: close\r\n\r\n")
    line = next(line for line in reversed(gateway.log) if "request" in line)
    assert re.fullmatch(
        r'<6>request identity="alice@example.com" scope=status src=127\.0\.0\.1:\d+ verdict=refused status=403 '
        r'method="GET" path="/info" state=\S+',
        line,
    )
    gateway.ask(_pair(gateway, "root"))
    gateway.ask(_pair(gateway, "nobody"))
    text = "\n".join(gateway.log)
    assert 'connection identity="root" scope=admin src=127.0.0.1:' in text
    assert 'connection identity="nobody" scope=- src=127.0.0.1:' in text


def test_a_scope_that_only_logs_refuses_nothing(tmp_path: pathlib.Path) -> None:
    learns = scopes.Scope("learns", (scopes.rule("GET /_ping", "learns"),), log_only=True)
    with _started(tmp_path, {"tool": "learns"}, own=[learns]) as gateway:
        request = b"POST /containers/create HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        assert b"200 OK" in gateway.ask(_pair(gateway, "tool"), request)
        assert b"200 OK" in gateway.ask(_pair(gateway, "tool"))
        verdicts = re.findall(r'verdict=(\S+) .*path="(\S+)"', "\n".join(gateway.log))
    assert verdicts == [("would-be-refused", "/containers/create"), ("allowed", "/_ping")]


def test_content_reaches_the_daemon_where_a_rule_says_so(tmp_path: pathlib.Path) -> None:
    own = scopes.Scope("builds", (scopes.rule("POST /build body", "builds"),))
    with _started(tmp_path, {"tool": "builds"}, own=[own]) as gateway:
        request = (
            b"POST /build?t=x HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        assert b"200 OK" in gateway.ask(_pair(gateway, "tool"), request)
        assert gateway.daemon.requests == [("POST", "/build?t=x")]


def test_an_identity_has_so_many_connections_and_requests(tmp_path: pathlib.Path) -> None:
    identities = {"root": "admin", "tool": "status", "other": "status"}
    with _started(tmp_path, identities, max_connections=3, max_request_rate=5) as gateway:
        files = {name: _pair(gateway, name) for name in identities}
        held = [gateway.client(files["root"]) for _ in range(3)]
        for connection in held:
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert gateway.ask(files["root"]) == b""
        statuses = [gateway.ask(files["tool"]).split(b" ")[1] for _ in range(7)]
        assert statuses == [b"200"] * 5 + [b"429"] * 2
        assert b"200 OK" in gateway.ask(files["other"])
        for connection in held:
            connection.close()


# -- over SSH --------------------------------------------------------------------------------------------------------

ACCOUNTS = {"docker-alice": ("alice", "status"), "docker-bob": ("bob@example.com", "operate"), "ci": ("ci", "own")}


@pytest.fixture(scope="module")
def with_accounts(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[_gateway.Gateway]:
    """alice has a certificate, too, and the others have an account alone."""
    own = scopes.Scope("own", (scopes.rule("GET /info", "own"),))
    identities = {"root": "admin", "alice": "status"}
    with _started(tmp_path_factory.mktemp("ssh"), identities, own=[own], accounts=ACCOUNTS) as made:
        yield made


def _over_ssh(gateway: _gateway.Gateway, account: str, method: str, path: str) -> bytes:
    with gateway.of_account(account) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".encode())
        return _gateway.received(connection)


@pytest.mark.parametrize("account", ["docker-alice", "docker-bob"])
def test_every_endpoint_of_every_version_has_the_same_verdict_over_ssh(
    with_accounts: _gateway.Gateway, account: str
) -> None:
    verdicts = docker_api.verdicts(ACCOUNTS[account][1])
    with_accounts.daemon.requests.clear()
    found = docker_api.statuses(verdicts, lambda: with_accounts.of_account(account))
    assert found == docker_api.expected(verdicts)
    reached = [f"{method} {path}" for method, path in with_accounts.daemon.requests]
    assert reached == [line for line, allowed in verdicts.items() if allowed]


def test_an_account_that_no_identity_logs_in_to_has_a_scope_of_its_own(with_accounts: _gateway.Gateway) -> None:
    assert b" 200 OK" in _over_ssh(with_accounts, "ci", "GET", "/info")
    assert b" 403 " in _over_ssh(with_accounts, "ci", "GET", "/version")


def test_the_log_says_whose_account_it_is_and_where_the_login_came_from(with_accounts: _gateway.Gateway) -> None:
    _over_ssh(with_accounts, "docker-bob", "GET", "/volumes?name=secret")
    line = next(line for line in reversed(with_accounts.log) if "request" in line)
    assert re.fullmatch(
        r'<6>request identity="bob@example\.com" scope=operate src=192\.0\.2\.9:40001 verdict=refused status=403 '
        r'method="GET" path="/volumes" state=\S+',
        line,
    )
    end = time.monotonic() + 5
    said = 'connection identity="bob@example.com" scope=operate account=docker-bob src=192.0.2.9:40001 state='
    while not any(said in line for line in with_accounts.log):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_account_is_known_whatever_its_address(with_accounts: _gateway.Gateway) -> None:
    """Each request is logged with its identity, or refused."""
    path = str(config.socket_of_account(with_accounts.places, "docker-alice"))
    for connection in ("fe80::1%eth0 40000 fe80::2%eth0 22", ""):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            client.sendall(ssh_gate.announcement(connection) + b"GET /swarm HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert b" 403 " in _gateway.received(client)
        line = next(line for line in reversed(with_accounts.log) if "request" in line)
        assert 'request identity="alice" scope=status' in line
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)
        client.sendall(b"PROXY UNKNOWN\r\nGET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert _gateway.received(client) == b""


def test_what_an_account_says_of_itself_is_nothing(with_accounts: _gateway.Gateway) -> None:
    """A second announcement, or one with another identity, is no request."""
    with_accounts.daemon.requests.clear()
    for claim in (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 22\r\n", _gateway.proxy_header("root")):
        with with_accounts.of_account("docker-alice") as connection:
            connection.sendall(claim + b"GET /info HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert not _gateway.received(connection).startswith(b"HTTP/1.1 200")
    assert with_accounts.daemon.requests == []


def test_an_identity_is_cut_over_ssh_as_well_and_others_are_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    own = scopes.Scope("own", (scopes.rule("GET /stream", "own"),))
    accounts = {"docker-alice": ("alice", "own"), "docker-bob": ("bob", "own")}
    with _started(tmp_path_factory.mktemp("ssh"), {"root": "admin"}, own=[own], accounts=accounts) as gateway:
        streams = {name: gateway.of_account(name) for name in accounts}
        for stream in streams.values():
            stream.sendall(b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n")
            assert stream.recv(1000).startswith(b"HTTP/1.1 200")
        gateway.reload()
        assert control.cut(gateway.places.master, ["alice"]) == 1
        assert _ends(streams["docker-alice"])
        assert b"line" in streams["docker-bob"].recv(1000)
        for stream in streams.values():
            stream.close()


def test_an_account_is_there_after_a_reload_and_after_it_was_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ssh")  # a path of a socket has to be short
    with _started(folder, {"root": "admin"}, accounts={"docker-alice": ("alice", "status")}) as gateway:
        stays = gateway.config
        for accounts, answers in ((stays.accounts, True), ((), False), (stays.accounts, True)):
            gateway.config = dataclasses.replace(stays, accounts=accounts)
            gateway.write()
            gateway.reload()
            if answers:
                assert b" 200 OK" in _over_ssh(gateway, "docker-alice", "GET", "/_ping")
            else:
                with contextlib.suppress(OSError):
                    assert _over_ssh(gateway, "docker-alice", "GET", "/_ping") == b""


# -- revocation ------------------------------------------------------------------------------------------------------


def test_a_revoked_certificate_is_refused(tmp_path: pathlib.Path) -> None:
    made = _gateway.make(tmp_path, {"root": "admin", "alice": "admin"})
    files = _pair(made, "alice")
    made.write(revoked=[_gateway.serial(files)])
    try:
        made.start()
        assert made.ask(files) == b""
        assert made.ask(_pair(made, "alice")) != b""  # her new one
        assert made.ask(_pair(made, "root")) != b""
    finally:
        made.stop()
        made.daemon.close()


def test_a_list_past_its_date_refuses_whom_it_names_and_nobody_else(tmp_path: pathlib.Path) -> None:
    made = _gateway.make(tmp_path, {"root": "admin", "alice": "admin"})
    files = _pair(made, "alice")
    made.write(revoked=[_gateway.serial(files)], crl_ends=datetime.timedelta(days=-2))
    try:
        made.start()
        assert made.ask(files) == b""
        assert made.ask(_pair(made, "root")) != b""
    finally:
        made.stop()
        made.daemon.close()


@pytest.mark.parametrize("tls12", [True, False], ids=["TLS 1.2", "TLS 1.3"])
def test_a_tls_session_is_not_resumed(gateway: _gateway.Gateway, tls12: bool) -> None:
    """With it, a client whose certificate was revoked would come back."""
    context = _gateway.client_context(_pair(gateway, "root"), tls12)

    def connect(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        raw = socket.create_connection(("127.0.0.1", gateway.port), 5)
        with context.wrap_socket(raw, session=session) as connection:
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in _gateway.received(connection)
            assert not connection.session_reused
            return connection.session

    connect(connect(None))


def test_a_reload_cuts_nobody(tmp_path: pathlib.Path) -> None:
    with _started(tmp_path, {"root": "admin", "alice": "read-only"}) as gateway:
        files = _pair(gateway, "root")
        with gateway.client(files) as stream:
            stream.sendall(b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n")
            assert stream.recv(100)
            failures, stop = [], threading.Event()

            def loop() -> None:
                while not stop.is_set():
                    if b"200 OK" not in gateway.ask(files):
                        failures.append(time.monotonic())

            asking = threading.Thread(target=loop)
            asking.start()
            for _ in range(3):
                gateway.reload()
            stop.set()
            asking.join()
            assert failures == []
            assert b"line" in stream.recv(100)


def _stream(gateway: _gateway.Gateway, name: str) -> ssl.SSLSocket:
    stream = gateway.client(_pair(gateway, name))
    stream.sendall(b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n")
    assert stream.recv(100)
    return stream


def _ends(stream: socket.socket) -> bool:
    stream.settimeout(2)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while stream.recv(65536):
            pass
    return True


def test_an_identity_is_cut_alone_and_in_every_former_configuration(tmp_path: pathlib.Path) -> None:
    with _started(tmp_path, {"root": "admin", "alice": "admin", "alice+2": "admin"}) as gateway:
        streams = {name: _stream(gateway, name) for name in ("root", "alice", "alice+2")}
        gateway.reload()
        streams["alice again"] = _stream(gateway, "alice")
        gateway.reload()
        new = _stream(gateway, "alice")
        assert control.cut(gateway.places.master, ["alice", "nobody"]) == 2
        for name in ("alice", "alice again"):
            assert _ends(streams[name])
        for stream in (streams["root"], streams["alice+2"], new):
            assert b"line" in stream.recv(100)
        for stream in (*streams.values(), new):
            stream.close()


def test_a_handshake_that_was_begun_before_lets_nobody_in_who_was_cut(tmp_path: pathlib.Path) -> None:
    """It ends in the process of the former configuration, which knows no revocation and has the former scope."""
    identities = {"root": "admin", "alice": "admin", "bob": "admin"}
    with _started(tmp_path, identities) as gateway:
        begun = [{name: gateway.begin(_pair(gateway, name)) for name in identities}]
        gateway.reload()
        begun.append({name: gateway.begin(_pair(gateway, name)) for name in identities})
        gateway.reload()
        control.cut(gateway.places.master, ["alice", "bob"])
        for handshakes in begun:
            assert handshakes["alice"].finish() == b""
            assert handshakes["bob"].finish() == b""
            assert b"200 OK" in handshakes["root"].finish()
        assert b"200 OK" in gateway.ask(_pair(gateway, "alice"))  # whose scope has become another one


def test_a_process_that_does_not_answer_is_ended(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = control.ask
    monkeypatch.setattr(control, "ask", lambda master, command, timeout=1: ask(master, command, timeout))
    with _started(tmp_path, {"root": "admin", "alice": "admin"}) as gateway:
        stream = _stream(gateway, "alice")
        gateway.reload()
        os.kill(control.workers(gateway.places.master).old[0], signal.SIGSTOP)
        new = _stream(gateway, "root")
        control.cut(gateway.places.master, ["alice"])
        assert _ends(stream)
        assert b"line" in new.recv(100)
        assert b"200 OK" in gateway.ask(_pair(gateway, "root"))
        new.close()


def test_a_gateway_that_does_not_answer_is_not_taken_for_one_without_connections(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        control.cut(tmp_path / "master.sock", ["alice"])
    assert control.cut(tmp_path / "master.sock", []) == 0
