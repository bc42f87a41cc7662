"""Where a CA would be gone with the container that a job runs in."""

from __future__ import annotations

import contextlib
import pathlib

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import lasting

# As in a container of podman that ansible-runner has started, with three volumes of the operator's.
MOUNTS = """\
600 500 0:60 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
601 600 0:61 / /proc rw - proc proc rw
602 600 0:62 / /dev/shm rw - tmpfs shm rw
603 600 254:1 /tmp/awx_7_x1 /runner rw,relatime - ext4 /dev/vda rw
604 600 254:1 /tmp/awx_7_x1/artifacts /runner/artifacts rw,relatime - ext4 /dev/vda rw
605 600 254:1 /srv/ca /var/lib/docker-ca rw,relatime shared:5 master:3 - ext4 /dev/vda rw
606 600 0:70 / /mnt/with\\040blank rw - nfs4 nas:/ca rw
607 600 254:1 /srv/hidden /mnt/hidden rw - ext4 /dev/vda rw
608 607 0:71 / /mnt/hidden rw - tmpfs tmpfs rw
609 603 254:1 /srv/kept /runner/kept rw - xfs /dev/vdb rw
"""
JOB = {"LAUNCHED_BY_RUNNER": "1"}


@pytest.fixture(autouse=True)
def mounts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTS, encoding="ascii")
    monkeypatch.setattr(lasting, "_MOUNTS", file)


def refusal(path: str, environment: dict[str, str]) -> str:
    with contextlib.suppress(ca.CaError):
        lasting.refuse_temporary(ca.Directory(pathlib.Path(path)), environment)
        return ""
    with pytest.raises(ca.CaError) as refused:
        lasting.refuse_temporary(ca.Directory(pathlib.Path(path)), environment)
    return str(refused.value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nonexistent/.bulkhead/ca", "on the file system / (overlay)"),
        ("/nonexistent/ca", "on the file system / (overlay)"),
        ("/var/lib/docker-ca2/ca", "on the file system / (overlay)"),  # beside the volume
        ("/dev/shm/ca", "on the file system /dev/shm (tmpfs)"),
        ("/runner/.bulkhead/ca", "on the file system /runner (ext4)"),
        ("/runner/artifacts/ca", "on the file system /runner/artifacts (ext4)"),
        ("/mnt/hidden/ca", "on the file system /mnt/hidden (tmpfs)"),
    ],
)
@pytest.mark.parametrize("variable", ["LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR"])
def test_no_ca_is_made_on_what_ends_with_the_job(path: str, says: str, variable: str) -> None:
    told = refusal(path, {variable: "1"})
    assert told.startswith(f"There is no CA in {path}, and a new one would be gone with the execution environment")
    assert says in told
    assert f"or is taken to run in by {variable}: that folder" in told
    assert refusal(path, {variable: ""}) == refusal(path, {}) == ""


def test_where_there_is_no_proc_there_is_no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as macOS, where ansible-runner runs jobs without one."""
    monkeypatch.setattr(lasting, "_MOUNTS", pathlib.Path("/nonexistent/mountinfo"))
    assert refusal("/nonexistent/.bulkhead/ca", JOB) == ""


@pytest.mark.parametrize(
    "path", ["/var/lib/docker-ca", "/var/lib/docker-ca/a/b", "/mnt/with blank/ca", "/runner/kept/ca"]
)
def test_a_ca_is_made_on_a_volume_that_somebody_has_mounted(path: str) -> None:
    assert refusal(path, JOB) == ""


def test_the_folder_of_a_job_is_the_one_that_awx_names() -> None:
    assert "/var/lib/docker-ca (ext4)" in refusal(
        "/var/lib/docker-ca/ca", {"AWX_PRIVATE_DATA_DIR": "/var/lib/docker-ca"}
    )


def test_a_link_counts_for_where_it_leads(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lasting").symlink_to("/var/lib/docker-ca")
    assert refusal(str(tmp_path / "lasting/ca"), JOB) == ""


def test_a_ca_that_is_there_stays_in_use(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ca-cert.pem").touch()
    assert refusal(str(tmp_path), JOB) == ""
