"""Which CAs can be taken over."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import create, existing
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from helpers import authority
from helpers.pki import Authority

PKCS1_OR_SEC1 = serialization.PrivateFormat.TraditionalOpenSSL


def gather(folder: Path, certificate: bytes, key: bytes, passphrase: str = "", home: str = "none") -> dict[str, t.Any]:
    files = existing.Files(folder / "own.pem", folder / "own-key.pem", passphrase)
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(key)
    return existing.gather(ca.Directory(folder / home), "", files)


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, PKCS1_OR_SEC1])
@pytest.mark.parametrize("passphrase", ["", "opensesame"])
def test_a_ca_is_taken_as_people_export_it(tmp_path: Path, line_break: str, form: t.Any, passphrase: str) -> None:
    """B13."""
    own, other = Authority("own"), Authority("other")
    text = f"Bag Attributes\n  friendlyName: x\n{other.pem}\nsubject=CN = own\n{own.pem.rstrip()}"
    key = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key += authority.key_text(own.key, passphrase, form).decode().rstrip()
    found = gather(
        tmp_path,
        text.replace("\n", line_break).encode(),
        key.replace("\n", line_break).encode(),
        passphrase,
    )
    assert found["problems"] == []
    assert (found["certificate"], found["subject"], found["taken_over"]) == (own.pem, "CN=own", False)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_both_may_have_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    """B13: and what is written of the key has none."""
    own = Authority("own")
    key = authority.key_text(own.key).decode().encode(encoding)
    found = gather(tmp_path, own.pem.encode(encoding), key)
    assert (found["problems"], found["certificate"]) == ([], own.pem)
    home = ca.Directory(tmp_path / "ca")
    files = existing.Files(tmp_path / "own.pem", tmp_path / "own-key.pem", "")
    create.ensure(home, "", create.Wanted("x", "P-256", 3072, 9, files))
    assert home.key.read_bytes() == authority.key_text(own.key)


def test_what_cannot_be_a_ca_is_refused_in_a_sentence(tmp_path: Path) -> None:
    own, lax = Authority("own"), Authority("lax", strict=False)
    key = authority.key_text(own.key)
    files = own.pair(tmp_path, "leaf", ExtendedKeyUsageOID.SERVER_AUTH)
    leaf, leaf_key = (Path(name).read_bytes() for name in files)
    cases = {
        "is no certificate in PEM format": (b"nothing", key),
        "is not the key of": (own.pem.encode(), authority.key_text(Authority("another").key)),
        "holds no private key": (own.pem.encode(), own.pem.encode()),
        "docker_ca_existing_passphrase is not set": (own.pem.encode(), authority.key_text(own.key, "opensesame")),
        "It lacks keyCertSign, cRLSign.": (lax.pem.encode(), authority.key_text(lax.key)),
        "It lacks CA:TRUE, keyCertSign, cRLSign.": (leaf, leaf_key),
    }
    for says, given in cases.items():
        found = gather(tmp_path, *given)
        assert says in " ".join(found["problems"])
        assert not found["taken_over"]
    (tmp_path / "own-key.pem").unlink()
    files_ = existing.Files(tmp_path / "own.pem", tmp_path / "own-key.pem", "")
    (problem,) = existing.gather(ca.Directory(tmp_path / "none"), "", files_)["problems"]
    assert "own-key.pem cannot be read (No such file or directory)." in problem


def chain(*authorities: Authority) -> bytes:
    return "".join(authority.pem for authority in authorities).encode()


def test_an_issuing_ca_comes_with_all_above_it_in_any_order(tmp_path: Path) -> None:
    root = Authority("root", path_length=None, days=10)
    middle = Authority("middle", above=root, path_length=1)
    issuing = Authority("issuing", above=middle)
    found = gather(tmp_path, chain(root, Authority("other"), issuing, middle), authority.key_text(issuing.key))
    assert (found["problems"], found["certificate"]) == ([], issuing.pem)
    assert found["client_bundle"] == issuing.pem + middle.pem + root.pem


def test_of_a_root_that_is_renewed_engines_trust_neither_certificate(tmp_path: Path) -> None:
    root, namesake, other = (Authority(name, path_length=None) for name in ("root", "root", "other"))
    issuing = Authority("issuing", above=root)
    found = gather(tmp_path, chain(other, issuing, root, namesake), authority.key_text(issuing.key))
    assert (found["problems"], found["bundle"]) == ([], issuing.pem)
    assert found["client_bundle"] == issuing.pem + root.pem


def test_an_issuing_ca_that_would_open_more_or_serve_less_is_refused(tmp_path: Path) -> None:
    root, brief = Authority("root", path_length=None), Authority("brief", days=1, path_length=None)
    lax = Authority("lax", above=root, path_length=None)
    issuing, outlives = Authority("issuing", above=root), Authority("outlives", above=brief, days=5)
    namesake = Authority("root")
    cases = {
        "may have others below it (it has no pathlen:0)": (lax, chain(lax, root)),
        "lacks the certificate of CN=root. Put the certificates above": (issuing, chain(issuing)),
        "lacks the certificate of CN=root": (issuing, chain(issuing, namesake)),
        "before the issuing CA below it": (outlives, chain(outlives, brief)),
    }
    for says, (ca_, certificate) in cases.items():
        (problem,) = gather(tmp_path, certificate, authority.key_text(ca_.key))["problems"]
        assert says in problem


def test_one_that_was_taken_over_may_be_gone(tmp_path: Path) -> None:
    own, new = Authority("own"), Authority("new")
    home = authority.make(tmp_path / "ca", own)
    own_text, new_text = own.pem.replace("\n", "\r\n").encode(), new.pem.encode()
    assert gather(tmp_path, own_text, b"", home="ca")["taken_over"]
    assert gather(tmp_path, b"", b"", home="ca")["taken_over"]
    files = existing.Files(tmp_path / "gone.pem", tmp_path / "gone-key.pem", "")
    assert existing.gather(ca.Directory(home), "", files)["taken_over"]
    another = gather(tmp_path, new_text, b"", home="ca")
    assert not another["taken_over"]
    assert "is not the CA that" in another["problems"][0]
    # While a rotation to it is under way, it is the successor.
    authority.make(home / "next", new)
    assert gather(tmp_path, new_text, b"", home="ca")["taken_over"]


def test_a_key_that_is_there_gets_no_other_certificate(tmp_path: Path) -> None:
    own = Authority("own")
    home = authority.make(tmp_path / "ca", Authority("another"))
    (home / "ca-cert.pem").unlink()
    found = gather(tmp_path, own.pem.encode(), authority.key_text(own.key), home="ca")
    assert "ca-key.pem is another key than" in found["problems"][0]
