"""Runs the role docker_verify against TLS servers on loopback, and with a script in the place of ssh."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.filter import docker_verify
from helpers.engines import PATIENCE, Lab

Play = Callable[..., dict[str, Any]]
ENGINES = ("web1", "web2", "web3")
FINDINGS = {"ansible.builtin.debug": {"var": "docker_verify_findings"}, "name": "show"}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "lab").mkdir()
    lab = Lab(tmp_path / "lab")
    identity = tmp_path / "client/.bulkhead/identities/admin"
    identity.mkdir(parents=True)
    for name, file in {"ca": lab.ca, "cert": lab.client[0], "key": lab.client[1]}.items():
        (identity / f"{name}.pem").symlink_to(file)
    with lab.stack:
        yield lab


def verify(tmp_path: Path, entry: str = "main", **variables: Any) -> list[dict[str, Any]]:
    """The role for the engines, and what it says of them."""
    role = {"name": "bulkhead.docker.docker_verify", "tasks_from": entry}
    return [
        {
            "block": [{"ansible.builtin.include_role": role}, FINDINGS],
            "vars": {"docker_verify_host": "client", "docker_verify_timeout": PATIENCE, **variables},
            "environment": {"HOME": str(tmp_path / "client")},
            "when": "inventory_hostname != 'client'",
        }
    ]


def engines(*ports: int, names: tuple[str, ...] = ENGINES) -> list[dict[str, Any]]:
    return [
        {"name": name, "address": "192.0.2.1", "host": f"tcp://127.0.0.1:{port}", "ssh_port": 2200 + number}
        for number, (name, port) in enumerate(zip(names, ports, strict=True), 1)
    ]


def inventory(client: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    return {"client": client or {}, **{name: {} for name in ENGINES}}


def asked(outcomes: dict[str, Any], task: str) -> list[str]:
    """For which hosts a module ran."""
    return [name for name, outcome in outcomes.items() if task in outcome.executions]


def messages(outcomes: dict[str, Any]) -> dict[str, str]:
    """What each engine failed with; one that passed is not there."""
    tasks = (
        "fail_tls | Fail with the findings about the TLS endpoint",
        "ssh | Fail with the findings about the account",
    )
    results = {
        name: next((found for task in tasks if (found := outcome.tasks.get(task, {})).get("failed")), {})
        for name, outcome in outcomes.items()
    }
    assert [name for name, result in results.items() if result.get("failed")] == [
        name for name, outcome in outcomes.items() if outcome.failed
    ]
    return {name: result["msg"] for name, result in results.items() if result.get("failed")}


GATHER_TLS = "ask_tls | Gather what the TLS endpoints answer to the verifying host"
GATHER_SSH = "ask_ssh | Gather what the restricted account can do from the verifying host"


def test_one_execution_asks_for_all_and_each_engine_fails_with_its_own_findings(
    tmp_path: Path, play: Play, lab: Lab
) -> None:
    proxy = lab.plain(("Api-Version", "1.51"))
    lax = lab.engine(verify="no", cas=())
    variables = {"docker_verify_engines": engines(lab.engine(), lax, lab.closed())}
    outcomes = play(inventory(), verify(tmp_path, docker_verify_plain_ports=[lab.closed()], **variables))
    assert len(asked(outcomes, GATHER_TLS)) == 1
    failed = messages(outcomes)
    assert list(failed) == ["web2", "web3"]
    assert failed["web2"].startswith(
        f"web2 failed verification: tcp://127.0.0.1:{lax} accepts a client without a certificate (HTTP/1.0 200 OK); "
    )
    assert failed["web2"].endswith(" does not ask for a client certificate.")
    assert failed["web3"].endswith(" cannot be reached (Connection refused).")

    variables |= {"docker_verify_plain_ports": [proxy]}
    collected = play(inventory(), verify(tmp_path, "report", **variables))
    assert messages(collected) == {}
    found = {name: collected[name].tasks["show"]["docker_verify_findings"] for name in ENGINES}
    assert found["web1"] == [
        f"tcp://127.0.0.1:{proxy} is open and answers the Docker API without TLS (HTTP/1.0 200 OK); "
        f"close it, or leave {proxy} out of plain_ports where it is another service of yours"
    ]
    assert [len(found[name]) for name in ENGINES] == [1, 4, 2]


def interpreter(tmp_path: Path, answer: dict[str, Any]) -> dict[str, Any]:
    """A host whose Python answers every module with the same."""
    (tmp_path / "answer").write_text(json.dumps(answer), encoding="utf-8")
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\ncat {tmp_path}/answer\n", encoding="utf-8")
    program.chmod(0o755)
    return {"ansible_python_interpreter": str(program)}


def test_a_host_that_answers_nonsense_is_a_finding_about_every_engine(tmp_path: Path, play: Play) -> None:
    evil = "{{ lookup('ansible.builtin.pipe', 'id') }}"
    nothing: dict[str, Any] = {
        "engine_version": None,
        "api_version": None,
        "certificate": None,
        "server_verified": False,
    }
    nothing |= {"acceptable_cas": [], "attempts": [], "plain_ports": []}
    answer = {
        "ok": True,
        "endpoints": [
            {**nothing, "name": "web1", "docker_host": "tcp://web1", "ok": False, "findings": [evil]},
            {**nothing, "name": "web2", "docker_host": "tcp://web2", "ok": True, "findings": ["and yet"]},
        ],
    }
    outcomes = play(inventory(interpreter(tmp_path, answer)), verify(tmp_path, docker_verify_engines=engines(1, 2, 3)))
    assert messages(outcomes) == {
        "web1": f"web1 failed verification: {evil}.",
        "web2": "web2 failed verification: the verifying host client gave no answer for web2.",
        "web3": "web3 failed verification: the verifying host client gave no answer for web3.",
    }


def test_a_host_that_cannot_be_reached_is_a_finding_about_every_engine(tmp_path: Path, play: Play, lab: Lab) -> None:
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": lab.closed()}
    failed = messages(play(inventory(gone), verify(tmp_path, docker_verify_engines=engines(1, 2, 3))))
    assert list(failed) == list(ENGINES)
    for name, message in failed.items():
        assert message.startswith(f"{name} failed verification: the verifying host client gave no answer for {name}: ")
        assert "Connection refused" in message


def test_files_that_are_not_there_are_named_by_every_engine(tmp_path: Path, play: Play) -> None:
    missing = tmp_path / "client/.bulkhead/identities/admin/ca.pem"
    assert messages(play(inventory(), verify(tmp_path, docker_verify_engines=engines(1, 2, 3)))) == {
        name: f"{name} failed verification: the verifying host client gave no answer for {name}: ca_path: {missing} "
        "cannot be read on this host (No such file or directory)."
        for name in ENGINES
    }


@pytest.fixture
def become(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A sudo that only notes as whom it was to run something, switched on for all hosts."""
    program = tmp_path / "sudo"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/became\nwhile [ "$1" != -u ]; do shift; done\nshift 2\nexec "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return {"ansible_become": True, "ansible_become_exe": str(program)}


