"""PEM as tools export it."""

from __future__ import annotations

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem

BLOCK = f"-----BEGIN CERTIFICATE-----\n{'A' * 64}\nQUI=\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        f"{BLOCK}\n",
        BLOCK.replace("\n", "\r\n"),
        BLOCK.replace("\n", "\n  "),
        f"Certificate:\n    Data:\n{BLOCK}\n\n# the end",
        BLOCK.replace("CERTIFICATE", "X509 CERTIFICATE"),
        BLOCK.replace("A\nQ", "AQ"),
    ],
)
def test_a_certificate_is_always_written_the_same_way(text: str) -> None:
    """B13."""
    assert pem.certificates(text) == [BLOCK]


def test_blocks_keep_their_order_and_others_are_left_out() -> None:
    other = BLOCK.replace("QUI=", "QkI=")
    text = f"{other}\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n{BLOCK}"
    assert pem.certificates(text) == [other, BLOCK]
    assert pem.requests(text) == pem.revocation_lists(text) == []
    assert pem.private_key(text) == "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    assert pem.private_key(BLOCK) == ""


def test_headers_of_an_encrypted_key_stay() -> None:
    headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AA"
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{headers}\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    assert pem.private_key(key.replace("\n", "\r\n")) == key
    assert pem.is_encrypted(key)
    assert not pem.is_encrypted(key.replace("Proc-Type", "Nothing"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_windows_is_read(encoding: str) -> None:
    """B13."""
    assert pem.certificates(pem.decode(BLOCK.encode(encoding))) == [BLOCK]
    assert pem.certificates(pem.decode(b"\xff\xfe\xff")) == []
