"""The playbooks where hosts are reached in a roundabout way; the numbers are those of reported cases.

vm1 is d11, which the control node reaches through a forwarded port. web1 is dt, whose port 22 is open to the bastion
host alone, which is d12. The clients are d12, where a second user has a long home, and d13, which has to use d12.
The tests follow one another on the same hosts.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections import __path__ as collections
from line import Line
from testinfra.host import Host

ROOT = pathlib.Path(__file__).parents[3]
HOME = "/home/corp.example.internal/firstname.lastname"
ENGINES = ("vm1", "web1")
ENDPOINT = "docker context inspect {} --format '{{{{.Endpoints.docker.Host}}}}'"
PS = "docker --context {} ps --quiet --filter name=keep"


def on(lab: Any, name: str) -> Host:
    return Host.get_host(f"ansible://{name}?ansible_inventory={lab.folder / 'inventory.yml'}")


def sudo(lab: Any, name: str, script: str) -> str:
    host = on(lab, name)
    with host.sudo():
        return str(host.check_output("sh -c %s", script))


def known(lab: Any) -> str:
    return f"-o UserKnownHostsFile={lab.folder / 'known_hosts'} -o StrictHostKeyChecking=yes"


def login(lab: Any) -> str:
    """How the control node's ssh logs in to a lab host."""
    return f"ssh -F none -o BatchMode=yes -o ControlPath=none -i {lab.folder / 'id_ed25519'} {known(lab)}"


@pytest.fixture(scope="module")
def bastion(lab: Any) -> Iterator[str]:
    """Port 22 of dt is open to this address alone; the user of d13 has a key for it."""
    address = lab.address("d12")
    rule = f"INPUT -p tcp --dport 22 ! -s {address} -j DROP"
    on(lab, "d13").check_output(
        "umask 077; mkdir -p ~/.ssh; echo %s >~/.ssh/id_ed25519; echo %s >~/.ssh/known_hosts",
        (lab.folder / "id_ed25519").read_text(encoding="ascii"),
        (lab.folder / "known_hosts").read_text(encoding="ascii"),
    )
    sudo(lab, "dt", f"iptables -I {rule}")
    yield address
    through = ["-o", f"ProxyCommand={login(lab)} -W %h:%p ops@{address}", f"ops@{lab.address('dt')}"]
    subprocess.run([*login(lab).split(), *through, f"sudo iptables -D {rule}"], check=True)


@pytest.fixture(scope="module")
def line(lab: Any) -> Iterator[Line]:
    with Line(lab.address("d11"), 22) as forwarded:
        yield forwarded


@pytest.fixture(scope="module")
def inventory(lab: Any, bastion: str, line: Line) -> tuple[str, ...]:
    hosts = {
        "vm1": {
            "ansible_host": "127.0.0.1",
            "ansible_port": line.port,
            "ansible_ssh_extra_args": f"-o HostKeyAlias={lab.address('d11')}",
            "docker_engine_address": lab.address("d11"),
        },
        "web1": {
            "ansible_host": lab.address("dt"),
            # In the place of those of all lab hosts: connections that Ansible shares on the direct way are of no use.
            "ansible_ssh_common_args": f'{known(lab)} -o ProxyCommand="{login(lab)} -W %h:%p ops@{bastion}"',
        },
        "d12": {"docker_client_identities": [{"name": "admin"}, {"name": "flast", "user": "flast"}]},
        "d13": {"docker_client_ssh_jump": f"ops@{bastion}"},
    }
    fleet = {"docker_engine_hosts": ",".join(ENGINES), "docker_client_transports": ["tls", "ssh"]}
    path = lab.folder / "roundabout.yml"
    path.write_text(yaml.safe_dump({"lab": {"hosts": hosts}, "all": {"vars": fleet}}), encoding="utf-8")
    return ("-i", str(path))


@pytest.fixture(scope="module")
def site(lab: Any, inventory: tuple[str, ...]) -> str:
    sudo(lab, "d12", f"id flast || {{ mkdir -p $(dirname {HOME}); useradd --create-home --home-dir {HOME} flast; }}")
    return succeeds(lab, lab.playbook(*inventory, "bulkhead.docker.site"))


