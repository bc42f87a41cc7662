"""An engine of the lab whose socket a recording daemon has for a while, in the place of dockerd."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
import typing as t

from helpers import recording_daemon

if t.TYPE_CHECKING:
    from conftest import Lab

SOCKET, ASIDE = "/run/docker.sock", "/run/docker.sock.aside"


@contextlib.contextmanager
def recorded(lab: Lab, engine: str) -> t.Iterator[dict[str, t.Any]]:
    """dockerd gives its socket to the recording daemon; what has reached that is there at the end of the block."""
    found: dict[str, t.Any] = {}
    program = pathlib.Path(recording_daemon.__file__)
    container = f"bulkhead-{lab.name}-{engine}"
    lab.docker("--context", "default", "cp", "--quiet", str(program), f"{container}:/root/recording_daemon.py")
    unit = f"recording{time.time_ns()}"
    on(lab, engine, "mv", SOCKET, ASIDE)
    try:
        on(lab, engine, "rm", "-f", "/root/record.json")
        run = ("/usr/bin/python3", "/root/recording_daemon.py", SOCKET, "/root/record.json")
        on(lab, engine, "systemd-run", "--quiet", "--unit", unit, *run)
        on(lab, engine, "timeout", "20", "sh", "-c", f"until [ -S {SOCKET} ]; do sleep 0.05; done")
        yield found
        on(lab, engine, "systemctl", "stop", unit)
        found |= json.loads(on(lab, engine, "cat", "/root/record.json"))
    finally:
        on(lab, engine, "mv", ASIDE, SOCKET)


def on(lab: Lab, engine: str, *command: str) -> str:
    """As root on the engine's host, past every gateway."""
    return lab.docker("--context", "default", "exec", f"bulkhead-{lab.name}-{engine}", *command)
