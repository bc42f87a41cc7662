"""Many requests at once: none fails, and nobody is shut out afterwards.

One round takes a few seconds. SSH_LOAD_ROUNDS=50 asks for more of them, which find what happens seldom.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest
from helpers.slow import slow
from testinfra.host import Host

AT_ONCE = 40
ROUNDS = int(os.environ.get("SSH_LOAD_ROUNDS", "1"))
ENGINES = [slow("d11"), slow("d12"), slow("d13"), "dt"]
# What failed is told by its number and the last line of what it said. The limit is for a command that never ends.
ROUND = """
seq {count} | xargs -P {count} -I @ sh -c \
  'said=$(timeout 300 docker {where} ps --quiet 2>&1 >/dev/null) || echo "@: $(echo "$said" | tail -n 1)"'
"""


def failures(host: Host, where: str) -> list[str]:
    return list(host.check_output(ROUND.format(count=AT_ONCE, where=where)).splitlines())


@pytest.mark.parametrize("engine", ENGINES)
def test_many_commands_at_once_never_fail(lab: Any, host: Host, engine: str) -> None:
    """From a cold start, where each would like to be the one that connects, and with a connection that is there."""
    address = lab.address(engine)
    for number in range(1, ROUNDS + 1):
        host.run(f"ssh -O exit -l docker-admin {address}; true")  # testinfra takes 255 for a failure of its own
        assert failures(host, f"--context {engine}-ssh") == [], f"cold, in round {number}"
        assert failures(host, f"--context {engine}-ssh") == [], f"warm, in round {number}"
    assert can_still_log_in(lab, engine)
    assert_nothing_is_left(lab, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_many_connections_at_once_never_fail(lab: Any, host: Host, engine: str) -> None:
    """As of a client that shares no connection."""
    settings = f"Host {lab.address(engine)}\n  ControlMaster no\n  ControlPath none\n"
    host.check_output(f"printf '{settings}' >~/.bulkhead/ssh/a.config")
    try:
        for number in range(1, ROUNDS + 1):
            assert failures(host, f"--context {engine}-ssh") == [], f"in round {number}"
    finally:
        host.check_output("rm ~/.bulkhead/ssh/a.config")
    assert can_still_log_in(lab, engine)
    assert_nothing_is_left(lab, engine)


def assert_nothing_is_left(lab: Any, engine: str) -> None:
    """No request hangs in the gate."""
    on_engine = Host.get_host(f"ansible://{engine}?ansible_inventory={lab.folder / 'inventory.yml'}")
    end = time.monotonic() + 60
    while on_engine.run("pgrep -f [d]ocker-ssh-gate").rc == 0:
        assert time.monotonic() < end, on_engine.check_output("ps -ef")
        time.sleep(0.5)


def can_still_log_in(lab: Any, engine: str) -> bool:
    """Ansible, through a connection of its own."""
    known = f"-oUserKnownHostsFile={lab.folder / 'known_hosts'}"
    command = ["ssh", "-F", "none", "-i", str(lab.folder / "id_ed25519"), known, "-oControlPath=none"]
    done = subprocess.run([*command, f"ops@{lab.address(engine)}", "true"], capture_output=True, check=False)
    return done.returncode == 0
