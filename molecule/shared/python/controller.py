"""Jobs of AWX, each in a container and a private data directory that are gone afterwards."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from helpers import awx

IMAGE = "bulkhead/ee:lab"
USER = 1000
CONTROLLER = awx.controller()
KEY = "PRIVATE KEY"
# With what Ansible would take for templates, and with what JSON writes in another way.
PASSPHRASE = "pa{{ss}} {% raw %}12'3\\4\""  # noqa: S105


@dataclasses.dataclass(frozen=True)
class Job:
    """What AWX keeps of a job."""

    template: str
    code: int
    output: str
    events: list[dict[str, Any]]
    kept: str  # all of it, as text, and what is JSON as it was before, too

    def _last(self) -> dict[str, Any]:
        return next(event["event_data"] for event in self.events if event["event"] == "playbook_on_stats")

    @property
    def changed(self) -> dict[str, int]:
        return dict(self._last()["changed"])

    @property
    def artefacts(self) -> dict[str, Any]:
        return dict(self._last()["artifact_data"])


@dataclasses.dataclass
class Controller:
    """Runs job templates of extensions/awx/controller.yml against the lab."""

    lab: Any  # the fixture of molecule/conftest.py
    folder: Path
    passphrase: str = PASSPHRASE
    number: int = 0
    jobs: list[Job] = dataclasses.field(default_factory=list)

    def inventory(self) -> dict[str, Any]:
        """The inventory of the project, with the addresses of the lab."""
        content = {group: {"hosts": {}, "vars": {}} for group in ("docker_ca", "docker_clients", "docker_engines")}
        for group, values in content.items():
            for host in self.lab.inventory[group]["hosts"]:
                values["hosts"][host] = {"ansible_host": self.lab.address(host)}
        content["all"] = {"vars": {"ansible_ssh_common_args": "-o UserKnownHostsFile=/runner/env/known_hosts"}}
        for file in sorted((awx.PROJECT / "inventory/group_vars").glob("*.yml")):
            content[file.stem]["vars"].update(yaml.safe_load(file.read_text(encoding="utf-8")))
        content["all"]["vars"]["docker_ca_connection"] = {"ansible_host": self.lab.address("ca1")}
        guest = {"name": "guest"}
        content["docker_clients"]["vars"]["docker_client_identities"] += [guest]
        content["docker_clients"]["vars"]["docker_client_transports"] = ["tls", "ssh"]
        return content

    def launch(
        self,
        name: str,
        answers: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        part: tuple[int, int] = (1, 1),
        workflow: str = "",
        before: dict[str, Any] | None = None,
        check: bool = False,
    ) -> Job:
        """One job; `part` is the number of a slice and how many there are, `before` the artefacts of a workflow."""
        (template,) = (entry for entry in CONTROLLER["controller_templates"] if entry["name"] == name)
        self.number += 1
        ident = f"{self.number}-{part[0]}"
        private = self.folder / ident
        shutil.copytree(awx.PROJECT, private / "project")
        shutil.rmtree(private / "project/inventory")
        script = awx.write(private / "inventory", self.inventory(), *part)
        (private / "inventory" / f"{script.name}.json").rename(private / "slice.json")
        script.write_text("#!/bin/sh\ncat /runner/slice.json\n", encoding="utf-8")
        workflow = name if part[1] > 1 else workflow
        extra = {**awx.answers(template), **(answers or {}), **awx.job_variables(name, workflow), **(before or {})}
        environment, _, arguments = awx.injected(private, secrets or {"passphrase": self.passphrase})
        assert not arguments
        shutil.copy(self.lab.folder / "known_hosts", private / "env/known_hosts")
        shutil.copy(self.lab.folder / "id_ed25519", private / "env/ssh_key")
        settings = {
            "extravars": json.dumps(extra),
            "envvars": json.dumps(environment),
            "cmdline": f"-u ops --diff{' --check' if check else ''}",
        }
        for file, text in settings.items():
            (private / "env" / file).write_text(text, encoding="utf-8")
        for path in (private, *private.rglob("*")):
            os.chown(path, USER, 0)
        runner = ("ansible-runner", "run", "/runner", "--omit-env-files", "--ident", "job", "--playbook")
        done = self.inside(private, *runner, template["playbook"])
        job = self.read(name, private / "artifacts/job", done.returncode, done.stdout + done.stderr)
        shutil.rmtree(private)
        self.jobs.append(job)
        return job

    def inside(self, private: Path, *command: str) -> Any:
        """A command in a container of its own, as the user of jobs."""
        return self.lab.run(
            *("docker", "run", "--rm", "--name", f"{self.network}-job-{private.name}", "--network", self.network),
            *("--user", f"{USER}:0", "--volume", f"{private}:/runner", IMAGE, *command),
            timeout=900,
        )

    @property
    def network(self) -> str:
        return f"bulkhead-{self.lab.name}"

    @staticmethod
    def read(template: str, artefacts: Path, code: int, said: str) -> Job:
        # AWX takes events, output and statistics; ansible-runner's own note of the environment goes with the container.
        files = [path for path in sorted(artefacts.rglob("*")) if path.is_file() and path.name != "command"]
        raw = {path: path.read_text(encoding="utf-8", errors="replace") for path in files}
        decoded = {path: json.loads(text) for path, text in raw.items() if path.suffix == ".json"}
        events = [event for path, event in decoded.items() if path.parent.name == "job_events"]
        texts = [*raw.values(), *awx.texts(list(decoded.values())), said]
        return Job(template, code, said, sorted(events, key=lambda event: event["counter"]), "\n".join(texts))
