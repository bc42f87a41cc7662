"""The phases of a CA's replacement, in processes that die before each change that one of them makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
    create,
    inspect,
    passphrase,
    revocation,
    rotation,
    signing,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509
from cryptography import x509 as cx509
from helpers import authority, death
from helpers.pki import Authority

STEPS = ("trust", "reissue", "retire", "done")
WANTED = create.Wanted("late", "P-256", 3072, 3650)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA that has signed for a client, with a successor that nobody knows yet."""
    path = authority.make(tmp_path_factory.mktemp("rotation") / "ca", Authority("old"))
    authority.make(path / "next", Authority("new"))
    signing.sign(ca.Directory(path), "", [signing.Request("alice", "client", (), 5, authority.request())])
    return path


@pytest.fixture
def home(begun: Path, tmp_path: Path) -> ca.Directory:
    return ca.Directory(shutil.copytree(begun, tmp_path / "ca"))


def names(home: ca.Directory, secret: str = "") -> list[str]:
    """The CAs of the trust bundle; each has its revocation list, in the same order, and the first one signs."""
    bundle = x509.load_bundle(home.bundle.read_text())
    lists = [cx509.load_pem_x509_crl(block.encode()) for block in pem.revocation_lists(home.crl.read_text())]
    assert [one.issuer for one in lists] == [entry.certificate.subject for entry in bundle]
    assert bundle[0].pem == home.load_certificate().pem
    key = ca.load_key(home.key, secret)
    assert x509.same_key(key.public_key(), bundle[0].certificate.public_key())
    assert home.key.stat().st_mode & 0o777 == 0o600
    return [entry.common_names[0] for entry in bundle]


def test_the_phases_follow_each_other(home: ca.Directory) -> None:
    before = sorted(authority.content(home.path))
    seen = []
    for step in STEPS:
        preview = rotation.advance(home, step, check_mode=True)
        outcome = rotation.advance(home, step)
        again = rotation.advance(home, step)
        assert (preview.changed, outcome.changed, again.changed) == (True, True, False)
        seen.append((outcome.phase, names(home)))
    assert seen == [
        ("trust", ["old", "new"]),
        ("reissue", ["new", "old"]),
        ("retire", ["new"]),
        ("none", ["new"]),
    ]
    kept = [name for name in before if not name.startswith("next/")]
    assert sorted(authority.content(home.path)) == sorted([*kept, "retired.pem"])
    assert [entry.common_names for entry in x509.load_bundle(inspect.retired(home))] == [["old"]]
    # A phase that was passed is not entered again.
    assert not rotation.advance(home, "done").changed
    assert list(home.issued.iterdir())


@pytest.mark.parametrize(
    ("reached", "wanted"), [(0, "reissue"), (0, "retire"), (1, "retire"), (1, "done"), (2, "done")]
)
def test_no_phase_is_skipped(home: ca.Directory, reached: int, wanted: str) -> None:
    for step in STEPS[:reached]:
        rotation.advance(home, step)
    before = authority.content(home.path)
    with pytest.raises(ca.CaError, match=f"cannot go to {wanted} at once"):
        rotation.advance(home, wanted)
    assert authority.content(home.path) == before


def test_a_phase_that_was_passed_is_left_alone(home: ca.Directory) -> None:
    for step in STEPS[:3]:
        rotation.advance(home, step)
    assert rotation.advance(home, "trust") == rotation.Outcome(home.path, "retire", False)


@pytest.mark.parametrize("text", ["", "trusted", "none", "\0\0\0"])
def test_a_damaged_phase_is_refused_and_changes_nothing(home: ca.Directory, text: str) -> None:
    rotation.advance(home, "trust")
    home.rotation.write_text(text)
    before = authority.content(home.path)
    for step in STEPS:
        with pytest.raises(ca.CaError, match="which is no phase of a rotation"):
            rotation.advance(home, step)
    assert authority.content(home.path) == before


@pytest.mark.parametrize("name", ["ca-key.pem", "ca-cert.pem", "crl.pem"])
def test_a_successor_that_is_not_whole_is_refused(home: ca.Directory, name: str) -> None:
    (home.next.path / name).unlink()
    before = authority.content(home.path)
    with pytest.raises(ca.CaError, match=f"holds no whole CA to change to; missing: {name}"):
        rotation.advance(home, "trust")
    assert authority.content(home.path) == before


def test_where_there_is_no_ca_nothing_is_made(tmp_path: Path) -> None:
    home = ca.Directory(tmp_path / "none")
    assert rotation.advance(home, "trust", check_mode=True).changed
    with pytest.raises(ca.CaError, match="There is no CA in"):
        rotation.advance(home, "trust")
    assert not home.path.exists()


