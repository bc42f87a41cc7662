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


@pytest.mark.parametrize("value", ["", "=1", "=t", "=T", "=true", "=TRUE", "=True"])
def test_true_as_go_writes_it(value: str) -> None:
    (flag,) = unit.CommandLine("docker.service", ("dockerd", f"--tlsverify{value}"), {}).flags
    assert flag.enabled


@pytest.mark.parametrize("value", ["0", "f", "F", "false", "FALSE", "False"])
def test_false_as_go_writes_it(value: str) -> None:
    (flag,) = unit.CommandLine("docker.service", ("dockerd", f"--tlsverify={value}"), {}).flags
    assert not flag.enabled


def test_flags_that_dockerd_does_not_take_are_refused_by_name() -> None:
    line = unit.CommandLine("docker.service", ("dockerd", "--tls=yes", "-H", "tcp://::1:2375"), {})
    with pytest.raises(unit.UnitError, match=r"docker\.service gives dockerd '--tls=yes', which is neither true nor"):
        assert line.flags[0].enabled
    with pytest.raises(unit.UnitError, match=r"gives dockerd '-H tcp://::1:2375', which cannot be used \(an IPv6"):
        assert line.hosts[0].host


def test_the_last_of_several_flags_takes_effect() -> None:
    line = unit.CommandLine("docker.service", ("dockerd", "--graph=/a", "--data-root=/b"), {})
    found = line.last("data-root", "graph")
    assert found
    assert found.value == "/b"
    assert line.last("debug") is None


def test_a_line_that_goes_on_at_the_end_of_the_file(tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path / "docker.service", "[Service]\nExecStart=/usr/bin/dockerd \\")
    assert unit.read_command_line([path]).words == ("/usr/bin/dockerd",)


@pytest.mark.parametrize("pattern", ["-/", "/etc/**x", "/\x00", "[", ""])
def test_environment_files_that_are_none(tmp_path: pathlib.Path, pattern: str) -> None:
    text = f"[Service]\nEnvironmentFile={pattern}\nExecStart=/usr/bin/dockerd $X\n"
    assert unit.read_command_line([_write(tmp_path / "docker.service", text)]).flags == []


def test_words_with_blanks_are_quoted_for_systemd() -> None:
    assert unit.exec_start(["/usr/bin/dockerd", "--label", "a b"]) == '/usr/bin/dockerd --label "a b"'


def test_a_diff_has_the_flags_of_a_drop_in_without_their_values() -> None:
    words = ["/usr/bin/dockerd", "--log-opt", "splunk-token=hunter1", "--http-proxy=http://u:hunter2@h", "-lhunter3"]
    words += ["$DOCKER_OPTS", "${MORE}", "-D", "--label", "a hunter4", "$$hunter5"]
    text = f"# Ours.\n[Service]\nExecStart=\nExecStart={unit.exec_start(words)}\n"
    assert unit.described(text.encode()) == (
        "# Ours.\n[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --log-opt (not shown) --http-proxy=(not shown) "
        "-l(not shown) $DOCKER_OPTS ${MORE} -D --label (not shown) (not shown)\n"
    )


def test_words_are_variables_as_a_whole_or_not_at_all(tmp_path: pathlib.Path) -> None:
    line = unit.CommandLine("docker.service", ("dockerd", "$A\n", "$A"), {"A": ("--debug", "file")})
    assert [flag.words for flag in line.flags] == [("$A\n",), ("--debug",)]
    assert unit.read_variables(_write(tmp_path / "env", "A=1\nA B=2\nC\x0b=3\n")) == {"A": ("1", f"{tmp_path}/env")}
