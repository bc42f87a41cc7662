"""Accounts as the host's files have them."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import processes as _processes
from helpers.ssh_engine import Engine, give, user

NOBODY = 64999  # a number that no account of a developer's machine has


def test_an_account_that_was_changed_is_mended(engine: Engine) -> None:
    give()
    account = engine.users["docker-alice"]
    for name, value in (("pw_dir", "/tmp"), ("password", "$6$x")):
        setattr(account, name, value)
        assert not _accounts.Accounts.gather().own["docker-alice"].sound
        assert give().changed
        assert _accounts.Accounts.gather().own["docker-alice"].sound
    assert give(user("docker-alice", comment="Alice")).changed
    assert account.pw_gecos == "Alice"
    assert not give(user("docker-alice", comment="Alice")).changed


def test_members_of_the_group_that_the_role_did_not_make_are_refused(engine: Engine) -> None:
    give()
    engine.users["docker-alice"].pw_shell = "/bin/bash"
    with pytest.raises(_accounts.AccountError, match="has members that the role did not make: docker-alice"):
        give()


def test_a_command_that_fails_says_what_it_was() -> None:
    with pytest.raises(_accounts.AccountError, match="'false' ended with code 1: no message"):
        _accounts._run("false")
    with pytest.raises(_accounts.AccountError, match="ended with code 1: cat: /nonexistent: No such file"):
        _accounts._run("cat", "/nonexistent")


@pytest.fixture
def process() -> t.Iterator[subprocess.Popen[bytes]]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    with subprocess.Popen(["sleep", "3600"], user=NOBODY, stdin=subprocess.DEVNULL) as started:
        yield started
        started.kill()


def test_what_runs_as_the_account_is_ended(process: subprocess.Popen[bytes]) -> None:
    account = _accounts.Account("docker-x", NOBODY, "", True)
    _accounts.end_processes(account)
    assert process.wait(timeout=60) == -9
    _accounts.end_processes(account)


def test_processes_that_do_not_end_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_accounts, "_running_as", lambda uid: [4194305])
    with pytest.raises(_accounts.AccountError, match="processes of docker-x do not end: 4194305"):
        _accounts.end_processes(_accounts.Account("docker-x", NOBODY, "", True), seconds=0)


def test_processes_of_containers_are_none_of_this_host_s(tmp_path: pathlib.Path) -> None:
    for name, namespace in (("self", "host"), ("1", "host"), ("2", "container"), ("x", "host")):
        folder = tmp_path / name
        (folder / "ns").mkdir(parents=True)
        (folder / "ns/pid").symlink_to(namespace)
        (folder / "root").symlink_to("/")
    other = tmp_path / "3"
    (other / "ns").mkdir(parents=True)
    (other / "ns/pid").symlink_to("host")
    (other / "root").symlink_to(tmp_path)
    (tmp_path / "4").mkdir()
    assert [entry.name for entry in _processes.of_this_host(tmp_path)] == ["1"]
