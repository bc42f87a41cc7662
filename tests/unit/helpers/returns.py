"""A module as Ansible runs it, and its RETURN documentation held against what it really returned."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
PACKAGE = "ansible_collections.bulkhead.docker.plugins.modules"
# What Ansible documents for every module: https://docs.ansible.com/ansible/latest/reference_appendices/common_return_values.html
COMMON = {"changed", "deprecations", "diff", "exception", "failed", "invocation", "msg", "warnings"}
# What Ansible adds to the result of a module that returns a `path`.
COMMON |= {"gid", "group", "mode", "owner", "secontext", "size", "state", "uid"}
TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}


def run(module: str, params: t.Mapping[str, t.Any], check: bool = False, **environment: str) -> dict[str, t.Any]:
    """What a module of this collection returns, from a process of its own."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**params, "_ansible_check_mode": check, "_ansible_diff": True}}
    done = subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.{module}"],
        input=json.dumps(arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT / ".ansible/collections"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.lstrip().startswith("{"), done.stdout + done.stderr
    result: dict[str, t.Any] = json.loads(done.stdout)
    return result


def assert_documented(module: str, *results: t.Mapping[str, t.Any]) -> None:
    """Every returned key is documented with its type, and every documented key was returned at least once.

    What is documented as returned on success, or always, must be in each result that says so. Give as many
    results as it takes to see every key. Null and an empty list show nothing of their content.
    """
    documented = yaml.safe_load(importlib.import_module(f"{PACKAGE}.{module}").RETURN)
    shown: set[str] = set()
    for result in results:
        own = {key: value for key, value in result.items() if key not in COMMON or key in documented}
        wrong = list(_differences(own, documented, "", shown))
        for key, entry in documented.items():
            when = entry["returned"]
            if key not in own and (when == "always" or (when == "success" and not result.get("failed"))):
                wrong.append(f"{key} is documented as returned: {when}, and is missing")
        assert not wrong, wrong
    unseen = set(_paths(documented, "")) - shown
    assert not unseen, f"documented, and in no result: {', '.join(sorted(unseen))}"


def _paths(documented: t.Mapping[str, t.Any], base: str) -> t.Iterator[str]:
    for key, entry in documented.items():
        yield base + key
        yield from _paths(entry.get("contains") or {}, f"{base}{key}.")


def _differences(
    value: t.Mapping[str, t.Any], documented: t.Mapping[str, t.Any], base: str, shown: set[str]
) -> t.Iterator[str]:
    for key, content in value.items():
        path = base + key
        if key not in documented:
            yield f"{path} is returned and not documented"
            continue
        shown.add(path)
        entry = documented[key]
        if content is None:
            if entry["type"] in ("bool", "list") and "null" not in str(entry["description"]):
                yield f"{path} is null, and its description does not say when"
            continue
        if not _is(content, entry["type"]):
            yield f"{path} is documented as {entry['type']}, and is {content!r}"
            continue
        items = content if entry["type"] == "list" else [content]
        for item in items:
            if entry["type"] == "list" and not _is(item, entry["elements"]):
                yield f"an element of {path} is documented as {entry['elements']}, and is {item!r}"
            elif isinstance(item, dict) and "contains" in entry:
                # What an entry always has; the action plugin of the modules refuses one that lacks it.
                always = {name for name, inner in entry["contains"].items() if "returned" not in inner}
                yield from (f"{path}.{name} is missing" for name in sorted(always - set(item)))
                yield from _differences(item, entry["contains"], f"{path}.", shown)


def _is(value: t.Any, kind: str) -> bool:
    return kind == "raw" or (isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool)))
