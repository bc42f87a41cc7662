"""Inventories as AWX writes them for its jobs: the output of a script, whole or a slice of it.

A slice has every n-th host of all hosts of the inventory, sorted by name. All groups stay with their variables, also
those whose hosts are in other slices. No variable says that it is a slice; see awx/main/models/inventory.py.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

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
    script.write_text(f"#!/bin/sh\ncat '{folder}/{script.name}.json'\n", encoding="utf-8")
    script.chmod(0o700)
    return script


def job_variables(template: str = JOB, workflow: str = "") -> dict[str, t.Any]:
    """Those that AWX gives to a job; the job of a slice has the name of its template as its workflow's."""
    found: dict[str, t.Any] = {}
    for prefix in ("awx", "tower"):
        found |= {f"{prefix}_job_id": 42, f"{prefix}_job_launch_type": "manual", f"{prefix}_job_template_id": 7}
        found[f"{prefix}_job_template_name"] = template
        if workflow:
            found |= {f"{prefix}_workflow_job_id": 41, f"{prefix}_workflow_job_name": workflow}
    return found
