"""Access groups: each is a CA of the same kind below the one that signs for servers, and shares its marks."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
    create,
    inspect,
    passphrase,
    removal,
    revocation,
    rotation,
    signing,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
from helpers import authority
from helpers.pki import Authority


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = authority.make(tmp_path_factory.mktemp("groups") / "ca", Authority("default"))
    for name in ("ops", "staging"):
        authority.make(path / "groups" / name, Authority(name))
    return path


@pytest.fixture
def home(made: Path, tmp_path: Path) -> ca.Directory:
    return ca.open_directory(str(shutil.copytree(made, tmp_path / "ca")))


def wanted(name: str, group: str = "default") -> signing.Request:
    return signing.Request(name, "client", (), 5, authority.request(), group=group)


def issuers(answers: list[signing.Certificate | signing.Refusal]) -> list[str]:
    return [
        answer.certificate.issuer.rfc4514_string() if isinstance(answer, signing.Certificate) else "refused"
        for answer in answers
    ]


def is_revoked(home: ca.Directory, group: str, name: str) -> bool:
    found = {one["name"]: one for one in inspect.gather(home, "")["groups"]}[group]
    return any(one["revoked"] for one in found["issued"] if one["name"] == name) and bool(found["complete"])


def test_a_group_is_a_ca_of_its_own_also_where_its_directory_is_named(home: ca.Directory) -> None:
    found = inspect.gather(home, "")
    assert [one["name"] for one in found["groups"]] == ["ops", "staging"]
    assert all(one["complete"] for one in (found, *found["groups"]))
    assert len({one["bundle"] for one in (found, *found["groups"])}) == 3
    staging = ca.open_directory(str(home.path / "groups/staging"))
    assert (staging, staging.root, staging.all_groups()) == (home.group("staging"), home, {})
    # A folder that happens to be called so is none of a group.
    elsewhere = ca.open_directory(str(home.path.parent / "groups/ca"))
    assert elsewhere.root == elsewhere


@pytest.mark.parametrize("name", ["", "..", "../ca", "Staging", "a/b", "-a", "a" * 33, "a\n"])
def test_what_is_no_name_is_no_directory(home: ca.Directory, name: str) -> None:
    with pytest.raises(ca.CaError, match="is not the name of an access group"):
        home.group(name)
    assert issuers(signing.sign(home, "", [wanted("alice", name), wanted("alice")])) == ["refused", "CN=default"]


def test_each_request_is_signed_by_the_ca_of_its_group_in_one_call(home: ca.Directory) -> None:
    requests = [wanted("alice", "staging"), wanted("alice"), wanted("bob", "ops"), wanted("carol", "none")]
    assert issuers(signing.sign(home, "", requests)) == ["CN=staging", "CN=default", "CN=ops", "refused"]
    names = {one["name"]: [entry["name"] for entry in one["issued"]] for one in inspect.gather(home, "")["groups"]}
    assert names == {"ops": ["bob"], "staging": ["alice"]}
    assert [one["name"] for one in inspect.gather(home, "")["issued"]] == ["alice"]


def test_who_was_exported_by_the_ca_of_a_group_is_in_the_one_record_of_all(home: ca.Directory) -> None:
    signing.sign(home, "", [dataclasses.replace(wanted("ci", "staging"), exported=True), wanted("alice", "staging")])
    found = inspect.gather(home, "")
    assert [(one["kind"], one["identity"]) for one in found["holders"]] == [("export", "ci")]
    assert not (home.path / "groups/staging/holders").exists()
    revocation.revoke(home, "", "ci")
    assert inspect.gather(home, "")["holders"] == []


def test_a_client_that_was_revoked_is_in_no_group_any_more(home: ca.Directory) -> None:
    signing.sign(home, "", [wanted("alice", "staging"), wanted("alice"), wanted("bob", "staging")])
    expected = ["revoked/alice", "crl.pem", "groups/staging/crl.pem"]
    assert revocation.revoke(home, "", "alice", check_mode=True) == expected
    assert not is_revoked(home, "staging", "alice")
    assert revocation.revoke(home.group("staging"), "", "alice") == expected
    assert is_revoked(home, "staging", "alice")
    assert not is_revoked(home, "staging", "bob")
    assert issuers(signing.sign(home, "", [wanted("alice", group) for group in ("ops", "default")])) == ["refused"] * 2
    assert issuers(signing.sign(home, "", [wanted("alice", "ops")], check_mode=True)) == ["refused"]
    # Servers are none of a group.
    assert revocation.revoke_servers(home.group("staging"), "", ["bob"]) == []


def test_what_a_client_can_still_do_is_known_by_group(home: ca.Directory) -> None:
    signing.sign(home, "", [wanted("alice", "staging"), wanted("bob", "ops")])
    assert revocation.left(home, "alice", True, ["staging"]) == revocation.Left("", ("staging",))
    assert revocation.left(home, "alice", True) == revocation.Left("", ("staging",))
    # It has to be in the record of each group that it was in, and in some record where nobody knows the groups.
    lost = revocation.left(home, "alice", True, ["staging", "ops"])
    assert ("has none, although it got one" in lost.doubt, lost.groups) == (True, ("ops", "staging"))
    assert revocation.left(home, "carol", True).groups == ("default", "ops", "staging")
    assert revocation.left(home, "carol", False) == revocation.Left("", ())
    (bobs,) = home.group("ops").issued.glob("*.pem")
    bobs.write_text("")
    assert revocation.left(home, "carol", False).groups == ("ops",)


def test_one_group_is_rotated_and_the_others_are_as_they_were(home: ca.Directory) -> None:
    signing.sign(home, "", [wanted("alice", "staging"), wanted("bob", "ops")])
    before = authority.content(home.path)
    staging = home.group("staging")
    create.ensure_successor(staging, "", create.Wanted("successor", "P-256", 0, 30))
    for phase in ("trust", "reissue", "retire", "done"):
        rotation.advance(staging, phase)
    after = authority.content(home.path)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert {name.split("/")[1] for name in changed} == {"staging"}
    found = {one["name"]: one for one in inspect.gather(home, "")["groups"]}
    assert found["staging"]["retired"] == before["groups/staging/ca.pem"].decode()
    assert revocation.left(home, "alice", False).groups == ()
    assert revocation.left(home, "bob", False).groups == ("ops",)


def test_a_group_is_made_and_all_go_together(home: ca.Directory) -> None:
    (home.path / "groups").rename(home.path.parent / "backup")
    create.ensure(home.group("staging"), "", create.Wanted("CA staging", "P-256", 0, 30))
    assert (home.path / "groups").stat().st_mode & 0o777 == 0o700
    assert x509.load_bundle(home.group("staging").bundle.read_text())[0].common_names[0].startswith("CA staging ")
    (home.path / "groups/notes").write_text("somebody's")
    revocation.revoke(home, "", "alice")  # which leaves its lock
    removed = removal.remove(home, check_mode=True)
    assert removal.remove(home) == removed
    assert [str(path.relative_to(home.path)) for path in home.path.rglob("*")] == ["groups", "groups/notes"]
    (home.path / "groups/notes").unlink()
    assert removal.remove(home, check_mode=True) == removal.remove(home) == ["groups", str(home.path)]
    assert not home.path.exists()


def test_one_passphrase_is_for_all_groups(home: ca.Directory) -> None:
    keys = ["ca-key.pem", "groups/ops/ca-key.pem", "groups/staging/ca-key.pem"]
    foreign = authority.key_text(Authority("x").key, "another")
    mine = (home.path / keys[2]).read_bytes()
    (home.path / keys[2]).write_bytes(foreign)
    before = authority.content(home.path)
    with pytest.raises(ca.CaError, match="can be read neither with docker_ca_passphrase"):
        passphrase.change(home, "opensesame", "")
    assert authority.content(home.path)["ca-key.pem"] == before["ca-key.pem"]
    (home.path / keys[2]).write_bytes(mine)
    assert passphrase.change(home, "opensesame", "") == keys
    assert passphrase.change(home, "opensesame", "") == []
