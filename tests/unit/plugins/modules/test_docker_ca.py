"""The modules of the CA as Ansible runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import authority, returns
from helpers.pki import Authority


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A CA in the phase `trust`, which has a client and a server, and revoked the client."""
    directory = authority.make(tmp_path / "ca", Authority("old"), "opensesame")
    authority.make(directory / "next", Authority("new"), "opensesame")
    (directory / "revoked").mkdir()
    return directory


def request(usage: str, *names: str) -> dict[str, object]:
    return {"name": "alice", "usage": usage, "names": names, "request": authority.request()}


def test_they_return_what_they_document_and_no_key(home: Path, tmp_path: Path) -> None:
    secret = {"dir": str(home), "passphrase": "opensesame"}
    requests = [request("client"), request("server", "DNS:web1")]
    checked = returns.run("docker_ca_sign", {**secret, "requests": requests}, check=True)
    signed = returns.run("docker_ca_sign", {**secret, "requests": requests})
    assert (checked["changed"], checked["certificates"]) == (True, [])
    assert [one["usage"] for one in signed["certificates"]] == ["client", "server"]
    returns.assert_documented("docker_ca_sign", signed, checked)

    (home / "revoked/alice").touch()
    previewed = returns.run("docker_ca_rotation", {"dir": str(home), "phase": "trust"}, check=True)
    moved = returns.run("docker_ca_rotation", {"dir": str(home), "phase": "trust"})
    again = returns.run("docker_ca_rotation", {"dir": str(home), "phase": "trust"})
    assert [(one["phase"], one["changed"]) for one in (previewed, moved, again)] == [
        ("none", True),
        ("trust", True),
        ("trust", False),
    ]
    returns.assert_documented("docker_ca_rotation", previewed, moved, again)

    authority.make(home / "groups/staging", Authority("staging"), "opensesame")
    returns.run("docker_ca_sign", {**secret, "requests": [{**request("client"), "group": "staging", "name": "bob"}]})
    holders = [
        {"kind": "engine", "host": "web1"},
        {"kind": "client", "host": "build1", "identity": "jenkins", "transport": "ssh"},
    ]
    returns.run("docker_ca_holders", {"dir": str(home), "present": holders})
    existing = {"existing_certificate": str(home / "next/ca-cert.pem"), "existing_private_key": "/none"}
    found = returns.run("docker_ca_info", {**secret, **existing, "beside": True})
    none = returns.run(
        "docker_ca_info", {"dir": str(tmp_path / "none"), **existing, "existing_passphrase": "another secret"}
    )
    assert (found["exists"], found["phase"], found["problems"]) == (True, "trust", [])
    assert found["existing"]["taken_over"]
    assert (none["exists"], none["certificates"], none["bundle"]) == (False, [], "")
    returns.assert_documented("docker_ca_info", found, none, returns.run("docker_ca_info", secret))
    text = json.dumps([checked, signed, previewed, moved, found, none])
    assert "PRIVATE KEY" not in text
    assert "opensesame" not in text


def test_a_ca_is_made_gets_a_successor_and_is_removed(home: Path, tmp_path: Path) -> None:
    options = {"dir": str(tmp_path / "made"), "passphrase": "opensesame"}
    made = returns.run("docker_ca", options)
    successor = returns.run("docker_ca", {**options, "successor": True})
    assert (made["state"]["path"], successor["state"]["path"]) == (options["dir"], f"{options['dir']}/next")
    assert made["written"] == successor["written"] == ["ca-key.pem", "ca-cert.pem", "crl.pem", "ca.pem"]
    checked = returns.run("docker_ca", {**options, "state": "absent"}, check=True)
    absent = returns.run("docker_ca", {**options, "state": "absent"})
    again = returns.run("docker_ca", {**options, "state": "absent"})
    assert [(one["changed"], one["state"]["exists"]) for one in (checked, absent, again)] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert checked["removed"] == absent["removed"]
    assert not Path(options["dir"]).exists()
    returns.assert_documented("docker_ca", made, successor, checked, absent, again)


