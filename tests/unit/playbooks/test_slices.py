"""Jobs of AWX: slices, and inventories whose groups are empty. A run that does not know all hosts refuses.

Only bulkhead.docker.engines may be a slice. Everything else says so before any host is contacted.
"""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import checks, variables
from cryptography import x509
from helpers import awx
from helpers.fake_fleet import Fleet, Run
from helpers.slow import slow
from helpers.ssh_engine import ED25519

PLAYBOOKS = sorted(set(variables.PLAYBOOKS) - {"engines"})
# Of playbooks that all begin with the same plan.
SAMPLES = ("site", "remove", "revoke_client")
# Of two slices, one lacks the CA host and the other one clients.
SLICES = [
    pytest.param(name, number, id=f"{name}-{kind}", marks=() if name in samples else pytest.mark.slow)
    for number, kind, samples in ((1, "without-ca", SAMPLES), (2, "with-ca", ("site",)))
    for name in PLAYBOOKS
]
NEEDED: dict[str, dict[str, Any]] = {
    "remove": {"docker_remove_hosts": "all", "docker_remove_ca": True},
    "revoke_client": {"docker_revoke_name": "jenkins"},
}
CONNECTION = {
    "ansible_connection": "local",
    "ansible_host": "192.0.2.9",
    "ansible_python_interpreter": sys.executable,
}
SLICE = awx.job_variables(workflow=awx.JOB)


def content(fleet: Fleet) -> dict[str, Any]:
    """The inventory of the fleet with a CA host of its own, as an operator of AWX has it."""
    of_ca = {"docker_ca_dir": str(fleet.root / "home/.bulkhead/ca"), "docker_ca_passphrase": ""}
    return {
        "all": {"vars": {"docker_ca_host": "ca1", "docker_ca_connection": CONNECTION}},
        "docker_ca": {"hosts": {"ca1": CONNECTION}, "vars": of_ca},
        **fleet.content(),
    }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet.make(tmp_path_factory.mktemp("slices") / "fleet", users=(), passphrase="")
    inventory = awx.write(fleet.root / "whole", content(fleet))
    done = fleet.play("site", inventory=inventory, **awx.job_variables())
    assert not done.failed, done.output
    return fleet


def picture(fleet: Fleet) -> list[Any]:
    return [fleet.files(), *(fleet.holds(name) for name in fleet.hosts)]


def of_slice(fleet: Fleet, number: int, count: int = 2) -> Path:
    return awx.write(fleet.root / "slices", content(fleet), number, count)


RELAUNCHED = awx.job_variables(launch="relaunch")


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        (SLICE, f"This job is a slice of the job template '{awx.JOB}', and {{}} has to know all hosts"),
        # AWX's copy of a slice has its hosts, and no workflow.
        slow(RELAUNCHED, "it may be a slice of a job template, and {} has to know all hosts: launch the job template"),
    ],
    ids=["slice", "relaunched"],
)
@pytest.mark.parametrize(("playbook", "number"), SLICES)
def test_only_engines_may_be_a_slice(
    secured: Fleet, playbook: str, number: int, job: dict[str, Any], sentence: str
) -> None:
    """A slice that has engines and clients, which no empty group gives away, and one that has the CA host."""
    before = picture(secured)
    secured.prepare()

    run = secured.play(playbook, inventory=of_slice(secured, number), **job, **NEEDED.get(playbook, {}))

    assert run.failed
    assert sentence.format(playbook) in " ".join(run.output.replace("\\n", " ").split())
    assert picture(secured) == before
    assert not any(run.asked.values()), "nobody was asked anything"


@pytest.mark.parametrize(("playbook", "number"), SLICES)
def test_a_part_of_the_hosts_is_refused_also_where_no_variable_tells_a_slice(
    secured: Fleet, playbook: str, number: int
) -> None:
    """Hosts by name are build1, ca1, ops1, web1, web2: the first slice lacks the CA host, the second one clients."""
    before = picture(secured)
    secured.prepare()

    run = secured.play(playbook, inventory=of_slice(secured, number), **NEEDED.get(playbook, {}))

    assert run.failed
    lacks = {1: "docker_ca_host is 'ca1', which is no host of the inventory.", 2: EMPTY["docker_clients"]}
    assert lacks[number] in run.output
    assert picture(secured) == before
    assert not any(run.asked.values()), "nobody was asked anything"


