"""The plan as a playbook makes it: variables as Ansible has them, and no host contacted."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.returns import assert_documented

REPOSITORY = Path(__file__).parents[4]
Run = Callable[..., dict[str, Any]]

INVENTORY = {
    "all": {"vars": {"ansible_become": True, "ansible_connection": "ssh", "fleet_port": 2377}},
    "docker_engines": {
        "hosts": {
            "web1": {"ansible_host": "192.0.2.1", "docker_engine_names": ["{{ inventory_hostname }}.example.com"]},
            "web2": {
                "ansible_ssh_host": "2001:db8::2",
                "docker_engine_address": "{{ hostvars['web1'].ansible_host[:-1] }}9",
            },
            "web 3": {"ansible_host": "192.0.2.3"},
        },
        "vars": {
            "docker_engine_port": "{{ fleet_port | int }}",
            "docker_engine_daemon_options": {
                "log-opts": {"max-size": "{{ '10' ~ 'm' }}", "tag": "{% raw %}{{.Name}}{% endraw %}"}
            },
            "docker_ssh_users": [
                {"name": "docker-alice", "public_keys": ["{{ lookup('ansible.builtin.file', 'keys/alice.pub') }}"]}
            ],
        },
    },
    "docker_clients": {"hosts": {"build1": {"docker_client_identities": [{"name": "build1", "user": "jenkins"}]}}},
}
ALICE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g alice"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Makes the plan in a playbook of a collection, which the operator's own playbook imports."""
    playbooks = tmp_path / "collections/ansible_collections/tried/here/playbooks"
    playbooks.mkdir(parents=True)
    (playbooks.parent / "galaxy.yml").write_text("{namespace: tried, name: here, version: 1.0.0}\n", encoding="utf-8")
    made = tmp_path / "made.json"
    plays = [
        {
            "hosts": "all:localhost",
            "gather_facts": False,
            "tasks": [
                {
                    "bulkhead.docker.docker_plan": {"playbook": "{{ playbook | default('site') }}"},
                    "register": "answer",
                    "ignore_errors": True,
                    "run_once": True,
                },
                {
                    "ansible.builtin.copy": {"dest": str(made), "content": "{{ answer | to_json }}", "mode": "0600"},
                    "run_once": True,
                    "delegate_to": "localhost",
                    "become": False,
                    "check_mode": False,
                    "vars": {"ansible_become": False, "ansible_connection": "local"},
                },
            ],
        }
    ]
    (playbooks / "plan.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    (tmp_path / "inventory/keys").mkdir(parents=True)
    (tmp_path / "inventory/keys/alice.pub").write_text(f"{ALICE}\n", encoding="utf-8")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/site.yml").write_text("- import_playbook: tried.here.plan\n", encoding="utf-8")

    def play(inventory: dict[str, Any], *options: str, **environment: str) -> dict[str, Any]:
        hosts = tmp_path / "inventory/hosts.yml"
        hosts.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
        done = subprocess.run(
            ["ansible-playbook", "-i", str(hosts), str(tmp_path / "project/site.yml"), *options],
            env={
                **os.environ,
                "ANSIBLE_HOME": str(tmp_path / "home"),
                "ANSIBLE_COLLECTIONS_PATH": f"{REPOSITORY / '.ansible/collections'}:{tmp_path / 'collections'}",
                "ANSIBLE_LOCALHOST_WARNING": "false",
                **environment,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.exists(), done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(made.read_text(encoding="utf-8"))
        return answer

    return play


def test_the_plan_has_values_and_no_templates(run: Run) -> None:
    options = ("--limit", "web1,web 3", "--check", "-e", '{"docker_engine_serial": 1}')
    answer = run(INVENTORY, *options, ANSIBLE_HASH_BEHAVIOUR="merge")
    made = answer
    web1 = made["engines"]["web1"]
    assert web1["host"] == "tcp://192.0.2.1:2377"
    assert web1["names"][:3] == ["web1", "192.0.2.1", "web1.example.com"]
    assert web1["daemon_options"] == {"log-opts": {"max-size": "10m", "tag": "{{.Name}}"}}
    assert web1["ssh"]["users"][0]["public_keys"] == [ALICE]
    assert made["engines"]["web2"]["address"] == "192.0.2.9"
    assert "2001:db8::2" in made["engines"]["web2"]["names"]
    assert made["engines"]["web 3"]["context"] == "web-3"
    assert list(made["clients"]) == ["build1"]
    assert made["verifier"]["user"] == "jenkins"
    assert made["batches"] == [["web1"], ["web 3"]]
    assert made["check_mode"] is True
    assert_documented("docker_plan", answer)


def test_a_machine_credential_names_the_connecting_user(run: Run) -> None:
    """AWX gives its user as -u, not as ansible_user; an identity of that user needs nobody else's rights."""
    hosts = {"build1": {"docker_client_identities": [{"name": "build1", "user": "ops"}]}}
    inventory = {**INVENTORY, "docker_clients": {"hosts": hosts}}
    client = run(inventory, "-u", "ops")["clients"]["build1"]
    assert (client["connects_as"], client["identities"][0]["user"]) == ("ops", "")
    hosts["build1"]["ansible_user"] = "admin"
    client = run(inventory, "-u", "ops")["clients"]["build1"]
    assert (client["connects_as"], client["identities"][0]["user"]) == ("admin", "ops")


def test_variables_of_facts_name_the_host_and_the_way_out(run: Run) -> None:
    """B23."""
    facts = {"docker_engine_listen": ["{{ ansible_facts.default_ipv4.address }}"]}
    hosts = {"web1": {"ansible_host": "192.0.2.1"}, "web2": {"ansible_host": "192.0.2.2", **facts}}
    answer = run({"docker_engines": {"hosts": hosts}}, "--limit", "web1")
    assert answer["failed"]
    (problem,) = answer["problems"]
    assert problem.startswith("docker_engine_listen of web2 cannot be resolved: ")
    assert "fact cache" in problem
    assert problem in answer["msg"]


def test_cached_facts_resolve_and_cannot_set_our_variables(run: Run, tmp_path: Path) -> None:
    """B23."""
    facts: dict[str, Any] = {"default_ipv4": {"address": "192.0.2.1"}, "cacheable": True}
    earlier = {"hosts": "web1", "gather_facts": False, "tasks": [{"ansible.builtin.set_fact": facts}]}
    imported = {"import_playbook": "tried.here.plan"}
    vars_of_engines = {"docker_engine_address": "{{ ansible_facts['default_ipv4']['address'] }}"}
    inventory = {"docker_engines": {"hosts": {"web1": None}, "vars": vars_of_engines}}
    site = tmp_path / "project/site.yml"
    site.write_text(yaml.safe_dump([earlier, imported]), encoding="utf-8")
    assert run(inventory)["engines"]["web1"]["address"] == "192.0.2.1"
    facts["docker_engine_address"] = "192.0.2.66"
    site.write_text(yaml.safe_dump([earlier, imported]), encoding="utf-8")
    (problem,) = run(inventory)["problems"]
    assert problem.startswith("web1 has facts with the names of this collection's variables: docker_engine_address.")


def test_group_vars_beside_the_operator_s_playbook_are_missed(run: Run, tmp_path: Path) -> None:
    """B06."""
    (tmp_path / "project/group_vars").mkdir()
    unread = tmp_path / "project/group_vars/docker_engines.yml"
    unread.write_text("---\ndocker_engine_listen: [192.0.2.1]\nother: 1\n", encoding="utf-8")
    inventory = {"docker_engines": {"hosts": {"web1": {"ansible_host": "192.0.2.1"}}}}
    (problem,) = run(inventory)["problems"]
    assert problem.startswith(f"{unread} has docker_engine_listen, but Ansible does not read it")
    (tmp_path / "inventory/group_vars").symlink_to(tmp_path / "project/group_vars")
    assert run(inventory)["engines"]["web1"]["listen"] == ["192.0.2.1"]


def test_extra_variables_are_checked(run: Run) -> None:
    inventory = {"docker_engines": {"hosts": {"web1": {"ansible_host": "192.0.2.1"}}}}
    options = ("-e", "docker_renew_froce=true ansible_become=true", "-e", "playbook=renew")
    assert len(run(inventory, *options)["problems"]) == 2


def test_a_secret_is_not_taken_from_the_command_line(run: Run, tmp_path: Path) -> None:
    inventory = {"docker_engines": {"hosts": {"web1": {"ansible_host": "192.0.2.1"}}}}
    secret = {"docker_ca_passphrase": "correct horse"}
    (tmp_path / "secret.json").write_text(json.dumps(secret), encoding="utf-8")

    (problem,) = run(inventory, "-e", json.dumps(secret))["problems"]
    assert problem.startswith("docker_ca_passphrase is on the command line, where ps shows it")
    assert "correct horse" not in problem

    assert run(inventory, "-e", f"@{tmp_path}/secret.json")["problems"] == []
    template = "{{ lookup('ansible.builtin.env', 'PASSPHRASE') }}"
    assert run(inventory, "-e", json.dumps({"docker_ca_passphrase": template}))["problems"] == []
