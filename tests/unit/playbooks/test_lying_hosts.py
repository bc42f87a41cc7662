"""Hosts that answer as they like: a run ends with a finding about them, and nothing about anybody else differs.

A liar's answers are for its host alone. They set no variable, choose no name, usage or validity of a certificate, and
bring no text to the terminal that it would act on. See helpers/fake_host.py for the ways in which hosts lie.
USER@HOST is an OS user of a client host, who answers for Ansible's modules as much as root does.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as ssh_users
from helpers.fake_fleet import CLIENTS, ENGINES, USERS, Fleet, Issued, Run
from helpers.fake_host import KEY, OWN_NAME, first
from helpers.slow import slow

LOCAL = ("127.0.0.1", "::1", "localhost")
# What the plan has: nothing else may stand in a certificate, whoever asks for it.
ACCOUNTS = [f"docker-{name}" for name in (*CLIENTS, *USERS)]
PLANNED = {
    **{f"CN={name}": ("serverAuth", {name, f"192.0.2.{number}", *LOCAL}) for number, name in enumerate(ENGINES, 1)},
    **{f"CN={name}": ("clientAuth", set()) for name in (*CLIENTS, *USERS)},
}
DAYS = 365
# OS users who lie about a public key, called as they do it.
KEY_LIARS = ("options", "lines", "account", "name", "more", "nothing", "nobody")
REFUSED = "web1 does not answer as the module bulkhead.docker.docker_daemon_config does"
# Each run signs its own.
REVOCATION_LIST = re.compile(r"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----")
# Errors of programs, which no operator is to see.
TRACES = re.compile(r"Traceback|\b(Key|Type|Value|Attribute|Index)Error|object of type|has no attribute|is undefined")


@pytest.fixture(scope="module")
def start(secured: Fleet, first_run: tuple[Fleet, Run]) -> tuple[Fleet, Run]:
    """A fleet that an honest run has secured, and that run."""
    return secured, first_run[1]


@pytest.fixture
def fresh(tmp_path: Path) -> Fleet:
    """A fleet where nobody has a certificate yet."""
    return Fleet.make(tmp_path / "fresh")


def assert_planned(run: Run) -> None:
    planned = PLANNED | {f"CN={name}": ("clientAuth", set()) for name in KEY_LIARS}
    for issued in run.issued:
        usage, names = planned[issued.name]
        assert issued == Issued(issued.name, (usage,), issued.names, DAYS, False)
        assert set(issued.names) == names


def assert_nobody_else_differs(run: Run, honest: Run, *liars: str) -> None:
    """The hosts that do not lie were asked the same, are reported the same and got the same; so is the CA."""
    assert_planned(run)
    for host in set(run.asked) - set(liars):
        assert about_others(run.asked[host], liars) == about_others(honest.asked[host], liars), host
    own = {f"CN={name.partition('@')[0]}" for name in liars}
    assert [issued for issued in run.issued if issued.name not in own] == [
        issued for issued in honest.issued if issued.name not in own
    ]
    assert without(run.files, liars) == without(honest.files, liars)
    hosts = [name.rpartition("@")[2] for name in liars]
    assert run.rows(*hosts) == honest.rows(*hosts)
    assert_clean(run)


def about_others(asked: list[str], liars: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Without what is about liars: the verification of an engine, its host keys, the key of an account."""
    found = [(module, leave_out(options, liars)) for module, options in map(parsed, asked)]
    return [(module, options) for module, options in found if options.get("endpoints") != []]


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    module, _, options = REVOCATION_LIST.sub("<list>", line).partition(" ")
    return module, json.loads(options)


def leave_out(value: Any, liars: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: leave_out(entry, liars) for key, entry in value.items()}
    if isinstance(value, list):
        return [leave_out(entry, liars) for entry in value if not is_about(entry, liars)]
    return value


def is_about(entry: Any, liars: tuple[str, ...]) -> bool:
    name = str(entry.get("name")) if isinstance(entry, dict) else ""
    of_liars = [liar.partition("@")[0] for liar in liars]
    return any(name in (liar, f"{liar}-ssh", f"docker-{liar}") or name.startswith(f"{liar}-") for liar in of_liars)


def told(run: Run, host: str, module: str) -> list[dict[str, Any]]:
    """The options of each execution of a module on a host."""
    return [options for name, options in map(parsed, run.asked[host]) if name == f"bulkhead.docker.{module}"]


