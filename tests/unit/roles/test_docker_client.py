"""Runs the role docker_client on this machine; each host is a home, and the CA is another one.

Nearly all that a play costs is the modules that it starts. So the homes that tests begin with are made once and copied,
what only decides is held where it decides (_identities, test_client_host.py), and what can share a play does.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout, status

Play = Callable[..., dict[str, Any]]


def role(name: str, **options: Any) -> dict[str, Any]:
    return {
        "block": [{"ansible.builtin.include_role": {"name": f"bulkhead.docker.{name}", **options}}],
        "environment": {"HOME": "{{ home }}"},
    }


CA = role("docker_ca") | {"when": "inventory_hostname == 'ca'"}
CLIENT = role("docker_client") | {"when": "docker_client_engines is defined and inventory_hostname != 'halves'"}
IDENTITY, CONTEXTS = (
    role("docker_client", tasks_from=name) | {"when": "inventory_hostname == 'halves'"}
    for name in ("identities", "contexts")
)
ABSENT = role("docker_client", tasks_from="absent") | {
    "when": "inventory_hostname != 'ca'",
    "vars": {"docker_client_absent_all": True},
}
# A host on which becoming anybody fails.
NO_BECOME = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/nonexistent/sudo"}
BUNDLE = "{{ lookup('ansible.builtin.file', docker_ca_dir ~ '/ca.pem', errors='ignore') or '' }}"
IDENTITIES = [{"name": "alice"}, {"name": "build.server", "valid_days": 90}]
ENGINES = [{"name": "web1", "address": "192.0.2.1"}, {"name": "web2", "address": "2001:db8::2", "port": 2377}]


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def host(tmp_path: Path, name: str = "client", **options: Any) -> dict[str, Any]:
    (tmp_path / name).mkdir(exist_ok=True)
    return {
        "home": str(tmp_path / name),
        "docker_ca_host": "ca",
        "docker_ca_dir": str(tmp_path / "ca/ca"),
        "docker_client_ca_certificate": BUNDLE,
        "docker_client_engines": ENGINES,
        **options,
    }


def authority(tmp_path: Path, **options: Any) -> dict[str, Any]:
    (tmp_path / "ca").mkdir(exist_ok=True)
    return {
        "home": str(tmp_path / "ca"),
        "docker_ca_dir": str(tmp_path / "ca/ca"),
        "docker_ca_passphrase": "opensesame",
        **options,
    }


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
    assert not (Path(home["home"]) / ".bulkhead/pending" / name).exists()
    for context in contexts(home).values():
        tls = Path(context["Storage"]["TLSPath"]) / "docker"
        if (tls / "cert.pem").read_bytes() == (where / "cert.pem").read_bytes():
            assert (tls / "key.pem").read_bytes() == (where / "key.pem").read_bytes()
            assert (tls / "ca.pem").read_bytes() == (where / "ca.pem").read_bytes()


@dataclass(frozen=True)
class Start:
    """Homes as the role leaves them on fresh hosts, their CA, and what the role said on the way.

    The host `client` runs the whole role, `halves` one half after the other.
    """

    root: Path
    checked: list[Any]
    left_by_check: list[str]
    first: dict[str, Any]
    made: dict[str, dict[str, tuple[str, bytes]]]
    again: dict[str, Any]
    checked_again: Any

    def copy(self, to: Path, *names: str) -> None:
        """No file in a home names the home: a copy is as good as one that the role has made."""
        for name in names:
            shutil.copytree(self.root / name, to / name, ignore=shutil.ignore_patterns(".ansible"))

    def client(self, to: Path, name: str, origin: str = "client", **options: Any) -> dict[str, Any]:
        shutil.copytree(self.root / origin, to / name, ignore=shutil.ignore_patterns(".ansible"))
        return host(to, name, **options)


@pytest.fixture(scope="module")
def start(module_play: tuple[Path, Play]) -> Start:
    root, play = module_play
    ca, client = {"ca": authority(root)}, {"client": host(root, docker_client_current="web2", **NO_BECOME)}
    halves = {"halves": host(root, "halves", docker_client_identities=IDENTITIES)}
    checked = [play(ca | client, [CA, CLIENT], "--check", "--diff")["client"]]
    made = play(ca, [CA])["ca"]
    assert made.failed == 0, made.message
    checked.append(play(ca | client, [CLIENT], "--check", "--diff")["client"])
    left_by_check = list(content(root / "client"))
    first = play(ca | client | halves, [CLIENT, IDENTITY], "--diff")
    left = {name: content(root / name) for name in ("client", "halves")}
    again = play(ca | client | halves, [CLIENT, CONTEXTS])
    checked_again = play(ca | client, [CLIENT], "--check")["client"]
    return Start(root, checked, left_by_check, first, left, again, checked_again)


def test_a_fresh_host_gets_an_identity_and_contexts_once(start: Start) -> None:
    for checked in start.checked:
        assert checked.failed == 0, checked.message
        assert checked.tasks["write_contexts | Write the contexts"]["results"][0]["changed"]
    assert start.left_by_check == []

    home, first = host(start.root), start.first["client"]
    assert first.failed == 0, first.message
    assert_whole(home)
    key = (folder(home) / "key.pem").read_text().split("-----")[2].split()[0]
    assert key not in json.dumps(first.tasks)
    assert "PRIVATE KEY" not in json.dumps(first.tasks)
    for path in (start.root / "ca").rglob("*.pem"):
        assert path.name == "ca-key.pem" or "PRIVATE KEY" not in path.read_text()
    assert {name: context["Endpoints"]["docker"]["Host"] for name, context in contexts(home).items()} == {
        "web1": "tcp://192.0.2.1:2376",
        "web2": "tcp://[2001:db8::2]:2377",
    }
    assert json.loads((Path(home["home"]) / ".docker/config.json").read_text()) == {"currentContext": "web2"}

    for again in (start.again["client"], start.checked_again):
        assert (again.failed, again.changed) == (0, 0), again.message
        assert again.executions == ["gather | Gather the identities", "write_contexts | Write the contexts"]
    assert content(Path(home["home"])) == start.made["client"]


def test_the_halves_can_be_called_alone(start: Start) -> None:
    issued, alone = start.first["halves"], start.again["halves"]
    assert issued.failed == 0, issued.message
    assert ".bulkhead/identities/alice/cert.pem" in start.made["halves"]
    assert not [name for name in start.made["halves"] if name.startswith(".docker")]
    assert (alone.failed, alone.executions) == (0, ["write_contexts | Write the contexts"]), alone.message


def test_several_identities_have_contexts_of_their_own(start: Start) -> None:
    home = host(start.root, "halves")
    assert sorted(contexts(home)) == ["web1-alice", "web1-build.server", "web2-alice", "web2-build.server"]
    assert contexts(home)["web1-alice"]["Metadata"]["Description"] == "web1 as alice over TLS"
    assert_whole(home, "alice")
    assert_whole(home, "build.server")
    end = ("x509", "-in", folder(home, "build.server") / "cert.pem", "-noout", "-checkend")
    openssl(*end, str(89 * 86400))
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*end, str(91 * 86400))


def gathered(home: dict[str, Any], key: str = "P-256", renew_days: int = 30) -> dict[str, Any]:
    """What the module says about a home, without a play."""
    bundle = (Path(home["docker_ca_dir"]) / "ca.pem").read_text()
    return status.status(layout.Layout(Path(home["home"]), "admin"), status.Rule(bundle, key, renew_days))


def new_key(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    openssl("genpkey", *curve, "-out", directory / "key.pem")
    return directory / "key.pem"


def self_signed(directory: Path) -> None:
    """Makes a certificate for the key that is there, which is not the CA's."""
    files = ("-key", directory / "key.pem", "-out", directory / "cert.pem")
    openssl("req", "-x509", *files, "-days", "365", "-subj", "/CN=admin", "-addext", "extendedKeyUsage=clientAuth")


