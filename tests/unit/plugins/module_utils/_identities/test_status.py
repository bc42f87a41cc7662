"""What makes an identity due is seen in its files, and whatever a user puts there is no more than a reason."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import status
from ansible_collections.bulkhead.docker.plugins.module_utils._identities.layout import Layout, is_name
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from helpers.pki import Authority

from .conftest import Issued


def test_a_whole_identity_needs_nothing(issued: Issued) -> None:
    found = status.status(issued.layout, issued.rule())
    assert found == {
        "name": "alice",
        "group": "",
        "left_groups": [],
        "folder": str(issued.layout.folder),
        "pending": str(issued.layout.pending),
        "exists": True,
        "days_left": 100,
        "not_after": found["not_after"],
        "reasons": [],
        "new_key": False,
        "findings": [],
        "other_ca": "",
        "issued_by_ca": True,
        "ca_outdated": False,
        "repairs": [],
    }
    assert datetime.datetime.strptime(found["not_after"], "%Y-%m-%dT%H:%M:%SZ")


def _unlink(*names: str) -> t.Callable[[Issued], None]:
    return lambda issued: [(issued.layout.folder / name).unlink() for name in names] and None


def _write(folder: str, name: str, text: str) -> t.Callable[[Issued], None]:
    return lambda issued: (getattr(issued.layout, folder) / name).write_text(text, encoding="utf-8") and None


def _other_key(issued: Issued) -> None:
    (issued.layout.folder / "key.pem").write_text(issued.pair()[1], encoding="ascii")


def _locked_key(issued: Issued) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(b"sesame")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (issued.layout.folder / "key.pem").write_bytes(pem)


def _wait(*names: str) -> t.Callable[[Issued], None]:
    return lambda issued: [(issued.layout.pending / name).touch() for name in names] and None


def _torn(issued: Issued) -> None:
    _other_key(issued)
    _wait("cert.pem")(issued)


def _foreign(issued: Issued) -> None:
    cert, key = Issued(Authority("foreign", days=900), issued.layout, issued.scratch).pair()
    _write("folder", "cert.pem", cert)(issued)
    _write("folder", "key.pem", key)(issued)


def _other_name(issued: Issued) -> None:
    cert, key = issued.pair("bob")
    _write("folder", "cert.pem", cert)(issued)
    _write("folder", "key.pem", key)(issued)


def _pipe(name: str) -> t.Callable[[Issued], None]:
    def replace(issued: Issued) -> None:
        (issued.layout.folder / name).unlink()
        os.mkfifo(issued.layout.folder / name)

    return replace


def _folder_in_its_place(issued: Issued) -> None:
    (issued.layout.folder / "cert.pem").unlink()
    (issued.layout.folder / "cert.pem").mkdir()


@pytest.mark.parametrize(
    ("change", "reason", "new_key"),
    [
        (_unlink("key.pem", "cert.pem"), "it does not exist yet", True),
        (_unlink("key.pem"), "it has no private key", True),
        (_unlink("cert.pem"), "it has no certificate", False),
        (_other_key, "its key and its certificate do not belong together", True),
        (_locked_key, "the private key cannot be read", True),
        (_write("folder", "key.pem", ""), "the private key cannot be read", True),
        (_wait("key.pem"), "an earlier run was interrupted", True),
        (_wait("key.pem", "cert.pem"), "an earlier run was interrupted", True),
        (_torn, "an earlier run was interrupted", False),
        (_foreign, "it is not issued by the CA of the trust bundle", False),
        (_other_name, "its certificate is for bob", False),
        (_write("folder", "cert.pem", ""), "the certificate cannot be read", False),
        (_write("folder", "cert.pem", "-----BEGIN CERTIFICATE-----\n\x07\u2028fits: true\n"), "cannot be read", False),
        (_pipe("cert.pem"), "its certificate cannot be read: it is no regular file", False),
        (_pipe("key.pem"), "its private key cannot be read: it is no regular file", True),
        (_folder_in_its_place, "its certificate cannot be read: it is no regular file", False),
        (_write("folder", "cert.pem", "x" * (1 << 21)), "it is larger than 1 MiB", False),
    ],
)
def test_what_makes_an_identity_due(
    issued: Issued, change: t.Callable[[Issued], None], reason: str, new_key: bool
) -> None:
    change(issued)
    found = status.status(issued.layout, issued.rule())
    assert any(reason in said for said in found["reasons"]), found["reasons"]
    assert found["new_key"] is new_key
    assert "PRIVATE" not in str(found)


def test_options_make_it_due_too(issued: Issued) -> None:
    def reasons(**changes: t.Any) -> tuple[str, bool]:
        found = status.status(issued.layout, issued.rule(**changes))
        return "; ".join(found["reasons"]), found["new_key"]

    assert reasons(force=True) == ("docker_client_renew_force is set", True)
    assert reasons(key="RSA 3072") == ("its key is P-256 instead of RSA 3072", True)
    assert reasons(bundle="") == ("there is no CA yet", False)
    assert reasons(renew_days=100) == ("", False)
    text, new_key = reasons(renew_days=101)
    assert (text.startswith("it expires on "), new_key) == (True, False)
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=101)
    assert reasons(now=later)[0].startswith("it expired on ")


def test_another_key_is_wanted_before_there_is_a_certificate(issued: Issued) -> None:
    (issued.layout.folder / "cert.pem").unlink()
    found = status.status(issued.layout, issued.rule(key="P-384"))
    assert (found["reasons"], found["new_key"]) == (
        ["its key is P-256 instead of P-384", "it has no certificate"],
        True,
    )


def test_a_bundle_is_compared_by_its_certificates(issued: Issued) -> None:
    other = Authority("other")
    ca = issued.layout.folder / "ca.pem"
    ca.write_text("Subject: x\r\n" + issued.authority.pem.replace("\n", "\r\n"), encoding="ascii", newline="")
    assert not status.status(issued.layout, issued.rule())["ca_outdated"]
    # Trusted as well, but it does not sign.
    found = status.status(issued.layout, issued.rule(issued.authority.pem + other.pem))
    assert (found["reasons"], found["ca_outdated"]) == ([], True)
    found = status.status(issued.layout, issued.rule(other.pem + issued.authority.pem))
    assert found["reasons"] == ["it is not issued by the CA of the trust bundle"]
    ca.unlink()
    assert status.status(issued.layout, issued.rule())["ca_outdated"]


def test_modes_are_repaired(issued: Issued) -> None:
    issued.layout.folder.chmod(0o755)
    (issued.layout.folder / "key.pem").chmod(0o644)
    found = status.status(issued.layout, issued.rule())
    assert found["reasons"] == []
    assert found["repairs"] == [
        {"path": str(issued.layout.folder), "state": "directory", "mode": "0700"},
        {"path": str(issued.layout.folder / "key.pem"), "state": "file", "mode": "0600"},
    ]


def test_whose_identity_it_is(issued: Issued) -> None:
    other = Authority("Other CA")
    theirs = dataclasses.replace(issued.rule(), bundle=other.pem)
    mine = issued.rule().bundle
    found = status.status(issued.layout, theirs)["other_ca"]
    assert found.startswith(x509.load_bundle(mine)[0].certificate.subject.rfc4514_string())
    assert x509.fingerprint(x509.load_bundle(mine)[0]) in found
    for rule in (
        issued.rule(),
        dataclasses.replace(theirs, bundle=other.pem + mine),
        dataclasses.replace(theirs, retired=mine),
    ):
        assert status.status(issued.layout, rule)["other_ca"] == ""
    assert status.status(issued.layout, dataclasses.replace(theirs, bundle=""))["other_ca"] == found
    assert status.status(Layout(issued.layout.home, "nobody"), theirs)["other_ca"] == ""


def test_a_fresh_home(tmp_path: pathlib.Path) -> None:
    layout = Layout(tmp_path, "alice")
    found = status.status(layout, status.Rule("", "P-256", 30))
    assert (found["exists"], found["days_left"], found["not_after"]) == (False, None, "")
    assert (found["reasons"], found["new_key"], found["ca_outdated"]) == (
        ["it does not exist yet"],
        True,
        True,
    )
    assert [repair["path"] for repair in found["repairs"]] == [str(layout.folder), str(layout.pending)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a\n", "a" * 65, "é"])
def test_names_that_are_none(name: str) -> None:
    assert not is_name(name)
