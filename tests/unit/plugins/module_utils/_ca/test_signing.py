"""What the CA signs. `tools/check cryptography` runs this on old releases of cryptography, too, and without Ansible."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import os
import random
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import inspect, signing
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509 as entries
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from helpers import authority, death
from helpers.odd_requests import Maker
from helpers.pki import Authority

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
EXTENSIONS = {
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
}
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@pytest.fixture
def issuer() -> Authority:
    return Authority("bulkhead.docker CA")


@pytest.fixture
def home(tmp_path: Path, issuer: Authority) -> ca.Directory:
    return ca.Directory(authority.make(tmp_path / "ca", issuer))


def server(name: str = "web1", *names: str, days: int = 5, pem: str = "") -> signing.Request:
    return signing.Request(name, "server", names or (f"DNS:{name}",), days, pem or authority.request())


def client(name: str = "alice", days: int = 5, pem: str = "") -> signing.Request:
    return signing.Request(name, "client", (), days, pem or authority.request())


def sign(home: ca.Directory, *requests: signing.Request, passphrase: str = "", check: bool = False) -> t.Any:
    return signing.sign(home, passphrase, requests, check, NOW)


def refusal(home: ca.Directory, *requests: signing.Request, passphrase: str = "") -> str:
    before = authority.content(home.path)
    try:
        (said,) = [answer.problem for answer in sign(home, *requests, passphrase=passphrase)]
    except ca.CaError as error:
        said = str(error)
    after = authority.content(home.path)
    after.pop(".lock", None)
    before.pop(".lock", None)
    after.pop("issued", None)
    before.pop("issued", None)
    assert after == before
    return str(said)


def value(certificate: x509.Certificate, kind: t.Any) -> t.Any:
    return certificate.extensions.get_extension_for_class(kind).value


def assert_as_ordered(certificate: x509.Certificate, request: signing.Request, key: t.Any, issuer: Authority) -> None:
    """Nothing is in the certificate that the options did not give."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
    assert [(name.oid, name.value) for name in certificate.subject] == [(NameOID.COMMON_NAME, request.name)]
    assert {extension.oid for extension in certificate.extensions} == EXTENSIONS | (
        {ExtensionOID.SUBJECT_ALTERNATIVE_NAME} if request.names else set()
    )
    assert list(value(certificate, x509.ExtendedKeyUsage)) == [USAGES[request.usage]]
    usage = value(certificate, x509.KeyUsage)
    others = (usage.content_commitment, usage.key_encipherment, usage.data_encipherment, usage.key_agreement)
    assert usage.digital_signature
    assert not any((*others, usage.key_cert_sign, usage.crl_sign))
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).critical
    if request.names:
        wanted = [
            x509.IPAddress(ipaddress.ip_address(text)) if kind == "IP" else x509.DNSName(text)
            for kind, text in (name.split(":", 1) for name in request.names)
        ]
        assert list(value(certificate, x509.SubjectAlternativeName)) == wanted
    assert entries.issued_by(certificate, issuer.certificate)
    identifier = value(certificate, x509.AuthorityKeyIdentifier)
    assert identifier.key_identifier == value(issuer.certificate, x509.SubjectKeyIdentifier).digest
    assert identifier.authority_cert_issuer is None
    assert value(certificate, x509.SubjectKeyIdentifier) == x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    end = min(NOW + datetime.timedelta(days=request.valid_days), entries.Entry(issuer.certificate, "").not_after)
    assert entries.Entry(certificate, "").not_after == end