def other_authority(directory: Path) -> None:
    """Makes a CA whose key has no passphrase, as far as signing needs one."""
    (directory / "issued").mkdir(parents=True)
    key = directory / "ca-key.pem"
    new_key(directory).replace(key)
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "4000", "-subj", "/CN=next")
    openssl("req", "-x509", "-key", key, *usage, "-out", directory / "ca-cert.pem")


@dataclass(frozen=True)
class Fleet:
    """Homes that need something, what was in them, and what became of them in check mode, a run and a second one."""

    hosts: dict[str, dict[str, Any]]
    before: dict[str, dict[str, bytes]]
    waiting: dict[str, bytes]
    changed_by_check: list[str]
    checked: dict[str, Any]
    done: dict[str, Any]
    contexts_of_two: list[str]
    again: dict[str, Any]


@pytest.fixture(scope="module")
def fleet(start: Start, module_play: tuple[Path, Play]) -> Fleet:
    _, play = module_play
    root = start.root / "fleet"
    root.mkdir()
    start.copy(root, "ca")
    other_authority(root / "next")
    hosts = {name: start.client(root, name) for name in ("type", "mode", "trusted", "reissued", "torn", "first")}
    hosts["two"] = start.client(root, "two", "halves", docker_client_identities=IDENTITIES)
    before = {
        name: {path.name: path.read_bytes() for path in folder(home).iterdir()}
        for name, home in hosts.items()
        if name != "two"
    }

    hosts["type"]["docker_client_key_type"] = "RSA"
    (folder(hosts["mode"]) / "key.pem").chmod(0o644)
    folder(hosts["mode"]).chmod(0o755)
    # A second CA is trusted, but the first one still signs.
    start.copy(root / "trusting", "ca")
    old, new = ((root / name).read_text() for name in ("ca/ca/ca.pem", "next/ca-cert.pem"))
    (root / "trusting/ca/ca/ca.pem").write_text(old + new)
    hosts["trusted"]["docker_ca_dir"] = str(root / "trusting/ca/ca")
    # The second one signs, with a key that has no passphrase; and what is there expires within the window.
    (root / "next/ca.pem").write_text(new + old)
    hosts["reissued"] |= {"docker_ca_host": "next", "docker_ca_dir": str(root / "next")}
    hosts["reissued"] |= {"docker_client_valid_days": 400, "docker_client_renew_days": 366}
    # Runs that were interrupted.
    pending = {name: Path(hosts[name]["home"]) / ".bulkhead/pending/admin" for name in ("torn", "first")}
    waiting = {name: new_key(directory).read_bytes() for name, directory in pending.items()}
    for directory in pending.values():  # the certificate of the new key waits, too
        self_signed(directory)
    (pending["torn"] / "key.pem").replace(folder(hosts["torn"]) / "key.pem")
    for path in folder(hosts["first"]).iterdir():
        path.unlink()
    # An engine that goes, and other names.
    hosts["two"] |= {"docker_client_engines": ENGINES[:1], "docker_client_context_name": "{identity}.{engine}"}

    ca = {"ca": authority(root), "next": authority(root, docker_ca_passphrase="")}
    states = {name: content(Path(home["home"])) for name, home in hosts.items()}
    due = {name: hosts[name] for name in ("type", "mode", "trusted", "reissued")}
    checked = play(ca | due, [CLIENT], "--check", "--diff")
    changed_by_check = [name for name, home in hosts.items() if content(Path(home["home"])) != states[name]]
    done = play(ca | hosts, [CLIENT], "--diff")
    contexts_of_two = sorted(contexts(hosts["two"]))
    hosts["two"]["docker_client_purge"] = True
    again = play(ca | {name: hosts[name] for name in ("type", "trusted", "reissued", "torn", "two")}, [CLIENT])
    return Fleet(hosts, before, waiting, changed_by_check, checked, done, contexts_of_two, again)


