"""What the collection says of itself to Galaxy is what its tests try."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def content(path: str) -> t.Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def tried_cores() -> list[tuple[int, ...]]:
    (cores,) = re.findall(r"^CORES = \{(.*)\}$", (ROOT / "tools/check").read_text(encoding="utf-8"), re.MULTILINE)
    return sorted(tuple(map(int, core.split("."))) for core in re.findall(r'"(\d\.\d+)":', cores))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_names_the_releases_of_the_lab_as_its_platforms(role: str) -> None:
    build = (ROOT / "molecule/shared/images/build").read_text(encoding="utf-8")
    releases = re.findall(r"^    \w+\) echo (\w+) ;;$", build, re.MULTILINE)

    platforms = content(f"roles/{role}/meta/main.yml")["galaxy_info"]["platforms"]

    assert platforms == [{"name": "Debian", "versions": releases}]


def test_the_oldest_core_that_is_allowed_is_the_oldest_that_is_tried() -> None:
    oldest = ".".join(map(str, tried_cores()[0]))

    assert content("meta/runtime.yml")["requires_ansible"] == f">={oldest}.0"
    for role in ROLES:
        assert content(f"roles/{role}/meta/main.yml")["galaxy_info"]["min_ansible_version"] == oldest


def test_the_readme_names_the_cores_that_are_tried() -> None:
    named = ", ".join(".".join(map(str, core)) for core in tried_cores())

    assert f"| ansible-core | {named};" in (ROOT / "README.md").read_text(encoding="utf-8")
