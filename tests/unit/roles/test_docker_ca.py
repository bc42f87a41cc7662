"""Runs the role docker_ca on this machine; each directory is one CA host."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Play = Callable[..., dict[str, Any]]

ROLE = [{"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca"}}]
SIGNS = "keyUsage=critical,keyCertSign,cRLSign"


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_ca_is_made_once_and_strict_clients_accept_what_it_signs(tmp_path: Path, play: Play) -> None:
    host = {"docker_ca_dir": str(tmp_path / "ca"), "docker_ca_passphrase": "sesame"}

    checked = play({"ca": host}, ROLE, "--check", "--diff")["ca"]
    assert (checked.failed, checked.changed) == (0, 1)
    assert not (tmp_path / "ca").exists()

    first = play({"ca": host}, ROLE)["ca"]
    assert (first.failed, first.changed) == (0, 5), first.message
    made = content(tmp_path / "ca")
    assert sorted(made) == ["ca-cert.pem", "ca-key.pem", "ca.pem", "crl.pem"]
    assert b"ENCRYPTED" in made["ca-key.pem"]
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "ca/ca-key.pem").stat().st_mode & 0o777 == 0o600
    text = openssl("x509", "-in", tmp_path / "ca/ca-cert.pem", "-noout", "-text")
    assert "CA:TRUE, pathlen:0" in text
    assert "Certificate Sign, CRL Sign" in text

    for arguments in ((), ("--check",)):
        again = play({"ca": host}, ROLE, *arguments)["ca"]
        assert (again.failed, again.changed) == (0, 0)
        assert again.executions == ["look | Read the public files", "look | Try the passphrase on the key"]
    assert content(tmp_path / "ca") == made


def test_what_was_lost_on_the_way_comes_back(tmp_path: Path, play: Play) -> None:
    host = {"docker_ca_dir": str(tmp_path / "ca")}
    play({"ca": host}, ROLE)
    made = content(tmp_path / "ca")
    (tmp_path / "ca/ca-key.pem").chmod(0o644)
    for name in ("ca-cert.pem", "ca.pem", "crl.pem"):
        (tmp_path / "ca" / name).unlink()
    again = play({"ca": host}, ROLE)["ca"]
    assert (again.failed, again.changed) == (0, 4), again.message
    assert (tmp_path / "ca/ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ca/ca-key.pem").read_bytes() == made["ca-key.pem"]
    assert openssl("crl", "-in", tmp_path / "ca/crl.pem", "-CAfile", tmp_path / "ca/ca.pem", "-noout", "-issuer")


def test_an_existing_ca_is_never_harmed(tmp_path: Path, play: Play) -> None:
    names = ["passphrase", "type", "lost", "swapped", "ending", "relative"]
    hosts: dict[str, dict[str, Any]] = {name: {"docker_ca_dir": str(tmp_path / name)} for name in names}
    hosts["passphrase"]["docker_ca_passphrase"] = "sesame"
    hosts["ending"] |= {"docker_ca_valid_days": 100, "docker_ca_minimum_days": 30}
    assert not any(outcome.failed for outcome in play(hosts, ROLE).values() if outcome is not None)

    (tmp_path / "lost/ca-key.pem").unlink()
    (tmp_path / "swapped/ca-key.pem").write_bytes((tmp_path / "ending/ca-key.pem").read_bytes())
    hosts["passphrase"]["docker_ca_passphrase"] = "wrong"
    hosts["type"]["docker_ca_key_type"] = "RSA"
    hosts["ending"] = {"docker_ca_dir": str(tmp_path / "ending")}
    hosts["relative"]["docker_ca_dir"] = "relative"
    before = {name: content(tmp_path / name) for name in names}
    outcomes = play(hosts, ROLE)
    expected = {
        "passphrase": "docker_ca_passphrase",
        "type": "key of type P-256, docker_ca_key_type asks for RSA 3072",
        "lost": "ca-key.pem is missing",
        "swapped": "ca-key.pem belongs to another certificate",
        "ending": "rotate_ca",
        "relative": "docker_ca_dir has to start with",
    }
    for name, sentence in expected.items():
        assert (outcomes[name].failed, outcomes[name].changed) == (1, 0), name
        assert sentence in outcomes[name].message
    assert {name: content(tmp_path / name) for name in names} == before


@pytest.fixture
def authority(tmp_path: Path) -> Callable[..., None]:
    """Makes NAME.pem and NAME.key the way people do it, with openssl."""

    def make(name: str, *arguments: str, days: int = 4000, subject: str = "") -> None:
        files = ["-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem", "-nodes"]
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", *files),
            *("-days", str(days), "-subj", subject or f"/CN={name}", *arguments),
        )

    return make


def test_a_ca_can_be_brought_along(tmp_path: Path, play: Play, authority: Callable[..., None]) -> None:
    authority("mine", "-addext", SIGNS, subject="/DC=org/DC=example/CN=mine")
    openssl("pkey", "-in", tmp_path / "mine.key", "-aes256", "-passout", "pass:old", "-out", tmp_path / "locked.key")
    host: dict[str, Any] = {
        "docker_ca_dir": str(tmp_path / "ca"),
        "docker_ca_existing_certificate": str(tmp_path / "mine.pem"),
        "docker_ca_existing_private_key": str(tmp_path / "locked.key"),
        "docker_ca_existing_passphrase": "old",
        "docker_ca_passphrase": "new",
    }
    assert play({"ca": host}, ROLE, "--check")["ca"].failed == 0
    first = play({"ca": host}, ROLE)["ca"]
    assert first.failed == 0, first.message
    openssl("pkey", "-in", tmp_path / "ca/ca-key.pem", "-passin", "pass:new", "-noout")
    assert (tmp_path / "ca/ca.pem").read_text() == (tmp_path / "mine.pem").read_text()
    openssl("crl", "-in", tmp_path / "ca/crl.pem", "-CAfile", tmp_path / "ca/ca.pem", "-noout")

    assert play({"ca": host}, ROLE)["ca"].changed == 0
    (tmp_path / "mine.pem").unlink()
    (tmp_path / "locked.key").unlink()
    again = play({"ca": host}, ROLE)["ca"]
    assert (again.failed, again.changed) == (0, 0), again.message


def test_a_ca_that_would_not_work_is_refused(tmp_path: Path, play: Play, authority: Callable[..., None]) -> None:
    authority("root", "-addext", SIGNS)
    authority("other", "-addext", SIGNS)
    authority("plain")
    authority("short", "-addext", SIGNS, days=20)
    authority("server", "-addext", "basicConstraints=critical,CA:FALSE")
    request = ("req", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "below.key", "-out", tmp_path / "csr")
    openssl(*request, "-subj", "/CN=below")
    extensions = f"basicConstraints=critical,CA:TRUE\n{SIGNS}\nsubjectKeyIdentifier=hash\n"
    (tmp_path / "extensions").write_text(extensions)
    issuer = ("-CA", tmp_path / "root.pem", "-CAkey", tmp_path / "root.key", "-CAcreateserial")
    signed = ("-days", "4000", "-extfile", tmp_path / "extensions", "-out", tmp_path / "below.pem")
    openssl("x509", "-req", "-in", tmp_path / "csr", *issuer, *signed)
    openssl("pkey", "-in", tmp_path / "root.key", "-aes256", "-passout", "pass:x", "-out", tmp_path / "locked.key")
    cases = {
        "nocert": ("missing.pem", "root.key", "found 0"),
        "nokey": ("root.pem", "missing.key", "No such file"),
        "notpem": ("root.key", "root.key", "found"),
        "foreign": ("root.pem", "other.key", "is not the key of"),
        "locked": ("root.pem", "locked.key", "docker_ca_existing_passphrase"),
        "plain": ("plain.pem", "plain.key", "keyCertSign"),
        "server": ("server.pem", "server.key", "CA:TRUE"),
        "below": ("below.pem", "below.key", "is an intermediate CA"),
        "short": ("short.pem", "short.key", "docker_ca_minimum_days"),
    }
    hosts = {
        name: {
            "docker_ca_dir": str(tmp_path / name),
            "docker_ca_existing_certificate": str(tmp_path / certificate),
            "docker_ca_existing_private_key": str(tmp_path / key),
        }
        for name, (certificate, key, _) in cases.items()
    }
    outcomes = play(hosts, ROLE)
    for name, (_, _, sentence) in cases.items():
        assert (outcomes[name].failed, outcomes[name].changed) == (1, 0), name
        assert sentence in outcomes[name].message, name
        assert not (tmp_path / name).exists()


def test_only_the_request_that_was_meant_is_signed(tmp_path: Path, play: Play) -> None:
    directory = str(tmp_path / "ca")
    play({"ca": {"docker_ca_dir": directory, "docker_ca_passphrase": "sesame"}}, ROLE)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "key")
    asks = {
        "good": ["extendedKeyUsage=serverAuth"],
        "client": ["extendedKeyUsage=clientAuth"],
        "both": ["extendedKeyUsage=serverAuth,clientAuth"],
        "any": [],
        "ca": ["extendedKeyUsage=serverAuth", "basicConstraints=critical,CA:TRUE"],
        "neighbour": ["extendedKeyUsage=serverAuth"],
    }
    hosts = {}
    for name, extensions in asks.items():
        names = "DNS:neighbour" if name == "neighbour" else "DNS:engine/1,IP:2001:db8::1"
        added = [word for extension in extensions for word in ("-addext", extension)]
        usual = ["-addext", "keyUsage=critical,digitalSignature", "-addext", f"subjectAltName={names}"]
        hosts[name] = {
            "csr": openssl("req", "-new", "-key", tmp_path / "key", "-subj", "/CN=engine\\/1", *usual, *added)
        }
    hosts["passphrase"] = hosts["good"] | {"passphrase": "wrong"}
    task = {
        "ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca", "tasks_from": "sign"},
        "vars": {
            "docker_ca_sign_host": "good",
            "docker_ca_sign_dir": directory,
            "docker_ca_sign_passphrase": "{{ passphrase | default('sesame') }}",
            "docker_ca_sign_request": "{{ csr }}",
            "docker_ca_sign_name": "engine/1",
            "docker_ca_sign_usage": "server",
            "docker_ca_sign_names": ["IP:2001:db8::1", "DNS:engine/1"],
        },
    }
    outcomes = play(hosts, [task])
    for name in ("client", "both", "any", "ca", "neighbour"):
        assert "is not the one that it was asked for" in outcomes[name].message, name
    assert "CA host good did not sign" in outcomes["passphrase"].message
    assert outcomes["good"].failed == 0, outcomes["good"].message
    (issued,) = (tmp_path / "ca/issued").iterdir()
    assert issued.name.startswith("server-engine_1-")
    openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tmp_path / "ca/ca.pem", issued)
    crl = ("-crl_check", "-CRLfile", tmp_path / "ca/crl.pem", "-CAfile", tmp_path / "ca/ca.pem")
    openssl("verify", *crl, issued)