def test_a_new_ca_records_who_is_about_to_get_access(tmp_path: Path) -> None:
    options = {"dir": str(tmp_path / "made"), "holders": [{"kind": "engine", "host": "web1"}]}
    checked = returns.run("docker_ca", options, check=True)
    assert "holders/engine,web1" not in checked["written"]
    made = returns.run("docker_ca", options)
    again = returns.run("docker_ca", options)
    assert made["written"][-1] == "holders/engine,web1"
    assert [one["host"] for one in made["state"]["holders"]] == ["web1"]
    assert (again["changed"], again["written"]) == (False, [])


def test_a_client_is_revoked_in_one_call(home: Path) -> None:
    secret = {"dir": str(home), "passphrase": "opensesame"}
    returns.run("docker_ca_sign", {**secret, "requests": [request("client")]})
    checked = returns.run("docker_ca_revocation", {**secret, "name": "alice"}, check=True)
    assert not (home / "revoked/alice").exists()
    done = returns.run("docker_ca_revocation", {**secret, "name": "alice"})
    again = returns.run("docker_ca_revocation", {**secret, "name": "alice"})
    absent = returns.run("docker_ca_revocation", {**secret, "name": "alice", "state": "absent"})
    assert [(one["changed"], one["written"]) for one in (checked, done, again, absent)] == [
        (True, ["revoked/alice", "crl.pem"]),
        (True, ["revoked/alice", "crl.pem"]),
        (False, []),
        (True, ["revoked/alice"]),
    ]
    assert checked["state"]["revoked"] == done["state"]["revoked"] == ["alice"]
    assert [one["state"]["issued"][0]["revoked"] for one in (checked, done, absent)] == [True, True, True]
    assert set(done["state"]) >= set(returns.run("docker_ca_info", secret)) - returns.COMMON
    returns.assert_documented("docker_ca_revocation", checked, done, again, absent)


def test_the_passphrase_is_changed_and_not_told(home: Path) -> None:
    secrets = {"dir": str(home), "passphrase": "another secret", "old_passphrase": "opensesame"}
    checked = returns.run("docker_ca_passphrase", secrets, check=True)
    done = returns.run("docker_ca_passphrase", secrets)
    again = returns.run("docker_ca_passphrase", secrets)
    assert [(one["changed"], len(one["changed_keys"])) for one in (checked, done, again)] == [
        (True, 2),
        (True, 2),
        (False, 0),
    ]
    returns.assert_documented("docker_ca_passphrase", checked, done, again)
    assert not returns.run("docker_ca_info", {"dir": str(home), "passphrase": "another secret"})["problems"]
    text = json.dumps([checked, done, again])
    assert not [one for one in ("PRIVATE KEY", "opensesame", "another secret") if one in text]


@pytest.mark.parametrize(
    ("module", "options", "says"),
    [
        ("docker_ca_sign", {"requests": [request("client")]}, "is encrypted, and docker_ca_passphrase is not set"),
        ("docker_ca_rotation", {"phase": "retire"}, "is in the phase none and cannot go to retire at once"),
        ("docker_ca_rotation", {"phase": "trust", "dir": "ca"}, "has to start with / or ~/"),
        ("docker_ca_info", {"dir": "ca"}, "has to start with / or ~/"),
        ("docker_ca_passphrase", {"passphrase": "another secret"}, "can be read neither with docker_ca_passphrase"),
        ("docker_ca_revocation", {"name": "alice"}, "is encrypted, and docker_ca_passphrase is not set"),
        ("docker_ca_revocation", {"name": "../alice"}, "is not the name of an identity"),
        ("docker_ca_revocation", {"name": "alice", "dir": "/nonexistent"}, "There is no CA in /nonexistent"),
        ("docker_ca_passphrase", {"dir": "/nonexistent"}, "is not there. Correct docker_ca_dir"),
        ("docker_ca_passphrase", {"passphrase": "ca-key", "old_passphrase": "opensesame"}, "would be masked"),
    ],
)
def test_a_refusal_is_one_sentence(home: Path, module: str, options: dict[str, object], says: str) -> None:
    before = authority.content(home)
    done = returns.run(module, {"dir": str(home), **options})
    assert done["failed"]
    assert says in done["msg"]
    assert "Traceback" not in json.dumps(done)
    after = authority.content(home)
    after.pop(".lock", None)
    assert after == before