def succeeds(lab: Any, done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return str(lab.said(done))


def test_a_forwarded_port_is_ansible_s_alone(lab: Any, host: Host, site: str) -> None:
    """B10: the engine has an address of its own, where its sshd has the ordinary port."""
    assert host.check_output(ENDPOINT.format("vm1")) == f"tcp://{lab.address('d11')}:2376"
    assert host.check_output(ENDPOINT.format("vm1-ssh")) == f"ssh://docker-admin@{lab.address('d11')}"
    assert host.check_output(PS.format("vm1"))
    assert host.check_output(PS.format("vm1-ssh"))


def test_a_long_home_keeps_nobody_out(lab: Any, host: Host, site: str) -> None:
    """B11: as users of a directory service have it; a socket in it would have too long a path."""
    with host.sudo("flast"):
        assert host.check_output("echo ~") == HOME
        for engine in ENGINES:
            assert host.check_output(f"cd; {PS.format(f'{engine}-ssh')}")


def test_an_engine_behind_a_bastion_host_is_reached(lab: Any, site: str, bastion: str) -> None:
    """B27: by the variable of the role, and by what the user's own configuration says."""
    client, address = on(lab, "d13"), lab.address("dt")
    direct = client.run(f"ssh -o BatchMode=yes -o ConnectTimeout=1 -l ops {address} true; true")
    assert "timed out" in direct.stderr, "the port is open"
    assert client.check_output(PS.format("web1-ssh"))
    assert client.check_output(ENDPOINT.format("web1-ssh")) == f"ssh://docker-admin@{address}"

    client.check_output(
        "cp ~/.ssh/config ~/.ssh/before; cp ~/.bulkhead/ssh/bulkhead.config ~/before; "
        f"sed -i /ProxyJump/d ~/.bulkhead/ssh/bulkhead.config; ssh -O exit -l docker-admin {address} || true"
    )
    try:
        assert client.run(f"timeout 2 {PS.format('web1-ssh')}").rc != 0
        client.check_output(f"printf 'Host {address}\\n  ProxyJump ops@{bastion}\\n' >>~/.ssh/config")
        assert client.check_output(PS.format("web1-ssh"))
    finally:
        client.check_output("mv ~/.ssh/before ~/.ssh/config; mv ~/before ~/.bulkhead/ssh/bulkhead.config")


@pytest.mark.slow
def test_an_engine_that_is_its_own_control_node(lab: Any) -> None:
    """B08: whoever runs Ansible there has come over SSH, but Ansible has no connection that could be made anew."""
    box = on(lab, "d13")
    place = "~/.ansible/collections/ansible_collections"
    crypto = next(filter(pathlib.Path.is_dir, (pathlib.Path(path) / "community/crypto" for path in collections)))
    for source, target in ((ROOT, "bulkhead/docker"), (crypto, "community/crypto")):
        packed = subprocess.run(
            ["tar", "-C", str(source), "-cz", "--exclude=tests", "meta", "plugins"]
            + [name for name in ("galaxy.yml", "MANIFEST.json", "roles", "playbooks") if (source / name).exists()],
            check=True,
            capture_output=True,
        ).stdout
        unpack = f"mkdir -p {place}/{target} && tar -C {place}/{target} -xz"
        subprocess.run([*login(lab).split(), f"ops@{lab.address('d13')}", unpack], input=packed, check=True)
    itself = {"ansible_connection": "local", "docker_engine_address": "127.0.0.1", "docker_ssh_max_sessions": 33}
    itself |= {"docker_engine_replace_ca": True, "docker_client_replace_ca": True}  # by one of its own
    inventory = {
        "docker_engines": {"hosts": {"box": itself}},
        "docker_clients": {"hosts": {"box": {}}, "vars": {"docker_client_transports": ["tls", "ssh"]}},
    }
    box.check_output("echo %s >box.json", json.dumps(inventory))
    done = box.run('test -n "$SSH_CONNECTION" && ANSIBLE_NOCOLOR=1 ansible-playbook -i box.json bulkhead.docker.site')
    assert done.rc == 0, done.stdout[-6000:] + done.stderr
    assert "MaxSessions 33" in sudo(lab, "d13", "cat /etc/ssh/sshd_config.d/00-docker-ssh.conf")
    for context in ("box", "box-ssh"):
        box.check_output(f"docker --context {context} ps")
