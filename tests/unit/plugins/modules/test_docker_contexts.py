"""docker_contexts: a whole set, what is removed of it, and what never is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from helpers.docker_cli import HOST, create, current, docker, inspect, tls, tree

Run = Callable[..., dict[str, Any]]


def names(home: Path) -> list[str]:
    return docker(home, "context", "ls", "--format", "{{.Name}}").split()


def declared(*wanted: str, identity: Any) -> list[dict[str, str]]:
    return [{"name": name, "docker_host": f"tcp://{name}.example:2376", **tls(identity)} for name in wanted]


def test_a_set_in_one_call(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    options = {"contexts": declared("web1", "web2", "web3", identity=identities[0]), "current": "web2"}
    checked = run_module("docker_contexts", check=True, **options)
    assert list(tmp_path.iterdir()) == []
    made = run_module("docker_contexts", **options)
    assert checked == made
    assert names(tmp_path) == ["default", "web1", "web2", "web3"]
    assert current(tmp_path) == "web2"
    assert [context["name"] for context in made["contexts"] if context["current"]] == ["web2"]
    again = run_module("docker_contexts", **options)
    assert (again["changed"], again["diff"], again["removed"]) == (False, [], [])


def test_only_what_it_made_is_removed(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    create(tmp_path, "byhand", HOST, identities[0], "mine")
    create(tmp_path, "taken", HOST, identities[0], "mine, but declared")
    first = declared("web1", "web2", "taken", identity=identities[1])
    run_module("docker_contexts", contexts=first, current="web1")
    run_module("docker_contexts", contexts=declared("web3", identity=identities[1]), context_set="staging")
    run_module("docker_context", name="single", docker_host="unix:///run/docker.sock")
    docker(tmp_path, "context", "create", "copy", "--from", "web1")
    assert inspect(tmp_path, "taken")["Endpoints"]["docker"]["Host"] == "tcp://taken.example:2376"

    kept = run_module("docker_contexts", contexts=declared("web2", identity=identities[1]))
    assert (kept["changed"], kept["removed"]) == (False, [])

    options = {"contexts": declared("web2", identity=identities[1]), "purge": True}
    before = tree(tmp_path)
    checked = run_module("docker_contexts", check=True, **options)
    assert tree(tmp_path) == before
    done = run_module("docker_contexts", **options)
    assert checked == done
    assert done["removed"] == ["web1"]
    assert done["current_context_name"] == "default"
    assert names(tmp_path) == ["byhand", "copy", "default", "single", "taken", "web2", "web3"]
    assert not run_module("docker_contexts", **options)["changed"]
    assert run_module("docker_contexts", contexts=[], purge=True)["removed"] == ["web2"]


def test_a_context_that_moves_to_another_set_is_the_other_set_s(
    tmp_path: Path, run_module: Run, identities: list[Any]
) -> None:
    contexts = declared("web1", identity=identities[0])
    run_module("docker_contexts", contexts=contexts, context_set="old")
    moved = run_module("docker_contexts", contexts=contexts, context_set="new")
    assert "set: old" in moved["diff"][0]["before"]
    assert "set: new" in moved["diff"][0]["after"]
    assert run_module("docker_contexts", contexts=[], context_set="old", purge=True)["removed"] == []
    assert run_module("docker_contexts", contexts=[], context_set="new", purge=True)["removed"] == ["web1"]


def test_an_account_s_contexts_are_removed_and_no_others(
    tmp_path: Path, run_module: Run, identities: list[Any]
) -> None:
    ssh = [
        {"name": f"web1-{name}", "docker_host": f"ssh://docker-{name}@web1{port}"}
        for name, port in (("eve", ""), ("admin", ""), ("eve-2", ":2222"))
    ]
    run_module("docker_contexts", contexts=[*ssh, *declared("web1", identity=identities[0])], current="web1-eve")
    other = [{"name": "eve2", "docker_host": "ssh://docker-eve@web2:2222"}]
    run_module("docker_contexts", contexts=other, context_set="other")
    docker(tmp_path, "context", "create", "byhand", "--docker", "host=ssh://docker-eve@web1")
    done = run_module("docker_contexts", contexts=[], remove_accounts=["docker-eve"])
    assert done["removed"] == ["eve2", "web1-eve"]
    assert names(tmp_path) == ["byhand", "default", "web1", "web1-admin", "web1-eve-2"]
    assert done["current_context_name"] == "default"
    assert not run_module("docker_contexts", contexts=[], remove_accounts=["docker-eve"])["changed"]


def test_one_bad_context_stops_all(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    good = declared("web1", "web2", identity=identities[0])
    cases = {
        "is declared twice": {"contexts": [*good, good[0]]},
        "context 'web3': docker_host 'tcp://web3:2376' needs": {
            "contexts": [*good, {"name": "web3", "docker_host": "tcp://web3:2376"}]
        },
        "'web9' cannot be current, because it does not exist": {"contexts": good, "current": "web9"},
    }
    for says, options in cases.items():
        assert says in run_module("docker_contexts", **options)["msg"]
        assert list(tmp_path.iterdir()) == []
    run_module("docker_contexts", contexts=good)
    before = tree(tmp_path)
    refused = run_module("docker_contexts", contexts=good[:1], current="web2", purge=True)
    assert "'web2' cannot be current, because it is to be removed" in refused["msg"]
    assert tree(tmp_path) == before


def test_damaged_contexts_of_others_are_named_and_left_alone(
    tmp_path: Path, run_module: Run, identities: list[Any]
) -> None:
    damaged = tmp_path / ".docker/contexts/meta/0123/meta.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    done = run_module("docker_contexts", contexts=declared("web1", identity=identities[0]), purge=True)
    assert done["changed"]
    assert str(damaged) in json.dumps(done["warnings"])
    assert damaged.read_text() == "{"


def test_runs_at_the_same_time_do_not_lose_anything(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths": {}}')

    def one(number: int) -> dict[str, Any]:
        contexts = declared(f"web{number}", "shared", identity=identities[number % 2])
        return run_module("docker_contexts", contexts=contexts, current=f"web{number}")

    with ThreadPoolExecutor(6) as pool:
        assert not [result for result in pool.map(one, range(6)) if result.get("failed")]
    assert names(tmp_path) == ["default", "shared", *(f"web{number}" for number in range(6))]
    assert json.loads((tmp_path / ".docker/config.json").read_text())["auths"] == {}
    folder = Path(inspect(tmp_path, "shared")["Storage"]["TLSPath"]) / "docker"
    pair = [(folder / name).read_bytes() for name in ("cert.pem", "key.pem")]
    assert pair in [[identity.cert.read_bytes(), identity.key.read_bytes()] for identity in identities]


def test_the_identities_tell_whether_the_contexts_are_right(
    tmp_path: Path, run_module: Run, identities: list[Any]
) -> None:
    def right(env: dict[str, str] | None = None, **options: Any) -> bool:
        asked = {"contexts": declared("web1", "web2", identity=mine), "current": "web1", "purge": True, **options}
        answer = run_module("docker_identity_info", env=env, identities=[], **asked)
        assert answer["changed"] is False
        return bool(answer["contexts_right"])

    mine = identities[0]
    assert not right(), "there are none"
    assert tree(tmp_path) == {}, "and it has made none"
    run_module("docker_contexts", contexts=declared("web1", "web2", identity=mine), current="web1")
    assert right()
    assert not right(current="web2")
    assert not right(env_files=True)
    assert not right(contexts=declared("web1", identity=mine), current="web1"), "the other one goes"
    assert right(contexts=declared("web1", identity=mine), purge=False)
    assert not right(contexts=declared("web1", "web2", identity=identities[1])), "another certificate"
    assert not right(contexts=[{"name": "-", "docker_host": "web1"}]), "docker_contexts says what is wrong with it"
    assert not right({"HTTPS_PROXY": "http://proxy.example:3128"}), "docker_contexts warns of it"
    docker(tmp_path, "context", "use", "default")
    assert not right()
    docker(tmp_path, "context", "use", "web1")
    assert right()
    key = tmp_path / "key.pem"
    key.write_bytes(Path(tls(mine)["client_key"]).read_bytes())
    elsewhere = [{**context, "client_key": str(key)} for context in declared("web1", "web2", identity=mine)]
    assert right(contexts=elsewhere)
    key.unlink()
    assert not right(contexts=elsewhere), "the key is gone"


def test_whatever_stands_in_the_place_of_contexts_keeps_nobody_from_the_identities(
    tmp_path: Path, run_module: Run, identities: list[Any]
) -> None:
    contexts = declared("web1", identity=identities[0])
    run_module("docker_contexts", contexts=contexts)
    (meta,) = (tmp_path / ".docker/contexts/meta").glob("*/meta.json")
    config, sound = tmp_path / ".docker/config.json", meta.read_text()

    def right() -> Any:
        return run_module("docker_identity_info", identities=[], contexts=contexts)["contexts_right"]

    assert right()
    for text in ("[" * 200_000, '{"Name":"web1","Endpoints":{"docker":[1]}}', '{"Name":"\\ud800"}', "\0"):
        meta.write_text(text)
        assert not right(), text[:40]
    meta.write_text(sound)
    config.unlink()
    os.mkfifo(config)
    assert not right(), "nobody writes to it"
    refused = run_module("docker_contexts", contexts=contexts)
    assert f"{config}" in refused["msg"]
    assert "it is no regular file" in refused["msg"]


def test_a_set_has_to_be_given_also_where_it_is_empty(run_module: Run) -> None:
    assert run_module("docker_contexts", purge=True)["msg"].startswith("contexts is missing. Give an empty list")
