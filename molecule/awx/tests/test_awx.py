"""Every job template, in the order of a fleet's life. Each test goes on where the one before has ended."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables
from controller import CONTROLLER, KEY, PASSPHRASE, USER, Controller, Job
from helpers import awx

OTHER = 'an {# other #} "one\\'
# What a job is told and says again, with quotes and backslashes: whoever looks for a passphrase has to find this, too.
CONTROL = "co'n\"t\\ro l 12'3\\4\""


def good(job: Job) -> Job:
    assert job.code == 0, job.output
    return job


def unchanged(job: Job) -> None:
    assert good(job).changed == {}, job.output
    assert "; nothing to change; " in job.artefacts[variables.ARTEFACT]["summary"]


def host(lab: Any, name: str, command: str) -> str:
    """As the user ops on a host of the lab."""
    done = lab.run("docker", "exec", "--user", "ops", f"bulkhead-{lab.name}-{name}", "sh", "-c", f"cd; {command}")
    return f"{done.stdout}{done.stderr}".strip() if done.returncode else done.stdout.strip()


def serials(lab: Any) -> list[str]:
    files = 'for f in .bulkhead/ca/issued/*.pem; do openssl x509 -noout -serial -in "$f"; done'
    return host(lab, "ca1", files).splitlines()


def test_a_job_has_a_home_of_its_own_and_cannot_change_the_collection(controller: Controller, tmp_path: Path) -> None:
    """Or these jobs would prove less than those of AWX: what is left in a home would be there for the next one."""
    os.chown(tmp_path, USER, 0)
    asks = """id -u; echo "$HOME"; ls -A "$HOME"; echo
