"""What somebody had set up stays, except the open door; and input that cannot be used changes nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

FOREIGN = {
    "e11": {"log-driver": "journald"},
    "e12": {"log-driver": "local", "labels": ["site=here"]},
    "e13": {"default-address-pools": [{"base": "10.210.0.0/16", "size": 24}]},
    "et": {"max-concurrent-downloads": 2},
}
FILES = {
    "e11": "/etc/systemd/system/docker.service.d/override.conf",
    "e12": "/etc/default/docker",
    "e13": "/etc/systemd/system/docker.service.d/10-remote.conf",
    "et": "/etc/systemd/system/docker.service.d/hosts.conf",
}
OURS = {"hosts", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey", "live-restore"}
SNAPSHOT = (
    "find /etc /var/lib/bulkhead -type f -not -name '*.lock' | sort | xargs sha256sum;"
    "systemctl show docker --property MainPID"
)


@pytest.fixture
def name(host: Host) -> str:
    return str(host.backend.hostname)


def test_the_open_door_is_closed(lab: Any, host: Host, name: str) -> None:
    assert lab.docker("--context", name, "ps", "--format", "{{.Names}}") == "keep"
    for url in (f"http://{lab.address(name)}:2375/_ping", f"http://{lab.address(name)}:2376/_ping"):
        assert "OK" not in lab.run("curl", "-s", "--max-time", "5", url).stdout
    assert lab.run("curl", "-sk", f"https://{lab.address(name)}:2376/_ping").stdout != "OK"
    with host.sudo():
        listening = host.check_output("ss -Hltnp | grep dockerd").split()
    assert [word for word in listening if word.endswith(":2375")] == []


def test_containers_kept_running(host: Host) -> None:
    with host.sudo():
        assert host.check_output("docker inspect --format '{{.State.Pid}}' keep") == host.check_output(
            "cat /root/keep.pid"
        )


def test_everything_else_is_as_it_was(host: Host, name: str) -> None:
    with host.sudo():
        content = json.loads(host.check_output("cat /etc/docker/daemon.json"))
        command = host.check_output("tr '\\0' ' ' </proc/$(pidof dockerd)/cmdline")
        somebody_s = host.check_output(f"cat {FILES[name]}")
        mode = host.check_output("stat --format %a /etc/docker/daemon.json")
    assert {key: value for key, value in content.items() if key not in OURS} == FOREIGN[name]
    assert mode == "640"
    assert "dockerd" in somebody_s or "Somebody's remark" in somebody_s
    assert "2375" not in command
    kept = {"e12": "--shutdown-timeout 7", "e13": "--userland-proxy=false"}
    assert kept.get(name, "") in command


def test_a_key_that_is_managed_no_more_gets_its_old_value_back(host: Host, name: str) -> None:
    with host.sudo():
        record = json.loads(host.check_output("cat /var/lib/bulkhead/state.json"))
    previous = {key: value[0] for key, value in record["managed"].items() if value}
    expected: dict[str, dict[str, Any]] = {
        "e11": {"hosts": ["fd://", "tcp://0.0.0.0:2375"]},
        "e12": {},
        "e13": {"live-restore": True},
        "et": {"hosts": ["fd://", "tcp://0.0.0.0:2376"], "tlsverify": False, "tlscert": "/etc/docker/certs/cert.pem"},
    }
    assert expected[name].items() <= previous.items()


# -- what cannot work is refused before anything is changed on any host -----------------------------------------------

# All the others in a run would get a new certificate, and engines with it a restart of dockerd.
DUE = ("-e", "docker_engine_renew_force=true", "-e", "docker_client_renew_force=true")


def picture(lab: Any) -> list[str]:
    """Everything below /etc of all engines, the process of dockerd, and what the control node keeps."""
    inventory = str(lab.folder / "inventory.yml")
    done = lab.run("ansible", "-i", inventory, "docker_engines", "-b", "-m", "shell", "-a", SNAPSHOT)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = [
        path for name in (".bulkhead", ".docker") for path in sorted((lab.home / name).rglob("*")) if path.is_file()
    ]
    return [
        *sorted(done.stdout.splitlines()),
        *(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in kept),
    ]


def refused(lab: Any, tmp_path: pathlib.Path, inventory: dict[str, Any], *arguments: str) -> str:
    """What a run with these variables on top of the lab's own says. It fails, and changes nothing anywhere."""
    more = tmp_path / "more.yml"
    more.write_text(yaml.safe_dump(inventory), encoding="utf-8")
    before = picture(lab)
    done = lab.playbook("-i", str(more), *arguments, "bulkhead.docker.site")
    assert done.returncode != 0, done.stdout
    assert picture(lab) == before
    return str(lab.said(done))


def engines(**variables: dict[str, Any]) -> dict[str, Any]:
    return {"docker_engines": {"hosts": variables}}


