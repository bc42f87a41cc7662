"""A CA whose key is elsewhere: what is pinned of it, what it is asked for, and which of its answers are used."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
    create,
    elsewhere,
    inspect,
    passphrase,
    removal,
    revocation,
    rotation,
    signing,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import request as requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from helpers import authority, death
from helpers.odd_requests import Maker
from helpers.pki import Authority

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
NAMES = ("DNS:web1", "IP:192.0.2.11")
OWN = create.Wanted("bulkhead.docker CA", "P-256", 3072, 30)


@dataclasses.dataclass
class Corporate:
    """Issuing CAs below one root, and the directory in which one of them is pinned."""

    home: ca.Directory
    file: Path
    root: Authority
    issuing: Authority

    def pin(self, *authorities: Authority) -> list[str]:
        self.file.write_text("".join(one.pem for one in authorities))
        return elsewhere.ensure(self.home, self.file)

    def state(self) -> dict[str, t.Any]:
        return inspect.gather(self.home, "")


@pytest.fixture
def corporate(tmp_path: Path) -> Corporate:
    root = Authority("root", path_length=None, days=10)
    made = Corporate(ca.Directory(tmp_path / "ca"), tmp_path / "pinned.pem", root, Authority("issuing", above=root))
    made.pin(root, made.issuing)
    return made


def wanted(usage: str = "server", name: str = "web1", key: t.Any = None) -> signing.Request:
    names = NAMES if usage == "server" else ()
    pem = requests.request(
        requests.pkcs8(key or requests.generate("P-256", 0)), name, usage, [requests.general_name(one) for one in names]
    )
    return signing.Request(name, usage, names, 5, pem)


def issue(issuer: Authority, request: signing.Request, **changes: t.Any) -> str:
    """The certificate that was asked for, as a CA would issue it, but for what is changed."""
    csr = x509.load_pem_x509_csr(request.pem.encode())
    key: t.Any = changes.get("key") or csr.public_key()
    subject = changes.get("subject", [(NameOID.COMMON_NAME, request.name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(*attribute) for attribute in subject]))
        .issuer_name(issuer.name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(changes.get("begin", NOW - datetime.timedelta(hours=1)))
        .not_valid_after(changes.get("end", NOW + datetime.timedelta(days=5)))
    )
    usages = changes.get("usages", [{"server": SERVER, "client": CLIENT}[request.usage]])
    names = changes.get("names", [requests.general_name(one) for one in request.names])
    extensions: list[tuple[t.Any, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False),
        *([(x509.ExtendedKeyUsage(usages), False)] if usages else []),
        *([(x509.SubjectAlternativeName(names), False)] if names else []),
        *changes.get("extensions", []),
    ]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def used(corporate: Corporate, request: signing.Request, certificate: str) -> dict[str, t.Any]:
    (answer,) = signing.sign(corporate.home, "", [dataclasses.replace(request, certificate=certificate)], now=NOW)
    return answer.report()


def key_usage(*granted: str) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: name in granted for name in names})


def test_the_certificates_are_pinned_and_no_key_is_missed(corporate: Corporate) -> None:
    state = corporate.state()
    assert (state["elsewhere"], state["complete"], state["problems"]) == (True, True, [])
    assert (state["bundle"], state["client_bundle"]) == (
        corporate.issuing.pem,
        corporate.issuing.pem + corporate.root.pem,
    )
    assert corporate.pin(corporate.root, corporate.issuing) == []
    corporate.file.unlink()
    assert elsewhere.ensure(corporate.home, corporate.file) == []
    assert elsewhere.gather(corporate.home, corporate.file)["taken_over"]


def renewal(root: Authority, name: str = "root") -> Authority:
    """Another certificate of a root's key."""
    renewed = Authority(name, path_length=None)
    renewed.key = root.key
    renewed.certificate = renewed._sign(
        renewed.name, renewed.key.public_key(), [(x509.BasicConstraints(True, None), True)], days=30
    )
    renewed.pem = renewed.certificate.public_bytes(serialization.Encoding.PEM).decode()
    return renewed


