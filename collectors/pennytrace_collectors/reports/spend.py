"""Spend by any dimensions over a period: exact decimal sums, with the coverage of every one of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.reports.reading import Reader

DIMENSIONS: Final[Mapping[str, str]] = {
    "feature": "feature",
    "model": "model",
    "provider": "provider",
    "service": "service",
    "environment": "environment",
    "team": "team",
    "customer": "customer",
    "user": "user",
    "session": "session",
    "operation": "operation",
    "host": "host",
    "tier": "variant",
    "feature_source": "toString(feature_source)",
    "day": "toString(toDate(started_at, 'UTC'))",
    "hour": "formatDateTime(toStartOfHour(started_at), '%Y-%m-%d %H:00', 'UTC')",
    "month": "formatDateTime(started_at, '%Y-%m', 'UTC')",
}


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` up to, not including, `until`."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a sum is known: counts of calls and of tokens, all and priced."""

    calls: int
    priced_calls: int
    partly_priced_calls: int
    unpriced_calls: int
    estimated_calls: int
    tokens: int
    priced_tokens: int
    estimated_tokens: int

    @property
    def share_of_calls(self) -> Decimal:
        """Priced calls per call, 0 to 1 with 4 decimals, rounded down so that 1 means all of them."""
        return _share(self.priced_calls, self.calls)

    @property
    def share_of_tokens(self) -> Decimal:
        """Priced tokens per token, 0 to 1 with 4 decimals, rounded down so that 1 means all of them."""
        return _share(self.priced_tokens, self.tokens)


@dataclass(frozen=True, slots=True)
class Row:
    """The spend of one combination of the dimensions, or of all of them together."""

    key: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    """None when none of its calls could be priced: unknown is not zero."""
    currency: str | None
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class PriceList:
    """The price list that the store prices by."""

    identity: str
    genai_prices: str
    newest_price: datetime


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Calls without a full price, and why."""

    provider: str
    model: str
    reason: str
    calls: int
    tokens: int


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
class Spend:
    """A report: rows by falling cost, a total for each currency, and what is not in it."""

    dimensions: tuple[str, ...]
    period: Period
    rows: tuple[Row, ...]
    totals: tuple[Row, ...]
    unpriced: tuple[Unpriced, ...]
    losses: tuple[Loss, ...]
    compared: Comparison
    price_list: PriceList | None


def read_spend(reader: Reader, dimensions: Sequence[str], period: Period) -> Spend:
    """Read the spend of a period by dimensions.

    Raises:
        ConfigurationError: a dimension is not one of `DIMENSIONS`.
        StoreUnavailable: the store does not answer.
    """
    columns = ", ".join(f"{_expression(name)} AS by_{name}" for name in dimensions)
    bounds = {"since": _nanoseconds(period.since), "until": _nanoseconds(period.until)}
    # Rows and reasons come from one query: a settle between two would make the report contradict itself.
    found = reader.rows("spend.sql", values={"dimensions": columns}, parameters=bounds)
    rows = _in_one_currency([_row(record, dimensions) for record in found])
    lost = reader.rows("losses.sql", parameters=bounds)
    lists = reader.rows("price_list.sql")
    return Spend(
        dimensions=tuple(dimensions),
        period=period,
        rows=tuple(sorted(rows, key=_by_falling_cost)),
        totals=tuple(_totals(rows)),
        unpriced=tuple(_unpriced(found)),
        losses=tuple(Loss(**record) for record in lost),
        compared=_comparison(found),
        price_list=_price_list(lists[0]) if lists else None,
    )


def _expression(dimension: str) -> str:
    try:
        return DIMENSIONS[dimension]
    except KeyError:
        raise ConfigurationError(
            f"--by takes some of {', '.join(DIMENSIONS)}, separated by commas; got {dimension!r}"
        ) from None


def _row(record: Mapping[str, Any], dimensions: Sequence[str]) -> Row:
    coverage = Coverage(
        calls=record["calls"],
        priced_calls=record["priced_calls"],
        partly_priced_calls=record["partly_priced_calls"],
        unpriced_calls=record["unpriced_calls"],
        estimated_calls=record["estimated_calls"],
        tokens=record["input_tokens"] + record["output_tokens"],
        priced_tokens=record["priced_tokens"],
        estimated_tokens=record["estimated_tokens"],
    )
    return Row(
        key=tuple(str(record[f"by_{name}"]) for name in dimensions),
        input_tokens=record["input_tokens"],
        output_tokens=record["output_tokens"],
        cost=record["cost"],
        currency=record["currency"] or None,
        coverage=coverage,
    )


def _in_one_currency(rows: Iterable[Row]) -> list[Row]:
    """Calls without a price have no currency: count them with their neighbours of the same key, if these have one."""
    by_key: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_by_falling_cost):
        by_key[row.key].append(row)
    merged: list[Row] = []
    for key, same in by_key.items():
        currencies = list(dict.fromkeys(row.currency for row in same if row.currency))
        merged.append(_sum(key, [row for row in same if row.currency in (*currencies[:1], None)]))
        merged += [_sum(key, [row for row in same if row.currency == other]) for other in currencies[1:]]
    return merged


def _unpriced(records: Iterable[Mapping[str, Any]]) -> list[Unpriced]:
    """What lacks a price and why, by falling tokens."""
    calls: Counter[tuple[str, str, str]] = Counter()
    tokens: Counter[tuple[str, str, str]] = Counter()
    for record in records:
        if record["lacking_reason"]:
            cause = (record["lacking_provider"], record["lacking_model"], record["lacking_reason"])
            calls[cause] += record["calls"]
            tokens[cause] += record["input_tokens"] + record["output_tokens"]
    causes = sorted(calls, key=lambda cause: (-tokens[cause], -calls[cause], cause))
    return [Unpriced(*cause, calls=calls[cause], tokens=tokens[cause]) for cause in causes]


def _comparison(records: Iterable[Mapping[str, Any]]) -> Comparison:
    compared = [record for record in records if record["compared_calls"]]
    return Comparison(
        calls=sum(record["compared_calls"] for record in compared),
        reported=sum((record["reported_cost"] for record in compared), Decimal(0)),
        computed=sum((record["compared_cost"] for record in compared), Decimal(0)),
    )


def _totals(rows: Sequence[Row]) -> list[Row]:
    """One sum a currency; amounts of different currencies are never added up."""
    currencies = list(dict.fromkeys(row.currency for row in rows if row.currency))
    parts = [[row for row in rows if row.currency in (*currencies[:1], None)]]
    parts += [[row for row in rows if row.currency == currency] for currency in currencies[1:]]
    return [_sum((), part) for part in parts if part]


def _sum(key: tuple[str, ...], rows: Sequence[Row]) -> Row:
    costs = [row.cost for row in rows if row.cost is not None]
    fields = Coverage.__dataclass_fields__
    coverage = Coverage(**{name: sum(getattr(row.coverage, name) for row in rows) for name in fields})
    return Row(
        key=key,
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost=sum(costs, Decimal(0)) if costs else None,
        currency=next((row.currency for row in rows if row.currency), None),
        coverage=coverage,
    )


def _by_falling_cost(row: Row) -> tuple[Decimal, tuple[str, ...], str]:
    return (-(row.cost or Decimal(0)), row.key, row.currency or "")


def _price_list(record: Mapping[str, Any]) -> PriceList:
    newest = record["newest_price"]
    return PriceList(record["catalog"], record["genai_prices"], newest.replace(tzinfo=UTC))


def _share(part: int, whole: int) -> Decimal:
    return Decimal(part * 10_000 // whole if whole else 10_000).scaleb(-4)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000