def test_gitops_may_be_a_slice(secured: Fleet, tmp_path: Path) -> None:
    """Each engine is set up by itself: of two slices each asks its own engines, and nobody else."""
    fleet = secured.copy(tmp_path / "fleet")
    repository = {
        "docker_gitops_repository": "https://git.example.com/deploy.git",
        "docker_gitops_signers": [{"name": "ops@example.com", "public_keys": [ED25519]}],
        "docker_gitops_projects": [{"name": "shop"}],
    }
    fleet.variables = dict.fromkeys(("web1", "web2"), repository)
    asked: dict[str, set[int]] = {}
    for number in (1, 2):
        fleet.prepare()
        run = fleet.play("gitops", inventory=of_slice(fleet, number), **SLICE)
        assert not run.failed, run.output
        for name in (name for name, told in run.asked.items() if any("docker_gitops " in line for line in told)):
            asked.setdefault(name, set()).add(number)
        assert [name for name, told in run.asked.items() if told and name not in asked] == []
    assert sorted(asked) == ["web1", "web2"]
    assert {len(numbers) for numbers in asked.values()} == {1}
    assert fleet.files() == secured.files()


def slice_with_all_groups(fleet: Fleet) -> Path:
    """With another name of the CA host one slice has a host of each group, so that no group is empty."""
    whole = content(fleet)
    whole["docker_ca"]["hosts"] = {"alpha": CONNECTION}
    del whole["all"]["vars"]["docker_ca_host"]
    whole["docker_clients"]["vars"]["docker_client_purge"] = True
    assert awx.hosts(whole)[0::2] == ["alpha", "ops1", "web2"]
    return awx.write(fleet.root / "mixed", whole, 1, 2)


@pytest.mark.parametrize(
    ("playbook", "extra"),
    [
        ("rotate_ca", {}),
        slow("remove", NEEDED["remove"]),
        slow("revoke_client", {"docker_revoke_name": "build1"}),
        slow("revoke_client", {"docker_revoke_name": "build1", "docker_revoke_by_rotation": True}),
    ],
    ids=["rotate_ca", "remove", "revoke_client", "by_rotation"],
)
def test_a_slice_with_all_groups_is_told_by_the_record(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any]
) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play(playbook, inventory=slice_with_all_groups(fleet), **extra)

    assert run.failed
    said = " ".join(run.output.split())
    if playbook == "revoke_client" and "docker_revoke_by_rotation" not in extra:
        assert "web1 may let build1 in as before" in " ".join(run.report["problems"])
        return
    assert "web1: it holds a server certificate and is no engine of this inventory" in said
    assert ("build1: it holds build1 and is no client host of this inventory" in said) == (playbook != "revoke_client")
    assert [fleet.holds(name).get("ca") for name in fleet.hosts] == [
        secured.holds(name).get("ca") for name in secured.hosts
    ]


@pytest.mark.parametrize("playbook", ["site", slow("renew"), slow("verify")])
def test_a_slice_with_all_groups_takes_nothing_from_others(secured: Fleet, tmp_path: Path, playbook: str) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play(playbook, inventory=slice_with_all_groups(fleet))

    assert not run.failed, run.output
    assert [row["name"] for row in run.report["rows"] if row["kind"] == "engine"] == ["web2"]
    assert [fleet.holds(name) for name in ("web1", "build1")] == [secured.holds(name) for name in ("web1", "build1")]
    told = [line.partition(" ") for line in (*run.asked["web2"], *run.asked["ops1"])]
    asked = [(module.rpartition(".")[2], json.loads(options)) for module, _, options in told]
    keeps = [options["keep"] for module, options in asked if module == "docker_ssh_access"]
    purges = [options["purge"] for module, options in asked if module == "docker_contexts"]
    # Whoever the slice does not know, and each account that they may share.
    assert all(keep == ["build1", "docker-build1", "docker-ops1"] for keep in keeps), keeps
    assert not any(purges)
    assert bool(keeps) == (playbook == "site")