def test_no_certificate_carries_a_name_or_usage_that_was_not_given(home: ca.Directory, issuer: Authority) -> None:
    maker, choose = Maker(10), random.Random(11)
    signed: dict[str, list[Path]] = {"server": [], "client": []}
    refused = 0
    for number in range(400):
        pem, key = maker.request()
        usage = choose.choice(["server", "client"])
        names = ("DNS:web1", "IP:192.0.2.11", "IP:2001:db8::1")[: choose.randint(1, 3)] if usage == "server" else ()
        request = signing.Request(f"one-{number}", usage, names, choose.choice([1, 8, 400]), pem)
        (made,) = sign(home, request)
        if isinstance(made, signing.Refusal):
            assert f"The request for the {usage} 'one-{number}'" in made.problem
            refused += 1
            continue
        assert key in maker.keys
        assert_as_ordered(x509.load_pem_x509_certificate(made.pem.encode()), request, key, issuer)
        assert made.limited == (request.valid_days == 400)
        signed[usage] += home.issued.glob(f"{usage}-one-{number}-*.pem")
    # Releases of cryptography differ in what they can read.
    assert refused >= 50
    assert min(map(len, signed.values())) >= 50
    assert len(list(home.issued.iterdir())) == sum(map(len, signed.values()))
    for usage, files in signed.items():
        strict = ["openssl", "verify", "-x509_strict", "-purpose", f"ssl{usage}", "-CAfile", home.bundle]
        done = subprocess.run([*strict, *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]


@pytest.mark.parametrize("passphrase", ["", "opensesame"])
def test_all_requests_of_a_call_are_signed_in_their_order(tmp_path: Path, issuer: Authority, passphrase: str) -> None:
    home = ca.Directory(authority.make(tmp_path / "ca", issuer, passphrase))
    # The same name twice, and two names that are one in a file name.
    requests = [client("al@ce"), server("web1", "DNS:web1", "IP:::1"), client("al_ce"), client("al@ce")]
    made = sign(home, *requests, passphrase=passphrase)
    assert [certificate.report()["name"] for certificate in made] == ["al@ce", "web1", "al_ce", "al@ce"]
    assert len({certificate.report()["serial"] for certificate in made}) == 4
    records = sorted(home.issued.iterdir())
    assert {path.read_text() for path in records} == {certificate.pem for certificate in made}
    assert {path.stat().st_mode & 0o777 for path in records} == {0o644}
    assert [path.name.split("-")[0] for path in records] == ["client"] * 3 + ["server"]
    assert (home.path / ".lock").stat().st_mode & 0o777 == 0o600


def test_no_certificate_outlives_the_ca(home: ca.Directory, issuer: Authority) -> None:
    within, beyond = sign(home, client(days=8), client(days=2**62))
    assert (within.limited, beyond.limited) == (False, True)
    assert entries.Entry(beyond.certificate, "").not_after == entries.Entry(issuer.certificate, "").not_after
    with pytest.raises(ca.CaError, match=r"expired on .*\.rotate_ca"):
        signing.sign(home, "", [client()], now=NOW + datetime.timedelta(days=20))


def test_one_that_is_refused_keeps_no_other_from_being_signed(home: ca.Directory) -> None:
    home.revoked.mkdir()
    (home.revoked / "alice").touch()
    one, alice, nonsense, two = sign(home, server("web1"), client("alice"), server("web3", pem="x"), server("web2"))
    assert alice.problem.startswith("The request for the client 'alice' is refused, because this client was revoked.")
    assert "docker_revoke_name=alice -e docker_revoke_state=absent" in alice.problem
    assert "is not exactly one certificate request" in nonsense.problem
    assert {path.read_text() for path in home.issued.iterdir()} == {one.pem, two.pem}
    assert sign(home, server("alice"))[0].pem  # another use of the same name


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (client("../x"), "has no name for a client"),
        (client("alice\n"), "has no name for a client"),
        (client(""), "has no name for a client"),
        (client("n" * 65), "has no name for a client"),
        (server("n" * 65, "DNS:n"), "has no name for a certificate"),
        (server("web1\n", "DNS:web1"), "has no name for a certificate"),
        (server("", "DNS:web1"), "has no name for a certificate"),
        (server(days=0), "is for 0 days"),
        (signing.Request("web1", "server", (), 5, authority.request()), "has no names"),
        (server("web1", "DNS:web/1"), "names 'DNS:web/1'"),
        (server("web1", "DNS:web1\n"), "names 'DNS:web1"),
        (server("web1", "DNS:"), "names 'DNS:'"),
        (server("web1", "DNS:w\u00e9b"), "names 'DNS:w\u00e9b'"),
        (server("web1", "web1"), "names 'web1'"),
        (server("web1", "IP:web1"), "names 'IP:web1'"),
        (server("web1", "IP:fe80::1%eth0"), "names 'IP:fe80::1%eth0'"),
        (server("web1", "URI:https://web1"), "names 'URI:https://web1'"),
        (server(pem="nothing"), "is not exactly one certificate request"),
        (server(pem=authority.request() * 2), "is not exactly one certificate request"),
        (server(pem=authority.request() + " " * 40000), "is not exactly one certificate request"),
        (server(pem=authority.request().replace("MI", "!!")), "cannot be read"),
        (
            server(pem=authority.request(ec.generate_private_key(ec.SECP521R1()))),
            "has a key of the type P-521; accepted are P-256, P-384 and RSA of 2048 to 8192 bits",
        ),
    ],
)
def test_what_cannot_be_signed_is_refused_in_a_sentence(
    home: ca.Directory, request_: signing.Request, says: str
) -> None:
    said = refusal(home, request_)
    assert f"The request for the {request_.usage} '{request_.name}' {says}" in said
    assert said.endswith("It was not signed.")


