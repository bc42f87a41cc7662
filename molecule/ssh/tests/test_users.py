"""Access ends when it should, within the run."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from people import Converge, Done, Person
from testinfra.host import Host

pytestmark = pytest.mark.only_on("d11")  # the oldest Python


def public_key(lab: Any, name: str) -> str:
    return str((lab.folder / f"{name}.pub").read_text()).strip()


@pytest.fixture
def users(converge: Converge) -> Callable[..., Done]:
    """Give the role another list of users on this host."""

    def run(*entries: dict[str, Any], changed: int = 1) -> Done:
        done = converge(ssh_declared=entries)
        assert (done.failed, done.changed) == (0, changed), done.said
        return done

    return run


def open_session(person: Person, engine: str) -> subprocess.Popen[bytes]:
    command = person.ssh(engine, "docker", "system", "dial-stdio")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin and process.stdout
    process.stdin.write(b"GET /events HTTP/1.1\r\nHost: docker\r\n\r\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"HTTP/1.1 200 OK\r\n"
    return process


def test_access_ends_within_the_run(host: Host, lab: Any, users: Any, alice: Person, name: str) -> None:
    """Of a user who leaves and of a key that leaves; a container that runs under the same number is not touched."""
    keep = {"name": "docker-alice", "public_keys": [public_key(lab, "alice"), public_key(lab, "mallory")]}
    dave = {"name": "docker-dave", "public_keys": [public_key(lab, "bob")]}
    second = Person(lab, "docker-alice", "mallory")
    leaver = Person(lab, "docker-dave", "bob")
    users(keep, dave)
    sessions = {who: open_session(who, name) for who in (leaver, second)}
    with host.sudo():
        uid = host.check_output("id --user docker-dave")
        host.check_output(f"docker run --detach --rm --user {uid} --name same-number bulkhead/busybox")
    try:
        users(keep)
        assert sessions[leaver].wait(timeout=60) != 0
        assert not leaver.gets_in(name)
        assert host.run("getent passwd docker-dave").rc != 0
        assert sessions[second].poll() is None, "alice was not touched"
        with host.sudo():
            assert host.check_output("docker inspect --format '{{.State.Running}}' same-number") == "true"

        users({"name": "docker-alice", "public_keys": [public_key(lab, "alice")]})
        assert sessions[second].wait(timeout=60) != 0
        assert not second.gets_in(name)
        assert alice.gets_in(name)
    finally:
        for process in sessions.values():
            process.kill()
            process.communicate()
        with host.sudo():
            host.check_output("docker rm --force same-number")


def test_one_account_is_taken_whatever_is_known_of_the_others(
    host: Host, lab: Any, users: Any, converge: Converge, alice: Person, name: str
) -> None:
    users(
        {"name": "docker-alice", "public_keys": [public_key(lab, "alice")]},
        {"name": "docker-dave", "public_keys": [public_key(lab, "bob")]},
    )
    session, kept = open_session(Person(lab, "docker-dave", "bob"), name), open_session(alice, name)
    sshd = "sha256sum /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*; systemctl show ssh --property MainPID"
    try:
        before = host.check_output(sshd)
        taken = {"docker_ssh_state": "absent", "docker_ssh_absent_names": ["docker-dave", "docker-nobody"]}
        assert converge("--check", **taken).changed == 1
        assert session.poll() is None
        done = converge(**taken)
        assert (done.failed, done.changed) == (0, 1), done.said
        assert session.wait(timeout=60) != 0
        assert not Person(lab, "docker-dave", "bob").gets_in(name)
        assert host.run("getent passwd docker-dave").rc != 0
        assert kept.poll() is None
        assert alice.gets_in(name)
        assert host.check_output(sshd) == before
        assert converge(**taken).changed == 0
        assert "cannot be the name of an account" in converge(**{**taken, "docker_ssh_absent_names": ["../x"]}).said
    finally:
        for process in (session, kept):
            process.kill()
            process.communicate()


def test_absent_and_expired_users_have_no_account(host: Host, lab: Any, users: Any, alice: Person, name: str) -> None:
    key = [public_key(lab, "bob")]
    users({"name": "docker-a", "public_keys": key}, {"name": "docker-b", "public_keys": key})
    done = users(
        {"name": "docker-a", "public_keys": key, "state": "absent"},
        {"name": "docker-b", "public_keys": key, "expires": "2020-02-02T12:00:00+02:00"},
        {"name": "docker-alice", "public_keys": [public_key(lab, "alice")]},
    )
    assert "the time of docker-b is over" in done.warnings
    assert host.run("getent passwd docker-a || getent passwd docker-b").rc != 0
    assert host.check_output("ls /etc/ssh/docker-ssh/keys") == "docker-alice"
    assert alice.gets_in(name)


def test_sshd_itself_ends_access_at_the_given_moment(host: Host, lab: Any, users: Any, name: str) -> None:
    with host.sudo():
        host.check_output("ln -sf /usr/share/zoneinfo/Etc/GMT-3 /etc/localtime")  # an engine far from UTC
    end = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(hours=1)
    guest = Person(lab, "docker-guest", "bob")
    keys = "/etc/ssh/docker-ssh/keys/docker-guest"
    try:
        users({"name": "docker-guest", "public_keys": [public_key(lab, "bob")], "expires": end.isoformat()})
        assert guest.gets_in(name)
        with host.sudo():
            written = host.check_output(f"date --date @{int(end.timestamp())} +%Y%m%d%H%M%S")
            host.check_output(f"grep --quiet 'expiry-time=\"{written}\"' {keys}")
            # The moment is over: what was written, moved to a minute ago.
            host.check_output(f"sed -i s/{written}/$(date --date '1 minute ago' +%Y%m%d%H%M%S)/ {keys}")
        assert not guest.gets_in(name)
    finally:
        with host.sudo():
            host.check_output("rm /etc/localtime")


def test_an_account_that_was_changed_is_mended(host: Host, lab: Any, users: Any) -> None:
    entry: dict[str, Any] = {"name": "docker-alice", "public_keys": [public_key(lab, "alice")]}
    users({**entry, "comment": "as it shall be"})
    entry["comment"] = "as it shall be"
    with host.sudo():
        host.check_output("usermod --groups docker --home /tmp --password x docker-alice")
        host.check_output("chown docker-alice /etc/ssh/docker-ssh/keys/docker-alice")
        users(entry)
        assert host.check_output("id --name --groups docker-alice") == "docker-ssh docker-ssh-admin"
        assert host.check_output("getent shadow docker-alice").split(":")[1] == "*"
        assert host.user("docker-alice").home == "/var/lib/docker-ssh"
        assert host.file("/etc/ssh/docker-ssh/keys/docker-alice").user == "root"
    users(entry, changed=0)


def test_strangers_in_the_group_are_refused(host: Host, converge: Converge, name: str) -> None:
    with host.sudo():
        host.check_output("gpasswd --add ops docker-ssh")
        try:
            assert "has members that the role did not make: ops" in converge().said
        finally:
            host.check_output("gpasswd --delete ops docker-ssh")


def test_the_scenario_s_own_users_are_back(converge: Converge, bob: Person, name: str) -> None:
    assert converge().failed == 0
    assert bob.gets_in(name)
