"""The module as Ansible runs it, on an engine made of folders: what it makes, what it takes away, what it documents."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.bulkhead.docker.plugins.module_utils._gitops import apply, files
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import commands, compose, tools
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import CommandError
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.settings import Places
from ansible_collections.bulkhead.docker.plugins.modules import docker_gitops
from helpers import ssh_engine
from helpers.returns import assert_documented

DECLARED = {
    "repository": "ssh://git@git.example.com/srv/deploy.git",
    "host_keys": [ssh_engine.ED25519],
    "signers": [{"name": "alice@example.com", "public_keys": [ssh_engine.ED25519]}],
    "projects": [{"name": "web"}],
}


@dataclasses.dataclass
class Engine:
    """An engine made of folders."""

    folder: pathlib.Path
    systemctl: list[str] = dataclasses.field(default_factory=list)
    mounted: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    docker_is_down: bool = False
    active: bool = False
    socket_path: str = "/run/docker.sock"

    @property
    def places(self) -> Places:
        return Places(self.folder / "etc/docker-gitops", self.folder / "var/docker-gitops")

    def read_units(self) -> None:
        self.systemctl.append("daemon-reload")

    def command(self, command: t.Sequence[str], env: t.Any, timeout: float = 120, given: t.Any = None) -> t.Any:
        if command[0] == "systemctl":
            if not self.active:
                raise CommandError("inactive")
            return b"", ""
        if command[0] != "docker":
            return self.real(command, env, timeout, given)
        if self.docker_is_down:
            raise CommandError("it is down")
        return ("one\n" if command[1] == "ps" else "\n".join(self.mounted)).encode(), ""

    def unit(self, *words: str) -> None:
        self.systemctl.append(" ".join(words))
        if words[0] == "enable":
            apply._ENABLED.parent.mkdir(parents=True, exist_ok=True)
            apply._ENABLED.symlink_to("timer")
        if words[0] == "disable":
            apply._ENABLED.unlink()
        self.active = {"restart": True, "stop": False, "disable": False}.get(words[0], self.active)

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir())

    real: t.Any = commands.run


@pytest.fixture
def engine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if os.geteuid() != 0:
        pytest.skip("files of an engine belong to root")
    host = Engine(tmp_path)
    host.real = commands.run
    monkeypatch.setattr(files, "PLACES", host.places)
    monkeypatch.setattr(apply, "_PLACES", host.places)
    monkeypatch.setattr(files, "UNITS", tmp_path / "units")
    monkeypatch.setattr(files, "LIBRARY", tmp_path / "lib/bulkhead/gitops")
    monkeypatch.setattr(files, "PROGRAM", tmp_path / "sbin/docker-gitops")
    monkeypatch.setattr(apply, "_ENABLED", tmp_path / "units/wants/timer")
    monkeypatch.setattr(apply, "_systemd", lambda: host)
    monkeypatch.setattr(apply, "_systemctl", host.unit)
    monkeypatch.setattr(tools, "problems", list)
    monkeypatch.setattr(commands, "run", host.command)
    monkeypatch.setattr(compose, "down", lambda engine, name: host.removed.append(name))
    monkeypatch.setattr(AnsibleModule, "warn", lambda module, sentence: host.warnings.append(sentence))
    return host


@pytest.fixture
def run(engine: Engine, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def module(check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            docker_gitops.main()
        said = capsys.readouterr().out
        assert "PRIVATE KEY" not in said
        answer: dict[str, t.Any] = json.loads(said)
        return answer

    return module


def test_it_sets_up_changes_nothing_again_and_takes_all_away(engine: Engine, run: t.Callable[..., t.Any]) -> None:
    predicted = run(check=True, **DECLARED)
    assert (predicted["changed"], predicted["public_key"], engine.left()) == (True, None, [])
    made = run(**DECLARED)
    assert made["changed"]
    assert made["public_key"].startswith("ssh-ed25519 ")
    assert predicted["diff"] == made["diff"]
    assert engine.systemctl == ["daemon-reload", "enable docker-gitops.timer", "restart docker-gitops.timer"]
    key = engine.places.deploy_key
    assert (key.stat().st_mode & 0o777, engine.places.settings.stat().st_mode & 0o777) == (0o600, 0o600)
    text = key.read_text(encoding="utf-8")

    engine.systemctl.clear()
    again = run(**DECLARED)
    assert (again["changed"], again["public_key"], engine.systemctl) == (False, made["public_key"], [])
    other = run(**{**DECLARED, "interval": 120})
    assert (other["changed"], len(other["diff"])) == (True, 1)
    assert engine.systemctl == ["daemon-reload", "restart docker-gitops.timer"]
    assert key.read_text(encoding="utf-8") == text
    engine.active = False  # somebody has stopped the timer
    assert run(**{**DECLARED, "interval": 120})["changed"]
    assert engine.active

    assert run(check=True, state="absent")["changed"]
    assert key.exists()
    gone = run(state="absent")
    assert (gone["changed"], engine.left()) == (True, [])
    assert not run(state="absent")["changed"]
    engine.mounted = []
    kept = {**gone, "kept": ["/x"]}
    assert_documented("docker_gitops", made, again, kept)


def test_what_containers_have_mounted_stays_until_it_is_not(engine: Engine, run: t.Callable[..., t.Any]) -> None:
    run(**{**DECLARED, "metrics_directory": str(engine.folder / "metrics")})
    (engine.folder / "metrics").mkdir()
    (engine.folder / "metrics/docker_gitops.prom").touch()
    for name in ("one", "two"):
        (engine.places.trees / "web" / name).mkdir(parents=True)
        (engine.places.trees / "web" / name / "file").touch()
    engine.places.state.joinpath("state.json").write_text("{}", encoding="utf-8")
    engine.mounted = [str(engine.places.trees / "web/two/file"), "/srv"]

    found = run(state="absent")

    assert found["kept"] == [str(engine.places.trees / "web/two")]
    assert "because containers have mounted them" in engine.warnings[0]
    assert engine.left() == ["var/docker-gitops/trees/web/two/file"]
    assert not run(state="absent")["changed"]
    engine.docker_is_down = True
    assert not run(state="absent")["changed"]
    engine.docker_is_down, engine.mounted = False, []
    assert run(state="absent")["changed"]
    assert not engine.places.state.exists()


def test_projects_go_when_they_shall(engine: Engine, run: t.Callable[..., t.Any]) -> None:
    run(**DECLARED)
    state = {"accepted": None, "projects": {"web": {"good": None, "failed": None, "attempt": None}}}
    engine.places.state.joinpath("state.json").write_text(json.dumps(state), encoding="utf-8")
    (engine.places.trees / "web/one").mkdir(parents=True)
    engine.mounted = [str(engine.places.trees / "web/one")]
    assert run(check=True, state="absent", remove_projects=True)["changed"]
    assert engine.removed == []
    run(state="absent", remove_projects=True)
    assert (engine.removed, engine.left()) == (["web"], [])


def test_programs_change_while_no_run_begins(engine: Engine, run: t.Callable[..., t.Any]) -> None:
    run(**DECLARED)
    left = files.LIBRARY / "left_by_an_older_release.py"
    left.touch()
    (files.LIBRARY / "tree.py").write_text("", encoding="utf-8")
    engine.systemctl.clear()
    assert run(**DECLARED)["changed"]
    assert engine.systemctl == ["stop docker-gitops.timer", "restart docker-gitops.timer"]
    assert not left.exists()
    assert (files.LIBRARY / "tree.py").stat().st_size > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"repository": "x"}, "docker_gitops_repository"),
        ({"registry_config": "/nonexistent/config.json"}, "/nonexistent/config.json is not there"),
        ({"signers": [{"name": "a", "public_keys": ["x"]}]}, "a in docker_gitops_signers"),
    ],
)
def test_a_refusal_changes_nothing(
    engine: Engine, run: t.Callable[..., t.Any], change: dict[str, t.Any], sentence: str
) -> None:
    answer = run(**{**DECLARED, **change})
    assert answer["failed"]
    assert sentence in answer["msg"]
    assert engine.left() == engine.systemctl == []


def test_a_missing_program_is_named(engine: Engine, run: t.Callable[..., t.Any], monkeypatch: t.Any) -> None:
    monkeypatch.setattr(tools, "problems", lambda: ["this host needs git.", "this host needs Compose."])
    assert run(**DECLARED)["msg"] == "this host needs git. this host needs Compose."
    assert engine.left() == []


def test_a_key_that_is_damaged_is_said(engine: Engine, run: t.Callable[..., t.Any]) -> None:
    run(**DECLARED)
    engine.places.deploy_key.write_text("damaged", encoding="utf-8")
    assert "give the Git server the new one" in run(**DECLARED)["msg"]
