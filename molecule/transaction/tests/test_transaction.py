"""docker_daemon_config on real engines: what fails is undone, what is killed is recovered, and containers live on.

The tests follow one another on the same engines, and each of them leaves these as the next one needs them.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import typing as t

import pytest
import yaml
from authority import Authority
from fleet import Fleet, environment, sudo
from helpers.slow import slow

SPEC = pathlib.Path(__file__).parents[3] / "plugins" / "modules" / "docker_daemon_config.py"
BY_ANSIBLE = {"changed", "diff", "invocation", "msg", "failed", "warnings", "exception", "deprecations"}
SUCCEEDS, FAILS = "success", "failure"


def documented(returned: str) -> set[str]:
    text = SPEC.read_text(encoding="utf-8").split('RETURN = r"""')[1].split('"""')[0]
    return {name for name, value in yaml.safe_load(text).items() if value["returned"] == returned}


def messages(results: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, str]:
    return {name: str(result.get("msg")) if result["failed"] else "" for name, result in results.items()}


def set_trap(fleet: Fleet, systemd: str, script: str, then: str) -> None:
    """At this command of systemctl, or of service where there is no systemd."""
    for name, host in fleet.hosts.items():
        at = systemd if name in fleet.systemd else script
        sudo(host, f"printf \"at='{at}' then={then}\\n\" >/run/lab-trap")


# -- the ordinary way -------------------------------------------------------------------------------------------------


def test_first_run_kept_the_container_and_opened_the_endpoint(fleet: Fleet) -> None:
    before = fleet.sudo("cat /root/survivor")
    found = fleet.look()

    assert {name: found[name]["containers"] for name in found} == {n: f"/survivor {before[n]}" for n in before}
    assert {tuple(each["listens"]) for each in found.values()} == {("*:2376",)}
    assert all(fleet.each(fleet.serves).values())


def test_second_run_changes_nothing_and_returns_what_is_documented(fleet: Fleet) -> None:
    before = fleet.look()

    results = fleet.apply()

    assert {name: result["changed"] for name, result in results.items()} == dict.fromkeys(fleet.hosts, False)
    assert fleet.look() == before
    for result in results.values():
        assert set(result) - BY_ANSIBLE == documented(SUCCEEDS)


def test_renewal_serves_the_new_certificate_and_keeps_the_container(fleet: Fleet) -> None:
    before = fleet.look()
    pairs = fleet.issue()

    fleet.apply(pairs, check=True)
    predicted = fleet.diff
    assert fleet.look() == before
    results = fleet.apply(pairs)

    assert messages(results) == dict.fromkeys(fleet.hosts, "")
    assert {name: result["restarted"] for name, result in results.items()} == dict.fromkeys(fleet.hosts, True)
    assert predicted == fleet.diff != []
    assert "PRIVATE KEY" not in json.dumps([predicted, results])
    assert fleet.each(fleet.serves) == {name: pair.fingerprint for name, pair in pairs.items()}
    assert {n: s["containers"] for n, s in fleet.look().items()} == {n: s["containers"] for n, s in before.items()}


# Docker may not remove a container that it was starting when it was restarted, for good where a removal has begun (seen
# with 20.10.5 and 28.5.2); then its folder goes while dockerd is stopped.
REMOVE_LOOPER = """timeout 20 docker rm --force looper && exit
id=$(docker ps --all --quiet --no-trunc --filter name=looper)
systemctl stop docker.socket docker || service docker stop
rm -rf "/var/lib/docker/containers/${id:?}"
systemctl reset-failed docker || true
systemctl start docker.socket docker || service docker start
for i in $(seq 60); do docker version >/dev/null && break; sleep 0.5; done
! docker inspect looper >/dev/null 2>&1"""


def test_changes_meet_neither_the_start_limit_nor_containers_that_end_by_themselves(fleet: Fleet) -> None:
    survivor = "docker inspect --format '{{.State.Pid}}' survivor"
    containers = fleet.sudo(survivor)
    looper = "docker run --detach --name looper --restart always bulkhead/busybox sh -c 'sleep 0.3; exit 1'"
    fleet.sudo(f"{looper}; sleep 2")
    # Three starts a minute are systemd's limit, and somebody has just used them up: dockerd is stopped.
    fleet.sudo("for i in 1 2 3 4 5; do systemctl restart docker || exit 0; done", fleet.systemd)
    try:
        for number in range(2):
            results = fleet.apply(daemon_options={"labels": [f"round={number}"]})
            assert messages(results) == dict.fromkeys(fleet.hosts, "")
            assert all(result["restarted"] for result in results.values())
    finally:
        fleet.sudo(REMOVE_LOOPER)
    assert messages(fleet.apply()) == dict.fromkeys(fleet.hosts, "")
    assert fleet.sudo(survivor) == containers


# -- bad input: one sentence, nothing changed -------------------------------------------------------------------------


def refused(fleet: Fleet, says: str, **how: t.Any) -> None:
    before = fleet.look(how.get("only"))
    results = fleet.apply(**how)
    for name, message in messages(results).items():
        assert says in message, (name, message)
        assert "\n" not in message
        assert results[name]["rolled_back"] is False
        assert set(results[name]) - BY_ANSIBLE - {"library_missing"} == documented(FAILS)
    assert fleet.look(how.get("only")) == before


# Docker Desktop is in the unit tests: no lab host can be one.
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"listen": ["192.0.2.1"]}, "this host does not have the listen address 192.0.2.1"),
        slow({"listen": ["fe80::1"]}, "this host does not have the listen address fe80::1"),
        ({"port": 22}, "port 22 on 0.0.0.0 is taken by another process"),
        ({"daemon_options": {"tlsverify": False}}, "daemon option 'tlsverify' is not accepted"),
        slow({"daemon_options": {"hosts": ["tcp://0.0.0.0:2375"]}}, "daemon option 'hosts' is not accepted"),
        slow({"private_key_path": "/root/no-such-key"}, "/root/no-such-key cannot be read on the engine"),
        ({"private_key_path": "/root/new-key.pem"}, "does not match its private key"),
    ],
)
def test_what_cannot_work_is_refused(fleet: Fleet, options: dict[str, t.Any], says: str) -> None:
    fleet.sudo("umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /root/new-key.pem")
    refused(fleet, says, **options)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"by": Authority("foreign")}, "not issued by the CA of the trust bundle"),
        slow({"usage": "CLIENT_AUTH"}, "extended key usage is not exactly serverAuth"),
        slow({"days": -1}, "it expired on"),
    ],
)
def test_a_certificate_that_clients_would_not_accept_is_refused(fleet: Fleet, how: dict[str, t.Any], says: str) -> None:
    refused(fleet, says, pairs=fleet.issue(**how))


@pytest.mark.parametrize(
    ("breaks", "mends", "says"),
    [
        (
            "cp -p /etc/docker/daemon.json /root/kept.json; echo '{\"debug\": tru}' >/etc/docker/daemon.json",
            "mv /root/kept.json /etc/docker/daemon.json",
            "/etc/docker/daemon.json is not JSON",
        ),
        ("mv /usr/sbin/dockerd /usr/sbin/away", "mv /usr/sbin/away /usr/sbin/dockerd", "dockerd is not installed"),
        (
            "mv /usr/lib/python3/dist-packages/cryptography /root/away",
            "mv /root/away /usr/lib/python3/dist-packages/cryptography",
            "Python's cryptography library 3.3 or later is missing",
        ),
    ],
)
def test_an_engine_that_cannot_be_worked_with_is_left_alone(fleet: Fleet, breaks: str, mends: str, says: str) -> None:
    fleet.sudo(breaks)
    try:
        refused(fleet, says)
    finally:
        fleet.sudo(mends)


def test_a_network_address_of_docker_socket_is_refused(fleet: Fleet) -> None:
    folder = "/etc/systemd/system/docker.socket.d"
    text = "printf '[Socket]\\nListenStream=2375\\n'"
    fleet.sudo(f"mkdir {folder}; {text} >{folder}/tcp.conf; systemctl daemon-reload", fleet.systemd)
    try:
        refused(fleet, "docker.socket listens on", only=fleet.systemd)
    finally:
        fleet.sudo(f"rm -r {folder}; systemctl daemon-reload", fleet.systemd)


# -- what fails half way is undone ------------------------------------------------------------------------------------


def undone(fleet: Fleet, says: str, **how: t.Any) -> None:
    before = fleet.state()
    results = fleet.apply(**how)
    for name, message in messages(results).items():
        assert says in message, (name, message)
        assert "the engine answers as before" in message, (name, message)
        assert results[name]["rolled_back"] is True
        assert set(results[name]) - BY_ANSIBLE == documented(FAILS)
    assert fleet.state() == before


def test_an_option_that_only_fails_at_start_is_undone(fleet: Fleet) -> None:
    undone(fleet, "dockerd says:", pairs=fleet.issue(), daemon_options={"exec-root": "/proc/nowhere"})


def test_a_port_that_is_taken_between_check_and_start_is_undone(fleet: Fleet) -> None:
    listener = "import socket,time; s=socket.create_server((str(),4444)); time.sleep(600)"
    hook = f"""#!/bin/sh
