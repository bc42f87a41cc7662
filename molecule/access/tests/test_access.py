"""Who is let in where: each identity on each engine, over TLS and SSH. The tests follow each other, in this order."""

from __future__ import annotations

import datetime
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
GATEWAY = "g13"  # knows both groups
OPENS = {
    "ann": ("a11", "a13", "g13"),
    "bob": ("a13", "at", "g13"),
    "cat": ("a11", "a13", "at", "g13"),
    "dan": ("a13", "at", "g13"),
}
USERS = {"ann": "ops", "bob": "ops", "cat": "dave", "dan": "erin", "eve": "fay"}
PAIRS = {"ann": ("",), "bob": ("",), "cat": ("", "prod"), "dan": ("",)}
GAP = 3.0  # seconds that a restart of dockerd may take, on a busy machine
SLOW = 1800.0  # seconds for a rotation, beside loops and on a machine that does much else
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


def lets_in(lab: t.Any, engine: str, pair: pathlib.Path) -> bool:
    return accepted(lab, engine, pair, gateway=engine == GATEWAY)


def over_tls(lab: t.Any, folder: pathlib.Path) -> dict[str, tuple[str, ...]]:
    """The engines that let somebody in who has all pairs of an identity."""
    return {
        name: tuple(
            engine
            for engine in lab.engines
            if any(lets_in(lab, engine, folder / name / (group or "first")) for group in PAIRS[name])
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
    assert {name: len(run["tasks"][name]) for name in ("a11", "at", "g13")} == {"a11": 2, "at": 2, "g13": 2}


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
        self.requests = dict.fromkeys(engines, 0)
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
            self.requests[engine] += 1
            if done.returncode:
                since, says = since or begin, says + done.stderr
            elif since:
                self.gaps[engine].append((begin - since, says))
                since, says = 0.0, ""
            self._end.wait(0.4)


class Stream:
    """Somebody who listens to an engine for as long as it lets him."""

    def __init__(self, name: str, context: str) -> None:
        command = f"docker --context {context} events"
        self._client = subprocess.Popen(
            ["docker", "exec", f"bulkhead-access-{CLIENT}", "su", "-", USERS[name], "-c", command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "DOCKER_CONTEXT": "default"},
        )
        self._find = f"pgrep -u {USERS[name]} -f -- '--context {context} events$'"
        time.sleep(2)
        assert self.lives()

    def lives(self) -> bool:
        return self._client.poll() is None

    def end(self) -> None:
        outside("root", f"kill $({self._find})")
        self._client.wait(30)


def processes(lab: t.Any) -> dict[str, str]:
    """By engine, the process of dockerd, and that of its gateway."""
    units = "systemctl show docker docker-gateway --property MainPID --value"
    return {name: root(lab, name, units) for name in lab.engines}


def test_a_name_counts_with_the_ca_of_its_own_group_alone(lab: t.Any, tmp_path: pathlib.Path) -> None:
    for group, name in (("staging", "bob"), ("prod", "ann"), ("staging", "ann"), ("prod", "bob")):
        folder = tmp_path / f"{group}-{name}"
        folder.mkdir()
        ca = lab.home / ".bulkhead/ca/groups" / group
        key = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem"]
        (folder / "usage").write_text("extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\n")
        sign = ["x509", "-req", "-in", folder / "csr", "-CA", ca / "ca-cert.pem", "-CAkey", ca / "ca-key.pem"]
        for command in (
            [*key, "-subj", f"/CN={name}", "-out", folder / "csr"],
            [*sign, "-set_serial", "7", "-days", "1", "-extfile", folder / "usage", "-out", folder / "cert.pem"],
        ):
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    found = {pair.name: lets_in(lab, GATEWAY, pair) for pair in tmp_path.iterdir()}
    assert found == {"staging-ann": True, "staging-bob": False, "prod-ann": False, "prod-bob": True}
    # dockerd itself knows CAs, and no names.
    assert lets_in(lab, "a13", tmp_path / "staging-bob")


def test_one_group_s_ca_is_rotated_and_the_other_group_s_client_goes_on(lab: t.Any, copies: pathlib.Path) -> None:
    before = processes(lab)
    listens = Stream("ann", f"{GATEWAY}-ann")
    with Loop("ann", OPENS["ann"]) as loop, Loop("bob", [GATEWAY, "at"]) as own:
        succeeds(lab.playbook(ROTATE, "-e", "docker_rotate_groups=prod", timeout=SLOW))
    assert loop.gaps["a11"] == loop.gaps[GATEWAY] == own.gaps[GATEWAY] == []
    for gaps in (loop.gaps["a13"], own.gaps["at"]):
        assert len(gaps) <= 3  # one for each restart
        assert all(seconds < GAP and not re.search("x509|certificate|tls:", said) for seconds, said in gaps)
    assert min(loop.requests.values()) > 20
    after = processes(lab)
    assert {name for name in lab.engines if before[name] != after[name]} == {"a13", "at"}
    assert listens.lives()
    listens.end()
    # What was copied of the group opens nothing any more, and the other group's works as before.
    assert over_tls(lab, copies) == {"ann": OPENS["ann"], "bob": (), "cat": OPENS["ann"], "dan": ()}
    succeeds(lab.playbook(VERIFY))
    copy(lab, copies)
    assert over_tls(lab, copies) == OPENS


def test_a_revocation_by_rotation_ends_one_identity_and_leaves_the_other_group_alone(
    lab: t.Any, copies: pathlib.Path
) -> None:
    before = processes(lab)
    leaves, stays = Stream("dan", f"{GATEWAY}"), Stream("cat", f"{GATEWAY}")
    with Loop("bob", [GATEWAY]) as loop:
        succeeds(lab.playbook(REVOKE, "-e", "docker_revoke_name=dan"))
        # A gateway refuses and cuts at once; dockerd goes on accepting what it has signed.
        assert over_tls(lab, copies) == {**OPENS, "dan": ("a13", "at")}
        assert (leaves.lives(), stays.lives()) == (False, True)
        by_rotation = ("-e", "docker_revoke_name=dan", "-e", "docker_revoke_by_rotation=true")
        succeeds(lab.playbook(REVOKE, *by_rotation, timeout=SLOW))
    assert loop.gaps[GATEWAY] == []
    assert stays.lives()
    stays.end()
    after = processes(lab)
    assert {name for name in lab.engines if before[name] != after[name]} == {"a13", "at"}
    assert over_tls(lab, copies) == {"ann": OPENS["ann"], "bob": (), "cat": OPENS["ann"], "dan": ()}
    assert contexts(lab, "cat") == {"tls": OPENS["cat"], "ssh": OPENS["cat"]}
    assert contexts(lab, "bob") == {"tls": OPENS["bob"], "ssh": OPENS["bob"]}
    assert "docker-dan" not in root(lab, "at", "getent passwd")
    succeeds(lab.playbook(VERIFY))


def declare_eve(lab: t.Any, day: datetime.date) -> None:
    """Somebody for a while, instead of dan, who was revoked."""
    file = lab.folder / "host_vars/a13.yml"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not re.search("name: (dan|eve),", line)]
    eve = f"  - {{name: eve, user: fay, access: [staging], expires: {day}}}"
    file.write_text("\n".join([*lines, eve, ""]), encoding="utf-8")


def test_an_identity_ends_on_its_day(lab: t.Any, tmp_path: pathlib.Path) -> None:
    today = datetime.datetime.now(datetime.timezone.utc).date()
    declare_eve(lab, today + datetime.timedelta(days=5))
    said = succeeds(lab.playbook(SITE))
    assert f"Identities with an end: eve ({today + datetime.timedelta(days=5)})" in said
    home = "/home/fay/.bulkhead/identities/eve"
    end = root(lab, CLIENT, f"openssl x509 -noout -enddate -in {home}/cert.pem").partition("=")[2]
    last = datetime.datetime.strptime(end.strip(), "%b %d %H:%M:%S %Y GMT")
    assert last.date() == today + datetime.timedelta(days=5)
    assert (last.hour, last.minute, last.second) == (23, 59, 59)
    keys = "cat /etc/ssh/docker-ssh/keys/docker-eve"
    assert f'expiry-time="{today + datetime.timedelta(days=6):%Y%m%d}' in root(lab, "a11", keys)
    assert contexts(lab, "eve") == {"tls": OPENS["ann"], "ssh": OPENS["ann"]}
    for file in ("cert.pem", "key.pem"):
        (tmp_path / file).write_text(root(lab, CLIENT, f"cat {home}/{file}") + "\n", encoding="ascii")
    # Nothing is left to do, although the certificate ends within the days in which others are renewed.
    assert "nothing to change" in succeeds(lab.playbook(SITE))

    listens, stays = Stream("eve", GATEWAY), Stream("ann", f"{GATEWAY}-ann")
    declare_eve(lab, today - datetime.timedelta(days=1))
    said = succeeds(lab.playbook(SITE))
    assert (
        f"Ended: eve ({today - datetime.timedelta(days=1)}). They have no certificate, SSH account, key or context"
        in said
    )
    assert "Engines without a gateway accept a certificate of eve" in said
    assert (listens.lives(), stays.lives()) == (False, True)
    stays.end()
    assert not lets_in(lab, GATEWAY, tmp_path)
    assert lets_in(lab, "a11", tmp_path)  # until the day that was set first, as the report says
    assert all("docker-eve" not in root(lab, engine, "getent passwd") for engine in lab.engines)
    assert root(lab, CLIENT, "find /home/fay -name '*eve*' -o -name '*.pem'") == ""
    assert outside("fay", "docker context ls --quiet").stdout.split() == ["default"]
    succeeds(lab.playbook(VERIFY))
    assert "nothing to change" in succeeds(lab.playbook(SITE))
