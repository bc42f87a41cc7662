"""A client is marked and listed at once, and neither gets lost, whatever happens in between."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import inspect, revocation, rotation, signing
from helpers import authority, death
from helpers.pki import Authority


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA that has signed for two clients, with a successor that nobody knows yet."""
    path = authority.make(tmp_path_factory.mktemp("revocation") / "ca", Authority("old"))
    authority.make(path / "next", Authority("new"))
    requests = [signing.Request(name, "client", (), 5, authority.request()) for name in ("alice", "bob")]
    signing.sign(ca.Directory(path), "", requests)
    return path


@pytest.fixture
def home(signed: Path, tmp_path: Path) -> ca.Directory:
    return ca.Directory(shutil.copytree(signed, tmp_path / "ca"))


def files(home: ca.Directory) -> dict[str, bytes]:
    return {name: text for name, text in authority.content(home.path).items() if name != ".lock"}


def listed(home: ca.Directory) -> list[str]:
    """The clients on the list of this CA."""
    found = inspect.revocation_list(home)
    assert found is not None
    serials = {entry.serial_number for entry in found}
    return sorted(one["name"] for one in inspect.issued(home) if int(one["serial"], 16) in serials)


def test_mark_and_list_go_together(home: ca.Directory) -> None:
    before = files(home)
    assert revocation.revoke(home, "", "alice", check_mode=True) == ["revoked/alice", "crl.pem"]
    assert files(home) == before
    assert revocation.revoke(home, "", "alice") == ["revoked/alice", "crl.pem"]
    assert revocation.revoke(home, "", "alice") == revocation.revoke(home, "", "alice", check_mode=True) == []
    assert (home.marks(), listed(home)) == (["alice"], ["alice"])
    assert [path.stat().st_mode & 0o777 for path in (home.revoked, home.revoked / "alice")] == [0o700, 0o600]
    # One without a certificate has nothing but a mark.
    assert revocation.revoke(home, "", "ssh-only") == ["revoked/ssh-only"]
    assert home.marks() == ["alice", "ssh-only"]


def test_a_name_is_allowed_again_and_its_certificates_stay_listed(home: ca.Directory) -> None:
    assert revocation.revoke(home, "", "alice", is_revoked=False) == []
    revocation.revoke(home, "", "alice")
    assert revocation.revoke(home, "", "alice", is_revoked=False, check_mode=True) == ["revoked/alice"]
    assert home.marks() == ["alice"]
    assert revocation.revoke(home, "", "alice", is_revoked=False) == ["revoked/alice"]
    assert (home.marks(), listed(home)) == ([], ["alice"])


def test_a_server_is_listed_and_its_name_is_free(home: ca.Directory) -> None:
    server = signing.Request("web1", "server", ("DNS:web1",), 5, authority.request())
    signing.sign(home, "", [server])
    assert revocation.revoke_servers(home, "", ["web1", "web2"], check_mode=True) == ["crl.pem"]
    assert listed(home) == []
    assert revocation.revoke_servers(home, "", ["web1", "web2"]) == ["crl.pem"]
    assert revocation.revoke_servers(home, "", ["web1"]) == []
    assert (home.marks(), listed(home)) == ([], ["web1"])
    signing.sign(home, "", [server])
    assert [one["revoked"] for one in inspect.issued(home) if one["name"] == "web1"].count(False) == 1
    # A list that was lost has the old one again, and not the new one.
    home.crl.unlink()
    revocation.revoke(home, "", "ssh-only")
    assert listed(home) == ["web1"]
    assert revocation.revoke_servers(home, "", ["alice"]) == []  # a client


@pytest.mark.parametrize("name", ["", "..", "../x", ".alice", "a/b", "a\n", "x" * 65])
def test_what_is_no_name_marks_nothing(home: ca.Directory, name: str) -> None:
    before = files(home)
    with pytest.raises(ca.CaError, match="is not the name of an identity"):
        revocation.revoke(home, "", name)
    assert files(home) == before


def test_without_the_key_there_is_no_mark(home: ca.Directory, tmp_path: Path) -> None:
    with pytest.raises(ca.CaError, match="is not encrypted, although docker_ca_passphrase is set"):
        revocation.revoke(home, "secret", "alice")
    home.key.write_bytes(authority.key_text(Authority("x").key))
    with pytest.raises(ca.CaError, match="is not the key of"):
        revocation.revoke(home, "", "alice")
    assert home.marks() == []
    with pytest.raises(ca.CaError, match="There is no CA in"):
        revocation.revoke(ca.Directory(tmp_path / "none"), "", "alice")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("is_revoked", [True, False])
