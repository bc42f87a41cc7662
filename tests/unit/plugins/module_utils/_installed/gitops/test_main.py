"""A run of the service, and what an operator asks of the command."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import main, tools
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.compose import Engine
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.deploy import Deployer
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import CommandError, GitopsError

if t.TYPE_CHECKING:
    from .conftest import Lab


class Host:
    """An engine on which every project becomes healthy at once."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        self.brought: list[tuple[str, str]] = []
        monkeypatch.setattr(tools, "problems", list)
        monkeypatch.setattr(Engine, "check", lambda engine: None)
        monkeypatch.setattr(Deployer, "bring", lambda deployer, one, commit: self.brought.append((one.name, commit)))
        self.told = lab.places.state / "told"
        self.declare()

    def declare(self, **changes: t.Any) -> None:
        one = {"path": "web", "files": [], "secrets": [], "trial": False, "require_digests": False}
        project = {"name": "web", **one, "wait_seconds": 5, "present": True}
        data = dataclasses.asdict(self.lab.settings())
        notify = ["/bin/sh", "-c", f"cat >>{self.told}; echo >>{self.told}"]
        text = json.dumps({**data, "projects": [project], "notify": notify, **changes})
        self.lab.places.settings.write_text(text, encoding="utf-8")

    def __call__(self, *arguments: str) -> int:
        return main.main(arguments, self.lab.places)

    def metric(self, name: str) -> str:
        text = (self.lab.places.state / "docker_gitops.prom").read_text(encoding="utf-8")
        (value,) = re.findall(rf"^docker_gitops_{name} (\d+)$", text, re.MULTILINE)
        return str(value)

    @property
    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.told.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def host(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(lab, monkeypatch)


def test_a_run_accepts_deploys_tells_and_counts(host: Host) -> None:
    head = host.lab.clone.commit("One", **{"web/compose.yaml": "1"})
    host.lab.push()
    assert host("run") == 0
    assert host("run") == 0
    assert host.brought == [("web", head)] * 2
    assert host.events == ["accepted"]
    assert host.metric("fetch_success") == "1"
    assert host.metric("last_success_timestamp_seconds") == host.metric("last_run_timestamp_seconds") != "0"
    text = (host.lab.places.state / "docker_gitops.prom").read_text(encoding="utf-8")
    for line in text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) docker_gitops_\w+ .+|docker_gitops_\w+(\{\w+="[^"]+"(,\w+="[^"]+")*\})? \d+', line
        )


def test_a_refused_commit_is_told_once_and_what_was_accepted_goes_on(host: Host) -> None:
    head = host.lab.clone.commit("One")
    host.lab.push()
    assert host("run") == 0
    success = host.metric("last_success_timestamp_seconds")
    host.lab.clone.commit("Refused", key="mallory")
    host.lab.push()
    assert host("run") == host("run") == 1
    assert {commit for _, commit in host.brought} == {head}
    assert host.events == ["accepted", "refused"]
    assert host.metric("refused") == "1"
    assert host.metric("last_success_timestamp_seconds") == success


def test_without_the_server_projects_are_looked_after_all_the_same(host: Host) -> None:
    head = host.lab.clone.commit("One")
    host.lab.push()
    assert host("run") == 0
    server = host.lab.places.state.parent / "server.git"
    server.rename(server.with_name("gone"))
    assert host("run") == host("run") == 1
    assert host.metric("fetch_success") == "0"
    assert host.brought == [("web", head)] * 3
    assert host.events == ["accepted", "problem"]
    server.with_name("gone").rename(server)
    assert host("run") == 0
    assert host.metric("fetch_success") == "1"


