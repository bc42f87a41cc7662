"""What is missing of a CA is made, and what is there stays; also after a kill at any moment."""

from __future__ import annotations

import datetime
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
    create,
    existing,
    inspect,
    revocation,
    rotation,
    signing,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from cryptography import x509 as cx509
from helpers import authority, death
from helpers.pki import Authority

NEW = create.Wanted("bulkhead.docker CA", "P-256", 3072, 3650)
EVERYTHING = ["ca-key.pem", "ca-cert.pem", "crl.pem", "ca.pem"]


@pytest.fixture
def home(tmp_path: Path) -> ca.Directory:
    return ca.Directory(tmp_path / "ca")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA that has signed for two clients."""
    path = authority.make(tmp_path_factory.mktemp("create") / "ca", Authority("mine"))
    requests = [signing.Request(name, "client", (), 5, authority.request()) for name in ("alice", "bob")]
    signing.sign(ca.Directory(path), "", requests)
    return path


def listed(home: ca.Directory) -> set[int]:
    found = inspect.revocation_list(home)
    assert found is not None
    assert found.is_signature_valid(t.cast("t.Any", home.load_certificate().certificate.public_key()))
    return {entry.serial_number for entry in found}


def serial(home: ca.Directory, name: str) -> int:
    return next(int(one["serial"], 16) for one in inspect.gather(home, "")["issued"] if one["name"] == name)


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_a_ca_is_made_once(home: ca.Directory, passphrase: str) -> None:
    assert create.ensure(home, passphrase, NEW, check_mode=True) == EVERYTHING
    assert not home.path.exists()
    assert create.ensure(home, passphrase, NEW) == EVERYTHING
    state = inspect.gather(home, passphrase)
    assert state["complete"]
    assert state["key"] | {"type": ""} == {
        "exists": True,
        "mode": "0600",
        "encrypted": bool(passphrase),
        "opens": True,
        "type": "",
        "matches": True,
    }
    assert (home.path.stat().st_mode & 0o777, home.issued.stat().st_mode & 0o777) == (0o700, 0o700)
    certificate = home.load_certificate().certificate
    constraints = certificate.extensions.get_extension_for_class(cx509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = certificate.extensions.get_extension_for_class(cx509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    before = authority.content(home.path)
    assert create.ensure(home, passphrase, NEW) == []
    assert authority.content(home.path) == before


@pytest.mark.parametrize("name", ["ca-cert.pem", "crl.pem", "ca.pem"])
def test_what_was_lost_comes_back(home: ca.Directory, name: str) -> None:
    create.ensure(home, "", NEW)
    key = home.key.read_bytes()
    (home.path / name).unlink()
    assert name in create.ensure(home, "", NEW, check_mode=True)
    assert not (home.path / name).exists()
    create.ensure(home, "", NEW)
    assert inspect.gather(home, "")["complete"]
    assert home.key.read_bytes() == key


def test_a_key_that_others_can_read_is_closed(home: ca.Directory) -> None:
    create.ensure(home, "", NEW)
    home.key.chmod(0o644)
    assert create.ensure(home, "", NEW) == ["ca-key.pem"]
    assert home.key.stat().st_mode & 0o777 == 0o600


def test_a_ca_without_its_key_is_left_alone(home: ca.Directory) -> None:
    create.ensure(home, "", NEW)
    home.key.unlink()
    before = authority.content(home.path)
    with pytest.raises(ca.CaError, match="whose key is not there"):
        create.ensure(home, "", NEW)
    assert authority.content(home.path) == before


def test_another_key_signs_no_list(home: ca.Directory) -> None:
    create.ensure(home, "", NEW)
    home.key.write_bytes(authority.key_text(Authority("other").key))
    home.crl.unlink()
    with pytest.raises(ca.CaError, match="is not the key of"):
        create.ensure(home, "", NEW)
    assert not home.crl.exists()


def test_a_ca_is_taken_over_with_a_passphrase_of_its_own(home: ca.Directory, tmp_path: Path) -> None:
    brought = Authority("brought along")
    (tmp_path / "c.pem").write_text(brought.pem)
    (tmp_path / "k.pem").write_bytes(authority.key_text(brought.key, "theirs"))
    files = existing.Files(tmp_path / "c.pem", tmp_path / "k.pem", "theirs")
    wanted = create.Wanted("x", "P-256", 3072, 9, files)
    assert create.ensure(home, "our own one", wanted) == EVERYTHING
    assert inspect.gather(home, "our own one")["complete"]
    assert home.load_certificate().common_names == ["brought along"]
    assert create.ensure(home, "our own one", wanted) == []


def test_the_lists_get_whoever_was_revoked(signed: Path, tmp_path: Path) -> None:
    home = ca.Directory(shutil.copytree(signed, tmp_path / "ca"))
    assert create.ensure(home, "", NEW) == []
    home.revoked.mkdir()
    (home.revoked / "alice").touch()
    assert create.ensure(home, "", NEW) == ["crl.pem"]
    assert listed(home) == {serial(home, "alice")}
    # A mark that is removed gives nobody an old certificate back, and a lost list comes back with all that was on it.
    (home.revoked / "alice").rename(home.revoked / "bob")
    create.ensure(home, "", NEW)
    assert listed(home) == {serial(home, "alice"), serial(home, "bob")}
    home.crl.unlink()
    create.ensure(home, "", NEW)
    assert listed(home) == {serial(home, "alice"), serial(home, "bob")}


def test_a_ca_that_cannot_be_taken_over_leaves_nothing(home: ca.Directory, tmp_path: Path) -> None:
    brought = Authority("brought along")
    (tmp_path / "c.pem").write_text(brought.pem)
    (tmp_path / "k.pem").write_bytes(authority.key_text(Authority("other").key, "theirs"))
    files = existing.Files(tmp_path / "c.pem", tmp_path / "k.pem", "theirs")
    wanted = create.Wanted("x", "P-256", 3072, 9, files)
    with pytest.raises(ca.CaError, match="is not the key of"):
        create.ensure(home, "our own one", wanted)
    with pytest.raises(ca.CaError, match="only stored with a docker_ca_passphrase"):
        create.ensure(home, "", wanted)
    assert not home.key.exists()


def test_a_list_of_another_ca_is_none(signed: Path, tmp_path: Path) -> None:
    home = ca.Directory(shutil.copytree(signed, tmp_path / "ca"))
    home.crl.write_bytes(authority.empty_list(Authority("mine"), 4711))
    assert create.ensure(home, "", NEW) == ["crl.pem"]
    assert listed(home) == set()


def test_an_expired_ca_does_not_stand_in_the_way_of_a_revocation(tmp_path: Path) -> None:
    home = ca.Directory(authority.make(tmp_path / "ca", Authority("old", days=5)))
    signing.sign(home, "", [signing.Request("alice", "client", (), 5, authority.request())])
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)
    assert revocation.revoke(home, "", "alice", now=later) == ["revoked/alice", "crl.pem"]
    assert listed(home) == {serial(home, "alice")}


def test_an_exchange_of_files_that_was_killed_is_ended_first(signed: Path, tmp_path: Path) -> None:
    home = ca.Directory(shutil.copytree(signed, tmp_path / "ca"))
    authority.make(home.next.path, Authority("new"))
    rotation.advance(home, "trust")
    home.rotation.write_text("reissue\n")  # killed right after this
    (home.revoked).mkdir()
    (home.revoked / "alice").touch()
    create.ensure(home, "", NEW)
    assert home.load_certificate().common_names == ["new"]
    assert home.previous.load_certificate().common_names == ["mine"]
    assert listed(home.previous) == {serial(home, "alice")}
    assert not home.next.path.exists()


def test_a_successor_is_made_or_taken_over(home: ca.Directory, tmp_path: Path) -> None:
    create.ensure(home, "", NEW)
    brought = Authority("brought along")
    (tmp_path / "c.pem").write_text(brought.pem)
    (tmp_path / "k.pem").write_bytes(authority.key_text(brought.key))
    files = existing.Files(tmp_path / "c.pem", tmp_path / "k.pem", "")
    before = authority.content(home.path)
    assert create.ensure_successor(home, "a secret one", create.Wanted("x", "P-256", 3072, 9, files)) == EVERYTHING
    after = authority.content(home.path)
    assert {name: text for name, text in after.items() if not name.startswith("next/")} == before
    assert home.next.load_certificate().common_names == ["brought along"]
    assert home.next.path.stat().st_mode & 0o777 == 0o700
    assert inspect.gather(home.next, "a secret one")["complete"]


def test_a_kill_at_any_moment_is_ended_by_the_next_run(tmp_path: Path) -> None:
    def prepare(step: int) -> ca.Directory:
        return ca.Directory(tmp_path / str(step) / "ca")

    for home in death.killed(prepare, lambda home: create.ensure(home, "", NEW)):
        key = home.key.read_bytes() if home.key.exists() else None
        create.ensure(home, "", NEW)
        assert inspect.gather(home, "")["complete"]
        assert key in (None, home.key.read_bytes())
        assert home.path.stat().st_mode & 0o777 == 0o700