def test_a_root_that_was_renewed_is_taken_over(corporate: Corporate) -> None:
    renewed = renewal(corporate.root)
    assert corporate.pin(corporate.issuing, renewed) == ["above.pem"]
    assert corporate.state()["client_bundle"] == corporate.issuing.pem + renewed.pem


@pytest.mark.parametrize("what", ["renewed", "of a new key", "of a new name"])
def test_engines_trust_no_root_while_it_is_renewed(corporate: Corporate, tmp_path: Path, what: str) -> None:
    old, issuing = corporate.root, corporate.issuing
    new = {
        "renewed": lambda: renewal(old),
        "of a new key": lambda: Authority("root", path_length=None, days=10),
        "of a new name": lambda: renewal(old, "root 2"),
    }[what]()
    for number, order in enumerate(itertools.permutations((issuing, old, new))):
        home = ca.Directory(tmp_path / f"home-{number}")
        corporate.file.write_text("".join(one.pem for one in order))
        found = elsewhere.gather(home, corporate.file)
        assert (found["problems"], found["bundle"]) == ([], issuing.pem)
        elsewhere.ensure(home, corporate.file)
        state = inspect.gather(home, "")
        assert (state["complete"], state["bundle"]) == (True, issuing.pem)
        assert state["client_bundle"] == found["client_bundle"]
        assert state["client_bundle"] == issuing.pem + (new if what == "renewed" else old).pem
        assert elsewhere.ensure(home, corporate.file) == []


def test_everything_above_on_any_path_is_no_issuing_ca(corporate: Corporate) -> None:
    """A CA in between that two roots have certified."""
    roots = [Authority(name, path_length=None) for name in ("one", "two")]
    between = [Authority("between", above=root, path_length=None) for root in roots]
    key = between[0].key.public_key()
    between[1].certificate = roots[1]._sign(between[1].name, key, [(x509.BasicConstraints(True, None), True)])
    between[1].pem = between[1].certificate.public_bytes(serialization.Encoding.PEM).decode()
    new = Authority("new", above=between[0])
    corporate.pin(corporate.issuing, new, *between, *roots, corporate.root)
    assert corporate.state()["bundle"] == corporate.issuing.pem + new.pem


def test_a_root_of_somebody_else_is_refused(corporate: Corporate, tmp_path: Path) -> None:
    other, before = Authority("other", path_length=None), authority.content(corporate.home.path)
    for home in (corporate.home, ca.Directory(tmp_path / "empty")):
        for order in itertools.permutations((corporate.issuing, corporate.root, other)):
            corporate.file.write_text("".join(one.pem for one in order))
            found = elsewhere.gather(home, corporate.file)
            (problem,) = found["problems"]
            assert "CN=other" in problem and "is a root of no issuing CA there" in problem
            assert found["bundle"] == ""
            with pytest.raises(ca.CaError, match="Take it out of the file"):
                elsewhere.ensure(home, corporate.file)
    assert authority.content(corporate.home.path) == before
    corporate.file.write_text(corporate.issuing.pem + other.pem)
    assert "is a root of no issuing CA there" in elsewhere.gather(corporate.home, corporate.file)["problems"][0]


def test_an_issuing_ca_follows_a_self_signed_one(corporate: Corporate, tmp_path: Path) -> None:
    own, home = Authority("own"), ca.Directory(tmp_path / "own")
    below = (corporate.issuing, corporate.root)
    for order, bundle in (
        ((own,), own.pem),
        ((own, *below), own.pem + corporate.issuing.pem),
        ((*below, own), corporate.issuing.pem + own.pem),
        (below, corporate.issuing.pem),
    ):
        corporate.file.write_text("".join(one.pem for one in order))
        elsewhere.ensure(home, corporate.file)
        assert inspect.gather(home, "")["bundle"] == bundle


def test_cas_that_certify_each_other_are_refused(corporate: Corporate) -> None:
    pair = [Authority("one", path_length=None), Authority("two", path_length=None)]
    crossed = []
    for one, other in (pair, pair[::-1]):
        made = one._sign(other.name, other.key.public_key(), [(x509.BasicConstraints(True, None), True)])
        crossed.append(made.public_bytes(serialization.Encoding.PEM).decode())
    corporate.file.write_text("".join(crossed))
    (problem,) = elsewhere.gather(corporate.home, corporate.file)["problems"]
    assert "has only CAs that certify each other" in problem


