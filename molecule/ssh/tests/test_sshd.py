"""sshd keeps what it had, refuses to be led astray, and gets its old configuration back when nobody can log in."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Person
from testinfra.host import Host

DROP_IN = "/etc/ssh/sshd_config.d/00-docker-ssh.conf"
OTHERS = "for user in root ops nobody; do sshd -T -C user=$user,host=x,addr=192.0.2.1,laddr=192.0.2.2,lport=22; done"
EVERYTHING = "find /etc /usr/local/lib/bulkhead /var/lib/bulkhead -type f | sort | xargs sha256sum"


@pytest.fixture
def foreign(host: Host) -> Iterator[Callable[[str, str], None]]:
    """Somebody else's file of sshd, which it has not read yet."""
    written = []

    def write(name: str, text: str) -> None:
        written.append(f"/etc/ssh/sshd_config.d/{name}")
        with host.sudo():
            host.check_output(f"printf '{text}' >{written[-1]}")

    yield write
    with host.sudo():
        host.check_output(f"rm -f {' '.join(written)}")


def test_check_mode_foresaw_it(lab: Any, name: str) -> None:
    said = (lab.folder / "check.txt").read_text(encoding="utf-8")
    assert "failed=0" in said
    assert len(re.findall(r"changed=[1-9]", said)) == len(lab.engines)
    for text in (
        "+docker-alice (Alice of the platform team)",
        "+    ForceCommand",
        "+++ after: access to /run/docker.sock",
    ):
        assert said.count(text) >= 1
    assert "PRIVATE KEY" not in said


def test_check_mode_after_it_says_that_nothing_is_left_to_do(converge: Any) -> None:
    done = converge("--check", "--diff")
    assert (done.failed, done.changed) == (0, 0), done.said


def test_other_users_keep_their_settings(host: Host) -> None:
    with host.sudo():
        before = host.file("/root/before-sshd").content_string.lower().splitlines()
        after = host.check_output(OTHERS).lower().splitlines()
    differing = {line.split()[0] for line in set(before) ^ set(after)}
    assert differing <= {"maxstartups", "persourcepenaltyexemptlist"}
    assert "maxstartups 100:30:200" in after


def test_there_is_one_include_and_it_is_the_distribution_s(host: Host) -> None:
    assert host.check_output("grep --count --ignore-case ^include /etc/ssh/sshd_config") == "1"


def test_other_matches_do_no_harm(host: Host, converge: Any, foreign: Any) -> None:
    foreign("50-site.conf", r"Match User root\n  PermitTTY yes\nMatch Group docker-ssh\n  PermitTTY yes\n")
    done = converge()
    assert (done.failed, done.changed) == (0, 0), done.said


TOGGLE = r"""
printf '[Service]\nExecReload=-/bin/sh -c "iptables -D INPUT -j nobody-new || iptables -I INPUT -j nobody-new"\n' \
  >/run/systemd/system/ssh.service.d/test.conf
"""


def test_a_configuration_that_lets_nobody_in_is_undone_by_the_engine(
    host: Host, converge: Any, alice: Person, name: str
) -> None:
    """With the first reload new connections are dropped, with the second, which is the engine's own, no longer."""
    with host.sudo():
        host.check_output(
            "iptables -N nobody-new && iptables -A nobody-new -p tcp --dport 22 --syn -j DROP && "
            f"mkdir -p /run/systemd/system/ssh.service.d && {TOGGLE.strip()} && systemctl daemon-reload"
        )
        before = host.check_output(EVERYTHING)
        start = time.monotonic()
    try:
        done = converge(docker_ssh_max_sessions=30, docker_ssh_confirm_timeout=6, ansible_ssh_timeout=2)
        assert "sshd's new configuration was not kept: the engine had put the previous one back already" in done.said
        assert time.monotonic() - start < 40
        assert alice.gets_in(name)
        with host.sudo():
            assert host.check_output(EVERYTHING) == before
            assert "restoring" in host.check_output("journalctl -t docker-ssh --output cat").splitlines()[-1]
            assert "20" in host.check_output(f"grep MaxSessions {DROP_IN}")
    finally:
        with host.sudo():
            host.run("rm /run/systemd/system/ssh.service.d/test.conf; systemctl daemon-reload; systemctl reload ssh")
            host.run("iptables -D INPUT -j nobody-new; iptables -F nobody-new; iptables -X nobody-new")


def test_a_change_that_was_never_confirmed_is_undone_by_the_next_run(host: Host, converge: Any) -> None:
    """As after a reboot, which takes the timer away: journal and old files are there, and nothing that waits."""
    with host.sudo():
        before = host.check_output(f"cat {DROP_IN}")
        host.check_output(
            f"cp -p {DROP_IN} /etc/ssh/sshd_config.d/.00-docker-ssh.conf.bulkhead-old && echo '# half' >>{DROP_IN}"
        )
        old, new = (f"/etc/ssh/sshd_config.d/.00-docker-ssh.conf.bulkhead-{which}" for which in ("old", "new"))
        journal = {
            "files": [{"path": DROP_IN, "old": old, "new": new, "existed": True}],
            "reload": ["systemctl", "reload", "ssh.service"],
            "connection": None,
        }
        host.check_output(
            "install --directory --mode 0700 /var/lib/bulkhead/sshd && "
            f"echo '{json.dumps(journal)}' >/var/lib/bulkhead/sshd/journal.json"
        )
        done = converge()
        assert (done.failed, done.changed) == (0, 1), done.said
        assert host.check_output(f"cat {DROP_IN}") == before
        assert host.check_output("ls -A /etc/ssh/sshd_config.d | grep bulkhead-; true") == ""
        assert not host.file("/var/lib/bulkhead/sshd").exists


def test_the_include_is_added_where_it_is_missing_and_taken_away_again(
    host: Host, converge: Any, alice: Person, name: str
) -> None:
    with host.sudo():
        host.check_output("cp -p /etc/ssh/sshd_config /root/sshd_config && sed -i '/^Include/d' /etc/ssh/sshd_config")
        host.check_output("sha256sum /etc/ssh/sshd_config >/root/sum; systemctl reload ssh")
        try:
            assert not alice.gets_in(name)
            done = converge()
            assert (done.failed, done.changed) == (0, 1), done.said
            assert host.check_output("head -1 /etc/ssh/sshd_config").startswith(f"Include {DROP_IN}  #")
            assert alice.gets_in(name)
            done = converge(docker_ssh_state="absent")
            assert (done.failed, done.changed) == (0, 1), done.said
            host.check_output("sha256sum --check /root/sum")
            leftovers = (
                "ls -d /etc/ssh/docker-ssh /var/lib/docker-ssh /usr/local/lib/bulkhead /etc/systemd/system/docker.s*.d"
            )
            assert host.run(leftovers).stdout == ""
            assert host.run("getent group docker-ssh || getent passwd docker-alice").rc != 0
            assert not alice.gets_in(name)
            assert converge(docker_ssh_state="absent").changed == 0
        finally:
            host.check_output("cp -p /root/sshd_config /etc/ssh/sshd_config && systemctl reload ssh")
    done = converge()
    assert (done.failed, done.changed) == (0, 1), done.said
    assert alice.gets_in(name)