def reported(outcome: Any) -> str:
    results = outcome.tasks.get("issue | Report the identities that are due", {}).get("results", [])
    return " ".join(result["msg"] for result in results)


REASONS = {
    "type": ["its key is P-256 instead of RSA 3072"],
    "reissued": ["it is not issued by the CA of the trust bundle", "it expires on"],
    "trusted": [],
    "mode": [],
}


@pytest.mark.parametrize("name", list(REASONS))
def test_what_is_due_is_told_and_done(fleet: Fleet, name: str) -> None:
    assert fleet.changed_by_check == []
    for outcome in (fleet.checked[name], fleet.done[name]):
        assert outcome.failed == 0, outcome.message
        assert outcome.changed > 0
        said = reported(outcome)
        assert [reason for reason in REASONS[name] if reason not in said] == [], said
        assert bool(said) == bool(REASONS[name]), said
        # A new certificate or trust bundle is in the contexts, too; a mode is the folder's alone.
        assert outcome.tasks["write_contexts | Write the contexts"]["results"][0]["changed"] == (name != "mode")
        assert "PRIVATE KEY" not in json.dumps(outcome.tasks)
    assert_whole(fleet.hosts[name])
    kept = {
        file for file, text in fleet.before[name].items() if (folder(fleet.hosts[name]) / file).read_bytes() == text
    }
    assert (
        kept
        == {
            "type": {"ca.pem"},
            "reissued": {"key.pem"},
            "trusted": {"key.pem", "cert.pem"},
            "mode": {"key.pem", "cert.pem", "ca.pem"},
        }[name]
    )


