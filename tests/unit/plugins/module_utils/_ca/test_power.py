"""A loss of power leaves what a kill would leave: each change is on the disk before the next one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
    create,
    passphrase,
    revocation,
    rotation,
    signing,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from helpers import authority, power

NEW = create.Wanted("bulkhead.docker CA", "P-256", 3072, 3650)


@pytest.fixture
def home(tmp_path: Path) -> ca.Directory:
    return ca.Directory(tmp_path / "deep/below/ca")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> power.Disk:
    return power.Disk(monkeypatch)


def test_a_whole_life(home: ca.Directory, disk: power.Disk) -> None:
    create.ensure(home, "", NEW)
    disk.assert_sure(8)
    shutil.rmtree(home.issued)
    signing.sign(home, "", [signing.Request(name, "client", (), 5, authority.request()) for name in ("a", "b")])
    disk.assert_sure(11)
    revocation.revoke(home, "", "a")
    disk.assert_sure(14)
    revocation.revoke(home, "", "ssh-only")
    disk.assert_sure(15)
    disk.synced.clear()
    revocation.revoke(home, "", "a", is_revoked=False)
    assert disk.synced == [home.revoked]
    create.ensure_successor(home, "", NEW)
    disk.assert_sure(20)
    for step in ("trust", "reissue", "retire", "done"):
        rotation.advance(home, step)
        disk.assert_sure(21)
    passphrase.change(home, "another secret", "")
    disk.assert_sure(37)