def test_a_ca_follows_another_as_long_as_one_stays(corporate: Corporate) -> None:
    new, stranger = Authority("new", above=corporate.root), Authority("stranger", above=corporate.root)
    corporate.pin(corporate.issuing, new, corporate.root)
    assert corporate.state()["bundle"] == corporate.issuing.pem + new.pem
    assert [one["role"] for one in corporate.state()["certificates"]] == ["signing", "trusted"]
    corporate.pin(new, corporate.issuing, corporate.root)
    assert corporate.state()["bundle"] == new.pem + corporate.issuing.pem
    corporate.pin(new, corporate.root)
    assert (corporate.state()["bundle"], corporate.state()["retired"]) == (new.pem, corporate.issuing.pem)
    with pytest.raises(ca.CaError, match="Put the new CA behind the present one"):
        corporate.pin(stranger, corporate.root)
    assert corporate.state()["bundle"] == new.pem


def test_what_would_be_trusted_is_known_before_it_is(corporate: Corporate, tmp_path: Path) -> None:
    new = Authority("new", above=corporate.root)
    corporate.file.write_text(corporate.issuing.pem + new.pem + corporate.root.pem)
    found = elsewhere.gather(corporate.home, corporate.file)
    assert (found["taken_over"], found["problems"]) == (False, [])
    assert found["bundle"] == corporate.issuing.pem + new.pem
    assert found["client_bundle"] == corporate.issuing.pem + new.pem + corporate.root.pem
    assert corporate.state()["bundle"] == corporate.issuing.pem
    own = authority.make(tmp_path / "own", Authority("own"))
    for text in (corporate.issuing.pem + corporate.root.pem, (own / "ca-cert.pem").read_text()):
        corporate.file.write_text(text)
        (problem,) = elsewhere.gather(ca.Directory(own), corporate.file)["problems"]
        assert "holds a CA with its key" in problem


def test_a_run_that_is_killed_while_it_pins_is_ended_by_the_next_one(corporate: Corporate, tmp_path: Path) -> None:
    new = Authority("new", above=corporate.root)
    texts = {
        "first": corporate.issuing.pem + corporate.root.pem,
        "then": new.pem + corporate.issuing.pem + corporate.root.pem,
    }

    def pin(home: ca.Directory) -> None:
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
            elsewhere.ensure(home, tmp_path / name)

    for home in death.killed(lambda step: ca.Directory(tmp_path / f"killed-{step}"), pin):
        pin(home)
        state = inspect.gather(home, "")
        assert (state["complete"], state["problems"]) == (True, [])
        assert state["bundle"] == new.pem + corporate.issuing.pem


def test_what_was_asked_for_is_used_and_recorded_once(corporate: Corporate) -> None:
    request = wanted()
    certificate = issue(corporate.issuing, request)
    for _ in range(2):  # a run that was killed before it was installed brings it again
        answer = used(corporate, request, certificate + corporate.issuing.pem + corporate.root.pem)
        assert (answer["problem"], answer["certificate"]) == ("", certificate + corporate.issuing.pem)
    (entry,) = corporate.state()["issued"]
    assert (entry["name"], entry["usage"], entry["revoked"]) == ("web1", "server", False)
    assert entry["issuer"] == corporate.state()["certificates"][0]["fingerprint_sha256"]
    client = wanted("client", "alice")
    for changes in ({}, {"names": [x509.DNSName("alice")]}, {"subject": [(NameOID.ORGANIZATION_NAME, "Example")]}):
        changes = {
            name: [*value, (NameOID.COMMON_NAME, "alice")] if name == "subject" else value
            for name, value in changes.items()
        }
        assert used(corporate, client, issue(corporate.issuing, client, **changes))["problem"] == ""