def test_a_bundle_that_grows_is_the_only_thing_to_be_written(fleet: Fleet) -> None:
    for outcome in (fleet.checked["trusted"], fleet.done["trusted"]):
        assert (outcome.failed, outcome.changed) == (0, 2), outcome.message
    for name in ("trusted", "reissued"):
        assert (folder(fleet.hosts[name]) / "ca.pem").read_text().count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("name", ["torn", "first"])
def test_a_run_that_was_interrupted_is_ended(fleet: Fleet, name: str) -> None:
    assert fleet.done[name].failed == 0, fleet.done[name].message
    assert_whole(fleet.hosts[name])
    assert (folder(fleet.hosts[name]) / "key.pem").read_bytes() == fleet.waiting[name] != fleet.before[name]["key.pem"]


def test_after_that_nothing_is_due(fleet: Fleet) -> None:
    for name, outcome in fleet.again.items():
        assert (outcome.failed, name == "two" or outcome.changed == 0) == (0, True), (name, outcome.message)
    for name in fleet.before:
        key, days = "RSA 3072" if name == "type" else "P-256", 366 if name == "reissued" else 30
        record = gathered(fleet.hosts[name], key, days)
        assert (record["reasons"], record["repairs"], record["ca_outdated"]) == ([], [], False), name


def test_contexts_of_engines_that_go_are_kept_until_that_is_wanted(fleet: Fleet) -> None:
    for outcome in (fleet.done["two"], fleet.again["two"]):
        assert (outcome.failed, outcome.changed) == (0, 1), outcome.message
    assert len(fleet.contexts_of_two) == 6
    assert sorted(contexts(fleet.hosts["two"])) == ["alice.web1", "build.server.web1"]


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
def test_another_user_s_identity_is_that_user_s(start: Start, public: Path, tmp_path: Path, play: Play) -> None:
    start.copy(tmp_path, "ca")
    identities = [{"name": "bob", "user": "nobody"}, {"name": "me", "user": "root"}]
    home = host(public, docker_client_identities=identities, docker_ca_dir=str(tmp_path / "ca/ca"))
    home |= {"ansible_become_method": "ansible.builtin.su", "ansible_become_flags": "-s /bin/sh"}
    home |= {"ansible_python_interpreter": PYTHON}
    Path(home["home"]).chmod(0o777)
    hosts = {"ca": authority(tmp_path), "client": home}
    done = play(hosts, [CLIENT])["client"]
    assert done.failed == 0, done.message
    assert_whole(home, "bob")
    assert_whole(home, "me")
    owner = pwd.getpwnam("nobody").pw_uid
    assert {path.stat().st_uid for path in (folder(home, "bob"), *folder(home, "bob").iterdir())} == {owner}
    assert {path.stat().st_uid for path in folder(home, "me").iterdir()} == {0}
    assert play(hosts, [CLIENT])["client"].changed == 0


def test_what_cannot_work_is_refused_before_anything_is_changed(tmp_path: Path, play: Play) -> None:
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "otherca": ({"docker_ca_dir": "/nonexistent"}, "docker_client_ca_certificate of otherca is empty."),
        "slash": ({"docker_client_identities": [{"name": "../x"}]}, "cannot be the name of a folder"),
        "twice": ({"docker_client_identities": [{"name": "a"}, {"name": "a"}]}, "names 'a' twice"),
        "window": ({"docker_client_valid_days": 30}, "renews in every run"),
        "same": ({"docker_client_engines": [ENGINES[0], ENGINES[0]]}, "give the same context name: web1"),
        "address": ({"docker_client_engines": [{"name": "web1", "address": "a b"}]}, "'a b', which is neither"),
        "revoked": ({"docker_client_revoked_names": ["admin"]}, "admin of docker_client_identities was revoked"),
        "user": (
            {"docker_client_identities": [{"name": "a", "user": "no-such-user"}]},
            "cannot be read. Check that the",
        ),
        "nocrypto": ({"ansible_python_interpreter": str(tmp_path / "bare/bin/python")}, "cryptography library 3.3 or"),
    }
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    method = {"ansible_become_method": "ansible.builtin.su"}
    hosts = {name: host(tmp_path, name) | method | options for name, (options, _) in cases.items()}
    outcomes = play({"ca": {}} | hosts, [CLIENT])
    for name, (_, says) in cases.items():
        assert (outcomes[name].failed, outcomes[name].changed) == (1, 0), (name, outcomes[name].message)
        assert says in outcomes[name].message, (name, outcomes[name].message)
        assert content(Path(hosts[name]["home"])) == {}, name


