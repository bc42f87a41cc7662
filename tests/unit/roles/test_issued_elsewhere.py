"""Roles with a CA whose key is elsewhere: two client hosts, one of which gets its certificate in the first run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.authority import key_text
from helpers.pki import Authority

Play = Callable[..., dict[str, Any]]

ROLES: list[dict[str, Any]] = [
    {"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_ca"}, "when": "inventory_hostname == 'ca'"},
    {
        "ansible.builtin.include_role": {"name": "bulkhead.docker.docker_client"},
        "when": "inventory_hostname != 'ca'",
        "vars": {"docker_client_ca_certificate": "{{ hostvars.ca.docker_ca_state.client_bundle }}"},
    },
]
# On the CA host, unless a task says otherwise; what it fails with is the reason.
TASKS = """
- ansible.builtin.copy:
    content: "{{ docker_ca_issue.request }}"
    dest: "{{ folder }}/{{ docker_ca_issue.file }}.csr"
    mode: "0644"
    force: false
- ansible.builtin.assert:
    that: "docker_ca_issue.name not in refused"
    fail_msg: The board has not decided about {{ docker_ca_issue.subject }} ({{ docker_ca_issue.usage }}).
- ansible.builtin.command:
    argv: [openssl, x509, -req, -in, "{{ docker_ca_issue.file }}.csr", -CA, ca.pem, -CAkey, ca.key, -CAcreateserial,
           -days, "{{ docker_ca_issue.valid_days }}", -copy_extensions, copy, -extfile, leaf]
    chdir: "{{ folder }}"
  register: signed
- ansible.builtin.set_fact:
    docker_ca_issued_certificate: "{{ signed.stdout }}"
"""


def test_who_has_no_certificate_yet_keeps_its_key_and_nobody_else_waits(tmp_path: Path, play: Play) -> None:
    root = Authority("root", path_length=None, days=5000)
    issuing = Authority("issuing", above=root, days=4000)
    folder = tmp_path / "corporate"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    (folder / "ca.pem").write_text(issuing.pem)
    (folder / "chain.pem").write_text(root.pem + issuing.pem)
    key = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-out", folder / "ca.key"]
    subprocess.run(key, input=key_text(issuing.key), check=True)
    (folder / "leaf").write_text("subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    tasks = folder / "issue.yml"
    tasks.write_text(TASKS)

    def run(*refused: str) -> dict[str, Any]:
        shared = {
            "docker_ca_host": "ca",
            "docker_ca_dir": str(tmp_path / "ca"),
            "docker_ca_existing_certificate": str(folder / "chain.pem"),
            "docker_ca_issue_tasks": str(tasks),
            "folder": str(folder),
            "refused": list(refused),
        }
        hosts = {
            name: {**shared, "docker_client_identities": [{"name": name}], "ansible_become_exe": "/nonexistent/sudo"}
            for name in ("ca", "one", "two")
        }
        return play(hosts, ROLES)

    first = run("two")
    assert (first["ca"].failed, first["one"].failed) == (0, 0), first["ca"].message + first["one"].message
    assert (
        "for the client 'two' yet: The board has not decided about CN=two (client). Its key waits"
        in first["two"].message
    )
    identities, pending = tmp_path / "home/.bulkhead/identities", tmp_path / "home/.bulkhead/pending"
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient"]
    subprocess.run([*verify, "-CAfile", identities / "one/ca.pem", identities / "one/cert.pem"], check=True)
    waiting = (pending / "two/key.pem").read_bytes()
    requests = sorted(folder.glob("*.csr"))
    assert len(requests) == 2

    second = run()
    assert [second[name].failed for name in ("ca", "one", "two")] == [0, 0, 0], second["two"].message
    assert (second["ca"].changed, second["one"].changed) == (0, 0)
    assert (identities / "two/key.pem").read_bytes() == waiting
    assert sorted(folder.glob("*.csr")) == requests
    third = run()
    assert [third[name].changed for name in ("ca", "one", "two")] == [0, 0, 0]
    assert len(list((tmp_path / "ca/issued").iterdir())) == 2
