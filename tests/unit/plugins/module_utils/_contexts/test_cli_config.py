"""config.json: one key changes, and not one byte of anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import cli_config

ODD = '{\n  "auths" : {"r.example": {"auth": "c2VjcmV0"}}, "psFormat":"\\u007b{.ID}}",\n\t"n": 1.50e2 }\n\n'


def changed(path: Path, name: str) -> str:
    config = cli_config.load(path)
    cli_config.save(config, cli_config.with_current(config, name))
    return path.read_text()


@pytest.mark.parametrize("text", [ODD, "{}", "{ }\n", '{"a":{}}', '{\r\n\t"a": [1, {"currentContext": "x"}]\r\n}'])
def test_every_other_byte_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode())
    before = json.loads(text)
    for name in ("web1", "web2"):
        changed(path, name)
        assert json.loads(path.read_bytes()) == {**before, "currentContext": name}
    changed(path, "")
    assert json.loads(path.read_bytes()) == before
    if before:
        assert path.read_bytes() == text.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"currentContext": "a", "b": 1}', '{"b": 1}'),
        ('{"b": 1,\n "currentContext": "a"}', '{"b": 1}'),
        ('{"b": 1, "currentContext": "a", "c": 2}', '{"b": 1, "c": 2}'),
        ('{"currentContext": "a", "b": 1, "currentContext": "c"}', '{"b": 1}'),
        ('{\n\t"currentContext": "a"\n}\n', "{\n}\n"),
    ],
)
def test_the_key_goes_wherever_it_is(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(before)
    assert changed(path, "") == after


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_a_missing_file_is_made_for_its_owner_alone(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
        path.chmod(0o600)
    assert changed(path, "") == "{}\n"
    assert changed(path, "web1") == '{\n\t"currentContext": "web1"\n}\n'
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link_and_a_mode_stays(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles/docker.json"
    real.write_text("{}")
    real.chmod(0o640)
    (tmp_path / "config.json").symlink_to(real)
    changed(tmp_path / "config.json", "web1")
    assert (tmp_path / "config.json").is_symlink()
    assert json.loads(real.read_text()) == {"currentContext": "web1"}
    assert real.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in real.parent.iterdir()] == ["docker.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "is not JSON"), (b"[]", "does not hold a JSON object"), (b'{"a": "\xff"}', "is not UTF-8")],
)
def test_what_docker_cannot_read_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(cli_config.ConfigError, match=says):
        cli_config.load(path)
