"""export_identity: the one key that travels, in every form that it has, and nowhere else."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from helpers.docker_cli import inspect
from helpers.pki import Authority

REPOSITORY = Path(__file__).parents[3]
INVENTORY = {
    "docker_engines": {"hosts": {"web1": {"ansible_host": "192.0.2.1"}, "web2": {"ansible_host": "192.0.2.2"}}},
    "docker_clients": {"hosts": {"build1": {"docker_client_identities": [{"name": "build1"}]}}},
}
Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A control node with a CA, whose engines are never asked."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "hosts.yml").write_text(yaml.safe_dump(INVENTORY), encoding="utf-8")
    (folder / "vault").write_text("correct horse\n", encoding="ascii")
    (folder / "corporate.pem").write_text(Authority("corporate").pem, encoding="ascii")
    made = run(folder, "ansible", "localhost", "-m", "bulkhead.docker.docker_ca", "-a", f"dir={folder}/.bulkhead/ca")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={
            **os.environ,
            "HOME": str(home),
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".ansible/collections"),
            "ANSIBLE_HOME": str(home / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        },
        cwd=home,
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.fixture
def play(home: Path) -> Play:
    def export(*options: str, name: str = "github", dest: str = "~/out") -> subprocess.CompletedProcess[str]:
        values = ("-e", f"docker_export_name={name}", "-e", f"docker_export_dest={dest}")
        return run(home, "ansible-playbook", "-i", "hosts.yml", "bulkhead.docker.export_identity", *values, *options)

    return export


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def issued(home: Path) -> list[Path]:
    return sorted((home / ".bulkhead/ca/issued").glob("client-*"))


def vault(home: Path, path: Path) -> bytes:
    return subprocess.run(
        ["ansible-vault", "decrypt", "--vault-password-file", home / "vault", "--output", "-", path],
        capture_output=True,
        check=True,
    ).stdout


def key_of(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form)


def test_nothing_is_signed_where_it_cannot_end_well(home: Path, play: Play) -> None:
    (home / "full").mkdir()
    (home / "full/file").touch()
    for done, sentence in (
        (play(), "the run has no vault secret to encrypt it with"),
        (play("--vault-password-file", "vault", dest="~/full"), "is not empty. A bundle replaces nothing"),
        (play("--vault-password-file", "vault", dest="~/not/there"), "is no directory on the control node"),
        (play("--vault-password-file", "vault", name="build1"), "which is an identity of build1. Its key stays there"),
        (play("--vault-password-file", "vault", name="", dest=""), "docker_export_dest is ''; name the folder"),
        (play("-e", "docker_export_engines=web1,wbe2"), "docker_export_engines has 'wbe2'"),
        (play("-e", "docker_export_valid_days=0"), "docker_export_valid_days has to be 1 or more"),
    ):
        assert done.returncode != 0 and sentence in said(done), said(done)[-2000:]
    checked = play("--vault-password-file", "vault", "--check")
    assert checked.returncode == 0 and "changed=1" in said(checked), said(checked)
    assert issued(home) == [] and not (home / "out").exists()


def test_a_bundle_holds_one_key_that_is_nowhere_in_the_clear(home: Path, play: Play) -> None:
    done = play("--vault-password-file", "vault", "-e", "docker_export_valid_days=7", "-vvv", dest="~/closed")
    assert done.returncode == 0, said(done)
    closed = home / "closed"
    assert sorted(str(path.relative_to(closed)) for path in closed.rglob("*") if path.is_file()) == [
        "README.txt",
        "contexts/web1.dockercontext",
        "contexts/web2.dockercontext",
        "identity/ca.pem",
        "identity/cert.pem",
        "identity/key.pem",
        "variables.env",
    ]
    for path in (closed, *closed.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path

    key = vault(home, closed / "identity/key.pem")
    secret = key.decode().splitlines()[2]  # the first line is the same for all keys of a type
    for path in home.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    assert secret not in done.stdout + done.stderr and "PRIVATE KEY" not in done.stdout + done.stderr

    # What the CA host has recorded is what is in it, and what the run has shown.
    (record,) = issued(home)
    assert record.read_text(encoding="ascii") == (closed / "identity/cert.pem").read_text(encoding="ascii")
    certificate = x509.load_pem_x509_certificate(record.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=github"
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    end = f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert f"valid until {end}, SHA-256 fingerprint {fingerprint}." in said(done)
    readme = (closed / "README.txt").read_text(encoding="utf-8")
    assert end in readme and fingerprint in readme and "tcp://192.0.2.2:2376" in readme

    # Each form has the same identity.
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert key_of(key) == certificate.public_key().public_bytes(*form)
    lines = vault(home, closed / "variables.env").decode().splitlines()
    values = {name: base64.b64decode(value) for name, value in (line.split("=", 1) for line in lines)}
    assert values == {
        "DOCKER_CA_PEM": (closed / "identity/ca.pem").read_bytes(),
        "DOCKER_CERT_PEM": (closed / "identity/cert.pem").read_bytes(),
        "DOCKER_KEY_PEM": key,
    }
    archive = home / "web2.dockercontext"
    archive.write_bytes(vault(home, closed / "contexts/web2.dockercontext"))
    imported = run(home, "docker", "context", "import", "web2", str(archive))
    assert imported.returncode == 0, imported.stderr
    found = inspect(home, "web2")
    assert found["Endpoints"]["docker"] == {"Host": "tcp://192.0.2.2:2376", "SkipTLSVerify": False}
    assert found["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}
    assert (Path(found["Storage"]["TLSPath"]) / "docker/key.pem").read_bytes() == key


def test_a_second_bundle_is_another_identity_of_the_same_name(home: Path, play: Play) -> None:
    options = {"docker_export_encrypt": False, "docker_export_engines": "web2"}
    corporate = {
        "docker_engine_server_ca": (home / "corporate.pem").read_text(encoding="ascii"),
        "docker_engine_certificate_path": "/etc/docker-certificate.pem",
        "docker_engine_private_key_path": "/etc/docker-key.pem",
    }
    done = play("-e", json.dumps({**options, **corporate}), dest="~/open")
    assert done.returncode == 0 and "IS NOT ENCRYPTED" in said(done), said(done)
    opened = home / "open"
    assert [path.name for path in (opened / "contexts").iterdir()] == ["web2.dockercontext"]
    # What clients trust, which is more than what engines do where an engine's certificate is another CA's.
    bundle = (home / ".bulkhead/ca/ca.pem").read_text(encoding="ascii")
    assert (opened / "identity/ca.pem").read_text(
        encoding="ascii"
    ) == f"{bundle}{home.joinpath('corporate.pem').read_text()}"
    assert re.match(r"-----BEGIN PRIVATE KEY-----\n", (opened / "identity/key.pem").read_text(encoding="ascii"))
    assert "NOTHING IN HERE IS ENCRYPTED." in (opened / "README.txt").read_text(encoding="utf-8")
    records = [path.read_text(encoding="ascii") for path in issued(home)]
    assert (opened / "identity/cert.pem").read_text(encoding="ascii") == records[-1] and len(set(records)) == len(
        records
    )