def test_a_ca_that_does_not_sign_changes_nothing_that_is_in_use(start: Start, tmp_path: Path, play: Play) -> None:
    start.copy(tmp_path, "ca")
    others = {
        "gone": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
        "forgetful": authority(tmp_path, docker_ca_passphrase="wrong secret"),
    }
    hosts = {
        f"of-{name}": start.client(tmp_path, f"of-{name}", docker_ca_host=name, docker_client_renew_force=True)
        for name in others
    }
    before = {name: content(folder(home)) for name, home in hosts.items()}
    outcomes = play(others | hosts, [CLIENT])
    for name, home in hosts.items():
        assert outcomes[name].failed == 1
        assert f"The CA host {name[3:]} did not sign" in outcomes[name].message, outcomes[name].message
        assert content(folder(home)) == before[name]


def test_one_user_s_trouble_is_no_other_s(start: Start, tmp_path: Path, play: Play) -> None:
    """Whatever is in the files of one, the other is issued, has contexts, and the run says who was left out."""
    start.copy(tmp_path, "ca")
    identities = [{"name": "ghost", "user": "no-such-user"}, {"name": "alice"}]
    home = host(tmp_path, "client", docker_client_identities=identities, ansible_become_method="ansible.builtin.su")
    done = play({"ca": authority(tmp_path), "client": home}, [CLIENT])["client"]
    assert done.failed == 1
    assert "The identities of no-such-user on client cannot be read" in done.message
    assert_whole(home, "alice")
    assert sorted(contexts(home)) == ["web1", "web2"]


def liar(directory: Path, answer: dict[str, Any]) -> dict[str, Any]:
    """An OS user who has everything answered like this."""
    (directory / "lie.json").write_text(json.dumps(answer))
    interpreter = directory / "python"
    interpreter.write_text(f"#!/bin/sh\ncat {directory}/lie.json\n")
    interpreter.chmod(0o755)
    return {"ansible_python_interpreter": str(interpreter)}


def test_a_user_who_lies_gets_no_more_than_the_variables_say(start: Start, tmp_path: Path, play: Play) -> None:
    start.copy(tmp_path, "ca")
    key = new_key(tmp_path / "key")
    request = openssl("req", "-new", "-key", key, "-subj", "/CN=web1", "-addext", "extendedKeyUsage=serverAuth")
    status = {"name": "admin", "folder": "/f", "pending": "/p", "exists": True, "days_left": 1, "not_after": "never"}
    status |= {
        "group": "",
        "left_groups": [],
        "reasons": ["x"],
        "new_key": True,
        "findings": [],
        "other_ca": "",
        "issued_by_ca": True,
        "ca_outdated": False,
        "repairs": [],
        "valid_days": 9999,
    }
    lie = {"changed": False, "home": "/", "user": "root", "identities": [status]}
    # Beside the request that it was asked for, one for another name; both ask for what a server gets.
    lie |= {"requests": [{"name": name, "group": "", "request": request} for name in ("web1", "admin")]}
    before = content(tmp_path / "ca")
    lie |= {"contexts": [], "removed": [], "env_files": [], "current_context_name": ""}
    home, other = host(tmp_path, "client"), host(tmp_path, "other")
    home |= liar(tmp_path / "client", lie)
    other |= liar(tmp_path / "other", lie | {"identities": [status | {"name": "alice"}]})
    outcomes = play({"ca": authority(tmp_path), "client": home}, [CLIENT])
    assert outcomes["client"].failed == 0, outcomes["client"].message
    made = {name: value for name, value in content(tmp_path / "ca").items() if name not in before}
    (certificate,) = (tmp_path / "ca" / name for name in made if "/issued/client-admin-" in name)
    text = openssl("x509", "-in", certificate, "-noout", "-text")
    assert "CN = admin" in text.replace("CN=", "CN = ")
    assert ("TLS Web Client Authentication" in text, "Server" in text, "web1" in text) == (True, False, False)
    openssl("x509", "-in", certificate, "-noout", "-checkend", str(364 * 86400))
    with pytest.raises(subprocess.CalledProcessError):
        openssl("x509", "-in", certificate, "-noout", "-checkend", str(366 * 86400))

    # Another name than that of the identity is no answer.
    before = content(tmp_path / "ca")
    outcome = play({"ca": authority(tmp_path), "other": other}, [CLIENT])["other"]
    assert outcome.failed == 1
    assert "The answer is about other identities" in outcome.message
    assert content(tmp_path / "ca") == before


