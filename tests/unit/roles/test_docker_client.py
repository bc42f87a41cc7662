"""Runs the role docker_client on this machine; each host is a home, and the CA is another one."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Play = Callable[..., dict[str, Any]]


def role(name: str, **options: Any) -> dict[str, Any]:
    return {
        "block": [{"ansible.builtin.include_role": {"name": f"bulkhead.docker.{name}", **options}}],
        "environment": {"HOME": "{{ home }}"},
    }


CA = role("docker_ca") | {"when": "inventory_hostname == 'ca'"}
CLIENT = role("docker_client") | {"when": "inventory_hostname not in ['ca', 'gone']"}
ABSENT = role("docker_client", tasks_from="absent") | {"when": "inventory_hostname == 'client'"}
ENGINES = [{"name": "web1", "address": "192.0.2.1"}, {"name": "web2", "address": "2001:db8::2", "port": 2377}]


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def host(tmp_path: Path, name: str = "client", **options: Any) -> dict[str, Any]:
    (tmp_path / name).mkdir(exist_ok=True)
    return {
        "home": str(tmp_path / name),
        "docker_client_ca_host": "ca",
        "docker_client_ca_dir": str(tmp_path / "ca/ca"),
        "docker_client_engines": ENGINES,
        **options,
    }


def authority(tmp_path: Path, **options: Any) -> dict[str, Any]:
    (tmp_path / "ca").mkdir(exist_ok=True)
    return {"home": str(tmp_path / "ca"), "docker_ca_dir": str(tmp_path / "ca/ca"), **options}


def folder(home: dict[str, Any], name: str = "admin") -> Path:
    return Path(home["home"]) / ".bulkhead/identities" / name


def content(directory: Path) -> dict[str, tuple[str, bytes]]:
    return {
        str(path.relative_to(directory)): (oct(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
        if ".ansible" not in path.relative_to(directory).parts
    }


def contexts(home: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By the docker CLI, which has to be silent about them."""
    env = {"HOME": home["home"], "PATH": os.environ["PATH"]}
    run: dict[str, Any] = {"env": env, "capture_output": True, "text": True, "check": True}
    names = subprocess.run(["docker", "context", "ls", "--format", "{{.Name}}"], **run).stdout.split()
    found = subprocess.run(["docker", "context", "inspect", *names], **run)
    assert found.stderr == ""
    return {context["Name"]: context for context in json.loads(found.stdout) if context["Name"] != "default"}


def assert_whole(home: dict[str, Any], name: str = "admin") -> None:
    """An identity that strict verifiers accept as a client and as nothing else, and that its contexts have, too."""
    where = folder(home, name)
    assert sorted(path.name for path in where.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert where.stat().st_mode & 0o777 == 0o700
    assert [(where / file).stat().st_mode & 0o777 for file in ("ca.pem", "cert.pem", "key.pem")] == [
        0o644,
        0o644,
        0o600,
    ]
    public = openssl("x509", "-in", where / "cert.pem", "-noout", "-pubkey")
    assert openssl("pkey", "-in", where / "key.pem", "-pubout") == public
    strict = ("verify", "-x509_strict", "-CAfile", where / "ca.pem", "-purpose")
    openssl(*strict, "sslclient", where / "cert.pem")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*strict, "sslserver", where / "cert.pem")
    assert f"CN = {name}" in openssl("x509", "-in", where / "cert.pem", "-noout", "-subject").replace("CN=", "CN = ")
    assert list((Path(home["home"]) / ".bulkhead/pending" / name).iterdir()) == []
    for context in contexts(home).values():
        tls = Path(context["Storage"]["TLSPath"]) / "docker"
        if (tls / "cert.pem").read_bytes() == (where / "cert.pem").read_bytes():
            assert (tls / "key.pem").read_bytes() == (where / "key.pem").read_bytes()
            assert (tls / "ca.pem").read_bytes() == (where / "ca.pem").read_bytes()