def test_nobody_marks_while_another_holds_the_ca(
    home: ca.Directory, monkeypatch: pytest.MonkeyPatch, is_revoked: bool
) -> None:
    revocation.revoke(home, "", "alice")
    monkeypatch.setattr(ca, "_LOCK_LIMIT", 0)
    with ca.lock(home), pytest.raises(ca.CaError, match="is in use by process"):
        revocation.revoke(home, "", "bob" if is_revoked else "alice", is_revoked)
    assert home.marks() == ["alice"]


def test_a_record_that_is_lost_or_damaged_leaves_a_doubt(home: ca.Directory) -> None:
    assert revocation.doubt(home, "alice", True) == ""
    assert revocation.doubt(home, "ssh-only", False) == ""
    assert "has none, although it got one" in revocation.doubt(home, "ssh-only", True)
    (bobs,) = home.issued.glob("client-bob-*")
    bobs.write_text("")
    for is_recorded in (True, False):  # a file's name does not say whose it is
        assert "does not hold exactly one certificate" in revocation.doubt(home, "alice", is_recorded)
    shutil.rmtree(home.issued)
    assert "has none, although it got one" in revocation.doubt(home, "alice", True)


def test_nothing_is_in_doubt_of_who_was_revoked_before_the_ca_was_made(home: ca.Directory) -> None:
    revocation.revoke(home, "", "alice")
    for path in home.issued.glob("client-alice-*"):
        path.unlink()
    made = home.load_certificate().not_before.timestamp() + 300
    for age, certain in ((3600, True), (-3600, False)):
        os.utime(home.revoked / "alice", (made - age, made - age))
        assert (revocation.doubt(home, "alice", True) == "") is certain
    os.utime(home.revoked / "alice", (made - 3600, made - 3600))
    rotation.advance(home, "trust")  # the old CA counts until it is gone
    assert revocation.doubt(home, "alice", True)


def test_an_exchange_of_files_that_was_killed_is_ended_first(home: ca.Directory) -> None:
    rotation.advance(home, "trust")
    home.rotation.write_text("reissue\n")  # killed right after this
    revocation.revoke(home, "", "alice")
    assert home.load_certificate().common_names == ["new"]
    assert listed(home.previous) == []  # what it has signed is known to the CA above it
    assert len(inspect.revocation_list(home.previous) or ()) == 1
    assert not home.next.path.exists()


@pytest.mark.parametrize("phases", [("trust",), ("trust", "reissue")])
def test_a_lost_list_of_another_ca_of_the_rotation_is_made_anew(home: ca.Directory, phases: tuple[str, ...]) -> None:
    revocation.revoke(home, "", "alice")
    for phase in phases:
        rotation.advance(home, phase)
    other = home.next if len(phases) == 1 else home.previous
    whole = len(inspect.revocation_list(other) or ())
    other.crl.unlink()
    assert not inspect.gather(home, "")["complete"]
    assert revocation.update_lists(home, "", check_mode=True) == ["crl.pem"]
    assert revocation.update_lists(home, "")
    assert len(inspect.revocation_list(other) or ()) == whole == len(phases) - 1
    assert inspect.gather(home, "")["complete"]
    assert revocation.update_lists(home, "") == []


def test_the_list_of_an_old_ca_whose_removal_was_killed_is_not_missed(home: ca.Directory) -> None:
    for step in ("trust", "reissue"):
        rotation.advance(home, step)
    without_key = ca.Directory(shutil.copytree(home.path, home.path.with_name("reissuing")))
    without_key.previous.key.unlink()
    with pytest.raises(ca.CaError, match="cannot be read"):  # in this phase the list is published
        revocation.revoke(without_key, "", "alice")
    rotation.advance(home, "retire")
    home.previous.key.unlink()
    assert revocation.revoke(home, "", "alice") == ["revoked/alice"]
    rotation.advance(home, "done")
    assert not home.previous.path.exists()


@pytest.mark.parametrize("is_revoked", [True, False])
def test_a_kill_at_any_moment_is_ended_by_the_next_run(signed: Path, tmp_path: Path, is_revoked: bool) -> None:
    def prepare(step: int) -> ca.Directory:
        home = ca.Directory(shutil.copytree(signed, tmp_path / f"killed-{step}"))
        revocation.revoke(home, "", "bob")
        if not is_revoked:
            revocation.revoke(home, "", "alice")
        return home

    record = {path.name: path.read_bytes() for path in (signed / "issued").iterdir()}
    for home in death.killed(prepare, lambda home: revocation.revoke(home, "", "alice", is_revoked)):
        assert "bob" in home.marks()
        assert listed(home) in (["bob"], ["alice", "bob"])
        assert "alice" in home.marks() or not is_revoked or "alice" not in listed(home), "listed before it was marked"
        revocation.revoke(home, "", "alice", is_revoked)
        assert (home.marks(), listed(home)) == (["alice", "bob"] if is_revoked else ["bob"], ["alice", "bob"])
        assert {path.name: path.read_bytes() for path in home.issued.iterdir()} == record
        assert not list(home.path.rglob("*.bulkhead-*"))
