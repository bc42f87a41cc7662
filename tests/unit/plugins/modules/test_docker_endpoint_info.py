"""The module as Ansible runs it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from helpers import returns
from helpers.engines import Lab, free_port


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[Lab]:
    lab = Lab(tmp_path)
    with lab.stack:
        yield lab


def params(lab: Lab, port: int) -> dict[str, t.Any]:
    return {
        "docker_host": f"tcp://127.0.0.1:{port}",
        "ca_path": lab.ca,
        "client_cert": lab.client[0],
        "client_key": lab.client[1],
        "refused_pairs": [{"name": "server", "cert": lab.server[0], "key": lab.server[1]}],
        "closed_ports": [free_port()],
    }


def test_it_returns_what_it_documents_and_no_key(lab: Lab) -> None:
    right = returns.run("docker_endpoint_info", params(lab, lab.engine()))
    nobody = returns.run("docker_endpoint_info", params(lab, 1), check=True)
    assert (right["ok"], right["changed"], right["findings"]) == (True, False, [])
    assert (nobody["ok"], nobody.get("failed", False)) == (False, False)
    assert nobody["findings"] == ["tcp://127.0.0.1:1 cannot be reached (Connection refused)"]
    returns.assert_documented("docker_endpoint_info", right, nobody)
    assert "PRIVATE KEY" not in json.dumps([right, nobody])


def test_bad_input_is_one_sentence(lab: Lab) -> None:
    bad = returns.run("docker_endpoint_info", {**params(lab, 1), "client_key": lab.revoked[1]})
    assert bad["failed"]
    assert bad["msg"] == (
        f"client_key: {lab.revoked[1]} is not the key of the certificate {lab.client[0]}; "
        "name files that belong together."
    )


def test_without_cryptography_it_says_what_to_install(lab: Lab, tmp_path: pathlib.Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError('none here')", encoding="ascii")
    path = f"{returns.ROOT / '.ansible/collections'}:{tmp_path}"
    result = returns.run("docker_endpoint_info", params(lab, 1), PYTHONPATH=path)
    assert result["failed"]
    assert "(cryptography)" in result["msg"]
    assert "python3-cryptography" in result["msg"]
