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

# Seconds from one question to the next. The CLI is a process of its own each time, and a client that takes much of the
# machine makes the restart that it measures longer. Whoever got no answer asks again soon, to see when there is one.
PAUSE = {"cli": 0.5, "library": 0.2}
PAUSE_WITHOUT_ANSWER = 0.1
# What a client says whose certificate, or whose idea of the engine's, is refused. A restart looks otherwise.
REFUSAL = re.compile(r"certificate|x509|verif|alert|handshake fail|unknown authority|private key", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Gap:
    """From the begin of the first question without an answer to the end of the next one that had an answer."""

    client: str
    engine: str
    begin: float
    end: float
    says: frozenset[str]

    @property
    def seconds(self) -> float:
        return self.end - self.begin

    def __str__(self) -> str:
        return f"{self.client} {self.engine} {self.seconds:.2f} s"

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
            (self._ask, (way.__name__, way, engine)) for engine in engines for way in (self.cli, self.library)
        )

    def outages(self) -> list[Gap]:
        """One for each time that an engine was away: the shortest gap that a client has seen then.

        Each is as long as the outage at least, and longer by what a client waits before it asks again and by its own
        time for an answer.
        """
        found: list[list[Gap]] = []
        for gap in sorted(self.gaps, key=lambda gap: (gap.engine, gap.begin)):
            if found and found[-1][0].engine == gap.engine and gap.begin < max(one.end for one in found[-1]):
                found[-1].append(gap)
            else:
                found.append([gap])
        return [min(gaps, key=lambda gap: gap.seconds) for gaps in found]

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
                self.gaps.append(Gap(name, engine, since, time.monotonic(), frozenset(says)))
                since, says = 0.0, set()
            pause = PAUSE_WITHOUT_ANSWER if problem else PAUSE[name]
            self._end.wait(max(0.0, pause - (time.monotonic() - begin)))
        if since:
            self.gaps.append(Gap(name, engine, since, time.monotonic(), frozenset(says)))
