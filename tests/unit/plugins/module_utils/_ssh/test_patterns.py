"""Lists of patterns as sshd reads them, and examples that the whole list means."""

from __future__ import annotations

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import patterns


@pytest.mark.parametrize(
    ("text", "address", "meant"),
    [
        ("10.0.0.0/8,!10.0.0.0/24", "10.0.0.1", False),
        ("!10.0.0.0/24,10.0.0.0/8", "10.0.0.1", False),
        ("10.0.0.0/8,!10.0.0.0/24", "10.0.1.1", True),
        ("!10.0.0.0/24", "10.0.1.1", False),
        ("10.0.*", "10.0.1.1", True),
        ("10.0.?.1", "10.0.11.1", False),
        ("2001:db8:*", "2001:db8::1", True),
        ("2001:DB8:*", "2001:db8::1", False),
        ("2001:DB8::/32", "2001:db8::1", True),
        ("10.0.0.0/8", "2001:db8::1", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("[12]*", "192.0.2.7", False),
    ],
)
def test_addresses_are_meant_as_sshd_means_them(text: str, address: str, meant: bool) -> None:
    assert patterns.means_address(text, address) is meant


@pytest.mark.parametrize(
    ("lists", "example"),
    [
        (["10.0.0.0/8,!10.0.0.0/24"], "10.128.0.1"),
        (["!10.0.0.0/9,10.0.0.0/8,!10.128.0.0/9"], ""),
        (["10.0.0.0/24,!10.*,192.0.2.0/24"], "192.0.2.1"),
        (["10.0.0.0/31,!10.0.0.1"], "10.0.0.0"),
        (["192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7/32"], "192.0.2.7"),
        (["10.1.*"], "10.1.1.1"),
        (["192.0.2.?"], "192.0.2.1"),
        (["2001:db8:*"], "2001:db8:2001:db8::1"),
        (["2001:db8::*"], "2001:db8::1"),
        (["?d*:*::*"], "1d1:1::1"),
        (["*,!192.0.2.0/24,!*:*"], "198.51.100.7"),
        (["*"], "192.0.2.1"),
        (["*,!*"], ""),
        (["!10.0.0.0/8"], ""),
        (["10.0.0.0/8", "*,!10.0.0.0/9"], "10.128.0.1"),
        (["10.0.0.0/8", "192.0.2.0/24"], None),
        (["10.0.0.0/8,!10.*"], None),
        (["2001:DB8:*"], None),
        (["fe80::%eth0/64"], None),
        (["nonsense"], None),
    ],
)
def test_an_example_is_meant_by_all_lists(lists: list[str], example: str | None) -> None:
    found = patterns.example_address(lists)
    assert found is None or not found or all(patterns.means_address(text, found) for text in lists)
    assert found == example


@pytest.mark.parametrize(
    ("lists", "example"),
    [
        (["*.example.com,!x.example.com"], ".example.com"),
        (["*.Example.COM"], "x.example.com"),
        (["2222"], "2222"),
        (["red,blue", "!red,*"], "blue"),
        (["h?st"], "h1st"),
        (["!x"], ""),
    ],
)
def test_an_example_of_a_name(lists: list[str], example: str) -> None:
    assert patterns.example_name(lists) == example