def test_a_request_is_signed_with_the_key_that_it_names(home: ca.Directory) -> None:
    der = x509.load_pem_x509_csr(authority.request().encode()).public_bytes(serialization.Encoding.DER)
    forged = x509.load_der_x509_csr(der[:-1] + bytes([der[-1] ^ 1])).public_bytes(serialization.Encoding.PEM)
    assert "is not signed with its own key" in refusal(home, server(pem=forged.decode()))


def test_a_wildcard_may_be_asked_for(home: ca.Directory) -> None:
    (made,) = sign(home, server("web1", "DNS:*.example.com", "DNS:*.example.com"))
    assert value(made.certificate, x509.SubjectAlternativeName).get_values_for_type(x509.DNSName) == ["*.example.com"]


def test_a_ca_that_cannot_sign_says_why(tmp_path: Path, issuer: Authority) -> None:
    def made(name: str, passphrase: str = "") -> ca.Directory:
        return ca.Directory(authority.make(tmp_path / name, issuer, passphrase))

    encrypted, plain, swapped, damaged = (
        made("encrypted", "opensesame"),
        made("plain"),
        made("swapped"),
        made("damaged"),
    )
    assert "is encrypted, and docker_ca_passphrase is not set" in refusal(encrypted, server())
    assert "cannot be read with docker_ca_passphrase" in refusal(encrypted, server(), passphrase="wrong secret")
    assert "is not encrypted, although docker_ca_passphrase is set" in refusal(plain, server(), passphrase="opensesame")
    swapped.key.write_bytes(authority.key_text(Authority("another").key))
    assert "is not the key of" in refusal(swapped, server())
    damaged.rotation.write_text("")
    assert "holds '', which is no phase of a rotation" in refusal(damaged, server())
    with pytest.raises(ca.CaError, match=r"There is no CA in /.*/none\."):
        sign(ca.Directory(tmp_path / "none"), server())
    assert not (tmp_path / "none").exists()


def test_check_mode_refuses_the_same_and_signs_nothing(home: ca.Directory, tmp_path: Path) -> None:
    before = authority.content(home.path)
    assert sign(home, server(), check=True) == []
    assert sign(ca.Directory(tmp_path / "none"), server(), check=True) == []
    (refused,) = sign(ca.Directory(tmp_path / "none"), server(pem="nothing"), check=True)
    assert "not exactly one" in refused.problem
    home.revoked.mkdir()
    (home.revoked / "alice").touch()
    assert "was revoked" in sign(home, client(), check=True)[0].problem
    (home.revoked / "alice").unlink()
    assert authority.content(home.path) == before


def test_an_authority_of_any_common_key_signs(tmp_path: Path) -> None:
    """One that was brought along may have a key that we would not make."""
    issuer = Authority("edwards")
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edwards")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=9))
    home = ca.Directory(authority.make(tmp_path / "ca", issuer))
    home.key.write_bytes(authority.key_text(key))
    home.certificate.write_bytes(builder.sign(key, None).public_bytes(serialization.Encoding.PEM))
    (made,) = sign(home, client())
    key.public_key().verify(made.certificate.signature, made.certificate.tbs_certificate_bytes)


class Killed(BaseException):
    """The process ends here, without cleaning up."""


