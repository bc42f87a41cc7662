"""Holds every role's defaults and README against its argument spec, which is the source of both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
# Where the CA is, which several roles have to know.
COLLECTION_VARIABLES = ("docker_ca_host", "docker_ca_dir", "docker_ca_passphrase")
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def load(role: str, path: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / path).read_text(encoding="utf-8")) or {}
    return data


def options(role: str) -> dict[str, dict[str, Any]]:
    """All entry points' options; one that several of them share has to be the same in each."""
    merged: dict[str, dict[str, Any]] = {}
    for entry, spec in load(role, "meta/argument_specs.yml")["argument_specs"].items():
        for name, option in spec.get("options", {}).items():
            assert merged.setdefault(name, option) == option, (
                f"{name} of {entry} differs from that of another entry point"
            )
    return merged


def test_every_role_has_an_argument_spec() -> None:
    assert sorted(path.parent.name for path in ROOT.glob("roles/*/tasks")) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_argument_spec(role: str) -> None:
    declared = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert load(role, "defaults/main.yml") == declared


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_role_s_name_and_a_description(role: str) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role}_") or name in COLLECTION_VARIABLES
        assert option["description"], name
        assert "{{" not in str(option.get("default", "")), f"{name}: a default is a literal"


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_is_a_tasks_file(role: str) -> None:
    for entry in load(role, "meta/argument_specs.yml")["argument_specs"]:
        assert (ROOT / "roles" / role / "tasks" / f"{entry}.yml").exists(), entry


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_readme_with_its_variables(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert [name for name in options(role) if f"`{name}`" not in text] == []


def test_tables_in_the_readmes_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/role-readme"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}Run tools/role-readme"
