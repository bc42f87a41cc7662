"""What the role docker_client makes of its variables and of what users answer."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import client_host
from ansible_collections.bulkhead.docker.plugins.plugin_utils.client_host import Settings

WEB1 = {"name": "web1", "address": "192.0.2.1", "port": 2376}
ENGINES = [WEB1, {"name": "web2"}]
IDENTITIES = [{"name": "alice"}, {"name": "bob", "user": "bob"}, {"name": "ci", "user": "bob", "valid_days": 90}]


def settings(identities: t.Sequence[client_host.Data] = IDENTITIES, **options: t.Any) -> Settings:
    return Settings("client", identities, **{"engines": ENGINES, **options})


def contexts(asked: Settings) -> dict[str, list[dict[str, t.Any]]]:
    return {user["user"]: user["contexts"] for user in client_host.users(asked, [], (), check_mode=False)}


def test_contexts_are_called_after_engines_and_where_needed_after_identities() -> None:
    wanted = contexts(settings())
    assert [context["name"] for context in wanted[""]] == ["web1", "web2"]
    assert [context["name"] for context in wanted["bob"]] == ["web1-bob", "web2-bob", "web1-ci", "web2-ci"]
    assert wanted[""][0] == {
        "name": "web1",
        "docker_host": "tcp://192.0.2.1:2376",
        "ca_path": "~/.bulkhead/identities/alice/ca.pem",
        "client_cert": "~/.bulkhead/identities/alice/cert.pem",
        "client_key": "~/.bulkhead/identities/alice/key.pem",
        "cert_path": "~/.bulkhead/identities/alice",
        "description": "web1 as alice over TLS",
    }
    named = contexts(settings(context_name="{identity}.{engine}"))[""]
    assert [context["name"] for context in named] == ["alice.web1", "alice.web2"]


def test_what_cannot_be_in_a_context_s_name_has_a_replacement() -> None:
    engine = {"name": "web 1 (old)", "context": "web-1-old", "address": "192.0.2.1"}
    (context,) = contexts(settings([{"name": "alice"}], engines=[engine]))[""]
    assert (context["name"], context["description"]) == ("web-1-old", "web 1 (old) as alice over TLS")


@pytest.mark.parametrize(
    ("address", "docker_host"),
    [
        ("::1", "tcp://[::1]:2376"),
        ("[::1]", "tcp://[::1]:2376"),
        ("", "tcp://web1:2376"),
        ("a.example", "tcp://a.example:2376"),
    ],
)
def test_addresses_become_hosts(address: str, docker_host: str) -> None:
    asked = settings([{"name": "a"}], engines=[{"name": "web1", "address": address}])
    assert client_host.problems(asked) == []
    assert contexts(asked)[""][0]["docker_host"] == docker_host


def test_contexts_for_ssh_stand_beside_those_for_tls() -> None:
    engines = [
        {"name": "web1", "address": "192.0.2.1", "ssh_port": 22},
        {"name": "web2", "address": "2001:db8::2", "ssh_port": 2222},
        {"name": "web3", "address": "192.0.2.3", "ssh_port": None},
    ]
    identities = [{"name": "admin"}, {"name": "ci", "ssh_account": "builder"}]
    found = contexts(settings(identities, engines=engines, transports=["tls", "ssh"]))[""]
    assert {context["name"]: context["docker_host"] for context in found if context["name"].endswith("-ssh")} == {
        "web1-admin-ssh": "ssh://docker-admin@192.0.2.1",
        "web2-admin-ssh": "ssh://docker-admin@[2001:db8::2]:2222",
        "web3-admin-ssh": "ssh://docker-admin@192.0.2.3",
        "web1-ci-ssh": "ssh://builder@192.0.2.1",
        "web2-ci-ssh": "ssh://builder@[2001:db8::2]:2222",
        "web3-ci-ssh": "ssh://builder@192.0.2.3",
    }
    assert len(found) == 12
    assert found[1]["description"] == "web1 as admin over SSH"
    assert client_host.ssh_engines(settings(engines=engines)) == [
        {"name": "web1", "address": "192.0.2.1", "host_keys": [], "port": 22},
        {"name": "web2", "address": "2001:db8::2", "host_keys": [], "port": 2222},
        {"name": "web3", "address": "192.0.2.3", "host_keys": []},
    ]


def test_an_engine_that_lets_nobody_in_over_ssh_has_no_context_for_it() -> None:
    engines = [{"name": "web1", "address": "192.0.2.1", "ssh": False}, {"name": "web2", "address": "192.0.2.2"}]
    found = contexts(settings([{"name": "a"}], engines=engines, transports=["tls", "ssh"]))[""]
    assert [context["name"] for context in found] == ["web1", "web2", "web2-ssh"]
    assert [engine["name"] for engine in client_host.ssh_engines(settings(engines=engines))] == ["web2"]


def test_engines_behind_one_address_are_told_apart_by_their_ports() -> None:
    engines = [{"name": f"vm{port}", "address": "192.0.2.1", "ssh_port": port} for port in (2222, 22)]
    found = contexts(settings([{"name": "a"}], engines=engines, transports=["ssh"]))[""]
    hosts = [context["docker_host"] for context in found]
    assert hosts == ["ssh://docker-a@192.0.2.1:2222", "ssh://docker-a@192.0.2.1:22"]


def test_the_current_context_is_that_of_those_who_have_it() -> None:
    def current(name: str) -> list[str]:
        return [user["current"] for user in client_host.users(settings(current=name), [], (), check_mode=False)]

    assert current("") == ["", ""]
    assert current("web1") == ["web1", ""]
    assert current("web1-ci") == ["", "web1-ci"]
    assert current("default") == ["default", "default"]


def test_who_ansible_connects_as_needs_no_become() -> None:
    users = client_host.users(settings(connects_as="bob"), [], (), check_mode=False)
    assert [(user["user"], user["become"]) for user in users] == [("", False)]
    assert [identity["name"] for identity in users[0]["identities"]] == ["alice", "bob", "ci"]
    users = client_host.users(settings(), [], (), check_mode=False)
    assert [(user["user"], user["become"]) for user in users] == [("", False), ("bob", True)]
    assert users[1]["identities"] == [{"name": "bob", "valid_days": 365}, {"name": "ci", "valid_days": 90}]


@pytest.mark.parametrize(
    ("identities", "options", "says"),
    [
        ([], {}, "docker_client_identities is empty"),
        ([{"name": "../x"}], {}, "'../x' cannot be the name of a folder"),
        ([{"name": "a"}, {"name": "a"}], {}, "names 'a' twice for the connecting user"),
        ([{"name": "a", "user": "me"}, {"name": "a"}], {"connects_as": "me"}, "names 'a' twice"),
        ([{"name": "A@b"}], {"transports": ["ssh"]}, "would log in to engines as 'docker-A@b'"),
        ([{"name": "a", "valid_days": 20}], {}, "would be valid for 20 days, which docker_client_renew_days (30)"),
        ([{"name": "a"}], {"revoked": ["a"]}, "-e docker_revoke_name=a -e docker_revoke_state=absent"),
        ([{"name": "a"}], {"engines": [WEB1, WEB1]}, "give the same context name: web1"),
        ([{"name": "ab"}], {"context_name": "{identity}"}, "give the same context name: ab. Rename them"),
        ([{"name": "a"}], {"engines": [{"name": "w"}]}, "'w' is not allowed by Docker"),
        ([{"name": "a"}], {"engines": [{"name": "default"}]}, "'default' is Docker's own"),
        ([{"name": "a"}], {"engines": [{"name": "web1", "address": "a b"}]}, "the address 'a b', which is neither"),
        ([{"name": "a"}], {"engines": [{"name": "web_1"}]}, "the address 'web_1', which is neither"),
        ([{"name": "a"}], {"engines": [{**WEB1, "port": 70000}]}, "no valid port: 70000"),
        ([{"name": "a"}], {"engines": [{**WEB1, "ssh_port": 70000}]}, "no valid ssh_port: 70000"),
        ([{"name": "a"}], {"current": "web9"}, "docker_client_current is 'web9', which is not declared"),
    ],
)
def test_variables_that_cannot_work_have_a_sentence(
    identities: list[dict[str, t.Any]], options: dict[str, t.Any], says: str
) -> None:
    (found,) = client_host.problems(settings(identities, **options))
    assert says in found


def test_variables_that_can_work_have_none() -> None:
    assert client_host.problems(settings()) == []
    assert client_host.problems(settings([{"name": "A@b"}])) == []
    assert client_host.problems(settings(revoked=["alice"], skip_revoked=True)) == []
    assert client_host.problems(settings(engines=[], current="web1")) == []


def told(name: str, **changes: t.Any) -> dict[str, t.Any]:
    status = {"name": name, "folder": f"/h/{name}", "pending": f"/p/{name}", "exists": True, "days_left": 9}
    status |= {
        "group": "",
        "left_groups": [],
        "not_after": "x",
        "reasons": [],
        "new_key": False,
        "findings": [],
        "other_ca": "",
        "issued_by_ca": True,
        "ca_outdated": False,
        "repairs": [],
    }
    return status | changes


def answer(asked: Settings, user: str, *identities: dict[str, t.Any], **others: t.Any) -> dict[str, t.Any]:
    item = next(entry for entry in client_host.users(asked, [], (), check_mode=False) if entry["user"] == user)
    return {"item": item, "identities": list(identities), **others}


def test_a_user_answers_for_the_identities_of_that_user_alone() -> None:
    asked = settings()
    lie = told("alice", valid_days=9999, user="root", become=False, reasons=["me too"])
    found, failed, _ = client_host.statuses(
        asked, [answer(asked, "", told("alice")), answer(asked, "bob", lie, told("ci"))]
    )
    assert [record["name"] for record in found] == ["alice"]
    assert list(failed) == ["bob"]
    assert "The identities of bob on client cannot be read" in failed["bob"]

    lie = told("bob", valid_days=9999, user="root", become=False, reasons=["again"], names=["DNS:web1"])
    found, failed, _ = client_host.statuses(asked, [answer(asked, "bob", lie, told("ci"))])
    assert (failed, [record["name"] for record in found]) == ({}, ["bob", "ci"])
    assert (found[0]["valid_days"], found[0]["user"], found[0]["become"]) == (365, "bob", True)
    assert "names" not in found[0]


def test_a_host_that_cannot_be_reached_is_no_user_who_does_not_exist() -> None:
    asked = settings()
    lost = {"item": answer(asked, "bob")["item"], "unreachable": True, "msg": "no route"}
    _, failed, _ = client_host.statuses(asked, [lost])
    assert failed == {"bob": "client cannot be reached as bob: no route"}


def test_nobody_gets_the_identities_of_another_user() -> None:
    """The plan may be wrong about who Ansible connects as, such as where ~/.ssh/config says it."""
    asked = settings([{"name": "bob", "user": "bob"}, {"name": "x"}], connects_as="bob", transports=["ssh"])
    found, failed, _ = client_host.statuses(asked, [answer(asked, "") | {"user": "root"}])
    assert found == []
    assert "Ansible connects to client as root, not as bob" in failed[""]
    assert client_host.statuses(asked, [answer(asked, "") | {"user": "bob"}]) == ([], {}, [])
    nobody = settings([{"name": "x"}], connects_as="bob", transports=["ssh"])
    assert client_host.statuses(nobody, [answer(nobody, "") | {"user": "root"}]) == ([], {}, [])


def test_an_answer_that_lacks_something_is_none() -> None:
    asked = settings()
    short = {key: value for key, value in told("alice").items() if key != "reasons"}
    for identities in ([], [short], [told("alice"), told("eve")]):
        found, failed, _ = client_host.statuses(asked, [answer(asked, "", *identities)])
        assert (found, list(failed)) == ([], [""])
        assert "about other identities than were asked for" in failed[""]


@pytest.mark.parametrize(
    "broken",
    [{"identities": None, "msg": "sudo: unknown user"}, {"unreachable": True, "identities": "x"}],
)
def test_an_answer_of_no_use_is_that_user_s_failure(broken: dict[str, t.Any]) -> None:
    asked = settings()
    found, failed, _ = client_host.statuses(asked, [answer(asked, "", told("alice")), answer(asked, "bob") | broken])
    assert [record["name"] for record in found] == ["alice"]
    assert str(broken.get("msg") or "it says nothing") in failed["bob"]
    users = client_host.users(asked, found, failed, check_mode=False)
    assert [(user["user"], user["failed"]) for user in users] == [("", False), ("bob", True)]


def test_identities_of_another_ca_are_kept_unless_somebody_says_so() -> None:
    theirs = told("bob", other_ca="CN=Elsewhere (SHA-256 00)")
    asked = settings()
    answers = [answer(asked, "", told("alice")), answer(asked, "bob", theirs, told("ci"))]
    found, failed, other_ca = client_host.statuses(asked, answers)
    assert [record["name"] for record in found] == ["alice"]
    assert other_ca == [failed["bob"]]
    assert "The identities bob of bob on " in failed["bob"]
    assert "are from another CA than this run's: CN=Elsewhere (SHA-256 00)." in failed["bob"]
    replacing = settings(replace_ca=True)
    found, failed, _ = client_host.statuses(replacing, answers)
    assert ([record["name"] for record in found], failed) == (["alice", "bob", "ci"], {})


def test_whoever_keeps_the_certificate_of_a_ca_that_is_gone_has_to_replace_it_first() -> None:
    asked = settings([{"name": "alice", "certificate_path": "/etc/pki/a.pem", "private_key_path": "/etc/pki/a.key"}])
    _, failed, _ = client_host.statuses(asked, [answer(asked, "", told("alice", other_ca="CN=Old (SHA-256 00)"))])
    assert (
        "CN=Old (SHA-256 00). Let whoever keeps /etc/pki/a.pem replace it by one of this run's CA first" in failed[""]
    )
    assert "docker_ca_dir" not in failed[""]


def test_revoked_identities_are_left_out_and_the_others_keep_their_names() -> None:
    asked = settings(revoked=["bob"], skip_revoked=True, transports=["tls", "ssh"])
    users = {user["user"]: user for user in client_host.users(asked, [], (), check_mode=False)}
    assert [entry["name"] for entry in users["bob"]["identities"]] == ["ci"]
    assert [entry["name"] for entry in users["bob"]["ssh"]] == ["ci"]
    asked = settings(transports=["ssh"])
    assert [user["identities"] for user in client_host.users(asked, [], (), check_mode=False)] == [[], []]
    assert [context["name"] for context in users["bob"]["contexts"]] == [
        "web1-ci",
        "web1-ci-ssh",
        "web2-ci",
        "web2-ci-ssh",
    ]


def test_what_has_to_be_done_is_done_for_those_who_need_it() -> None:
    asked = settings()
    answers = [
        answer(asked, "", told("alice", reasons=["x"], new_key=True)),
        answer(asked, "bob", told("bob", ca_outdated=True), told("ci")),
    ]
    found, failed, _ = client_host.statuses(asked, answers)
    users = {user["user"]: user for user in client_host.users(asked, found, failed, check_mode=False)}
    assert users[""]["prepare"] == [{"name": "alice", "request": "new_key"}]
    assert users["bob"]["prepare"] == [{"name": "bob", "request": "none"}]
    assert "/identities/" in users[""]["contexts"][0]["client_cert"]


def test_what_check_mode_knows_to_change_is_looked_for_where_nothing_is() -> None:
    asked = settings([{"name": "alice"}])
    found, _, _ = client_host.statuses(asked, [answer(asked, "", told("alice", reasons=["x"]))])
    (user,) = client_host.users(asked, found, (), check_mode=True)
    assert "/pending/" in user["contexts"][0]["client_cert"]
    assert "/identities/" in user["contexts"][0]["client_key"]
    assert "/identities/" in user["contexts"][0]["ca_path"]


def test_requests_go_to_the_ca_together_and_say_nothing_themselves() -> None:
    default = {"group": "", "access": "default"}
    alice = {"name": "alice", "user": "", "valid_days": 365, "become": False, **default}
    bob, ci = ({"name": name, "user": "bob", "valid_days": 90, "become": True, **default} for name in ("bob", "ci"))
    of_alice = {"name": "alice", "request": "CSR", "names": ["DNS:web1"], "usage": "server"}
    told: list[dict[str, t.Any]] = [
        {"item": {"user": ""}, "requests": [of_alice]},
        # What bob says about another user's identity, or in another type, is not taken.
        {
            "item": {"user": "bob"},
            "requests": [{"name": "alice", "request": "X"}, "ci", {"name": "ci", "request": ["X"]}],
        },
    ]
    found, failed = client_host.requested([alice, ci], told, "RSA 4096")
    assert [record["sign"] for record in found] == [
        {"name": "alice", "usage": "client", "names": [], "key": "RSA 4096", "valid_days": 365, "request": "CSR"}
    ]
    assert failed == ["The identity ci of bob has no certificate request: it says nothing"]
    # The failure of a user is a sentence already, and nobody was asked in check mode.
    for answer in ({"failed": True, "msg": "no disk"}, {"unreachable": True}, {"skipped": True}):
        assert client_host.requested([bob], [{"item": {"user": "bob"}, **answer}]) == ([], [])
    assert client_host.requested([bob], []) == ([], [])


def test_failures_name_the_user() -> None:
    ci = {"name": "ci", "user": "bob"}
    results = [
        {"item": ci, "failed": True, "msg": "disk\nfull"},
        {"item": [ci, {}], "unreachable": True, "msg": "gone"},
        {"item": {"user": ""}, "failed": True},
        {"item": ci, "changed": True},
    ]
    assert client_host.failures(settings(), results) == [
        "On client, as bob: disk full",
        "On client, as bob: gone",
        "On client, as the connecting user: it says nothing",
    ]


def test_accounts_leave_that_nobody_uses_any_more() -> None:
    asked = settings(
        [
            {"name": "admin", "ssh_account": "docker-ops"},
            {"name": "eve", "ssh_account": "docker-ops"},
            {"name": "ci", "ssh_account": "builder", "ssh_private_key": "/key"},
            {"name": "ci", "user": "other"},
        ]
    )

    def accounts(*names: str) -> dict[str, list[str]]:
        return {record["user"]: record["accounts"] for record in client_host.removals(asked, names)}

    assert accounts("eve") == {"": [], "other": ["docker-eve"]}
    assert accounts("eve", "admin") == {"": ["docker-ops"], "other": ["docker-admin", "docker-eve"]}
    assert accounts("ci") == {"": ["builder"], "other": ["docker-ci"]}
    assert accounts() == {"": ["builder", "docker-ops"], "other": ["docker-ci"]}
    removal = client_host.removals(asked, ["ci"])[0]
    assert removal["ssh"] == [{"name": "ci", "account": "builder", "private_key": "/key"}]
    assert removal["identities"] == [{"name": "ci"}]
    assert [record["user"] for record in client_host.removals(settings([{"name": "a", "user": "x"}]), ["b"])] == [
        "x",
        "",
    ]


ACCESS = [
    {"name": "web1", "address": "192.0.2.1", "access": ["staging"]},
    {"name": "web2", "address": "192.0.2.2", "access": ["ops", "staging"]},
    {"name": "web3", "address": "192.0.2.3", "access": ["ops"]},
    {"name": "web4", "address": "192.0.2.4"},
]


def test_an_identity_has_contexts_and_pairs_for_its_access_groups_alone() -> None:
    identities = [{"name": "alice", "access": ["staging", "ops"]}, {"name": "bob", "user": "bob", "access": ["ops"]}]
    asked = settings(identities, engines=ACCESS, transports=["tls", "ssh"], group_cas={"staging": "STAGING", "ops": ""})
    users = {user["user"]: user for user in client_host.users(asked, [], (), check_mode=False)}
    of_alice = {context["name"]: context.get("client_cert") for context in users[""]["contexts"]}
    assert of_alice == {
        "web1": "~/.bulkhead/identities/alice/cert.pem",
        "web1-ssh": None,
        "web2": "~/.bulkhead/identities/alice/cert.pem",
        "web2-ssh": None,
        "web3": "~/.bulkhead/identities/alice/ops/cert.pem",
        "web3-ssh": None,
    }
    assert users[""]["contexts"][4]["cert_path"] == "~/.bulkhead/identities/alice/ops"
    assert [context["name"] for context in users["bob"]["contexts"]] == ["web2", "web2-ssh", "web3", "web3-ssh"]
    # Each pair is held against the CA of its group, which the group ops has not yet.
    assert users[""]["identities"] == [
        {"name": "alice", "valid_days": 365, "client_ca": "STAGING", "groups": ["ops"]},
        {"name": "alice", "valid_days": 365, "group": "ops", "client_ca": ""},
    ]
    assert users["bob"]["identities"] == [{"name": "bob", "valid_days": 365, "client_ca": ""}]
    assert [engine["name"] for engine in client_host.ssh_engines(asked)] == ["web1", "web2", "web3"]


def test_each_pair_is_requested_from_the_ca_of_its_group() -> None:
    asked = settings([{"name": "alice", "access": ["staging", "default"]}], engines=ACCESS)
    answers = [
        answer(
            asked,
            "",
            told("alice", reasons=["x"], left_groups=["ops"]),
            told("alice", group="default", reasons=["y"], new_key=True),
        )
    ]
    found, failed, _ = client_host.statuses(asked, answers)
    assert (failed, [(one["group"], one["access"]) for one in found]) == (
        {},
        [("", "staging"), ("default", "default")],
    )
    (user,) = client_host.users(asked, found, failed, check_mode=False)
    assert user["prepare"] == [
        {"name": "alice", "request": "present_key", "remove_groups": ["ops"]},
        {"name": "alice", "request": "new_key", "group": "default"},
    ]
    requests = [{"name": "alice", "group": "default", "request": "B"}, {"name": "alice", "group": "", "request": "A"}]
    requested, _ = client_host.requested(found, [{"item": {"user": ""}, "requests": requests}])
    assert [(one["sign"]["request"], one["sign"].get("group")) for one in requested] == [("A", "staging"), ("B", None)]
    # A pair that nobody asked for is no answer, and one of the user's own groups stays its own.
    for group in ("ops", ""):
        wrong = [answer(asked, "", told("alice"), told("alice", group=group))]
        assert list(client_host.statuses(asked, wrong)[1]) == [""]


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        ({"access": ["Ops"]}, "has 'Ops', which cannot be the name of an access group"),
        ({"access": ["a", "b"], "certificate_path": "/c", "private_key_path": "/k"}, "several access groups and a"),
    ],
)
def test_groups_that_cannot_be_are_named(identity: dict[str, t.Any], says: str) -> None:
    (problem,) = client_host.problems(settings([{"name": "alice", **identity}]))
    assert says in problem


def test_a_ca_elsewhere_is_asked_for_no_more_days_than_the_identity_has() -> None:
    day = datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=10)
    alice = {"name": "alice", "user": "", "valid_days": 365, "group": "", "access": "default", "expires": str(day)}
    told = [{"item": {"user": ""}, "requests": [{"name": "alice", "request": "CSR"}]}]
    for whole_days, days in ((True, 10), (False, 365)):
        ((asked,), missing) = client_host.requested([alice], told, "P-256", whole_days)
        assert (asked["sign"]["valid_days"], asked["sign"]["expires"], missing) == (days, str(day), [])


def test_who_has_ended_is_left_out() -> None:
    identities = [{"name": "alice", "expires": "2020-01-01"}, {"name": "bob", "expires": "2999-01-01"}]
    settings = client_host.Settings(host="build1", identities=identities)
    assert client_host.problems(settings) == []
    ((user,)) = client_host.users(settings, [], [], False)
    assert [(one["name"], one["expires"]) for one in user["identities"]] == [("bob", "2999-01-01")]
    wrong = client_host.Settings(host="build1", identities=[{"name": "alice", "expires": "soon"}])
    assert client_host.problems(wrong) == [
        "expires of the identity 'alice' has to be a day: 'soon' is no date such as 2030-12-31."
    ]


def test_contexts_are_right_where_every_user_has_said_so_and_has_not_failed() -> None:
    users = [
        {"user": "", "failed": False},
        {"user": "alice", "failed": False},
    ]
    said = [{"item": {"user": user}, "contexts_right": True} for user in ("", "alice")]
    assert client_host.contexts_right(users, said)
    assert not client_host.contexts_right(users, said[:1])
    assert not client_host.contexts_right(users, [said[0], {**said[1], "contexts_right": False}])
    assert not client_host.contexts_right([users[0], {**users[1], "failed": True}], said)
