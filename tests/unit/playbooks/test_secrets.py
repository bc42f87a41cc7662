"""What a run prints at any verbosity has nothing of the options of daemons, which hold tokens and passwords.

A passphrase is used as it is, and printed nowhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from helpers import awx
from helpers.fake_fleet import Fleet, Run
from helpers.slow import slow

CALLBACKS = Path(__file__).parents[1] / "helpers/callbacks"
OPTIONS = {
    "log-driver": "splunk",
    "log-opts": {"splunk-token": "planted-token", "splunk-url": "https://planted-user:planted-word@logs.example.com"},
    "proxies": {"http-proxy": "http://planted-user:planted-word@proxy.example.com"},
    "no-such-option": "planted-plain",
}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet.make(tmp_path / "fresh")


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """A run that prints all that it can, and what a callback that stores results was given of it."""
    fleet = Fleet.make(tmp_path_factory.mktemp("talkative") / "fleet")
    kept = fleet.root / "results.jsonl"
    run = fleet.play(
        "site",
        options=("--diff", "-vvv"),
        environment={
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "keep_results",
            "KEPT_RESULTS": str(kept),
        },
        docker_engine_daemon_options=OPTIONS,
    )
    assert not run.failed, run.output
    return run, kept.read_text(encoding="utf-8")


def test_no_option_of_a_daemon_is_printed(talkative: tuple[Run, str]) -> None:
    run, _ = talkative

    assert any("planted-token" in asked for asked in run.asked["web1"]), "the engines got them"
    assert [line for line in run.output.splitlines() if "planted" in line] == []


def test_no_option_of_a_daemon_is_in_what_a_callback_could_store(talkative: tuple[Run, str]) -> None:
    _, results = talkative

    assert "docker_report" in results
    assert "the output has been hidden" in results
    assert "planted" not in results


def test_a_plan_that_fails_says_why_and_no_option_either(fleet: Fleet) -> None:
    run = fleet.play("site", options=("--diff", "-vvv"), docker_engine_daemon_options=OPTIONS, docker_engine_port=0)

    assert run.failed
    assert "docker_engine_port of web1 is 0" in run.output
    assert "planted" not in run.output


def test_options_that_are_none_are_not_printed_to_show_it(fleet: Fleet) -> None:
    run = fleet.play("site", options=("-vvv",), docker_engine_daemon_options=str(OPTIONS["log-opts"]) + ",")

    assert run.failed
    assert "docker_engine_daemon_options" in run.output
    assert "planted" not in run.output


@pytest.mark.parametrize(
    "passphrase", [slow("pa{{ss}} {% raw %}12'34\""), "{{ lookup('pipe', 'touch PWNED') }} {# one #}"]
)
def test_a_passphrase_from_the_environment_is_used_as_it_is(tmp_path: Path, passphrase: str) -> None:
    """As the project for AWX reads what is injected from the credential."""
    of_ca = yaml.safe_load((awx.PROJECT / "inventory/group_vars/docker_ca.yml").read_text(encoding="utf-8"))
    fleet = Fleet.make(tmp_path / "fleet", passphrase="")
    folder = fleet.root / "home/.bulkhead/ca"
    host = {"ansible_connection": "local", "ansible_host": "192.0.2.9", "ansible_python_interpreter": sys.executable}
    groups = {"docker_ca": {"hosts": {"ca1": host}, "vars": {**of_ca, "docker_ca_dir": str(folder)}}, **fleet.content()}
    inventory = awx.write(tmp_path / "inventory", groups)
    environment, _, _ = awx.injected(tmp_path, {"passphrase": passphrase})

    changed = fleet.play("change_passphrase", inventory=inventory, environment=environment, options=("-vvv",))
    signed = fleet.play("site", inventory=inventory, environment=environment, options=("--diff", "-vvv"))

    assert not changed.failed, changed.output
    assert not signed.failed, signed.output
    assert load_pem_private_key((folder / "ca-key.pem").read_bytes(), passphrase.encode())
    assert len(signed.issued) == 5
    assert signed.created == []
    for text in (changed.output, signed.output, str(signed.report)):
        assert passphrase[:7] not in text
        assert passphrase[-7:] not in text
