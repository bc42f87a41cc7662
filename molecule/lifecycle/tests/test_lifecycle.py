"""What comes after the first run. The tests follow each other on the same engines, in this order."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

import pytest
import testinfra
from line import Line
from watch import Watch

PID = "docker inspect --format '{{.State.Pid}}' keep"
GAP = 1.0
RENEW, ROTATE, REVOKE = "bulkhead.docker.renew", "bulkhead.docker.rotate_ca", "bulkhead.docker.revoke_client"
REMOVE, SITE, VERIFY = "bulkhead.docker.remove", "bulkhead.docker.site", "bulkhead.docker.verify"
BY_ROTATION = ("-e", "docker_revoke_name=eve", "-e", "docker_revoke_by_rotation=true")
# The successor has another type of key.
P384 = ("-e", "docker_ca_key_type=P-384")


def on(lab: t.Any, name: str) -> t.Any:
    return testinfra.get_host(f"ansible://{name}?ansible_inventory={lab.folder / 'inventory.yml'}")


def sudo(lab: t.Any, script: str) -> dict[str, str]:
    found = {}
    for name in lab.engines:
        host = on(lab, name)
        with host.sudo():
            found[name] = str(host.check_output("sh -c %s", script))
    return found


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return " ".join(done.stdout.split())


def says(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode != 0, said[-6000:]
    assert sentence in " ".join(said.split()), said[-6000:]


def ca_files(lab: t.Any) -> dict[str, bytes]:
    ca = lab.home / ".bulkhead/ca"
    return {str(path.relative_to(ca)): path.read_bytes() for path in ca.rglob("*") if path.is_file()}


def accepted(lab: t.Any, engine: str, identity: pathlib.Path) -> bool:
    """Whether an engine lets an identity in, whatever certificate the engine has itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # In TLS 1.3 a client has shaken hands before it is refused, and may see no more than a connection that was reset.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(identity / "cert.pem", identity / "key.pem")
    try:
        with urllib.request.urlopen(f"https://{lab.address(engine)}:2376/_ping", context=context, timeout=10) as answer:
            return bool(answer.read() == b"OK")
    except (urllib.error.URLError, OSError) as error:
        assert re.search("certificate|alert", str(error), re.IGNORECASE), error
        return False


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
        r"2 engines, 4 identities; nothing to change; the first certificate ends in 36\d days \(\S+\); no problems"
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
    says(done, "changed: l12, lt, localhost;")
    says(done, "FAILED: ghost. ghost: it cannot be reached.")
    after = sudo(lab, serving)
    assert all(before[name] != after[name] for name in lab.engines)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")


def test_a_rotation_is_refused_before_it_shuts_somebody_out(lab: t.Any, ghost: tuple[str, ...]) -> None:
    before = ca_files(lab)
    says(lab.playbook(*ghost, ROTATE), "these hosts would be shut out. ghost: it cannot be reached.")
    says(lab.playbook(ROTATE, "--limit", "l12"), "takes no --limit")
    says(lab.playbook(REVOKE, "-e", "docker_revoke_name=mallory"), "has never issued a client certificate for mallory")
    assert ca_files(lab) == before


def test_what_sshd_refuses_is_refused_before_anything_is_changed_anywhere(lab: t.Any) -> None:
    shut_out = "/etc/ssh/sshd_config.d/50-lab.conf"
    with on(lab, "lt").sudo():
        on(lab, "lt").check_output(f"echo DenyUsers docker-admin >{shut_out}")
    state = "find /etc -type f -newer /root/keep.pid -exec sha256sum {} + | sort"
    before, ca = sudo(lab, state), ca_files(lab)
    changes = json.dumps({"docker_engine_daemon_options": {"debug": True}})
    try:
        says(lab.playbook(SITE, "-e", changes), f"DenyUsers in {shut_out}:1 keeps docker-admin out; take it out there.")
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


def test_a_revocation_ends_ssh_at_once_whoever_does_not_answer(lab: t.Any, ghost: tuple[str, ...]) -> None:
    shutil.copytree(lab.home / ".bulkhead/identities", lab.folder / "old")
    on(lab, CLIENT).check_output("cp -r ~/.bulkhead/ssh /tmp/old")
    assert all(lets_in(lab, engine, name) for engine in lab.engines for name in ("admin", "eve"))
    laptop = lab.folder / "laptop.yml"  # a client that was stolen
    laptop.write_text(
        "docker_clients: {hosts: {laptop: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n", encoding="ascii"
    )
    done = lab.playbook(*ghost, "-i", str(laptop), REVOKE, "-e", "docker_revoke_name=eve")
    laptop.unlink()
    says(done, "FAILED: ghost, laptop. ghost: it cannot be reached. laptop: it cannot be reached.")
    says(done, "dockerd knows no revocation")
    for engine in lab.engines:
        assert lets_in(lab, engine, "admin")
        assert not lets_in(lab, engine, "eve")
        assert accepted(lab, engine, lab.folder / "old/eve"), "with TLS only a rotation ends it"