def test_done_without_a_rotation_publishes_and_takes_nothing_away(home: ca.Directory) -> None:
    other = Authority("another")
    home.bundle.write_text(f"Another one:\r\n{other.pem}".replace("\n", "\r\n"))
    assert rotation.advance(home, "done").changed
    bundle = x509.load_bundle(home.bundle.read_text())
    assert [entry.common_names[0] for entry in bundle] == ["old", "another"]
    assert b"\r" not in home.bundle.read_bytes()
    home.crl.unlink()
    with pytest.raises(ca.CaError, match=r"holds no revocation list. Run the playbook bulkhead\.docker\.site"):
        rotation.advance(home, "done")


def stages(begun: Path, tmp_path: Path, index: int) -> Path:
    """The CA before the step with this number."""
    home = ca.Directory(shutil.copytree(begun, tmp_path / "before"))
    for step in STEPS[:index]:
        rotation.advance(home, step)
    return home.path


def keys(home: ca.Directory) -> set[bytes]:
    return {path.read_bytes() for path in home.path.rglob("ca-key.pem")}


def without_leftovers(home: ca.Directory) -> dict[str, bytes]:
    content = authority.content(home.path)
    return {name: text for name, text in content.items() if ".bulkhead-" not in name and name != ".lock"}


@pytest.mark.parametrize("index", range(4))
def test_a_step_that_is_killed_anywhere_is_completed_by_the_next_call(begun: Path, tmp_path: Path, index: int) -> None:
    before = stages(begun, tmp_path, index)
    wanted = ca.Directory(shutil.copytree(before, tmp_path / "wanted"))
    rotation.advance(wanted, STEPS[index])

    def prepare(number: int) -> ca.Directory:
        return ca.Directory(shutil.copytree(before, tmp_path / f"killed-{number}"))

    for killed in death.killed(prepare, lambda home: rotation.advance(home, STEPS[index])):
        assert keys(killed) >= keys(wanted)
        assert STEPS[index] == "done" or keys(killed) == keys(ca.Directory(before)), "a key is lost"
        inspect.gather(killed, "")  # whatever it finds, it reads it
        rotation.advance(killed, STEPS[index])
        assert without_leftovers(killed) == without_leftovers(wanted)
        names(killed)


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("other", ["create", "revoke", "passphrase"])
def test_whatever_comes_after_a_kill_loses_nothing(begun: Path, tmp_path: Path, index: int, other: str) -> None:
    """Somebody revokes, changes the passphrase or runs `site` before the rotation is ended."""
    before = stages(begun, tmp_path, index)
    secret = "another secret" if other == "passphrase" else ""

    def prepare(number: int) -> ca.Directory:
        return ca.Directory(shutil.copytree(before, tmp_path / f"killed-{number}"))

    for killed in death.killed(prepare, lambda home: rotation.advance(home, STEPS[index])):
        if other == "create":
            create.ensure(killed, "", WANTED)
        elif other == "revoke":
            revocation.revoke(killed, "", "alice")
        else:
            passphrase.change(killed, secret, "")
        if killed.previous.key.exists():
            ca.load_key(killed.previous.key, secret)
        for step in STEPS[index:]:
            rotation.advance(killed, step)
        assert names(killed, secret) == ["new"]
        assert [entry.common_names for entry in x509.load_bundle(inspect.retired(killed))] == [["old"]]
        assert len(list(killed.issued.iterdir())) == 1
        assert killed.marks() == (["alice"] if other == "revoke" else [])
        assert not killed.rotation.exists()
        assert not list(killed.path.rglob("ca-key.pem"))[1:]


def test_the_creation_of_a_successor_that_is_killed_anywhere_is_completed_by_the_next_call(
    begun: Path, tmp_path: Path
) -> None:
    def prepare(number: int) -> ca.Directory:
        home = ca.Directory(shutil.copytree(begun, tmp_path / f"killed-{number}"))
        shutil.rmtree(home.next.path)
        return home

    present = without_leftovers(prepare(0))
    for killed in death.killed(prepare, lambda home: create.ensure_successor(home, "", WANTED)):
        key = killed.next.key.read_bytes() if killed.next.key.exists() else None
        create.ensure_successor(killed, "", WANTED)
        assert key in (None, killed.next.key.read_bytes())
        assert inspect.gather(killed.next, "")["complete"]
        found = without_leftovers(killed)
        assert {name: text for name, text in found.items() if not name.startswith("next/")} == present
        assert not list(killed.path.rglob("*.bulkhead-*"))
        for step in STEPS:
            rotation.advance(killed, step)
        assert names(killed)[0].startswith("late ")


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_no_successor_is_made_once_a_rotation_has_begun(home: ca.Directory, reached: int) -> None:
    """By an operator who has read the CA before another one began, and was suspended."""
    for step in STEPS[:reached]:
        rotation.advance(home, step)
    before = authority.content(home.path)
    for check_mode in (True, False):
        with pytest.raises(ca.CaError, match=f"rotation is in the phase {STEPS[reached - 1]}; no successor was made"):
            create.ensure_successor(home, "", WANTED, check_mode)
    assert authority.content(home.path) == before