@pytest.mark.parametrize("usage", ["server", "client"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"usages": [SERVER, CLIENT]}, "its extended key usage is not exactly"),
        ({"usages": []}, "its extended key usage is not exactly"),
        ({"usages": [x509.ObjectIdentifier("2.5.29.37.0")]}, "its extended key usage is not exactly"),
        ({"key": ec.generate_private_key(ec.SECP256R1()).public_key()}, "it is for another key than the request"),
        ({"subject": [(NameOID.COMMON_NAME, "admin")]}, "its common name is admin instead of"),
        ({"subject": []}, "its common name is missing"),
        ({"subject": [(NameOID.COMMON_NAME, "one"), (NameOID.COMMON_NAME, "admin")]}, "its common name is one, admin"),
        (
            {"subject": [(NameOID.COMMON_NAME, "one"), (NameOID.EMAIL_ADDRESS, "a@b")]},
            "its subject has 1.2.840.113549.1.9.1",
        ),
        ({"names": [x509.DNSName("web1"), x509.DNSName("web2")]}, "web2, which were not asked for"),
        ({"names": [x509.RFC822Name("root@example.com")]}, "root@example.com, which were not asked for"),
        ({"end": NOW + datetime.timedelta(days=6)}, "later than the"),
        ({"begin": NOW + datetime.timedelta(days=1)}, "it is not valid before"),
        ({"end": NOW - datetime.timedelta(minutes=1)}, "it expired on"),
        ({"extensions": [(x509.BasicConstraints(True, None), True)]}, "it is a CA (CA:TRUE)"),
        ({"extensions": [(key_usage("digital_signature", "key_cert_sign"), True)]}, "its key usage has key_cert_sign"),
        ({"extensions": [(key_usage("key_encipherment"), True)]}, "its key usage lacks digitalSignature"),
        (
            {"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)]},
            "it has the critical extension 1.2.3.4",
        ),
    ],
)
def test_what_is_less_or_more_than_was_asked_for_is_not_used(
    corporate: Corporate, usage: str, changes: dict[str, t.Any], says: str
) -> None:
    request = wanted(usage, "one")
    answer = used(corporate, request, issue(corporate.issuing, request, **changes))
    assert says in answer["problem"]
    assert answer["certificate"] == ""
    assert corporate.state()["issued"] == []


def test_only_the_ca_that_signs_is_taken_for_it(corporate: Corporate) -> None:
    request = wanted()
    other, namesake = Authority("other", above=corporate.root), Authority("issuing", above=corporate.root)
    for issuer in (other, namesake, corporate.root):
        assert "it is not issued by the CA" in used(corporate, request, issue(issuer, request))["problem"]
    lacking = issue(corporate.issuing, request, names=[x509.DNSName("web1")])
    assert "it lacks the names 192.0.2.11" in used(corporate, request, lacking)["problem"]
    nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert "it cannot be read" in used(corporate, request, nonsense)["problem"]


def test_a_certificate_that_is_not_there_yet_is_waited_for(corporate: Corporate) -> None:
    request = wanted()
    assert "has not set docker_ca_issued_certificate" in used(corporate, request, "")["problem"]
    waiting = dataclasses.replace(request, reason="It is in review.")
    (answer,) = signing.sign(corporate.home, "", [waiting], now=NOW)
    assert "yet: It is in review. Its key waits" in answer.report()["problem"]


def test_what_is_asked_for_is_the_same_file_as_long_as_the_key_is(corporate: Corporate) -> None:
    key = requests.generate("P-256", 0)
    first, second, other = wanted(key=key), wanted(key=key), wanted()
    assert first.pem != second.pem
    files = [one["file"] for one in signing.asked([first, second, other])]
    assert files[0] == files[1] != files[2]
    assert files[0].startswith("server-web1-")


@pytest.mark.parametrize("key_type", ["P-256", "P-384", "RSA"])
def test_a_request_of_ours_is_passed_on(corporate: Corporate, key_type: str) -> None:
    for usage in ("server", "client"):
        request = wanted(usage, "one", requests.generate(key_type, 2048))
        assert signing.sign(corporate.home, "", [request], check_mode=True, now=NOW) == []


