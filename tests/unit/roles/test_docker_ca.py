"""Runs the role docker_ca on this machine; each directory is one CA host, and all share the same few plays."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Play = Callable[..., dict[str, Any]]
# A host on which becoming anybody fails.
NO_BECOME = {"ansible_become": True, "ansible_become_exe": "/nonexistent/sudo"}
Outcomes = dict[str, Any]

ROLE = [{"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca"}}]
SIGNS = "keyUsage=critical,keyCertSign,cRLSign"
ON_AN_UNCHANGED_RUN = ["gather | Gather the state of the CA"]

# CAs that the role makes.
MADE: dict[str, dict[str, Any]] = {
    "p256": {"docker_ca_passphrase": "opensesame"},
    "p384": {"docker_ca_key_type": "P-384", "ansible_become_exe": "/nonexistent/sudo"},
    "rsa": {"docker_ca_key_type": "RSA", "docker_ca_key_size": 2048, **NO_BECOME},
}
# What a second run finds: a copy of which CA, what is different in the variables, and how the role refuses it.
REFUSED_LATER: dict[str, tuple[str, dict[str, Any], str]] = {
    "passphrase": ("p256", {"docker_ca_passphrase": "wrong secret"}, "cannot be read with the docker_ca_passphrase"),
    "brief": ("p384", {"docker_ca_passphrase": "7 signs"}, "has fewer than 8 characters"),
    "type": ("p384", {"docker_ca_key_type": "RSA"}, "key of type P-384, docker_ca_key_type asks for RSA 3072"),
    "lost": ("p384", {}, "ca-key.pem is missing"),
    "swapped": ("rsa", {"docker_ca_key_type": "P-384"}, "ca-key.pem belongs to another certificate"),
    "garbled": ("p384", {}, "does not hold exactly one certificate"),
    "ending": ("p384", {"docker_ca_valid_days": 5000, "docker_ca_minimum_days": 4000}, "rotate_ca"),
    "masked": ("p384", {"docker_ca_passphrase": "ca/masked"}, "which would be masked in what Ansible reports"),
    "relative": ("p384", {"docker_ca_dir": "relative"}, "docker_ca_dir has to start with"),
    "broken": ("p384", {"docker_ca_dir": "/two\nlines"}, "docker_ca_dir has to start with"),
    "ended": ("p384", {"docker_ca_dir": "/one line\n"}, "docker_ca_dir has to start with"),
}
# CAs that are brought along and cannot work: certificate, key, and what the refusal says.
REFUSED_AT_ONCE = {
    "nocert": ("missing.pem", "root.key", "No such file"),
    "nokey": ("root.pem", "missing.key", "No such file"),
    "notpem": ("root.key", "root.key", "is no certificate in PEM format"),
    "foreign": ("root.pem", "other.key", "is not the key of"),
    "locked": ("root.pem", "locked.key", "docker_ca_existing_passphrase"),
    "plain": ("plain.pem", "plain.key", "keyCertSign"),
    "server": ("server.pem", "server.key", "CA:TRUE"),
    "below": ("below.pem", "below.key", "lacks the certificate of"),
    "short": ("short.pem", "short.key", "docker_ca_minimum_days"),
}


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def make_authority(directory: Path, name: str, *arguments: str, days: int = 4000, subject: str = "") -> None:
    """Makes NAME.pem and NAME.key the way people do it, with openssl."""
    files = ["-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem", "-nodes"]
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", *files),
        *("-days", str(days), "-subj", subject or f"/CN={name}", *arguments),
    )


def make_authorities(directory: Path) -> None:
    make_authority(directory, "root", "-addext", SIGNS)
    make_authority(directory, "other", "-addext", SIGNS)
    make_authority(directory, "plain")
    make_authority(directory, "short", "-addext", SIGNS, days=20)
    make_authority(directory, "server", "-addext", "basicConstraints=critical,CA:FALSE")
    request = ("req", "-newkey", "rsa:2048", "-nodes", "-keyout", directory / "below.key", "-out", directory / "csr")
    openssl(*request, "-subj", "/CN=below")
    extensions = f"basicConstraints=critical,CA:TRUE\n{SIGNS}\nsubjectKeyIdentifier=hash\n"
    (directory / "extensions").write_text(extensions)
    issuer = ("-CA", directory / "root.pem", "-CAkey", directory / "root.key", "-CAcreateserial")
    signed = ("-days", "4000", "-extfile", directory / "extensions", "-out", directory / "below.pem")
    openssl("x509", "-req", "-in", directory / "csr", *issuer, *signed)
    openssl("pkey", "-in", directory / "root.key", "-aes256", "-passout", "pass:x", "-out", directory / "locked.key")
    make_authority(directory, "mine", "-addext", SIGNS, subject="/DC=org/DC=example/CN=mine")
    # As Windows exports it: CRLF, text before the block, a chain that begins with another CA, no last line break.
    text = openssl("x509", "-in", directory / "mine.pem", "-text")
    chain = f"Bag Attributes\n{(directory / 'other.pem').read_text()}{text.rstrip()}"
    (directory / "exported.pem").write_bytes(chain.replace("\n", "\r\n").encode())
    pkcs1 = openssl("rsa", "-in", directory / "mine.key", "-traditional")
    (directory / "exported.key").write_bytes(pkcs1.rstrip().replace("\n", "\r\n").encode())
    openssl(
        "pkey", "-in", directory / "mine.key", "-aes256", "-passout", "pass:old secret", "-out", directory / "old.key"
    )


@dataclass(frozen=True)
class Fleet:
    """All CA hosts, and what became of them in two runs and in check mode before and after."""

    root: Path
    checked: Outcomes
    left_by_check: list[str]
    first: Outcomes
    before: dict[str, dict[str, bytes]]  # what the second run found
    second: Outcomes
    checked_again: Outcomes


@pytest.fixture(scope="module")
def fleet(module_play: tuple[Path, Play]) -> Fleet:
    root, play = module_play
    make_authorities(root)

    def brought(certificate: str, key: str) -> dict[str, Any]:
        return {
            "docker_ca_existing_certificate": str(root / certificate),
            "docker_ca_existing_private_key": str(root / key),
        }

    def directory(name: str) -> dict[str, Any]:
        return {"docker_ca_dir": str(root / "ca" / name)}

    mine = {"docker_ca_existing_passphrase": "old secret", "docker_ca_passphrase": "new secret"}
    made = {name: variables | directory(name) for name, variables in MADE.items()}
    made["mine"] = brought("mine.pem", "old.key") | mine | directory("mine")
    made["exported"] = brought("exported.pem", "exported.key") | directory("exported")
    refused = {name: brought(*files[:2]) | directory(name) for name, files in REFUSED_AT_ONCE.items()}

    checked = play({name: made[name] for name in ("p256", "mine")}, ROLE, "--check", "--diff")
    left_by_check = [path.name for path in root.glob("ca/*")]

    first = play(made | refused, ROLE)

    later = {name: MADE[origin] | directory(name) | changed for name, (origin, changed, _) in REFUSED_LATER.items()}
    for name, (origin, _, _) in REFUSED_LATER.items():
        shutil.copytree(root / "ca" / origin, root / "ca" / name)
    (root / "ca/lost/ca-key.pem").unlink()
    shutil.copy(root / "ca/p384/ca-key.pem", root / "ca/swapped")
    (root / "ca/garbled/ca-cert.pem").write_bytes(b"")

    healed = MADE["p384"] | directory("healed")
    shutil.copytree(root / "ca/p384", root / "ca/healed")
    (root / "ca/healed/ca-key.pem").chmod(0o644)
    for name in ("ca-cert.pem", "ca.pem", "crl.pem"):
        (root / "ca/healed" / name).unlink()

    gone = brought("gone.pem", "gone.key") | mine | directory("gone")
    shutil.copytree(root / "ca/mine", root / "ca/gone")

    hosts = made | later | {"healed": healed, "gone": gone}
    before = {name: content(root / "ca" / name) for name in hosts}
    second = play(hosts, ROLE, "--become")
    checked_again = play({"p256": made["p256"]}, ROLE, "--check")
    return Fleet(root, checked, left_by_check, first, before, second, checked_again)


def test_check_mode_makes_nothing(fleet: Fleet) -> None:
    for name in ("p256", "mine"):
        outcome = fleet.checked[name]
        assert (outcome.failed, outcome.changed) == (0, 1), f"{name}: {outcome.message}"
    assert fleet.left_by_check == []


@pytest.mark.parametrize(
    ("name", "algorithm"), [("p256", "prime256v1"), ("p384", "secp384r1"), ("rsa", "Public-Key: (2048 bit)")]
)
def test_a_ca_is_made(fleet: Fleet, name: str, algorithm: str) -> None:
    assert (fleet.first[name].failed, fleet.first[name].changed) == (0, 1), fleet.first[name].message
    made = fleet.root / "ca" / name
    assert sorted(fleet.before[name]) == [".lock", "ca-cert.pem", "ca-key.pem", "ca.pem", "crl.pem"]
    assert (b"ENCRYPTED" in fleet.before[name]["ca-key.pem"]) == ("docker_ca_passphrase" in MADE[name])
    assert made.stat().st_mode & 0o777 == 0o700
    assert (made / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    text = openssl("x509", "-in", made / "ca-cert.pem", "-noout", "-text")
    assert "CA:TRUE, pathlen:0" in text
    assert "Certificate Sign, CRL Sign" in text
    assert algorithm in text


@pytest.mark.parametrize("name", ["p256", "p384", "rsa", "mine", "exported", "gone"])
def test_a_second_run_changes_nothing(fleet: Fleet, name: str) -> None:
    assert (fleet.second[name].failed, fleet.second[name].changed) == (0, 0), fleet.second[name].message
    assert content(fleet.root / "ca" / name) == fleet.before[name]


def test_a_second_run_costs_one_execution(fleet: Fleet) -> None:
    for outcome in (fleet.second["p256"], fleet.checked_again["p256"]):
        assert (outcome.failed, outcome.changed) == (0, 0), outcome.message
        assert outcome.executions == ON_AN_UNCHANGED_RUN


def test_what_was_lost_on_the_way_comes_back(fleet: Fleet) -> None:
    outcome = fleet.second["healed"]
    assert (outcome.failed, outcome.changed) == (0, 1), outcome.message
    healed = fleet.root / "ca/healed"
    assert (healed / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert (healed / "ca-key.pem").read_bytes() == fleet.before["p384"]["ca-key.pem"]
    assert openssl("crl", "-in", healed / "crl.pem", "-CAfile", healed / "ca.pem", "-noout", "-issuer")


@pytest.mark.parametrize("name", list(REFUSED_LATER))
def test_an_existing_ca_is_never_harmed(fleet: Fleet, name: str) -> None:
    assert (fleet.second[name].failed, fleet.second[name].changed) == (1, 0)
    assert REFUSED_LATER[name][2] in fleet.second[name].message
    assert content(fleet.root / "ca" / name) == fleet.before[name]


def test_a_ca_can_be_brought_along(fleet: Fleet) -> None:
    assert fleet.first["mine"].failed == 0, fleet.first["mine"].message
    taken = fleet.root / "ca/mine"
    openssl("pkey", "-in", taken / "ca-key.pem", "-passin", "pass:new secret", "-noout")
    assert (taken / "ca.pem").read_text() == (fleet.root / "mine.pem").read_text()
    openssl("crl", "-in", taken / "crl.pem", "-CAfile", taken / "ca.pem", "-noout")


def test_a_ca_can_be_brought_along_as_windows_exports_it(fleet: Fleet) -> None:
    """B13."""
    assert fleet.first["exported"].failed == 0, fleet.first["exported"].message
    taken = content(fleet.root / "ca/exported")
    assert taken["ca-cert.pem"] == taken["ca.pem"] == (fleet.root / "mine.pem").read_bytes()
    assert b"\r" not in b"".join(taken.values())
    openssl("pkey", "-in", fleet.root / "ca/exported/ca-key.pem", "-noout")


@pytest.mark.parametrize("name", list(REFUSED_AT_ONCE))
def test_a_ca_that_would_not_work_is_refused(fleet: Fleet, name: str) -> None:
    assert (fleet.first[name].failed, fleet.first[name].changed) == (1, 0)
    assert REFUSED_AT_ONCE[name][2] in fleet.first[name].message
    assert not (fleet.root / "ca" / name).exists()


@pytest.mark.parametrize("variable", ["LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR"])
def test_a_ca_that_would_be_gone_with_the_job_is_not_made(
    variable: str, tmp_path: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    outcomes = play({"localhost": {}, "elsewhere": {"docker_ca_dir": "/dev/shm/bulkhead-test/ca"}}, ROLE)
    for outcome in outcomes.values():
        assert (outcome.failed, outcome.changed) == (1, 0)
        assert "would be gone with the execution environment" in outcome.message
    assert not (tmp_path / "home/.bulkhead").exists()
    assert not Path("/dev/shm/bulkhead-test").exists()


def test_a_certificate_says_what_the_caller_says(fleet: Fleet, tmp_path: Path, play: Play) -> None:
    """Whatever a request asks for; `tests/unit/plugins/module_utils/_ca/test_signing.py` tries hundreds."""
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "key")
    asks = ["-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:TRUE"]
    asks += ["-addext", "subjectAltName=DNS:neighbour"]
    request = openssl("req", "-new", "-key", tmp_path / "key", "-subj", "/CN=neighbour", *asks)
    server = {"usage": "server", "names": ["IP:2001:db8::1", "DNS:engine-1"], "request": request}
    requests = [
        server | {"name": "engine/1", "valid_days": 9999},
        {"name": "al@ce", "usage": "client", "request": request},
    ]
    ca = fleet.root / "ca/p256"
    host = {"docker_ca_dir": str(ca), "docker_ca_host": "ca", "docker_ca_sign_requests": requests}
    hosts = {
        # The passphrase is that of the CA host, whoever asks; and nobody becomes root for it.
        "ca": host | {"docker_ca_passphrase": "opensesame"} | NO_BECOME,
        "good": host | {"docker_ca_passphrase": "another secret"},
        "locked": host | {"docker_ca_host": "good"},
        "gone": host | {"docker_ca_host": "unreachable"},
        "nameless": host | {"docker_ca_sign_requests": [server | {"name": "engine2", "names": []}]},
    }
    hosts["unreachable"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    task = {
        "ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca", "tasks_from": "sign"},
        "when": "inventory_hostname not in ['ca', 'unreachable']",
    }
    checked = play(hosts, [task], "--check")["good"]
    assert (checked.failed, checked.changed) == (0, 1), checked.message
    assert not list((ca / "issued").iterdir())
    outcomes = play(hosts, [task])
    assert "CA host good did not sign" in outcomes["locked"].message
    assert (
        "CA host unreachable did not sign"
        in outcomes["gone"].tasks["sign | Check that the requests were signed"]["msg"]
    )
    (refused,) = outcomes["nameless"].tasks["sign_requests | Sign the requests on the CA host"]["certificates"]
    assert "The request for the server 'engine2' has no names" in refused["problem"]
    assert refused["certificate"] == ""
    good = outcomes["good"]
    assert (good.failed, good.changed) == (0, 1), good.message
    assert good.executions == ["sign_requests | Sign the requests on the CA host"]
    certificates = good.tasks[good.executions[0]]["certificates"]
    assert [(one["name"], one["limited"]) for one in certificates] == [("engine/1", True), ("al@ce", False)]
    client, server_ = sorted((ca / "issued").iterdir())
    assert [path.read_text() for path in (server_, client)] == [one["certificate"] for one in certificates]
    assert client.name.startswith("client-al_ce-")
    assert server_.name.startswith("server-engine_1-")
    assert "neighbour" not in openssl("x509", "-in", server_, "-noout", "-text")
    for issued, usage in ((server_, "sslserver"), (client, "sslclient")):
        openssl("verify", "-x509_strict", "-purpose", usage, "-CAfile", ca / "ca.pem", issued)
        # Whoever's clock is five minutes behind that of the CA host accepts certificates and lists at once.
        for seconds in (0, 300):
            at = ("-attime", str(int(time.time()) - seconds))
            openssl("verify", "-crl_check", "-CRLfile", ca / "crl.pem", "-CAfile", ca / "ca.pem", *at, issued)
