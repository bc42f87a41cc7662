"""Somebody who has an account: `ssh` and `docker` as they use it, with a key and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host


@dataclasses.dataclass(frozen=True)
class Person:
    """A key, perhaps with a certificate, and an account that it is tried on."""

    lab: Any
    account: str
    key: str
    certificate: pathlib.Path | None = None

    def ssh(self, engine: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """An ssh command line that reads nobody's configuration."""
        settings = {
            "UserKnownHostsFile": self.lab.folder / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "IdentityFile": self.lab.folder / self.key,
            "CertificateFile": self.certificate or "none",
            "User": self.account,
            "ConnectTimeout": 60,
        }
        given = [f"-o{name}={value}" for name, value in settings.items()]
        return ["ssh", "-F", "none", *given, *options, self.lab.address(engine), *words]

    def asks(
        self, engine: str, *words: str, options: tuple[str, ...] = (), stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.ssh(engine, *words, options=options),
            env=os.environ | more,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )

    def gets_in(self, engine: str) -> bool:
        """Whether the Docker API answers."""
        request = b"GET /_ping HTTP/1.0\r\n\r\n"
        return b"200 OK" in self.asks(engine, "docker", "system", "dial-stdio", stdin=request).stdout

    def environment(self, engine: str) -> dict[str, str]:
        """For Docker clients, which start whatever `ssh` they find, and give it a host and a command."""
        folder = self.lab.folder / f"bin-{engine}"
        folder.mkdir(exist_ok=True)
        command = " ".join(self.ssh(engine)[:-1])
        (folder / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/{command} "$@"\n', encoding="utf-8")
        (folder / "ssh").chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}", "DOCKER_HOST": f"ssh://{self.lab.address(engine)}"}


@pytest.fixture
def name(host: Host) -> str:
    return str(host.backend.hostname)


@pytest.fixture(scope="session")
def alice(lab: Any) -> Person:
    return Person(lab, "docker-alice", "alice")


@dataclasses.dataclass(frozen=True)
class Done:
    """What one run of the scenario's playbook came to on one host."""

    changed: int
    failed: int
    said: str
    warnings: str


Converge = Callable[..., Done]


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
        result = report["plays"][0]["tasks"][-1]["hosts"][name]
        stats = report["stats"][name]
        return Done(
            changed=stats["changed"],
            failed=stats["failures"] + stats["unreachable"],
            said=str(result.get("msg", "")),
            warnings=str(result.get("warnings", "")),
        )

    return run


Sign = Callable[[str, str], pathlib.Path]


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