def test_a_fresh_host_gets_an_identity_and_contexts_once(tmp_path: Path, play: Play) -> None:
    home = host(tmp_path, docker_client_ca_passphrase="sesame", docker_client_current="web2")
    hosts = {"ca": authority(tmp_path, docker_ca_passphrase="sesame"), "client": home}
    checked = play(hosts, [CA, CLIENT], "--check", "--diff")["client"]
    assert checked.failed == 0, checked.message
    assert content(Path(home["home"])) == {}
    assert checked.tasks["store | Write the contexts"]["results"][0]["changed"]

    play(hosts, [CA])
    checked = play(hosts, [CLIENT], "--check", "--diff")["client"]
    assert checked.failed == 0, checked.message
    assert content(Path(home["home"])) == {}

    first = play(hosts, [CLIENT], "--diff")["client"]
    assert first.failed == 0, first.message
    assert_whole(home)
    key = (folder(home) / "key.pem").read_text().split("-----")[2].split()[0]
    assert key not in json.dumps(first.tasks)
    assert "PRIVATE KEY" not in json.dumps(first.tasks)
    for path in (tmp_path / "ca").rglob("*.pem"):
        assert path.name == "ca-key.pem" or "PRIVATE KEY" not in path.read_text()
    assert {name: context["Endpoints"]["docker"]["Host"] for name, context in contexts(home).items()} == {
        "web1": "tcp://192.0.2.1:2376",
        "web2": "tcp://[2001:db8::2]:2377",
    }
    assert json.loads((Path(home["home"]) / ".docker/config.json").read_text()) == {"currentContext": "web2"}

    made = content(Path(home["home"]))
    for arguments in ((), ("--check",)):
        again = play(hosts, [CLIENT], *arguments)["client"]
        assert (again.failed, again.changed) == (0, 0)
        assert again.executions == [
            "bundle | Read the trust bundle on the CA host",
            "revoked | Read the names that were revoked",
            "look | Read the public files",
            "store | Write the contexts",
        ]
    assert content(Path(home["home"])) == made


def test_what_makes_an_identity_due(tmp_path: Path, play: Play) -> None:
    names = ["soon", "type", "force", "cert", "pair", "foreign", "mode", "bundle"]
    hosts = {name: host(tmp_path, name) for name in names}
    hosts["soon"]["docker_client_valid_days"] = 20
    hosts["soon"]["docker_client_renew_days"] = 10
    ca = {"ca": authority(tmp_path)}
    assert not [outcome.message for outcome in play(ca | hosts, [CA, CLIENT]).values() if outcome.failed]
    before = {name: {path.name: path.read_bytes() for path in folder(home).iterdir()} for name, home in hosts.items()}

    hosts["soon"] = host(tmp_path, "soon")
    hosts["type"]["docker_client_key_type"] = "RSA"
    hosts["force"]["docker_client_renew_force"] = True
    (folder(hosts["cert"]) / "cert.pem").unlink()
    (folder(hosts["pair"]) / "key.pem").write_bytes(before["soon"]["key.pem"])
    subject = ("-subj", "/CN=admin", "-out", folder(hosts["foreign"]) / "cert.pem")
    openssl("req", "-x509", "-key", folder(hosts["foreign"]) / "key.pem", *subject)
    (folder(hosts["mode"]) / "key.pem").chmod(0o644)
    folder(hosts["mode"]).chmod(0o755)
    for path in Path(hosts["bundle"]["home"]).rglob("ca.pem"):  # in the contexts, too
        path.write_text(openssl("x509", "-in", folder(hosts["foreign"]) / "cert.pem"))

    reasons = {
        "soon": "it expires on",
        "type": "its key is P-256, not RSA 3072",
        "force": "docker_client_renew_force is set",
        "cert": "it has no certificate",
        "pair": "do not belong together",
        "foreign": "it is not issued by the CA",
        "mode": "",
        "bundle": "",
    }
    states = {name: content(Path(home["home"])) for name, home in hosts.items()}
    checked = play(ca | hosts, [CLIENT], "--check", "--diff")
    assert {name: content(Path(home["home"])) for name, home in hosts.items()} == states
    done = play(ca | hosts, [CLIENT], "--diff")
    for name, reason in reasons.items():
        assert (checked[name].failed, done[name].failed) == (0, 0), (name, checked[name].message, done[name].message)
        for outcome in (checked[name], done[name]):
            assert outcome.changed > 0, name
            said = outcome.tasks.get("request | Say why", {}).get("msg", "")
            assert reason in said, (name, said)
            assert bool(said) == bool(reason), (name, said)
            # A new certificate or trust bundle is in the contexts, too; a mode is the folder's alone.
            assert outcome.tasks["store | Write the contexts"]["results"][0]["changed"] == (name != "mode"), name
        assert_whole(hosts[name])
        kept = (folder(hosts[name]) / "key.pem").read_bytes() == before[name]["key.pem"]
        assert kept == (name in ("soon", "cert", "foreign", "mode", "bundle")), name
    hosts["force"]["docker_client_renew_force"] = False
    assert {outcome.changed for outcome in play(ca | hosts, [CLIENT]).values()} == {0}


