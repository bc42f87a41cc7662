"""sshd keeps what it had, refuses to be led astray, and gets its old configuration back when nobody can log in."""

from __future__ import annotations

import base64
import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import sshd_restore
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit
from people import Person
from testinfra.host import Host

pytestmark = pytest.mark.only_on("dt")  # the newest sshd

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
    assert "maxstartups 500:30:1000" in after


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
            "iptables -N nobody-new && iptables -A nobody-new ! -i lo -p tcp --dport 22 --syn -j DROP && "
            f"mkdir -p /run/systemd/system/ssh.service.d && {TOGGLE.strip()} && systemctl daemon-reload"
        )
        before = host.check_output(EVERYTHING)
    try:
        done = converge(docker_ssh_max_sessions=30, docker_ssh_confirm_timeout=6, ansible_ssh_timeout=10)
        assert "sshd's new configuration was not kept: the engine had put the previous one back already" in done.said
        assert alice.gets_in(name)
        with host.sudo():
            assert host.check_output(EVERYTHING) == before
            assert "restoring" in host.check_output("journalctl -t docker-ssh --output cat").splitlines()[-1]
            assert "500" in host.check_output(f"grep MaxSessions {DROP_IN}")
    finally:
        with host.sudo():
            host.run("rm /run/systemd/system/ssh.service.d/test.conf; systemctl daemon-reload; systemctl reload ssh")
            host.run("iptables -D INPUT -j nobody-new; iptables -F nobody-new; iptables -X nobody-new")


def test_a_change_that_was_never_confirmed_is_undone_by_the_next_run(host: Host, converge: Any) -> None:
    """Journal and old files are there, and nothing that waits."""
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
            done = converge(docker_ssh_state="absent", docker_ssh_absent_names=["all"])
            assert (done.failed, done.changed) == (0, 1), done.said
            host.check_output("sha256sum --check /root/sum")
            leftovers = (
                "ls -d /etc/ssh/docker-ssh /var/lib/docker-ssh /usr/local/lib/bulkhead /etc/systemd/system/docker.s*.d"
            )
            assert host.run(leftovers).stdout == ""
            assert host.run("getent group docker-ssh || getent passwd docker-alice").rc != 0
            assert not alice.gets_in(name)
            assert converge(docker_ssh_state="absent", docker_ssh_absent_names=["all"]).changed == 0
        finally:
            host.check_output("cp -p /root/sshd_config /etc/ssh/sshd_config && systemctl reload ssh")
    done = converge()
    assert (done.failed, done.changed) == (0, 1), done.said
    assert alice.gets_in(name)


@pytest.fixture
def pam(host: Host) -> Iterator[Callable[[str], None]]:
    """One more account rule of PAM for sshd, as its first."""

    def write(rule: str) -> None:
        with host.sudo():
            host.check_output(f"cp -p /etc/pam.d/sshd /root/pam-sshd && sed -i '1i {rule}' /etc/pam.d/sshd")

    yield write
    with host.sudo():
        host.run("test ! -e /root/pam-sshd || mv /root/pam-sshd /etc/pam.d/sshd")
        host.run("rm -f /etc/security/test-access.conf")


def with_dave(lab: Any) -> list[dict[str, Any]]:
    keys = {name: (lab.folder / f"{name}.pub").read_text().strip() for name in ("alice", "bob")}
    return [
        {"name": "docker-alice", "comment": "Alice of the platform team", "public_keys": [keys["alice"]]},
        {"name": "docker-dave", "public_keys": [keys["bob"]]},
    ]


@pytest.mark.only_on("d12")
def test_pam_rules_that_keep_accounts_out_are_named_before_anything_is_changed(
    host: Host, converge: Any, pam: Any, lab: Any
) -> None:
    """B26."""
    with host.sudo():
        host.check_output("printf '+:root ops:ALL\\n-:ALL:ALL\\n' >/etc/security/test-access.conf")
        pam("account required pam_access.so accessfile=/etc/security/test-access.conf")
        before = host.check_output(f"{EVERYTHING}; getent passwd")
        done = converge(ssh_declared=with_dave(lab))
        assert "PAM would keep docker-alice out: /etc/pam.d/sshd:1 asks pam_access" in done.said
        assert "/etc/security/test-access.conf:2 says" in done.said
        assert host.check_output(f"{EVERYTHING}; getent passwd") == before


@pytest.mark.only_on("d13")
def test_what_only_a_login_shows_takes_back_what_was_given(
    host: Host, converge: Any, pam: Any, lab: Any, alice: Person, name: str
) -> None:
    """B26."""
    if not host.exists("ssh"):
        pytest.skip("this host has no ssh to try the login with")
    pam("account required pam_succeed_if.so user notin docker-x:docker-dave")
    with host.sudo():
        before = host.check_output(f"{EVERYTHING}; getent passwd")
        done = converge(ssh_declared=[*with_dave(lab)[1:], *with_dave(lab)[:1]], docker_ssh_max_sessions=30)
        assert "nobody can log in to docker-dave on this host" in done.said
        assert "pam" in done.said.lower().partition("its log says")[2], done.said
        after = host.check_output(f"{EVERYTHING}; getent passwd")
        assert "docker-dave" not in after
        assert host.check_output(f"grep MaxSessions {DROP_IN}").split() == ["MaxSessions", "500"]
    assert alice.gets_in(name)
    assert len(after) <= len(before)


