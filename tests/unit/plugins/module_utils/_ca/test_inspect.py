"""What one read of a CA tells, also where files are broken."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import existing, inspect, rotation, signing
from helpers import authority
from helpers.pki import CLIENT, Authority


@pytest.fixture
def issuer() -> Authority:
    return Authority("old")


@pytest.fixture
def home(tmp_path: Path, issuer: Authority) -> ca.Directory:
    home = ca.Directory(authority.make(tmp_path / "ca", issuer))
    sign(home, ("server", "web1"), ("client", "alice"), ("client", "bob"))
    return home


def sign(home: ca.Directory, *wanted: tuple[str, str]) -> list[str]:
    requests = [
        signing.Request(name, usage, (f"DNS:{name}",) if usage == "server" else (), 5, authority.request())
        for usage, name in wanted
    ]
    return [made.report()["serial"] for made in signing.sign(home, "", requests)]


def issued(found: dict[str, t.Any], key: str) -> dict[str, t.Any]:
    return {one["name"]: one[key] for one in found["issued"]}


def test_a_ca_that_is_complete(home: ca.Directory, issuer: Authority) -> None:
    found = inspect.gather(home, "")
    assert (found["exists"], found["complete"], found["phase"], found["crl"]) == (True, True, "none", True)
    assert found["bundle"] == issuer.pem
    assert found["key"] == {
        "exists": True,
        "mode": "0600",
        "encrypted": False,
        "opens": True,
        "type": "P-256",
        "matches": True,
    }
    (own,) = found["certificates"]
    assert (own["role"], own["common_name"], own["key_type"], own["days_left"]) == ("signing", "old", "P-256", 9)
    assert issued(found, "usage") == {"web1": "server", "alice": "client", "bob": "client"}
    assert set(issued(found, "issuer").values()) == {own["fingerprint_sha256"]}
    assert issued(found, "revoked") == {"web1": False, "alice": False, "bob": False}
    assert found["problems"] == []


def test_where_there_is_no_ca(tmp_path: Path) -> None:
    found = inspect.gather(ca.Directory(tmp_path / "none"), "")
    assert (found["exists"], found["complete"], found["bundle"], found["certificates"]) == (False, False, "", [])
    assert found["key"] == {
        "exists": False,
        "mode": "",
        "encrypted": False,
        "opens": False,
        "type": "",
        "matches": False,
    }
    assert (found["issued"], found["revoked"], found["problems"]) == ([], [], [])
    assert not (tmp_path / "none").exists()


def test_who_is_revoked_is_known_from_marks_and_lists(home: ca.Directory, issuer: Authority) -> None:
    home.revoked.mkdir()
    (home.revoked / "alice").touch()
    (home.revoked / ".hidden").touch()
    serials = issued(inspect.gather(home, ""), "serial")
    home.crl.write_bytes(authority.empty_list(issuer, int(serials["bob"], 16)))
    found = inspect.gather(home, "", ["carol"])
    assert found["revoked"] == ["alice", "carol"]
    assert issued(found, "revoked") == {"web1": False, "alice": True, "bob": True}
    # A server of that name is another one, and check mode asks as if the mark was there.
    sign(home, ("server", "alice"))
    assert [one["revoked"] for one in inspect.gather(home, "")["issued"] if one["usage"] == "server"] == [False, False]


def test_a_list_of_somebody_else_or_of_yesterday_is_not_complete(home: ca.Directory, issuer: Authority) -> None:
    whole = home.crl.read_bytes()
    home.crl.write_bytes(authority.empty_list(Authority("old")))  # the same name, another key
    assert [inspect.gather(home, "")[key] for key in ("complete", "crl")] == [False, False]
    home.crl.write_bytes(whole + authority.empty_list(Authority("another")))
    assert not inspect.gather(home, "")["complete"]
    home.crl.write_bytes(whole)
    home.revoked.mkdir()
    (home.revoked / "alice").touch()
    assert not inspect.gather(home, "")["complete"]
    serial = int(issued(inspect.gather(home, ""), "serial")["alice"], 16)
    home.crl.write_bytes(authority.empty_list(issuer, serial))
    assert inspect.gather(home, "")["complete"]


def test_each_certificate_has_its_own_issuer(home: ca.Directory) -> None:
    authority.make(home.next.path, Authority("new"))
    for phase in ("trust", "reissue"):
        rotation.advance(home, phase)
    sign(home, ("client", "carol"))
    found = inspect.gather(home, "")
    by_role = {one["role"]: one for one in found["certificates"]}
    assert (by_role["signing"]["common_name"], by_role["previous"]["common_name"]) == ("new", "old")
    issuers = issued(found, "issuer")
    assert issuers["carol"] == by_role["signing"]["fingerprint_sha256"]
    assert issuers["alice"] == by_role["previous"]["fingerprint_sha256"]
    for phase in ("retire", "done"):
        rotation.advance(home, phase)
    assert issued(inspect.gather(home, ""), "issuer")["alice"] == ""
    assert issued(inspect.gather(home, ""), "issuer_subject") == {
        "web1": "CN=old",
        "alice": "CN=old",
        "bob": "CN=old",
        "carol": "CN=new",
    }


def test_the_records_of_cas_beside_it_are_read_as_far_as_they_can_be(home: ca.Directory, tmp_path: Path) -> None:
    assert inspect.beside(home) == []
    other = ca.Directory(authority.make(tmp_path / "other", Authority("other")))
    sign(other, ("client", "github"))
    (tmp_path / "damaged/issued").mkdir(parents=True)
    (tmp_path / "damaged/ca-cert.pem").write_bytes(b"\xff")
    (tmp_path / "damaged/issued/client-x.pem").write_bytes(b"\xff")
    found = inspect.beside(home)
    assert [(one["name"], one["issuer_subject"]) for one in found] == [("github", "CN=other")]
    assert {one["name"] for one in inspect.beside(other)} == {"web1", "alice", "bob"}


def test_an_impostor_s_certificate_is_not_ours(home: ca.Directory, tmp_path: Path) -> None:
    """A file's name says nothing, and neither does the name of an issuer."""
    certificate, _key = Authority("old").pair(tmp_path, "mallory", CLIENT)
    shutil.copy(certificate, home.issued / "client-alice-1.pem")
    assert issued(inspect.gather(home, ""), "issuer")["mallory"] == ""


