"""Replaces the CA of this machine, ends that in every possible way, revokes clients, changes passphrases."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Play = Callable[..., dict[str, Any]]

ROOT = Path(__file__).parents[3]
ROTATE = ROOT / "roles/docker_ca/files/rotate.sh"
PHASES = ("trust", "reissue", "retire", "done")


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def entry(name: str, **options: Any) -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca", "tasks_from": name}, "vars": options}


CA = {"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca"}}


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


def test_a_rotation_passes_its_phases_and_another_type_of_key(tmp_path: Path, play: Play) -> None:
    ca = tmp_path / "ca"
    host = {"docker_ca_dir": str(ca), "docker_ca_passphrase": "sesame"}
    new = host | {"docker_ca_key_type": "P-384"}
    assert play({"h": host}, [CA])["h"].failed == 0
    first = content(ca)
    (old,) = subjects(ca / "ca.pem")

    outcome = play({"h": new}, [entry("rotate", docker_ca_rotate_to="trust")], "--check", "--diff")["h"]
    assert (outcome.failed, outcome.changed > 0) == (0, True), outcome.message
    assert content(ca) == first

    outcome = play({"h": new}, [entry("rotate", docker_ca_rotate_to="retire")])["h"]
    assert "in the phase none and cannot go to retire at once" in outcome.message
    assert content(ca) == first

    outcome = play({"h": new}, [entry("rotate", docker_ca_rotate_to="trust")] * 2)["h"]
    assert outcome.failed == 0, outcome.message
    assert_whole(ca, "sesame")
    assert len(subjects(ca / "ca.pem")) == 2
    assert subjects(ca / "ca.pem")[0] == old

    # An ordinary run in between leaves it alone; with the new type in the inventory already, it says what to do.
    assert play({"h": host}, [CA])["h"].changed == 0
    assert "end the rotation that is under way" in play({"h": new}, [CA])["h"].message

    outcome = play({"h": new}, [entry("rotate", docker_ca_rotate_to="reissue")] * 2)["h"]
    assert outcome.failed == 0, outcome.message
    assert_whole(ca, "sesame")
    assert subjects(ca / "ca.pem")[1] == old
    assert (play({"h": new}, [CA])["h"].failed, play({"h": new}, [CA])["h"].changed) == (0, 0)

    outcome = play({"h": new}, [entry("rotate", docker_ca_rotate_to=phase) for phase in ("trust", "retire", "done")])[
        "h"
    ]
    assert outcome.failed == 0, outcome.message
    assert_whole(ca, "sesame")
    assert old not in subjects(ca / "ca.pem")
    assert sorted(content(ca)) == sorted(first)
    assert "secp384r1" in openssl("x509", "-in", ca / "ca-cert.pem", "-noout", "-text")
    assert (play({"h": new}, [CA])["h"].failed, play({"h": new}, [CA])["h"].changed) == (0, 0)


def test_a_successor_can_be_brought_along_and_is_another_ca(tmp_path: Path, play: Play) -> None:
    ca = tmp_path / "ca"
    host = {"docker_ca_dir": str(ca)}
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "4000", "-subj", "/CN=mine")
    files = ("-keyout", tmp_path / "mine.key", "-out", tmp_path / "mine.pem", "-nodes")
    openssl("req", "-x509", "-newkey", "rsa:2048", *files, *usage)
    brought = host | {
        "docker_ca_existing_certificate": str(tmp_path / "mine.pem"),
        "docker_ca_existing_private_key": str(tmp_path / "mine.key"),
    }
    phases = [entry("rotate", docker_ca_rotate_to=phase) for phase in PHASES]
    outcome = play({"h": host}, [CA])["h"]
    outcome = play({"h": brought}, phases)["h"]
    assert outcome.failed == 0, outcome.message
    assert (ca / "ca.pem").read_text() == (tmp_path / "mine.pem").read_text()
    before = content(ca)
    assert "has the name of the present CA" in play({"h": brought}, phases)["h"].message
    assert content(ca) == before


def test_a_rotation_without_a_ca_is_refused(tmp_path: Path, play: Play) -> None:
    outcome = play({"h": {"docker_ca_dir": str(tmp_path / "ca")}}, [entry("rotate", docker_ca_rotate_to="trust")])["h"]
    assert "There is no CA in" in outcome.message
    assert not (tmp_path / "ca").exists()


# Every command that changes something is one at which the script can be killed.
KILLER = """
for tool in mv ln rm mkdir chmod; do
  eval "$tool() { step=\\$((step + 1)); [ \\$step -lt $KILL ] || kill -9 \\$\\$; command $tool \\"\\$@\\"; }"
