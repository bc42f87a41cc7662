"""What AWX gives to its jobs: inventories, whole or a slice, variables, and what is rendered from credentials.

An inventory is the output of a script.

A slice has every n-th host of all hosts of the inventory, sorted by name. All groups stay with their variables, also
those whose hosts are in other slices. No variable says that it is a slice; see awx/main/models/inventory.py.
"""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path
from types import SimpleNamespace

from ansible.parsing.dataloader import DataLoader
from awx_plugins.interfaces._temporary_private_inject_api import inject_credential

AWX = Path(__file__).parents[3] / "extensions/awx"
PROJECT = AWX / "project"
JOB = "Secure Docker engines"


def hosts(content: t.Mapping[str, t.Any]) -> list[str]:
    return sorted({name for group in content.values() for name in group.get("hosts", {})})


def data(content: t.Mapping[str, t.Any], number: int = 1, count: int = 1) -> dict[str, t.Any]:
    """``content`` are groups as in YAML files, each with its ``hosts`` and ``vars``."""
    of_slice = hosts(content)[number - 1 :: count]
    variables: dict[str, dict[str, t.Any]] = {name: {"remote_tower_enabled": "true"} for name in of_slice}
    found: dict[str, t.Any] = {"all": {"hosts": of_slice, "children": []}}
    for group, values in content.items():
        for name, own in (values.get("hosts") or {}).items():
            if name in variables:
                variables[name].update(own or {})
        members = [name for name in of_slice if name in (values.get("hosts") or {})]
        of_group = {"vars": values["vars"]} if values.get("vars") else {}
        if group == "all":
            found["all"].update(of_group)
        else:
            found["all"]["children"].append(group)
            found[group] = {"hosts": members, "children": [], **of_group}
    return {**found, "_meta": {"hostvars": variables}}


def write(folder: Path, content: t.Mapping[str, t.Any], number: int = 1, count: int = 1) -> Path:
    """The executable file that a job gets as its inventory."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / f"slice-{number}-of-{count}"
    (folder / f"{script.name}.json").write_text(json.dumps(data(content, number, count)), encoding="utf-8")
    script.write_text(f'#!/bin/sh\ncat "$(dirname "$0")/{script.name}.json"\n', encoding="utf-8")
    script.chmod(0o700)
    return script


def job_variables(template: str = JOB, workflow: str = "", launch: str = "manual") -> dict[str, t.Any]:
    """Those that AWX gives to a job; the job of a slice has the name of its template as its workflow's."""
    found: dict[str, t.Any] = {}
    for prefix in ("awx", "tower"):
        found |= {f"{prefix}_job_id": 42, f"{prefix}_job_launch_type": launch, f"{prefix}_job_template_id": 7}
        found[f"{prefix}_job_template_name"] = template
        if workflow:
            found |= {f"{prefix}_workflow_job_id": 41, f"{prefix}_workflow_job_name": workflow}
    return found


def controller() -> dict[str, t.Any]:
    """extensions/awx/controller.yml with its own variables put in, and with injectors as they are."""
    raw = DataLoader().load_from_file(str(AWX / "controller.yml"))

    def value(entry: t.Any) -> t.Any:
        if isinstance(entry, dict):
            return {str(key): value(inner) for key, inner in entry.items()}
        if isinstance(entry, list):
            return [value(inner) for inner in entry]
        name = re.fullmatch(r"\{\{ (awx_\w+) \}\}", entry) if isinstance(entry, str) else None
        return raw[name[1]] if name else entry

    return {name: value(entry) for name, entry in raw.items()}


def answers(template: t.Mapping[str, t.Any]) -> dict[str, str]:
    """What the survey of a job template gives where nobody changes anything."""
    return {
        question["variable"]: question["default"]
        for question in template["survey"].get("spec", [])
        if "default" in question
    }


def injected(folder: Path, values: t.Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """What a job gets from AWX's own injector: its environment, what AWX keeps of it, and arguments."""
    (folder / "env").mkdir(parents=True, exist_ok=True)
    (kind,) = controller()["controller_credential_types"]
    env: dict[str, str] = {}
    safe: dict[str, str] = {}
    args: list[str] = []
    of_awx = SimpleNamespace(inputs=kind["inputs"], injectors=kind["injectors"], managed=False, custom_injectors=None)
    credential = SimpleNamespace(get_input_keys=lambda: list(values), get_input=lambda name, default="": values[name])
    inject_credential(t.cast("t.Any", of_awx), t.cast("t.Any", credential), env, safe, args, str(folder))
    return env, safe, args


def texts(value: t.Any) -> t.Iterator[str]:
    """All texts in something that was JSON, as they were before: JSON writes quotes and backslashes in another way."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from (*texts(key), *texts(entry))
    elif isinstance(value, list):
        for entry in value:
            yield from texts(entry)
    else:
        yield str(value)


def has(kept: str, text: str) -> bool:
    """Whether a text is in what AWX keeps, also in a result that Ansible has printed as JSON into another text."""
    return text in kept or text.replace("\\", "") in kept.replace("\\", "")
