"""Whatever a host has in its files and answers, an operator gets a sentence and never a traceback.

Seeded and counted, so that every run tries the same, however slow the machine is.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import pathlib
import random
import ssl
import subprocess
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import (
    api,
    command_line,
    daemon_json,
    inspect,
    plan,
    report,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import renewal, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from helpers.engine_state import INFO, Api, Service

REAL_API = api.LocalApi
REFUSALS = (
    api.ApiError,
    command_line.UnitError,
    daemon_json.DaemonJsonError,
    inspect.EngineError,
    sshd.SshdError,
)
TOKENS = [
    *(b"null", b"true", b"1e999", b"NaN", b"-0", b"[]", b"{}", b"[", b"]", b"{", b"}", b'"', b"'", b",", b":", b"\\"),
    *(
        b"tcp://",
        b"unix://",
        b"fd://",
        b"TCP://",
        b"[::1",
        b"]:",
        b"0.0.0.0",
        b":99999",
        b"/",
        b"%",
        b"%h",
        b"$X",
        b"${X}",
    ),
    *(
        b"-H",
        b"-D",
        b"--tls=",
        b"--tlsverify",
        b"--host",
        b"--data-root=",
        b"--",
        b"=",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\\\n",
    ),
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\\ud800",
        b"\\u0000",
        "é".encode(),
        "\u2028".encode(),
        b"9" * 5000,
        b"[" * 3000,
    ),
    *(b"*", b"**", b"?", b"#", b";", b"[Service]", b"ExecStart=", b"EnvironmentFile=-", b"Environment="),
    *(b"hosts", b"Hosts", b"tls", b"tlsverify", b"data-root", b"features", b"exec-opts", b"authorization-plugins"),
    *(b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"AAAA", b"port", b"hostkey"),
]
VALUES: list[t.Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "\ud800",
    "\0",
    "tcp://",
    [],
    [None],
    [[]],
    ["x"],
    {},
    {"x": []},
]


def mangled(seed: bytes, chance: random.Random) -> bytes:
    """The text with a few pieces lost, doubled, swapped for others or made up."""
    text = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(text))
        end = min(len(text), start + chance.choice((0, 1, 1, 2, 5, 20)))
        text[start:end] = chance.choice((b"", chance.choice(TOKENS), chance.randbytes(1), bytes(text[start:end]) * 2))
    return bytes(text[: chance.randint(0, len(text))] if chance.random() < 0.1 else text)


def distorted(value: t.Any, chance: random.Random) -> t.Any:
    """The answer with something else in a few places."""
    if chance.random() < 0.08:
        return chance.choice(VALUES)
    if isinstance(value, dict):
        return {key: distorted(item, chance) for key, item in value.items() if chance.random() > 0.03}
    if isinstance(value, list):
        return [distorted(item, chance) for item in value]
    return value


@pytest.fixture(autouse=True)
def no_host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own engine is read, and its own sshd not asked."""
    for name in ("DAEMON_JSON", "CA", "CERTIFICATE", "PRIVATE_KEY", "STATE"):
        monkeypatch.setattr(inspect, name, tmp_path / name)
    monkeypatch.setattr(report, "_SSH_ACCOUNTS", tmp_path / "none")
    monkeypatch.setattr(inspect, "version", lambda _: "28.5.2")
    monkeypatch.setattr(inspect.shutil, "which", lambda *_, **__: "/usr/sbin/dockerd")
    monkeypatch.setattr(inspect, "daemons", lambda: {})


DESIRED = plan.Desired(
    listen=("192.0.2.1",),
    port=2376,
    options={"log-driver": "local"},
    ca="",
    certificate="",
    private_key=None,
    names=(),
    allow_container_restart=False,
    timeout=60,
)


