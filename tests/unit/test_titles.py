"""Titles of tasks and plays say what is done to what, in the words of Ansible, Docker, TLS and OpenSSH."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
_TITLE = re.compile(r"^\s*- name: (.+)$", re.MULTILINE)
# Pronouns in the place of an object, and everyday verbs for what has a standard word.
_ELSEWHERE = re.compile(
    r"\b(them|prov(e|es|en|ing)|proof|judge|offer|mend|look|ask)\b|^(\w+ \| )?(have|keep|let|see) ", re.I
)
# How the scenarios write the title of a role's task, or its beginning.
_NAMED = re.compile(r"\"([a-z_]+ \| [A-Z][^\"{]*)\"")


def titles() -> list[str]:
    files = [path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    return [title for path in sorted(files) for title in _TITLE.findall(path.read_text(encoding="utf-8"))]


def test_titles_use_standard_words() -> None:
    assert len(titles()) > 150
    assert not [title for title in titles() if _ELSEWHERE.search(title)]


def test_titles_that_a_scenario_waits_for_exist() -> None:
    scenarios = sorted((ROOT / "molecule").rglob("*.py"))
    named = {title for path in scenarios for title in _NAMED.findall(path.read_text(encoding="utf-8"))}
    assert named
    assert [title for title in sorted(named) if not any(known.startswith(title) for known in titles())] == []