grep -q :4444 /etc/docker/daemon.json && [ ! -e /run/listener ] || exit 0
setsid python3 -c '{listener}' >/dev/null 2>&1 & echo $! >/run/listener
for i in $(seq 600); do ss -Hltn 'sport = :4444' | grep -q . && exit; sleep 0.1; done"""
    fleet.sudo(f"cat >/root/hook <<'END'\n{hook}\nEND\nchmod 0755 /root/hook")
    drop_in = "/etc/systemd/system/docker.service.d/hook.conf"
    scripts = [name for name in fleet.hosts if name not in fleet.systemd]
    fleet.sudo(f"printf '[Service]\\nExecStartPre=/root/hook\\n' >{drop_in}; systemctl daemon-reload", fleet.systemd)
    if scripts:
        fleet.sudo("cp -p /etc/default/docker /root/default; echo /root/hook >>/etc/default/docker", scripts)
    try:
        undone(fleet, "address already in use", port=4444)
    finally:
        fleet.sudo("kill $(cat /run/listener); rm /run/listener")
        fleet.sudo(f"rm {drop_in}; systemctl daemon-reload", fleet.systemd)
        if scripts:
            fleet.sudo("mv /root/default /etc/default/docker", scripts)


def test_an_endpoint_at_which_somebody_else_answers_is_undone(fleet: Fleet) -> None:
    rule = "OUTPUT -t nat -p tcp -d 127.0.0.1 --dport 4444 -j REDIRECT --to-ports 22"
    fleet.sudo(f"iptables -I {rule}")
    try:
        undone(fleet, "tcp://127.0.0.1:4444 does not speak TLS", port=4444)
    finally:
        fleet.sudo(f"iptables -D {rule}")


@pytest.mark.parametrize("folder", ["/var/lib/bulkhead", "/etc/docker"])
def test_a_full_disk_stops_a_change_before_it_begins(fleet: Fleet, folder: str) -> None:
    pairs, before = fleet.issue(), fleet.state()
    fleet.sudo(
        f"cp -a {folder} /root/full; mount -t tmpfs -o size=64k,mode=0755 tmpfs {folder}; cp -a /root/full/. {folder}; "
        f"dd if=/dev/zero of={folder}/filler bs=4k 2>/dev/null; chmod --reference=/root/full {folder}"
    )
    try:
        full = fleet.state()
        results = fleet.apply(pairs)
        for name, message in messages(results).items():
            assert "No space left on device" in message, (name, message)
            assert "nothing was changed" in message
        assert fleet.state() == full
    finally:
        fleet.sudo(f"umount {folder}; rm -r /root/full")
    assert fleet.state() == before


@pytest.mark.parametrize(
    ("then", "systemd", "script", "same_process"),
    [
        ("kill", "daemon-reload", "docker stop", True),
        ("finish-and-kill", "restart --job-mode=ignore-requirements docker.service", "docker start", False),
    ],
    ids=["between write and restart", "after the restart"],
)
def test_the_next_run_undoes_what_was_killed(
    fleet: Fleet, then: str, systemd: str, script: str, same_process: bool
) -> None:
    before, daemons = fleet.state(), {name: each["daemon"] for name, each in fleet.look().items()}
    set_trap(fleet, systemd, script, then)
    killed = fleet.apply(fleet.issue(), daemon_options={"labels": ["killed=yes"]})
    assert all(result["failed"] for result in killed.values())
    half = fleet.look()
    assert all("/var/lib/bulkhead/journal.json" in each["files"] for each in half.values())

    predicted = fleet.apply(check=True)
    assert messages(predicted) == dict.fromkeys(fleet.hosts, "")
    assert all(result["changed"] and result["recovered"] for result in predicted.values())
    assert fleet.look() == half

    results = fleet.apply()
    assert messages(results) == dict.fromkeys(fleet.hosts, "")
    assert all(result["recovered"] and not result["restarted"] for result in results.values())
    assert fleet.state() == before
    assert all((each["daemon"] == daemons[name]) is same_process for name, each in fleet.look().items())
    assert not any(result["changed"] for result in fleet.apply().values())


def test_a_lost_connection_does_not_end_a_change(fleet: Fleet) -> None:
    containers = {name: each["containers"] for name, each in fleet.look().items()}
    pairs = fleet.issue()
    set_trap(fleet, "daemon-reload", "docker stop", "wait")
    certificates = {"lab_certificates": {name: pair.certificate for name, pair in pairs.items()}}
    options = {
        "ca_certificate": fleet.ca,
        "server_certificate": "{{ lab_certificates[inventory_hostname] }}",
        "private_key_path": "/root/new-key.pem",
    }
    command = fleet.command(None, check=False, options=options)
    # With a terminal, whose end is a signal to everything in it; in a session of its own, to be killed as a whole.
    controller = subprocess.Popen(
        [*command, "-e", json.dumps(certificates), "--ssh-extra-args=-o ControlMaster=no -o ControlPath=none"],
        env=environment(ANSIBLE_PIPELINING="false"),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    fleet.sudo("for i in $(seq 600); do [ -e /run/lab-waits ] && exit; sleep 0.1; done; exit 1")
    _kill_session(controller.pid)
    controller.wait()
    fleet.sudo("rm /run/lab-waits")
    fleet.sudo("for i in $(seq 1200); do [ -e /var/lib/bulkhead/journal.json ] || exit 0; sleep 0.1; done; exit 1")

    assert fleet.each(fleet.serves) == {name: pair.fingerprint for name, pair in pairs.items()}
    assert {name: each["containers"] for name, each in fleet.look().items()} == containers
    assert not any(result["changed"] for result in fleet.apply().values())


def _kill_session(session: int) -> None:
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            os.kill(int(entry.parent.name), signal.SIGKILL)


# -- and back again ---------------------------------------------------------------------------------------------------


def test_removal_gives_everything_back_and_keeps_the_container(fleet: Fleet) -> None:
    pristine = {name: json.loads(text) for name, text in fleet.sudo("cat /root/pristine.json").items()}
    before = fleet.look()

    fleet.apply(check=True, state="absent")
    predicted = fleet.diff
    assert fleet.look() == before
    results = fleet.apply(state="absent")

    assert messages(results) == dict.fromkeys(fleet.hosts, "")
    assert predicted == fleet.diff != []
    found = fleet.look()
    for name in fleet.hosts:
        assert {**found[name], "daemon": ""} == {**pristine[name], "daemon": ""}
    assert not any(result["changed"] for result in fleet.apply(state="absent").values())


OPEN = "tcp://0.0.0.0:2375"
DROP_INS = "/etc/systemd/system/docker.service.d"
FOREIGN = """{"log-driver":"json-file",
  "log-opts": {"max-size": "10m"}, HOSTS
  "max-concurrent-downloads": 5
}
"""


def open_to_everybody(name: str) -> str:
    """A script that opens an engine as people did before; each engine has another way."""
    own = f"mkdir {DROP_INS}; printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd %s\\n'"
    in_file = FOREIGN.replace("HOSTS", f'"hosts": ["unix:///run/docker.sock", "{OPEN}"],')
    plain = FOREIGN.replace("HOSTS", "")
    return {
        "d11": f"echo 'DOCKER_OPTS=\"-H {OPEN} --label=foreign=yes\"' >>/etc/default/docker",
        "d12": f"{own} '-H fd:// --label foreign=yes -H {OPEN}' >{DROP_INS}/override.conf",
        "d13": f"{own} '-H fd:// --label foreign=yes -H {OPEN}' >{DROP_INS}/zz-site.conf",
        "dt": f"{own} '--label foreign=yes' >{DROP_INS}/override.conf",
        "s12": "echo 'DOCKER_OPTS=--label=foreign=yes' >>/etc/default/docker",
    }[name] + f"\ncat >/etc/docker/daemon.json <<'END'\n{in_file if name in ('dt', 's12') else plain}END"


def opened_in(name: str) -> str:
    """The file that did it."""
    files = {"d11": "/etc/default/docker", "d12": f"{DROP_INS}/override.conf", "d13": f"{DROP_INS}/zz-site.conf"}
    return files.get(name, "/etc/docker/daemon.json")


# A dockerd with a unix:// host has taken docker.socket's place, so that this one is started anew, too.
RESTART = """
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl reset-failed docker.service docker.socket
  systemctl stop docker.service docker.socket
  systemctl start docker.service