def decide(monkeypatch: pytest.MonkeyPatch, line: command_line.CommandLine, answer: t.Any, running: bool = True) -> int:
    """Everything that is decided about an engine before it is changed; how many of these were no refusal."""
    socket = Api(answer)
    monkeypatch.setattr(inspect._service, "service", lambda: Service(line=line, pid=int(running)))
    monkeypatch.setattr(inspect._api, "LocalApi", lambda _: socket)
    fine = 0
    try:
        found = inspect.gather()
    except REFUSALS as error:
        assert_a_sentence(error)
        return 0
    for step in (
        lambda: json.dumps([report.engine(found), report.endpoints(found)]).encode(),
        lambda: json.dumps(plan.present(found, DESIRED).content).encode(),
        lambda: json.dumps(plan.absent(found).content).encode(),
        lambda: plan.refuse_container_loss(found, DESIRED),
        lambda: plan.refuse_pending_edits(found, plan.present(found, DESIRED)),
        lambda: plan.refuse_reload_traps(found),
        lambda: [target.content for target in plan.present(found, DESIRED).targets],
        found.command_line.without_remote_flags,
    ):
        try:
            step()  # type: ignore[no-untyped-call]
            fine += 1
        except REFUSALS as error:
            assert_a_sentence(error)
    return fine


def assert_a_sentence(error: Exception) -> None:
    text = str(error)
    assert text.strip()
    text.encode(errors="surrogateescape")  # odd bytes of a file go out as they came in, nothing else is odd


LINE = command_line.CommandLine("docker.service", ("/usr/sbin/dockerd", "-H", "fd://"), {})
DAEMON_JSONS = [
    b'{"hosts": ["fd://", "tcp://0.0.0.0:2376"], "tlsverify": true, "tlscacert": "/ca", "log-opts": {"tag": "x"}}',
    b'{\n "hosts": null, "data-root": "/x", "features": {"containerd-snapshotter": true}, "labels": ["\xc3"]\n}\n',
    b'{"exec-opts": ["native.cgroupdriver=systemd"], "authorization-plugins": ["opa"], "userns-remap": "x"}',
]


