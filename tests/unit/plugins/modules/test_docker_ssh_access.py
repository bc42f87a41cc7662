"""The module as Ansible runs it, on an engine made of files: what it returns is what it documents."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import time
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.bulkhead.docker.plugins.module_utils import _detached
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import lock as _lock
from ansible_collections.bulkhead.docker.plugins.modules import docker_ssh_access
from helpers import ssh_engine
from helpers.returns import assert_documented

USER = {"name": "docker-alice", "public_keys": [ssh_engine.ED25519]}


@pytest.fixture
def engine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> ssh_engine.Engine:
    if os.geteuid() != 0:
        pytest.skip("files of an engine belong to root")
    return ssh_engine.build(tmp_path, monkeypatch)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda module, sentence: said.append(sentence))
    return said


@pytest.fixture
def run(
    engine: ssh_engine.Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> t.Callable[..., dict[str, t.Any]]:
    def here(work: t.Callable[..., t.Any]) -> t.Any:
        """In this process, which has the engine."""
        return json.loads(json.dumps(work(lambda: True)))

    monkeypatch.setattr(_detached, "run", here)

    def module(check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            docker_ssh_access.main()
        answer: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return answer

    return module


def documented(answer: dict[str, t.Any]) -> dict[str, t.Any]:
    """As the action part hands it on."""
    return {**{key: value for key, value in answer.items() if key != "confirm_within"}, "confirmed": False}


def test_what_it_returns_is_documented(run: t.Callable[..., dict[str, t.Any]], warnings: list[str]) -> None:
    present = run(users=[USER, {"name": "docker-old", "public_keys": USER["public_keys"], "expires": "2020-01-01"}])
    assert (present["users"], present["expired"], present["logins"]) == (
        ["docker-alice"],
        ["docker-old"],
        ["docker-alice"],
    )
    assert [sentence for sentence in warnings if "the time of docker-old is over" in sentence]
    again = run(check=True, users=[USER])
    assert again["changed"] is False
    taken = run(state="absent", absent_names=["docker-alice"])
    assert taken["removed"] == ["docker-alice"]
    cleared = run(state="absent", absent_names=["all"])
    assert cleared["changed"]
    assert run(state="absent", absent_names=["all"])["changed"] is False
    assert_documented("docker_ssh_access", *map(documented, (present, again, taken, cleared)))


def test_a_change_waits_for_the_confirmation_that_the_action_part_asks_for(
    run: t.Callable[..., dict[str, t.Any]], engine: ssh_engine.Engine
) -> None:
    assert run(users=[USER], confirm_timeout=12, _over_ssh=True)["confirm_within"] == 12
    assert "no new connection was made" in run(users=[USER], _confirm=True)["msg"]
    engine.connection = None
    assert run(users=[USER], _confirm=True)["changed"] is False
    assert "put the previous one back already" in run(users=[USER], _confirm=True)["msg"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"state": "absent"}, "docker_ssh_absent_names is empty"),
        ({"users": [{"name": "docker-x"}]}, "docker-x has neither public_keys nor principals"),
        ({"users": [{**USER, "name": "ops"}]}, "ops in docker_ssh_users exists on this host already"),
        ({"users": [USER], "max_startups": "x"}, "START:RATE:FULL"),
    ],
)
def test_refusals_are_one_sentence(
    run: t.Callable[..., dict[str, t.Any]], options: dict[str, t.Any], sentence: str
) -> None:
    answer = run(**options)
    assert answer["failed"]
    assert sentence in answer["msg"]
    assert "\n" not in answer["msg"]


def test_errors_of_everything_below_are_sentences(
    run: t.Callable[..., dict[str, t.Any]], engine: ssh_engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.refused_reloads = 1
    assert "The previous configuration is back" in run(users=[USER])["msg"]
    engine.service = object()
    assert "does not run systemd" in run(users=[USER])["msg"]

    def no_space(*_: t.Any) -> t.NoReturn:
        raise OSError(28, "No space left on device", "/etc/ssh/x")

    engine.service = ssh_engine.Systemd(engine)
    monkeypatch.setattr(_commit, "begin", no_space)
    assert "No space left on device" in run(users=[USER], max_sessions=7)["msg"]


def test_a_run_that_was_cut_off_while_it_waited_gives_nobody_access(
    engine: ssh_engine.Engine, tmp_path: pathlib.Path
) -> None:
    """As after a lost connection: nobody reads what the module would say, and the lock is free only then."""
    key = _ssh_files.KEYS / "docker-alice"
    ends, lasts = os.pipe()
    with _lock.LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        caller = os.fork()
        if not caller:
            try:
                lock.close()
                reader, writer = os.pipe()
                os.dup2(writer, 1)
                os.close(writer)
                os.close(reader)
                with patch_module_args({"users": [USER], "_ansible_check_mode": False}):
                    docker_ssh_access.main()
            finally:
                os._exit(0)
        os.close(lasts)
        end = time.monotonic() + 10
        while os.waitpid(caller, os.WNOHANG) == (0, 0) and time.monotonic() < end:
            time.sleep(0.05)
    assert os.read(ends, 1) == b"", "all processes of the run have ended"
    os.close(ends)
    assert not key.exists()
    ssh_engine.give()
    assert key.exists()
