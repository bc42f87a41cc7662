"""The modules of identities as Ansible runs them."""

from __future__ import annotations

import getpass
import pathlib
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from helpers import returns
from helpers.pki import CLIENT, Authority

Run = t.Callable[..., dict[str, t.Any]]


def test_an_identity_is_gathered_installed_and_removed(tmp_path: pathlib.Path, run_module: Run) -> None:
    scratch, authority = tmp_path / "scratch", Authority("ca", days=900)
    scratch.mkdir()
    cert, key = (pathlib.Path(path) for path in authority.pair(scratch, "alice", CLIENT, days=100))
    identities: list[dict[str, t.Any]] = [{"name": "alice"}]
    asked = {"identities": identities, "ca_certificate": authority.pem, "contexts": []}
    fresh = run_module("docker_identity_info", **asked)
    assert (fresh["user"], fresh["home"]) == (getpass.getuser(), str(tmp_path))
    assert [(found["name"], found["new_key"]) for found in fresh["identities"]] == [("alice", True)]

    prepare = {"identities": [{"name": "alice", "request": "new_key"}], "ca_certificate": authority.pem}
    checked = run_module("docker_identity", check=True, **prepare)
    assert (checked["changed"], checked["requests"]) == (True, [])
    prepared = run_module("docker_identity", **prepare)
    (told,) = prepared["requests"]
    pending = pathlib.Path(fresh["identities"][0]["pending"])
    assert pending.stat().st_mode & 0o777 == 0o700
    assert (pending / "key.pem").stat().st_mode & 0o777 == 0o600
    request = x509.load_pem_x509_csr(told["request"].encode())
    made = serialization.load_pem_private_key((pending / "key.pem").read_bytes(), None)
    assert (told["name"], request.is_signature_valid) == ("alice", True)
    assert request.public_key() == made.public_key()
    assert [extension.oid for extension in request.extensions] == [x509.ExtensionOID.EXTENDED_KEY_USAGE]
    returns.assert_documented("docker_identity", prepared)
    key.replace(pending / "key.pem")
    install = {"identities": [{"name": "alice", "certificate": cert.read_text()}]}
    assert run_module("docker_identity", **install)["changed"]
    assert not run_module("docker_identity", **install)["changed"]
    # A key that stays is requested for again; a new one never takes its place before it has a certificate.
    again = run_module("docker_identity", identities=[{"name": "alice", "request": "present_key"}])
    own = x509.load_pem_x509_certificate(cert.read_bytes()).public_key()
    assert not again["changed"]
    assert x509.load_pem_x509_csr(again["requests"][0]["request"].encode()).public_key() == own

    whole = run_module("docker_identity_info", **asked)
    assert whole["identities"][0]["reasons"] == []
    (pathlib.Path(whole["identities"][0]["folder"]) / "key.pem").chmod(0o640)
    open_key = run_module("docker_identity_info", **asked)
    returns.assert_documented("docker_identity_info", fresh, whole, open_key)

    assert run_module("docker_identity", identities=[{"name": "alice"}], state="absent")["changed"]
    assert not (tmp_path / ".bulkhead").exists()


def test_one_identity_s_failure_is_no_other_s(tmp_path: pathlib.Path, run_module: Run) -> None:
    scratch, authority = tmp_path / "scratch", Authority("ca")
    scratch.mkdir()
    cert = pathlib.Path(authority.pair(scratch, "alice", CLIENT)[0]).read_text()
    identities = [{"name": "../x"}, {"name": "alice", "certificate": cert}, {"name": "bob"}]
    done = run_module("docker_identity", identities=identities, ca_certificate=authority.pem)
    assert done["failed"]
    assert (
        "'../x' cannot be the name of an identity; the identity alice cannot be written: the certificate is for none of"
        in done["msg"]
    )
    assert (tmp_path / ".bulkhead/identities/bob/ca.pem").exists()


def test_what_cannot_be_answered_is_refused(run_module: Run) -> None:
    def refusal(**options: t.Any) -> str:
        asked = {"identities": [{"name": "a"}], "contexts": [], **options}
        return str(run_module("docker_identity_info", **asked)["msg"])

    assert "cannot be the name of a folder" in refusal(identities=[{"name": "a/b"}])
    assert "renews in every run" in refusal(identities=[{"name": "a", "valid_days": 30}])
    assert "RSA keys have 2048 to 8192 bits" in refusal(key_type="RSA", key_size=1024)
    assert "ca_certificate is no trust bundle" in refusal(ca_certificate="nonsense")