c=$(dirname "$(find / -xdev -path '*/bulkhead/docker/MANIFEST.json')")
test -d "$c/playbooks" && find "$c" -writable; touch "$c/x" 2>&1"""

    done = controller.inside(tmp_path, "sh", "-c", asks)

    user, home, *rest = done.stdout.splitlines()
    assert (user, home) == (str(USER), "/runner"), done.stdout
    (nothing, refused) = rest
    assert nothing == ""
    assert refused.startswith("touch: ")
    assert "/bulkhead/docker/x': Permission denied" in refused


def test_a_slice_of_site_refuses_before_anything_is_changed(controller: Controller, lab: Any) -> None:
    for number in (1, 2):
        job = controller.launch("Docker site", part=(number, 2))
        assert job.code != 0
        assert "This job is a slice of the job template 'Docker site'" in job.output
    assert host(lab, "ca1", "ls -A .bulkhead") == "ls: cannot access '.bulkhead': No such file or directory"


def test_site_secures_the_fleet_and_a_second_run_changes_nothing(controller: Controller, lab: Any) -> None:
    good(controller.launch("Docker site", check=True))
    assert "No such file" in host(lab, "ca1", "ls .bulkhead")
    good(controller.launch("Docker site"))
    assert "ENCRYPTED" in host(lab, "ca1", "head -1 .bulkhead/ca/ca-key.pem")
    assert len(serials(lab)) == 4
    for engine in ("web1", "web2"):
        version = host(lab, "build1", f"docker --context {engine}-build1 version --format '{{{{.Server.Version}}}}'")
        assert re.match(r"\d+\.", version), version
    unchanged(controller.launch("Docker site"))
    assert len(serials(lab)) == 4


def test_a_workflow_renews_and_verifies(controller: Controller, lab: Any) -> None:
    renewed = controller.launch("Docker renew", workflow="Docker weekly")
    unchanged(renewed)
    verified = controller.launch("Docker verify", workflow="Docker weekly", before=renewed.artefacts)
    unchanged(verified)
    assert set(renewed.artefacts) == set(verified.artefacts) == {variables.ARTEFACT}
    assert variables.ARTEFACT not in variables.KNOWN


def test_slices_of_engines_run_at_once_on_one_ca(controller: Controller, lab: Any) -> None:
    """Hosts by name are build1, ca1, web1, web2: the CA host is in the second slice, and each has an engine."""
    before = serials(lab)
    for engine in ("web1", "web2"):
        root = f"bulkhead-{lab.name}-{engine}"
        lab.docker("exec", root, "sh", "-c", "rm /etc/docker/tls/server-cert.pem")

    with ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda number: controller.launch("Docker engines", part=(number, 2)), (1, 2)))

    for job, engine in zip(jobs, ("web1", "web2")):
        good(job)
        assert engine in job.changed
        assert [row["name"] for row in job.artefacts[variables.ARTEFACT]["rows"] if row["kind"] == "engine"] == [engine]
    after = serials(lab)
    assert len(after) == len(set(after)) == len(before) + 2
    for number in (1, 2):
        unchanged(controller.launch("Docker engines", part=(number, 2)))
    unchanged(controller.launch("Docker site"))


def test_the_passphrase_is_changed_with_the_credential(controller: Controller, lab: Any) -> None:
    good(controller.launch("Docker change passphrase", secrets={"passphrase": OTHER, "old_passphrase": PASSPHRASE}))
    refused = controller.launch("Docker renew", {"docker_renew_force": "true"})
    assert refused.code != 0, "the key is not opened with the old one any more"
    controller.passphrase = OTHER
    again = controller.launch("Docker change passphrase", secrets={"passphrase": OTHER, "old_passphrase": PASSPHRASE})
    assert good(again).changed == {}
    before = serials(lab)
    good(controller.launch("Docker renew", {"docker_renew_force": "true"}))
    assert len(serials(lab)) == len(before) + 4


def test_a_client_is_revoked(controller: Controller, lab: Any) -> None:
    good(controller.launch("Docker revoke client", {"docker_revoke_name": "guest"}))
    assert host(lab, "build1", "ls .bulkhead/identities") == "build1"
    accounts = lab.docker("exec", f"bulkhead-{lab.name}-web1", "sh", "-c", "getent passwd | grep ^docker-")
    assert "docker-guest" not in accounts
    assert "docker-build1" in accounts
    assert "guest" not in host(lab, "ca1", "ls .bulkhead/ca/holders")
    unchanged(controller.launch("Docker revoke client", {"docker_revoke_name": "guest"}))


def test_the_ca_is_replaced(controller: Controller, lab: Any) -> None:
    before = host(lab, "ca1", "cat .bulkhead/ca/ca.pem")
    good(controller.launch("Docker rotate CA", {"docker_engine_serial": "100%"}, workflow="Docker new CA"))
    assert host(lab, "ca1", "cat .bulkhead/ca/ca.pem") != before
    good(controller.launch("Docker verify"))


def test_access_is_taken_away(controller: Controller, lab: Any) -> None:
    good(controller.launch("Docker remove", {"docker_remove_hosts": "all", "docker_remove_ca": "true"}))
    assert "No such file" in host(lab, "ca1", "ls .bulkhead/ca/ca-key.pem")
    assert "web1" not in host(lab, "build1", "docker context ls")
    unchanged(controller.launch("Docker remove", {"docker_remove_hosts": "all", "docker_remove_ca": "true"}))


def parts(secret: str) -> list[str]:
    return [secret, secret[:8], secret[-8:]]


def test_nothing_that_awx_keeps_has_a_key_or_a_passphrase(controller: Controller) -> None:
    assert {job.template for job in controller.jobs} == {entry["name"] for entry in CONTROLLER["controller_templates"]}
    control = controller.launch("Docker revoke client", {"docker_revoke_name": CONTROL})
    assert control.code != 0
    assert [part for part in parts(CONTROL) if not awx.has(control.kept, part)] == [], "whatever is told is found"
    for job in controller.jobs:
        assert job.events
        assert "PLAY RECAP" in job.kept, "it is what AWX keeps"
        found = [part for secret in (PASSPHRASE, OTHER) for part in parts(secret) if awx.has(job.kept, part)]
        assert found == []
        assert KEY not in job.kept
