"""Who is let in where: each identity on each engine, over TLS and SSH. The tests follow each other, in this order."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import threading
import time
import typing as t

import pytest
import testinfra
from accepted import accepted

CLIENT = "a13"
OPENS = {"ann": ("a11", "a13"), "bob": ("a13", "at"), "cat": ("a11", "a13", "at"), "dan": ("a13", "at")}
USERS = {"ann": "ops", "bob": "ops", "cat": "dave", "dan": "erin"}
PAIRS = {"ann": ("",), "bob": ("",), "cat": ("", "prod"), "dan": ("",)}
GAP = 3.0  # seconds that a restart of dockerd may take, on a busy machine
SITE, VERIFY, ROTATE = "bulkhead.docker.site", "bulkhead.docker.verify", "bulkhead.docker.rotate_ca"
REVOKE = "bulkhead.docker.revoke_client"


def root(lab: t.Any, name: str, script: str) -> str:
    host = testinfra.get_host(f"ansible://{name}?ansible_inventory={lab.folder / 'inventory.yml'}")
    with host.sudo():
        return str(host.check_output("sh -c %s", script))


def outside(user: str, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command of a user of the client host; not through Ansible, because it runs while Ansible does."""
    command = ["docker", "exec", "--interactive", f"bulkhead-access-{CLIENT}", "su", "-", user, "-c", script]
    environment = {**os.environ, "DOCKER_CONTEXT": "default"}
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return " ".join(done.stdout.split())


def copy(lab: t.Any, folder: pathlib.Path) -> None:
    """Somebody copies every pair of every identity."""
    for name, groups in PAIRS.items():
        for group in groups:
            place = folder / name / (group or "first")
            place.mkdir(parents=True, exist_ok=True)
            for file in ("cert.pem", "key.pem"):
                home = f"/home/{USERS[name]}/.bulkhead/identities/{name}"
                text = root(lab, CLIENT, f"cat {'/'.join(filter(None, (home, group, file)))}")
                (place / file).write_text(f"{text}\n", encoding="ascii")


def over_tls(lab: t.Any, folder: pathlib.Path) -> dict[str, tuple[str, ...]]:
    """The engines that let somebody in who has all pairs of an identity."""
    return {
        name: tuple(
            engine
            for engine in lab.engines
            if any(accepted(lab, engine, folder / name / (group or "first")) for group in PAIRS[name])
        )
        for name in OPENS
    }


def over_ssh(lab: t.Any) -> dict[str, tuple[str, ...]]:
    """The same over SSH, also with an account that one has elsewhere only."""

    def lets_in(name: str, engine: str) -> bool:
        options = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        login = f"ssh {options} -i ~/.bulkhead/ssh/{name}"
        request = r"printf 'GET /_ping HTTP/1.0\r\n\r\n'"
        done = outside(USERS[name], f"{request} | {login} docker-{name}@{lab.address(engine)} docker system dial-stdio")
        assert "200 OK" in done.stdout or "Permission denied" in done.stderr, done
        return "200 OK" in done.stdout

    return {name: tuple(engine for engine in lab.engines if lets_in(name, engine)) for name in OPENS}


def contexts(lab: t.Any, name: str) -> dict[str, tuple[str, ...]]:
    """By transport, the engines for which an identity has a context that works."""
    listed = outside(USERS[name], "docker context ls --format '{{.Name}}'").stdout.split()
    suffix = f"-{name}" if USERS[name] == "ops" else ""
    found = {}
    for transport, end in (("tls", ""), ("ssh", "-ssh")):
        names = {engine: f"{engine}{suffix}{end}" for engine in lab.engines}
        found[transport] = tuple(engine for engine in lab.engines if names[engine] in listed)
        for engine in found[transport]:
            done = outside(USERS[name], f"docker --context {names[engine]} version --format '{{{{.Server.Version}}}}'")
            assert done.returncode == 0, (names[engine], done.stderr)
    return found


