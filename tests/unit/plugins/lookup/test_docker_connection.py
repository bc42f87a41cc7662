"""docker_connection: what modules of community.docker get, in module_defaults and as options of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.docker_cli import create, docker

REPOSITORY = Path(__file__).parents[4]
INVENTORY = {
    "docker_engines": {
        "hosts": {
            "web1": {"ansible_host": "192.0.2.1"},
            "web2": {"ansible_host": "2001:db8::2", "docker_engine_port": "{{ fleet_port }}", "ansible_port": 2222},
            "web3": {"ansible_host": "192.0.2.3", "docker_engine_address": "web3.example.com"},
            "shared1": {"ansible_host": "192.0.2.4", "ansible_port": 22},
            "shared2": {"ansible_host": "192.0.2.4", "ansible_port": 23, "docker_engine_port": 2378},
            "web4": {"ansible_host": "192.0.2.5", "ansible_port": 22},
            "web5": {"ansible_host": "192.0.2.6", "docker_ssh_enabled": False},
        },
        "vars": {"fleet_port": 2377},
    },
    "docker_clients": {
        "hosts": {
            "build1": {"docker_client_identities": [{"name": "build1", "user": "jenkins"}]},
            "build2": {
                "docker_client_identities": [{"name": "ci", "ssh_account": "deployer"}, {"name": "alice"}],
                "docker_client_transports": ["ssh", "tls"],
            },
            "build4": {"docker_client_identities": [{"name": "eve", "expires": "2020-01-01"}, {"name": "bob"}]},
            "build3": {"docker_client_identities": [{"name": "one letter too many!"}]},
        }
    },
}
# What is asked for, and on which host. The names are those of the tests below.
ASKED = {
    "tls": ("build1", "'web1'"),
    "address": ("build1", "'web3'"),
    "ipv6": ("build1", "'web2'"),
    "several": ("build1", "'web1', 'web3'"),
    "delegated": ("web1", "inventory_hostname, client='build1'"),
    "ssh": ("build2", "'web1', identity='alice'"),
    "ssh_account": ("build2", "'web2', identity='ci'"),
    "ssh_shared": ("build2", "'shared1', 'web4', identity='alice', modules='cli'"),
    "ssh_cli": ("build2", "'web1', identity='alice', modules='cli'"),
    "second_transport": ("build2", "'web1', identity='alice', transport='tls'"),
    "which_identity": ("build2", "'web1'"),
    "ended": ("build4", "'web1', identity='eve'"),
    "no_identity": ("build1", "'web1', identity='build2'"),
    "no_accounts": ("build2", "'web5', identity='alice'"),
    "no_transport": ("build1", "'web1', transport='ssh'"),
    "no_client": ("web1", "'web1'"),
    "not_right": ("build3", "'web1'"),
    "unknown": ("build1", "'wbe1'"),
    "context": ("build1", "'by-hand'"),
    "context_ssh": ("build1", "'by-ssh'"),
    "context_cli": ("build1", "'by-ssh', modules='cli'"),
    "context_local": ("build1", "'local'"),
    "context_plain": ("build1", "'plain'"),
    "context_identity": ("build1", "'by-hand', identity='build1'"),
    "context_transport": ("build1", "'by-ssh', transport='tls'"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, identities: list[Any]) -> dict[str, Any]:
    """All of it in one run: the options, or the sentence of the failure."""
    folder = tmp_path_factory.mktemp("connection")
    create(folder, "by-hand", "tcp://db1.example.com:2376", identities[0], "mine")
    for name, host in (("by-ssh", "ssh://ops@db1.example.com"), ("local", "unix:///run/docker.sock")):
        docker(folder, "context", "create", name, "--docker", f"host={host}")
    docker(folder, "context", "create", "plain", "--docker", "host=tcp://db1.example.com:2375")
    tasks = []
    for name, (host, arguments) in ASKED.items():
        call = f"lookup('bulkhead.docker.docker_connection', {arguments}, config_dir=config_dir, wantlist=true)"
        tasks += [
            {
                "block": [{"ansible.builtin.set_fact": {f"got_{name}": f"{{{{ {call} }}}}"}}],
                "rescue": [{"ansible.builtin.set_fact": {f"got_{name}": "{{ ansible_failed_result.msg }}"}}],
                "when": f"inventory_hostname == '{host}'",
            }
        ]
    # The one line, which has to reach the module: what it says about its connection shows that.
    over_tls = "{{ lookup('bulkhead.docker.docker_connection', 'web1', client='build1') }}"
    plays = [
        {"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks},
        {
            "hosts": "build1",
            "connection": "local",
            "gather_facts": False,
            "module_defaults": {"group/community.docker.docker": over_tls},
            "tasks": [
                {"community.docker.docker_host_info": {}, "register": "got_module", "ignore_errors": True},
                {
                    "ansible.builtin.copy": {"dest": str(folder / "got.json"), "content": "{{ all | to_json }}"},
                    "vars": {
                        "all": "{{ hostvars.values() | map('dict2items') | flatten"
                        " | selectattr('key', 'match', 'got_') | list | items2dict }}"
                    },
                },
            ],
        },
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    inventory = {**INVENTORY, "all": {"vars": {"config_dir": str(folder / ".docker")}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml")],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".ansible/collections"),
            "ANSIBLE_HOME": str(folder / "ansible"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "got.json").exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "got.json").read_text(encoding="utf-8"))
    return found


def over_tls(host: str, identity: str) -> dict[str, Any]:
    folder = f"~/.bulkhead/identities/{identity}"
    return {
        "docker_host": host,
        "tls": True,
        "validate_certs": True,
        "ca_path": f"{folder}/ca.pem",
        "client_cert": f"{folder}/cert.pem",
        "client_key": f"{folder}/key.pem",
    }


def over_ssh(host: str, **more: bool) -> dict[str, Any]:
    return {"docker_host": host, "tls": False, "validate_certs": False, **more}


def test_an_engine_over_tls(answers: dict[str, Any]) -> None:
    assert answers["got_tls"] == [over_tls("tcp://192.0.2.1:2376", "build1")]
    assert answers["got_address"] == [over_tls("tcp://web3.example.com:2376", "build1")]
    assert answers["got_ipv6"] == [over_tls("tcp://[2001:db8::2]:2377", "build1")]
    assert answers["got_delegated"] == answers["got_tls"]
    assert answers["got_several"] == answers["got_tls"] + answers["got_address"]


def test_an_engine_over_ssh(answers: dict[str, Any]) -> None:
    assert answers["got_ssh"] == [over_ssh("ssh://docker-alice@192.0.2.1", use_ssh_client=True)]
    assert answers["got_ssh_account"] == [over_ssh("ssh://deployer@[2001:db8::2]:2222", use_ssh_client=True)]
    assert answers["got_ssh_cli"] == [over_ssh("ssh://docker-alice@192.0.2.1")]
    shared = [over_ssh("ssh://docker-alice@192.0.2.4:22"), over_ssh("ssh://docker-alice@192.0.2.5")]
    assert answers["got_ssh_shared"] == shared
    assert answers["got_second_transport"] == [over_tls("tcp://192.0.2.1:2376", "alice")]


def test_what_is_not_declared_is_refused(answers: dict[str, Any]) -> None:
    for name, sentence in {
        "which_identity": "build2 has the identities ci, alice; say which one with identity.",
        "no_identity": "build1 has no identity 'build2'. Did you mean build1?",
        "ended": "The day of the identity eve of build4 is over (expires 2020-01-01), so that no engine lets it in;",
        "no_accounts": "web5 has no accounts over SSH (docker_ssh_enabled is false). Set transport to tls.",
        "no_transport": "build1 does not use ssh: its docker_client_transports are tls.",
        "no_client": "web1 is no client host, so that nothing is known of its identities; the client hosts are build1",
        "not_right": "cannot be the name of a folder and of a certificate",
        "unknown": "'wbe1' is neither an engine of the inventory nor a Docker context in",
    }.items():
        assert sentence in str(answers[f"got_{name}"]), answers[f"got_{name}"]


def test_a_context_of_the_control_node(answers: dict[str, Any]) -> None:
    (found,) = answers["got_context"]
    assert (found["docker_host"], found["tls"], found["validate_certs"]) == ("tcp://db1.example.com:2376", True, True)
    for option, name in (("ca_path", "ca"), ("client_cert", "cert"), ("client_key", "key")):
        assert Path(found[option]).name == f"{name}.pem" and Path(found[option]).exists()
    assert answers["got_context_ssh"] == [over_ssh("ssh://ops@db1.example.com", use_ssh_client=True)]
    assert answers["got_context_cli"] == [over_ssh("ssh://ops@db1.example.com")]
    assert answers["got_context_local"] == [over_ssh("unix:///run/docker.sock")]


def test_a_context_that_would_speak_plain_http_is_refused(answers: dict[str, Any]) -> None:
    assert "without TLS files, to which clients would speak plain HTTP" in str(answers["got_context_plain"])


def test_a_context_has_its_own_identity(answers: dict[str, Any]) -> None:
    for name in ("context_identity", "context_transport"):
        assert "leave identity and transport away" in str(answers[f"got_{name}"])


def test_one_line_of_module_defaults_reaches_the_module(answers: dict[str, Any]) -> None:
    got = answers["got_module"]
    # Without the line it would have asked the local engine.
    assert got["failed"] and "a certificate and key files must be provided" in got["msg"], got
