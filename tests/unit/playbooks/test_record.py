"""An inventory that is not whole, of whatever cause: the record of the CA host says who is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import awx
from helpers.fake_fleet import Fleet
from helpers.slow import slow
from helpers.ssh_engine import ED25519
from helpers.ssh_engine import OTHER as BOB

OTHERS = ("web2", "ops1")
EXPORT = {"docker_export_name": "nas", "docker_export_dest": "~/nas", "docker_export_encrypt": False}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet.make(tmp_path_factory.mktemp("record") / "fleet", passphrase="")
    done = fleet.play("site")
    assert not done.failed, done.output
    return fleet


def part(fleet: Fleet, *without: str, **clients: Any) -> Path:
    """The inventory without some of its hosts, as a slice has it or as somebody who has taken them out of a file."""
    content = fleet.content()
    for group in content.values():
        group["hosts"] = {name: values for name, values in group["hosts"].items() if name not in without}
    content["docker_clients"]["vars"].update(clients)
    return awx.write(fleet.root / "part", content)


def picture(fleet: Fleet) -> list[Any]:
    held = [{**fleet.holds(name), "phase": None} for name in fleet.hosts]
    return [fleet.files(), *held]


@pytest.mark.parametrize(
    ("playbook", "extra", "says"),
    [
        ("rotate_ca", {}, "The CA is not replaced, because these hosts would be shut out."),
        slow(
            "revoke_client",
            {"docker_revoke_name": "jenkins", "docker_revoke_by_rotation": True},
            "The CA is not replaced, because these hosts would be shut out.",
        ),
        ("remove", {"docker_remove_hosts": "all", "docker_remove_ca": True}, "The CA is not removed, because others"),
    ],
)
def test_nobody_s_ca_goes_who_is_not_asked(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any], says: str
) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()
    before = (fleet.root / "home/.bulkhead/ca/ca.pem").read_bytes()

    run = fleet.play(playbook, inventory=part(fleet, *OTHERS), **extra)

    assert run.failed
    said = " ".join(run.output.split())
    assert says in said
    assert "web2: it holds a server certificate and is no engine of this inventory" in said
    assert "ops1: it holds ops1 and is no client host of this inventory" in said
    assert "build1: " not in said
    assert (fleet.root / "home/.bulkhead/ca/ca.pem").read_bytes() == before
    for name in ("web1", "web2"):
        assert fleet.holds(name)["ca"] == secured.holds(name)["ca"]
    if playbook != "revoke_client":  # which has revoked, and has said so
        assert picture(fleet) == picture(secured)


@pytest.mark.parametrize(
    ("playbook", "extra"),
    [slow("rotate_ca", {}), ("remove", {"docker_remove_hosts": "all", "docker_remove_ca": True})],
)
def test_who_is_gone_for_good_is_left_out_by_name(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any]
) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play(playbook, inventory=part(fleet, *OTHERS), docker_rotate_exclude=list(OTHERS), **extra)

    assert not run.failed, run.output
    assert "Left out (docker_rotate_exclude): web2, ops1." in " ".join(run.report["lines"])
    assert fleet.holds("web2") == secured.holds("web2")
    assert fleet.holds("web1").get("ca") != secured.holds("web1")["ca"]


@pytest.mark.parametrize("playbook", ["rotate_ca", slow("remove")])
def test_a_name_that_nobody_has_is_left_out_by_mistake(secured: Fleet, tmp_path: Path, playbook: str) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    extra = {"docker_remove_hosts": "all", "docker_remove_ca": True} if playbook == "remove" else {}

    run = fleet.play(playbook, docker_rotate_exclude=["wbe2"], **extra)

    assert run.failed
    assert "wbe2: docker_rotate_exclude has it, and it is no engine" in " ".join(run.output.split())
    assert picture(fleet) == picture(secured)


def options(run: Any, host: str, module: str) -> list[dict[str, Any]]:
    asked = [line.partition(" ") for line in run.asked[host]]
    return [json.loads(told) for name, _, told in asked if name == f"bulkhead.docker.{module}"]


def test_a_run_that_does_not_know_all_takes_no_key_and_no_context(secured: Fleet, tmp_path: Path) -> None:
    """And one that knows them does, by the same variables."""
    fleet = secured.copy(tmp_path / "fleet")
    found = {}
    for kind, without in (("whole", ()), ("part", OTHERS)):
        fleet.prepare()
        run = fleet.play("site", inventory=part(fleet, *without, docker_client_purge=True))
        assert not run.failed, run.output
        keeps = {tuple(told["keep"]) for told in options(run, "web1", "docker_ssh_access")}
        purges = {told["purge"] for told in options(run, "build1", "docker_contexts")}
        found[kind] = (keeps, purges, "were kept" in " ".join(run.report["lines"]))

    assert found["whole"] == ({()}, {True}, False)
    assert found["part"] == ({("docker-build1", "docker-jenkins", "docker-ops1", "ops1")}, {False}, True)


def give(fleet: Fleet, engine: str, account: str, key: str) -> None:
    """A key that another run has brought into an account."""
    state = fleet.holds(engine)
    known = {user["name"]: user for user in state["accounts"]}
    known.setdefault(account, {"name": account, "public_keys": []})["public_keys"].append(key)
    state["accounts"] = list(known.values())
    (fleet.root / "hosts" / engine / "state.json").write_text(json.dumps(state), encoding="utf-8")


def keys(fleet: Fleet, engine: str, account: str) -> list[str]:
    return next(([*user["public_keys"]] for user in fleet.holds(engine)["accounts"] if user["name"] == account), [])


@pytest.mark.slow
@pytest.mark.parametrize("playbook", ["site", "revoke_client"])
def test_the_key_of_a_host_that_is_not_known_stays_in_whatever_account_it_is(
    secured: Fleet, tmp_path: Path, playbook: str
) -> None:
    """Bob on build9 logs in to the account of another identity, and to one that the inventory declares."""
    fleet = secured.copy(tmp_path / "fleet")
    record = fleet.root / "home/.bulkhead/ca/holders"
    (record / "client,build9,bob,ssh").touch()
    declared = [{"name": "deploy", "public_keys": [ED25519]}]
    fleet.variables = {name: {"docker_ssh_users": declared} for name in ("web1", "web2")}
    fleet.variables["ops1"] = {"docker_client_identities": [{"name": "ops1", "ssh_account": "team"}]}
    build1 = [{"name": "build1"}, {"name": "jenkins", "user": "jenkins"}, {"name": "eve", "ssh_account": "team"}]
    fleet.variables["build1"] = {"docker_client_identities": build1}
    fleet.prepare()
    assert not (done := fleet.play("site", inventory=part(fleet))).failed, done.output
    for account in ("docker-build1", "deploy", "team"):
        give(fleet, "web1", account, BOB)
    extra = {"docker_revoke_name": "eve"} if playbook == "revoke_client" else {}
    fleet.prepare()

    run = fleet.play(playbook, inventory=part(fleet), **extra)

    assert not run.failed, run.output
    held = [BOB in keys(fleet, "web1", account) for account in ("docker-build1", "deploy", "team")]
    assert held == [True, True, playbook == "site"], "what is revoked goes from accounts that it shares"
    if playbook == "revoke_client":
        said = " ".join(" ".join(run.report["lines"]).split())
        assert "team lost the SSH keys of all whom this inventory has not, because eve logged in to it as well." in said
        return
    # Removed from the record, it is kept no more.
    (record / "client,build9,bob,ssh").unlink()
    fleet.prepare()
    assert not (done := fleet.play("site", inventory=part(fleet))).failed, done.output
    assert not any(BOB in keys(fleet, "web1", account) for account in ("docker-build1", "deploy", "team"))


ADMIN = {"docker_client_identities": [{"name": "admin"}]}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Both client hosts have the identity `admin`, as they have where nobody says another name."""
    fleet = Fleet.make(tmp_path_factory.mktemp("twins") / "fleet", users=(), passphrase="")
    fleet.prepare()
    done = fleet.play("site", inventory=twin_inventory(fleet))
    assert not done.failed, done.output
    return fleet


