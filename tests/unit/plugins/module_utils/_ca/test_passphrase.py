"""The keys of a CA get another passphrase, all or none, also after a kill at any moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import passphrase, rotation
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
from helpers import authority, death
from helpers.pki import Authority

OLD, NEW = "open sesame", "another secret"
KEYS = ["ca-key.pem", "next/ca-key.pem"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA in the phase `trust`."""
    path = authority.make(tmp_path_factory.mktemp("passphrase") / "ca", Authority("old"), OLD)
    authority.make(path / "next", Authority("new"), OLD)
    rotation.advance(ca.Directory(path), "trust")
    return path


@pytest.fixture
def home(begun: Path, tmp_path: Path) -> ca.Directory:
    return ca.Directory(shutil.copytree(begun, tmp_path / "ca"))


def opens(place: ca.Directory, secret: str) -> bool:
    """Whether the key opens with it, and is the one of the certificate."""
    try:
        key = ca.load_key(place.key, secret)
    except ca.CaError:
        return False
    return x509.same_key(key.public_key(), place.load_certificate().certificate.public_key())


def files(home: ca.Directory) -> dict[str, bytes]:
    return {name: text for name, text in authority.content(home.path).items() if name != ".lock"}


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (OLD, ""), ("", NEW)])
def test_all_keys_are_changed_and_nothing_else(home: ca.Directory, old: str, new: str) -> None:
    passphrase.change(home, old, OLD)
    before = files(home)
    assert passphrase.change(home, new, old, check_mode=True) == KEYS
    assert files(home) == before
    assert passphrase.change(home, new, old) == KEYS
    assert passphrase.change(home, new, old) == []
    assert passphrase.change(home, new, "whatever") == []
    assert [opens(place, new) for place in (home, home.next)] == [True, True]
    assert [place.key.stat().st_mode & 0o777 for place in (home, home.next)] == [0o600, 0o600]
    after = files(home)
    assert [name for name in after if after[name] != before.get(name)] == KEYS
    assert len(after) == len(before)


def test_the_key_of_the_old_ca_is_changed_too(home: ca.Directory) -> None:
    rotation.advance(home, "reissue")
    assert passphrase.change(home, NEW, OLD) == ["ca-key.pem", "previous/ca-key.pem"]
    assert opens(home.previous, NEW)


def test_one_key_that_does_not_open_keeps_all_from_being_changed(home: ca.Directory) -> None:
    home.next.key.write_bytes(authority.key_text(Authority("x").key, "third secret"))
    before = files(home)
    with pytest.raises(ca.CaError, match=r"The CA's key in .*/next can be read neither .* Nothing was changed"):
        passphrase.change(home, NEW, OLD)
    assert files(home) == before


def test_where_there_is_no_key_nothing_is_made(home: ca.Directory, tmp_path: Path) -> None:
    home.key.unlink()
    for directory in (home, ca.Directory(tmp_path / "none")):
        for check_mode in (True, False):
            with pytest.raises(ca.CaError, match="is not there"):
                passphrase.change(directory, NEW, OLD, check_mode)
    assert not (tmp_path / "none").exists()


def test_nobody_changes_it_while_another_holds_the_ca(home: ca.Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "_LOCK_LIMIT", 0)
    before = files(home)
    with ca.lock(home), pytest.raises(ca.CaError, match="is in use by process"):
        passphrase.change(home, NEW, OLD)
    assert files(home) == before


def test_an_exchange_of_files_that_was_killed_is_ended_first(home: ca.Directory) -> None:
    home.rotation.write_text("reissue\n")  # killed right after this
    (home.path / ".ca-key.pem.bulkhead-new").write_text("a key without a passphrase")
    assert passphrase.change(home, NEW, OLD) == ["ca-key.pem", "previous/ca-key.pem"]
    assert home.load_certificate().common_names == ["new"]
    assert not list(home.path.rglob("*.bulkhead-*"))


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (OLD, "")])
def test_a_kill_at_any_moment_is_ended_by_the_next_run(begun: Path, tmp_path: Path, old: str, new: str) -> None:
    def prepare(step: int) -> ca.Directory:
        return ca.Directory(shutil.copytree(begun, tmp_path / f"killed-{step}"))

    names = {*files(ca.Directory(begun))}
    for home in death.killed(prepare, lambda home: passphrase.change(home, new, old)):
        for place in (home, home.next):
            assert opens(place, old) or opens(place, new), "a key is lost"
        passphrase.change(home, new, old)
        assert [opens(place, new) for place in (home, home.next)] == [True, True]
        assert {*files(home)} == names