@pytest.fixture(scope="module")
def copies(lab: t.Any, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("copies")
    copy(lab, folder)
    return folder


def test_each_identity_gets_in_where_its_groups_are_and_nowhere_else(lab: t.Any, copies: pathlib.Path) -> None:
    assert over_tls(lab, copies) == OPENS
    assert over_ssh(lab) == OPENS
    assert {name: contexts(lab, name) for name in OPENS} == {
        name: {"tls": engines, "ssh": engines} for name, engines in OPENS.items()
    }


def test_a_second_run_changes_nothing_and_asks_each_engine_once(lab: t.Any) -> None:
    said = succeeds(lab.playbook(SITE))
    assert "nothing to change" in said
    run = lab.executions("site.yml")[-1]
    assert run["changed"] == {}
    # With accounts, two on an engine; a13 is the client host that verifies as two identities, too.
    assert {name: len(run["tasks"][name]) for name in ("a11", "at")} == {"a11": 2, "at": 2}


def test_verification_proves_the_refusals_and_finds_an_engine_that_lets_in_others(lab: t.Any) -> None:
    succeeds(lab.playbook(VERIFY))
    ca = lab.home / ".bulkhead/ca/groups/prod/ca.pem"
    prod = ca.read_text(encoding="ascii")
    before = root(lab, "a11", "cat /etc/docker/tls/ca.pem")
    try:
        root(lab, "a11", f"cat >>/etc/docker/tls/ca.pem <<'END'\n{prod}END\nsystemctl restart docker")
        done = lab.playbook(VERIFY)
        assert done.returncode != 0
        said = lab.said(done)
        assert "/etc/docker/tls/ca.pem is not the trust bundle of the CA host" in said
        assert "which is in none of its access groups" in said
    finally:
        root(lab, "a11", f"cat >/etc/docker/tls/ca.pem <<'END'\n{before}\nEND\nsystemctl restart docker")
    succeeds(lab.playbook(VERIFY))


class Loop:
    """An identity that asks engines all the time, and writes down when it gets no answer."""

    def __init__(self, name: str, engines: t.Sequence[str]) -> None:
        self.gaps: dict[str, list[tuple[float, str]]] = {engine: [] for engine in engines}
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(name, engine)) for engine in engines]

    def __enter__(self) -> Loop:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, name: str, engine: str) -> None:
        since, says = 0.0, ""
        while not self._end.is_set() or since:
            begin = time.monotonic()
            done = outside(USERS[name], f"docker --context {engine}-{name} version")
            if done.returncode:
                since, says = since or begin, says + done.stderr
            elif since:
                self.gaps[engine].append((begin - since, says))
                since, says = 0.0, ""
            self._end.wait(0.2)


def test_one_group_s_ca_is_rotated_and_the_other_group_s_client_goes_on(lab: t.Any, copies: pathlib.Path) -> None:
    before = {name: root(lab, name, "systemctl show docker --property MainPID --value") for name in lab.engines}
    with Loop("ann", OPENS["ann"]) as loop:
        succeeds(lab.playbook(ROTATE, "-e", "docker_rotate_groups=prod"))
    assert loop.gaps["a11"] == []
    assert len(loop.gaps["a13"]) <= 3  # one for each restart
    assert all(seconds < GAP and not re.search("x509|certificate|tls:", said) for seconds, said in loop.gaps["a13"])
    after = {name: root(lab, name, "systemctl show docker --property MainPID --value") for name in lab.engines}
    assert {name for name in lab.engines if before[name] != after[name]} == {"a13", "at"}
    # What was copied of the group opens nothing any more, and the other group's works as before.
    assert over_tls(lab, copies) == {"ann": ("a11", "a13"), "bob": (), "cat": ("a11", "a13"), "dan": ()}
    copy(lab, copies)
    assert over_tls(lab, copies) == OPENS


def test_a_revocation_by_rotation_ends_one_identity_and_leaves_the_other_group_alone(
    lab: t.Any, copies: pathlib.Path
) -> None:
    before = root(lab, "a11", "systemctl show docker --property MainPID --value")
    succeeds(lab.playbook(REVOKE, "-e", "docker_revoke_name=dan", "-e", "docker_revoke_by_rotation=true", timeout=900))
    assert root(lab, "a11", "systemctl show docker --property MainPID --value") == before
    assert over_tls(lab, copies) == {"ann": ("a11", "a13"), "bob": (), "cat": ("a11", "a13"), "dan": ()}
    assert contexts(lab, "cat") == {"tls": OPENS["cat"], "ssh": OPENS["cat"]}
    assert contexts(lab, "bob") == {"tls": OPENS["bob"], "ssh": OPENS["bob"]}
    assert "docker-dan" not in root(lab, "at", "getent passwd")
    succeeds(lab.playbook(VERIFY))
