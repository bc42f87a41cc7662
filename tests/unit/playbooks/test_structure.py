"""How the playbooks are built: what a reader, a setting of Ansible or a host that lies must not be able to change."""

from __future__ import annotations

import collections
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.bulkhead.docker.plugins.filter import docker_gateway, docker_handover, docker_verify

ROOT = Path(__file__).parents[3]
PLAYBOOKS = ROOT / "playbooks"
ROLES = ROOT / "roles"
# Those of roles/docker_plan/vars/main/hosts.yml, and whoever --limit leaves, for what the control node does once.
CA, ENGINES, CLIENTS = (f"{{{{ docker_{kind}_pattern }}}}" for kind in ("ca", "engine", "client"))
ONCE = "all:localhost"
# Who becomes root: on engines all of it, on the CA host nothing, on client hosts the role says it for each OS user.
BECOME = {CA: False, ONCE: False, ENGINES: True, CLIENTS: None}
# Here the client that verifies is asked, and docker_verify says as whom.
VERIFIES = ("verify", "verify_accounts")
# What runs on the control node and brings no answer of a host.
CONTROL_NODE = {
    f"ansible.builtin.{name}"
    for name in (
        "add_host",
        "assert",
        "debug",
        "fail",
        "meta",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "set_fact",
    )
}
INCLUDES = ("import_playbook", "import_tasks", "include_tasks")
# Where something of another host is read, how often, and why that is no way for a host to change the run.
HOSTVARS = {
    # The variables of the control node, which say whom a play is for.
    "roles/docker_plan/vars/main/hosts.yml": 1,
    # The plan, which is the same on all hosts; the CA as the CA host has it; that an engine failed; that one has had
    # the account of an identity that is revoked.
    "roles/docker_plan/vars/main/planned.yml": 6,
    # Port and host keys of an engine's sshd, for clients; read in plugin_utils/handover.py, which takes nothing else.
    "roles/docker_plan/vars/main/client.yml": 1,
    # Public keys of identities, for accounts, and the same as above for who verifies; read there, too.
    "roles/docker_plan/vars/main/ssh.yml": 1,
    "roles/docker_plan/vars/main/verify.yml": 1,
    # What hosts have answered, for the report and for the end of a phase; each answer counts for its host.
    "playbooks/internal/report.yml": 1,
    # The requests of all engines, each beside what the plan has its certificate say.
    "playbooks/internal/engines.yml": 1,
    "playbooks/internal/report_replaced_ca.yml": 1,
    "playbooks/internal/check_answers.yml": 1,
    "playbooks/internal/check_followed.yml": 1,
    "playbooks/internal/check_record.yml": 1,
    "playbooks/internal/plan_rotation.yml": 1,
    "playbooks/remove.yml": 1,
    # What the CA host says about its own record.
    "playbooks/revoke_client.yml": 2,
    # The passphrase, for the CA host alone.
    "playbooks/internal/gather_ca.yml": 2,
    "playbooks/export_identity.yml": 1,
    "roles/docker_ca/tasks/sign_requests.yml": 1,
    # The requests of all hosts of a play; names, usages and validity in them are from the plan.
    "roles/docker_engine/tasks/certificate.yml": 1,
}


def load(path: Path) -> list[dict[str, t.Any]]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or []


def plays() -> list[t.Any]:
    files = sorted([*PLAYBOOKS.glob("*.yml"), *PLAYBOOKS.glob("internal/*.yml")])
    found = [(file, play) for file in files for play in load(file) if "hosts" in play]
    return [pytest.param(file, play, id=f"{file.stem}-{number}") for number, (file, play) in enumerate(found)]


def tasks(entries: list[dict[str, t.Any]]) -> t.Iterator[dict[str, t.Any]]:
    for entry in entries:
        parts = [entry.get(part) or [] for part in ("tasks", "block", "rescue", "always")]
        yield entry
        for part in parts:
            yield from tasks(part)


def action(task: dict[str, t.Any]) -> str:
    return next((key for key in task if "." in key), "")


