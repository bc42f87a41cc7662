"""The table of variables, held against the roles' argument specs and against what operators read."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.variables import Variable, VariableError

ROOT = Path(__file__).parents[4]
TABLE = {v.name: v for v in (*variables.FLEET, *variables.CA, *variables.ENGINE, *variables.SSH, *variables.CLIENT)}
ELSEWHERE = {"docker_ca_host"}  # the roles have a default of their own: without playbooks nobody reads groups


@functools.cache
def specs() -> dict[str, dict[str, Any]]:
    """The options of all roles' entry points."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            found.update(entry.get("options", {}))
    return found


def as_spec(variable: Variable) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": variable.type}
    if variable.required:
        spec["required"] = True
    elif variable.default is not None:
        spec["default"] = variable.default
    if variable.choices:
        spec["choices"] = list(variable.choices)
    if variable.type == "list":
        spec["elements"] = "dict" if variable.options else variable.elements
    if variable.options:
        spec["options"] = {option.name: as_spec(option) for option in variable.options}
    return spec


def without_words(spec: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in spec.items() if key not in ("description", "no_log", "version_added")}
    if "options" in found:
        found["options"] = {name: without_words(option) for name, option in found["options"].items()}
    return found


def test_every_variable_of_a_role_is_known_to_the_plan() -> None:
    assert sorted(set(specs()) - variables.KNOWN) == []


@pytest.mark.parametrize("name", sorted(set(TABLE) - ELSEWHERE))
def test_types_and_defaults_are_those_of_the_roles(name: str) -> None:
    if name in specs():
        assert as_spec(TABLE[name]) == without_words(specs()[name])
    else:
        assert TABLE[name] in variables.FLEET, "no role has it"


def test_secrets_and_inputs_are_what_roles_take() -> None:
    assert sorted((variables.SECRETS | variables.ROLE_INPUTS | variables.GITOPS) - set(specs())) == []


def test_the_documentation_has_every_variable_of_the_playbooks() -> None:
    page = (ROOT / "docs/playbooks.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `docker_")]
    assert rows == [
        f"| `{v.name}` | {'number, percentage or list' if v.type == 'serial' else v.type} | {shown(v.default)} "
        f"| {', '.join(v.playbooks) or 'all'} | {v.description} |"
        for v in variables.FLEET
    ]


def shown(default: Any) -> str:
    if default in ("", []):
        return "none"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


@pytest.mark.parametrize(
    ("kind", "value", "converted"),
    [
        ("int", "2376", 2376),
        ("int", -1, -1),
        ("bool", "yes", True),
        ("bool", 0, False),
        ("str", 15, "15"),
        ("list", "a, b", ["a", "b"]),
        ("list", '["a", "b"]', ["a", "b"]),
        ("list", 5, ["5"]),
        ("list", "", []),
        ("dict", '{"a": 1}', {"a": 1}),
        ("int", None, "the default"),
    ],
)
def test_values_have_the_forms_that_ansible_takes(kind: str, value: Any, converted: Any) -> None:
    assert variables.convert(Variable("v", kind, "the default"), value, "web1") == converted


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("int", value) for value in ("", "1.5", "1e3", "--5", "9" * 30, 1.5, True, [], "٣")),
        *(("bool", value) for value in ("", "maybe", 2, [], 0.0)),
        *(("str", value) for value in (True, [], {})),
        *(("list", value) for value in (True, 1.5, {"a": 1}, '["a"', [[]], [True])),
        *(("dict", value) for value in ("", "a", [], 1, '{"a"', "[1]")),
    ],
)
def test_other_values_are_one_sentence(kind: str, value: Any) -> None:
    with pytest.raises(VariableError, match=r"^(an entry of )?v of web1 is .*; it has to be .*\.$"):
        variables.convert(Variable("v", kind), value, "web1")