def test_without_docker_or_a_program_nothing_is_tried(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(engine: Engine) -> None:
        raise CommandError("it is down")

    monkeypatch.setattr(Engine, "check", down)
    assert host("run") == 1
    monkeypatch.setattr(tools, "problems", lambda: ["git is missing."])
    assert host("run") == 1
    assert host.brought == []
    assert host.metric("problem") == "1"


def test_a_pause_deploys_nothing_until_it_ends(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.lab.clone.commit("One")
    host.lab.push()
    assert host("pause", "for the audit") == 0
    assert host("run") == 0
    assert host.brought == []
    assert host.metric("paused") == "1"
    host("status")
    assert "for the audit" in capsys.readouterr().out
    host("resume")
    host.declare(paused=True)
    assert host("run") == 0
    assert host.brought == []
    host.declare()
    assert host("run") == 0
    assert len(host.brought) == 1


def test_forget_accepts_what_comes_next(host: Host) -> None:
    first = host.lab.clone.commit("One")
    host.lab.clone.commit("Two")
    host.lab.push()
    assert host("run") == 0
    host.lab.clone.git("reset", "--quiet", "--hard", first)
    second = host.lab.clone.commit("Another")
    host.lab.push()
    assert host("run") == 1
    assert host("forget") == 0
    assert host("run") == 0
    assert host.brought[-1] == ("web", second)


def test_a_state_that_is_damaged_is_refused_until_it_is_forgotten(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.lab.clone.commit("One")
    host.lab.push()
    for text in ("{", "[]", '{"accepted": {"commit": 1}, "projects": {}}', '{"projects": {}}'):
        (host.lab.places.state / "state.json").write_text(text, encoding="utf-8")
        assert host("run") == 1
        assert "docker-gitops forget" in capsys.readouterr().out
    assert host.brought == []
    assert host("forget") == 0
    assert host("run") == 0


def test_a_notification_that_fails_stops_nothing(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.lab.clone.commit("One")
    host.lab.push()
    host.declare(notify=["/bin/false"])
    assert host("run") == 0
    assert "the notification failed" in capsys.readouterr().out


def test_settings_that_cannot_be_read_are_said(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.lab.places.settings.write_text('{"signers": [], "projects": [], "notify": [], "more": 1}', encoding="utf-8")
    assert host("run") == 1
    assert "run the role docker_gitops again" in capsys.readouterr().out


def test_the_history_keeps_the_newest_events(host: Host) -> None:
    store = main.Store(host.lab.places.state)
    store.record([{"number": number} for number in range(1500)])
    lines = store.history.read_text(encoding="utf-8").splitlines()
    assert [json.loads(lines[0]), json.loads(lines[-1]), len(lines)] == [{"number": 500}, {"number": 1499}, 1000]


@pytest.mark.parametrize(
    ("program", "version", "sentence"),
    [
        ("git", "git version 2.30.2", "git 2.34 or later to verify SSH signatures, and it has 2.30"),
        ("git", "", "and it has none"),
        ("docker", "1.29.2", "docker-compose-plugin"),
        ("docker", "2.23.3", "and it has 2.23"),
    ],
)
def test_a_program_that_is_missing_or_too_old_is_named_with_the_way_to_get_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, program: str, version: str, sentence: str
) -> None:
    for name, says in {
        "git": "git version 2.39.5",
        "docker": "v2.24.6",
        "ssh": "",
        "ssh-keygen": "",
        program: version,
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(tools.commands, "PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    (said,) = tools.problems()
    assert sentence in said
    (tmp_path / program).write_text("#!/bin/sh\necho 2.53.0\n", encoding="utf-8")
    assert tools.problems() == []
    (tmp_path / "ssh-keygen").unlink()
    monkeypatch.setattr(tools.commands, "PATH", str(tmp_path))
    assert "openssh-client" in " ".join(tools.problems())


def test_a_command_ends_with_all_that_it_started(tmp_path: pathlib.Path) -> None:
    left = tmp_path / "left"
    with pytest.raises(CommandError, match="did not end within"):
        main.report.commands.run(["/bin/sh", "-c", f"(sleep 0.6; touch {left}) & wait"], {}, timeout=0.2)
    with pytest.raises(GitopsError, match="cannot be started"):
        main.report.commands.run(["/nonexistent/program"], {})
    main.report.commands.run(["/bin/sleep", "0.7"], {})
    assert not left.exists()
