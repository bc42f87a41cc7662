"""What comes after the first run. The tests follow each other on the same engines, in this order."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import typing as t

import pytest
import testinfra
from accepted import accepted
from line import Line
from printed import said
from watch import Watch

PID = "docker inspect --format '{{.State.Pid}}' keep"
GAP = 1.0
GAP_OF_SERVICE = 3.0  # a service script waits a while between stop and start
# How much longer than one by hand a restart of ours may be where that takes longer than these.
AS_BY_HAND = 1.5
RENEW, ROTATE, REVOKE = "bulkhead.docker.renew", "bulkhead.docker.rotate_ca", "bulkhead.docker.revoke_client"
REMOVE, SITE, VERIFY = "bulkhead.docker.remove", "bulkhead.docker.site", "bulkhead.docker.verify"
BY_ROTATION = ("-e", "docker_revoke_name=eve", "-e", "docker_revoke_by_rotation=true")
# The successor has another type of key.
P384 = ("-e", "docker_ca_key_type=P-384")
# Revoked names are still in the inventory.
SKIP = ("-e", "docker_client_skip_revoked=true")

CA_HOST = "keeper"
CA_FOLDER = "/home/ops/.bulkhead/ca"
LEFT_BEHIND = "l13"
LEAVING = ("-e", json.dumps({"docker_rotate_exclude": [LEFT_BEHIND]}))
WITHOUT_SYSTEMD = "s12"  # and so without accounts
OVER_SSH = ("l12", "l13", "lt")


def on(lab: t.Any, name: str) -> t.Any:
    return testinfra.get_host(f"ansible://{name}?ansible_inventory={lab.folder / 'inventory.yml'}")


def root(lab: t.Any, name: str, script: str) -> str:
    host = on(lab, name)
    with host.sudo():
        return str(host.check_output("sh -c %s", script))


def sudo(lab: t.Any, script: str, but: str = "") -> dict[str, str]:
    """What each engine answers."""
    return {name: root(lab, name, script) for name in lab.engines if name != but}


def outside(name: str, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command on a host of the lab; not through Ansible, which writes what it runs to the journal."""
    command = ["docker", "exec", "--interactive", f"bulkhead-lifecycle-{name}", "sh", "-c", script]
    environment = {**os.environ, "DOCKER_CONTEXT": "default"}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)


def line_of_ansible(action: str) -> None:
    """Cuts the control node off from the sshd of an engine, with `insert`, or brings it back, with `delete`."""
    gateway = "$(ip route | awk '/^default/ {print $3}')"
    rule = f"INPUT --source {gateway} --protocol tcp --dport 22 --jump REJECT --reject-with tcp-reset"
    outside(LEFT_BEHIND, f"iptables --{action} {rule}").check_returncode()


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return " ".join(done.stdout.split())