@pytest.mark.parametrize(
    ("name", "text", "says", "complete"),
    [
        ("ca-cert.pem", b"", "ca-cert.pem does not hold exactly one certificate", False),
        ("ca-cert.pem", b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----", "ca-cert.pem does not", False),
        ("ca-key.pem", b"nothing", "ca-key.pem holds no private key", True),
        ("ca.pem", b"\0", "ca.pem cannot be used: the text holds no PEM certificate", False),
        ("crl.pem", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "crl.pem cannot be read", False),
        ("rotation", b"", "rotation holds '', which is no phase", True),
        ("issued/x.pem", b"\xe2\x80\xa8", "x.pem does not hold exactly one certificate", True),
        ("issued/x.pem", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "x.pem does not", True),
    ],
)
def test_a_broken_file_is_named_and_stops_nothing(
    home: ca.Directory, name: str, text: bytes, says: str, complete: bool
) -> None:
    (home.path / name).write_bytes(text)
    found = inspect.gather(home, "")
    (problem,) = found["problems"]
    assert says in problem
    assert found["exists"]
    assert found["complete"] == complete
    assert len(found["issued"]) == 3


def test_a_key_that_does_not_open_or_match_is_told(tmp_path: Path, issuer: Authority) -> None:
    home = ca.Directory(authority.make(tmp_path / "ca", issuer, "opensesame"))
    assert inspect.gather(home, "opensesame")["key"]["opens"]
    closed = inspect.gather(home, "")
    assert (closed["key"]["encrypted"], closed["key"]["opens"], closed["key"]["type"]) == (True, False, "")
    assert "docker_ca_passphrase is not set" in closed["problems"][0]
    home.key.write_bytes(authority.key_text(Authority("another").key))
    home.key.chmod(0o640)
    other = inspect.gather(home, "")
    assert (other["key"]["opens"], other["key"]["matches"], other["key"]["mode"]) == (True, False, "0640")
    assert not other["complete"]


def test_no_damage_of_a_file_is_worse_than_a_sentence(home: ca.Directory, tmp_path: Path) -> None:
    """Bits and pieces of every file change; each answer is one, and each refusal a sentence."""
    choose = random.Random(12)
    authority.make(home.next.path, Authority("new"))
    files = [home.key, home.certificate, home.bundle, home.crl, home.next.certificate, *home.issued.iterdir()]
    whole = {path: path.read_bytes() for path in files}
    offered = existing.Files(home.next.certificate, home.next.key, "")
    request = signing.Request("carol", "client", (), 5, authority.request())
    for _round in range(60):
        for path in choose.sample(files, 2):
            path.write_bytes(damaged(whole[path], choose))
        found = inspect.gather(home, "")
        assert json.dumps(found)
        assert isinstance(existing.gather(ca.Directory(tmp_path / "none"), "", offered)["problems"], list)
        for act in (
            lambda: signing.sign(home, "", [request]),
            lambda: rotation.advance(home, "done"),
        ):
            with contextlib.suppress(ca.CaError):
                act()
        for path, text in whole.items():
            path.write_bytes(text)


def damaged(content: bytes, choose: random.Random) -> bytes:
    """The content with another byte inside of its DER, a byte less, or a piece less."""
    lines = content.split(b"\n")
    der = bytearray(base64.b64decode(b"".join(lines[1:-2])))
    way, place = choose.randrange(4), choose.randrange(len(der))
    if way == 0:
        der[place] = choose.randrange(256)
    elif way == 1:
        del der[place]
    elif way == 2:
        del der[place:]
    else:
        return content[:place] + content[place + choose.randrange(30) :]
    return b"\n".join([lines[0], base64.encodebytes(bytes(der)).strip(), *lines[-2:]])
