"""What puts sshd's previous configuration back, by itself on the engine."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import sshd_restore
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    state = tmp_path / "bulkhead/sshd"
    state.mkdir(parents=True)
    for name, path in (
        ("JOURNAL", state / "journal.json"),
        ("CLAIMED", state / "journal.claimed"),
        ("PROGRAM", state / "restore.py"),
        ("BOOT_UNIT", tmp_path / "boot.service"),
        ("BOOT_LINK", tmp_path / "boot.link"),
    ):
        monkeypatch.setattr(sshd_restore, name, path)
        path.touch()
    (tmp_path / "boot.link").unlink()
    (tmp_path / "boot.link").symlink_to("boot.service")
    sshd_restore.CLAIMED.unlink()
    return tmp_path


def write(folder: pathlib.Path, *reload: str) -> None:
    """A change of one file, and one more file that was not there."""
    for name, text in (("conf", "new"), (".conf.old", "old"), (".conf.new", "new"), ("added", "new")):
        (folder / name).write_text(text, encoding="utf-8")
    files = [
        {"path": f"{folder}/conf", "old": f"{folder}/.conf.old", "new": f"{folder}/.conf.new", "existed": True},
        {"path": f"{folder}/added", "old": f"{folder}/.added.old", "new": f"{folder}/.added.new", "existed": False},
    ]
    journal: dict[str, t.Any] = {"files": files, "reload": list(reload)}
    sshd_restore.JOURNAL.write_text(json.dumps(journal), encoding="utf-8")


def assert_restored(folder: pathlib.Path) -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {"conf": "old"}


def test_the_timer_restores_and_tells_sshd(folder: pathlib.Path) -> None:
    told = folder / "told"
    write(folder, sys.executable, "-c", f"open('{told}', 'w')")
    assert sshd_restore.main([]) == 0
    told.unlink()
    assert_restored(folder)
    assert sshd_restore.main([]) == 0, "nothing is left to do"


def test_a_change_is_open_until_it_is_kept_or_undone(folder: pathlib.Path) -> None:
    write(folder)
    assert commit.is_open()
    sshd_restore.claim()
    assert not sshd_restore.JOURNAL.exists()
    assert commit.is_open(), "whoever has claimed it may have been killed"
    sshd_restore.CLAIMED.unlink()
    assert not commit.is_open()


def test_after_a_reboot_sshd_is_not_running_yet_and_not_told(folder: pathlib.Path) -> None:
    write(folder, "false")
    assert sshd_restore.main([sshd_restore.AT_BOOT]) == 0
    assert_restored(folder)


def test_the_files_are_on_the_disk_before_the_journal_goes(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder)
    synced: list[bool] = []
    monkeypatch.setattr(sshd_restore.os, "fsync", lambda descriptor: synced.append(sshd_restore.CLAIMED.exists()))
    assert sshd_restore.main([]) == 0
    assert synced == [True, True]


def test_an_sshd_for_each_connection_is_not_told(folder: pathlib.Path) -> None:
    write(folder)
    assert sshd_restore.main([]) == 0
    assert_restored(folder)


def test_one_that_was_claimed_and_killed_is_taken_up_again(folder: pathlib.Path) -> None:
    write(folder, "true")
    assert sshd_restore.claim() is not None
    (folder / "conf").write_text("old", encoding="utf-8")
    (folder / ".conf.old").unlink()
    assert sshd_restore.main([]) == 0
    assert_restored(folder)


def test_a_confirmation_that_came_first_leaves_nothing_to_restore(folder: pathlib.Path) -> None:
    write(folder, "false")
    assert sshd_restore.claim() is not None
    sshd_restore.CLAIMED.unlink()
    assert sshd_restore.main([]) == 0
    assert (folder / "conf").read_text(encoding="utf-8") == "new"
