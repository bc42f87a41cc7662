"""Projects that are brought to a commit, with a Compose that can fail, and with the power cut at every step."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import compose, deploy
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.compose import Container
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import CommandError
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.settings import Project
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.state import State, Store

if t.TYPE_CHECKING:
    from .conftest import Lab


class PowerCutError(BaseException):
    """The process is gone here."""


@dataclasses.dataclass
class Docker:
    """An engine on which a version runs, is healthy or not, and which can lose its power before any step."""

    running: dict[str, str] = dataclasses.field(default_factory=dict)  # project: its content
    steps: list[str] = dataclasses.field(default_factory=list)
    cut_at: int = -1
    images: dict[str, str] = dataclasses.field(default_factory=dict)  # name: what was built under it last
    used: dict[str, str] = dataclasses.field(default_factory=dict)  # project: the image of its container
    no_registry: bool = False
    stopped: bool = False

    def step(self, what: str) -> None:
        if len(self.steps) == self.cut_at:
            self.cut_at = -1
            raise PowerCutError(what)
        self.steps.append(what)

    def containers(self, project: str) -> list[Container]:
        content = self.running.get(project)
        status = "exited" if self.stopped else "running"
        container = Container(
            f"{project}-web-1", "web", content or "", status, "", 0, "web", self.used.get(project, "")
        )
        return [container] if content else []

    def name_again(self, images: dict[str, str]) -> None:
        self.step("name")
        self.images.update(images)


class Compose:
    """As the real one is used; a file says what the version is like."""

    def __init__(
        self,
        engine: Docker,
        name: str,
        folder: pathlib.Path,
        files: t.Sequence[str],
        variables: t.Mapping[str, str],
        model: t.Any = None,
    ) -> None:
        self.docker, self.name = engine, name
        self.content = (folder / "compose.yaml").read_text(encoding="utf-8")

    def model(self, interpolate: bool = True) -> dict[str, t.Any]:
        if self.content == "broken":
            raise CommandError("'docker compose' ended with code 1: no YAML")
        if self.content == "remote":
            return {"services": {"web": {"build": {"context": "https://example.com/x.git"}}}}
        if self.content == "outside":
            return {"services": {"web": {"image": "x", **({} if interpolate else {"env_file": "/etc/x"})}}}
        return {"services": {"web": {"image": "x", "build": {"context": "."} if "built" in self.content else None}}}

    def hashes(self) -> dict[str, str]:
        return {"web": self.content}

    def pull(self, model: t.Any) -> None:
        self.docker.step("pull")
        if self.docker.no_registry:
            raise CommandError("no such host")

    def build(self) -> None:
        self.docker.step("build")
        self.docker.images["web"] = self.content

    def up(self, seconds: int) -> None:
        self.docker.step(f"up {self.name}")
        self.docker.used[self.name] = self.docker.images.get("web", "")
        self.docker.running[self.name] = self.content
        self.docker.stopped = False
        self.docker.step(f"wait {self.name}")
        if self.content.startswith("sick"):
            raise CommandError("unhealthy")

    def down(self, volumes: bool = False) -> None:
        self.docker.step(f"down {self.name}")
        self.docker.running.pop(self.name, None)


class Deployment:
    """An engine with its state on the disk; every run starts from there."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.docker = lab, Docker()
        self.store = Store(lab.places.state)
        self.events: list[tuple[str, str]] = []
        monkeypatch.setattr(deploy, "Compose", Compose)
        monkeypatch.setattr(compose, "down", lambda engine, name: engine.running.pop(name, None))

    @property
    def state(self) -> State:
        return self.store.load()

    def version(self, **contents: str) -> str:
        return self.lab.clone.commit("Version", **{f"{name}/compose.yaml": text for name, text in contents.items()})

    def run(self, commit: str, *projects: Project, **changes: t.Any) -> None:
        self.lab.push()
        repository = self.lab.repository()
        repository.fetch()
        state = self.state

        def save() -> None:
            self.docker.step("save")
            self.store.save(state)

        def tell(kind: str, name: str, commit: str, text: str) -> None:
            self.events.append((kind, name))

        settings = self.lab.settings(projects=projects, **changes)
        engine = t.cast(t.Any, self.docker)
        deployer = deploy.Deployer(settings, self.lab.places, repository, engine, state, save, tell)
        for one in projects:
            deployer.bring(one, commit)