def test_a_revoked_identity_is_refused_or_left_out_and_removed(start: Start, tmp_path: Path, play: Play) -> None:
    start.copy(tmp_path, "ca")
    home = start.client(tmp_path, "client", "halves", docker_client_identities=IDENTITIES)
    ca = authority(tmp_path)
    # A copy that somebody made is not ours.
    env = {"HOME": home["home"], "PATH": os.environ["PATH"]}
    subprocess.run(["docker", "context", "create", "copy", "--from", "web1-alice"], env=env, check=True)

    before = content(Path(home["home"]))
    forced = home | {"docker_client_renew_force": True, "docker_client_revoked_names": ["alice"]}
    outcome = play({"ca": ca, "client": forced}, [CLIENT])["client"]
    assert outcome.failed == 1
    assert "alice of docker_client_identities was revoked" in outcome.message
    assert content(Path(home["home"])) == before

    absent = ABSENT | {"vars": {"docker_client_absent_names": ["alice"], "docker_client_absent_all": False}}
    checked = play({"ca": ca, "client": home}, [absent], "--check", "--diff")["client"]
    assert (checked.failed, checked.changed) == (0, 2), checked.message
    assert content(Path(home["home"])) == before
    gone = play({"ca": ca, "client": home}, [absent])["client"]
    assert (gone.failed, gone.changed) == (0, 2), gone.message
    assert not folder(home, "alice").exists()
    assert sorted(contexts(home)) == ["copy", "web1-build.server", "web2-build.server"]

    # The others' contexts keep their names, although their user has one identity only.
    key = (folder(home, "build.server") / "key.pem").read_bytes()
    skipping = forced | {"docker_client_skip_revoked": True}
    left = play({"ca": ca, "client": skipping}, [absent, CLIENT])["client"]
    assert left.failed == 0, left.message
    removals = {name: result for name, result in left.tasks.items() if name.startswith("absent | ")}
    assert len(removals) == 8
    assert not [name for name, result in removals.items() if result["changed"]]
    (warning,) = left.tasks["plan | Validate the variables and plan the work of each user"]["warnings"]
    assert "alice on client was revoked and is left out" in warning
    assert sorted(contexts(home)) == ["copy", "web1-build.server", "web2-build.server"]
    assert not folder(home, "alice").exists()
    assert "docker_client_renew_force is set" in reported(left)
    assert (folder(home, "build.server") / "key.pem").read_bytes() != key
    assert_whole(home, "build.server")


def test_everything_can_be_removed_and_nothing_else_is(start: Start, tmp_path: Path, play: Play) -> None:
    hosts = {name: start.client(tmp_path, name) for name in ("client", "shared")}
    client, shared = (Path(home["home"]) for home in hosts.values())
    other = shared / ".bulkhead/identities/other"
    other.mkdir()
    env = {"HOME": str(shared), "PATH": os.environ["PATH"]}
    subprocess.run(["docker", "context", "create", "own", "--docker", "host=unix:///x"], env=env, check=True)
    for outcome in play(hosts, [ABSENT]).values():
        assert outcome.failed == 0, outcome.message
    assert not (client / ".bulkhead").exists()
    assert sorted(path.name for path in (client / ".docker").iterdir()) == ["config.json"]
    assert list(contexts(hosts["shared"])) == ["own"]
    assert list(other.parent.iterdir()) == [other]
    left = content(tmp_path)
    for outcome in play(hosts, [ABSENT]).values():
        assert (outcome.failed, outcome.changed) == (0, 0), outcome.message
    assert content(tmp_path) == left
