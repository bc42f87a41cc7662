"""A key that stays on its host, and the request for its certificate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from helpers import returns

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("key_type", ["P-256", "P-384", "RSA"])
def test_a_key_is_made_with_a_request(tmp_path: Path, run_module: Run, key_type: str) -> None:
    path = tmp_path / "state/pending/key.pem"
    asked = {"path": str(path), "common_name": "web1", "key_type": key_type, "key_size": 2048}
    checked = run_module("docker_certificate_request", check=True, **asked)
    assert (checked["changed"], checked["request"], path.parent.exists()) == (True, "", False)

    made = run_module("docker_certificate_request", **asked)
    assert made["changed"]
    returns.assert_documented("docker_certificate_request", {**made, "sign": {}})  # which the control node adds
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o400, 0o700)
    request, first = x509.load_pem_x509_csr(made["request"].encode()), path.read_bytes()
    assert request.is_signature_valid
    assert request.public_key() == load_pem_private_key(first, None).public_key()
    assert (request.subject.rfc4514_string(), list(request.extensions)) == ("CN=web1", [])

    run_module("docker_certificate_request", **asked)
    assert path.read_bytes() != first
    assert [file.name for file in path.parent.iterdir()] == ["key.pem"]


def test_what_cannot_be_is_refused(tmp_path: Path, run_module: Run) -> None:
    def refusal(**options: Any) -> str:
        asked = {"path": str(tmp_path / "key.pem"), "common_name": "web1", **options}
        return str(run_module("docker_certificate_request", **asked)["msg"])

    assert "it has 1 to 64 characters" in refusal(common_name="x" * 65)
    assert "RSA keys have 2048 to 8192 bits" in refusal(key_type="RSA", key_size=1024)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(path=str(tmp_path / "file/key.pem"))
    assert not (tmp_path / "key.pem").exists()
