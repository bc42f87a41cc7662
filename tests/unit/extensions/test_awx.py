"""AWX as code, held against what AWX takes: the options of awx.awx's modules, its rules for surveys and its injector.

awx_24.6.1.json has the argument specs of the modules of awx.awx 24.6.1, which comes with `ansible` up to 13.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables
from helpers import awx

ROOT = Path(__file__).parents[3]
SPECS = json.loads((Path(__file__).parent / "awx_24.6.1.json").read_text(encoding="utf-8"))
MODULES = {
    "controller_credential_types": "credential_type",
    "controller_credentials": "credential",
    "controller_execution_environments": "execution_environment",
    "controller_projects": "project",
    "controller_inventories": "inventory",
    "controller_inventory_sources": "inventory_source",
    "controller_templates": "job_template",
    "controller_workflows": "workflow_job_template",
    "controller_schedules": "schedule",
}
# What the roles of the public collections take beside the options of the modules.
OF_ROLES = {"survey", "simplified_workflow_nodes"}
BRACES = "pa{{ss}} {% raw %}1234"


DATA = awx.controller()
TEMPLATES: list[dict[str, Any]] = DATA["controller_templates"]


def named(objects: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(entry, id=entry["name"]) for entry in objects]


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_objects_are_what_the_modules_take(kind: str) -> None:
    for entry in DATA[kind]:
        own = {key: value for key, value in entry.items() if key not in OF_ROLES}
        checked = ArgumentSpecValidator(SPECS[MODULES[kind]]).validate(own)
        assert checked.error_messages == [], entry["name"]


def test_nothing_else_is_in_the_file() -> None:
    assert {name for name in DATA if not name.startswith("awx_")} == set(MODULES)
    for kind in MODULES:
        names = [(entry.get("inventory"), entry["name"]) for entry in DATA[kind]]
        assert len(names) == len(set(names))


def survey_problems(survey: dict[str, Any]) -> Iterator[str]:
    """As AWX checks them in awx/api/views/__init__.py, _validate_spec_data."""
    kinds = ("text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect")
    for key, kind in (("name", str), ("description", str), ("spec", list)):
        if not isinstance(survey.get(key), kind):
            yield f"{key} is no {kind.__name__}"
    if not survey.get("spec"):
        yield "spec is empty"
    seen = set()
    for number, question in enumerate(survey.get("spec") or []):
        where = f"question {number}"
        for key in ("question_name", "variable", "type"):
            if not isinstance(question.get(key), str):
                yield f"{where}: {key} is no text"
        if not isinstance(question.get("required"), bool):
            yield f"{where}: required is neither true nor false"
        if question["type"] not in kinds:
            yield f"{where}: the type is none of AWX's"
        if question["variable"] in seen or not re.fullmatch(r"\w+", question["variable"]):
            yield f"{where}: the variable is there twice, or has a space"
        seen.add(question["variable"])
        choices = question.get("choices")
        if question["type"].startswith("multi") and (not choices or not all(isinstance(one, str) for one in choices)):
            yield f"{where}: choices are missing, or are no texts"
        default = question.get("default", "")
        if not isinstance(default, str) or (choices and default not in choices):
            yield f"{where}: the default is no text, or none of the choices"
        if any(not isinstance(question.get(key, 0), int) for key in ("min", "max")):
            yield f"{where}: a limit is no number"


@pytest.mark.parametrize("template", named(TEMPLATES))
def test_a_survey_is_one_that_awx_takes(template: dict[str, Any]) -> None:
    if template["survey_enabled"]:
        assert list(survey_problems(template["survey"])) == []
    else:
        assert template["survey"] == {}


def test_the_rules_for_surveys_see_what_is_wrong() -> None:
    question = {"question_name": "A", "variable": "a", "type": "multiplechoice", "required": "yes", "default": 1}
    found = list(survey_problems({"name": "", "spec": [question, {**question, "type": "word", "min": "1"}]}))
    assert len(found) == 9, found


@pytest.mark.parametrize("template", named(TEMPLATES))
def test_a_survey_asks_for_variables_that_the_playbook_takes(template: dict[str, Any]) -> None:
    playbook = template["playbook"].partition(".")[0]
    table = {variable.name: variable for variable in variables.FLEET}
    for question in template["survey"].get("spec", []):
        variable = table[question["variable"]]
        assert not variable.playbooks or playbook in variable.playbooks, question
        for answer in question.get("choices") or [question.get("default", "")]:
            if answer or not question["required"]:
                variables.convert(variable, answer, "")
        assert variable.name not in variables.SECRETS
        assert question["type"] != "password", "it would be an extra variable"


def test_who_is_gone_for_good_can_be_named_where_a_refusal_advises_it() -> None:
    (exclude,) = [variable for variable in variables.FLEET if variable.name == "docker_rotate_exclude"]
    asks = {
        entry["playbook"].partition(".")[0]
        for entry in TEMPLATES
        for question in entry["survey"].get("spec", [])
        if question["variable"] == exclude.name
    }
    assert asks == set(exclude.playbooks)


@pytest.mark.parametrize("template", named(TEMPLATES))
def test_a_template_s_playbook_is_one_that_awx_offers(template: dict[str, Any]) -> None:
    text = (awx.PROJECT / template["playbook"]).read_text(encoding="utf-8")
    # awx/main/utils/ansible.py
    assert re.search(
        r"^\s*-?\s*(?:hosts|include|import_playbook|ansible\.builtin\.import_playbook):\s*.*?$", text, re.M
    )
    (play,) = yaml.safe_load(text)
    assert play["ansible.builtin.import_playbook"] == f"bulkhead.docker.{template['playbook'].partition('.')[0]}"


def test_every_playbook_has_its_template() -> None:
    """But those that use files of the control node, which a job has not."""
    files = {f"{name}.yml" for name in variables.PLAYBOOKS if name not in ("deploy", "export_identity")}
    assert {entry["playbook"] for entry in TEMPLATES} == files
    assert {path.name for path in awx.PROJECT.glob("*.yml")} == files


def test_one_template_may_be_sliced() -> None:
    assert all(entry["job_slice_count"] == 1 for entry in TEMPLATES)
    assert [entry["name"] for entry in TEMPLATES if entry["ask_job_slice_count_on_launch"]] == ["Docker engines"]


def test_no_workflow_looks_like_a_slice() -> None:
    assert not {entry["name"] for entry in DATA["controller_workflows"]} & {entry["name"] for entry in TEMPLATES}


@pytest.mark.parametrize("workflow", named(DATA["controller_workflows"]))
def test_the_nodes_of_a_workflow(workflow: dict[str, Any]) -> None:
    nodes = {node["identifier"]: node for node in workflow["simplified_workflow_nodes"]}
    for node in nodes.values():
        own = {**node, "workflow_job_template": workflow["name"]}
        checked = ArgumentSpecValidator(SPECS["workflow_job_template_node"]).validate(own)
        assert checked.error_messages == []
        assert set(node.get("success_nodes", [])) <= set(nodes)
        assert ("approval_node" in node) != (node.get("unified_job_template") in {entry["name"] for entry in TEMPLATES})
        if "approval_node" in node:
            assert set(node["approval_node"]) == {"name", "description", "timeout"}
        if node.get("unified_job_template") == "Docker rotate CA":
            (before,) = [other for other in nodes.values() if node["identifier"] in other.get("success_nodes", [])]
            assert "approval_node" in before


def test_a_schedule_is_for_something_that_is_there() -> None:
    for schedule in DATA["controller_schedules"]:
        assert schedule["unified_job_template"] in {entry["name"] for entry in DATA["controller_workflows"]}
        assert re.fullmatch(
            r"DTSTART;TZID=[\w/]+:\d{8}T\d{6} RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=(MO|TU|WE|TH|FR|SA|SU)",
            schedule["rrule"],
        )


@pytest.mark.parametrize("kind", named(DATA["controller_credential_types"]))
def test_a_credential_type_is_one_that_awx_takes(kind: dict[str, Any]) -> None:
    """awx/main/fields.py: CredentialTypeInputField and CredentialTypeInjectorField."""
    assert kind["kind"] in ("cloud", "net")
    assert set(kind["inputs"]) <= {"fields", "required"}
    ids = [field["id"] for field in kind["inputs"]["fields"]]
    assert len(ids) == len(set(ids))
    assert "tower" not in ids
    assert set(kind["inputs"]["required"]) <= set(ids)
    for field in kind["inputs"]["fields"]:
        assert {"id", "label", "type"} <= set(field) <= {"id", "label", "type", "secret", "help_text"}
        assert field["type"] in ("string", "boolean")
    assert set(kind["injectors"]) <= {"file", "env", "extra_vars"}
    for name, value in kind["injectors"]["env"].items():
        assert re.fullmatch(r"[A-Z_][A-Z0-9_]*", name)
        assert not name.startswith("ANSIBLE_")
        assert re.fullmatch(r"\{\{ (\w+) \}\}", value)[1] in ids  # type: ignore[index]


def test_the_passphrase_comes_as_environment_and_as_it_is(tmp_path: Path) -> None:
    env, safe, args = awx.injected(tmp_path, {"passphrase": BRACES})
    assert env["BULKHEAD_CA_PASSPHRASE"] == BRACES
    assert env["BULKHEAD_CA_OLD_PASSPHRASE"] == ""
    assert BRACES not in str(safe)
    assert args == [], "nothing is an extra variable"
    assert list((tmp_path / "env").iterdir()) == [], "nothing is a file"


def test_the_project_reads_what_is_injected() -> None:
    read = (awx.PROJECT / "inventory/group_vars/docker_ca.yml").read_text(encoding="utf-8")
    (kind,) = DATA["controller_credential_types"]
    assert set(re.findall(r"'(BULKHEAD_\w+)'", read)) == set(kind["injectors"]["env"])
    assert set(yaml.safe_load(read)) == variables.SECRETS


MODULE = """
import json, pathlib
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={spec!r}, supports_check_mode=True)
with open({log!r}, "a") as file:
    given = {{key: value for key, value in module.params.items() if value is not None}}
    file.write(json.dumps([{name!r}, given]) + "\\n")