@pytest.mark.parametrize(("user", "became"), [("", ""), ("ops", ""), ("alice", "alice")])
def test_it_becomes_nobody_but_the_identity_s_user(
    tmp_path: Path, play: Play, become: dict[str, Any], user: str, became: str
) -> None:
    """B20."""
    hosts = {name: {**options, **become} for name, options in inventory(interpreter(tmp_path, {})).items()}
    options = {"docker_verify_user": user, "docker_verify_connects_as": "ops"}
    play(hosts, verify(tmp_path, docker_verify_engines=engines(1, 2, 3), **options))
    log = tmp_path / "became"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    assert [f" -u {became} " in line for line in lines] == ([True] if became else [])


SSH = """#!/bin/sh
case "$*" in
*ExitOnForwardFailure*) echo 'Error: remote port forwarding failed for listen port 0' >&2; exit 255 ;;
*PubkeyAuthentication=no*) echo 'Permission denied (publickey).' >&2; exit 255 ;;
*'-p 2202 '*) echo 'Connection closed by 192.0.2.1 port 2202' >&2; exit 255 ;;
*ClearAllForwardings=no*) exit 126 ;;
*'-l docker-admin -p 22'*) printf 'HTTP/1.0 200 OK\\r\\n\\r\\nOK' ;;
esac
"""