def test_a_run_that_was_interrupted_is_ended(tmp_path: Path, play: Play) -> None:
    names = ["key", "both", "torn", "first"]
    hosts = {name: host(tmp_path, name) for name in names}
    ca = {"ca": authority(tmp_path)}
    assert not [outcome.message for outcome in play(ca | hosts, [CA, CLIENT]).values() if outcome.failed]
    old = {name: (folder(home) / "key.pem").read_bytes() for name, home in hosts.items()}
    pending = {name: Path(home["home"]) / ".bulkhead/pending/admin" for name, home in hosts.items()}
    for name in names:
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pending[name] / "key.pem")
    for name in ("both", "torn"):  # the certificate of the new key waits, too
        subject = ("-subj", "/CN=admin", "-out", pending[name] / "cert.pem")
        openssl("req", "-x509", "-key", pending[name] / "key.pem", *subject)
    new = {name: (pending[name] / "key.pem").read_bytes() for name in names}
    (pending["torn"] / "key.pem").replace(folder(hosts["torn"]) / "key.pem")
    for path in folder(hosts["first"]).iterdir():
        path.unlink()
    done = play(ca | hosts, [CLIENT])
    for name, home in hosts.items():
        assert done[name].failed == 0, done[name].message
        assert_whole(home)
        key = (folder(home) / "key.pem").read_bytes()
        assert key == new[name] != old[name], name
    assert {outcome.changed for outcome in play(ca | hosts, [CLIENT]).values()} == {0}


def test_a_ca_that_changes_reaches_identities_and_contexts(tmp_path: Path, play: Play) -> None:
    home = host(tmp_path)
    hosts = {"ca": authority(tmp_path), "client": home}
    play(hosts, [CA, CLIENT])
    ca = tmp_path / "ca/ca"
    old = (ca / "ca.pem").read_text()
    # A second CA is trusted, but the first one still signs.
    new = ("-newkey", "rsa:2048", "-nodes", "-subj", "/CN=next", "-keyout", tmp_path / "key", "-out", tmp_path / "cert")
    openssl("req", "-x509", *new)
    (ca / "ca.pem").write_text(old + (tmp_path / "cert").read_text())
    certificate = (folder(home) / "cert.pem").read_bytes()
    trusted = play(hosts, [CLIENT])["client"]
    assert (trusted.failed, trusted.changed) == (0, 2), trusted.message
    assert (folder(home) / "ca.pem").read_text().count("BEGIN CERTIFICATE") == 2
    assert (folder(home) / "cert.pem").read_bytes() == certificate
    assert_whole(home)
    # The next one signs.
    ca.rename(tmp_path / "old")
    play(hosts, [CA])
    (ca / "ca.pem").write_text((ca / "ca.pem").read_text() + old)
    reissued = play(hosts, [CLIENT])["client"]
    assert reissued.failed == 0, reissued.message
    assert (folder(home) / "cert.pem").read_bytes() != certificate
    assert_whole(home)
    assert play(hosts, [CLIENT])["client"].changed == 0


def test_several_identities_and_engines_that_go(tmp_path: Path, play: Play) -> None:
    home = host(tmp_path, docker_client_identities=[{"name": "alice"}, {"name": "build.server", "valid_days": 90}])
    first = play({"ca": authority(tmp_path), "client": home}, [CA, CLIENT])["client"]
    assert first.failed == 0, first.message
    assert sorted(contexts(home)) == ["web1-alice", "web1-build.server", "web2-alice", "web2-build.server"]
    assert_whole(home, "alice")
    assert_whole(home, "build.server")
    end = ("x509", "-in", folder(home, "build.server") / "cert.pem", "-noout", "-checkend")
    openssl(*end, str(89 * 86400))
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*end, str(91 * 86400))

    home |= {"docker_client_engines": ENGINES[:1], "docker_client_context_name": "{identity}.{engine}"}
    assert play({"ca": authority(tmp_path), "client": home}, [CLIENT])["client"].failed == 0
    assert len(contexts(home)) == 6
    home["docker_client_remove_gone"] = True
    assert play({"ca": authority(tmp_path), "client": home}, [CLIENT])["client"].failed == 0
    assert sorted(contexts(home)) == ["alice.web1", "build.server.web1"]