module.exit_json(changed=False)
"""


def test_apply_gives_all_of_it_to_the_modules(tmp_path: Path) -> None:
    """The playbook itself, with modules that take what awx.awx's take."""
    collection = tmp_path / "collections/ansible_collections/awx/awx"
    (collection / "plugins/modules").mkdir(parents=True)
    log = tmp_path / "asked.jsonl"
    for name, spec in SPECS.items():
        text = MODULE.format(spec=spec, log=str(log), name=name)
        (collection / f"plugins/modules/{name}.py").write_text(text, encoding="utf-8")
    shutil.copytree(awx.AWX, tmp_path / "awx")

    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", tmp_path / "awx/apply.yml"],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "BULKHEAD_CA_PASSPHRASE": BRACES,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    asked = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for kind, name in MODULES.items():
        given = [options for module, options in asked if module == name]
        assert [options["name"] for options in given] == [entry["name"] for entry in DATA[kind]]
        for options, entry in zip(given, DATA[kind]):
            for key, value in entry.items():
                if key == "survey":
                    assert options["survey_spec"] == value
                elif key not in OF_ROLES and key != "inputs":
                    assert options[key] == value, (entry["name"], key)
    assert [options["inputs"] for module, options in asked if module == "credential"] == [{"passphrase": BRACES}]
    links = [
        options for module, options in asked if module == "workflow_job_template_node" and "success_nodes" in options
    ]
    assert [(options["identifier"], options["success_nodes"]) for options in links] == [
        (node["identifier"], node["success_nodes"])
        for workflow in DATA["controller_workflows"]
        for node in workflow["simplified_workflow_nodes"]
        if "success_nodes" in node
    ]


