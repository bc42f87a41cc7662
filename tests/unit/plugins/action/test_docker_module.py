"""Modules run through ansible-playbook, on a host whose Python answers as it likes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

LIAR = Path(__file__).parents[2] / "helpers/liar.py"
REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs one task on a host that answers `lie`; gives what was registered and what became a variable."""

    def play(task: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / "lie.json").write_text(json.dumps(lie), encoding="utf-8")
        seen = tmp_path / "seen.json"
        told = "{{ {'answer': answer, 'address': docker_engine_address, 'facts': ansible_facts} | to_json }}"
        plays = [
            {
                "hosts": "web1",
                "gather_facts": False,
                "tasks": [
                    {**task, "register": "answer", "ignore_errors": True},
                    {
                        "name": "Keep what was said",
                        "ansible.builtin.copy": {"dest": str(seen), "content": told},
                        "delegate_to": "localhost",
                    },
                ],
            }
        ]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
        inventory = f"web1 ansible_connection=local ansible_python_interpreter={LIAR} docker_engine_address=192.0.2.1\n"
        (tmp_path / "inventory").write_text(inventory, encoding="utf-8")
        collections = REPOSITORY / ".ansible/collections"
        environment = {
            **os.environ,
            "LIE": str(tmp_path / "lie.json"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        done = subprocess.run(
            ["ansible-playbook", "-i", tmp_path / "inventory", tmp_path / "play.yml"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert seen.exists(), done.stdout + done.stderr
        return json.loads(seen.read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    return play


POISON = {"ansible_facts": {"docker_engine_address": "192.0.2.66"}, "ansible_stats": {"data": {"x": 1}}}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ansible.builtin.ping", {}),
        # An action of its own, which runs the module.
        ("ansible.builtin.command", {"cmd": "true"}),
    ],
)
def test_an_answer_sets_no_variable(run: Any, name: str, options: dict[str, Any]) -> None:
    task = {"bulkhead.docker.docker_module": {"name": name, "options": options}}

    seen = run(task, {**POISON, "ping": "pong"})

    assert seen["answer"]["ping"] == "pong"
    assert seen["address"] == "192.0.2.1"
    assert not {"ansible_facts", "ansible_stats"} & set(seen["answer"])
    # The same answer to the same module, asked for without the action, does.
    assert run({"ansible.builtin.ping": {}}, {**POISON, "ping": "pong"})["address"] == "192.0.2.66"


def test_every_module_of_the_collection_is_asked_like_that(run: Any) -> None:
    actions = {path.stem for path in (REPOSITORY / "plugins/action").glob("*.py")}
    modules = {path.stem for path in (REPOSITORY / "plugins/modules").glob("*.py")}

    assert actions == modules

    for lie, said in (({"msg": "well", "engine": "none"}, "'engine' is no dict"), (POISON, "it sets variables")):
        seen = run({"bulkhead.docker.docker_engine_info": {}}, lie)

        assert seen["address"] == "192.0.2.1"
        assert seen["answer"]["failed"]
        assert "web1 does not answer as the module bulkhead.docker.docker_engine_info does" in seen["answer"]["msg"]
        assert said in seen["answer"]["msg"]


def test_what_every_module_answers_has_its_type_in_foreign_modules_too(run: Any) -> None:
    task = {"bulkhead.docker.docker_module": {"name": "ansible.builtin.ping"}}

    seen = run(task, {"ping": "pong", "msg": {"a": 1}, "unreachable": True})

    assert seen["answer"]["failed"]
    assert "unreachable" not in seen["answer"]
    assert "web1 does not answer as the module ansible.builtin.ping does: 'msg' is no str" in seen["answer"]["msg"]


@pytest.mark.parametrize("pipelining", [{}, {"ansible_pipelining": True, "ansible_ssh_pipelining": False}])
def test_a_passphrase_goes_to_no_host_that_would_keep_it_in_a_file(run: Any, pipelining: dict[str, Any]) -> None:
    options = {"dir": "/srv/ca", "passphrase": "correct horse"}
    task: dict[str, Any] = {"bulkhead.docker.docker_ca_info": options}

    seen = run({**task, "vars": {"ansible_connection": "ssh", "ansible_host": "192.0.2.1", **pipelining}}, {})

    assert seen["answer"]["msg"].startswith("The passphrase would be in a file on the host for a moment, because web1 ")
    # With it, the host is asked.
    assert "does not answer as" in run({**task, "vars": {"ansible_pipelining": True}}, {"msg": "well"})["answer"]["msg"]


@pytest.mark.parametrize(
    ("keywords", "starts"),
    [
        ({}, False),
        ({"check_mode": True}, False),
        ({"vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}}, False),
        ({"environment": {"LC_ALL": "C"}}, True),
        ({"vars": {"ansible_python_interpreter": "{{ playbook_dir }}/python"}}, True),
    ],
)
def test_the_control_node_answers_in_a_copy_of_the_process_where_another_python_would_not_differ(
    tmp_path: Path, keywords: dict[str, Any], starts: bool
) -> None:
    """Whatever could make a difference starts a Python as on any host, and the answer is the same."""
    site, started = tmp_path / "site", tmp_path / "started"
    site.mkdir()
    tell = f"import sys\nwith open({str(started)!r}, 'a') as file:\n    print(*sys.orig_argv, file=file)\n"
    (site / "sitecustomize.py").write_text(tell, encoding="utf-8")
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    task = {"bulkhead.docker.docker_ca_info": {"dir": str(tmp_path / "ca")}, "register": "answer", **keywords}
    told = {"ansible.builtin.debug": {"msg": "{{ answer.exists }} {{ answer.changed }} {{ answer.path }}"}}
    files = {option: str(tmp_path / option) for option in ("ca_path", "client_cert", "client_key")}
    context = {
        "name": "web1",
        "docker_host": "tcp://web1.example:2376",
        **files,
        "config_dir": str(tmp_path / "docker"),
    }
    warns = {"bulkhead.docker.docker_context": context, **keywords, "check_mode": True, "register": "warned"}
    counted = {"ansible.builtin.debug": {"msg": "{{ warned.warnings | length }} warnings"}}
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": [task, told, warns, counted]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".ansible/collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_PIPELINING": "true",
    }
    command = ["ansible-playbook", tmp_path / "play.yml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"False False {tmp_path / 'ca'}" in done.stdout, done.stdout + done.stderr
    assert "3 warnings" in done.stdout, done.stdout + done.stderr
    shown = "".join(f"{done.stdout}{done.stderr}".split())  # lines are broken anywhere
    assert f"{tmp_path / 'client_key'}doesnotexistyet" in shown
    lines = started.read_text(encoding="utf-8").splitlines()
    assert ([line for line in lines if "ansible-playbook" not in line] != []) == starts
