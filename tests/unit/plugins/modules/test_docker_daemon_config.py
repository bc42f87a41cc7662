"""The module as Ansible runs it: what it answers, and what it tells the host's log, has no option of the daemon."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import inspect
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import plan as _plan
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import transaction as _transaction
from ansible_collections.bulkhead.docker.plugins.modules import docker_daemon_config
from ansible_collections.bulkhead.docker.plugins.plugin_utils import answers

OPTIONS = {"log-driver": "json-file", "log-opts": {"splunk-token": "planted-token"}, "live-restore": True, "mtu": 1500}


@pytest.mark.parametrize("fails", [False, True])
def test_options_are_in_no_answer_and_no_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    logged: list[str] = []
    sentence = "the container json-file of 1500 was ended, which is true"

    def run(desired: _plan.Desired, check_mode: bool) -> _transaction.Result:
        del check_mode
        assert desired.options == OPTIONS
        if fails:
            raise _transaction.TransactionError(sentence)
        return _transaction.Result(reasons=[sentence])

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(_transaction, "run", run)
    monkeypatch.setattr(AnsibleModule, "log", lambda module, text, log_args=None: logged.append(f"{text} {log_args}"))
    given = {"daemon_options": OPTIONS, "port": 1500, "_ansible_inject_invocation": True}  # as with -vvv
    with patch_module_args(given), pytest.raises(SystemExit):
        docker_daemon_config.main()
    said: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    assert logged
    assert "planted" not in f"{said} {logged}"
    assert sentence in (said["msg"] if fails else said["reasons"]), "what else has those words is not censored"
    assert said["invocation"]["module_args"]["daemon_options"] == dict.fromkeys(OPTIONS, "(not shown)")
    assert said["invocation"]["module_args"]["port"] == 1500


@pytest.mark.parametrize("traces", [False, True])
def test_without_cryptography_an_engine_where_nothing_was_done_is_restored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, traces: bool
) -> None:
    state = tmp_path / "state.json"
    if traces:
        state.touch()
    monkeypatch.setattr(inspect, "STATE", state)
    monkeypatch.setattr(inspect, "JOURNAL", tmp_path / "journal.json")
    monkeypatch.setattr(docker_daemon_config, "IMPORT_ERROR", "No module named 'cryptography'")
    with patch_module_args({"state": "absent"}), pytest.raises(SystemExit):
        docker_daemon_config.main()
    said = json.loads(capsys.readouterr().out)
    assert said.get("library_missing", False) is traces
    if not traces:
        assert (said["changed"], said["would_change"]) == (False, False)
        documented = answers.documented(pathlib.Path(docker_daemon_config.__file__))
        assert answers.checked(said, documented, "web1", "docker_daemon_config") == said


def test_what_gateways_and_accounts_need_is_not_loaded_for_an_engine_without() -> None:
    """Each execution on an engine compiles what it imports anew: those modules are two fifths of that."""
    program = f"import sys, {docker_daemon_config.__name__}; print(*sys.modules, sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    ours = [
        name.partition(".module_utils.")[2] for name in done.stdout.split() if ".docker.plugins.module_utils." in name
    ]
    assert "_engine.transaction" in ours
    loaded = {name for name in ours if name.startswith(("_gateway.", "_ssh.", "_installed."))}
    assert loaded == {"_gateway.places", "_gateway.service"}