@pytest.mark.parametrize(("file", "play"), plays())
def test_a_play_says_what_settings_could_change(file: Path, play: dict[str, t.Any]) -> None:
    """B03, B12, B20."""
    assert play["strategy"] == "ansible.builtin.linear"
    assert play["gather_facts"] is False
    assert play["hosts"] in BECOME, "a reader resolves it with roles/docker_plan/vars/main/hosts.yml"
    if file.stem in VERIFIES:
        assert "become" not in play
    else:
        assert play.get("become") == BECOME[play["hosts"]]
    if play["hosts"] == CA:
        # A variable of the inventory is stronger than the keyword.
        assert play["vars"]["ansible_become"] is False


def test_what_hosts_read_of_each_other_is_listed() -> None:
    found: collections.Counter[str] = collections.Counter()
    for folder in (PLAYBOOKS, ROLES):
        for path in folder.rglob("*.yml"):
            code = [line.partition(" #")[0] for line in path.read_text(encoding="utf-8").splitlines()]
            lines = [line for line in code if "hostvars" in line and not line.startswith("#")]
            if lines and "meta" not in path.parts:
                found[str(path.relative_to(ROOT))] += len(lines)
    assert found == HOSTVARS


@pytest.mark.parametrize(
    "role", ["docker_ca", "docker_engine", "docker_client", "docker_ssh", "docker_gitops", "docker_verify"]
)
def test_every_answer_is_data(role: str) -> None:
    """The actions of the collection drop variables; a module that is called by its own name would set them."""
    used = {action(task) for path in (ROLES / role / "tasks").glob("*.yml") for task in tasks(load(path))} - {""}
    assert {name for name in used if not name.startswith("bulkhead.docker.")} <= CONTROL_NODE


def test_the_playbooks_call_no_module_of_another_collection() -> None:
    files = [*PLAYBOOKS.glob("*.yml"), *PLAYBOOKS.glob("internal/*.yml"), *PLAYBOOKS.glob("tasks/*.yml")]
    used = {action(task) for path in files for task in tasks(load(path))} - {"", "ansible.builtin.import_playbook"}
    assert {name for name in used if not name.startswith("bulkhead.docker.")} <= CONTROL_NODE


def test_every_filter_is_there() -> None:
    text = "".join(path.read_text(encoding="utf-8") for folder in (PLAYBOOKS, ROLES) for path in folder.rglob("*.yml"))
    plugins = (docker_gateway, docker_handover, docker_verify)
    known = {name for plugin in plugins for name in plugin.FilterModule().filters()}
    assert set(re.findall(r"\|\s*bulkhead\.docker\.(docker_\w+)", text)) == known


def test_an_engine_is_verified_from_inside_as_root() -> None:
    inside = load(PLAYBOOKS / "tasks/verify_engine.yml")[0]["ansible.builtin.include_role"]
    assert (inside["tasks_from"], inside["apply"]) == ("report", {"become": True})


def includes(path: Path) -> t.Iterator[Path]:
    for task in tasks(load(path)):
        for name in INCLUDES:
            target = task.get(f"ansible.builtin.{name}")
            if isinstance(target, str):  # one with settings is the operator's own file
                yield (path.parent / target).resolve()
        for name in ("include_role", "import_role"):
            role = task.get(f"ansible.builtin.{name}")
            if role:
                yield ROLES / role["name"].rpartition(".")[2] / "tasks" / f"{role.get('tasks_from', 'main')}.yml"


def module(task: dict[str, t.Any]) -> str:
    """The module that docker_module runs."""
    return str((task.get("bulkhead.docker.docker_module") or {}).get("name"))


def test_the_transaction_is_five_files_away_at_most() -> None:
    start = PLAYBOOKS / "site.yml"
    files, queue = {start: 1}, [start]
    for path in queue:
        for target in includes(path):
            if target not in files:
                files[target] = files[path] + 1
                queue.append(target)
    found = {
        path.stem: number
        for path, number in files.items()
        if any(module(task) == "bulkhead.docker.docker_daemon_config" for task in tasks(load(path)))
    }
    assert found["daemon"] <= 5, found


def test_no_play_ends_for_all_by_a_template() -> None:
    """ansible-core 2.18 takes a template for true. Where a playbook may go on, plays have max_fail_percentage."""
    for path in PLAYBOOKS.rglob("*.yml"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "any_errors_fatal" in line]
        assert {line.strip() for line in lines} <= {"any_errors_fatal: true"}, path