def test_a_host_without_an_ssh_client_is_told_that_no_login_was_tried(
    host: Host, converge: Any, alice: Person, name: str
) -> None:
    """In Debian, openssh-server 10.3 and later comes without one."""
    with host.sudo():
        client = host.find_command("ssh") if host.exists("ssh") else ""
        host.check_output(f"test -z '{client}' || mv '{client}' /root/ssh")
        try:
            done = converge(docker_ssh_max_sessions=30)
        finally:
            host.check_output(f"test -z '{client}' || mv /root/ssh '{client}'")
    assert (done.failed, done.changed) == (0, 1), done.said
    assert "ssh is not installed on this host, so that no login to the accounts is tried there" in done.warnings
    assert alice.gets_in(name)
    assert converge().changed == 1


@pytest.mark.only_on("d11")
def test_an_sshd_for_each_connection_needs_no_reload(host: Host, converge: Any, alice: Person, name: str) -> None:
    """B14: as in Debian 12 and before with ssh.socket enabled."""
    if "Accept=yes" not in host.check_output("systemctl show ssh.socket --property Accept"):
        pytest.skip("this release has one sshd behind its socket")
    # Both units of Debian 11 have the runtime directory /run/sshd. The end of the last session of ssh@.service would
    # take it away from under ssh.service, and with it every login, once this test has gone back to that.
    folder = "/run/systemd/system/ssh@.service.d"
    with host.sudo():
        host.check_output(
            f"mkdir {folder} && printf '[Service]\\nRuntimeDirectoryPreserve=yes\\n' >{folder}/preserve.conf"
        )
        host.check_output("systemctl daemon-reload")
        host.check_output("systemctl stop ssh.service && systemctl start ssh.socket")
        try:
            done = converge(docker_ssh_max_sessions=40)
            assert (done.failed, done.changed) == (0, 1), done.said
            assert alice.gets_in(name)
            limits = host.check_output("systemctl show ssh.socket --property MaxConnections")
            assert limits == "MaxConnections=1000"
            assert converge(docker_ssh_max_sessions=40).changed == 0
        finally:
            host.check_output("systemctl stop ssh.socket && systemctl start ssh.service")
    assert converge().failed == 0


def test_modes_do_not_depend_on_root_s_umask(host: Host, converge: Any, alice: Person, name: str) -> None:
    """B07: neither in a first run nor in one that finds folders which are closed to the accounts."""
    folders = "/etc/ssh/docker-ssh /etc/ssh/docker-ssh/keys /usr/local/lib/bulkhead /var/lib/docker-ssh"
    with host.sudo():
        host.check_output("echo 'Defaults umask=0077, umask_override' >/etc/sudoers.d/zz-umask")
        try:
            assert converge(docker_ssh_state="absent", docker_ssh_absent_names=["all"]).failed == 0
            assert host.run(f"ls -d {folders}").stdout == ""
            assert converge().failed == 0
            assert set(host.check_output(f"stat --format %a {folders}").split()) == {"755"}
            assert alice.gets_in(name)
            host.check_output(f"chmod 700 {folders}")
            assert not alice.gets_in(name)
            done = converge()
            assert (done.failed, done.changed) == (0, 1), done.said
            assert alice.gets_in(name)
        finally:
            host.check_output("rm /etc/sudoers.d/zz-umask")


def test_systemd_undoes_before_sshd_what_was_not_confirmed(host: Host, converge: Any) -> None:
    """The unit that a change leaves for the next boot, beside a socket of sshd's."""
    del converge
    unit, folder = sshd_restore.BOOT_UNIT.name, sshd_restore.JOURNAL.parent
    old, new = (f"/etc/ssh/sshd_config.d/.00-docker-ssh.conf.bulkhead-{which}" for which in ("old", "new"))
    journal = {"files": [{"path": DROP_IN, "old": old, "new": new, "existed": True}], "reload": ["false"]}
    program = pathlib.Path(sshd_restore.__file__).read_bytes()
    text = commit.boot_unit([pathlib.Path(DROP_IN)])
    python = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert python
    with host.sudo():
        before = host.check_output(f"cat {DROP_IN}")
        host.check_output(f"cp -p {DROP_IN} {old} && echo '# half' >>{DROP_IN}")
        host.check_output(f"install --directory --mode 0700 {folder}")
        write(host, f"{folder}/journal.json", json.dumps(journal).encode())
        write(host, f"{folder}/restore.py", program)
        write(host, str(sshd_restore.BOOT_UNIT), text.replace(python.group(1), "/usr/bin/python3").encode())
        host.check_output(f"mkdir -p {sshd_restore.BOOT_LINK.parent} /run/systemd/system/sockets.target.wants")
        host.check_output(f"ln -sf {sshd_restore.BOOT_UNIT} {sshd_restore.BOOT_LINK}")
        socket = "/run/systemd/system/sockets.target.wants/ssh.socket"
        try:
            host.check_output(f"ln -sf /lib/systemd/system/ssh.socket {socket} && systemctl daemon-reload")
            said = host.run("systemd-analyze verify --man=no multi-user.target")
            assert "cycle" not in said.stdout + said.stderr
            host.check_output(f"systemctl start {unit}")
        finally:
            host.check_output(
                f"rm -f {socket} {sshd_restore.BOOT_LINK} {sshd_restore.BOOT_UNIT}; systemctl daemon-reload"
            )
        assert host.check_output(f"cat {DROP_IN}") == before
        assert not host.file(str(folder)).exists


def write(host: Host, path: str, content: bytes) -> None:
    host.check_output(f"echo {base64.b64encode(content).decode()} | base64 -d >{path}")
