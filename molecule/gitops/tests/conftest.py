"""The engines of the lab, and the clone of the repository that they pull."""

from __future__ import annotations

import typing as t

import pytest
from pulling import SERVER, Engines, Repository


@pytest.fixture(scope="session")
def engines(lab: t.Any) -> Engines:
    return Engines(lab)


@pytest.fixture(scope="session")
def repository(lab: t.Any) -> Repository:
    ssh = f"ssh -F /dev/null -i {lab.folder}/push -o IdentitiesOnly=yes -o UserKnownHostsFile={lab.folder}/known_hosts"
    clone = Repository(lab.folder / "work", lab.folder, GIT_SSH_COMMAND=ssh)
    clone.git("remote", "add", "origin", f"ssh://git@{lab.address(SERVER)}/srv/git/deploy.git")
    if clone.git("ls-remote", "origin", "main"):  # from an earlier run of these tests
        clone.git("fetch", "--quiet", "origin", "main")
        clone.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    return clone
