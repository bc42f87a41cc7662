"""A CA is removed while nobody uses it, and nobody uses a lock that was removed with it."""

from __future__ import annotations

import functools
import shutil
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
    create,
    holders,
    inspect,
    removal,
    rotation,
    signing,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from helpers import authority, death
from helpers.pki import Authority

NEW = create.Wanted("bulkhead.docker CA", "P-256", 3072, 3650)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA in the phase `reissue`, with everything that there can be of one."""
    path = authority.make(tmp_path_factory.mktemp("removal") / ".bulkhead/ca", Authority("old"))
    authority.make(path / "next", Authority("new"))
    home = ca.Directory(path)
    sign(home)
    for step in ("trust", "reissue"):
        rotation.advance(home, step)
    authority.make(path / "next", Authority("another"))
    (path / "revoked").mkdir()
    (path / "retired.pem").touch()
    holders.record(home, [holders.Holder("engine", "web1")], [])
    (path / ".ca-key.pem.bulkhead-new").write_text("a key without a passphrase")
    return path


@pytest.fixture
def home(begun: Path, tmp_path: Path) -> ca.Directory:
    return ca.Directory(shutil.copytree(begun, tmp_path / ".bulkhead/ca"))


def sign(home: ca.Directory, number: int = 0) -> list[t.Any]:
    return signing.sign(home, "", [signing.Request(f"client{number}", "client", (), 5, authority.request())])


def test_nothing_is_left_of_it(home: ca.Directory, tmp_path: Path) -> None:
    names = {path.name for path in home.path.iterdir()}
    previewed = removal.remove(home, check_mode=True)
    assert {path.name for path in home.path.iterdir()} == names
    assert removal.remove(home) == previewed
    assert {*previewed} == names | {str(home.path)}
    assert previewed[:2] == ["ca-key.pem", ".ca-key.pem.bulkhead-new"]
    assert not home.path.parent.exists()
    assert tmp_path.exists()
    assert removal.remove(home) == removal.remove(home, check_mode=True) == []


def test_what_is_not_its_own_stays(home: ca.Directory, tmp_path: Path) -> None:
    (home.path / "notes.txt").touch()
    shutil.rmtree(home.issued)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/record.pem").touch()
    home.issued.symlink_to(tmp_path / "elsewhere")
    previewed = removal.remove(home, check_mode=True)
    assert removal.remove(home) == previewed
    assert str(home.path) not in previewed
    assert [path.name for path in home.path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "elsewhere/record.pem").exists()
    (tmp_path / "srv/ca").mkdir(parents=True)
    assert removal.remove(ca.Directory(tmp_path / "srv/ca")) == [str(tmp_path / "srv/ca")]
    assert (tmp_path / "srv").exists()


def test_it_waits_for_whoever_uses_the_ca(home: ca.Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "_LOCK_LIMIT", 0)
    before = authority.content(home.path)
    before.pop(".lock")
    with ca.lock(home), pytest.raises(ca.CaError, match="is in use by process"):
        removal.remove(home)
    after = authority.content(home.path)
    after.pop(".lock")
    assert after == before


def while_it_is_removed(home: ca.Directory, work: t.Callable[[t.Callable[[float], None]], t.Any]) -> None:
    """Begin the work when the lock is held, and remove the CA when it waits for the lock."""
    held, waits = home.path.parents[1] / "held", home.path.parents[1] / "waits"

    def sleep(seconds: float) -> None:
        waits.touch()
        time.sleep(seconds)

    def wait_and_work() -> None:
        while not held.exists():
            time.sleep(0.01)
        work(sleep)

    end = death.apart(wait_and_work)  # before the lock is taken, which it would inherit
    with ca.lock(home):
        held.touch()
        while not waits.exists():
            time.sleep(0.01)
        for path in removal._present(home):
            removal._remove(path)
        removal._remove_folder(home.path)
    end()


@pytest.mark.parametrize("other", [False, True])
def test_whoever_waited_for_the_lock_finds_no_ca(home: ca.Directory, other: bool) -> None:
    """And locks nothing that is gone: two who do that would not keep each other out."""
    if other:
        (home.path / "notes.txt").touch()

    def use(sleep: t.Callable[[float], None]) -> None:
        with pytest.raises(ca.CaError, match="There is no CA in"), ca.lock(home, sleep=sleep):
            assert home.lock.exists()
            ca.check_exists(home)

    while_it_is_removed(home, use)
    with pytest.raises(ca.CaError, match="There is no CA in"):
        sign(home)


def test_whoever_waited_to_make_a_ca_makes_a_whole_one(home: ca.Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(sleep: t.Callable[[float], None]) -> None:
        monkeypatch.setattr(ca, "lock", functools.partial(ca.lock, sleep=sleep))  # in that process
        create.ensure(home, "", NEW)

    while_it_is_removed(home, make)
    assert inspect.gather(home, "")["complete"]
    assert home.lock.exists()


def test_a_kill_at_any_moment_is_ended_by_the_next_run(begun: Path, tmp_path: Path) -> None:
    def prepare(step: int) -> ca.Directory:
        return ca.Directory(shutil.copytree(begun, tmp_path / f"killed-{step}/.bulkhead/ca"))

    for home in death.killed(prepare, removal.remove):
        assert home.lock.exists() or not removal._present(home)
        removal.remove(home)
        assert not home.path.exists()