@pytest.mark.slow
def test_engines_may_be_relaunched(secured: Fleet) -> None:
    secured.prepare()

    run = secured.play("engines", inventory=of_slice(secured, 1), **RELAUNCHED)

    assert not run.failed, run.output


@pytest.mark.slow
def test_a_job_in_a_workflow_is_no_slice(secured: Fleet) -> None:
    secured.prepare()
    inventory = awx.write(secured.root / "whole", content(secured))

    run = secured.play("verify", inventory=inventory, **awx.job_variables(workflow="Weekly renewal"))

    assert not run.failed, run.output


EMPTY = {
    "docker_ca": "The group docker_ca is empty",
    "docker_clients": "The inventory has no hosts in 'docker_clients'",
    "docker_engines": "The inventory has no hosts in 'docker_engines'",
}
EMPTY_SAMPLES = [
    *((lacks, "site") for lacks in EMPTY),
    ("docker_clients", "remove"),
    ("docker_engines", "revoke_client"),
]
WITHOUT_ENGINES = ("docker_engines", "change_passphrase")  # which reaches none


@pytest.mark.parametrize(
    ("lacks", "playbook"),
    [
        (lacks, playbook) if (lacks, playbook) in EMPTY_SAMPLES else slow(lacks, playbook)
        for lacks in EMPTY
        for playbook in PLAYBOOKS
        if (lacks, playbook) != WITHOUT_ENGINES
    ],
)
def test_a_group_that_is_empty_is_no_group_that_is_missing(secured: Fleet, lacks: str, playbook: str) -> None:
    """Of any cause: no job variables of AWX are given."""
    whole = content(secured)
    del whole["all"]["vars"]["docker_ca_host"]
    before = picture(secured)
    secured.prepare()
    inventory = awx.write(secured.root / lacks, {**whole, lacks: {**whole[lacks], "hosts": {}}})

    run = secured.play(playbook, inventory=inventory, **NEEDED.get(playbook, {}))

    assert run.failed
    assert EMPTY[lacks] in run.output
    assert picture(secured) == before
    assert not any(run.asked.values())


def test_a_ca_host_that_the_inventory_has_not_is_no_host(secured: Fleet) -> None:
    """It might resolve, and would be asked as somebody, in some folder, without a passphrase."""
    whole = content(secured)
    secured.prepare()
    inventory = awx.write(secured.root / "nobody", {**whole, "docker_ca": {**whole["docker_ca"], "hosts": {}}})

    run = secured.play("site", inventory=inventory)

    assert run.failed
    assert "docker_ca_host is 'ca1', which is no host of the inventory." in run.output
    assert not any(run.asked.values())


@pytest.mark.slow
def test_the_report_of_the_job_before_is_no_variable_of_the_next(secured: Fleet) -> None:
    """In a workflow, the statistics of a job are extra variables of those after it."""
    secured.prepare()
    inventory = awx.write(secured.root / "whole", content(secured))
    in_workflow = awx.job_variables(workflow="Weekly renewal")

    renewed = secured.play("renew", inventory=inventory, **in_workflow)

    assert not renewed.failed, renewed.output
    statistics = json.loads(re.findall(r"^\tRUN: (\{.*)$", renewed.output, re.MULTILINE)[0])
    assert set(statistics) == {variables.ARTEFACT}
    assert variables.ARTEFACT not in variables.KNOWN
    verified = secured.play("verify", inventory=inventory, **in_workflow, **statistics)
    assert not verified.failed, verified.output
    assert verified.report["playbook"] == "verify"


def serials(fleet: Fleet) -> list[int]:
    record = fleet.root / "home/.bulkhead/ca/issued"
    return [x509.load_pem_x509_certificate(path.read_bytes()).serial_number for path in sorted(record.glob("*.pem"))]


