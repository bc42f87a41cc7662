"""dockerd's command line, as the unit files of Debian, of Docker itself and of other people write it."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import command_line as unit


def _write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def vendor(tmp_path: pathlib.Path) -> pathlib.Path:
    return _write(
        tmp_path / "docker.service",
        "[Unit]\nDescription=x\n[Service]\nType=notify\n"
        f"EnvironmentFile=-{tmp_path}/default\n"
        "ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS\n",
    )


def test_only_the_host_leaves_the_vendor_line(vendor: pathlib.Path) -> None:
    line = unit.read_command_line([vendor])
    assert [(f.name, f.value) for f in line.remote_flags] == [("host", "fd://")]
    assert line.without_remote_flags() == [
        "/usr/sbin/dockerd",
        "--containerd=/run/containerd/containerd.sock",
        "$DOCKER_OPTS",
    ]


def test_a_variable_that_opens_the_engine_is_replaced_by_the_rest_of_it(vendor: pathlib.Path) -> None:
    options = _write(vendor.parent / "default", 'DOCKER_OPTS="-H tcp://0.0.0.0:2375 --dns 10.0.0.1 --label=a%b"\n')
    line = unit.read_command_line([vendor])
    assert [(f.value, f.source) for f in line.remote_flags] == [
        ("fd://", str(vendor)),
        ("tcp://0.0.0.0:2375", str(options)),
    ]
    assert line.without_remote_flags()[2:] == ["--dns", "10.0.0.1", "--label=a%%b"]


def test_the_last_drop_in_that_resets_exec_start_wins(vendor: pathlib.Path, tmp_path: pathlib.Path) -> None:
    drop_in = _write(
        tmp_path / "override.conf",
        "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd \\\n  # a remark\n  -H fd:// --tls=false -Htcp://0.0.0.0:2375\n",
    )
    other = _write(tmp_path / "proxy.conf", "[Service]\nEnvironment=HTTP_PROXY=http://proxy:3128\n")
    line = unit.read_command_line([vendor, drop_in, other])
    assert line.source == str(drop_in)
    assert [(f.name, f.value) for f in line.remote_flags] == [
        ("host", "fd://"),
        ("tls", "false"),
        ("host", "tcp://0.0.0.0:2375"),
    ]
    assert line.without_remote_flags() == ["/usr/sbin/dockerd"]


def test_a_unit_without_exec_start_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path / "docker.service", "[Service]\nType=notify\n")
    with pytest.raises(unit.UnitError, match=r"has no ExecStart in .*docker\.service"):
        unit.read_command_line([path])


def test_words_with_blanks_are_quoted_for_systemd() -> None:
    assert unit.exec_start(["/usr/bin/dockerd", "--label", "a b"]) == '/usr/bin/dockerd --label "a b"'