def twin_inventory(fleet: Fleet, *without: str) -> Path:
    content = fleet.content()
    for name in ("ops1", "build1"):
        content["docker_clients"]["hosts"][name].update(ADMIN)
    for group in content.values():
        group["hosts"] = {name: values for name, values in group["hosts"].items() if name not in without}
    return awx.write(fleet.root / "twins", content)


def entries(fleet: Fleet) -> list[str]:
    return sorted(path.name for path in (fleet.root / "home/.bulkhead/ca/holders").iterdir())


WHOLE = [
    *(f"client,{host},admin,{transport}" for host in ("build1", "ops1") for transport in ("ssh", "tls")),
    *(f"engine,{name}" for name in ("web1", "web2")),
]


def test_what_is_recorded_is_recorded_once(twins: Fleet, tmp_path: Path) -> None:
    fleet = twins.copy(tmp_path / "fleet")
    fleet.prepare()
    assert entries(fleet) == WHOLE

    run = fleet.play("site", inventory=twin_inventory(fleet))

    assert not run.failed, run.output
    assert "Record engines and identities on the CA host" not in run.output, "nothing more is asked of the CA host"


def test_a_host_is_missed_although_another_has_an_identity_of_the_name(twins: Fleet, tmp_path: Path) -> None:
    fleet = twins.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play("rotate_ca", inventory=twin_inventory(fleet, "build1"))

    assert run.failed
    assert "build1: it holds admin and is no client host of this inventory" in " ".join(run.output.split())
    assert [fleet.holds(name).get("ca") for name in fleet.hosts] == [
        twins.holds(name).get("ca") for name in twins.hosts
    ]