def kill(lab: t.Any, begin: str, mark: str, count: int, *arguments: str) -> None:
    """Runs a playbook until it has printed a mark so many times after a first one, and kills it and all its workers."""
    program = str(pathlib.Path(sys.executable).parent / "ansible-playbook")
    playbook = subprocess.Popen(
        [program, "-i", str(lab.folder / "inventory.yml"), *arguments],
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


def test_the_ca_is_replaced_while_clients_work_and_the_run_is_killed_in_every_phase(
    lab: t.Any, ghost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would replace our CA by the system's
        monkeypatch.delenv(variable, raising=False)
    ca, old = lab.home / ".bulkhead/ca", lab.folder / "old"
    enters, change = "rotate | Enter the phase", "daemon | Change the engine as one transaction"
    phases = []
    with Watch(lab, "admin") as watch:
        assert all(accepted(lab, engine, old / name) for engine in lab.engines for name in ("admin", "eve"))
        for begin, mark, count, playbook in (
            ("PLAY [Take the CA to its next phase]", "rotate | Create the successor", 1, (REVOKE, *BY_ROTATION)),
            (f"{enters} trust", change, 1, (REVOKE, *BY_ROTATION)),
            (f"{enters} reissue", change, 1, (ROTATE,)),
            (f"{enters} retire", change, 2, (ROTATE,)),
        ):
            kill(lab, begin, mark, count, *playbook, *P384)
            phases.append((ca / "rotation").read_text().strip() if (ca / "rotation").exists() else "none")
        # The rest is done although an engine has gone meanwhile.
        says(lab.playbook(*ghost, REVOKE, *BY_ROTATION, *P384), "ghost: it cannot be reached.")
        leaving = ("-e", '{"docker_rotate_exclude": ["ghost"]}')
        says(lab.playbook(*ghost, REVOKE, *BY_ROTATION, *P384, *leaving), "ghost: it was left out and lets eve in")
        succeeds(lab.playbook(REVOKE, *BY_ROTATION, *P384))
    assert phases == ["none", "trust", "reissue", "retire"]

    report = sorted(f"{gap.client} {gap.seconds:.2f} s" for gap in watch.gaps)
    with capsys.disabled():  # for the log of a run that went well, too
        print(f"\n{watch.asked} questions, {len(watch.gaps)} gaps: {', '.join(report)}")
    assert [gap for gap in watch.gaps if gap.refused] == []
    assert [gap for gap in watch.gaps if gap.seconds > GAP] == []
    assert watch.asked > 200
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")

    assert sorted(path.name for path in ca.iterdir()) == [
        *(".lock", "ca-cert.pem", "ca-key.pem", "ca.pem", "crl.pem", "issued", "listed", "retired.pem"),
        "revoked",
    ]
    for engine in lab.engines:
        assert accepted(lab, engine, lab.identity)
        assert not accepted(lab, engine, old / "admin")
        assert not accepted(lab, engine, old / "eve")


def test_certificates_work_where_a_clock_is_five_minutes_off(lab: t.Any) -> None:
    """Asked of those that were made a moment ago, of which the validity could begin too late."""
    ca = lab.home / ".bulkhead/ca"
    served = sudo(lab, "cat /etc/docker/tls/server-cert.pem")
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
            command = ["openssl", "verify", "-x509_strict", "-attime", str(moment), "-CAfile", str(ca / "ca.pem")]
            subprocess.run([*command, str(certificate)], check=True, capture_output=True)


def test_a_revoked_identity_is_gone_and_stays_so(lab: t.Any) -> None:
    assert not (lab.home / ".bulkhead/identities/eve").exists()
    contexts = lab.docker("context", "ls", "--format", "{{.Name}}").split()
    assert {"l12-admin", "lt-admin"} <= set(contexts)
    assert [name for name in contexts if name.endswith("-eve")] == []
    client = on(lab, CLIENT)
    contexts = client.check_output("docker context ls --format '{{.Name}}'").split()
    assert [name for name in contexts if "-eve" in name] == []
    for engine in lab.engines:
        for context in (f"{engine}-admin", f"{engine}-admin-ssh"):
            assert client.check_output(f"docker --context {context} ps --quiet --filter name=keep")
        assert lets_in(lab, engine, "admin")
        assert not lets_in(lab, engine, "eve")
    accounts = sudo(lab, "getent passwd | awk -F: '$6 == \"/var/lib/docker-ssh\" {print $1}' | sort")
    assert accounts == dict.fromkeys(lab.engines, "docker-admin\ndocker-carol")
    says(lab.playbook(SITE, *P384), "eve of docker_client_identities was revoked on the CA host.")
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
    """B12: nothing is judged, and no phase ends, before the last host has answered."""
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
        for playbook in ((RENEW, "-e", "docker_renew_force=true"), (ROTATE,)):
            done = lab.playbook("-i", str(path), *playbook, *P384, ANSIBLE_STRATEGY="free")
            assert "no problems" in succeeds(done)
            assert "free strategy" not in lab.said(done), "Ansible warns of all that does not hold with it"
    path.unlink()
    assert not (lab.home / ".bulkhead/ca/rotation").exists()
    assert all(accepted(lab, engine, lab.identity) for engine in lab.engines)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")


def test_a_ca_that_has_vanished_is_not_replaced_unless_somebody_says_so(lab: t.Any) -> None:
    """As from a control node that was set up anew: nobody who gets in today may be shut out by it."""
    ca, away, old = lab.home / ".bulkhead/ca", lab.folder / "vanished", lab.folder / "shut-out"
    shutil.copytree(lab.identity, old)
    files = "sha256sum /etc/docker/tls/* /etc/docker/daemon.json"
    before = sudo(lab, files)
    fingerprint = subprocess.run(
        ["openssl", "x509", "-in", ca / "ca-cert.pem", "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.partition("=")[2]
    ca.rename(away)
    engine_may, client_may = ("-e", "docker_engine_replace_ca=true"), ("-e", "docker_client_replace_ca=true")
    for allowed, refusal in (
        ((), "are from another CA than this run's: "),
        (engine_may, "are from another CA than this run's: "),
        (client_may, "this engine trusts another CA than this run's, in /etc/docker/tls/ca.pem: "),
    ):
        done = lab.playbook(SITE, *allowed)
        says(done, f"{refusal}CN=bulkhead.docker CA ")
        says(done, fingerprint.strip().replace(":", "").lower())
        assert (sudo(lab, files), sha(lab.identity), ca.exists()) == (before, sha(old), False)
    assert all(accepted(lab, engine, old) for engine in lab.engines)

    succeeds(lab.playbook(SITE, *engine_may, *client_may))
    assert all(accepted(lab, engine, lab.identity) for engine in lab.engines)
    assert not any(accepted(lab, engine, old) for engine in lab.engines)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")


def sha(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_declared_account_ends_with_its_identity(lab: t.Any) -> None:
    account = "getent passwd docker-carol >/dev/null && echo there || echo gone"
    assert set(sudo(lab, account).values()) == {"there"}
    succeeds(lab.playbook(REVOKE, "-e", "docker_revoke_name=carol"))
    assert set(sudo(lab, account).values()) == {"gone"}
    says(lab.playbook(SITE), "has docker-carol, and carol was revoked on the CA host.")
    succeeds(lab.playbook(REVOKE, "-e", "docker_revoke_name=carol", "-e", "docker_revoke_state=absent"))
    succeeds(lab.playbook(SITE))
    assert set(sudo(lab, account).values()) == {"there"}


def test_remove_gives_everything_back(lab: t.Any, ghost: tuple[str, ...]) -> None:
    snapshot = "sh /root/snapshot"
    before = sudo(lab, snapshot)
    assert set(sudo(lab, "getent passwd docker-carol >/dev/null && echo there").values()) == {"there"}
    says(lab.playbook(REMOVE), "Name the hosts that remote access is to be taken from")
    says(
        lab.playbook(REMOVE, "-e", "docker_remove_hosts=l12", "-e", "docker_remove_ca=true"),
        "docker_remove_ca goes only with docker_remove_hosts=all",
    )
    everything = ("-e", "docker_remove_hosts=all", "-e", "docker_remove_ca=true")
    says(
        lab.playbook(*ghost, REMOVE, *everything, "--check"),
        "The CA stays, because engines trust it that this run has not given back: ghost.",
    )
    succeeds(lab.playbook(REMOVE, *everything, "--check", "--diff"))
    assert sudo(lab, snapshot) == before

    succeeds(lab.playbook(REMOVE, *everything))
    was = sudo(lab, "cat /root/before")
    left = {
        name: sorted(set(was[name].splitlines()) ^ set(now.splitlines())) for name, now in sudo(lab, snapshot).items()
    }
    assert left == {name: [] for name in lab.engines}, json.dumps(left, indent=1)
    assert sudo(lab, PID) == sudo(lab, "cat /root/keep.pid")
    assert not (lab.home / ".bulkhead").exists()
    assert json.loads((lab.home / ".docker/config.json").read_text()) == {}
    assert [path.name for path in (lab.home / ".docker").iterdir()] == ["config.json"]

    assert lab.executions("remove.yml")[-1]["changed"] != {}
    succeeds(lab.playbook(REMOVE, *everything))
    assert lab.executions("remove.yml")[-1]["changed"] == {}