@contextlib.contextmanager
def broken(lab: Any, **scripts: tuple[str, str]) -> Iterator[None]:
    """Engines on which one script breaks something, which the other mends afterwards."""
    hosts = {
        name: testinfra.get_host(f"ansible://{name}?ansible_inventory={lab.folder}/inventory.yml") for name in scripts
    }
    with contextlib.ExitStack() as mending:
        for name, (breaks, mends) in scripts.items():
            mending.enter_context(hosts[name].sudo())
            hosts[name].check_output(breaks)
            mending.callback(hosts[name].check_output, mends)
        yield


def test_everything_wrong_with_the_variables_is_said_at_once(lab: Any, tmp_path: pathlib.Path) -> None:
    variables = engines(
        e11={"docker_engine_names": ["not a name"], "docker_engine_valid_days": 10},
        e12={"docker_engine_listen": ["web1"], "docker_engine_port": 70000},
        e13={"docker_engine_daemon_options": {"tlsverify": False, "tls": False}},
        et={"docker_engine_daemon_options": {"tlscacert": "", "hosts": ["tcp://0.0.0.0:2375"]}},
    )
    said = refused(lab, tmp_path, variables, *DUE, "-e", "docker_ca_host=gone")
    for sentence in (
        "docker_engine_names of e11 has 'not a name', which is neither a DNS name nor an IP address",
        "docker_engine_valid_days of e11 (10) has to be more than docker_engine_renew_days (30)",
        "docker_engine_listen of e12 has 'web1'",
        "docker_engine_port of e12 is 70000",
        "docker_engine_daemon_options of e13 has tlsverify, which decides who gets in",
        "docker_engine_daemon_options of e13 has tls, which decides who gets in",
        "docker_engine_daemon_options of et has tlscacert, which decides who gets in",
        "docker_engine_daemon_options of et has hosts, which decides who gets in",
        "docker_ca_host is 'gone', which is no host of the inventory",
    ):
        assert sentence in said


def test_without_engines_the_playbook_says_which_group_it_needs(lab: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "inventory.yml").write_text("all: {hosts: {web1: {ansible_host: 192.0.2.1}}}\n")
    done = lab.run("ansible-playbook", "-i", str(tmp_path / "inventory.yml"), "bulkhead.docker.site")
    assert done.returncode != 0
    assert "Put the hosts whose Docker engine is to be secured into a group" in lab.said(done)


def test_a_ca_host_that_cannot_be_reached_ends_the_run(lab: Any, tmp_path: pathlib.Path) -> None:
    gone = {"docker_ca": {"hosts": {"gone": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}
    assert "The CA host gone cannot be reached" in refused(lab, tmp_path, gone, *DUE)


def test_a_passphrase_that_does_not_open_the_ca_ends_the_run(lab: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret.json").write_text(json.dumps({"docker_ca_passphrase": "wrong-passphrase"}))
    said = refused(lab, tmp_path, {}, *DUE, "-e", f"@{tmp_path}/secret.json")
    assert "cannot be read with the docker_ca_passphrase that was given" in said


def test_what_engines_refuse_ends_the_run_for_all(lab: Any, tmp_path: pathlib.Path) -> None:
    variables = engines(e12={"docker_engine_listen": ["192.0.2.77"]}, e13={"docker_engine_port": 22})
    breaks = "cp -p /etc/docker/daemon.json /root/good.json; echo '{not json' >/etc/docker/daemon.json"
    with broken(lab, et=(breaks, "cp -p /root/good.json /etc/docker/daemon.json")):
        said = refused(lab, tmp_path, variables, *DUE)
    assert "this host does not have the listen address 192.0.2.77; correct docker_engine_listen" in said
    assert "port 22 on 0.0.0.0 is taken by another process" in said
    assert "/etc/docker/daemon.json is not JSON" in said


def test_one_engine_without_docker_ends_the_run_for_all(lab: Any, tmp_path: pathlib.Path) -> None:
    with broken(lab, e12=("mv /usr/sbin/dockerd /usr/sbin/away", "mv /usr/sbin/away /usr/sbin/dockerd")):
        said = refused(lab, tmp_path, {}, *DUE)
    assert "dockerd is not installed on this host" in said


@pytest.mark.slow
def test_a_missing_library_is_named_or_installed(lab: Any, tmp_path: pathlib.Path) -> None:
    """Taken away together with the way to install it: a sentence; with the package lists back: installed."""
    breaks = "apt-get remove -qq --yes python3-cryptography && mv /etc/apt /etc/away"
    with broken(lab, e13=(breaks, "mv /etc/away /etc/apt")):
        said = refused(lab, tmp_path, {}, *DUE)
    assert "Python's cryptography library 3.3 or later is missing" in said
    again = lab.playbook("--limit", "e13,localhost", "bulkhead.docker.site")
    assert again.returncode == 0, again.stdout