def test_the_halves_can_be_called_alone(tmp_path: Path, play: Play) -> None:
    home = host(tmp_path)
    play(
        {"ca": authority(tmp_path), "client": home},
        [CA, role("docker_client", tasks_from="identity") | {"when": "inventory_hostname == 'client'"}],
    )
    assert (folder(home) / "cert.pem").exists()
    assert not (Path(home["home"]) / ".docker").exists()
    alone = play(
        {"ca": authority(tmp_path), "client": home},
        [role("docker_client", tasks_from="contexts") | {"when": "inventory_hostname == 'client'"}],
    )["client"]
    assert (alone.failed, alone.executions) == (0, ["store | Write the contexts"]), alone.message
    assert_whole(home)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


PYTHON = "/usr/bin/python3"  # other users cannot enter root's virtual environment


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user without a password")
@pytest.mark.skipif(
    not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", "import cryptography"], check=False).returncode != 0,
    reason="the system's Python has no cryptography",
)
def test_another_user_s_identity_is_that_user_s(public: Path, tmp_path: Path, play: Play) -> None:
    identities = [{"name": "bob", "user": "nobody"}, {"name": "me", "user": "root"}]
    home = host(public, docker_client_identities=identities, docker_client_ca_dir=str(tmp_path / "ca/ca"))
    home |= {"ansible_become_method": "ansible.builtin.su", "ansible_become_flags": "-s /bin/sh"}
    home |= {"ansible_python_interpreter": PYTHON}
    Path(home["home"]).chmod(0o777)
    hosts = {"ca": authority(tmp_path), "client": home}
    done = play(hosts, [CA, CLIENT])["client"]
    assert done.failed == 0, done.message
    assert_whole(home, "bob")
    assert_whole(home, "me")
    owner = pwd.getpwnam("nobody").pw_uid
    assert {path.stat().st_uid for path in (folder(home, "bob"), *folder(home, "bob").iterdir())} == {owner}
    assert {path.stat().st_uid for path in folder(home, "me").iterdir()} == {0}
    assert play(hosts, [CLIENT])["client"].changed == 0


def test_what_cannot_work_is_refused_before_anything_is_changed(tmp_path: Path, play: Play) -> None:
    ca = {"ca": authority(tmp_path, docker_ca_passphrase="sesame")}
    assert play(ca, [CA])["ca"].failed == 0
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "otherca": ({"docker_client_ca_dir": "/nonexistent"}, "There is none: run the role docker_ca there first"),
        "passphrase": (
            {"docker_client_ca_passphrase": "wrong"},
            "docker_client_ca_passphrase that was given (it is set)",
        ),
        "nopassphrase": ({}, "docker_client_ca_passphrase that was given (none)"),
        "slash": ({"docker_client_identities": [{"name": "../x"}]}, "cannot be the name of a folder"),
        "twice": ({"docker_client_identities": [{"name": "a"}, {"name": "a"}]}, "names 'a' twice"),
        "window": ({"docker_client_valid_days": 30}, "renews in every run"),
        "same": ({"docker_client_engines": [ENGINES[0], ENGINES[0]]}, "give the same context name: web1"),
        "pattern": (
            {"docker_client_context_name": "{identity}"},
            "give the same context name: admin. Rename them, or change docker_client_context_name",
        ),
        "letter": ({"docker_client_engines": [{"name": "w"}]}, "'w' is not allowed by Docker"),
        "default": ({"docker_client_engines": [{"name": "default"}]}, "'default' is Docker's own"),
        "address": ({"docker_client_engines": [{"name": "web1", "address": "a b"}]}, "is no URL"),
        "current": ({"docker_client_current": "web9"}, "docker_client_current is 'web9', which is not declared"),
        "user": ({"docker_client_identities": [{"name": "a", "user": "no-such-user"}]}, "does not have: no-such-user"),
        "relative": ({"docker_client_ca_dir": "relative"}, "docker_client_ca_dir has to start with"),
        "nocrypto": ({"ansible_python_interpreter": str(tmp_path / "bare/bin/python")}, "needs Python's cryptography"),
    }
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    hosts = {name: host(tmp_path, name) | options for name, (options, _) in cases.items()}
    outcomes = play(ca | hosts, [CLIENT])
    for name, (_, says) in cases.items():
        assert (outcomes[name].failed, outcomes[name].changed) == (1, 0), (name, outcomes[name].message)
        assert says in outcomes[name].message, (name, outcomes[name].message)
        assert content(Path(hosts[name]["home"])) == {}, name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"docker_client_ca_dir": "/nonexistent"}, "There is none: run the role docker_ca there first."),
        ({"docker_client_ca_host": "gone"}, "Connection refused"),
    ],
)
def test_a_ca_that_gives_no_bundle_is_named(tmp_path: Path, play: Play, options: dict[str, Any], says: str) -> None:
    home = host(tmp_path, **options)
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    outcome = play({"ca": authority(tmp_path), "gone": gone, "client": home}, [CLIENT])["client"]
    assert (outcome.failed, outcome.changed) == (1, 0)
    assert says in outcome.message
    assert content(Path(home["home"])) == {}


