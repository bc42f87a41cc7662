"""The module as Ansible runs it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from helpers import returns
from helpers.engines import PATIENCE, Lab


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[Lab]:
    lab = Lab(tmp_path)
    with lab.stack:
        yield lab


def params(lab: Lab, *ports: int) -> dict[str, t.Any]:
    return {
        "endpoints": [
            {"name": f"web{port}", "docker_host": f"tcp://127.0.0.1:{port}", "plain_ports": [lab.closed()]}
            for port in ports
        ],
        "ca_path": lab.ca,
        "client_cert": lab.client[0],
        "client_key": lab.client[1],
        "refused_pairs": [{"name": "server", "cert": lab.server[0], "key": lab.server[1]}],
        "timeout": PATIENCE,
    }


def test_it_returns_what_it_documents_and_no_key(lab: Lab) -> None:
    port, nobody = lab.engine(), lab.closed()
    result = returns.run("docker_endpoint_info", params(lab, nobody, port), check=True)
    assert (result["ok"], result["changed"], result.get("failed", False)) == (False, False, False)
    assert [entry["findings"] for entry in result["endpoints"]] == [
        [f"tcp://127.0.0.1:{nobody} cannot be reached (Connection refused)"],
        [],
    ]
    right = returns.run("docker_endpoint_info", params(lab, port))
    assert right["ok"]
    returns.assert_documented("docker_endpoint_info", result, right)
    assert "PRIVATE KEY" not in json.dumps([result, right])


def test_bad_input_is_one_sentence(lab: Lab) -> None:
    given = params(lab, 1)
    bad = {
        f"client_key: {lab.revoked[1]} is not the key of the certificate {lab.client[0]}; name files that belong "
        "together.": {**given, "client_key": lab.revoked[1]},
        "endpoints is empty, so that nothing would be verified; name at least one.": {**given, "endpoints": []},
        "timeout is 0.0; give seconds, more than 0 and up to 3600.": {**given, "timeout": 0},
    }
    for message, options in bad.items():
        result = returns.run("docker_endpoint_info", options)
        assert (result["failed"], result["msg"]) == (True, message)


def test_a_proxy_of_the_cli_is_a_warning(lab: Lab) -> None:
    """S2."""
    given = {**params(lab, lab.closed()), "timeout": 1}
    given["endpoints"].append({"name": "far", "docker_host": "tcp://192.0.2.10:2376", "plain_ports": [2376]})
    result = returns.run("docker_endpoint_info", given, HTTPS_PROXY="http://user:secret@proxy:3128", NO_PROXY="example")
    assert "NO_PROXY does not name 192.0.2.10: " in json.dumps(result["warnings"])
    assert "secret" not in json.dumps(result)
    assert not returns.run("docker_endpoint_info", given, HTTPS_PROXY="", https_proxy="").get("warnings")


def test_without_cryptography_it_says_what_to_install(lab: Lab, tmp_path: pathlib.Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError('none here')", encoding="ascii")
    path = f"{returns.ROOT / '.ansible/collections'}:{tmp_path}"
    result = returns.run("docker_endpoint_info", params(lab, 1), PYTHONPATH=path)
    assert result["failed"]
    assert "(cryptography)" in result["msg"]
    assert "python3-cryptography" in result["msg"]
