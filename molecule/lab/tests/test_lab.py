"""The lab's promise to every other scenario: real hosts, each with an identity of its own."""

import re

import pytest
from testinfra.host import Host

DOCKER_OF = {"11": "20.10", "12": "20.10", "13": "26", "forky/sid": "28"}


@pytest.fixture
def systemd_is_expected(host: Host) -> bool:
    return not host.backend.hostname.startswith("s")


def test_docker_is_the_one_of_its_release(host: Host) -> None:
    release = host.file("/etc/debian_version").content_string.strip()
    expected = DOCKER_OF[release if release in DOCKER_OF else release.split(".")[0]]

    with host.sudo():
        version = host.check_output("docker version --format '{{.Server.Version}}'")

    assert version.startswith(f"{expected}.")


def test_nested_container_runs_with_a_published_port(host: Host) -> None:
    with host.sudo():
        name = host.check_output(
            "docker run --detach --rm --stop-signal KILL --publish 127.0.0.1::80 bulkhead/busybox httpd -f -h /bin"
        )
        try:
            address = host.check_output(f"docker port {name} 80")
            host.check_output(
                f"python3 -c 'import urllib.request; urllib.request.urlopen(\"http://{address}/busybox\")'"
            )
        finally:
            host.check_output(f"docker stop {name}")


def test_container_survives_the_daemon_with_live_restore(host: Host, systemd_is_expected: bool) -> None:
    restart = "systemctl restart docker" if systemd_is_expected else "service docker restart"
    state = "docker inspect --format '{{.State.Running}} {{.State.Pid}}' survivor"
    config = "/etc/docker/daemon.json"

    with host.sudo():
        host.check_output(f"echo '{{\"live-restore\": true}}' >{config} && pkill --signal HUP --exact dockerd")
        host.check_output("docker run --detach --name survivor bulkhead/busybox")
        try:
            before = host.check_output(state)
            host.check_output(restart)
            host.check_output("for i in $(seq 50); do docker info >/dev/null 2>&1 && exit; sleep 0.2; done; exit 1")
            assert before.startswith("true ")
            assert host.check_output(state) == before
        finally:
            host.check_output(f"docker rm --force survivor; rm {config}; pkill --signal HUP --exact dockerd")


def test_ops_logs_in_and_becomes_root_without_a_password(host: Host) -> None:
    assert host.user().name == "ops"
    assert host.check_output("sudo --non-interactive id --user") == "0"
    assert "docker" not in host.user("ops").groups


def test_sshd_offers_keys_only_and_nothing_for_root(host: Host) -> None:
    with host.sudo():
        settings = host.check_output("sshd -T").lower().splitlines()  # OpenSSH 10.1 and later print CamelCase

    assert "passwordauthentication no" in settings
    assert "permitrootlogin no" in settings


def test_systemd_is_process_1_where_it_should_be(host: Host, systemd_is_expected: bool) -> None:
    assert host.file("/run/systemd/system").exists is systemd_is_expected
    with host.sudo():
        assert ("systemd" in host.file("/proc/1/exe").linked_to) is systemd_is_expected


def test_boot_left_no_failed_unit(host: Host, systemd_is_expected: bool) -> None:
    if not systemd_is_expected:
        pytest.skip("no systemd here")
    assert host.check_output("systemctl list-units --failed --no-legend") == ""


SEEN: dict[str, str] = {}


def test_host_key_is_the_hosts_own(host: Host) -> None:
    key = re.split(r"\s+", host.file("/etc/ssh/ssh_host_ed25519_key.pub").content_string)[1]

    assert SEEN.setdefault(key, host.backend.hostname) == host.backend.hostname