def says(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    printed = (done.stdout + done.stderr)[-6000:]
    assert done.returncode != 0, printed
    assert sentence in said(done), printed


def below(lab: t.Any, name: str, folder: str) -> str:
    """A folder with all that is in it; nothing where it has gone."""
    return root(lab, name, f"find {folder} 2>/dev/null || true")


def ca_files(lab: t.Any) -> str:
    """Sums and names, but for the lock's, which is empty."""
    return root(lab, CA_HOST, f"cd {CA_FOLDER} && find . -type f ! -name .lock -exec sha256sum {{}} + | sort --key 2")


def phase(lab: t.Any) -> str:
    return root(lab, CA_HOST, f"cat {CA_FOLDER}/rotation 2>/dev/null || echo none").strip()


@pytest.fixture
def ghost(lab: t.Any) -> t.Iterator[tuple[str, ...]]:
    """An engine that does not answer, as a second inventory."""
    path = lab.folder / "ghost.yml"
    path.write_text("docker_engines: {hosts: {ghost: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n", encoding="ascii")
    yield ("-i", str(path))
    path.unlink()


def test_a_renewal_leaves_alone_what_is_not_due(lab: t.Any) -> None:
    before = ca_files(lab)
    said = succeeds(lab.playbook(RENEW, ANSIBLE_SHOW_CUSTOM_STATS="true"))
    summary = (
        r"4 engines, 6 identities; nothing to change; the first certificate ends in 36\d days \(\S+\); no problems"
    )
    assert len(re.findall(summary, said)) == 2, said  # printed, and kept for AWX
    assert re.search(r'docker_report"?:', said), said
    assert re.search(r"lt \S+ tcp://\S+:2376 364 ok", said), said
    assert ca_files(lab) == before
    assert lab.executions("renew.yml")[-1]["changed"] == {}


def test_a_renewal_does_what_it_can_and_its_exit_code_tells_the_rest(lab: t.Any, ghost: tuple[str, ...]) -> None:
    serving = "echo | openssl s_client -connect localhost:2376 2>/dev/null | openssl x509 -noout -serial"
    before = sudo(lab, serving)
    done = lab.playbook(*ghost, RENEW, "-e", "docker_renew_force=true")
    says(done, "changed: l12, l13, lt, s12, localhost;")
    says(done, "FAILED: ghost. ghost: it cannot be reached.")
    after = sudo(lab, serving)
    assert all(before[name] != after[name] for name in lab.engines)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")


def test_a_rotation_is_refused_before_it_shuts_somebody_out(lab: t.Any, ghost: tuple[str, ...]) -> None:
    before = ca_files(lab)
    says(lab.playbook(*ghost, ROTATE), "these hosts would be shut out. ghost: it cannot be reached.")
    says(lab.playbook(ROTATE, "--limit", "l12"), "takes no --limit")
    wrong = lab.folder / "wrong.yml"
    wrong.write_text("docker_ca_passphrase: another than that\n", encoding="ascii")
    says(lab.playbook(ROTATE, "-e", f"@{wrong}"), "cannot be read with the docker_ca_passphrase that was given")
    says(lab.playbook(ROTATE, "-e", "docker_ca_passphrase=shown"), "docker_ca_passphrase is on the command line")
    says(lab.playbook(REVOKE, "-e", "docker_revoke_name=mallory"), "has never issued a client certificate for mallory")
    assert ca_files(lab) == before


def assert_the_passphrase_is_a_secret(lab: t.Any) -> None:
    """It opens the key of the CA, and is in no file of the CA host, not even in its journal."""
    passphrase = (lab.home / "passphrase").read_text(encoding="ascii")
    keys = root(lab, CA_HOST, f"find {CA_FOLDER} -name '*key*'").splitlines()
    assert keys == [f"{CA_FOLDER}/ca-key.pem"]
    key = root(lab, CA_HOST, f"cat {keys[0]}")
    for given, opens in ((passphrase, True), ("another than that", False), ("", False)):
        command = ["openssl", "pkey", "-passin", "env:GIVEN", "-noout"]
        done = subprocess.run(command, input=key, capture_output=True, text=True, env={**os.environ, "GIVEN": given})
        assert (done.returncode == 0) == opens, done.stderr
    # What is planted has to be found the same way. The journal compresses long entries, so that its files tell nothing.
    control, planted = "planted to be found", "/var/tmp/control"
    plant = f"cat >{planted} && systemd-cat --identifier=control cat {planted} && journalctl --sync"
    outside(CA_HOST, plant, f"{control}{'.' * 2000}\n").check_returncode()
    grep, patterns = "grep --fixed-strings", f"{passphrase.strip()}\n{control}\n"
    folders = "/etc /home /root /run /tmp /var --exclude-dir=docker --exclude-dir=journal"
    search = f"{grep} --recursive --files-with-matches --file=- --devices=skip {folders}"
    found = outside(CA_HOST, search, patterns)
    assert found.stdout.split() == [planted], found.stderr
    search = f"{grep} --only-matching --file=/dev/fd/3 | sort --unique"
    found = outside(CA_HOST, f"exec 3<&0; journalctl --all --output=verbose --no-pager --quiet | {search}", patterns)
    assert found.stdout.splitlines() == [control], found.stderr


def test_the_key_of_the_ca_has_a_passphrase(lab: t.Any) -> None:
    assert_the_passphrase_is_a_secret(lab)


def test_what_an_engine_refuses_is_refused_before_anything_is_changed_anywhere(lab: t.Any) -> None:
    shut_out = "/etc/ssh/sshd_config.d/50-lab.conf"
    with on(lab, "lt").sudo():
        on(lab, "lt").check_output(f"echo DenyUsers docker-admin >{shut_out}")
    state = "find /etc -type f -newer /root/keep.pid -exec sha256sum {} + | sort"
    before, ca = sudo(lab, state), ca_files(lab)
    changes = json.dumps({"docker_engine_daemon_options": {"debug": True}})
    try:
        done = lab.playbook(SITE, "-e", changes, "-e", "docker_ssh_enabled=true")
        says(done, "this host does not run systemd")
        says(done, f"DenyUsers in {shut_out}:1 keeps docker-admin out; take it out there.")
        assert (sudo(lab, state), ca_files(lab)) == (before, ca)
    finally:
        with on(lab, "lt").sudo():
            on(lab, "lt").check_output(f"rm {shut_out}")


CLIENT = "l12"  # which comes over SSH, too
OLD_KEY = "ssh -F none -o BatchMode=yes -o UserKnownHostsFile=/tmp/old/bulkhead.known_hosts -i /tmp/old/{identity}"


def lets_in(lab: t.Any, engine: str, identity: str) -> bool:
    """Whether the copy of a key that somebody made before is still good for the API over SSH."""
    login = f"{OLD_KEY.format(identity=identity)} docker-{identity}@{lab.address(engine)}"
    request = r"printf 'GET /_ping HTTP/1.0\r\n\r\n'"
    done = on(lab, CLIENT).run(f"{request} | {login} docker system dial-stdio || true")
    assert "200 OK" in done.stdout or "Permission denied" in done.stderr, done
    return "200 OK" in done.stdout


def over_ssh(lab: t.Any, engine: str) -> str:
    """Those of the identities that an engine lets in over SSH."""
    return " ".join(name for name in ("admin", "dave", "eve", "frank") if lets_in(lab, engine, name))


def over_tls(lab: t.Any, engine: str) -> str:
    """The same over TLS, with copies of keys and certificates."""
    old = lab.folder / "old"
    return " ".join(name for name in ("admin", "dave", "eve") if accepted(lab, engine, old / name))


def contexts(lab: t.Any, host: str, user: str) -> str:
    """Those of the engines; contexts of an engine that was in another inventory stay."""
    listed = root(lab, host, f"su {user} -c 'docker context ls --format {{{{.Name}}}}'").split()
    return " ".join(sorted(name for name in listed if name.partition("-")[0] in lab.engines))


@pytest.fixture(scope="module")
def copies(lab: t.Any) -> None:
    """Somebody has copied all keys: those of the control node to its folder `old`, the others to the client's."""
    old = lab.folder / "old"
    shutil.copytree(lab.home / ".bulkhead/identities", old)
    (old / "dave").mkdir()
    for name in ("cert.pem", "key.pem"):
        content = root(lab, CLIENT, f"cat /home/dave/.bulkhead/identities/dave/{name}")
        (old / "dave" / name).write_text(f"{content}\n", encoding="ascii")
    script = "cp -r ~ops/.bulkhead/ssh /tmp/old && cp ~dave/.bulkhead/ssh/dave /tmp/old && umask 077"
    key = on(lab, "lt").check_output("cat ~/.bulkhead/ssh/frank")
    root(lab, CLIENT, f"{script} && echo '{key}' >/tmp/old/frank && chown -R ops: /tmp/old")


def test_an_identity_that_uses_ssh_alone_is_revoked_without_a_rotation(lab: t.Any, copies: None) -> None:
    assert contexts(lab, "lt", "ops") == "l12-ssh l13-ssh lt-ssh"
    assert on(lab, "lt").check_output("docker --context l13-ssh ps --quiet --filter name=keep")
    assert on(lab, "lt").check_output("ls -A ~/.bulkhead") == "ssh"
    assert {over_ssh(lab, engine) for engine in OVER_SSH} == {"admin dave eve frank"}
    certificates = "sha256sum /etc/docker/tls/*"
    before = sudo(lab, certificates)
    done = lab.playbook(REVOKE, "-e", "docker_revoke_name=frank", "-e", "docker_revoke_by_rotation=true")
    assert "certificates of frank" not in succeeds(done)
    assert (phase(lab), sudo(lab, certificates)) == ("none", before)
    assert {over_ssh(lab, engine) for engine in OVER_SSH} == {"admin dave eve"}
    assert (contexts(lab, "lt", "ops"), below(lab, "lt", "/home/ops/.bulkhead")) == ("", "")


def test_an_os_user_loses_his_identity_and_the_other_one_of_the_host_keeps_it(lab: t.Any) -> None:
    assert contexts(lab, CLIENT, "dave") == "l12 l12-ssh l13 l13-ssh lt lt-ssh s12"
    theirs = contexts(lab, CLIENT, "ops")
    said = succeeds(lab.playbook(REVOKE, "-e", "docker_revoke_name=dave"))
    assert re.search(r"Engines still accept \d certificates of dave", said), said
    assert (contexts(lab, CLIENT, "dave"), below(lab, CLIENT, "/home/dave/.bulkhead")) == ("", "")
    assert contexts(lab, CLIENT, "ops") == theirs
    assert {over_ssh(lab, engine) for engine in OVER_SSH} == {"admin eve"}
    assert {over_tls(lab, engine) for engine in lab.engines} == {"admin dave eve"}, "with TLS only a rotation ends it"


def test_a_revocation_ends_ssh_at_once_whoever_does_not_answer(lab: t.Any) -> None:
    laptop = lab.folder / "laptop.yml"  # a client that was stolen
    laptop.write_text(
        "docker_clients: {hosts: {laptop: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n", encoding="ascii"
    )
    line_of_ansible("insert")
    done = lab.playbook("-i", str(laptop), REVOKE, "-e", "docker_revoke_name=eve")
    laptop.unlink()
    says(done, "FAILED: l13, laptop. l13: it cannot be reached. laptop: it cannot be reached.")
    says(done, "of eve, because dockerd reads no revocation list")
    assert {engine: over_ssh(lab, engine) for engine in OVER_SSH} == {"l12": "admin", "l13": "admin eve", "lt": "admin"}
    assert {over_tls(lab, engine) for engine in lab.engines} == {"admin dave eve"}


def kill(lab: t.Any, begin: str, mark: str, count: int, *arguments: str) -> None:
    """Runs a playbook until it has printed a mark so many times after a first one, and kills it and all its workers."""
    playbook = subprocess.Popen(
        lab.playbook_command(*arguments),
        env=lab.environment(),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert playbook.stdout
    seen: list[str] = []
    begun, found = False, 0
    for line in playbook.stdout:
        seen.append(line)
        found += begun and mark in line
        begun = begun or begin in line
        if found == count:
            time.sleep(0.4)  # into the task
            break
    os.killpg(playbook.pid, signal.SIGKILL)
    playbook.wait()
    assert found == count, "".join(seen[-60:])


def restarts_by_hand(lab: t.Any, engines: t.Sequence[str]) -> dict[str, float]:
    """How long each engine does not answer while somebody restarts dockerd there."""
    with Watch(lab, "admin", engines) as watch:
        for name in engines:
            restart = "service docker restart" if name == WITHOUT_SYSTEMD else "systemctl restart docker"
            assert outside(name, restart).returncode == 0
            time.sleep(3)
    seen = watch.outages()
    assert sorted(gap.engine for gap in seen) == sorted(engines), "each was away once"
    return {gap.engine: gap.seconds for gap in seen}


def test_the_ca_is_replaced_while_clients_work_and_the_run_is_killed_in_every_phase(
    lab: t.Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On all engines but one, which is left behind."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would replace our CA by the system's
        monkeypatch.delenv(variable, raising=False)
    enters, change = "rotate_ca | Enter the phase", "daemon | Change the engine as one transaction"
    reached = [name for name in lab.engines if name != LEFT_BEHIND]
    phases = []
    by_hand = restarts_by_hand(lab, reached)
    with Watch(lab, "admin", reached) as watch:
        says(lab.playbook(REVOKE, *BY_ROTATION, *P384), "these hosts would be shut out. l13: it cannot be reached.")
        for begin, mark, count, playbook in (
            ("PLAY [Take the CA to its next phase]", "rotate_ca | Create the successor", 1, (REVOKE, *BY_ROTATION)),
            (f"{enters} trust", change, 1, (REVOKE, *BY_ROTATION)),
            (f"{enters} reissue", change, 1, (ROTATE,)),
            (f"{enters} retire", change, 2, (ROTATE,)),
        ):
            kill(lab, begin, mark, count, *playbook, *P384, *LEAVING)
            phases.append(phase(lab))
        done = lab.playbook(REVOKE, *BY_ROTATION, *P384, *LEAVING)
        says(done, "FAILED: l13. l13: it was left out and lets eve in as before")
    assert phases == ["none", "trust", "reissue", "retire"]

    report = sorted(map(str, watch.gaps))
    with capsys.disabled():  # for the log of a run that went well, too
        print(f"\n{watch.asked} questions, {len(watch.gaps)} gaps: {', '.join(report)}; restarts by hand: {by_hand}")
    assert [gap for gap in watch.gaps if gap.refused] == []
    limits = {
        name: max(GAP_OF_SERVICE if name == WITHOUT_SYSTEMD else GAP, AS_BY_HAND * by_hand[name]) for name in reached
    }
    assert [gap for gap in watch.outages() if gap.seconds > limits[gap.engine]] == []
    assert watch.asked > 200
    assert sudo(lab, PID, but=LEFT_BEHIND) == sudo(lab, "cat /root/keep.pid", but=LEFT_BEHIND)

    assert root(lab, CA_HOST, f"ls -A {CA_FOLDER}").split() == [
        *(".lock", "ca-cert.pem", "ca-key.pem", "ca.pem", "crl.pem", "holders", "issued", "listed"),
        *("retired.pem", "revoked"),
    ]
    assert_the_passphrase_is_a_secret(lab)
    assert {engine: accepted(lab, engine, lab.identity) for engine in lab.engines} == {
        **dict.fromkeys(reached, True),
        LEFT_BEHIND: False,
    }
    assert {over_tls(lab, engine) for engine in reached} == {""}


def test_an_engine_that_was_left_behind_is_named_until_it_has_followed(lab: t.Any) -> None:
    assert (over_tls(lab, LEFT_BEHIND), over_ssh(lab, LEFT_BEHIND)) == ("admin dave eve", "admin eve")
    for playbook in (RENEW, VERIFY):
        says(lab.playbook(playbook), "FAILED: l13. l13: it cannot be reached.")
    before = ca_files(lab)
    says(lab.playbook(SITE, *P384, *SKIP), "l13 cannot be reached")

    line_of_ansible("delete")
    says(lab.playbook(VERIFY), "FAILED: l13. l13: ")
    done = lab.playbook(REVOKE, *BY_ROTATION, *P384)
    says(done, "FAILED: l13. l13: it may let eve in as before, because it trusts a CA that is not the present one")
    assert ca_files(lab) == before
    assert (over_tls(lab, LEFT_BEHIND), over_ssh(lab, LEFT_BEHIND)) == ("admin dave eve", "admin")

    said = succeeds(lab.playbook(SITE, *P384, *SKIP))
    assert "changed: l13" in said
    assert accepted(lab, LEFT_BEHIND, lab.identity)
    assert (over_tls(lab, LEFT_BEHIND), over_ssh(lab, LEFT_BEHIND)) == ("", "admin")
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")


def test_certificates_work_where_a_clock_is_five_minutes_off(lab: t.Any) -> None:
    """Asked of those that were made a moment ago, of which the validity could begin too late."""
    served = sudo(lab, "cat /etc/docker/tls/server-cert.pem")
    bundle = str(lab.identity / "ca.pem")
    for name, pem in served.items():
        (lab.folder / f"{name}.pem").write_text(pem)
    for certificate in (lab.identity / "cert.pem", *(lab.folder / f"{name}.pem" for name in served)):
        made = time.strptime(
            subprocess.check_output(
                ["openssl", "x509", "-in", str(certificate), "-noout", "-startdate"], text=True
            ).strip(),
            "notBefore=%b %d %H:%M:%S %Y %Z",
        )
        issued = int(time.mktime(made) - time.timezone) + 3600  # an hour before which it is valid already
        for moment in (issued - 300, issued + 300):
            command = ["openssl", "verify", "-x509_strict", "-attime", str(moment), "-CAfile", bundle]
            subprocess.run([*command, str(certificate)], check=True, capture_output=True)


def test_a_revoked_identity_is_gone_and_stays_so(lab: t.Any) -> None:
    assert not (lab.home / ".bulkhead/identities/eve").exists()
    listed = lab.docker("context", "ls", "--format", "{{.Name}}").split()
    assert {f"{engine}-admin" for engine in lab.engines} <= set(listed)
    assert [name for name in listed if name.endswith("-eve")] == []
    mine = "l12-admin l12-admin-ssh l13-admin l13-admin-ssh lt-admin lt-admin-ssh s12-admin"
    assert contexts(lab, CLIENT, "ops") == mine
    assert (contexts(lab, CLIENT, "dave"), contexts(lab, "lt", "ops")) == ("", "")
    for context in mine.split():
        assert on(lab, CLIENT).check_output(f"docker --context {context} ps --quiet --filter name=keep")
    assert {over_ssh(lab, engine) for engine in OVER_SSH} == {"admin"}
    accounts = sudo(lab, "getent passwd | awk -F: '$6 == \"/var/lib/docker-ssh\" {print $1}' | sort")
    assert accounts == {**dict.fromkeys(OVER_SSH, "docker-admin\ndocker-carol"), WITHOUT_SYSTEMD: ""}
    done = lab.playbook(SITE, *P384)
    says(done, "of docker_client_identities was revoked on the CA host.")
    # Nothing is left to be done: no second rotation.
    before = ca_files(lab)
    succeeds(lab.playbook(REVOKE, *BY_ROTATION, *P384))
    assert ca_files(lab) == before


def test_a_verification_says_what_is_wrong_of_every_engine(lab: t.Any, ghost: tuple[str, ...]) -> None:
    said = succeeds(lab.playbook(VERIFY, *P384))
    assert "no problems" in said
    assert lab.executions("verify.yml")[-1]["changed"] == {}
    says(lab.playbook(*ghost, VERIFY, *P384), "FAILED: ghost. ghost: it cannot be reached.")


def test_a_free_strategy_and_a_slow_engine_end_well(lab: t.Any) -> None:
    """B12: nothing is judged, and no phase ends, before the last host has answered.

    The second renewal finds that the CA ends too soon, and replaces it.
    """
    due = {"docker_ca_rotate_when_due": True, "docker_ca_minimum_days": 3650, "docker_ca_valid_days": 3900}
    ca = f"openssl x509 -in {CA_FOLDER}/ca-cert.pem -noout -fingerprint"
    before = root(lab, CA_HOST, ca)
    path, engine = lab.folder / "slow.yml", lab.address("lt")
    with Line(engine, 22) as line:
        line.delay = 0.3
        slow = {
            "ansible_host": "127.0.0.1",
            "ansible_port": line.port,
            "ansible_ssh_extra_args": f"-o HostKeyAlias={engine}",
            "docker_engine_address": engine,
        }
        path.write_text(json.dumps({"lab": {"hosts": {"lt": slow}}}), encoding="ascii")
        for given, is_replaced in (({"docker_renew_force": True}, False), (due, True)):
            done = lab.playbook("-i", str(path), RENEW, "-e", json.dumps(given), *P384, ANSIBLE_STRATEGY="free")
            assert "no problems" in succeeds(done)
            assert "free strategy" not in lab.said(done), "Ansible warns of all that does not hold with it"
            assert (root(lab, CA_HOST, ca) != before) == is_replaced
    path.unlink()
    assert phase(lab) == "none"
    assert all(accepted(lab, engine, lab.identity) for engine in lab.engines)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")


def test_a_ca_that_has_vanished_is_not_replaced_unless_somebody_says_so(lab: t.Any) -> None:
    """As from a control node that was set up anew: nobody who gets in today may be shut out by it."""
    old = lab.folder / "shut-out"
    shutil.copytree(lab.identity, old)
    files = "sha256sum /etc/docker/tls/* /etc/docker/daemon.json"
    before = sudo(lab, files)
    fingerprint = root(lab, CA_HOST, f"openssl x509 -in {CA_FOLDER}/ca-cert.pem -noout -fingerprint -sha256").partition(
        "="
    )[2]
    root(lab, CA_HOST, f"mv {CA_FOLDER} /root/vanished")
    engine_may, client_may = ("-e", "docker_engine_replace_ca=true"), ("-e", "docker_client_replace_ca=true")
    for allowed, refusal in (
        ((), "are from another CA than this run's: "),
        (engine_may, "are from another CA than this run's: "),
        (client_may, "this engine trusts another CA than this run's, in /etc/docker/tls/ca.pem: "),
    ):
        done = lab.playbook(SITE, *allowed)
        says(done, f"{refusal}CN=bulkhead.docker CA ")
        says(done, fingerprint.strip().replace(":", "").lower())
        assert (sudo(lab, files), sha(lab.identity)) == (before, sha(old))
        assert root(lab, CA_HOST, f"test -e {CA_FOLDER} || echo none") == "none"
    assert all(accepted(lab, engine, old) for engine in lab.engines)

    succeeds(lab.playbook(SITE, *engine_may, *client_may))
    assert all(accepted(lab, engine, lab.identity) for engine in lab.engines)
    assert not any(accepted(lab, engine, old) for engine in lab.engines)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")


def sha(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_declared_account_ends_with_its_identity(lab: t.Any) -> None:
    account = "getent passwd docker-carol >/dev/null && echo there || echo gone"
    there = {**dict.fromkeys(OVER_SSH, "there"), WITHOUT_SYSTEMD: "gone"}
    assert sudo(lab, account) == there
    succeeds(lab.playbook(REVOKE, "-e", "docker_revoke_name=carol"))
    assert set(sudo(lab, account).values()) == {"gone"}
    says(lab.playbook(SITE), "has docker-carol, and carol was revoked on the CA host.")
    succeeds(lab.playbook(REVOKE, "-e", "docker_revoke_name=carol", "-e", "docker_revoke_state=absent"))
    succeeds(lab.playbook(SITE))
    assert sudo(lab, account) == there


def test_remove_gives_everything_back(lab: t.Any) -> None:
    snapshot = "sh /root/snapshot"
    before = sudo(lab, snapshot)
    says(lab.playbook(REMOVE), "Name the hosts that remote access is to be taken from")
    says(
        lab.playbook(REMOVE, "-e", "docker_remove_hosts=l12", "-e", "docker_remove_ca=true"),
        "docker_remove_ca goes only with docker_remove_hosts=all",
    )
    everything = ("-e", "docker_remove_hosts=all", "-e", "docker_remove_ca=true")
    succeeds(lab.playbook(REMOVE, *everything, "--check", "--diff"))
    assert sudo(lab, snapshot) == before
    was, copy = sudo(lab, "cat /root/before"), lab.folder / "last"
    shutil.copytree(lab.identity, copy)

    # One that is not reached keeps no other from being given back, and the CA stays for it.
    line_of_ansible("insert")
    done = lab.playbook(REMOVE, *everything)
    line_of_ansible("delete")
    says(done, "FAILED: l13. l13: it cannot be reached.")
    says(done, "The CA stays, because engines trust it that this run has not given back: l13.")
    now = sudo(lab, snapshot)
    left = {name: sorted(set(was[name].splitlines()) ^ set(now[name].splitlines())) for name in now}
    assert {name for name in left if left[name]} == {LEFT_BEHIND}, json.dumps(left, indent=1)
    assert now[LEFT_BEHIND] == before[LEFT_BEHIND]
    assert accepted(lab, LEFT_BEHIND, copy)
    revoked = root(lab, CA_HOST, f"openssl crl -in {CA_FOLDER}/crl.pem -noout -text | grep --count 'Serial Number'")
    assert int(revoked) >= len(lab.engines)

    succeeds(lab.playbook(REMOVE, *everything))
    left = {
        name: sorted(set(was[name].splitlines()) ^ set(now.splitlines())) for name, now in sudo(lab, snapshot).items()
    }
    assert left == {name: [] for name in lab.engines}, json.dumps(left, indent=1)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")
    assert not (lab.home / ".bulkhead").exists()
    assert json.loads((lab.home / ".docker/config.json").read_text()) == {}
    assert [path.name for path in (lab.home / ".docker").iterdir()] == ["config.json"]
    assert below(lab, CA_HOST, "/home/ops/.bulkhead") == ""

    assert lab.executions("remove.yml")[-1]["changed"] != {}
    succeeds(lab.playbook(REMOVE, *everything))
    assert lab.executions("remove.yml")[-1]["changed"] == {}
