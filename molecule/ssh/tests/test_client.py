"""The user of a client host, for whom the role docker_client has prepared everything."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
import yaml
from testinfra.host import Host


@pytest.fixture
def engines(lab: Any) -> list[str]:
    return list(lab.engines)


def test_every_engine_has_a_context_that_works(host: Host, lab: Any, engines: list[str]) -> None:
    for engine in engines:
        assert host.check_output(f"docker --context {engine}-ssh ps --quiet --filter name=keep")
        endpoint = host.check_output(f"docker context inspect {engine}-ssh --format '{{{{.Endpoints.docker.Host}}}}'")
        assert endpoint == f"ssh://docker-admin@{lab.address(engine)}"


def test_requests_share_a_connection(host: Host, lab: Any, engines: list[str]) -> None:
    for engine in engines:
        assert host.run(f"docker --context {engine}-ssh ps --quiet").rc == 0
        assert host.run(f"ssh -O check -l docker-admin {lab.address(engine)}").rc == 0, "one stays for the next request"


def test_an_engine_with_another_host_key_is_refused(host: Host, lab: Any, engines: list[str]) -> None:
    """Somebody in between, or a name that points elsewhere."""
    known = "/home/ops/.bulkhead/ssh/bulkhead.known_hosts"
    one, other = (lab.address(engine) for engine in engines[:2])
    host.check_output(f"cp {known} /tmp/known && sed -i 's/^{one} /{one}x /; s/^{other} /{one} /' {known}")
    try:
        host.run(f"ssh -O exit -l docker-admin {one}")
        done = host.run(f"docker --context {engines[0]}-ssh ps")
        assert done.rc != 0
        assert "Host key verification failed" in done.stderr
    finally:
        host.check_output(f"cp /tmp/known {known}")
    assert host.run(f"docker --context {engines[0]}-ssh ps").rc == 0


def test_other_logins_to_the_same_hosts_keep_their_settings(host: Host, lab: Any, engines: list[str]) -> None:
    settings = host.check_output(f"ssh -G -l somebody {lab.address(engines[0])}").lower().splitlines()
    assert "controlmaster false" in settings
    assert not [line for line in settings if ".bulkhead" in line]


def test_key_and_files_are_the_user_s_alone(host: Host) -> None:
    assert host.check_output("stat --format %a ~/.bulkhead/ssh ~/.bulkhead/ssh/admin ~/.ssh/config").split() == [
        "700",
        "600",
        "600",
    ]
    assert host.check_output("head -1 ~/.ssh/config") == "Include ~/.bulkhead/ssh/*.config"
    assert not host.file("/home/ops/.bulkhead/identities").exists, "without TLS there are no certificates"


def verify(lab: Any, name: str, account: str, *addresses: str) -> list[dict[str, Any]]:
    """What somebody outside finds out about an account on engines."""
    program = [
        "ansible",
        name,
        "-i",
        str(lab.folder / "inventory.yml"),
        "-m",
        "bulkhead.docker.docker_ssh_endpoint_info",
    ]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    endpoints = [{"name": address, "address": address, "account": account} for address in addresses]
    command = [*program, "-a", json.dumps({"endpoints": endpoints})]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "SUCCESS" in done.stdout, done.stdout + done.stderr
    # JSON or, in Molecule, YAML.
    answers: list[dict[str, Any]] = yaml.safe_load(done.stdout.split("=>", 1)[1])["endpoints"]
    return answers


def test_verification_from_outside_passes(lab: Any, host: Host, engines: list[str]) -> None:
    answers = verify(lab, host.backend.hostname, "docker-admin", *map(lab.address, engines))
    assert len(answers) == len(engines)
    for answer in answers:
        assert answer["findings"] == []
        assert len(answer["refused"]) == 10
        assert all(answer["refused"].values())


@pytest.mark.only_on("d12")
def test_verification_finds_an_account_that_can_do_more(lab: Any, host: Host, engines: list[str]) -> None:
    """An ordinary user who is in the group docker."""
    engine = engines[0]
    key = host.check_output("cat ~/.bulkhead/ssh/admin.pub")
    on_engine = Host.get_host(f"ansible://{engine}?ansible_inventory={lab.folder / 'inventory.yml'}")
    name = f"loose-{host.backend.hostname}"
    with on_engine.sudo():
        on_engine.check_output(
            f"useradd -m -s /bin/bash -G docker {name} && install -d -o {name} -m 700 /home/{name}/.ssh && "
            f"echo '{key}' >/home/{name}/.ssh/authorized_keys && chown {name} /home/{name}/.ssh/authorized_keys"
        )
    host.check_output(
        f"sed 's/user docker-admin/user {name}/' ~/.bulkhead/ssh/bulkhead.config >~/.bulkhead/ssh/x.config"
    )
    try:
        (answer,) = verify(lab, host.backend.hostname, name, lab.address(engine))
        assert not answer["ok"]
        allowed = {what for what, refused in answer["refused"].items() if not refused}
        assert {
            "a command",
            "a shell",
            "file transfer",
            "a connection through the engine",
            "a port on the engine",
        } <= allowed
    finally:
        host.check_output("rm ~/.bulkhead/ssh/x.config")
        with on_engine.sudo():
            on_engine.check_output(f"userdel -r {name}")
    (answer,) = verify(lab, host.backend.hostname, "docker-nobody", lab.address(engine))
    assert not answer["ok"]
    assert answer["refused"] == {}, "where the API does not answer, a refusal proves nothing"
