"""Who has access, host by host: nothing of it is lost, whoever writes at the same time or is killed."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import holders, inspect, revocation, signing
from ansible_collections.bulkhead.docker.plugins.module_utils._ca.holders import Holder
from helpers import authority, death
from helpers.pki import Authority
from helpers.power import Disk

ENGINE = Holder("engine", "web1")
ADMINS = [Holder("client", host, "admin", transport) for host in ("ops1", "ops2") for transport in ("tls", "ssh")]
EXPORT = Holder("export", identity="nas")


@pytest.fixture
def home(tmp_path: Path) -> ca.Directory:
    return ca.Directory(authority.make(tmp_path / "ca", Authority("bulkhead.docker CA")))


def test_a_directory_from_before_has_none(home: ca.Directory) -> None:
    assert inspect.gather(home, "")["holders"] == []
    assert holders.record(home, [], ["web1"]) == []
    assert not home.holders.exists()


def test_each_host_of_an_identity_has_an_entry_of_its_own(home: ca.Directory) -> None:
    written = holders.record(home, [ENGINE, *ADMINS, EXPORT, ENGINE], [])
    assert len(written) == 6
    assert "holders/client,ops1,admin,tls" in written
    assert {*holders.found(home)} == {ENGINE, *ADMINS, EXPORT}
    assert holders.record(home, [ENGINE, *ADMINS, EXPORT], []) == []
    assert stat.S_IMODE(home.holders.stat().st_mode) == 0o700
    said = inspect.gather(home, "")["holders"]
    assert {"kind": "client", "host": "ops2", "identity": "admin", "transport": "ssh"} in said


def test_an_entry_goes_alone(home: ca.Directory) -> None:
    holders.record(home, [ENGINE, *ADMINS], [])
    assert holders.record(home, [], [], check_mode=True, absent=[ADMINS[0]]) == ["holders/client,ops1,admin,tls"]
    assert holders.record(home, [], [], absent=[ADMINS[0], EXPORT]) == ["holders/client,ops1,admin,tls"]
    assert {*holders.found(home)} == {ENGINE, *ADMINS[1:]}


@pytest.mark.parametrize("host", ["..", ".", "a,b,tls", "../../x", "wéb1", "a b", "%2C", ".x.bulkhead-new"])
def test_no_name_of_a_host_is_taken_for_something_else(home: ca.Directory, host: str) -> None:
    mine = [Holder("engine", host), Holder("client", host, "a@b.c", "tls")]
    holders.record(home, mine, [])
    assert {*holders.found(home)} == {*mine}
    assert all(path.parent == home.holders for path in home.holders.iterdir())
    assert [*home.path.glob("x")] == []
    holders.record(home, [ENGINE], [host])
    assert holders.found(home) == [ENGINE]


def test_whatever_is_no_entry_is_none(home: ca.Directory) -> None:
    holders.record(home, [ENGINE], [])
    for name in (".engine,web2.bulkhead-new", "engine", "engine,a,b", "notes.txt", "client,web1"):
        (home.holders / name).touch()
    assert holders.found(home) == [ENGINE]
    assert inspect.gather(home, "")["problems"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        Holder("engine"),
        Holder("engine", "web1", "eve"),
        Holder("client", "ops1", "admin"),
        Holder("client", "ops1", "../x", "tls"),
        Holder("export", "web1", "nas"),
    ],
)
def test_an_entry_says_what_its_kind_has(home: ca.Directory, wrong: Holder) -> None:
    with pytest.raises(ca.CaError):
        holders.record(home, [ENGINE, wrong], [])
    assert holders.found(home) == [], "nothing of it was written"


def test_check_mode_writes_nothing(home: ca.Directory) -> None:
    assert holders.record(home, [ENGINE], [], check_mode=True) == ["holders/engine,web1"]
    assert not home.holders.exists()
    holders.record(home, [ENGINE], [])
    assert holders.record(home, [], ["web1"], check_mode=True) == ["holders/engine,web1"]
    assert holders.found(home) == [ENGINE]


def test_a_revocation_leaves_the_entries_of_hosts_to_whoever_deletes_the_keys_there(home: ca.Directory) -> None:
    bob, nas = Holder("client", "ops1", "bob", "ssh"), Holder("client", "ops1", "nas", "tls")
    holders.record(home, [ENGINE, *ADMINS, bob, EXPORT, nas], [])
    preview = revocation.revoke(home, "", "nas", check_mode=True)
    assert f"holders/{EXPORT.file}" in preview
    assert EXPORT in holders.found(home)
    revocation.revoke(home, "", "nas")
    assert {*holders.found(home)} == {ENGINE, *ADMINS, bob, nas}, "an export has no host"
    revocation.revoke(home, "", "admin")
    assert {*holders.found(home)} == {ENGINE, *ADMINS, bob, nas}
    on_ops1 = [one for one in ADMINS if one.host == "ops1"]
    assert holders.record(home, [], [], check_mode=True, absent=on_ops1) == [
        f"holders/client,ops1,admin,{transport}" for transport in ("ssh", "tls")
    ]
    holders.record(home, [], [], absent=on_ops1)
    assert {*holders.found(home)} == {ENGINE, *ADMINS[2:], bob, nas}
    holders.record(home, [], ["ops2", "web1"])
    assert {*holders.found(home)} == {bob, nas}


def test_whoever_was_revoked_meanwhile_gets_no_entry(home: ca.Directory) -> None:
    """A run that has read the record before: it would make account and key anew."""
    revocation.revoke(home, "", "admin")
    with pytest.raises(ca.CaError, match="admin: revoked on the CA host since this run has read its record"):
        holders.record(home, [ENGINE, *ADMINS], [])
    assert holders.found(home) == []
    assert holders.record(home, [ENGINE], []) == ["holders/engine,web1"]


@pytest.mark.parametrize("name", ["engine,", "engine,web%31", "client,a,,tls", "engine,web1%", "export,n%61s"])
def test_an_entry_that_is_written_in_another_way_is_none(home: ca.Directory, name: str) -> None:
    """It could not be removed."""
    holders.record(home, [ENGINE], [])
    (home.holders / name).touch()
    assert holders.found(home) == [ENGINE]


@pytest.mark.parametrize("folder", ["issued", "listed", "holders"])
def test_a_record_that_cannot_be_read_is_not_an_empty_one(home: ca.Directory, folder: str) -> None:
    holders.record(home, [ENGINE], [])
    shutil.rmtree(home.path / folder, ignore_errors=True)
    (home.path / folder).touch()
    state = inspect.gather(home, "")
    assert [problem for problem in state["record_problems"] if f"/{folder} cannot be read (" in problem]
    assert {*state["record_problems"]} <= {*state["problems"]}


def test_a_record_of_hosts_that_cannot_be_read_keeps_no_certificate_off_the_list(home: ca.Directory) -> None:
    signing.sign(home, "", [signing.Request("bob", "client", (), 5, authority.request())])
    home.holders.touch()
    with pytest.raises(ca.CaError, match="holders cannot be read"):
        revocation.revoke(home, "", "bob")
    (listed,) = inspect.revocation_list(home) or ()
    (entry,) = inspect.gather(home, "")["issued"]
    assert (listed.serial_number, entry["revoked"]) == (int(entry["serial"], 16), True)


def test_an_exported_identity_is_known_as_one(home: ca.Directory) -> None:
    requests = [
        signing.Request("nas", "client", (), 5, authority.request(), exported=True),
        signing.Request("bob", "client", (), 5, authority.request()),
        signing.Request("../x", "client", (), 5, authority.request(), exported=True),
    ]
    signing.sign(home, "", requests, check_mode=True)
    assert holders.found(home) == []
    signing.sign(home, "", requests)
    assert holders.found(home) == [EXPORT]


def test_runs_at_the_same_time_lose_nothing(home: ca.Directory) -> None:
    """As two slices write: each has read the record before the other one wrote."""
    slices = [[Holder("engine", f"web{number}-{own}") for number in range(20)] for own in range(4)]
    ends = [death.apart(lambda mine=mine: [holders.record(home, [one], []) for one in mine]) for mine in slices]
    for end in ends:
        end()
    assert {*holders.found(home)} == {one for mine in slices for one in mine}


def test_a_kill_at_any_moment_loses_no_entry(home: ca.Directory, tmp_path: Path) -> None:
    holders.record(home, [ENGINE], [])

    def prepare(step: int) -> ca.Directory:
        return ca.Directory(shutil.copytree(home.path, tmp_path / f"killed-{step}"))

    for killed in death.killed(prepare, lambda home: holders.record(home, ADMINS, [])):
        assert ENGINE in holders.found(killed)
        assert {*holders.found(killed)} <= {ENGINE, *ADMINS}
        holders.record(killed, ADMINS, [])
        assert {*holders.found(killed)} == {ENGINE, *ADMINS}
        assert not list(killed.path.rglob("*.bulkhead-*"))


def test_an_entry_is_on_the_disk_before_anybody_relies_on_it(
    home: ca.Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    holders.record(home, [ENGINE, *ADMINS], [])
    disk.assert_sure(changes=6)


def test_there_has_to_be_a_ca(tmp_path: Path) -> None:
    with pytest.raises(ca.CaError, match="There is no CA in"):
        holders.record(ca.Directory(tmp_path / "nowhere"), [ENGINE], [])
    assert holders.record(ca.Directory(tmp_path / "nowhere"), [], ["web1"]) == []
