"""From a host where nothing was done to `docker --context NAME ps`, and nobody else gets in."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import re
import socket
import ssl
import subprocess
from typing import Any

import docker
import pytest
from testinfra.host import Host

PID = "docker inspect --format '{{.State.Pid}}' keep"


@pytest.fixture
def name(host: Host) -> str:
    return str(host.backend.hostname)


def test_the_docker_cli_uses_the_context(lab: Any, host: Host, name: str) -> None:
    with host.sudo():
        version = host.check_output("docker version --format '{{.Server.Version}}'")

    assert lab.docker("--context", name, "version", "--format", "{{.Server.Version}}") == version
    assert lab.docker("--context", name, "ps", "--format", "{{.Names}}") == "keep"
    endpoint = lab.docker("context", "inspect", name, "--format", "{{.Endpoints.docker.Host}}")
    assert endpoint == f"tcp://{lab.address(name)}:2376"


def test_the_identity_s_folder_is_a_docker_cert_path(lab: Any, name: str) -> None:
    environment = {
        "DOCKER_HOST": f"tcp://{lab.address(name)}:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(lab.identity),
    }
    assert lab.docker("ps", "--quiet", "--filter", "name=keep", **environment)


def test_docker_py_verifies_the_engine(lab: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would replace our CA by the system's
        monkeypatch.delenv(variable, raising=False)
    tls = docker.tls.TLSConfig(
        client_cert=(str(lab.identity / "cert.pem"), str(lab.identity / "key.pem")),
        ca_cert=str(lab.identity / "ca.pem"),
        verify=True,
    )
    client = docker.DockerClient(base_url=f"tcp://{lab.address(name)}:2376", tls=tls, timeout=10)
    assert [container.name for container in client.containers.list()] == ["keep"]


def _greeting(lab: Any, address: str, name: str) -> bytes:
    """As strictly as OpenSSL can, and for the name that is given."""
    context = ssl.create_default_context(cafile=str(lab.identity / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(lab.identity / "cert.pem", lab.identity / "key.pem")
    with (
        socket.create_connection((address, 2376), 5) as raw,
        context.wrap_socket(raw, server_hostname=name) as connection,
    ):
        connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        return connection.recv(4096)


def test_strict_clients_accept_every_name_of_the_engine_and_no_other(lab: Any, name: str) -> None:
    address = lab.address(name)
    for own in (name, address, "localhost", "127.0.0.1", "::1"):
        assert b" 200 " in _greeting(lab, address, own), own
    for other in ("engine", "192.0.2.99"):
        with pytest.raises(ssl.SSLCertVerificationError):
            _greeting(lab, address, other)


def test_nobody_else_gets_in(lab: Any, name: str, tmp_path: pathlib.Path) -> None:
    """With openssl and curl instead of our own probe."""
    url = f"https://{lab.address(name)}:2376/_ping"
    ca = ("--cacert", str(lab.identity / "ca.pem"))
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    foreign = tmp_path / "foreign"
    subject = (
        subprocess.run(
            ["openssl", "x509", "-in", lab.identity / "ca.pem", "-noout", "-subject", "-nameopt", "compat"],
            capture_output=True,
            text=True,
            check=True,
        )
        .stdout.removeprefix("subject=")
        .strip()
    )
    subprocess.run(
        [*openssl, "-subj", subject, "-keyout", f"{foreign}.key", "-out", f"{foreign}.pem"],
        capture_output=True,
        check=True,
    )
    ours = ("--cert", str(lab.identity / "cert.pem"), "--key", str(lab.identity / "key.pem"))
    theirs = ("--cert", f"{foreign}.pem", "--key", f"{foreign}.key")
    assert lab.run("curl", "-sS", *ca, *ours, url).stdout == "OK"
    for arguments in ((*ca, url), (*ca, *theirs, url), (url.replace("https", "http"),)):
        done = lab.run("curl", "-sS", *arguments)
        assert "OK" not in done.stdout, arguments
    assert lab.run("curl", "-sS", url.replace("https", "http").replace("2376", "2375")).returncode == 7


def test_the_server_s_certificate_is_no_client_certificate(host: Host) -> None:
    tls = "/etc/docker/tls"
    with host.sudo():
        done = host.run(
            "python3 -c '"
            "import ssl, urllib.request as u;"
            f'c = ssl.create_default_context(cafile="{tls}/ca.pem");'
            # In TLS 1.3 a client that writes before it reads the alert sees no more than the end of the connection.
            "c.maximum_version = ssl.TLSVersion.TLSv1_2;"
            f'c.load_cert_chain("{tls}/server-cert.pem", "{tls}/server-key.pem");'
            'print(u.urlopen("https://localhost:2376/_ping", context=c).read())'
            "'"
        )
    assert done.rc != 0
    assert re.search(r"bad certificate|certificate required|unsupported certificate", done.stderr, re.I), done.stderr


def test_files_have_the_modes_of_the_cis_benchmark(host: Host) -> None:
    with host.sudo():
        modes = host.check_output("stat --format '%a %U %n' /etc/docker/tls/* /var/lib/bulkhead").splitlines()
    assert modes == [
        "444 root /etc/docker/tls/ca.pem",
        "444 root /etc/docker/tls/server-cert.pem",
        "400 root /etc/docker/tls/server-key.pem",
        "700 root /var/lib/bulkhead",
    ]


def test_the_container_from_before_still_runs(host: Host) -> None:
    with host.sudo():
        assert host.check_output(PID) == host.check_output("cat /root/keep.pid")


def test_the_second_run_restarted_nothing(host: Host) -> None:
    with host.sudo():
        first, second, *_ = host.check_output("cat /root/dockerd-after-each-run").split()
    assert first == second


def test_what_a_run_costs(lab: Any, name: str) -> None:
    first, second, *_ = lab.executions("converge.yml")
    first_run, second_run = (
        [task for task in run["tasks"][name] if task != "Add a line for this run"]  # the scenario's own
        for run in (first, second)
    )
    assert len(first_run) <= 5, first_run
    assert len(second_run) == 1, second_run
    assert second["changed"] == {}


def test_check_mode_told_the_truth(lab: Any, host: Host, name: str) -> None:
    said = (lab.folder / "check.txt").read_text(encoding="utf-8")
    added = [line[1:] for line in said.splitlines() if line.startswith("+")]
    with host.sudo():
        for path in ("/etc/docker/daemon.json", "/etc/systemd/system/docker.service.d/bulkhead.conf"):
            # A flag's value may be a secret; the one of containerd stands for all of them.
            content = host.check_output(f"sed 's/=\\/run\\/[^ ]*/=(not shown)/' {path}").splitlines()
            assert [line for line in content if line not in added] == [], path
    assert f"{name} gets a new key and certificate" in said
    recap = re.search(rf"^{name} .*changed=(\d+).*failed=(\d+)", said, re.MULTILINE)
    assert recap and int(recap[1]) > 0 and recap[2] == "0"


@pytest.fixture(scope="session")
def renewal(lab: Any) -> dict[str, Any]:
    """The whole playbook once more with every key and certificate made anew, as talkative as it can be."""
    before = {path: path.read_bytes() for path in lab.identity.glob("*.pem")}
    done = lab.playbook(
        *(
            "-vvv",
            "bulkhead.docker.site",
            "-e",
            "docker_engine_renew_force=true",
            "-e",
            "docker_client_renew_force=true",
        ),
        ANSIBLE_KEEP_REMOTE_FILES="true",
    )
    return {"code": done.returncode, "output": done.stdout + done.stderr, "before": before}


def _lines_of(key: str) -> list[str]:
    return [line for line in key.splitlines() if line and "-----" not in line]


def test_no_private_key_leaves_its_host(lab: Any, host: Host, renewal: dict[str, Any]) -> None:
    """Not in the output, not in what Ansible keeps on the control node and on engines, not on the CA host."""
    assert renewal["code"] == 0, renewal["output"][-3000:]
    with host.sudo():
        engine_s = _lines_of(host.check_output("cat /etc/docker/tls/server-key.pem"))
    identity_s = _lines_of((lab.identity / "key.pem").read_text(encoding="ascii"))
    ca_s = _lines_of((lab.home / ".bulkhead/ca/ca-key.pem").read_text(encoding="ascii"))
    assert engine_s and identity_s and ca_s
    own = {
        lab.identity / "key.pem",
        lab.home / ".bulkhead/ca/ca-key.pem",
        *lab.home.glob(".docker/contexts/tls/*/*/key.pem"),
    }
    places = [lab.home, pathlib.Path(os.environ["ANSIBLE_HOME"]) / "tmp", *pathlib.Path("/tmp").glob("ansible*")]
    texts = {"the output": renewal["output"]}
    found = ((folder, file) for place in places for folder, _, files in os.walk(place) for file in files)
    for path in itertools.starmap(pathlib.Path, found):
        with contextlib.suppress(FileNotFoundError):  # of another scenario, which runs beside this one
            if path not in own and path.is_file() and path.stat().st_size < 10_000_000:
                texts[str(path)] = path.read_bytes().decode("latin-1")
    leaks = [where for where, text in texts.items() if any(line in text for line in [*engine_s, *identity_s, *ca_s])]
    assert leaks == []
    with host.sudo():
        for line in (*identity_s, *ca_s):
            done = host.run(f"grep -rlF -- '{line}' /etc /home /root /tmp /var/lib/bulkhead")
            assert done.stdout == "", "somebody else's key is on the engine"


def test_a_renewal_gives_a_new_key_and_keeps_containers(
    lab: Any, host: Host, name: str, renewal: dict[str, Any]
) -> None:
    assert renewal["code"] == 0, renewal["output"][-3000:]
    with host.sudo():
        assert host.check_output(PID) == host.check_output("cat /root/keep.pid")
        after_each_run = host.check_output("cat /root/dockerd-after-each-run").split()
        assert host.check_output("cat /var/run/docker.pid") not in after_each_run
    assert (lab.identity / "key.pem").read_bytes() != renewal["before"][lab.identity / "key.pem"]
    assert lab.docker("--context", name, "ps", "--format", "{{.Names}}") == "keep"


def test_verify_confirms_it_and_finds_what_is_broken(lab: Any, host: Host, name: str) -> None:
    good = lab.playbook("--limit", name, "bulkhead.docker.verify")
    assert good.returncode == 0, good.stdout
    if name != "d13":
        return
    with host.sudo():
        pid = host.check_output(
            "setsid python3 -c 'import socket, time; s = socket.create_server((\"\", 2375)); time.sleep(60)'"
            " >/dev/null 2>&1 </dev/null & echo $!"
        )
        try:
            bad = lab.playbook("--limit", name, "bulkhead.docker.verify")
        finally:
            host.check_output(f"kill {pid}")
    assert bad.returncode != 0
    assert ":2375 is open" in lab.said(bad)
