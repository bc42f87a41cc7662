"""Files that change together, on a real file system."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import stat
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _files


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def content_of(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextlib.contextmanager
def full_disk() -> t.Iterator[None]:
    """No file may grow by a byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def existing(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "daemon.json"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


def test_a_file_is_written_with_its_mode_whatever_the_umask(tmp_path: pathlib.Path) -> None:
    """B07."""
    before = os.umask(0o077)
    try:
        _files.write(tmp_path / "cert.pem", b"public", 0o444)
        os.umask(0)
        _files.write(tmp_path / "key.pem", b"private", 0o400)
    finally:
        os.umask(before)
    assert content_of(tmp_path) == {"cert.pem": b"public", "key.pem": b"private"}
    assert (mode(tmp_path / "cert.pem"), mode(tmp_path / "key.pem")) == (0o444, 0o400)


def test_nobody_else_can_read_a_file_while_it_is_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, seen = tmp_path / "key.pem", os.fchmod, []

    def fchmod(descriptor: int, file_mode: int) -> None:
        seen.append((mode(path), path.read_bytes()))
        real(descriptor, file_mode)

    monkeypatch.setattr(os, "fchmod", fchmod)
    before = os.umask(0)
    try:
        _files.write(path, b"private", 0o444)
    finally:
        os.umask(before)
    assert seen == [(0o600, b"private")]
    assert mode(path) == 0o444


def test_a_file_is_replaced_in_one_step(existing: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(name: str, real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(*args: t.Any) -> t.Any:
            steps.append(f"{name}: {existing.read_text()}")
            return real(*args)

        return call

    monkeypatch.setattr(os, "fsync", noted("fsync", os.fsync))
    monkeypatch.setattr(pathlib.Path, "replace", noted("replace", pathlib.Path.replace))
    _files.replace(existing, b"new", 0o600)
    assert steps == ["fsync: old", "replace: old", "fsync: new"]  # the file, then its folder
    assert content_of(existing.parent) == {"daemon.json": b"new"}
    assert mode(existing) == 0o600


def test_folders_are_made_with_their_mode_whatever_the_umask(tmp_path: pathlib.Path) -> None:
    """B07."""
    (tmp_path / "mine").mkdir(0o700)
    before = os.umask(0o077)
    try:
        _files.make_folder(tmp_path / "mine" / "one" / "two")
        _files.make_folder(tmp_path / "mine" / "one" / "two", 0o700)
    finally:
        os.umask(before)
    assert [mode(tmp_path / path) for path in ("mine", "mine/one", "mine/one/two")] == [0o700, 0o755, 0o755]


def test_writing_replaces_a_link_and_not_what_it_points_to(tmp_path: pathlib.Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"untouched")
    link.symlink_to(victim)
    _files.write(link, b"new", 0o600)
    assert not link.is_symlink()
    assert content_of(tmp_path) == {"victim": b"untouched", "link": b"new"}


def test_what_differs(existing: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert _files.Target(existing, b"new", 0o640).differs()
    assert _files.Target(existing, b"old", 0o644).differs()
    assert _files.Target(existing, None).differs()
    assert _files.Target(tmp_path / "none", b"").differs()
    assert not _files.Target(tmp_path / "none", None).differs()


@pytest.mark.skipif(os.geteuid() != 0, reason="files of an engine belong to root")
def test_what_does_not_differ(existing: pathlib.Path) -> None:
    assert not _files.Target(existing, b"old", 0o640).differs()


def test_staging_leaves_the_file_alone(existing: pathlib.Path) -> None:
    target = _files.Target(existing, b"new", 0o600)
    target.stage()
    assert (existing.read_bytes(), mode(existing)) == (b"old", 0o640)
    assert (target.new.read_bytes(), mode(target.new)) == (b"new", 0o600)
    assert target.old.samefile(existing)


def test_a_swap_and_the_way_back(existing: pathlib.Path) -> None:
    inode = existing.stat().st_ino
    target = _files.Target(existing, b"new", 0o600)
    target.stage()
    target.swap()
    assert (existing.read_bytes(), mode(existing)) == (b"new", 0o600)
    _files.restore(existing, True, target.old)
    assert (existing.read_bytes(), mode(existing), existing.stat().st_ino) == (b"old", 0o640, inode)


def test_both_directions_can_be_repeated(existing: pathlib.Path) -> None:
    # A change that was interrupted anywhere is undone from the start.
    target = _files.Target(existing, b"new")
    for _ in range(2):
        target.stage()
        target.swap()
        target.swap()
        assert existing.read_bytes() == b"new"
        _files.restore(existing, True, target.old)
        _files.restore(existing, True, target.old)
        assert existing.read_bytes() == b"old"


def test_a_file_that_was_not_there(tmp_path: pathlib.Path) -> None:
    target = _files.Target(tmp_path / "docker.service.d" / "bulkhead.conf", b"[Service]\n")
    target.stage()
    assert not target.path.exists()
    target.swap()
    assert target.path.read_bytes() == b"[Service]\n"
    _files.restore(target.path, False, target.old)
    assert not target.path.exists()


def test_a_file_that_shall_not_be_there(existing: pathlib.Path) -> None:
    target = _files.Target(existing, None)
    target.stage()
    target.swap()
    assert not existing.exists()
    _files.restore(existing, True, target.old)
    assert existing.read_bytes() == b"old"


def test_a_full_disk_stops_the_stage_and_changes_nothing(existing: pathlib.Path) -> None:
    with full_disk(), pytest.raises(OSError, match="File too large"):
        _files.Target(existing, b"new").stage()
    assert (existing.read_bytes(), mode(existing)) == (b"old", 0o640)


def test_a_full_disk_stops_neither_swap_nor_restore(existing: pathlib.Path) -> None:
    target = _files.Target(existing, b"new")
    target.stage()
    with full_disk():
        target.swap()
        assert existing.read_bytes() == b"new"
        _files.restore(existing, True, target.old)
        assert existing.read_bytes() == b"old"


def test_placing_a_file_where_it_is_already(existing: pathlib.Path, tmp_path: pathlib.Path) -> None:
    second = tmp_path / "second"
    os.link(existing, second)
    _files.place(second, existing)
    assert content_of(tmp_path) == {"daemon.json": b"old", "second": b"old"}


def test_a_diff_has_the_lines_that_change_and_no_other(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config"
    path.write_text("one\nsecret\ntwo\nsecret\nthree", encoding="utf-8")
    shown = _files.diff(_files.Target(path, b"ours\none\nsecret\n2\nsecret\nthree"))
    assert (shown["before"], shown["after"]) == ("two\n", "ours\n2\n")
    assert _files.diff(_files.Target(path, None))["before"] == "one\nsecret\ntwo\nsecret\nthree"
    assert _files.diff(_files.Target(path, b"x", secret=True))["after"] == (
        "(not shown)\n(other values, which are not shown)\n"
    )
