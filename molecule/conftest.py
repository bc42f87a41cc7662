"""What the scenarios' tests share: the lab as the control node sees it."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml
from printed import said

ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Lab:
    """One scenario's lab; its control node has a home of its own, so that nobody's contexts are touched."""

    name: str

    @property
    def folder(self) -> pathlib.Path:
        return ROOT / ".lab" / self.name

    @property
    def home(self) -> pathlib.Path:
        return self.folder / "home"

    @property
    def identity(self) -> pathlib.Path:
        return self.home / ".bulkhead/identities/admin"

    @property
    def inventory(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load((self.folder / "inventory.yml").read_text(encoding="utf-8"))
        return content

    @property
    def engines(self) -> list[str]:
        return sorted(self.inventory["docker_engines"]["hosts"])

    def address(self, host: str) -> str:
        return str(self.inventory["lab"]["hosts"][host]["ansible_host"])

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of the developer's own Docker settings, and the HOME of the lab's control node."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return kept | {"HOME": str(self.home)} | more

    def run(self, *command: str, timeout: float = 120, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def docker(self, *arguments: str, **more: str) -> str:
        """The docker CLI on the control node; it has to succeed."""
        done = self.run("docker", *arguments, **more)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def playbook(self, *arguments: str, timeout: float = 600, **more: str) -> subprocess.CompletedProcess[str]:
        """ansible-playbook with the scenario's own settings, which Molecule has put into the environment."""
        return self.run(*self.playbook_command(*arguments), timeout=timeout, **more)

    def playbook_command(self, *arguments: str) -> list[str]:
        """With niceness, for tests measure engines, and a real control node takes no processor time from them."""
        program = str(pathlib.Path(sys.executable).parent / "ansible-playbook")
        return ["nice", "-n", "10", program, "-i", str(self.folder / "inventory.yml"), *arguments]

    said = staticmethod(said)

    def executions(self, playbook: str) -> list[dict[str, Any]]:
        """What the callback `executions` wrote down, one entry for each run of that playbook."""
        lines = (self.folder / "executions.jsonl").read_text(encoding="utf-8").splitlines()
        return [record for record in map(json.loads, lines) if record["playbook"] == playbook]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with the mark `slow` run in `make test-all` alone, and there those with `only_on` on each host.

    `only_on` is for tests with the fixture `host`. A run of pytest that is left without a test fails.
    """
    if not os.environ.get("TEST_ALL"):
        left_out = [item for item in items if not _wanted(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _wanted(item: Any) -> bool:
    if item.get_closest_marker("slow"):
        return False
    mark = item.get_closest_marker("only_on")
    return not mark or item.callspec.params["_testinfra_host"].backend.hostname in mark.args


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab(os.environ["MOLECULE_SCENARIO_NAME"])