@pytest.mark.parametrize("file", ["extensions/awx/execution-environment.yml"])
def test_ansible_builder_takes_the_environment(file: str, tmp_path: Path) -> None:
    builder = Path(sys.executable).parent / "ansible-builder"
    command = [
        builder,
        "create",
        "--file",
        ROOT / file,
        "--context",
        tmp_path / "context",
        "--output-filename",
        "Containerfile",
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "context/Containerfile").read_text(encoding="utf-8")
    assert "quay.io/centos/centos:stream9" in text


def test_the_collection_says_what_an_environment_needs() -> None:
    """As ansible-builder reads it from a collection, and with what certification asks for."""
    meta = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text(encoding="utf-8"))
    assert meta["version"] == 1
    python = (ROOT / meta["dependencies"]["python"]).read_text(encoding="utf-8").splitlines()
    system = (ROOT / meta["dependencies"]["system"]).read_text(encoding="utf-8").splitlines()
    packages = [line for line in python if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z-]+>=[0-9.]+", line) and not line.startswith("ansible") for line in packages), (
        packages
    )
    profiles = [shlex.split(line)[1] for line in system if not line.startswith("#")]
    assert profiles == ["[platform:dpkg]", "[platform:rpm]"]


@pytest.mark.parametrize("secret", ["plain text", "quo'te\"s", "back\\slash", "12'3\\4\"", '\\"', 'ümläut "'])
def test_a_secret_is_found_however_often_it_was_made_json(secret: str) -> None:
    """As in an event of ansible-runner, with a result as data and as Ansible has printed it."""
    result = {"msg": f"it is {secret}."}
    event = json.dumps({"stdout": f"fatal: [web1]: FAILED! => {json.dumps(result, ensure_ascii=False)}"})
    as_data = json.dumps({"event_data": {"res": {secret: [1, None, result]}}})
    for raw in (event, as_data):
        kept = "\n".join([raw, *awx.texts([json.loads(raw)])])
        assert awx.has(kept, secret)
        assert not awx.has(kept, f"{secret}x")