def without(files: dict[str, str], liars: tuple[str, ...]) -> dict[str, str]:
    names = [liar.partition("@")[0] for liar in liars]
    # Files of their certificates, and their entries in the record of who has access.
    own = [*(f"-{name}-" for name in names), *(f"/holders/client,{name}," for name in names)]
    return {name: mode for name, mode in files.items() if not any(part in name for part in own)}


def assert_goes_as_far_as(run: Run, honest: Run, *liars: str) -> None:
    """Whoever does not lie was asked the same, up to where the run ends."""
    for host in set(run.asked) & set(honest.asked) - set(liars):
        asked = about_others(run.asked[host], liars)
        assert asked == about_others(honest.asked[host], liars)[: len(asked)], host
    assert_planned(run)
    assert_clean(run)


def assert_everybody_trusts_everybody(fleet: Fleet, *left_out: str) -> None:
    engines = {name: fleet.holds(name) for name in ENGINES if name not in left_out}
    clients = {name: fleet.holds(name) for name in (*CLIENTS, *(f"{user}@build1" for user in USERS))}
    for engine in engines.values():
        for client in clients.values():
            assert engine["signer"] in client["ca"]
            assert all(signer in engine["ca"] for signer in client["identities"].values())


def assert_clean(run: Run) -> None:
    """Nothing was evaluated, and what we print has no control characters and no errors of programs."""
    assert run.created == []
    assert "poison" not in run.output.partition("CUSTOM STATS")[2]
    told = json.dumps(run.report, ensure_ascii=False)
    assert all(character.isprintable() for character in told)
    assert not TRACES.search(told)


def assert_accounts_are_usable(run: Run, engine: str) -> None:
    """As the module on the engine judges them."""
    for options in told(run, engine, "docker_ssh_access"):
        ssh_users.users(
            [
                {"state": "present", "principals": [], "allowed_from": [], "expires": "", **user}
                for user in options["users"]
            ],
            certificates=False,
            keys_later=options["_ansible_check_mode"],
        )


def assert_blamed(run: Run, host: str, said: str = "") -> None:
    assert run.failed
    expected = said or f"{host} does not answer as the module"
    assert any(expected in finding for finding in run.problems(host)), run.output


def test_an_honest_fleet_gets_what_the_plan_says(start: tuple[Fleet, Run]) -> None:
    _, site = start

    assert_planned(site)
    assert sorted(issued.name for issued in site.issued) == sorted(PLANNED)
    assert [(row["host"], row["findings"]) for row in site.rows()] == [
        (host, []) for host in (*ENGINES, *CLIENTS, "build1", "localhost")
    ]
    for engine in ENGINES:
        assert [user["name"] for user in told(site, engine, "docker_ssh_access")[-1]["users"]] == ACCOUNTS
        assert_accounts_are_usable(site, engine)


@pytest.mark.parametrize("liars", [{"web1": "poisoned", "web2": "skipping"}, slow({"web1": "broken"})])
def test_site_ends_before_the_first_change_where_an_engine_lies(fresh: Fleet, liars: dict[str, str]) -> None:
    before = fresh.files()

    run = fresh.play("site", liars=liars)

    assert run.failed
    for name in liars:
        assert REFUSED.replace("web1", name) in run.output
    assert (run.issued, run.files) == ([], before)
    for asked in run.asked.values():
        assert asked
        assert all(module.endswith("_info") or options["_ansible_check_mode"] for module, options in map(parsed, asked))
    assert "no error message" not in run.output
    assert_clean(run)


@pytest.mark.parametrize("kind", ["poisoned", slow("broken")])
def test_site_goes_no_further_than_the_identities_where_a_client_lies(
    fresh: Fleet, start: tuple[Fleet, Run], kind: str
) -> None:
    _, honest = start

    run = fresh.play("site", liars={"jenkins@build1": kind})

    assert run.failed
    assert "build1 does not answer as the module bulkhead.docker.docker_identity_info does" in run.output
    assert [issued.name for issued in run.issued] == ["CN=build1", "CN=ops1"]
    assert_goes_as_far_as(run, honest, "jenkins@build1")


