"""Runs a module as Ansible does: in a process of its own, with its options as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COLLECTIONS = Path(__file__).parents[4] / ".ansible/collections"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(tmp_path: Path) -> Run:
    def run(name: str, /, check: bool = False, env: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        done = subprocess.run(
            [sys.executable, "-m", f"ansible_collections.bulkhead.docker.plugins.modules.{name}"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            env={**inherited, "PYTHONPATH": str(COLLECTIONS), "HOME": str(tmp_path), **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        assert done.stdout.strip().startswith("{"), done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run