def test_daemon_json(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, fine = random.Random(1), 0
    for number in range(700):
        content = mangled(DAEMON_JSONS[number % 3], chance)
        inspect.DAEMON_JSON.write_bytes(content)
        fine += decide(monkeypatch, LINE, INFO, running=number % 4 > 0)
        try:
            parsed = daemon_json.parse(content, "daemon.json")
        except REFUSALS as error:
            assert_a_sentence(error)
            continue
        assert daemon_json.parse(daemon_json.dump(parsed, like=content), "daemon.json") == parsed
        for side in daemon_json.diff(content, b'{"debug": true}', "daemon.json"):
            side.encode()
    assert fine > 700  # most of it would otherwise have tried the first refusal alone


UNIT = b"""[Unit]
Requires=docker.socket
[Service]
Type=notify
EnvironmentFile=-/nonexistent/docker
Environment="X=--debug -H tcp://127.0.0.1" Y=1
ExecStart=/usr/sbin/dockerd -H fd:// -H tcp:// --tls=false --exec-opt native.cgroupdriver=systemd \\
  # a remark
  --data-root "/var/lib/docker" $X ${Y}
"""


def test_unit_files(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    chance, fine, path = random.Random(2), 0, tmp_path / "docker.service"
    for _ in range(450):
        path.write_bytes(mangled(UNIT, chance))
        try:
            line = command_line.read_command_line([path])
        except REFUSALS as error:
            assert_a_sentence(error)
            continue
        fine += decide(monkeypatch, line, INFO)
        command_line.exec_start(line.without_remote_flags())
    assert fine > 450


def test_docker_opts(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    chance, fine, path = random.Random(3), 0, tmp_path / "docker"
    seed = b"# options\nexport DOCKER_OPTS=\"-H tcp://0.0.0.0:2375 --tlsverify=t --label 'a b'\" # here\nHTTP_PROXY=x\n"
    for number in range(350):
        path.write_bytes(mangled(seed, chance))
        variables = command_line.read_variables(path, exported=number % 2 == 0)
        line = command_line.CommandLine("/etc/init.d/docker", ("dockerd", "$DOCKER_OPTS", "${HTTP_PROXY}"), variables)
        fine += decide(monkeypatch, line, INFO, running=number % 4 > 0)
    assert fine > 350


def test_answers_of_the_docker_api(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, fine = random.Random(4), 0
    container = {
        "Id": "1",
        "Name": "/keep",
        "RestartCount": 1,
        "State": {"Running": True, "Pid": 1, "ExitCode": 0, "Restarting": False, "StartedAt": "2026-01-01T00:00:00.5Z"},
    }

    def get(_: t.Any, resource: str) -> t.Any:
        return distorted([container] if resource == "/containers/json" else container, chance)

    monkeypatch.setattr(REAL_API, "get", get)
    socket, before = REAL_API("/nonexistent/docker.sock"), [{"id": "1", "name": "keep", "pid": 1}]
    for _ in range(500):
        fine += decide(monkeypatch, LINE, distorted(INFO, chance))
        for call in (socket.running_containers, lambda: socket.lost(before)):
            try:
                json.dumps(call())
                fine += 1
            except REFUSALS as error:
                assert_a_sentence(error)
    assert fine > 1000


def test_configurations_of_sshd(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, fine, server = random.Random(5), 0, object.__new__(sshd.Sshd)
    vars(server).update(binary="sshd", options=())
    seed = (
        b"port 22\nhostkey /etc/ssh/ssh_host_ed25519_key\nmaxstartups 10:30:100\npermituserenvironment no\n"
        b"allowusers ops@192.0.2.* *\ndenygroups nobody\nacceptenv *\n"
    )
    for _ in range(150):
        said = mangled(seed, chance).decode(errors="replace")
        done = subprocess.CompletedProcess((), 0, said, "")
        monkeypatch.setattr(subprocess, "run", lambda *_, _done=done, **__: _done)
        try:
            server.port_and_host_keys(None)
            fine += 1
        except REFUSALS as error:
            assert_a_sentence(error)
        lines = [line.lower().partition(" ") for line in said.splitlines()]
        sshd.refusing_list({keyword: (value,) for keyword, _, value in lines}, "docker-admin", ["docker-ssh"])
    assert fine > 50


def certificate_and_key() -> tuple[str, str, bytes]:
    """A CA, a certificate of it and its key, the same in every run: Ed25519 signs without chance."""
    authority = ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32)
    key = ec.derive_private_key(4711, ec.SECP256R1())
    name = cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, "ours")])

    def sign(public: t.Any, *extensions: cx509.ExtensionType) -> str:
        builder = cx509.CertificateBuilder(name, name, public, 4711, NOW, NOW + datetime.timedelta(days=365))
        for extension in (cx509.SubjectKeyIdentifier.from_public_key(public), *extensions):
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, None).public_bytes(serialization.Encoding.PEM).decode()

    issuer = cx509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    names = cx509.SubjectAlternativeName([cx509.DNSName("web1"), cx509.IPAddress(ipaddress.ip_address("192.0.2.1"))])
    usage = cx509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    ca = sign(authority.public_key(), cx509.BasicConstraints(ca=True, path_length=0))
    return ca, sign(key.public_key(), issuer, names, usage), key.private_bytes(*form)


NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def damaged(pem: str, chance: random.Random) -> str:
    """A certificate with something else in its text, or with other bytes in what the text encodes."""
    if chance.random() < 0.3:
        return mangled(pem.encode(), chance).decode("ascii", "replace")
    content = bytearray(ssl.PEM_cert_to_DER_cert(pem))
    for _ in range(chance.randint(1, 2)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return ssl.DER_cert_to_PEM_cert(bytes(content))


def test_certificates() -> None:
    chance, fine = random.Random(6), 0
    ca, certificate, key = certificate_and_key()
    assert renewal.reasons(certificate, ca, "server", "P-256", 30, ["web1"], NOW) == []
    for _ in range(350):
        text, bundle, secret = damaged(certificate, chance), damaged(ca, chance), mangled(key, chance)
        for pair in ((text, ca), (certificate, bundle)):
            for reason in renewal.reasons(*pair, "server", "P-256", 30, ["web1"], NOW):
                reason.encode()
        for step in (
            lambda pem=text: x509.report(x509.load_bundle(pem)[0]),
            lambda pem=text: x509.describe(pem.encode()),
            lambda pem=text: x509.key_matches(pem, key),
            lambda damaged_key=secret: x509.key_matches(certificate, damaged_key),
        ):
            try:
                step()
                fine += 1
            except x509.UNREADABLE as error:
                assert_a_sentence(error)
    assert fine > 100  # it depends on the release of cryptography