@pytest.mark.parametrize("step", range(8))
def test_a_signing_that_is_killed_leaves_nothing_half_written(
    home: ca.Directory, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    steps = iter(range(100))
    write, rename = _files.write, Path.replace

    def count() -> None:
        if next(steps) == step:
            raise Killed

    def killed_write(path: Path, data: bytes, mode: int) -> None:
        count()
        path.write_bytes(data[:10])
        count()
        write(path, data, mode)

    def killed_rename(self: Path, target: Path) -> Path:
        count()
        return rename(self, target)

    requests = [server("web1"), client("alice")]
    with monkeypatch.context() as patched:
        patched.setattr(_files, "write", killed_write)
        patched.setattr(Path, "replace", killed_rename)
        if step < 6:
            with pytest.raises(Killed):
                sign(home, *requests)
        else:
            sign(home, *requests)
    for path in home.issued.glob("*.pem"):
        entries.load_bundle(path.read_text())
    made = sign(home, *requests)
    assert len(made) == 2
    assert [path.name for path in home.issued.iterdir() if path.suffix != ".pem"] == []


def test_a_record_that_cannot_be_written_takes_the_others_back(
    home: ca.Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = _files.write

    def full(path: Path, data: bytes, mode: int) -> None:
        if "client" in path.name:
            raise OSError(28, "No space left on device", str(path))
        write(path, data, mode)

    monkeypatch.setattr(_files, "write", full)
    said = refusal(home, server(), client())
    assert "No space left on device" in said
    assert said.endswith("Nothing was signed.")


class Clock:
    """Time passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 10)
        self.slept += 1


def _acquire_and_release(home: ca.Directory, clock: Clock, shared: bool) -> None:
    with ca.lock(home, shared, clock, clock.sleep):
        pass


def test_who_waits_too_long_is_told_for_whom(home: ca.Directory) -> None:
    clock = Clock()
    with ca.lock(home), pytest.raises(ca.CaError, match=rf"in use by process {os.getpid()} for more than 60 seconds"):
        _acquire_and_release(home, clock, shared=True)
    assert clock.slept > 0
    # Readers do not wait for each other, and nobody is named who has ended.
    with ca.lock(home, shared=True), ca.lock(home, shared=True), pytest.raises(ca.CaError, match="by another process"):
        _acquire_and_release(home, clock, shared=False)
    with ca.lock(home):
        assert (home.path / ".lock").read_text() == str(os.getpid())


def test_hashes_are_those_that_everybody_accepts(home: ca.Directory) -> None:
    (made,) = sign(home, server())
    assert isinstance(made.certificate.signature_hash_algorithm, hashes.SHA256)


def test_a_kill_at_any_moment_loses_no_record(home: ca.Directory, tmp_path: Path) -> None:
    """Nobody got the certificates of the call that was killed; some of them may be in the record."""
    sign(home, client("alice"))
    requests = [client("carol"), client("dave")]

    def prepare(step: int) -> ca.Directory:
        return ca.Directory(shutil.copytree(home.path, tmp_path / f"killed-{step}"))

    for killed in death.killed(prepare, lambda home: sign(home, *requests)):
        before = inspect.gather(killed, "")
        assert "alice" in [one["name"] for one in before["issued"]]
        assert before["problems"] == []
        answers = sign(killed, *requests)
        after = inspect.gather(killed, "")
        serials = [one["serial"] for one in after["issued"]]
        assert {one["serial"] for one in before["issued"]} | {one.report()["serial"] for one in answers} == {*serials}
        assert len(serials) == len({*serials}) == len(before["issued"]) + 2
        assert not list(killed.path.rglob("*.bulkhead-*"))


def test_nothing_outlasts_the_day_on_which_the_client_ends(home: ca.Directory) -> None:
    day = (NOW + datetime.timedelta(days=3)).date()
    last = datetime.datetime.combine(day, datetime.time(23, 59, 59), datetime.timezone.utc)
    ends = {}
    for name, days, expires in (("a", 400, str(day)), ("b", 2, str(day)), ("c", 400, "9999-12-31"), ("d", 9, "")):
        (made,) = sign(home, dataclasses.replace(client(name), valid_days=days, expires=expires))
        assert isinstance(made, signing.Certificate)
        assert made.limited == (name == "c")  # by the CA, which the operator can do something about
        ends[name] = entries.load_bundle(made.pem)[0].not_after
    assert ends["a"] == last
    assert ends["b"] == NOW + datetime.timedelta(days=2)
    assert ends["d"] == NOW + datetime.timedelta(days=9)
    yesterday = str((NOW - datetime.timedelta(days=1)).date())
    for expires, said in (
        (yesterday, f"is for a client whose access ended on {yesterday}"),
        ("soon", "cannot be read"),
    ):
        assert said in refusal(home, dataclasses.replace(client("e"), expires=expires))
