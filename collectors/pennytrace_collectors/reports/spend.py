"""Spend by any dimensions over a period: exact decimal sums, with the coverage of every one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from pennytrace_collectors.reports import risk, sums
from pennytrace_collectors.reports.amounts import added
from pennytrace_collectors.reports.dimensions import METER, columns
from pennytrace_collectors.reports.gpu import Idle, read_idle
from pennytrace_collectors.reports.period import Period, nanoseconds
from pennytrace_collectors.reports.reading import Reader
from pennytrace_collectors.reports.risk import AtRisk, Unpriced
from pennytrace_collectors.reports.sums import Row
from pennytrace_collectors.store.months import ClosedMonth, closed_in, read_closed_months

_DEFAULT_CURRENCY: Final = "USD"


@dataclass(frozen=True, slots=True)
class PriceList:
    """The price list that the store prices by."""

    identity: str
    genai_prices: str
    newest_price: datetime


@dataclass(frozen=True, slots=True)
class Loss:
    """Calls that an app could not keep, by its own account, and why."""

    service: str
    environment: str
    reason: str
    calls: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The calls whose provider stated a cost and that have one of ours: both sums, in USD."""

    calls: int
    reported: Decimal
    computed: Decimal


@dataclass(frozen=True, slots=True)
class Unconverted:
    """Calls with a cost that is in no sum, because no exchange rate to the currency of the report was known."""

    currency: str
    calls: int
    cost: Decimal
    since: date
    """The day of the first of them."""


@dataclass(frozen=True, slots=True)
class Spend:
    """A report: rows by falling cost, their totals, and what is not in them."""

    dimensions: tuple[str, ...]
    period: Period
    currency: str
    """What the price list says that reports are in."""
    original: bool
    """Whether every amount is in the currency of its price instead, in rows and totals of its own."""
    rows: tuple[Row, ...]
    totals: tuple[Row, ...]
    """One, or one a currency when `original`; none when there are no calls."""
    unpriced: tuple[Unpriced, ...]
    unconverted: tuple[Unconverted, ...]
    losses: tuple[Loss, ...]
    compared: Comparison
    gpu_idle: tuple[Idle, ...]
    """GPU time that no call was charged for, over the whole hours that the period touches: in no sum."""
    closed_months: tuple[ClosedMonth, ...]
    """Those that the period touches, the oldest first."""
    price_list: PriceList | None

    @property
    def at_risk(self) -> tuple[AtRisk, ...]:
        """What the unpriced calls would have cost, by currency: never a part of any sum."""
        return risk.in_all(self.unpriced)

    @property
    def by_meter(self) -> bool:
        """Whether rows have a quantity, and not the tokens of their calls."""
        return METER in self.dimensions


def read_spend(reader: Reader, dimensions: Sequence[str], period: Period, *, original: bool = False) -> Spend:
    """Read the spend of a period by dimensions, in the currency of the price list or each in its own.

    Raises:
        ConfigurationError: a dimension is not one of `DIMENSIONS`.
        StoreUnavailable: the store does not answer.
    """
    chosen = columns(dimensions)
    lists = reader.rows("price_list.sql")
    currency = lists[0]["currency"] or _DEFAULT_CURRENCY if lists else _DEFAULT_CURRENCY
    bounds = {"since": nanoseconds(period.since), "until": nanoseconds(period.until), "currency": currency}
    parts = "meters_of_calls.sql" if METER in dimensions else "whole_calls.sql"
    # Rows and reasons come from one query: a settle between two would make the report contradict itself.
    found = reader.rows(
        "spend.sql", values={"dimensions": chosen, "parts": reader.text(parts)}, parameters=bounds
    )
    rows, totals = sums.add_up(found, dimensions, billed_in=None if original else currency)
    return Spend(
        dimensions=tuple(dimensions),
        period=period,
        currency=currency,
        original=original,
        rows=rows,
        totals=totals,
        unpriced=risk.unpriced(found, reader.rows("at_risk.sql", parameters=bounds)),
        unconverted=() if original else _unconverted(found),
        losses=tuple(Loss(**record) for record in reader.rows("losses.sql", parameters=bounds)),
        compared=_comparison(found),
        gpu_idle=read_idle(reader, period),
        closed_months=_closed_months(reader, period),
        price_list=_price_list(lists[0]) if lists else None,
    )


def _unconverted(records: Sequence[Mapping[str, Any]]) -> tuple[Unconverted, ...]:
    """What has a cost and is not converted, by currency."""
    by_currency: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        if record["unconverted"]:
            by_currency[record["currency"]].append(record)
    return tuple(
        Unconverted(
            currency=own,
            calls=sum(record["calls"] for record in same if record["counted"]),
            cost=added(record["cost"] for record in same) or Decimal(0),
            since=min(record["first_at"] for record in same).date(),
        )
        for own, same in sorted(by_currency.items())
    )


def _comparison(records: Sequence[Mapping[str, Any]]) -> Comparison:
    compared = [record for record in records if record["counted"] and record["compared_calls"]]
    return Comparison(
        calls=sum(record["compared_calls"] for record in compared),
        reported=added(record["reported_cost"] for record in compared) or Decimal(0),
        computed=added(record["compared_cost"] for record in compared) or Decimal(0),
    )


def _closed_months(reader: Reader, period: Period) -> tuple[ClosedMonth, ...]:
    touched = closed_in(reader, period.since, period.until)
    # What they come to now takes a look at all their calls.
    months = read_closed_months(reader) if touched else ()
    return tuple(month for month in reversed(months) if month.month in touched)


def _price_list(record: Mapping[str, Any]) -> PriceList:
    newest = record["newest_price"]
    return PriceList(record["catalog"], record["genai_prices"], newest.replace(tzinfo=UTC))
