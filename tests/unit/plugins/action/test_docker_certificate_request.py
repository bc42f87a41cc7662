"""The control node's part of docker_certificate_request, with a host that answers."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.bulkhead.docker.plugins.action import docker_certificate_request as _action
from ansible_collections.bulkhead.docker.plugins.action import docker_module

OPTIONS: dict[str, t.Any] = {"common_name": "web1", "key_type": "RSA", "names": ["DNS:web1"]}


def asked(monkeypatch: pytest.MonkeyPatch, **options: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """What the CA is to sign, and what the host gets."""
    told: dict[str, t.Any] = {}

    def answer_of(_self: t.Any, _name: str, options: dict[str, t.Any], _task_vars: t.Any) -> dict[str, t.Any]:
        told.update(options)
        return {"changed": True, "request": "PEM"}

    monkeypatch.setattr(docker_module.ActionModule, "answer_of", answer_of)
    action: t.Any = object.__new__(_action.ActionModule)
    answer = action.answer_of("bulkhead.docker.docker_certificate_request", {**OPTIONS, **options}, {})
    return answer["sign"], told


@pytest.mark.parametrize(
    ("days", "size", "elsewhere"), [(90, 4096, False), ("90", "4096", "False")], ids=["values", "text of core 2.18"]
)
def test_a_template_may_give_text(monkeypatch: pytest.MonkeyPatch, days: t.Any, size: t.Any, elsewhere: t.Any) -> None:
    sign, told = asked(monkeypatch, valid_days=days, key_size=size, issued_elsewhere=elsewhere)

    assert sign == {
        "name": "web1",
        "usage": "server",
        "names": ["DNS:web1"],
        "valid_days": 90,
        "key": "RSA 4096",
        "request": "PEM",
    }
    assert set(told) == {"common_name", "key_type", "key_size", "issued_elsewhere"}, "neither names nor days"


@pytest.mark.parametrize("elsewhere", [True, "True"])
def test_a_ca_elsewhere_reads_the_names_in_the_request(monkeypatch: pytest.MonkeyPatch, elsewhere: t.Any) -> None:
    assert asked(monkeypatch, issued_elsewhere=elsewhere)[1]["names"] == ["DNS:web1"]


@pytest.mark.parametrize("option", ["valid_days", "key_size", "issued_elsewhere"])
def test_another_type_is_refused_before_the_host_is_asked(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    with pytest.raises(AnsibleActionFail, match=r"has another type: .*soon"):
        asked(monkeypatch, **{option: "soon"})
