# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The day on which an identity ends: it counts to its end, in UTC."""

from __future__ import annotations

import datetime
import re


class DayError(ValueError):
    """A text that is no date."""


def end(text: str) -> datetime.datetime | None:
    """The last second of the day; None for an identity that goes on."""
    if not text:
        return None
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError(text)
        day = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise DayError(f"{text[:40]!r} is no date such as 2030-12-31") from error
    return datetime.datetime.combine(day, datetime.time(23, 59, 59), datetime.timezone.utc)


def is_over(text: str, now: datetime.datetime | None = None) -> bool:
    last = end(text)
    return last is not None and last < (now or datetime.datetime.now(datetime.timezone.utc))


def days_left(text: str, now: datetime.datetime | None = None) -> int | None:
    """Whole days until its end, one at least; None for an identity that goes on."""
    last = end(text)
    return None if last is None else max(1, (last - (now or datetime.datetime.now(datetime.timezone.utc))).days)
