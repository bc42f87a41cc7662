"""Engines that pull, and the repository that they pull from."""

from __future__ import annotations

import concurrent.futures
import http.client
import ipaddress
import json
import pathlib
import subprocess
import time
import typing as t

from asking import Requests
from signed import Clone

SERVER = "git"
COMPOSE = """
services:
  web:
    image: bulkhead/busybox
    command: [httpd, -f, -p, "8080", -h, /www]
    stop_signal: KILL
    restart: unless-stopped
    environment: {{SECRET: "${{WEB_SECRET}}"}}
    ports: ["8080:8080"]
    volumes: ["./www:/www:ro"]
    healthcheck:
      test: [CMD, wget, -q, -O, "-", "http://127.0.0.1:8080/{checked}"]
      interval: 1s
      retries: 5
"""
OTHER = """
services:
  other: {{image: bulkhead/busybox, command: [sleep, "{seconds}"], stop_signal: KILL, restart: always}}
"""


def web(version: str, checked: str = "version") -> dict[str, str | None]:
    """The project web; healthy where the file exists that is checked."""
    return {"web/compose.yaml": COMPOSE.format(checked=checked), "web/www/version": version}


def other(seconds: int) -> dict[str, str | None]:
    return {"apps/other/compose.yaml": OTHER.format(seconds=seconds)}


class Engines:
    """The engines of the lab, asked through the outer engine, so that they can be asked while they are down."""

    def __init__(self, lab: t.Any) -> None:
        self.lab = lab
        self.names = lab.engines

    def on(self, name: str, script: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = ["docker", "exec", f"bulkhead-{self.lab.name}-{name}", "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)

    def each(self, script: str) -> dict[str, str]:
        """What a script says on each; it has to succeed."""

        def ask(name: str) -> str:
            done = self.on(name, script)
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
            return done.stdout.strip()

        return self.all(ask)

    def all(self, work: t.Callable[[str], t.Any]) -> dict[str, t.Any]:
        with concurrent.futures.ThreadPoolExecutor(len(self.names)) as pool:
            return dict(zip(self.names, pool.map(work, self.names)))

    def same(self, value: t.Any) -> dict[str, t.Any]:
        return dict.fromkeys(self.names, value)

    def run(self) -> dict[str, bool]:
        """One run of the service on each, and whether all was well."""
        return self.all(lambda name: self.on(name, "systemctl start docker-gitops.service").returncode == 0)

    def state(self) -> dict[str, dict[str, t.Any]]:
        return {name: json.loads(text) for name, text in self.each("docker-gitops status --json").items()}

    def problem(self, project: str) -> dict[str, str]:
        found = {name: state["projects"][project] for name, state in self.state().items()}
        return {name: f"{entry['failure']} {entry['problem']}".strip() for name, entry in found.items()}

    def good(self, project: str) -> dict[str, str]:
        return {name: state["projects"][project]["good"]["commit"] for name, state in self.state().items()}

    def metric(self, name: str) -> dict[str, str]:
        return self.each(f"sed -n 's/^docker_gitops_{name} //p' /var/lib/node-exporter/docker_gitops.prom")

    def containers(self) -> dict[str, str]:
        return self.each("docker ps --all --no-trunc --format '{{.ID}} {{.Names}}' | sort")

    def address(self, name: str) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return str(self.lab.docker("inspect", "--format", form, f"bulkhead-{self.lab.name}-{name}"))

    def get(self, name: str) -> str:
        connection = http.client.HTTPConnection(self.address(name), 8080, timeout=10)
        try:
            connection.request("GET", "/version")
            return connection.getresponse().read().decode()
        except OSError as error:
            return f"no answer: {error}"
        finally:
            connection.close()

    def serve(self) -> dict[str, str]:
        return self.all(self.get)

    def requests(self) -> Requests:
        return Requests({name: self.address(name) for name in self.names}, "/version")

    def cut_power(self) -> None:
        """Off and on again; what the hosts do then, they do by themselves."""
        addresses = {name: ipaddress.ip_address(self.address(name)) for name in self.names}
        # Docker gives each that starts the lowest address that is free, so that each gets its own again.
        names = [f"bulkhead-{self.lab.name}-{name}" for name in sorted(addresses, key=addresses.__getitem__)]
        self.lab.docker("kill", "--signal", "KILL", *names)
        self.lab.docker("start", *names)
        assert {name: ipaddress.ip_address(self.address(name)) for name in self.names} == addresses
        for name in self.names:
            assert self.on(name, "lab-ready").returncode == 0

    def role(self, **variables: t.Any) -> None:
        """The role again, with other values, and no run by itself afterwards."""
        play = str(pathlib.Path(__file__).parents[2] / "gitops/engines.yml")
        done = self.lab.playbook(play, "-e", json.dumps(variables))
        assert done.returncode == 0, done.stdout + done.stderr
        self.stop_timer()

    def stop_timer(self) -> None:
        """And let a run end that it has started: a run that is asked for meanwhile would be that one."""
        state = "systemctl show --property ActiveState --value docker-gitops.service"
        self.each(f"systemctl stop docker-gitops.timer; while [ $({state}) = activating ]; do sleep 0.1; done")


class Repository(Clone):
    """The clone, and the bare repository on the Git server."""

    def push(self, *references: str) -> None:
        self.git("push", "--quiet", "--force", "origin", *(references or ("HEAD:refs/heads/main",)))


def wait_for(what: t.Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "this did not come"
        time.sleep(0.3)
