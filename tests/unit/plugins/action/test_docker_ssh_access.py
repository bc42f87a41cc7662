"""The control node's part of docker_ssh_access, with a host that answers as the test says."""

from __future__ import annotations

import types
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible_collections.bulkhead.docker.plugins.action import docker_ssh_access as _action
from ansible_collections.bulkhead.docker.plugins.modules import docker_ssh_access as _module

SUCCESS: dict[str, t.Any] = {
    "changed": True,
    "users": ["docker-alice"],
    "removed": [],
    "expired": [],
    "would_change": True,
    "recovered": False,
    "port": 22,
    "host_keys": [],
    "logins": ["docker-alice"],
}


class Host:
    """Its answers in turn, and the clock, which goes on when somebody sleeps."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, t.Any]] = []
        self.resets = 0
        self.now = 0.0

    def execute(self, module_name: str, module_args: dict[str, t.Any], task_vars: t.Any) -> dict[str, t.Any]:
        assert module_name == "bulkhead.docker.docker_ssh_access"
        self.asked.append(module_args)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)

    def reset(self) -> None:
        self.resets += 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    def play(host: Host, transport: str = "ssh", **arguments: t.Any) -> dict[str, t.Any]:
        clock = types.SimpleNamespace(monotonic=lambda: host.now, sleep=host.sleep)
        monkeypatch.setattr(_action, "time", clock)
        task = types.SimpleNamespace(
            args={"users": [], **arguments}, action="docker_ssh_access", async_val=0, check_mode=False, diff=False
        )
        connection = types.SimpleNamespace(
            transport=transport, reset=host.reset, _shell=types.SimpleNamespace(tmpdir=None)
        )
        plugin = _action.ActionModule(task, connection, types.SimpleNamespace(), None, None, None)
        monkeypatch.setattr(plugin, "_execute_module", host.execute)
        return plugin.run(task_vars={"inventory_hostname": "web1"})

    return play


def test_a_change_is_confirmed_through_a_new_connection(run: t.Callable[..., t.Any]) -> None:
    host = Host({**SUCCESS, "confirm_within": 30}, {"changed": False})
    result = run(host)
    assert (result["confirmed"], result["users"], result.get("failed")) == (True, ["docker-alice"], None)
    assert host.asked == [{"users": [], "_over_ssh": True}, {"users": [], "_confirm": True}]
    assert host.resets == 1
    assert "confirm_within" not in result


def test_without_a_change_of_sshd_there_is_one_execution(run: t.Callable[..., t.Any]) -> None:
    host = Host({**SUCCESS, "confirm_within": 0})
    assert run(host)["confirmed"] is False
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    ("transport", "over_ssh"),
    [
        ("ssh", True),
        ("paramiko", True),
        ("ansible.netcommon.libssh", True),
        ("local", False),
        ("community.docker.docker", False),
    ],
)
def test_only_a_connection_over_ssh_can_confirm_anything(
    run: t.Callable[..., t.Any], transport: str, over_ssh: bool
) -> None:
    """B08."""
    host = Host(SUCCESS)
    run(host, transport)
    assert host.asked[0]["_over_ssh"] is over_ssh


def test_connections_that_fail_are_tried_again(run: t.Callable[..., t.Any]) -> None:
    lost = AnsibleConnectionFailure("no route\nto host")
    assert run(Host({**SUCCESS, "confirm_within": 30}, lost, lost, {"changed": False}))["confirmed"] is True


def test_a_host_that_has_restored_itself_says_so_with_what_went_wrong_before(run: t.Callable[..., t.Any]) -> None:
    lost = AnsibleConnectionFailure("no route to host")
    late = {"failed": True, "msg": "the engine had put the previous one back already"}
    result = run(Host({**SUCCESS, "confirm_within": 30}, lost, late))
    assert result["failed"]
    assert result["msg"] == (
        "sshd's new configuration was not kept: the engine had put the previous one back already; new connections had "
        "failed with: no route to host."
    )


def test_a_host_that_lets_nobody_in_any_more_is_not_waited_for_without_end(run: t.Callable[..., t.Any]) -> None:
    host = Host({**SUCCESS, "confirm_within": 30}, AnsibleConnectionFailure("no route to host"))
    result = run(host)
    assert result["failed"]
    assert "the engine lets nobody in any more (no route to host)" in result["msg"]
    assert 60 < host.now < 200


def test_an_answer_sets_no_variable_and_has_the_types_that_are_documented(run: t.Callable[..., t.Any]) -> None:
    poison = {"ansible_facts": {"docker_ca_host": "web1"}, "ansible_stats": {"data": {}}, "add_host": {}, "more": 1}
    result = run(Host({**SUCCESS, **poison, "confirm_within": 0}))
    assert not {"ansible_facts", "ansible_stats", "add_host", "more"} & set(result)
    for lie in ({"port": "x"}, {"host_keys": "x"}, {"users": [1]}):
        result = run(Host({**SUCCESS, **lie}))
        assert result["failed"]
        assert "web1 does not answer as the module bulkhead.docker.docker_ssh_access does" in result["msg"]


@pytest.mark.parametrize("within", [True, "30", -1, 10**9, None])
def test_a_nonsense_time_makes_nobody_wait(run: t.Callable[..., t.Any], within: t.Any) -> None:
    host = Host({**SUCCESS, "confirm_within": within}, AnsibleConnectionFailure("no"))
    assert run(host)["confirmed"] is False
    assert len(host.asked) <= 2
    assert host.now < 200


@pytest.mark.parametrize("name", ["_confirm", "_over_ssh", "scope"])
def test_what_is_for_the_action_part_alone_cannot_be_given(run: t.Callable[..., t.Any], name: str) -> None:
    host = Host(SUCCESS)
    with pytest.raises((AnsibleActionFail, AnsibleError), match=f"Invalid options for docker_ssh_access: {name}"):
        run(host, **{name: True})
    assert host.asked == []


def test_every_option_of_the_module_can_be_given() -> None:
    options = yaml.safe_load(_module.DOCUMENTATION)["options"]
    assert frozenset(options) == _action.ActionModule._VALID_ARGS