@pytest.fixture
def engine(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    return Deployment(lab, monkeypatch)


def project(name: str = "web", **changes: t.Any) -> Project:
    given = {"path": name, "files": (), "secrets": (), "trial": False, "require_digests": False}
    return Project(**{"name": name, **given, "wait_seconds": 5, "present": True, **changes})


@pytest.mark.parametrize("trial", [False, True])
@pytest.mark.parametrize(
    ("content", "expected"), [("two", "two"), ("sick", "one"), ("broken", "one"), ("remote", "one"), ("outside", "one")]
)
def test_a_version_is_deployed_or_the_last_good_one_stays(
    engine: Deployment, content: str, expected: str, trial: bool
) -> None:
    web, other = project(trial=trial), project("other")
    engine.run(engine.version(web="one", other="1"), web, other)
    head = engine.version(web=content, other="2")
    engine.docker.steps.clear()

    engine.run(head, web, other)

    assert engine.docker.running == {"web": expected, "other": "2"}
    touched = [step for step in engine.docker.steps if step == "up web"]
    assert len(touched) == (1 if content == "two" else 2 if content == "sick" and not trial else 0)
    state = engine.state.projects["web"]
    assert bool(state.failure) == (content != "two")
    assert state.attempt is None
    kinds = [kind for kind, name in engine.events if name == "web"][1:]
    assert kinds == (["deployed"] if expected == "two" else ["failed", "rolled_back"] if touched else ["failed"])
    # The same again is not tried again, until somebody says so.
    engine.docker.steps.clear()
    engine.run(head, web, other)
    assert not [step for step in engine.docker.steps if step.startswith(("up", "pull"))]


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("trial", [False, True])
def test_the_last_good_version_comes_back_with_its_image(engine: Deployment, trial: bool, correct: bool) -> None:
    """Its files name the image that the failed version was built under, too."""
    engine.run(engine.version(web="built one"), project(trial=trial))
    head = engine.version(web="sick built two")
    engine.run(head, project(trial=trial))
    assert engine.docker.running == {"web": "built one"}
    assert engine.docker.used["web"] == engine.docker.images["web"] == "built one"
    engine.docker.images["web"] = "pulled by hand"
    engine.docker.stopped = True
    engine.run(head, project(trial=trial), correct_drift=correct)
    assert engine.docker.used["web"] == "built one"
    assert engine.docker.images["web"] == ("built one" if correct else "pulled by hand")


@pytest.mark.parametrize("trial", [False, True])
@pytest.mark.parametrize(("content", "expected"), [("two", "two"), ("sick", "one")])
def test_a_power_cut_at_any_step_ends_as_if_there_had_been_none(
    engine: Deployment, content: str, expected: str, trial: bool
) -> None:
    web = project(trial=trial)
    engine.run(engine.version(web="one"), web)
    cuts = 0
    for number in range(40):
        head = engine.version(web=f"{content} {number}")
        engine.docker.steps.clear()
        engine.docker.cut_at = number
        try:
            engine.run(head, web)
            break
        except PowerCutError:
            cuts += 1
        engine.docker.steps.clear()
        engine.run(head, web)
        assert engine.docker.running == {"web": f"{content} {number}" if expected == "two" else "one"}, number
        assert engine.state.projects["web"].attempt is None
    assert cuts >= (4 if content == "two" else 6)


def test_a_deployment_that_is_cut_off_again_and_again_is_given_up(engine: Deployment) -> None:
    web = project()
    engine.run(engine.version(web="one"), web)
    head = engine.version(web="two")
    for _ in range(3):
        engine.docker.steps.clear()
        engine.docker.cut_at = 3  # its containers are made, and the host dies of it
        with pytest.raises(PowerCutError):
            engine.run(head, web)
    engine.run(head, web)
    assert engine.docker.running == {"web": "one"}
    assert "was cut off 3 times" in engine.state.projects["web"].failure


def test_a_first_version_that_fails_leaves_nothing(engine: Deployment) -> None:
    engine.run(engine.version(web="sick"), project())
    assert engine.docker.running == {}
    engine.run(engine.version(web="one"), project())
    assert engine.docker.running == {"web": "one"}
    assert engine.state.projects["web"].failure == ""


@pytest.mark.parametrize("trial", [False, True])
def test_what_ran_before_deployments_came_is_not_taken_down(engine: Deployment, trial: bool) -> None:
    engine.docker.running["web"] = "by hand"
    engine.run(engine.version(web="sick"), project(trial=trial))
    assert engine.docker.running == {"web": "by hand" if trial else "sick"}
    assert engine.state.projects["web"].attempt is None
    engine.run(engine.version(web="one"), project(trial=trial))
    assert engine.docker.running == {"web": "one"}
    engine.run(engine.version(web="sick again"), project(trial=trial))
    assert engine.docker.running == {"web": "one"}


def test_what_is_not_the_version_s_fault_is_tried_again(engine: Deployment) -> None:
    engine.run(engine.version(web="one"), project())
    head = engine.version(web="two")
    engine.docker.no_registry = True
    for _ in range(5):
        engine.run(head, project())
        assert "cannot be pulled" in engine.state.projects["web"].problem
    assert engine.events.count(("problem", "web")) == 1
    assert engine.docker.running == {"web": "one"}
    engine.docker.no_registry = False
    engine.run(head, project())
    assert engine.docker.running == {"web": "two"}
    assert engine.state.projects["web"].problem == ""


def test_a_good_version_that_does_not_come_back_is_tried_until_it_does(engine: Deployment) -> None:
    engine.run(engine.version(web="one"), project())
    head = engine.version(web="sick")
    engine.docker.steps.clear()
    real = Compose.up

    def fails(self: Compose, seconds: int) -> None:
        if self.content == "one":
            raise CommandError("no space left on device")
        real(self, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Compose, "up", fails)
        engine.run(head, project())
        engine.run(head, project())
    assert "cannot be restored" in engine.state.projects["web"].problem
    engine.run(head, project())
    assert engine.docker.running == {"web": "one"}
    assert engine.state.projects["web"].problem == ""


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("change", ["gone", "other", "stopped", "file"])
def test_drift_is_shown_or_corrected(engine: Deployment, change: str, correct: bool) -> None:
    head = engine.version(web="one")
    engine.run(head, project())
    file = next(engine.lab.places.trees.glob("web/*/compose.yaml"))
    if change == "gone":
        engine.docker.running.clear()
    elif change == "other":
        engine.docker.running["web"] = "by hand"
    elif change == "stopped":
        engine.docker.stopped = True
    else:
        file.write_text("changed", encoding="utf-8")
    for _ in range(2):
        engine.run(head, project(), correct_drift=correct)
    kinds = [kind for kind, _ in engine.events][1:]
    assert kinds == (["drift", "corrected"] if correct else ["drift"])
    assert bool(engine.state.projects["web"].drift) == (not correct)
    assert (engine.docker.running == {"web": "one"} and not engine.docker.stopped) == (correct or change == "file")
    assert (file.read_text(encoding="utf-8") == "one") == (correct or change != "file")


def test_a_project_that_is_absent_is_removed_and_one_that_is_not_named_stays(engine: Deployment) -> None:
    head = engine.version(web="one", other="1")
    engine.run(head, project(), project("other"))
    engine.run(head, project(present=False))
    assert engine.docker.running == {"other": "1"}
    assert set(engine.state.projects) == {"other"}
    assert not (engine.lab.places.trees / "web").exists()


def test_only_the_good_tree_stays_on_the_disk(engine: Deployment) -> None:
    for content in ("one", "two", "sick", "three"):
        engine.run(engine.version(web=content), project())
    (folder,) = engine.lab.places.trees.glob("web/*")
    assert (folder / "compose.yaml").read_text(encoding="utf-8") == "three"
