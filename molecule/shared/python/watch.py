"""Clients that ask every engine five times a second, and write down when they get no answer."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess
import time
import typing as t

import docker
from background import Background

PAUSE = 0.2
# What a client says whose certificate, or whose idea of the engine's, is refused. A restart looks otherwise.
REFUSAL = re.compile(r"certificate|x509|verif|alert|handshake fail|unknown authority|private key", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Gap:
    """A time without an answer."""

    client: str
    seconds: float
    says: frozenset[str]

    @property
    def refused(self) -> bool:
        return any(REFUSAL.search(text) for text in self.says)


class Watch(Background):
    """Asks until its block ends."""

    def __init__(self, lab: t.Any, identity: str, engines: t.Sequence[str]) -> None:
        self.lab, self.identity = lab, identity
        self.gaps: list[Gap] = []
        self.asked = 0
        super().__init__(
            (self._ask, (f"{way.__name__} {engine}", way, engine))
            for engine in engines
            for way in (self.cli, self.library)
        )

    def cli(self, engine: str) -> str:
        """What went wrong; empty where the engine answered."""
        context = f"{engine}-{self.identity}"
        done = subprocess.run(
            ["docker", "--context", context, "version"],
            env=self.lab.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.stderr if done.returncode else ""

    def library(self, engine: str) -> str:
        folder: pathlib.Path = self.lab.home / ".bulkhead/identities" / self.identity
        try:
            tls = docker.tls.TLSConfig(
                client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
                ca_cert=str(folder / "ca.pem"),
                verify=True,
            )
            client = docker.DockerClient(base_url=f"tcp://{self.lab.address(engine)}:2376", tls=tls, timeout=10)
            try:
                client.version()
            finally:
                client.close()
        except (docker.errors.DockerException, OSError) as error:
            return str(error)
        return ""

    def _ask(self, name: str, way: t.Callable[[str], str], engine: str) -> None:
        since, says = 0.0, set()
        while not self._end.is_set():
            begin = time.monotonic()
            problem = way(engine)
            self.asked += 1
            if problem:
                since, says = since or begin, says | {problem}
            elif since:
                self.gaps.append(Gap(name, time.monotonic() - since, frozenset(says)))
                since, says = 0.0, set()
            self._end.wait(max(0.0, PAUSE - (time.monotonic() - begin)))
        if since:
            self.gaps.append(Gap(name, time.monotonic() - since, frozenset(says)))