def test_two_slices_at_once_share_one_ca(tmp_path: Path) -> None:
    """Each has every second host; the CA host is in one of them, and added to the other."""
    fleet = Fleet.make(tmp_path / "fleet", users=(), passphrase="")
    whole = content(fleet)
    assert awx.hosts(whole)[0::2] == ["build1", "ops1", "web2"]
    fleet.prepare()

    def play(number: int) -> Run:
        return fleet.play("engines", inventory=of_slice(fleet, number), **SLICE)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(play, (1, 2))

    assert not first.failed, first.output
    assert not second.failed, second.output
    assert [row["name"] for row in first.report["rows"] if row["kind"] == "engine"] == ["web2"]
    assert [row["name"] for row in second.report["rows"] if row["kind"] == "engine"] == ["web1"]
    assert len(set(serials(fleet))) == len(serials(fleet)) == 2
    held = {name: fleet.holds(name) for name in fleet.hosts}
    bundle = (fleet.root / "home/.bulkhead/ca/ca.pem").read_text(encoding="ascii")
    assert [held[name]["ca"].strip() for name in ("web1", "web2")] == [bundle.strip()] * 2
    assert not first.asked["ops1"], "no client is asked"
    recorded = sorted(path.name for path in (fleet.root / "home/.bulkhead/ca/holders").iterdir())
    assert recorded == ["engine,web1", "engine,web2"]
    again = [fleet.play("engines", inventory=of_slice(fleet, number), **SLICE) for number in (1, 2)]
    assert [run.report["summary"].split("; ")[1] for run in again] == ["nothing to change"] * 2
    assert len(serials(fleet)) == 2


def test_a_relaunched_job_without_an_engine_says_why(secured: Fleet) -> None:
    secured.prepare()

    run = secured.play("engines", inventory=of_slice(secured, 2, 5), **RELAUNCHED)

    assert run.failed
    assert "This job was relaunched, and its inventory has no engine: it may be a slice that has none" in run.output
    assert "Put the hosts whose Docker engine" not in run.output


def test_a_slice_without_an_engine_has_nothing_to_do(secured: Fleet) -> None:
    secured.prepare()

    run = secured.play("engines", inventory=of_slice(secured, 2, 5), **SLICE)  # build1, ca1, ops1, web1, web2

    assert not run.failed, run.output
    assert run.report["summary"].startswith("0 engines")


@pytest.mark.parametrize("trouble", ["there is none", "it is being rotated"])
def test_engines_makes_no_ca_and_mends_none(tmp_path: Path, trouble: str) -> None:
    fleet = Fleet.make(tmp_path / "fleet", users=(), passphrase="")
    folder = fleet.root / "home/.bulkhead/ca"
    if trouble == "there is none":
        folder.rename(folder.with_name("gone"))
    else:
        (folder / "rotation").write_text("trust\n", encoding="ascii")
    fleet.prepare()
    before = picture(fleet)

    run = fleet.play("engines", inventory=of_slice(fleet, 2), **SLICE)

    assert run.failed
    assert f"The CA in {folder} on ca1 is not ready" in " ".join(run.output.split())
    assert picture(fleet) == before


def test_the_connection_of_the_ca_host_is_a_connection(secured: Fleet) -> None:
    secured.prepare()
    wrong = {**CONNECTION, "docker_ca_dir": "/nonexistent"}

    run = secured.play("engines", inventory=of_slice(secured, 1), **SLICE, docker_ca_connection=wrong)

    assert run.failed
    assert "docker_ca_connection has docker_ca_dir; it takes ansible_host, " in run.output


def test_the_extra_variables_of_another_brand_are_known() -> None:
    assert checks.sliced_template({"tower_job_template_name": "A", "tower_workflow_job_name": "A"}) == "A"
    assert checks.sliced_template({"awx_job_template_name": "A", "awx_workflow_job_name": "B"}) == ""
    assert checks.sliced_template({}) == ""


@pytest.mark.parametrize("brand", ["awx", "tower", "ascender"])
def test_a_relaunched_job_is_told_by_its_launch_type(brand: str) -> None:
    relaunch = {f"{brand}_job_launch_type": "relaunch"}
    assert checks.relaunched_job(relaunch)
    assert not checks.relaunched_job({**relaunch, f"{brand}_workflow_job_name": "Weekly renewal"})
    assert not checks.relaunched_job({f"{brand}_job_launch_type": "manual"})
    assert not checks.relaunched_job({})
