"""The unit that undoes an unconfirmed change when the host starts, as systemd understands it."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import sshd_restore
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import access as _access
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from helpers.ssh_engine import Engine, desired

SOCKET = "[Unit]\nDescription=SSH\n[Socket]\nListenStream=2222\nService=ssh.service\n"
SERVICE = "[Unit]\nDescription=SSH\nAfter=network.target\n[Service]\nExecStart=/bin/true\n"


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in _commit.boot_unit([_sshd.DROP_IN, _sshd.CONFIG]).splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name] = [*found.get(name, []), *value.split()]
    return found


def test_the_unit_comes_before_sshd_and_waits_for_nothing_that_waits_for_sockets() -> None:
    found = unit()
    assert found["DefaultDependencies"] == ["no"]
    assert found["After"] == ["local-fs.target", "systemd-journald-dev-log.socket"]
    assert found["Before"] == ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket", "shutdown.target"]
    assert found["Conflicts"] == ["shutdown.target"]
    assert {"/etc/ssh", "/etc/ssh/sshd_config.d", "/var/lib/bulkhead/sshd"} <= set(found["RequiresMountsFor"])


def test_systemd_finds_no_cycle_where_sshd_has_a_socket(tmp_path: pathlib.Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    wants = (tmp_path / "multi-user.target.wants", tmp_path / "sockets.target.wants")
    for folder in wants:
        folder.mkdir()
    for name, text in (("ssh.socket", SOCKET), ("ssh.service", SERVICE), ("sshd.service", SERVICE)):
        (tmp_path / name).write_text(text, encoding="ascii")
    for folder, name in (
        *((wants[0], x) for x in ("ssh.service", sshd_restore.BOOT_UNIT.name)),
        (wants[1], "ssh.socket"),
    ):
        (folder / name).symlink_to(tmp_path / name)

    def verified(text: str) -> str:
        (tmp_path / sshd_restore.BOOT_UNIT.name).write_text(text, encoding="utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "multi-user.target"],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    own = _commit.boot_unit([_sshd.DROP_IN, _sshd.CONFIG])
    said = verified(own)
    assert "cycle" not in said
    assert sshd_restore.BOOT_UNIT.name not in said
    assert "cycle" in verified(own.replace("DefaultDependencies=no\n", ""))


def test_timer_and_unit_start_the_python_that_lasts_and_not_the_one_that_runs_this(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(sys, "executable", "/srv/venv/bin/python")
    monkeypatch.setattr(_ssh_files.shutil, "which", lambda name, path: "/usr/bin/python3")
    run = engine.system_command
    monkeypatch.setattr(
        _commit.subprocess, "run", lambda command, **more: (commands.append(" ".join(command)), run(command, **more))[1]
    )
    _access.run(desired(), over_ssh=True)
    started = [command for command in commands if command.startswith("systemd-run")]
    assert len(started) == 2
    for text in (*started, sshd_restore.BOOT_UNIT.read_text(encoding="utf-8")):
        assert "/usr/bin/python3 -IS" in text
        assert "/srv/venv" not in text


def test_words_that_systemd_would_read_otherwise_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ssh_files, "python", lambda: "/srv/my %venv/bin/python")
    text = _commit.boot_unit([_sshd.CONFIG])
    assert 'ExecStart="/srv/my %%venv/bin/python" -IS ' in text
    assert re.search(r'^RequiresMountsFor=.* "/srv/my %%venv/bin"', text, re.MULTILINE)


def test_what_a_reboot_needs_is_on_the_disk_before_the_first_file_changes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[pathlib.Path] = []
    monkeypatch.setattr(_files, "sync_folder", synced.append)
    begin = _files.Target.swap
    before: list[set[pathlib.Path]] = []

    def swap(target: _files.Target) -> None:
        if target.path == _sshd.DROP_IN:
            before.append(set(synced))
        begin(target)

    monkeypatch.setattr(_files.Target, "swap", swap)
    _access.run(desired(), over_ssh=True)
    folders = {sshd_restore.BOOT_UNIT.parent, sshd_restore.BOOT_LINK.parent, _sshd.DROP_IN.parent, _commit.FOLDER}
    assert folders <= before[0]
    assert _commit.FOLDER.parent in before[0]
