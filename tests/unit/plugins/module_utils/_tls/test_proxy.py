"""The rules are those of golang.org/x/net/http/httpproxy, which the docker CLI is built with."""

from __future__ import annotations

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import proxy

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("host", "exceptions"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("192.0.2.10", "localhost, 192.0.2.0/24"),
        ("192.0.2.10", "192.0.2.10:2376"),
        ("2001:db8::1", "2001:db8:0::1"),
        ("2001:db8::1", "[2001:db8::1]:2376"),
        ("2001:db8::1", "2001:db8::/32"),
        ("web1", "*"),
        ("web1.example", "example"),
        ("web1.example", ".example"),
        ("Web1.Example.", "*.EXAMPLE"),
        ("example", "example"),
        ("localhost", ""),
        ("127.0.0.1", ""),
        ("::1", ""),
    ],
)
def test_no_proxy_covers_it(host: str, exceptions: str) -> None:
    assert not proxy.is_used(host, 2376, {**PROXY, "NO_PROXY": exceptions})
    assert not proxy.is_used(host, 2376, {"https_proxy": "proxy:3128", "no_proxy": exceptions})


@pytest.mark.parametrize(
    ("host", "exceptions"),
    [
        ("192.0.2.10", ""),
        ("192.0.2.10", "192.0.2.1,192.0.3.0/24,2001:db8::/32,192.0.2.300/24,/,:"),
        ("192.0.2.10", "192.0.2.10:2377"),
        ("192.0.2.10", "2.10"),
        ("web1.example", "eb1.example"),
        ("web1.example", "web1"),
        ("example", ".example"),
        ("example", "*.example"),
        ("web1.example", "192.0.2.0/24"),
    ],
)
def test_no_proxy_does_not_cover_it(host: str, exceptions: str) -> None:
    assert proxy.is_used(host, 2376, {**PROXY, "NO_PROXY": exceptions})


def test_only_a_proxy_for_https_counts() -> None:
    assert not proxy.is_used("192.0.2.10", 2376, {"HTTP_PROXY": "http://proxy:3128", "HTTPS_PROXY": ""})