def test_keys_of_a_host_stay_until_it_is_removed_which_needs_no_inventory_with_it(twins: Fleet, tmp_path: Path) -> None:
    fleet = twins.copy(tmp_path / "fleet")
    fleet.prepare()
    part_of_it = twin_inventory(fleet, "build1")

    kept = fleet.play("site", inventory=part_of_it)

    assert not kept.failed, kept.output
    assert {tuple(told["keep"]) for told in options(kept, "web1", "docker_ssh_access")} == {("admin", "docker-admin")}
    assert "SSH keys of identities on build1 (admin) were kept" in " ".join(" ".join(kept.report["lines"]).split())

    fleet.prepare()
    removed = fleet.play("remove", inventory=part_of_it, docker_remove_hosts="build1")
    assert not removed.failed, removed.output
    assert entries(fleet) == [name for name in WHOLE if "build1" not in name]
    assert not any(removed.asked.values()), "nobody else was asked"

    fleet.prepare()
    after = fleet.play("site", inventory=part_of_it)
    assert not after.failed, after.output
    assert {tuple(told["keep"]) for told in options(after, "web1", "docker_ssh_access")} == {()}


@pytest.mark.slow
def test_a_host_that_is_gone_is_removed_when_its_identity_is_revoked(secured: Fleet, tmp_path: Path) -> None:
    """Nobody can delete the keys there. Whoever finds them would be let in, though no record named him."""
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()
    before = picture(fleet)

    refused = fleet.play("remove", inventory=part(fleet, "ops1"), docker_remove_hosts="ops1")

    assert refused.failed
    assert "ops1 is gone with the keys of ops1, which engines accept" in " ".join(refused.output.split())
    assert picture(fleet) == before

    fleet.prepare()
    revoked = fleet.play("revoke_client", inventory=part(fleet, "ops1"), docker_revoke_name="ops1")
    assert revoked.failed, "the keys are there"
    (problem,) = revoked.report["problems"]
    assert "ops1 may have the keys of ops1 as before" in problem
    assert ".bulkhead/ca/revoked/ops1" in revoked.files
    assert "client,ops1,ops1,tls" in entries(fleet)

    fleet.prepare()
    removed = fleet.play("remove", inventory=part(fleet, "ops1"), docker_remove_hosts="ops1")
    assert not removed.failed, removed.output
    assert [name for name in entries(fleet) if "ops1" in name] == []
    fleet.prepare()
    again = fleet.play("revoke_client", inventory=part(fleet, "ops1"), docker_revoke_name="ops1")
    assert not again.failed, again.output
    fleet.prepare()
    rotated = fleet.play("rotate_ca", inventory=part(fleet, "ops1"))
    assert not rotated.failed, "nobody else has it: " + rotated.output


@pytest.mark.slow
def test_an_identity_that_the_record_of_hosts_alone_knows_is_revoked(secured: Fleet, tmp_path: Path) -> None:
    """It uses SSH, its host is gone, and so are its accounts."""
    fleet = secured.copy(tmp_path / "fleet")
    (fleet.root / "home/.bulkhead/ca/holders/client,build9,bob,ssh").touch()

    run = fleet.play("revoke_client", docker_revoke_name="bob")

    assert "has never issued" not in run.output
    assert ".bulkhead/ca/revoked/bob" in run.files
    assert "build9 may have the keys of bob as before" in " ".join(run.report["problems"])


@pytest.mark.slow
def test_a_revocation_takes_from_the_record_what_it_has_deleted(secured: Fleet, tmp_path: Path) -> None:
    """Of a host that does not answer, the entry stays, and the run fails with its name until it does."""
    fleet = secured.copy(tmp_path / "fleet")

    run = fleet.play("revoke_client", liars={"build1": "unreachable"}, docker_revoke_name="jenkins")

    assert run.failed
    assert run.problems("build1") != []
    assert "client,build1,jenkins,tls" in entries(fleet)

    run = fleet.play("revoke_client", docker_revoke_name="jenkins")

    assert not run.failed, run.output
    assert [name for name in entries(fleet) if "jenkins" in name] == []


