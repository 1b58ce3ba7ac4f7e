"""Points in time as people type them: an age (`7d`), a day, or a moment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pennytrace.errors import ConfigurationError

_AGE: Final = re.compile(r"(\d{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` up to, not including, `until`."""

    since: datetime
    until: datetime


def read_period(since: str, until: str | None, *, now: datetime) -> Period:
    """The period between two points; `until` None means up to now, and a minute more for other machines' clocks.

    Raises:
        ConfigurationError: a point cannot be read, or the period ends before it begins.
    """
    start = read_moment(since, option="--since", now=now)
    end = read_moment(until, option="--until", now=now) if until else now + timedelta(minutes=1)
    if end <= start:
        raise ConfigurationError(
            f"--until must be later than --since; got {start.isoformat()} to {end.isoformat()}"
        )
    return Period(start, end)


def read_moment(text: str, *, option: str, now: datetime) -> datetime:
    """A moment in UTC: `90m`, `24h`, `7d`, `2w` ago, or an ISO 8601 date or time (UTC unless it says otherwise).

    Raises:
        ConfigurationError: the text is none of these.
    """
    age = _AGE.fullmatch(text.strip())
    try:
        if age:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{option} must be an age such as 90m, 24h, 7d or 2w, or a date such as 2026-11-01; got {text!r}"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def nanoseconds(moment: datetime) -> int:
    """A moment as the store counts time: nanoseconds since 1970."""
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000