def test_public_keys_that_open_more_than_an_account_end_the_run_at_their_host(
    tmp_path: Path, start: tuple[Fleet, Run]
) -> None:
    _, honest = start
    fleet = Fleet.make(tmp_path / "fresh", users=KEY_LIARS)

    run = fleet.play("site", liars={f"{kind}@build1": kind for kind in KEY_LIARS})

    assert run.failed
    assert 'a public key of options starts with \'command="id",from="*"' in run.output.replace("\\", "")
    assert "a public key of lines has several lines" in run.output
    assert "build1 does not answer as the module bulkhead.docker.docker_ssh_client does: it has other" in run.output
    assert [name for name in ENGINES if told(run, name, "docker_ssh_access")] == []
    assert (run.issued, [name for name in ENGINES if fleet.holds(name).get("ca")]) == ([], [])
    assert_goes_as_far_as(run, honest, "build1", *USERS, *KEY_LIARS)


def test_hostile_values_of_the_right_types_stay_with_their_host(fresh: Fleet, start: tuple[Fleet, Run]) -> None:
    _, honest = start

    run = fresh.play("site", liars={"web1": "hostile", "jenkins@build1": "hostile"})

    # The requests ask for web2's names, for a client's usage and for a CA; the answers of these modules set variables.
    assert_nobody_else_differs(run, honest, "web1", "jenkins@build1")
    assert run.failed
    assert run.problems("web1")
    assert "no number of days" in " ".join(run.problems("build1"))
    # Of web1's port and lines, clients get the one that is a key, for web1's own address.
    web1 = {"name": "web1", "address": "192.0.2.1", "host_keys": [KEY]}
    for client in (*CLIENTS, "jenkins@build1"):
        engines = [options["engines"] for options in told(run, client, "docker_ssh_client") if options.get("engines")]
        assert [[entry for entry in entries if entry["name"] != "web2"] for entries in engines] == [[web1]]
    # And engines of jenkins a key for his account.
    for user in told(run, "web2", "docker_ssh_access")[-1]["users"]:
        assert user["public_keys"] == [KEY]


@pytest.mark.slow
def test_an_engine_that_may_say_its_names_gets_those_of_nobody_else(fresh: Fleet, start: tuple[Fleet, Run]) -> None:
    run = fresh.play("site", liars={"web1": "names"}, docker_engine_trust_host_names=True)

    assert not run.failed, run.output
    names = {issued.name: set(issued.names) for issued in run.issued if issued.usages == ("serverAuth",)}
    assert names == {"CN=web1": PLANNED["CN=web1"][1] | {OWN_NAME}, "CN=web2": PLANNED["CN=web2"][1]}
    assert_clean(run)


@pytest.mark.parametrize(
    "kind", ["signing-web2-server", slow("signing-web1-server"), slow("signing-ops1-client-failed")]
)
def test_an_engine_does_not_say_what_its_certificate_is_to_say(
    fresh: Fleet, start: tuple[Fleet, Run], kind: str
) -> None:
    run = fresh.play("site", liars={"web1": kind})

    assert run.failed
    assert run.problems("web1")
    assert "CN=web1" not in [issued.name for issued in run.issued]
    assert_nobody_else_differs(run, start[1], "web1")


