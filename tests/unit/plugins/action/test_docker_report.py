"""The report as a playbook ends with it: on the terminal, in AWX's statistics, and in a file."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import yaml
from helpers.returns import assert_documented

REPOSITORY = Path(__file__).parents[4]


def test_a_report_is_printed_kept_and_written(tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [
                {"bulkhead.docker.docker_plan": {"playbook": "verify"}, "register": "planned"},
                {
                    "bulkhead.docker.docker_report": {
                        "plan": "{{ planned }}",
                        "engines": {
                            "web1": {"version": "{{ '26' ~ '.1.5' }}", "days_left": 364},
                            "web2": {"findings": ["{{ '{{' }} lookup('pipe', 'id') }} is open"]},
                        },
                        "clients": {"localhost": {"contexts": 2, "identities": [{"name": "admin", "days_left": 400}]}},
                    },
                    "register": "reported",
                },
                {"ansible.builtin.copy": {"dest": str(tmp_path / "answer"), "content": "{{ reported | to_json }}"}},
                {
                    "ansible.builtin.assert": {
                        "that": "reported.problems | length == 0",
                        "fail_msg": "{{ reported.msg }}",
                        "quiet": True,
                    }
                },
            ],
        }
    ]
    (tmp_path / "verify.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    inventory = "[docker_engines]\nweb1 ansible_host=192.0.2.1\nweb2 ansible_host=192.0.2.2\n"
    (tmp_path / "hosts").write_text(inventory, encoding="utf-8")
    options = ("-i", tmp_path / "hosts", "-e", f"docker_report_path={kept}", tmp_path / "verify.yml")
    done = subprocess.run(
        ["ansible-playbook", *options],
        env={
            **os.environ,
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".ansible/collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_SHOW_CUSTOM_STATS": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    problem = "web2: {{ lookup('pipe', 'id') }} is open."
    summary = "2 engines, 1 identity; nothing to change; the first certificate ends in 364 days (web1); FAILED: web2"
    assert done.returncode == 2, done.stdout + done.stderr
    assert "\nweb1    26.1.5  tcp://192.0.2.1:2376  364        ok\n" in done.stdout
    assert f"{summary}. {problem}" in done.stdout + done.stderr
    written = json.loads(kept.read_text(encoding="utf-8"))
    assert (written["playbook"], written["summary"], written["problems"]) == ("verify", summary, [problem])
    assert kept.stat().st_mode & 0o777 == 0o644
    answer = json.loads((tmp_path / "answer").read_text(encoding="utf-8"))
    assert answer.pop("ansible_stats")["data"]["docker_report"]["summary"] == summary
    assert_documented("docker_report", answer)
    statistics = done.stdout.partition("CUSTOM STATS")[2]
    assert '"docker_report"' in statistics
    assert "{ { lookup('pipe', 'id') }} is open" in statistics, (
        "the next job of a workflow would take it for a template"
    )
    assert "{{" not in statistics
