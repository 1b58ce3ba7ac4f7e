"""Closed months: what a month came to when finance closed it, and what has come or changed since."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from pennytrace_collectors.errors import OrderError
from pennytrace_collectors.store.client import translated
from pennytrace_collectors.store.scripts import reprice_sql
from pennytrace_collectors.store.tables import Tables

_MONTH: Final = re.compile(r"([12]\d{3})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthTotals:
    """What the calls of a month come to."""

    calls: int
    unpriced_calls: int
    partly_priced_calls: int
    estimated_calls: int
    unconverted_calls: int
    """Priced calls without an exchange rate to the currency of the reports."""
    costs: dict[str, Decimal]
    """By the currency of the prices."""
    billed_costs: dict[str, Decimal]
    """By the currency of the reports; without the calls that have no exchange rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedMonth:
    """A closed month, at its closing and now."""

    month: str
    """Such as `2026-10`, in UTC."""
    closed_at: datetime
    note: str
    catalog: str
    """The price list that was in force when it was closed."""
    closed: MonthTotals
    now: MonthTotals
    arrived_calls: int
    """Calls that came after it was closed, or were replaced by a better record of themselves."""
    corrected_calls: int
    """Calls that were priced again after it was closed."""


def close_month(store: Tables, month: str, *, note: str = "") -> ClosedMonth:
    """Record what a month comes to; from then on its calls keep their price until someone insists.

    Raises:
        OrderError: it is closed already, is not over yet, or is no month.
        StoreUnavailable: the store is away.
    """
    first = _first_day(month)
    if _after(first) > datetime.now(UTC):
        raise OrderError(f"{month} is not over yet (in UTC): close it when it is; nothing was changed")
    with translated(store.address):
        for closed in read_closed_months(store):
            if closed.month == month:
                raise OrderError(
                    f"{month} is closed since {closed.closed_at:%Y-%m-%d %H:%M} UTC; nothing was changed"
                )
        store.client.command(
            reprice_sql("close.sql", database=store.address.database),
            parameters={"month": f"{first:%Y-%m-%d}", "note": note},
        )
        return next(closed for closed in read_closed_months(store) if closed.month == month)


def read_closed_months(store: Tables) -> tuple[ClosedMonth, ...]:
    """All closed months, the newest first.

    Raises:
        StoreUnavailable: the store is away.
    """
    with translated(store.address):
        result = store.client.query(
            f"SELECT * FROM {store.address.database}.closed_months ORDER BY month DESC"
        )
    return tuple(_closed(dict(zip(result.column_names, row, strict=True))) for row in result.result_rows)


def closed_in(store: Tables, since: datetime, until: datetime) -> tuple[str, ...]:
    """The closed months that a period touches, the oldest first.

    Raises:
        StoreUnavailable: the store is away.
    """
    with translated(store.address):
        rows = store.client.query(
            f"SELECT DISTINCT month FROM {store.address.database}.months ORDER BY month"
        ).result_rows
    return tuple(f"{month:%Y-%m}" for (month,) in rows if _midnight(month) < until and _after(month) > since)


def _closed(row: Mapping[str, Any]) -> ClosedMonth:
    return ClosedMonth(
        month=f"{row['month']:%Y-%m}",
        closed_at=row["closed_at"].replace(tzinfo=UTC),
        note=row["note"],
        catalog=row["catalog"],
        closed=_totals(row, ""),
        now=_totals(row, "_now"),
        arrived_calls=row["arrived_calls"],
        corrected_calls=row["corrected_calls"],
    )


def _totals(row: Mapping[str, Any], suffix: str) -> MonthTotals:
    return MonthTotals(**{field.name: row[field.name + suffix] for field in fields(MonthTotals)})


def _first_day(month: str) -> date:
    found = _MONTH.fullmatch(month)
    if found is None:
        raise OrderError(f"not a month: {month!r}; give it as 2026-10")
    return date(int(found[1]), int(found[2]), 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _after(first: date) -> datetime:
    """The beginning of the next month."""
    return _midnight(date(first.year + first.month // 12, first.month % 12 + 1, 1))
