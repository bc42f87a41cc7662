"""sshd's configuration: where a drop-in would be read, and who is kept out."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd


@pytest.fixture
def drop_in(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in ("10-a.conf", "50-b.conf"):
        (tmp_path / name).touch()
    path = tmp_path / "00-docker-ssh.conf"
    monkeypatch.setattr(_sshd, "DROP_IN", path)
    return path


def test_a_candidate_reads_the_drop_in_where_sshd_will(drop_in: pathlib.Path) -> None:
    folder = drop_in.parent
    text = f"# Include {folder}/*.conf\nPort 22\ninclude = {folder}/*.conf # all\nMatch all\n"
    assert _sshd.includes_drop_in(text)
    expected = f"Include /new {folder}/10-a.conf {folder}/50-b.conf"
    assert _sshd.staged(text, pathlib.Path("/new")).splitlines()[1:] == ["Port 22", expected, "Match all"]
    assert _sshd.staged(text, None).splitlines()[2] == f"Include {folder}/10-a.conf {folder}/50-b.conf"


@pytest.mark.parametrize("pattern", ["{folder}/9*.conf", "{folder}/*.cfg", "sshd_config.d/*.conf"])
def test_a_line_that_reads_other_files_is_none_of_ours(drop_in: pathlib.Path, pattern: str) -> None:
    assert not _sshd.includes_drop_in(f"Include {pattern.format(folder=drop_in.parent)}\n")


def test_without_other_files_there_is_no_empty_include(drop_in: pathlib.Path) -> None:
    assert _sshd.staged(f"Include {drop_in}\nPort 22\n", None) == "\nPort 22\n"


@pytest.mark.parametrize(
    ("settings", "keyword"),
    [
        ({}, ""),
        ({"allowusers": ("ops", "alice@192.0.2.*")}, ""),
        ({"allowusers": ("ops", "bob")}, "AllowUsers"),
        ({"allowusers": ("a*",)}, ""),
        ({"allowusers": ("*", "!alice")}, "AllowUsers"),
        ({"denyusers": ("al?ce",)}, "DenyUsers"),
        ({"denyusers": ("alice",), "allowusers": ("alice",)}, "DenyUsers"),
        ({"allowgroups": ("staff docker-ssh",)}, ""),
        ({"allowgroups": ("staff",)}, "AllowGroups"),
        ({"denygroups": ("docker-*",)}, "DenyGroups"),
    ],
)
def test_lists_of_users_and_groups_are_read_as_sshd_reads_them(
    settings: dict[str, tuple[str, ...]], keyword: str
) -> None:
    assert _sshd.refusing_list(settings, "alice", ["docker-ssh"]) == keyword
