from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import answers

RETURNS: dict[str, Any] = {
    "names": {"type": "list", "elements": "str", "returned": "success"},
    "rows": {
        "type": "list",
        "elements": "dict",
        "returned": "success",
        "contains": {"days": {"type": "int"}, "name": {"type": "str"}},
    },
    "why": {"type": "str", "returned": "failure"},
}
GOOD: dict[str, Any] = {"changed": True, "names": ["a"], "rows": [{"days": 3, "name": None}]}


def test_a_documented_answer_is_taken_as_it_is() -> None:
    assert answers.checked(GOOD, RETURNS, "web1", "m") == GOOD


def test_what_is_not_documented_is_dropped() -> None:
    assert answers.checked({**GOOD, "docker_ca_host": "web1"}, RETURNS, "web1", "m") == GOOD


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"names": "web2"}, "'names' is no list"),
        ({"names": ["a", 3]}, "'names[]' is no str"),
        ({"changed": None}, "'changed' is no bool"),
        ({"rows": [{"days": "x"}]}, "'rows[].days' is no int"),
        ({"rows": [{"days": True}]}, "'rows[].days' is no int"),
        ({"rows": {}}, "'rows' is no list"),
        ({"changed": "yes"}, "'changed' is no bool"),
        ({"msg": ["x"], "failed": True}, "'msg' is no str"),
        ({"failed": "no"}, "'failed' is no bool"),
    ],
)
def test_nonsense_is_a_failure_of_the_host(lie: dict[str, Any], said: str) -> None:
    answer = answers.checked({**GOOD, **lie}, RETURNS, "web1", "m")

    assert answer["failed"] is True
    assert answer["msg"].startswith("web1 does not answer as the module m does: ")
    assert said in answer["msg"]
    assert set(answer) == {"failed", "changed", "msg"}


def test_what_success_always_gives_must_be_there() -> None:
    assert "'rows' is missing" in answers.checked({"names": []}, RETURNS, "web1", "m")["msg"]
    # A failure need not give it.
    assert answers.checked({"failed": True, "msg": "no"}, RETURNS, "web1", "m") == {"failed": True, "msg": "no"}


def test_the_documentation_is_read_from_the_module(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text('RETURN = r"""\nnames:\n  type: list\n"""\n', encoding="utf-8")

    assert answers.documented(module) == {"names": {"type": "list"}}
    assert answers.documented(Path(__file__)) == {}


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"rows": [{"days": 3}]}, "'rows[].name' is missing"),
        ({"names": ["x" * 100_001]}, "'names[]' is longer than 100000 characters"),
        ({"names": [1, 2, 3, 4]}, "does: 'names[]' is no str. Nothing"),
    ],
)
def test_entries_are_whole_and_of_a_bearable_length(lie: dict[str, Any], said: str) -> None:
    assert said in answers.checked({**GOOD, **lie}, RETURNS, "web1", "m")["msg"]


def test_a_module_that_says_it_was_skipped_has_to_answer_all_the_same() -> None:
    assert "'names' is missing" in answers.checked({"skipped": True}, RETURNS, "web1", "m")["msg"]


def test_a_host_that_answers_is_not_unreachable() -> None:
    assert answers.without_variables({"unreachable": True, "ping": "pong"}) == {"ping": "pong"}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"msg": "all is well"}, False),
        ({"ansible_facts": {"discovered_interpreter_python": "/usr/bin/python3"}}, False),
        ({"ansible_facts": {"docker_ca_host": "web1"}}, True),
        ({"ansible_facts": ["x"]}, True),
        ({"ansible_stats": {"data": {}}}, True),
        ({"add_host": {"host_name": "web9"}}, True),
    ],
)
def test_who_sets_variables_is_known(said: dict[str, Any], found: bool) -> None:
    assert answers.sets_variables(said) is found


def test_text_has_nothing_that_a_terminal_acts_on() -> None:
    said = {"msg": "a\x1b[2J\r\nb\tc\u009b", "rows": [{"x\x07": "\u202e1"}], "changed": True, "days": 3, "none": None}

    assert answers.without_variables(said) == {
        "msg": "a [2J \nb\tc ",
        "rows": [{"x ": " 1"}],
        "changed": True,
        "days": 3,
        "none": None,
    }


@pytest.mark.parametrize("path", ["python3", "/usr/bin/python3; id", "/usr/bin/{{ x }}", "/" + "x" * 300, False, None])
def test_only_a_plain_path_is_remembered_as_the_interpreter(path: Any) -> None:
    key = "discovered_interpreter_python"

    assert answers.interpreter(key, "/usr/bin/python3.11") == {"ansible_facts": {key: "/usr/bin/python3.11"}}
    assert answers.interpreter(key, path) == {}
    assert answers.interpreter(None, "/usr/bin/python3.11") == {}
