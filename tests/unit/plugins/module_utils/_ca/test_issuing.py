"""A CA under a root of somebody else: engines trust it alone, clients trust its root, too."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import create, existing, inspect, rotation, signing
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from helpers import authority
from helpers.pki import Authority

OWN = create.Wanted("bulkhead.docker CA", "P-256", 3072, 30)


@pytest.fixture
def root() -> Authority:
    return Authority("root", path_length=None, days=10)


@pytest.fixture
def issuing(root: Authority) -> Authority:
    return Authority("issuing", above=root)


def brought(folder: Path, one: Authority, *above: Authority) -> create.Wanted:
    files = existing.Files(folder / f"{id(one)}.pem", folder / f"{id(one)}.key", "")
    files.certificate.write_text(one.pem + "".join(other.pem for other in above))
    files.key.write_bytes(authority.key_text(one.key))
    return create.Wanted("x", "P-256", 3072, 9, files)


def sign(home: ca.Directory, usage: str) -> str:
    request = signing.Request(usage, usage, ("DNS:web1",) if usage == "server" else (), 5, authority.request())
    (answer,) = signing.sign(home, "", [request])
    return str(answer.report()["certificate"])


def openssl_accepts(folder: Path, ca_file: str, sent: str, *flags: str) -> bool:
    """Whether a client that has this bundle accepts a server that sends this."""
    (folder / "sent.pem").write_text(sent)
    (folder / "trusted.pem").write_text(ca_file)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "web1", *flags]
    files = ["-CAfile", str(folder / "trusted.pem"), "-untrusted", str(folder / "sent.pem"), str(folder / "sent.pem")]
    return subprocess.run([*command, *files], capture_output=True, check=False).returncode == 0


def test_engines_and_clients_get_what_each_has_to_trust(tmp_path: Path, root: Authority, issuing: Authority) -> None:
    home = ca.Directory(tmp_path / "ca")
    written = create.ensure(home, "", brought(tmp_path, issuing, root))
    assert written == ["above.pem", "ca-key.pem", "ca-cert.pem", "crl.pem", "ca.pem"]
    state = inspect.gather(home, "")
    assert (state["bundle"], state["client_bundle"]) == (issuing.pem, issuing.pem + root.pem)
    assert (state["complete"], state["problems"]) == (True, [])
    assert create.ensure(home, "", brought(tmp_path, issuing, root)) == []


def test_a_server_sends_the_issuing_ca_and_a_client_does_not(
    tmp_path: Path, root: Authority, issuing: Authority
) -> None:
    home = ca.Directory(tmp_path / "ca")
    create.ensure(home, "", brought(tmp_path, issuing, root))
    server = sign(home, "server")
    assert server.endswith(issuing.pem)
    assert sign(home, "client").count("BEGIN") == 1
    assert {one.read_text().count("BEGIN") for one in home.issued.iterdir()} == {1}
    bundle = inspect.gather(home, "")["client_bundle"]
    leaf = server[: -len(issuing.pem)]
    assert openssl_accepts(tmp_path, bundle, leaf)
    assert openssl_accepts(tmp_path, root.pem, server)
    # Why clients get the root, and servers send the issuing CA.
    assert not openssl_accepts(tmp_path, issuing.pem, server)
    assert not openssl_accepts(tmp_path, root.pem, leaf)
    assert openssl_accepts(tmp_path, issuing.pem, leaf, "-partial_chain")


def test_what_is_lost_of_the_chain_is_brought_again_or_named(
    tmp_path: Path, root: Authority, issuing: Authority
) -> None:
    home, wanted = ca.Directory(tmp_path / "ca"), brought(tmp_path, issuing, root)
    create.ensure(home, "", wanted)
    for damage in (lambda: home.above.unlink(), lambda: home.above.write_text("nonsense")):
        damage()
        state = inspect.gather(home, "")
        assert not state["complete"]
        assert str(home.above) in " ".join(state["problems"])
        assert create.ensure(home, "", wanted) == ["above.pem"]
        assert inspect.gather(home, "")["complete"]


@pytest.mark.parametrize("direction", ["to_issuing", "from_issuing", "below_the_present_one"])
def test_a_rotation_keeps_what_clients_need_in_every_phase(
    tmp_path: Path, root: Authority, issuing: Authority, direction: str
) -> None:
    home = ca.Directory(tmp_path / "ca")
    first: t.Any = {"from_issuing": brought(tmp_path, issuing, root), "below_the_present_one": brought(tmp_path, root)}
    create.ensure(home, "", first.get(direction, OWN))
    create.ensure_successor(home, "", OWN if direction == "from_issuing" else brought(tmp_path, issuing, root))
    new = home.next.load_certificate()
    servers = {"none": sign(home, "server")}
    for phase in ("trust", "reissue", "retire", "done"):
        rotation.advance(home, phase)
        state = inspect.gather(home, "")
        servers[phase] = sign(home, "server")
        assert state["problems"] == [], phase
        trusted = direction == "below_the_present_one" and phase in ("trust", "reissue")
        assert (root.pem in state["bundle"]) == trusted
        before = {"trust": "none", "reissue": "trust", "retire": "reissue", "done": "retire"}[phase]
        for served in (before, phase):
            assert openssl_accepts(tmp_path, state["client_bundle"], servers[served]), (phase, served)
    assert state["bundle"] == f"{new.pem}\n"
    assert state["client_bundle"] == f"{new.pem}\n" + ("" if direction == "from_issuing" else root.pem)