def test_a_revoked_identity_is_refused_or_left_out_and_removed(tmp_path: Path, play: Play) -> None:
    home = host(tmp_path, docker_client_identities=[{"name": "alice"}, {"name": "bob"}])
    ca = authority(tmp_path, docker_ca_revoke_name="alice")
    done = play(
        {"ca": ca, "client": home},
        [CA, CLIENT, role("docker_ca", tasks_from="revoke") | {"when": "inventory_hostname == 'ca'"}],
    )["client"]
    assert done.failed == 0, done.message
    assert sorted(contexts(home)) == ["web1-alice", "web1-bob", "web2-alice", "web2-bob"]
    # A copy that somebody made is not ours.
    env = {"HOME": home["home"], "PATH": os.environ["PATH"]}
    subprocess.run(["docker", "context", "create", "copy", "--from", "web1-alice"], env=env, check=True)

    before = content(Path(home["home"]))
    forced = home | {"docker_client_renew_force": True}
    refused = play({"ca": ca, "client": forced}, [CLIENT])["client"]
    assert "alice of docker_client_identities on client was revoked" in refused.message
    assert content(Path(home["home"])) == before

    absent = ABSENT | {"vars": {"docker_client_absent_names": ["alice"]}}
    checked = play({"ca": ca, "client": home}, [absent], "--check", "--diff")["client"]
    assert (checked.failed, checked.changed) == (0, 2), checked.message
    assert content(Path(home["home"])) == before
    gone = play({"ca": ca, "client": home}, [absent])["client"]
    assert (gone.failed, gone.changed) == (0, 2), gone.message
    assert (play({"ca": ca, "client": home}, [absent])["client"]).changed == 0
    assert not folder(home, "alice").exists()
    assert sorted(contexts(home)) == ["copy", "web1-bob", "web2-bob"]

    # The others' contexts keep their names, although their user has one identity only.
    skipping = forced | {"docker_client_skip_revoked": True}
    left = play({"ca": ca, "client": skipping}, [CLIENT])["client"]
    assert left.failed == 0, left.message
    assert (
        "alice on client was revoked and is left out" in left.tasks["signing | Say whose identity is left out"]["msg"]
    )
    assert sorted(contexts(home)) == ["copy", "web1-bob", "web2-bob"]
    assert not folder(home, "alice").exists()
    assert_whole(home, "bob")


def test_everything_can_be_removed_and_nothing_else_is(tmp_path: Path, play: Play) -> None:
    home, ca, absent = host(tmp_path), authority(tmp_path), ABSENT
    docker = Path(home["home"]) / ".docker"
    play({"ca": ca, "client": home}, [CA, CLIENT])
    assert play({"ca": ca, "client": home}, [absent])["client"].failed == 0
    assert not (Path(home["home"]) / ".bulkhead").exists()
    assert sorted(path.name for path in docker.iterdir()) == ["config.json"]

    play({"ca": ca, "client": home}, [CLIENT])
    other = Path(home["home"]) / ".bulkhead/identities/other"
    other.mkdir()
    env = {"HOME": home["home"], "PATH": os.environ["PATH"]}
    subprocess.run(["docker", "context", "create", "own", "--docker", "host=unix:///x"], env=env, check=True)
    assert play({"ca": ca, "client": home}, [absent])["client"].failed == 0
    assert list(contexts(home)) == ["own"]
    assert list(other.parent.iterdir()) == [other]
    assert (play({"ca": ca, "client": home}, [absent])["client"]).changed == 0
