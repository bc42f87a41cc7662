"""When a certificate is due: the same rule for servers and clients."""

from __future__ import annotations

import datetime
import pathlib

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import renewal, x509
from helpers.pki import CLIENT, SERVER, Authority

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture
def authority() -> Authority:
    return Authority("ours", days=900)


def _pem(folder: pathlib.Path, authority: Authority, days: int = 9) -> str:
    return pathlib.Path(authority.pair(folder, "alice", CLIENT, days=days)[0]).read_text(encoding="ascii")


@pytest.mark.parametrize(
    ("left", "is_due"),
    [(31 * DAY, False), (30 * DAY, False), (30 * DAY - datetime.timedelta(seconds=1), True), (-DAY, True)],
)
def test_fewer_than_so_many_whole_days(left: datetime.timedelta, is_due: bool) -> None:
    assert renewal.due(NOW + left, 30, NOW) is is_due


def test_zero_days_renew_what_has_expired() -> None:
    assert not renewal.due(NOW + datetime.timedelta(seconds=1), 0, NOW)
    assert renewal.due(NOW - datetime.timedelta(seconds=1), 0, NOW)


def test_the_last_day_that_is_not_due(tmp_path: pathlib.Path, authority: Authority) -> None:
    pem = _pem(tmp_path, authority)
    end = x509.load_bundle(pem)[0].not_after
    assert not renewal.reasons(pem, authority.pem, "client", "P-256", 30, now=end - 30 * DAY)
    (reason,) = renewal.reasons(pem, authority.pem, "client", "P-256", 30, now=end - 29 * DAY)
    assert reason == f"it expires on {end:%Y-%m-%d}: 29 whole days are left, fewer than 30"


def test_an_expired_one_is_named_once(tmp_path: pathlib.Path, authority: Authority) -> None:
    pem = _pem(tmp_path, authority)
    (reason,) = renewal.reasons(pem, authority.pem, "client", "P-256", 30, now=NOW + 20 * DAY)
    assert reason.startswith("it expired on ")


def test_one_that_ends_with_its_ca_cannot_be_prolonged(tmp_path: pathlib.Path) -> None:
    ending = Authority("ours", days=5)
    assert not renewal.reasons(_pem(tmp_path, ending, days=5), ending.pem, "client", "P-256", 30)
    assert renewal.reasons(_pem(tmp_path, ending, days=4), ending.pem, "client", "P-256", 30)


def test_one_that_ends_with_its_identity_cannot_be_prolonged(tmp_path: pathlib.Path, authority: Authority) -> None:
    pem = _pem(tmp_path, authority, days=5)
    end = x509.load_bundle(pem)[0].not_after

    def reasons(last: datetime.datetime | None) -> list[str]:
        return renewal.reasons(pem, authority.pem, "client", "P-256", 30, last=last)

    assert reasons(end) == []
    assert reasons(end + DAY - datetime.timedelta(seconds=1)) == []  # a CA elsewhere issues for whole days
    for later in (None, end + DAY):
        assert reasons(later)[0].startswith("it expires on ")
    assert reasons(end - DAY) == [f"it expires on {end:%Y-%m-%d}, and the identity on {end - DAY:%Y-%m-%d}"]


def test_the_first_certificate_of_the_bundle_signs(tmp_path: pathlib.Path, authority: Authority) -> None:
    pem, following = _pem(tmp_path, authority), Authority("next")
    assert not renewal.reasons(pem, authority.pem + following.pem, "client", "P-256", 3)
    (reason,) = renewal.reasons(pem, following.pem + authority.pem, "client", "P-256", 3)
    assert reason == "it is not issued by the CA of the trust bundle"


def test_another_use_name_or_key(tmp_path: pathlib.Path, authority: Authority) -> None:
    pem = pathlib.Path(authority.pair(tmp_path, "web1", SERVER)[0]).read_text(encoding="ascii")
    assert not renewal.reasons(pem, authority.pem, "server", "P-256", 3, ["web1"])
    assert renewal.reasons(pem, authority.pem, "client", "P-384", 3, ["web2"]) == [
        "its extended key usage is not exactly clientAuth",
        "it lacks the names web2",
        "its key is P-256 instead of P-384",
    ]


def test_there_is_no_ca_yet(tmp_path: pathlib.Path, authority: Authority) -> None:
    assert renewal.reasons(_pem(tmp_path, authority), "", "client", "P-256", 3) == ["there is no CA yet"]


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "\x00\x07",
        "-----BEGIN CERTIFICATE-----\n\x07\u2028: {}\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\udcff\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_strange_one_is_a_reason(pem: str, authority: Authority) -> None:
    (reason,) = renewal.reasons(pem, authority.pem, "client", "P-256", 3)
    assert reason.startswith("the certificate cannot be read (")


def test_a_certificate_as_people_export_it(tmp_path: pathlib.Path, authority: Authority) -> None:
    pem = "Bag Attributes: <none>\r\n" + _pem(tmp_path, authority).replace("\n", "\r\n").rstrip()
    assert not renewal.reasons(pem, authority.pem, "client", "P-256", 3)