@pytest.mark.parametrize(
    ("playbook", "extra"),
    [
        ("site", {}),
        ("rotate_ca", {}),
        slow("remove", {"docker_remove_hosts": "all", "docker_remove_ca": True}),
        ("remove", {"docker_remove_hosts": "ops1"}),
    ],
)
@pytest.mark.parametrize("folder", ["holders", slow("issued")])
def test_a_record_that_cannot_be_read_shuts_nobody_out(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any], folder: str
) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    record = fleet.root / "home/.bulkhead/ca" / folder
    shutil.rmtree(record)
    record.touch()  # the test may run as root, who reads whatever modes say
    fleet.prepare()
    before = picture(fleet)

    run = fleet.play(playbook, inventory=part(fleet, *OTHERS), **extra)

    assert run.failed
    said = " ".join(run.output.split())
    assert "is damaged, so that this run does not know whom it would shut out" in said
    assert f"/{folder} cannot be read (Not a directory)." in said
    assert picture(fleet) == before


def test_an_engine_that_was_removed_is_in_the_record_no_more(twins: Fleet, tmp_path: Path) -> None:
    fleet = twins.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play("remove", inventory=twin_inventory(fleet), docker_remove_hosts="web2")

    assert not run.failed, run.output
    assert entries(fleet) == [name for name in WHOLE if name != "engine,web2"]


def test_a_host_of_nobody_is_removed_by_mistake(twins: Fleet, tmp_path: Path) -> None:
    fleet = twins.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play("remove", inventory=twin_inventory(fleet), docker_remove_hosts="web1,wbe2")

    assert run.failed
    said = " ".join(run.output.split())
    assert (
        "docker_remove_hosts has 'wbe2', which is no engine and no client, and the CA host has no record of it." in said
    )
    assert "Nothing was changed. Did you mean web2?" in said
    assert entries(fleet) == WHOLE
    assert fleet.holds("web1") == twins.holds("web1")


@pytest.mark.slow
def test_a_directory_from_before_is_as_it_was_and_gets_its_entries(twins: Fleet, tmp_path: Path) -> None:
    """Whom it did not know then it does not know now; nobody is let in for that."""
    fleet = twins.copy(tmp_path / "fleet")
    shutil.rmtree(fleet.root / "home/.bulkhead/ca/holders")
    fleet.prepare()

    refused = fleet.play("rotate_ca", inventory=twin_inventory(fleet, "web2"))
    assert refused.failed
    assert "web2: it holds a server certificate and is no engine" in " ".join(refused.output.split())

    done = fleet.play("rotate_ca", inventory=twin_inventory(fleet))
    assert not done.failed, done.output
    assert entries(fleet) == WHOLE


