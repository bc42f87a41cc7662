"""Runs a play against hosts that are directories of this machine, several cases at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
BYTECODE = ROOT / ".cache/bytecode"
ON_THE_CONTROL_NODE = {
    f"ansible.builtin.{name}"
    for name in ("assert", "include_role", "include_tasks", "set_fact", "validate_argument_spec")
} | {"bulkhead.docker.docker_client_plan"}


@dataclass(frozen=True)
class Outcome:
    """What one host made of the play."""

    changed: int
    failed: int
    message: str
    tasks: dict[str, dict[str, Any]]

    @property
    def executions(self) -> list[str]:
        """The tasks that ran a module on the host."""
        ran = {name: result["action"] for name, result in self.tasks.items() if not result.get("skipped")}
        return [name for name, action in ran.items() if action not in ON_THE_CONTROL_NODE]


Hosts = dict[str, dict[str, Any]]
Play = Callable[..., dict[str, Outcome]]


def run_play(directory: Path, hosts: Hosts, tasks: list[dict[str, Any]], *arguments: str) -> dict[str, Outcome]:
    BYTECODE.mkdir(parents=True, exist_ok=True)
    shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (directory / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": shared}}))
    (directory / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "inventory.yml", "play.yml", *arguments],
        cwd=directory,
        env={"ANSIBLE_HOME": str(ROOT / ".ansible")}
        | os.environ
        | {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "HOME": str(directory / "home"),
            "PYTHONPATH": str(ROOT / "tests/unit/helpers/bytecode"),
            "TEST_BYTECODE": str(BYTECODE),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    report = json.loads(done.stdout)
    outcomes = {}
    for host, stats in report["stats"].items():
        results = {
            task["task"]["name"].split(" : ")[-1]: task["hosts"][host]
            for task in report["plays"][0]["tasks"]
            if host in task["hosts"]
        }
        # A failure that was ignored comes before the one that counts.
        refusals = [r.get("msg", "") for r in results.values() if r.get("failed") or r.get("unreachable")]
        refusal = refusals[-1] if refusals else ""
        outcomes[host] = Outcome(stats["changed"], stats["failures"] + stats["unreachable"], refusal, results)
    return outcomes


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs tasks on hosts in the test's own directory: play(hosts, tasks, "--check")."""
    return partial(run_play, tmp_path)


@pytest.fixture(scope="module")
def module_play(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Play]:
    """The same in one directory for a whole module: a few wide plays for all its tests cost less than many."""
    directory = tmp_path_factory.mktemp("plays")
    return directory, partial(run_play, directory)
