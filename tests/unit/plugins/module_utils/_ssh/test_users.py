"""What an operator may write about users, and the lines that sshd reads of it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrcl5/y08/rRDEcJnVT/b788ynKJfZ4EjATJj0roJGX"
UTC = datetime.timezone.utc


def entry(**given: Any) -> dict[str, Any]:
    usual = {"name": "docker-a", "public_keys": [ED25519], "principals": [], "allowed_from": [], "expires": ""}
    return {**usual, "comment": "", "state": "present", **given}


def one(**given: Any) -> _users.User:
    return _users.users([entry(**given)], certificates=True)[0]


def test_a_key_s_line_carries_the_restrictions(monkeypatch: pytest.MonkeyPatch) -> None:
    user = one(public_keys=[f"{ED25519} a b", ED25519], allowed_from=["192.0.2.0/24", "2001:db8::1"])
    assert user.authorized_keys("/gate") == (
        f'restrict,command="/gate",from="192.0.2.0/24,2001:db8::1/128" {ED25519}\n'
    ), "one line for one key, whatever its comment"
    assert one(principals=["a@b", "c"]).authorized_principals("/gate") == (
        'restrict,command="/gate" a@b\nrestrict,command="/gate" c\n'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-12-31", datetime.datetime(2031, 1, 1, tzinfo=UTC)),
        ("2030-12-31T18:00:00Z", datetime.datetime(2030, 12, 31, 18, tzinfo=UTC)),
        ("2030-12-31 18:00:00+02:00", datetime.datetime(2030, 12, 31, 16, tzinfo=UTC)),
        ("2030-12-31T18:00", datetime.datetime(2030, 12, 31, 18, tzinfo=UTC)),
    ],
)
def test_a_date_counts_to_its_end_and_a_time_is_utc_without_a_zone(text: str, expected: datetime.datetime) -> None:
    user = one(expires=text)
    assert user.expires == expected
    assert not user.expired(expected - datetime.timedelta(seconds=1))
    assert user.expired(expected)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": "Alice"}, "cannot be the name of an account"),
        ({"name": "a\nb"}, "cannot be the name of an account"),
        ({"name": "../x"}, "cannot be the name of an account"),
        ({"name": "docker-a\n"}, "cannot be the name of an account"),
        ({"name": "all"}, "'all' stands for every account"),
        ({"principals": ["a\n"]}, "cannot be a certificate's principal"),
        ({"public_keys": []}, "has neither public_keys nor principals"),
        ({"public_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nx"]}, "is a private key"),
        ({"public_keys": [f"{ED25519}\n{ED25519}"]}, "several lines"),
        ({"public_keys": [f'command="x" {ED25519}']}, "without options"),
        ({"public_keys": [f"no-pty {ED25519}"]}, "without options"),
        ({"public_keys": ["ssh-dss AAAA"]}, "not with a type such as ssh-ed25519"),
        ({"public_keys": ["ssh-ed25519 AAA!"]}, "is damaged"),
        ({"public_keys": [ED25519[:60]]}, "is not complete"),
        ({"public_keys": [ED25519.replace("ssh-ed25519", "ssh-rsa")]}, "is not complete"),
        ({"principals": ["a b"]}, "cannot be a certificate's principal"),
        ({"principals": ['x" y']}, "cannot be a certificate's principal"),
        ({"principals": ["#x"]}, "cannot be a certificate's principal"),
        ({"allowed_from": ["192.0.2.1/24"]}, "is not an address or a network"),
        ({"allowed_from": ['*",command="x']}, "is not an address or a network"),
        ({"expires": "tomorrow"}, "write a date such as 2030-12-31"),
        ({"expires": "9999-12-31"}, "write a date such as 2030-12-31"),
        ({"comment": "a:b"}, "a character that an account cannot carry"),
        ({"comment": "a\nb"}, "a character that an account cannot carry"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(_users.UserError, match=sentence) as caught:
        one(**given)
    assert "BEGIN" not in str(caught.value)


def test_two_entries_of_one_name_and_principals_without_a_ca_are_refused() -> None:
    with pytest.raises(_users.UserError, match="names docker-a twice"):
        _users.users([entry(), entry(state="absent")], certificates=True)
    with pytest.raises(_users.UserError, match="names no CA"):
        _users.users([entry(principals=["a"])], certificates=False)


def test_absent_users_need_nothing_but_a_name() -> None:
    assert _users.users([entry(state="absent", public_keys=[])], certificates=False) == []


@pytest.mark.parametrize(
    "text",
    [
        '2001:db8::%x",command="y/128',
        "fe80::1%eth0",
        "2001:db8::%\nPermitRootLogin yes/128",
        "192.0.2.0/24\n",
        " 192.0.2.0/24",
        "192.0.2.0/24,0.0.0.0/0",
        "192.0.2.1/24",
        "web1",
        "",
    ],
)
def test_networks_are_addresses_and_networks_and_nothing_beside_them(text: str) -> None:
    with pytest.raises(_users.UserError, match="is not an address or a network in CIDR form") as caught:
        _users.networks([text], "docker_ssh_client_networks")
    assert "\n" not in str(caught.value)


def test_networks_have_one_form() -> None:
    assert _users.networks(["192.0.2.7", "2001:DB8::/32", "2001:db8::/32"], "x") == ("192.0.2.7/32", "2001:db8::/32")