def test_a_request_that_asks_for_anything_else_is_not_passed_on(corporate: Corporate) -> None:
    """By a host that answers as it likes: that CA might grant it."""
    maker = Maker(20)
    for _ in range(200):
        pem, _key = maker.request()
        for usage, names in (("server", NAMES), ("client", ())):
            request = signing.Request("neighbour", usage, names, 5, pem)
            (refusal,) = signing.sign(corporate.home, "", [request], check_mode=True, now=NOW)
            assert "was not signed" in refusal.report()["problem"]
    for other in (wanted("client", "one"), wanted("server", "two"), wanted("server", "one")):
        request = signing.Request("one", "server", ("DNS:one",), 5, other.pem)
        (refusal,) = signing.sign(corporate.home, "", [request], check_mode=True, now=NOW)
        assert "asks for something else than it should" in refusal.report()["problem"]


def test_only_the_holder_of_the_key_can_do_the_rest(corporate: Corporate) -> None:
    before = authority.content(corporate.home.path)
    for attempt in (
        lambda: rotation.advance(corporate.home, "trust"),
        lambda: rotation.advance(corporate.home, "trust", check_mode=True),
        lambda: passphrase.change(corporate.home, "opensesame", ""),
        lambda: create.ensure(corporate.home, "", OWN),
    ):
        with pytest.raises(ca.CaError, match="is elsewhere, so that"):
            attempt()
    assert authority.content(corporate.home.path) == before


def test_a_client_is_revoked_by_its_mark_and_a_removal_takes_all(corporate: Corporate) -> None:
    alice = wanted("client", "alice")
    assert used(corporate, alice, issue(corporate.issuing, alice))["problem"] == ""
    mark, listed = revocation.revoke(corporate.home, "", "alice")
    assert mark == "revoked/alice"
    assert listed.startswith("listed/"), "nothing but its own record: lists are published there"
    assert "this client was revoked" in used(corporate, alice, issue(corporate.issuing, alice))["problem"]
    assert revocation.revoke_servers(corporate.home, "", ["web1"]) == []
    (entry,) = corporate.state()["issued"]
    assert entry["revoked"]
    server = wanted("server", "web1")
    assert used(corporate, server, issue(corporate.issuing, server))["problem"] == ""
    (written,) = revocation.revoke_servers(corporate.home, "", ["web1"], check_mode=True)
    assert not (corporate.home.path / written).exists()
    assert revocation.revoke_servers(corporate.home, "", ["web1"]) == [written]
    assert [one["revoked"] for one in corporate.state()["issued"]] == [True, True], "it is an engine no more"
    assert revocation.revoke_servers(corporate.home, "", ["web1"]) == []
    removal.remove(corporate.home)
    assert not corporate.home.path.exists()


@pytest.mark.parametrize(
    ("has", "wanted_key"),
    [(("RSA", 2048), "P-256"), (("P-384", 0), "P-256"), (("P-256", 0), "P-384"), (("RSA", 2048), "RSA 3072")],
)
@pytest.mark.parametrize("usage", ["server", "client"])
def test_a_key_of_another_type_than_the_plan_has_gets_no_certificate(
    corporate: Corporate, has: tuple[str, int], wanted_key: str, usage: str
) -> None:
    """Neither is the CA elsewhere asked for one, nor is one recorded that it has issued all the same."""
    request = dataclasses.replace(
        wanted(usage, "one", requests.generate(*has)),
        key=wanted_key,
    )
    label = f"RSA {has[1]}" if has[0] == "RSA" else has[0]
    issued = dataclasses.replace(request, certificate=issue(corporate.issuing, request))
    for check_mode, asked in ((True, request), (False, issued)):
        (refused,) = signing.sign(corporate.home, "", [asked], check_mode, now=NOW)
        assert isinstance(refused, signing.Refusal)
        assert f"the {usage} 'one' has a key of the type {label} instead of {wanted_key}." in refused.problem
    assert corporate.state()["issued"] == []
    (answer,) = signing.sign(corporate.home, "", [dataclasses.replace(issued, key=label)], now=NOW)
    assert isinstance(answer, signing.Certificate)
