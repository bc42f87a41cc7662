"""What the scenario's tests share: the people who have an account, and runs of the scenario's playbook on one host."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any

import pytest
from people import Converge, Done, Person, Sign
from testinfra.host import Host


@pytest.fixture
def name(host: Host) -> str:
    return str(host.backend.hostname)


@pytest.fixture(scope="session")
def alice(lab: Any) -> Person:
    return Person(lab, "docker-alice", "alice")


@pytest.fixture
def converge(lab: Any, name: str) -> Converge:
    """Run the scenario's playbook on this host, with other variables than its own."""

    def run(*arguments: str, **variables: Any) -> Done:
        playbook = str(pathlib.Path(__file__).parents[1] / "engines.yml")
        done = lab.playbook(
            *(playbook, "--limit", name, "--extra-vars", json.dumps(variables), *arguments),
            ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        )
        report = json.loads(done.stdout[done.stdout.index("{") :])
        results = [task["hosts"][name] for task in report["plays"][0]["tasks"] if name in task["hosts"]]
        stats = report["stats"][name]
        return Done(
            changed=stats["changed"],
            failed=stats["failures"] + stats["unreachable"],
            said=str(results[-1].get("msg", "")),
            warnings=" ".join(warning for result in results for warning in result.get("warnings", [])),
        )

    return run


@pytest.fixture(scope="session")
def sign(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Sign:
    """Have an SSH CA sign the key of bob for an hour."""

    def run(authority: str, principal: str) -> pathlib.Path:
        key = tmp_path_factory.mktemp("certificate") / "bob.pub"
        key.write_bytes((lab.folder / "bob.pub").read_bytes())
        command = ["ssh-keygen", "-q", "-s", str(lab.folder / authority), "-I", "bob", "-n", principal]
        subprocess.run([*command, "-V", "-5m:+1h", str(key)], check=True)
        return key.with_name("bob-cert.pub")

    return run


@pytest.fixture(scope="session")
def bob(lab: Any, sign: Sign) -> Person:
    """Has no key on any engine; a CA has signed it."""
    return Person(lab, "docker-bob", "bob", sign("ca", "bob@example.com"))