else
  service docker restart
fi
for i in $(seq 120); do timeout 20 docker start survivor >/dev/null 2>&1 && exit; sleep 0.5; done; exit 1
"""
LABELS = "docker info --format '{{range .Labels}}{{.}}{{end}}'"


def test_an_engine_that_was_set_up_before_keeps_what_is_its_own(fleet: Fleet) -> None:
    fleet.sudo("cp -p /etc/default/docker /root/default")
    fleet.each(lambda name: sudo(fleet.hosts[name], open_to_everybody(name) + RESTART))
    before = fleet.look()
    assert all("*:2375" in each["listens"] for each in before.values())
    pairs = fleet.issue()

    results = fleet.apply(pairs)

    assert messages(results) == dict.fromkeys(fleet.hosts, "")
    found = fleet.look()
    for name in fleet.hosts:
        assert f"{OPEN} from {opened_in(name)} is" in fleet.warnings
        assert found[name]["listens"] == ["*:2376"]
        assert found[name]["containers"] == before[name]["containers"]
    assert fleet.each(fleet.serves) == {name: pair.fingerprint for name, pair in pairs.items()}
    assert set(fleet.sudo(LABELS).values()) == {"foreign=yes"}
    assert not any(result["changed"] for result in fleet.apply().values())

    for name, text in fleet.sudo("cat /etc/docker/daemon.json").items():
        content = json.loads(text)
        assert content["max-concurrent-downloads"] == 5
        assert OPEN not in content["hosts"], name


def test_removal_opens_nothing_and_keeps_what_others_changed(fleet: Fleet) -> None:
    containers = {name: each["containers"] for name, each in fleet.look().items()}
    flagged = [name for name in fleet.hosts if name in ("d11", "d12", "d13")]
    if flagged:
        refused(fleet, "would be open to everybody again without this collection", only=flagged, state="absent")
        fleet.sudo(f"sed -i 's#-H {OPEN}##' /etc/default/docker {DROP_INS}/[oz]*.conf; true", flagged)
    fleet.sudo("""sed -i 's/"max-concurrent-downloads": 5/"max-concurrent-downloads": 4/' /etc/docker/daemon.json""")

    results = fleet.apply(state="absent")

    assert messages(results) == dict.fromkeys(fleet.hosts, "")
    found = fleet.look()
    for name, result in results.items():
        assert result["kept"] == ["max-concurrent-downloads"]
        assert found[name]["listens"] == []
        assert found[name]["live_restore"] == "false"
        assert found[name]["containers"] == containers[name]
        assert not any("bulkhead" in path or "tls" in path for path in found[name]["files"])
    for text in fleet.sudo("cat /etc/docker/daemon.json").values():
        content = json.loads(text)
        assert {**content, "hosts": []} == {
            **json.loads(FOREIGN.replace("HOSTS", "")),
            "max-concurrent-downloads": 4,
            "hosts": [],
        }
        assert content.get("hosts", []) in ([], ["unix:///run/docker.sock"])
    fleet.sudo(f"mv /root/default /etc/default/docker; rm -rf /etc/docker/daemon.json {DROP_INS}{RESTART}")


def test_a_swarm_member_is_restarted_only_when_that_is_allowed(fleet: Fleet) -> None:
    member = fleet.systemd[-1:]
    fleet.sudo("docker swarm init --advertise-addr 127.0.0.1", member)
    pairs = fleet.issue(member)
    try:
        refused(fleet, "this engine is a swarm member", pairs=pairs, only=member)
        results = fleet.apply(pairs, only=member, allow_container_restart=True)
        assert messages(results) == dict.fromkeys(member, "")
        assert '"live-restore"' not in fleet.sudo("cat /etc/docker/daemon.json", member)[member[0]]
        assert fleet.serves(member[0]) == pairs[member[0]].fingerprint
        assert not any(result["changed"] for result in fleet.apply(only=member).values())
        assert not any(messages(fleet.apply(only=member, state="absent", allow_container_restart=True)).values())
    finally:
        fleet.sudo("docker swarm leave --force", member)
