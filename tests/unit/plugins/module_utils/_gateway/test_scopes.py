"""Rules as people write them, and the paths that fit them."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import scopes
from ansible_collections.bulkhead.docker.plugins.plugin_utils import gateways

FOLDER = gateways._FOLDER


def _fits(line: str, path: str) -> bool:
    return bool(re.search(scopes.rule(line, "here").pattern, path))


@pytest.mark.parametrize("path", ["/containers/a/logs", "/v1.24/containers/a_.-b/logs", "/v1.99/containers/a/logs"])
def test_a_path_fits(path: str) -> None:
    assert _fits("GET /containers/{id}/logs", path)


@pytest.mark.parametrize(
    "path",
    [
        "/containers//logs",
        "/containers/.a/logs",
        "/containers/a/logs/",
        "/containers/a/b/logs",
        "/containers/a%2fb/logs",
        "/v1.23/containers/a/logs",
        "/v1.4/containers/a/logs",
        "/v1.1000/containers/a/logs",
        "/V1.41/containers/a/logs",
        "v1.41/containers/a/logs",
        "/x/containers/a/logs",
        "/containers/" + "a" * 256 + "/logs",
    ],
)
def test_a_path_does_not_fit(path: str) -> None:
    assert not _fits("GET /containers/{id}/logs", path)


def test_the_name_of_an_image_has_slashes_and_no_way_up() -> None:
    assert _fits("GET /images/{image}/json", "/images/registry.example.com:5000/team/app@sha256:0a/json")
    for name in ("a/../b", "a//b", "../a", "a/.", "/a", "a/"):
        assert not _fits("GET /images/{image}/json", f"/images/{name}/json")


def test_a_point_is_a_point() -> None:
    assert not _fits("GET /a.b", "/axb")


@pytest.mark.parametrize(
    "line",
    [
        "/_ping",
        "GET",
        "GET _ping",
        "get /_ping",
        "PATCH /_ping",
        "GET,GET /_ping",
        "GET /a twice",
        "GET /a reduced",
        "GET,HEAD /containers/{id}/json reduced",
        "GET /containers/{id}/json body reduced",
        "GET /a//b",
        "GET /a/",
    ],
)
def test_what_is_no_rule_is_refused(line: str) -> None:
    with pytest.raises(scopes.ScopeError):
        scopes.rule(line, "here")


@pytest.mark.parametrize("path", ["/a.*", "/a/{name}", "/a/../b", "/[ab]", "/a$", "/a'b", "/%61", "/"])
def test_a_path_has_no_expressions(path: str) -> None:
    with pytest.raises(scopes.ScopeError, match="has the path"):
        scopes.rule(f"GET {path}", "here")


def test_a_scope_includes_another_one_once() -> None:
    known: dict[str, t.Sequence[str]] = {"a": ["include b", "GET /a"], "b": ["# nothing", "", "GET /b # why", "GET /a"]}
    assert [str(rule) for rule in scopes.rules(known["a"], "a", known.get)] == ["GET /b", "GET /a"]


@pytest.mark.parametrize("lines", [["include c"], ["include a"]])
def test_a_scope_includes_no_unknown_one_and_not_itself(lines: list[str]) -> None:
    with pytest.raises(scopes.ScopeError, match="which is no other scope"):
        scopes.rules(lines, "a", {"a": lines}.get)


@pytest.mark.parametrize("file", sorted(path.stem for path in FOLDER.glob("*.scope")))
def test_a_scope_of_the_collection_says_since_when_its_rules_are(file: str) -> None:
    lines = gateways.built_in(file)
    assert scopes.rules(lines, file, gateways.built_in_or_none)
    assert lines[0].startswith("# ")
    for line in lines[1:]:
        assert line.startswith("include ") or re.search(r"  # 1\.\d+", line), line


def test_a_scope_of_the_collection_needs_no_content() -> None:
    every = [
        rule
        for path in FOLDER.glob("*.scope")
        for rule in scopes.rules(gateways.built_in(path.stem), path.stem, gateways.built_in_or_none)
    ]
    assert not [rule for rule in every if rule.body]
    assert {method for rule in every for method in rule.methods} == {"GET", "HEAD", "POST"}
