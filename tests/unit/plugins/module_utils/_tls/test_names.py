"""What may stand in a certificate, a URL and an ssh configuration."""

from __future__ import annotations

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names


@pytest.mark.parametrize("text", ["web1", "web-1.example.com", "3com.example", "a" * 63, "xn--mnchen-3ya.de", "WEB1"])
def test_a_host_name(text: str) -> None:
    assert names.is_dns_name(text)
    assert names.is_address(text)
    assert not names.is_ip(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "web1.", ".web1", "web..1", "-web1", "web1-", "web_1", "*.example.com", "a" * 64, "wéb1", "web1\n"),
        *("*=exec=id>pwned;true", "192.0.2.12,192.0.2.11", "web1 web2", "web1/..", "user@web1", "web1:22", "[::1]"),
        *("127.1", "2130706433", "0x7f.1", "0x7f000001", "256.1.1.1", ".".join(["a" * 60] * 5), "fe80::1%eth0"),
    ],
)
def test_nothing_else_is_one(text: str) -> None:
    assert not names.is_dns_name(text)
    assert not names.is_address(text)


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1", "::1", "::ffff:192.0.2.1"])
def test_an_ip_address(text: str) -> None:
    assert names.is_ip(text)
    assert names.is_address(text)
    assert not names.is_dns_name(text)


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "[::1]", "192.0.2.1/24", "192.0.2.01", "192.0.2", " 192.0.2.1", "1::2::3"]
)
def test_no_ip_address(text: str) -> None:
    assert not names.is_ip(text)


def test_brackets_are_for_ipv6_alone() -> None:
    assert [names.bracketed(text) for text in ("::1", "192.0.2.1", "web1")] == ["[::1]", "192.0.2.1", "web1"]