done
step=0
"""


@pytest.fixture(scope="module")
def begun(module_play: tuple[Path, Play]) -> Path:
    """A CA with a successor that nobody trusts yet."""
    root, play = module_play
    for name in ("ca", "ca/next"):
        outcome = play({"h": {"docker_ca_dir": str(root / name)}}, [CA])["h"]
        assert outcome.failed == 0, outcome.message
    return root / "ca"


def step(ca: Path, phase: str, kill: int = 0) -> int:
    script = (KILLER.replace("$KILL", str(kill)) if kill else "") + ROTATE.read_text()
    return subprocess.run(["sh", "-s", ca, phase], input=script, text=True, capture_output=True, check=False).returncode


@pytest.mark.parametrize("index", range(4))
def test_a_step_that_is_killed_anywhere_is_ended_by_the_next_run(begun: Path, tmp_path: Path, index: int) -> None:
    base = tmp_path / "base"
    shutil.copytree(begun, base)
    for phase in PHASES[:index]:
        assert step(base, phase) == 0
    wanted = tmp_path / "wanted"
    shutil.copytree(base, wanted)
    assert step(wanted, PHASES[index]) == 0
    kills = 0
    while True:
        kills += 1
        ca = tmp_path / f"killed-{kills}"
        shutil.copytree(base, ca)
        if step(ca, PHASES[index], kills) == 0:
            break
        assert step(ca, PHASES[index]) == 0
        assert content(ca) == content(wanted), f"killed before change {kills}"
        assert_whole(ca)
    assert kills > 3


def sign(ca: Path, directory: Path, name: str) -> dict[str, Any]:
    key = directory / "client.key"
    if not key.exists():
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    usage = ("-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=clientAuth")
    return entry(
        "sign",
        docker_ca_sign_host="h",
        docker_ca_sign_dir=str(ca),
        docker_ca_sign_request=openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", *usage),
        docker_ca_sign_name=name,
        docker_ca_sign_usage="client",
    )


def revoked(ca: Path) -> list[int]:
    """The serial numbers on each of the lists."""
    lists = re.findall(r"-----BEGIN X509 CRL.+?END X509 CRL-----\n", (ca / "crl.pem").read_text(), re.DOTALL)
    texts = [
        subprocess.run(["openssl", "crl", "-noout", "-text"], input=block, capture_output=True, text=True, check=True)
        for block in lists
    ]
    return [text.stdout.count("Serial Number:") for text in texts]


def test_a_revoked_client_is_listed_and_gets_nothing_any_more(tmp_path: Path, play: Play) -> None:
    ca = tmp_path / "ca"
    host = {"h": {"docker_ca_dir": str(ca)}}
    # The second name is the first one's in a file name.
    signed = play(host, [CA, *(sign(ca, tmp_path, name) for name in ("al@ce", "al@ce", "al_ce"))])["h"]
    assert signed.failed == 0, signed.message
    assert len(list((ca / "issued").iterdir())) == 3

    before = content(ca)
    revoke = entry("revoke", docker_ca_revoke_name="al@ce")
    checked = play(host, [revoke], "--check")["h"]
    assert (checked.failed, checked.changed) == (0, 3), checked.message
    assert content(ca) == before

    done = play(host, [revoke])["h"]
    assert (done.failed, done.changed) == (0, 3), done.message
    assert revoked(ca) == [2]
    assert len(done.tasks["revoke | Tell which of its certificates engines still accept"]["msg"]) == 2
    assert (play(host, [revoke])["h"].failed, play(host, [revoke])["h"].changed) == (0, 0)
    assert "al@ce was revoked on the CA host h" in play(host, [sign(ca, tmp_path, "al@ce")])["h"].message
    assert play(host, [sign(ca, tmp_path, "al_ce")])["h"].failed == 0

    # A certificate of the old CA is listed while the CA is replaced, too, and the successor's list is kept beside it.
    rotated = [entry("rotate", docker_ca_rotate_to=phase) for phase in PHASES]
    both = play(host, [*rotated[:2], sign(ca, tmp_path, "al_ce"), entry("revoke", docker_ca_revoke_name="al_ce")])["h"]
    assert both.failed == 0, both.message
    assert revoked(ca) == [1, 4]
    assert_whole(ca)
    play(host, rotated)
    assert revoked(ca) == [1]

    again = play(host, [entry("revoke", docker_ca_revoke_name="al@ce", docker_ca_revoke_state="absent")])["h"]
    assert again.failed == 0, again.message
    assert play(host, [sign(ca, tmp_path, "al@ce")])["h"].failed == 0


def test_what_cannot_be_revoked_is_refused(tmp_path: Path, play: Play) -> None:
    ca = tmp_path / "ca"
    host = {"h": {"docker_ca_dir": str(ca), "docker_ca_passphrase": "sesame"}}
    signing = sign(ca, tmp_path, "alice")
    signing["vars"]["docker_ca_sign_passphrase"] = "sesame"
    assert play(host, [CA, signing])["h"].failed == 0
    before = content(ca)
    for name, passphrase, says in (
        ("../x", "sesame", "is not the name of an identity"),
        ("bob", "sesame", "has never issued a client certificate for bob"),
        ("alice", "wrong", "Nothing was changed"),
    ):
        host["h"]["docker_ca_passphrase"] = passphrase
        assert says in play(host, [entry("revoke", docker_ca_revoke_name=name)])["h"].message
    assert content(ca) == before


def test_the_passphrase_changes_alone(tmp_path: Path, play: Play) -> None:
    ca = tmp_path / "ca"
    host = {"docker_ca_dir": str(ca), "docker_ca_passphrase": "old"}
    begun = play({"h": host}, [CA, entry("rotate", docker_ca_rotate_to="trust")])["h"]
    assert begun.failed == 0, begun.message
    before = content(ca)
    changing = entry("passphrase")
    wrong = host | {"docker_ca_passphrase": "new", "docker_ca_old_passphrase": "wrong"}
    assert "Nothing was changed" in play({"h": wrong}, [changing])["h"].message
    right = wrong | {"docker_ca_old_passphrase": "old"}
    checked = play({"h": right}, [changing], "--check")["h"]
    assert (checked.failed, checked.changed) == (0, 1), checked.message
    assert content(ca) == before

    done = play({"h": right}, [changing])["h"]
    assert (done.failed, done.changed) == (0, 1), done.message
    assert {name for name, text in content(ca).items() if before[name] != text} == {"ca-key.pem", "next/ca-key.pem"}
    assert_whole(ca, "new")
    openssl("pkey", "-in", ca / "next/ca-key.pem", "-passin", "pass:new", "-noout")
    assert (play({"h": right}, [changing])["h"].failed, play({"h": right}, [changing])["h"].changed) == (0, 0)
    decrypted = host | {"docker_ca_passphrase": "", "docker_ca_old_passphrase": "new"}
    assert play({"h": decrypted}, [changing])["h"].failed == 0
    assert_whole(ca)