def test_whoever_claims_another_ca_ends_a_run_before_the_first_change(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    fleet = start[0].copy(tmp_path / "claims")
    before = (fleet.files(), [fleet.holds(name) for name in fleet.hosts])

    run = fleet.play("site", liars={"jenkins@build1": "elsewhere"})

    assert run.failed
    assert "The identities jenkins of jenkins on build1 are from another CA than this run's" in run.output
    assert (fleet.files(), [fleet.holds(name) for name in fleet.hosts]) == before
    assert_clean(run)


@pytest.mark.slow
def test_a_claim_of_another_ca_is_a_finding_about_whoever_makes_it(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    liars = {"web1": "elsewhere", "jenkins@build1": "elsewhere"}
    options: dict[str, Any] = {"docker_revoke_name": "build1"}
    honest = start[0].copy(tmp_path / "honest").play("revoke_client", **options)

    run = start[0].copy(tmp_path / "lied").play("revoke_client", liars=liars, **options)

    assert_blamed(run, "web1", "it may let build1 in as before, because it trusts a CA that is not the present one")
    assert_nobody_else_differs(run, honest, "web1", "build1", "jenkins@build1")

    renewed = start[0].copy(tmp_path / "renewed").play("renew", liars=liars, docker_renew_force=True)

    assert_blamed(renewed, "build1", "The identities jenkins of jenkins on build1 are from another CA than this run's")
    names = [issued.name for issued in renewed.issued]
    assert {name: names.count(name) for name in sorted(PLANNED)} == {**dict.fromkeys(PLANNED, 2), "CN=jenkins": 1}
    assert_clean(renewed)


@pytest.fixture(scope="module")
def renewals(start: tuple[Fleet, Run], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """An honest renewal, and one with an engine and an OS user who lie."""
    folder = tmp_path_factory.mktemp("renewals")
    honest = start[0].copy(folder / "honest").play("renew", docker_renew_force=True)
    assert not honest.failed, honest.output
    liars = {"web1": "broken", "jenkins@build1": "broken"}
    return honest, start[0].copy(folder / "lied").play("renew", liars=liars, docker_renew_force=True)


def test_renew_is_the_same_for_everybody_else(renewals: tuple[Run, Run]) -> None:
    honest, run = renewals

    assert_blamed(run, "web1")
    assert_blamed(run, "build1")
    renewed = [f"CN={name}" for name in ("build1", "ops1", "web2")]
    assert [issued.name for issued in run.issued if issued in honest.issued] == [issued.name for issued in run.issued]
    assert sorted({issued.name for issued in run.issued if run.issued.count(issued) == 2}) == renewed
    assert_nobody_else_differs(run, honest, "web1", "build1", "jenkins@build1")


def test_renew_is_the_same_for_other_os_users_of_the_host(renewals: tuple[Run, Run]) -> None:
    honest, run = renewals

    assert told(honest, "build1", "docker_contexts")
    assert told(run, "build1", "docker_contexts") == told(honest, "build1", "docker_contexts")


def test_a_rotation_does_not_begin(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    fleet = start[0].copy(tmp_path / "lied")
    before = fleet.files()

    run = fleet.play("rotate_ca", liars={"web1": "broken", "jenkins@build1": "broken"})

    assert run.failed
    assert (
        f"The CA is not replaced, because these hosts would be shut out. {REFUSED.replace('web1', 'web1: web1', 1)}"
        in (run.output)
    )
    assert "build1: The identities of jenkins on build1 cannot be read" in run.output
    assert (run.files, run.issued) == (before, start[1].issued)
    assert_everybody_trusts_everybody(fleet)
    assert_clean(run)


@pytest.fixture(scope="module")
def rotated(start: tuple[Fleet, Run], tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Run]:
    """A fleet with another CA, without an engine that would have lied; and the rotation."""
    fleet = start[0].copy(tmp_path_factory.mktemp("fleet") / "rotated")
    return fleet, fleet.play("rotate_ca", liars={"web1": "broken"}, docker_rotate_exclude=["web1"])


@pytest.mark.slow
def test_a_rotation_without_the_liar_is_complete(start: tuple[Fleet, Run], rotated: tuple[Fleet, Run]) -> None:
    fleet, run = rotated

    assert not run.failed, run.output
    assert run.asked["web1"] == []
    old, (new,) = fleet.holds("web1")["signer"], {fleet.holds(name)["ca"] for name in run.asked if name != "web1"}
    assert new.count("-----END") == 1
    assert first(new) not in ("", old)
    assert_everybody_trusts_everybody(fleet, "web1")
    assert_planned(run)
    again = [f"CN={name}" for name in sorted(("web2", *CLIENTS, *USERS))]
    assert sorted(issued.name for issued in run.issued) == sorted([*PLANNED, *again])
    assert not [name for name in run.files if re.search("/(next|previous|rotation)", name)]
    assert_clean(run)


@pytest.mark.slow
def test_a_rotation_stays_in_its_phase_where_an_engine_begins_to_lie(
    start: tuple[Fleet, Run], rotated: tuple[Fleet, Run], tmp_path: Path
) -> None:
    fleet = start[0].copy(tmp_path / "lied")

    run = fleet.play("rotate_ca", liars={"web1": "hostile broken@reissue"})

    assert run.failed
    assert REFUSED in run.output
    # web2 and the clients were asked what they are asked in a rotation without web1.
    assert_goes_as_far_as(run, rotated[1], "web1")
    assert {fleet.holds(name)["phase"] for name in (*CLIENTS, "web1", "web2")} == {"reissue"}
    assert (fleet.root / "home/.bulkhead/ca/rotation").read_text(encoding="ascii").strip() == "reissue"
    assert (fleet.root / "home/.bulkhead/ca/ca.pem").read_text(encoding="ascii").count("-----END") == 2
    assert_everybody_trusts_everybody(fleet)
    again = [f"CN={name}" for name in sorted((*CLIENTS, *USERS))]
    assert sorted(issued.name for issued in run.issued if issued.name != "CN=web1") == sorted(
        [*(name for name in PLANNED if name != "CN=web1"), *again]
    )


def test_a_client_is_revoked_whoever_lies(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    options: dict[str, Any] = {"docker_revoke_name": "build1"}
    honest = start[0].copy(tmp_path / "honest").play("revoke_client", **options)
    assert not honest.failed, honest.output

    run = (
        start[0]
        .copy(tmp_path / "lied")
        .play("revoke_client", liars={"web1": "broken", "build1": "broken", "jenkins@build1": "broken"}, **options)
    )

    assert ".bulkhead/ca/revoked/build1" in run.files
    assert_blamed(run, "web1")
    assert_blamed(run, "build1")
    assert_nobody_else_differs(run, honest, "web1", "build1", "jenkins@build1")
    assert [options["absent_names"] for options in told(run, "web2", "docker_ssh_access")] == [["docker-build1"]]


@pytest.mark.slow
def test_a_user_who_lies_does_not_keep_a_rotation_from_ending_his_identity(
    start: tuple[Fleet, Run], tmp_path: Path
) -> None:
    fleet = start[0].copy(tmp_path / "lied")
    options: dict[str, Any] = {"docker_revoke_name": "jenkins", "docker_revoke_by_rotation": True}

    run = fleet.play("revoke_client", liars={"jenkins@build1": "broken"}, **options)

    assert run.failed  # his own files are left
    assert_blamed(run, "build1", "as jenkins: ")
    assert not [name for name in run.files if re.search("/(next|previous|rotation)", name)]
    (new,) = {fleet.holds(name)["ca"] for name in ("web1", "web2", *CLIENTS)}
    assert (new.count("-----END"), first(new) != start[0].holds("web1")["signer"]) == (1, True)
    names = [issued.name for issued in run.issued]
    assert (names.count("CN=jenkins"), names.count("CN=build1")) == (1, 2)
    assert_clean(run)


def test_verify_has_a_finding_about_the_liar_alone(start: tuple[Fleet, Run]) -> None:
    honest = start[0].play("verify")
    assert not honest.failed, honest.output

    run = start[0].play("verify", liars={"web1": "broken"})

    assert_blamed(run, "web1")
    assert_nobody_else_differs(run, honest, "web1")


@pytest.mark.slow
def test_whoever_verifies_is_named_where_it_gives_no_answer(start: tuple[Fleet, Run]) -> None:
    run = start[0].play("verify", liars={"ops1": "broken"})

    for engine in ENGINES:
        assert_blamed(run, engine, f"the verifying host ops1 gave no answer for {engine}")
    assert_clean(run)


def test_remove_keeps_the_ca_that_the_liar_may_need(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    options: dict[str, Any] = {"docker_remove_hosts": "all", "docker_remove_ca": True}
    honest = start[0].copy(tmp_path / "honest").play("remove", **options)
    assert not honest.failed, honest.output
    assert honest.issued == []

    run = start[0].copy(tmp_path / "lied").play("remove", liars={"web1": "broken"}, **options)

    assert run.failed
    assert "The CA stays, because engines trust it that this run has not given back: web1." in run.output
    assert run.issued == start[1].issued
    for host in ("web2", *CLIENTS):
        assert run.asked[host] == honest.asked[host]
    assert_clean(run)


def test_facts_that_are_left_in_a_cache_end_the_run(start: tuple[Fleet, Run], tmp_path: Path) -> None:
    fleet = start[0].copy(tmp_path / "cached")
    cache = fleet.root / "facts"
    cache.mkdir()
    facts = json.dumps({"docker_engine_address": "192.0.2.66"})
    (cache / "web1").write_text(facts, encoding="utf-8")
    (cache / "s1_web1").write_text(json.dumps({"__payload__": facts}), encoding="utf-8")  # since ansible-core 2.19

    run = fleet.play("site", cache=cache)

    assert run.failed
    assert "web1 has facts with the names of this collection's variables: docker_engine_address." in run.output
    assert not any(run.asked.values())
