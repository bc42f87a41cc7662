"""docs/troubleshooting.md has every sentence with which something is refused, and none that no source has.

``python tests/unit/test_troubleshooting.py`` prints what is missing, by subject, as rows to fill in.
"""

from __future__ import annotations

import collections
import functools
import re

import pytest
from helpers import messages

PAGE = messages.ROOT / "docs" / "troubleshooting.md"
SUBJECTS = {
    "deployments": r"gitops",
    "engines": r"_engine/|_detached|/_files|docker_daemon_config|docker_engine",
    "SSH accounts": r"_ssh/|_installed/|docker_ssh",
    "certificate authority": r"_ca/|docker_ca",
    "clients": r"_contexts/|_identit|_client\.py|docker_context|docker_identit|docker_client",
    "endpoints": r"_tls/|docker_endpoint|docker_verify",
    "runs": "",
}


def entries() -> list[str]:
    """The sentences of the page: what is in code style in the first column of its tables."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [entry for row in rows for entry in re.findall(r"`([^`]+)`", row.split(" | ", maxsplit=1)[0])]


def fits(entry: str, message: str) -> bool:
    """Whether the pieces of the entry are in the sentence, in their order."""
    pieces = [re.escape(piece.strip()) for piece in entry.split("…") if piece.strip()]
    return re.search(".*".join(pieces), message, re.DOTALL) is not None


def subject(path: str) -> str:
    return next(name for name, pattern in SUBJECTS.items() if re.search(pattern, path))


@functools.cache
def missing() -> dict[str, list[messages.Message]]:
    """The sentences that no entry fits, by subject."""
    known = entries()
    found: dict[str, list[messages.Message]] = collections.defaultdict(list)
    for message in messages.collected():
        if not any(fits(entry, message.text) for entry in known):
            found[subject(message.path)].append(message)
    return found


@pytest.mark.parametrize("name", list(SUBJECTS))
def test_every_sentence_has_its_entry(name: str) -> None:
    lacking = missing()[name]
    assert not lacking, "\n".join(map(str, lacking))


def test_every_entry_is_a_sentence_of_the_sources() -> None:
    texts = [message.text for message in messages.collected()]
    assert not [entry for entry in entries() if not any(fits(entry, text) for text in texts)]


def test_an_entry_says_enough_to_be_found() -> None:
    assert len(entries()) == len(set(entries())) > 50
    assert not [entry for entry in entries() if len(entry.replace("…", "").strip(" (),;'")) < 11]


PYTHON = """
def work(x):
    if x:
        raise AnError(f"{x}{x} is wrong; " "correct it.")
    module.fail_json(msg="no" if x else "not a good idea")
    return f"{x} is a sentence that somebody else raises."


def problems(reader):
    yield f"{reader} has something that it may not have."
    reader.say(f"What {reader} says is a problem: {reader}")
    reader.log("What is written down for nobody is no problem of anybody.")
    return ["The last of several sentences in a list."]
"""
TASKS = """
- ansible.builtin.assert: {that: x, fail_msg: "{{ x }} is wrong again"}
- block:
    - ansible.builtin.fail:
        msg: >-
          This is wrong, too:
          {{ x }}.
"""


def test_sentences_are_found_in_python_and_in_tasks() -> None:
    assert sorted(messages.of_python(PYTHON)) == [
        (4, "… is wrong; correct it."),
        (5, "not a good idea"),
        (6, "… is a sentence that somebody else raises."),
        (10, "… has something that it may not have."),
        (11, "What … says is a problem: …"),
        (13, "The last of several sentences in a list."),
    ]
    assert sorted(messages.of_tasks(TASKS)) == [(2, "… is wrong again"), (5, "This is wrong, too: ….")]


if __name__ == "__main__":
    for heading, lacking in missing().items():
        print(f"\n## {heading}\n\n| The run says | It means | Do this |\n|---|---|---|")
        for message in lacking:
            print(f"| `{message.text}` | | | <!-- {message.path}:{message.line} -->")