def test_the_successor_is_made_under_the_lock_of_the_ca(home: ca.Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(home.next.path)
    monkeypatch.setattr(ca, "_LOCK_LIMIT", 0)
    with ca.lock(home), pytest.raises(ca.CaError, match="is in use by process"):
        create.ensure_successor(home, "", WANTED)
    assert not home.next.path.exists()
    with pytest.raises(ca.CaError, match="There is no CA in"):
        create.ensure_successor(home.next, "", WANTED)
    made = create.ensure_successor(home, "", WANTED, check_mode=True)
    assert not home.next.path.exists()
    assert create.ensure_successor(home, "", WANTED) == made == ["ca-key.pem", "ca-cert.pem", "crl.pem", "ca.pem"]
    assert create.ensure_successor(home, "", WANTED) == []
    for step in STEPS:
        rotation.advance(home, step)
    assert inspect.gather(home, "")["complete"]
    assert not home.next.path.exists()


@pytest.mark.parametrize("reached", [2, 3])
@pytest.mark.parametrize("files", [("ca-key.pem", "ca-cert.pem", "crl.pem"), ("ca-key.pem",), ("ca-cert.pem",)])
def test_a_successor_that_nobody_knows_takes_no_place(
    home: ca.Directory, tmp_path: Path, reached: int, files: tuple[str, ...]
) -> None:
    for step in STEPS[:reached]:
        rotation.advance(home, step)
    stray = authority.make(tmp_path / "stray", Authority("stray"))
    home.next.path.mkdir()
    for name in files:
        shutil.copy(stray / name, home.next.path)
    before = authority.content(home.path)
    for change in (
        *(lambda step=step: rotation.advance(home, step) for step in STEPS[reached - 1 : reached + 1]),
        lambda: create.ensure(home, "", WANTED),
        lambda: passphrase.change(home, "another secret", ""),
    ):
        with pytest.raises(ca.CaError, match="is not in the trust bundle"):
            change()
    assert authority.content(home.path) == before
    shutil.rmtree(home.next.path)
    for step in STEPS[reached:]:
        rotation.advance(home, step)
    assert names(home) == ["new"]


def test_a_successor_is_published_before_it_signs(home: ca.Directory) -> None:
    """Also where the call that was to publish it was killed."""
    home.rotation.write_text("trust\n")
    before = authority.content(home.path)
    with pytest.raises(ca.CaError, match=r"is not in the trust bundle .* which publishes it first"):
        rotation.advance(home, "reissue")
    assert authority.content(home.path) == before
    for step in STEPS[:2]:
        rotation.advance(home, step)
    assert names(home) == ["new", "old"]


def test_the_files_of_another_old_ca_are_no_copy_of_this_one(home: ca.Directory) -> None:
    rotation.advance(home, "trust")
    authority.make(home.previous.path, Authority("before"))
    before = authority.content(home.path)
    with pytest.raises(ca.CaError, match=r"previous/ca-key.pem is not a copy of .*, which would be lost"):
        rotation.advance(home, "reissue")
    assert authority.content(home.path) == before


def test_damaged_records_of_old_cas_are_not_written_over(begun: Path, tmp_path: Path) -> None:
    home = ca.Directory(shutil.copytree(begun, tmp_path / "ca"))
    damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    home.retired.write_text(damaged)
    assert any("retired.pem cannot be used" in problem for problem in inspect.gather(home, "")["problems"])
    for step in ("trust", "reissue"):
        rotation.advance(home, step)
    with pytest.raises(ca.CaError, match="known by it"):
        rotation.advance(home, "retire")
    assert home.retired.read_text() == damaged
    home.retired.unlink()
    rotation.advance(home, "retire")
    assert [entry.common_names for entry in x509.load_bundle(inspect.retired(home))] == [["old"]]
