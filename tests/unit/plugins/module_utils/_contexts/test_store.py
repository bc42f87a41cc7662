"""The store when a run is killed between two steps: no TLS endpoint without its files, and the next run ends it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import options, plan, store


class Killed(BaseException):
    """Nothing in the code under test may catch it."""


def context(host: str, identity: Any | None) -> options.Context:
    tls = (
        {} if identity is None else options.read_tls(str(identity.ca), str(identity.cert), str(identity.key), False)[0]
    )
    return options.Context("web1", host, tls)


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the store change so many names in the file system, and no more."""
    left = [steps]

    def counting(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return method(*args, **kwargs)

        return call

    for name in ("replace", "rename", "unlink"):
        monkeypatch.setattr(Path, name, counting(getattr(Path, name)))
    monkeypatch.setattr(store, "_remove_tree", counting(store._remove_tree))


def is_plain(here: store.Store) -> bool:
    """Whether a client would speak plain HTTP to a TCP endpoint, or check the server with the system's CAs."""
    try:
        meta = json.loads((here.meta_path("web1") / "meta.json").read_text())
    except FileNotFoundError:
        return False
    if not meta["Endpoints"]["docker"]["Host"].startswith("tcp"):
        return False
    return not all((here.tls_path("web1") / "docker" / name).exists() for name in ("ca.pem", "cert.pem", "key.pem"))


STATES = ["none", "tcp", "other", "ssh"]


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_killed_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identities: list[Any], before: str, after: str
) -> None:
    states = {
        "none": plan.Wanted(absent=("web1",)),
        "tcp": plan.Wanted((context("tcp://web1:2376", identities[0]),), current="web1"),
        "other": plan.Wanted((context("tcp://web2:2376", identities[1]),), current="web1"),
        "ssh": plan.Wanted((context("ssh://web1", None),), current="web1"),
    }
    for steps in range(30):
        here = store.Store(tmp_path / str(steps))
        plan.run(states[before], False, here)
        kill_after(monkeypatch, steps)
        try:
            plan.run(states[after], False, here)
        except Killed:
            ended = False
        else:
            ended = True
        monkeypatch.undo()
        assert not is_plain(here), f"after {steps} steps"
        plan.run(states[after], False, here)
        assert not plan.run(states[after], True, here).changed
        assert not here.leftovers()
        if after in ("none", "ssh"):
            assert not list(here.root.rglob("*.pem")), f"after {steps} steps"
        if ended:
            return
    pytest.fail("it never came to an end")


def test_a_lock_that_is_held_is_waited_for_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_LOCK_TIMEOUT", 0.1)
    here, wanted = store.Store(tmp_path), plan.Wanted((context("ssh://web1", None),))
    says = rf"the process {os.getpid()} \(.+\) has held .*\.bulkhead/lock for a minute"
    with here.locked(), pytest.raises(options.StoreError, match=says):
        plan.run(wanted, False, here)
    assert plan.run(wanted, False, here).changed
