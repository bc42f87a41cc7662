"""Replaces the CA of this machine, ends that in every possible way, revokes clients, changes passphrases.

Each host of a play is the directory of a CA. CAs are made once and copied, and a copy that only has to be in
some phase is brought there by what the module does.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca_directory
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import rotation

Play = Callable[..., dict[str, Any]]

# A host on which becoming anybody fails.
NO_BECOME = {"ansible_become": True, "ansible_become_exe": "/nonexistent/sudo"}
PHASES = ("trust", "reissue", "retire", "done")


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def entry(name: str, **options: Any) -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca", "tasks_from": name}, "vars": options}


CA = {"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca"}, "when": "phases is not defined"}
# Hosts that have phases go to one after the other.
ROTATE_TO = entry("rotate", docker_ca_rotate_to="{{ phase }}") | {
    "loop": "{{ phases | default([]) }}",
    "loop_control": {"loop_var": "phase"},
}


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def subjects(bundle: Path) -> list[str]:
    blocks = re.findall(r"-----BEGIN CERT.+?END CERTIFICATE-----\n", bundle.read_text(), re.DOTALL)
    return [
        subprocess.run(
            ["openssl", "x509", "-noout", "-subject"], input=block, capture_output=True, text=True, check=True
        ).stdout.strip()
        for block in blocks
    ]


def assert_whole(ca: Path, passphrase: str = "") -> None:
    """Key and certificate belong together, and there is a list of each CA of the bundle, in its order."""
    secret = ("-passin", f"pass:{passphrase}") if passphrase else ()
    public = openssl("x509", "-in", ca / "ca-cert.pem", "-noout", "-pubkey")
    assert openssl("pkey", "-in", ca / "ca-key.pem", "-pubout", *secret) == public
    assert (ca / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    trusted = subjects(ca / "ca.pem")
    assert trusted[0] == openssl("x509", "-in", ca / "ca-cert.pem", "-noout", "-subject").strip()
    lists = re.findall(r"-----BEGIN X509 CRL.+?END X509 CRL-----\n", (ca / "crl.pem").read_text(), re.DOTALL)
    issuers = [
        subprocess.run(
            ["openssl", "crl", "-noout", "-issuer"], input=block, capture_output=True, text=True, check=True
        ).stdout.strip()
        for block in lists
    ]
    assert [name.removeprefix("issuer=") for name in issuers] == [name.removeprefix("subject=") for name in trusted]


@pytest.fixture(scope="module")
def made(module_play: tuple[Path, Play]) -> Path:
    """CAs: `plain`, `encrypted`, which has a passphrase and a client, and `begun`, which has a successor."""
    root, play = module_play
    hosts = {name: {"docker_ca_dir": str(root / name)} for name in ("plain", "encrypted", "next")}
    hosts["encrypted"]["docker_ca_passphrase"] = "opensesame"
    signing = sign(root / "encrypted", root, "alice") | {"when": "inventory_hostname == 'encrypted'"}
    for name, outcome in play(hosts, [CA, signing]).items():
        assert outcome.failed == 0, (name, outcome.message)
    shutil.copytree(root / "plain", root / "begun")
    shutil.copytree(root / "next", root / "begun/next")
    return root


@pytest.mark.slow
def test_a_rotation_passes_its_phases_and_another_type_of_key(made: Path, tmp_path: Path, play: Play) -> None:
    def host(name: str, *phases: str, **options: str) -> dict[str, Any]:
        going = {"phases": list(phases)} if phases else {}
        return {"docker_ca_dir": str(tmp_path / name), "docker_ca_passphrase": "opensesame", **going, **options}

    for name in ("ca", "early", "bare", "mistyped"):
        shutil.copytree(made / "encrypted", tmp_path / name)
    ca, new = tmp_path / "ca", {"docker_ca_key_type": "P-384"}
    first = content(ca)
    (old,) = subjects(ca / "ca.pem")

    checked = play({"h": host("ca", "trust", **new)}, [ROTATE_TO], "--check", "--diff")["h"]
    assert (checked.failed, checked.changed) == (0, 2), checked.message
    assert content(ca) == first

    outcomes = play(
        {
            "h": host("ca", "trust", **new),
            "early": host("early", "retire", **new),
            "none": host("none", "trust", **new),
            "bare": host("bare", "trust", docker_ca_passphrase=""),
            "mistyped": host("mistyped", "trust", docker_ca_passphrase="open sesame"),
        },
        [ROTATE_TO],
    )
    assert (outcomes["h"].failed, outcomes["h"].changed) == (0, 2), outcomes["h"].message
    assert "in the phase none and cannot go to retire at once" in outcomes["early"].message
    assert content(tmp_path / "early") == first
    for name, given in (("bare", "none"), ("mistyped", "it is set")):  # the successor's key would be as open
        assert f"docker_ca_passphrase that was given ({given}), and the successor" in outcomes[name].message
        assert content(tmp_path / name) == first
    assert "There is no CA in" in outcomes["none"].message
    assert not (tmp_path / "none").exists()
    assert_whole(ca, "opensesame")
    assert not (ca / "next/.lock").exists()  # the successor was made under the lock of the CA
    assert len(subjects(ca / "ca.pem")) == 2
    assert subjects(ca / "ca.pem")[0] == old

    # An ordinary run in between leaves it alone; with the new type in the inventory already, it says what to do.
    shutil.copytree(ca, tmp_path / "trusting")
    trusting = content(ca)
    outcomes = play(
        {
            "h": host("ca", "trust", "reissue", "reissue", **new),
            "same": host("trusting"),
            "other": host("trusting", **new),
        },
        [CA, ROTATE_TO],
    )
    assert outcomes["h"].failed == 0, outcomes["h"].message
    assert outcomes["h"].changed == 1  # going to a phase that it is in changes nothing
    assert (outcomes["same"].failed, outcomes["same"].changed) == (0, 0), outcomes["same"].message
    assert "end the rotation that is under way" in outcomes["other"].message
    assert content(tmp_path / "trusting") == trusting
    assert_whole(ca, "opensesame")
    assert subjects(ca / "ca.pem")[1] == old

    shutil.copytree(ca, tmp_path / "reissuing")
    outcomes = play(
        {"h": host("ca", "trust", "retire", "done", **new), "between": host("reissuing", **new)}, [CA, ROTATE_TO]
    )
    assert outcomes["h"].failed == 0, outcomes["h"].message
    assert (outcomes["between"].failed, outcomes["between"].changed) == (0, 0), outcomes["between"].message
    assert_whole(ca, "opensesame")
    assert old not in subjects(ca / "ca.pem")
    assert sorted(content(ca)) == sorted([*first, "retired.pem"])
    assert subjects(ca / "retired.pem") == [old]
    assert "secp384r1" in openssl("x509", "-in", ca / "ca-cert.pem", "-noout", "-text")
    again = play({"h": host("ca", **new)}, [CA])["h"]
    assert (again.failed, again.changed) == (0, 0), again.message


def test_a_successor_can_be_brought_along_and_is_another_ca(made: Path, tmp_path: Path, play: Play) -> None:
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "4000", "-subj", "/CN=mine")
    files = ("-keyout", tmp_path / "mine.key", "-out", tmp_path / "mine.pem", "-nodes")
    openssl("req", "-x509", "-newkey", "rsa:2048", *files, *usage)
    brought = {
        "docker_ca_existing_certificate": str(tmp_path / "mine.pem"),
        "docker_ca_existing_private_key": str(tmp_path / "mine.key"),
    }
    for name in ("ca", "same"):
        shutil.copytree(made / "plain", tmp_path / name)
    shutil.copy(tmp_path / "mine.pem", tmp_path / "same/ca-cert.pem")
    before = content(tmp_path / "same")
    hosts = {name: {"docker_ca_dir": str(tmp_path / name), "phases": ["trust"], **brought} for name in ("ca", "same")}
    outcomes = play(hosts, [ROTATE_TO])
    assert "has the name of the present CA" in outcomes["same"].message
    assert (outcomes["same"].failed, outcomes["same"].changed) == (1, 0)
    assert content(tmp_path / "same") == before
    assert outcomes["ca"].failed == 0, outcomes["ca"].message
    assert_whole(tmp_path / "ca")
    for phase in PHASES[1:]:
        step(tmp_path / "ca", phase)
    assert_whole(tmp_path / "ca")
    assert (tmp_path / "ca/ca.pem").read_text() == (tmp_path / "mine.pem").read_text()


def step(ca: Path, phase: str) -> None:
    rotation.advance(ca_directory.Directory(ca), phase)


def sign(ca: Path, directory: Path, *names: str) -> dict[str, Any]:
    """Has certificates signed by a CA whose passphrase is a variable of the host."""
    key = directory / "client.key"
    if not key.exists():
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    request = openssl("req", "-new", "-key", key, "-subj", "/CN=whoever")
    requests = [{"name": name, "usage": "client", "request": request} for name in names]
    return entry(
        "sign",
        docker_ca_host="{{ inventory_hostname }}",
        docker_ca_dir=str(ca),
        docker_ca_sign_requests=requests,
    )


def still_valid(outcome: Any) -> list[str]:
    kept = outcome.tasks["revoke | Set the certificates that engines still accept"]
    serials: list[str] = kept["ansible_facts"]["docker_ca_still_valid"]
    return serials


def revoked(ca: Path) -> list[int]:
    """The serial numbers on each of the lists."""
    lists = re.findall(r"-----BEGIN X509 CRL.+?END X509 CRL-----\n", (ca / "crl.pem").read_text(), re.DOTALL)
    texts = [
        subprocess.run(["openssl", "crl", "-noout", "-text"], input=block, capture_output=True, text=True, check=True)
        for block in lists
    ]
    return [text.stdout.count("Serial Number:") for text in texts]


def test_a_revoked_client_is_listed_and_gets_nothing_any_more(made: Path, tmp_path: Path, play: Play) -> None:
    ca = tmp_path / "ca"
    shutil.copytree(made / "begun", ca)
    host = {"h": {"docker_ca_dir": str(ca)}}
    # The second name is the first one's in a file name.
    signed = play(host, [sign(ca, tmp_path, "al@ce", "al@ce", "al_ce")])["h"]
    assert signed.failed == 0, signed.message
    assert len(list((ca / "issued").iterdir())) == 3

    before = content(ca)
    revoke = entry("revoke", docker_ca_revoke_name="al@ce")
    checked = play(host, [revoke], "--check")["h"]
    assert (checked.failed, checked.changed) == (0, 1), checked.message
    assert len(still_valid(checked)) == 2
    assert content(ca) == before

    done = play(host, [revoke])["h"]
    assert (done.failed, done.changed) == (0, 1), done.message
    assert revoked(ca) == [2]
    assert len(still_valid(done)) == 2
    # Once more there is nothing to change, and the name gets no certificate any more.
    again = play(host, [revoke, sign(ca, tmp_path, "al@ce")])["h"]
    assert (again.failed, again.changed) == (0, 0), again.message
    (refused,) = again.tasks["sign_requests | Sign the requests on the CA host"]["certificates"]
    assert refused["certificate"] == ""
    assert "The request for the client 'al@ce' is refused, because this client was revoked" in refused["problem"]
    assert revoked(ca) == [2]

    # A list that was lost comes back with both, and a run that was killed between mark and list is completed.
    # So is a rotation that was killed between the key and the certificate of the successor.
    lost, killed, moved = tmp_path / "lost", tmp_path / "killed", tmp_path / "moved"
    for copy in (lost, killed, moved):
        shutil.copytree(ca, copy)
    (lost / "crl.pem").unlink()
    shutil.copy(made / "begun/crl.pem", killed)
    step(moved, "trust")
    (moved / "rotation").write_text("reissue\n")
    (moved / "previous").mkdir()
    (moved / "previous/ca-key.pem").hardlink_to(moved / "ca-key.pem")
    (moved / "next/ca-key.pem").replace(moved / "ca-key.pem")
    hosts = {copy.name: {"docker_ca_dir": str(copy)} for copy in (lost, killed, moved)}
    on_lost = {"when": "inventory_hostname == 'lost'"}
    completed = play(hosts, [CA | on_lost, revoke | {"when": "inventory_hostname != 'lost'"}])
    for copy, serials in ((lost, [2]), (killed, [2]), (moved, [0, 2])):
        assert completed[copy.name].failed == 0, completed[copy.name].message
        assert revoked(copy) == serials, copy.name
    assert_whole(moved)

    # The other name still gets one. A certificate of the old CA is listed while the CA is replaced, too, and the
    # successor's list is kept beside it.
    for phase in PHASES[:2]:
        step(ca, phase)
    both = play(host, [sign(ca, tmp_path, "al_ce"), entry("revoke", docker_ca_revoke_name="al_ce")])["h"]
    assert both.failed == 0, both.message
    assert revoked(ca) == [1, 3]
    assert_whole(ca)
    for phase in PHASES[2:]:
        step(ca, phase)
    assert revoked(ca) == [1]

    unmark = entry("revoke", docker_ca_revoke_name="al@ce", docker_ca_revoke_state="absent")
    unmarked = play(host, [unmark, sign(ca, tmp_path, "al@ce")])["h"]
    assert unmarked.failed == 0, unmarked.message
    assert revoked(ca) == [1]


def test_what_cannot_be_revoked_is_refused(made: Path, tmp_path: Path, play: Play) -> None:
    ca = tmp_path / "ca"
    shutil.copytree(made / "encrypted", ca)
    before = content(ca)
    cases = {
        "path": ("../x", "opensesame", "is not the name of an identity"),
        "unknown": ("bob", "opensesame", "has never issued a client certificate for bob"),
        "passphrase": ("alice", "wrong secret", "Nothing was changed"),
    }
    hosts = {
        host: {"docker_ca_dir": str(ca), "docker_ca_passphrase": passphrase, "docker_ca_revoke_name": name}
        for host, (name, passphrase, _) in cases.items()
    }
    # One that uses SSH alone has no certificate, but the caller knows it.
    shutil.copytree(ca, tmp_path / "known")
    hosts["known"] = hosts["unknown"] | {"docker_ca_dir": str(tmp_path / "known"), "docker_ca_revoke_known": True}
    outcomes = play(hosts, [entry("revoke")])
    assert outcomes["known"].failed == 0, outcomes["known"].message
    assert (tmp_path / "known/revoked/bob").exists()
    for host, (_, _, says) in cases.items():
        assert (outcomes[host].failed, outcomes[host].changed) == (1, 0), host
        assert says in outcomes[host].message, host
    assert content(ca) == before


def test_the_passphrase_changes_alone(made: Path, tmp_path: Path, play: Play) -> None:
    ca, wrong, plain = (tmp_path / name for name in ("ca", "wrong", "plain"))
    shutil.copytree(made / "encrypted", ca)
    shutil.copytree(made / "next", ca / "next")
    encrypted = ("-aes256", "-passout", "pass:opensesame", "-out", ca / "next/ca-key.pem")
    openssl("pkey", "-in", made / "next/ca-key.pem", *encrypted)
    step(ca, "trust")
    shutil.copytree(ca, wrong)
    before = content(ca)

    def host(directory: Path, new: str, old: str) -> dict[str, str]:
        return {"docker_ca_dir": str(directory), "docker_ca_passphrase": new, "docker_ca_old_passphrase": old}

    right = host(ca, "new secret", "opensesame")
    changing = entry("passphrase")
    checked = play({"h": right}, [changing], "--check")["h"]
    assert (checked.failed, checked.changed) == (0, 1), checked.message
    assert content(ca) == before

    refused = {"wrong": host(wrong, "new secret", "wrong secret"), "brief": host(wrong, "7 signs", "opensesame")}
    outcomes = play({"h": right, **refused}, [changing])
    assert "has fewer than 8 characters" in outcomes["brief"].message
    assert (outcomes["wrong"].failed, outcomes["wrong"].changed) == (1, 0)
    assert "Nothing was changed" in outcomes["wrong"].message
    assert content(wrong) == before
    assert (outcomes["h"].failed, outcomes["h"].changed) == (0, 1), outcomes["h"].message
    assert {name for name, text in content(ca).items() if before[name] != text} == {"ca-key.pem", "next/ca-key.pem"}
    assert_whole(ca, "new secret")
    openssl("pkey", "-in", ca / "next/ca-key.pem", "-passin", "pass:new secret", "-noout")

    shutil.copytree(ca, plain)
    outcomes = play({"h": right, "decrypted": host(plain, "", "new secret")}, [changing])
    assert (outcomes["h"].failed, outcomes["h"].changed) == (0, 0), outcomes["h"].message
    assert outcomes["decrypted"].failed == 0, outcomes["decrypted"].message
    assert_whole(plain)

    # What nobody needs any more is removed, with its folder, and nothing is to do where nothing is.
    (wrong / "notes.txt").touch()
    absent = entry("absent")
    hosts = {name: host(tmp_path / name, "", "") for name in ("plain", "wrong", "none")}
    checked = play(hosts, [absent], "--check")
    assert {name: (one.failed, one.changed) for name, one in checked.items()} == {
        "plain": (0, 1),
        "wrong": (0, 1),
        "none": (0, 0),
    }
    assert (plain / "ca-key.pem").exists()
    outcomes = play(hosts, [absent])
    assert {name: (one.failed, one.changed) for name, one in outcomes.items()} == {
        "plain": (0, 1),
        "wrong": (0, 1),
        "none": (0, 0),
    }
    assert not plain.exists()
    assert [path.name for path in wrong.iterdir()] == ["notes.txt"]
