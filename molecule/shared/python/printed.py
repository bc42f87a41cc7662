"""What a command has printed, so that sentences are found in it on every core."""

from __future__ import annotations

import subprocess


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a command printed, on one line: Ansible's releases differ in order, lines and quotes."""
    return " ".join((done.stdout + done.stderr).replace("''", "'").split())
