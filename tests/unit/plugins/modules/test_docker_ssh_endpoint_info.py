"""The module as Ansible runs it, with a script in the place of ssh."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import returns


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Nothing is refused at the first address, and nobody gets in at the others."""
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\ncase \"$*\" in *192.0.2.1*) printf 'HTTP/1.0 200 OK\\r\\n' ;; *) exit 255 ;; esac\n")
    program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_it_returns_what_it_documents(path: str) -> None:
    endpoints = [
        {"name": "web1", "address": "192.0.2.1", "account": "docker-admin"},
        {"name": "web2", "address": "192.0.2.2", "account": "docker-admin", "port": 2222},
    ]
    result = returns.run("docker_ssh_endpoint_info", {"endpoints": endpoints}, check=True, PATH=path)
    assert (result["ok"], result["changed"], result.get("failed", False)) == (False, False, False)
    first, second = result["endpoints"]
    assert (first["name"], first["ok"], len(first["findings"])) == ("web1", False, len(first["refused"]))
    assert (second["name"], second["refused"]) == ("web2", {})
    returns.assert_documented("docker_ssh_endpoint_info", result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoints": []}, "endpoints is empty, so that nothing would be verified; name at least one."),
        (
            {"endpoints": [{"name": "a", "address": "b", "account": "c"}], "timeout": 0},
            "timeout is 0; give seconds, at least 1.",
        ),
    ],
)
def test_bad_input_is_one_sentence(options: dict[str, object], message: str) -> None:
    result = returns.run("docker_ssh_endpoint_info", options)
    assert (result["failed"], result["msg"]) == (True, message)