def test_a_revocation_names_the_engines_that_it_has_not_reached(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    fleet.prepare()

    run = fleet.play("revoke_client", inventory=part(fleet, "web2"), docker_revoke_name="jenkins")

    assert run.failed, "web2 may let it in as before"
    (problem,) = run.report["problems"]
    assert "web2 may let jenkins in as before" in problem
    assert ".bulkhead/ca/revoked/jenkins" in run.files, "and on what was reached it has ended"
    assert "docker-jenkins" not in [user["name"] for user in fleet.holds("web1")["accounts"]]

    fleet.prepare()
    whole = fleet.play("revoke_client", inventory=part(fleet), docker_revoke_name="jenkins")
    assert not whole.failed, whole.output


@pytest.mark.slow
def test_an_exported_identity_stops_nothing_and_is_called_what_it_is(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    export = {"docker_export_name": "nas", "docker_export_dest": str(tmp_path / "nas"), "docker_export_encrypt": False}
    fleet.prepare()
    exported = fleet.play("export_identity", inventory=part(fleet), **export)
    assert not exported.failed, exported.output
    assert "export,nas" in entries(fleet)

    run = fleet.play("site", inventory=part(fleet))

    assert not run.failed, run.output
    assert {tuple(told["keep"]) for told in options(run, "web1", "docker_ssh_access")} == {()}
    assert "were kept" not in " ".join(run.report["lines"])
    assert [(row["name"], row["state"]) for row in run.rows() if row["name"] == "nas"] == [("nas", "exported")]
    refused = fleet.play("rotate_ca", inventory=part(fleet))
    assert refused.failed
    assert "nas: it was exported, and its certificate, valid for" in " ".join(refused.output.split())


@pytest.mark.slow
def test_nothing_is_kept_for_an_identity_that_was_revoked(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    done = fleet.play("revoke_client", docker_revoke_name="jenkins")
    assert not done.failed, done.output
    fleet.prepare()

    run = fleet.play("site", inventory=part(fleet, "build1"))

    assert not run.failed, run.output
    assert all(
        told["keep"] == ["build1", "docker-build1", "docker-ops1"] for told in options(run, "web1", "docker_ssh_access")
    )


@pytest.mark.slow
def test_taking_an_engine_away_needs_no_ca(secured: Fleet, tmp_path: Path) -> None:
    """Of some hosts, and with an inventory that is not whole: nobody else is concerned."""
    fleet = secured.copy(tmp_path / "fleet")
    (fleet.root / "home/.bulkhead").rename(fleet.root / "home/gone")
    fleet.prepare()

    run = fleet.play("remove", inventory=part(fleet, *OTHERS), docker_remove_hosts="web1")

    assert not run.failed, run.output
    assert not fleet.holds("web1").get("ca")
    assert [told["keep"] for told in options(run, "web1", "docker_ssh_access")] == [[]]
    assert fleet.holds("web2") == secured.holds("web2")


@pytest.mark.parametrize(
    ("playbook", "extra", "says"),
    [
        ("site", {}, "a new one would be gone with the execution environment that this job runs in"),
        slow("engines", {}, "is not ready"),
        slow("renew", {}, "there is no CA in ~/.bulkhead/ca"),
        slow("verify", {}, "there is no CA in ~/.bulkhead/ca"),
        slow("rotate_ca", {}, "There is no CA in ~/.bulkhead/ca on localhost whose successor could be made."),
        (
            "revoke_client",
            {"docker_revoke_name": "jenkins"},
            "There is no CA in ~/.bulkhead/ca on localhost. Correct docker_ca_dir.",
        ),
        slow("export_identity", EXPORT, "There is no CA in ~/.bulkhead/ca on localhost that could issue an identity."),
        slow("change_passphrase", {}, "/.bulkhead/ca is not there. Correct docker_ca_dir, or bring the key back"),
    ],
)
def test_a_control_node_that_is_a_container_has_lost_the_ca(
    secured: Fleet, tmp_path: Path, playbook: str, extra: dict[str, Any], says: str
) -> None:
    """Without the groups docker_ca and docker_clients each job would have a home of its own, and a CA in it."""
    fleet = secured.copy(tmp_path / "fleet")
    (fleet.root / "home/.bulkhead").rename(fleet.root / "gone")
    before = [fleet.holds(name).get("ca") for name in fleet.hosts]
    fleet.prepare()

    run = fleet.play(playbook, inventory=part(fleet), environment={"LAUNCHED_BY_RUNNER": "1"}, **extra)

    assert run.failed
    assert says in " ".join(run.output.split())
    assert not (fleet.root / "home/.bulkhead/ca/ca-key.pem").exists(), "no second CA"
    assert [fleet.holds(name).get("ca") for name in fleet.hosts] == before


@pytest.mark.parametrize("playbook", ["site", slow("renew"), slow("rotate_ca"), slow("revoke_client")])
def test_a_control_node_that_is_a_container_is_no_client_host(secured: Fleet, tmp_path: Path, playbook: str) -> None:
    """Without the group docker_clients each job would make identities and contexts that are gone with it."""
    fleet = secured.copy(tmp_path / "fleet")
    content = fleet.content()
    del content["docker_clients"]
    inventory = awx.write(fleet.root / "container", content)
    extra = {"docker_revoke_name": "jenkins"} if playbook == "revoke_client" else {}
    fleet.prepare()

    run = fleet.play(playbook, inventory=inventory, environment={"LAUNCHED_BY_RUNNER": "1"}, **extra)

    assert run.failed
    assert "The inventory has no group docker_clients" in run.output
    assert picture(fleet) == picture(secured)
    assert not any(run.asked.values()), "nobody was asked anything"


def test_a_control_node_that_has_lost_the_ca_still_gives_engines_back(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    (fleet.root / "home/.bulkhead").rename(fleet.root / "gone")
    extra = {"docker_remove_hosts": "all", "docker_remove_ca": True}
    fleet.prepare()

    run = fleet.play("remove", inventory=part(fleet), environment={"LAUNCHED_BY_RUNNER": "1"}, **extra)

    assert not run.failed, run.output
    assert not any(fleet.holds(name).get("ca") for name in ("web1", "web2"))
    assert not (fleet.root / "home/.bulkhead").exists(), "no second CA"
