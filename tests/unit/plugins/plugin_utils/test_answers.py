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