@pytest.fixture
def path_of_ssh(tmp_path: Path) -> str:
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH, encoding="utf-8")
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def test_an_engine_that_lets_nobody_in_over_ssh_is_not_asked_about_it(
    tmp_path: Path, play: Play, path_of_ssh: str
) -> None:
    """Also where it is the first of its batch, which speaks for all."""
    asked_about = engines(1, 2, 3)
    asked_about[0]["ssh"] = False
    hosts = inventory()
    hosts["web1"] = {"docker_verify_over_ssh": False}
    tasks = verify(tmp_path, "ssh", docker_verify_engines=asked_about, docker_verify_transports=["ssh"])
    tasks[0]["environment"]["PATH"] = path_of_ssh
    outcomes = play(hosts, tasks)
    assert list(messages(outcomes)) == ["web2"]
    answer = next(outcome.tasks[GATHER_SSH] for outcome in outcomes.values() if GATHER_SSH in outcome.executions)
    assert [endpoint["name"] for endpoint in answer["endpoints"]] == ["web2", "web3"]


def test_the_accounts_are_verified_over_ssh_in_one_execution(tmp_path: Path, play: Play, path_of_ssh: str) -> None:
    tasks = verify(tmp_path, "ssh", docker_verify_engines=engines(1, 2, 3), docker_verify_transports=["ssh"])
    tasks[0]["environment"]["PATH"] = path_of_ssh
    # What the entry point for TLS has to say is nothing, where the verifying host does not use it.
    tls = verify(tmp_path, docker_verify_engines=engines(1, 2, 3), docker_verify_transports=["ssh"])
    outcomes = play(inventory(), [*tls, *tasks])
    assert asked(outcomes, GATHER_TLS) == []
    assert len(asked(outcomes, GATHER_SSH)) == 1
    assert messages(outcomes) == {
        "web2": "web2 failed verification: docker-admin@192.0.2.1 port 2202 does not reach the Docker API "
        "(Connection closed by 192.0.2.1 port 2202)."
    }


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "endpoints",
        [],
        {},
        {"endpoints": None},
        {"endpoints": "web1"},
        {"endpoints": {"web1": {"ok": True, "findings": []}}},
        {"endpoints": [{"ok": True, "findings": []}]},
        {"endpoints": [{"name": "web2", "ok": True, "findings": []}]},
        {"endpoints": [{"name": "web1", "findings": []}]},
        {"endpoints": [{"name": "web1", "ok": True, "findings": ["but"]}]},
        {"endpoints": [{"name": "web1", "ok": False, "findings": []}]},
        {"endpoints": [{"name": "web1", "ok": False, "findings": [1]}]},
        {"endpoints": [{"name": "web1", "ok": False, "findings": "no list"}]},
        {"endpoints": [{"name": "web1", "ok": True, "findings": []}] * 2},
        {"endpoints": [{"name": "web1", "ok": True, "findings": []}], "failed": True},
        {"endpoints": [{"name": "web1", "ok": True, "findings": []}], "unreachable": True},
    ],
)
def test_an_engine_passes_only_if_the_answer_says_so(answer: Any) -> None:
    assert docker_verify.of_one(answer, "web1", "build1") == ["the verifying host build1 gave no answer for web1"]


def test_an_answer_that_says_so() -> None:
    answer = {
        "endpoints": [{"name": "web1", "ok": True, "findings": []}, {"name": "web2", "ok": False, "findings": ["x"]}]
    }
    assert docker_verify.of_one(answer, "web1", "build1") == []
    assert docker_verify.of_one(answer, "web2", "build1") == ["x"]
    failure = {"failed": True, "msg": "No route to host."}
    assert docker_verify.of_one(failure, "web1", "build1") == [
        "the verifying host build1 gave no answer for web1: No route to host"
    ]
