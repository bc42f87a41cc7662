"""What somebody had set up stays, except the open door; and input that cannot be used changes nothing."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest
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


# Every alias is a host of the lab again, with one thing wrong. None of them is changed, so one run serves all.
BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "name": ("e11", {"docker_engine_names": ["not a name"]}, r"'not a name' is neither a DNS name nor an IP address"),
    "address": ("e12", {"docker_engine_listen": ["192.0.2.77"]}, r"does not have the listen address 192\.0\.2\.77"),
    "host-name": ("e12", {"docker_engine_listen": ["web1"]}, r"'web1' is not an IP address"),
    "port": ("e13", {"docker_engine_port": 22}, r"port 22 on 0\.0\.0\.0 is taken by another process"),
    "verify": ("e13", {"docker_engine_daemon_options": {"tlsverify": False}}, r"'tlsverify' is not accepted"),
    "plain": ("et", {"docker_engine_daemon_options": {"tls": False}}, r"'tls' is not accepted"),
    "hosts": ("et", {"docker_engine_daemon_options": {"hosts": ["tcp://0.0.0.0:2375"]}}, r"'hosts' is not accepted"),
    "trust": ("et", {"docker_engine_daemon_options": {"tlscacert": ""}}, r"'tlscacert' is not accepted"),
    "days": ("e11", {"docker_engine_valid_days": 10}, r"docker_engine_valid_days more than docker_engine_renew_days"),
    "passphrase": (
        "e11",
        {"docker_engine_ca_passphrase": "wrong", "docker_engine_renew_force": True},
        r"did not sign the certificate",
    ),
    "no-ca": (
        "e12",
        {"docker_engine_ca_dir": "/nonexistent"},
        r"did not get the trust bundle /nonexistent/ca\.pem from the CA host",
    ),
    "ca-host": ("e13", {"docker_engine_ca_host": "gone"}, r"from the CA host gone"),
}


def _snapshot(lab: Any) -> str:
    done = lab.run(
        *("ansible", "-i", str(lab.folder / "inventory.yml"), "docker_engines", "--become", "--module-name", "shell"),
        *("--args", SNAPSHOT),
    )
    assert done.returncode == 0, done.stdout
    return "\n".join(sorted(done.stdout.splitlines()))


@pytest.fixture(scope="session")
def refusals(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each alias was told; the snapshots of all hosts before and after are in 'before' and 'after'."""
    before = _snapshot(lab)
    folder = tmp_path_factory.mktemp("bad")
    inventory = lab.inventory
    hosts = {alias: inventory["lab"]["hosts"][real] for alias, (real, _, _) in BAD.items()}
    plays = [
        {
            "hosts": "bad",
            "gather_facts": False,
            "become": True,
            "tasks": [
                {
                    "ansible.builtin.include_role": {"name": "bulkhead.docker.docker_engine"},
                    "vars": {"docker_engine_ca_dir": str(lab.home / ".bulkhead/ca")} | variables,
                    "when": f"inventory_hostname == '{alias}'",
                }
                for alias, (_, variables, _) in BAD.items()
            ],
        }
    ]
    (folder / "inventory.yml").write_text(
        yaml.safe_dump(
            {
                "bad": {"hosts": hosts, "vars": inventory["lab"]["vars"]},
                "away": {"hosts": {"gone": {"ansible_host": "192.0.2.1", "ansible_timeout": 2}}},
            }
        )
    )
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    done = lab.playbook(
        "-i", str(folder / "inventory.yml"), str(folder / "play.yml"), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json"
    )
    report = json.loads(done.stdout)
    messages = {"before": before, "after": _snapshot(lab)}
    for task in report["plays"][0]["tasks"]:
        for alias, result in task["hosts"].items():
            if result.get("failed") or result.get("unreachable"):
                messages[alias] = result["msg"]
    return messages


@pytest.mark.parametrize("alias", BAD)
def test_bad_input_is_refused_with_a_sentence(refusals: dict[str, str], alias: str) -> None:
    assert re.search(BAD[alias][2], refusals.get(alias, "not refused"), re.DOTALL)


def test_bad_input_changes_nothing(refusals: dict[str, str]) -> None:
    assert refusals["after"] == refusals["before"]


def test_without_engines_the_playbook_says_which_group_it_needs(lab: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "inventory.yml").write_text("all: {hosts: {web1: {ansible_host: 192.0.2.1}}}\n")
    done = lab.run("ansible-playbook", "-i", str(tmp_path / "inventory.yml"), "bulkhead.docker.site")
    assert done.returncode != 0
    assert "Put the hosts whose Docker engine is to be secured into a group" in lab.said(done)


def test_an_engine_without_docker_is_refused(lab: Any, host: Host, name: str) -> None:
    if name != "e12":
        pytest.skip("one is enough")
    with host.sudo():
        host.check_output("mv /usr/sbin/dockerd /usr/sbin/dockerd.away")
        try:
            done = lab.playbook("--limit", name, "bulkhead.docker.site")
        finally:
            host.check_output("mv /usr/sbin/dockerd.away /usr/sbin/dockerd")
    assert "dockerd is not installed on this host" in lab.said(done)


def test_a_daemon_json_that_is_not_json_is_refused_and_kept(lab: Any, host: Host, name: str) -> None:
    if name != "et":
        pytest.skip("one is enough")
    with host.sudo():
        host.check_output("cp -p /etc/docker/daemon.json /root/good.json; echo '{not json' >/etc/docker/daemon.json")
        try:
            done = lab.playbook("--limit", name, "bulkhead.docker.site")
            assert host.check_output("cat /etc/docker/daemon.json") == "{not json"
        finally:
            host.check_output("cp -p /root/good.json /etc/docker/daemon.json")
    assert "/etc/docker/daemon.json is not JSON" in lab.said(done)


def test_a_missing_library_is_installed_or_named(lab: Any, host: Host, name: str) -> None:
    """Taken away together with the way to install it: a sentence; with the package lists back: installed."""
    if name != "e13":
        pytest.skip("one is enough")
    with host.sudo():
        host.check_output("apt-get remove -qq --yes python3-cryptography && mv /etc/apt /etc/apt.away")
        try:
            done = lab.playbook("--limit", name, "bulkhead.docker.site")
            assert "needs Python's cryptography library, and the package python3-cryptography" in lab.said(done)
        finally:
            host.check_output("mv /etc/apt.away /etc/apt")
        again = lab.playbook("--limit", name, "bulkhead.docker.site")
        assert again.returncode == 0, again.stdout
