"""Somebody who has an account: `ssh` and `docker` as they use it, with a key and nothing else."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any


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


@dataclasses.dataclass(frozen=True)
class Done:
    """What one run of the scenario's playbook came to on one host."""

    changed: int
    failed: int
    said: str
    warnings: str


Converge = Callable[..., Done]


Sign = Callable[[str, str], pathlib.Path]
