# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a certificate is due for renewal: one rule for servers and clients."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509


def due(not_after: datetime.datetime, renew_days: int, now: datetime.datetime | None = None) -> bool:
    """Whether fewer than ``renew_days`` whole days are left."""
    return (not_after - (now or datetime.datetime.now(datetime.timezone.utc))).days < renew_days


def reasons(
    pem: str,
    bundle: str,
    usage: str,
    key: str,
    renew_days: int,
    names: t.Iterable[str] = (),
    now: datetime.datetime | None = None,
    last: datetime.datetime | None = None,
) -> list[str]:
    """Why a certificate has to be replaced, one phrase each; empty where it serves.

    ``usage`` is server or client, ``key`` the wanted type as in ``P-256`` or ``RSA 3072``. The first certificate of
    ``bundle`` signs; the others are trusted for what they signed before. An empty one stands for a CA yet to come.
    A certificate that ends with its CA, or on the day that ends at ``last``, is not due: another one would not last
    longer.
    """
    try:
        return _reasons(pem, x509.load_bundle(bundle)[0] if bundle else None, usage, key, renew_days, names, now, last)
    except x509.UNREADABLE as error:
        return [f"the certificate cannot be read ({error})"]


def _reasons(
    pem: str,
    signer: x509.Entry | None,
    usage: str,
    key: str,
    renew_days: int,
    names: t.Iterable[str],
    now: datetime.datetime | None,
    last: datetime.datetime | None,
) -> list[str]:
    entry = x509.load_bundle(pem)[0]
    now = now or datetime.datetime.now(datetime.timezone.utc)
    found = x509.problems(pem, signer.pem, usage, names, now) if signer else ["there is no CA yet"]
    has = x509.key_label(entry.certificate)
    if has != key:
        found.append(f"its key is {has} instead of {key}")
    if last and entry.not_after > last:
        found.append(f"it expires on {entry.not_after:%Y-%m-%d}, and the identity on {last:%Y-%m-%d}")
    ends_with_its_ca = signer is not None and entry.not_after >= signer.not_after
    cannot_last_longer = ends_with_its_ca or (last and entry.not_after > last - datetime.timedelta(days=1))
    if now <= entry.not_after and due(entry.not_after, renew_days, now) and not cannot_last_longer:
        days = x509.days_left(entry.certificate, now)
        found.append(f"it expires on {entry.not_after:%Y-%m-%d}: {days} whole days are left, fewer than {renew_days}")
    return found
