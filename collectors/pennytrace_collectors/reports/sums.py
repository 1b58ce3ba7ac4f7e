"""Adds up what the store answers: to rows and totals, in one currency or each amount in its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from pennytrace_collectors.catalog import METERS
from pennytrace_collectors.reports.amounts import added
from pennytrace_collectors.reports.dimensions import METER

_UNITS: Final = {meter.name: meter.of for meter in METERS}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a sum is known: counts of calls and of tokens, all and priced."""

    calls: int = 0
    priced_calls: int = 0
    partly_priced_calls: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0
    tokens: int = 0
    priced_tokens: int = 0
    estimated_tokens: int = 0

    @property
    def share_of_calls(self) -> Decimal:
        """Priced calls per call, 0 to 1 with 4 decimals, rounded down so that 1 means all of them."""
        return _share(self.priced_calls, self.calls)

    @property
    def share_of_tokens(self) -> Decimal:
        """Priced tokens per token, 0 to 1 with 4 decimals, rounded down so that 1 means all of them."""
        return _share(self.priced_tokens, self.tokens)


@dataclass(frozen=True, slots=True)
class Amount:
    """What calls cost in the currency of their prices."""

    currency: str
    cost: Decimal
    billed_cost: Decimal | None
    """What it is in the currency of the report; None when nothing of it can be converted."""
    unconverted_cost: Decimal
    """The part of `cost` that cannot be converted, and so is not in `billed_cost`."""


@dataclass(frozen=True, slots=True)
class Row:
    """The spend of one combination of the dimensions, or of all of them together."""

    key: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    """None when none of its calls could be priced, or converted: unknown is not zero."""
    currency: str | None
    """None without a cost."""
    coverage: Coverage
    amounts: tuple[Amount, ...] = ()
    """The same by the currencies of the prices, largest first; what has no price is in none."""
    quantity: Decimal | None = None
    """Of a report by meter: how much of it was used."""
    unit: str = ""
    """Of what: tokens, characters, seconds, ..."""


def add_up(
    records: Sequence[Mapping[str, Any]], dimensions: Sequence[str], *, billed_in: str | None
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Rows by falling cost, and their totals.

    Args:
        records: What `sql/spend.sql` answers.
        dimensions: What they are grouped by.
        billed_in: The currency of the report; None when each amount stays in that of its price, which makes a row and
            a total for each currency.
    """
    parts = [_row(record, dimensions, billed_in) for record in records]
    # A record that is not counted is a further meter of calls that are: it adds money, but no calls.
    once = [
        part if record["counted"] else replace(part, input_tokens=0, output_tokens=0, coverage=Coverage())
        for record, part in zip(records, parts, strict=True)
    ]
    rows = sorted(_by_key(parts), key=_by_falling_cost)
    totals = _by_key([replace(part, key=(), quantity=None, unit="") for part in once])
    return tuple(rows), tuple(totals)


def _row(record: Mapping[str, Any], dimensions: Sequence[str], billed_in: str | None) -> Row:
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
    meter = record["by_meter"] if METER in dimensions else None
    cost = record["billed_cost"] if billed_in else record["cost"]
    return Row(
        key=tuple(str(record[f"by_{name}"]) for name in dimensions),
        input_tokens=record["input_tokens"],
        output_tokens=record["output_tokens"],
        cost=cost,
        currency=None if cost is None else billed_in or record["currency"] or None,
        coverage=coverage,
        amounts=_amounts(record),
        quantity=None if meter is None else record["quantity"],
        unit=_UNITS.get(meter or "", ""),
    )


def _amounts(record: Mapping[str, Any]) -> tuple[Amount, ...]:
    if not record["currency"] or record["cost"] is None:
        return ()
    return (
        Amount(
            currency=record["currency"],
            cost=record["cost"],
            billed_cost=record["billed_cost"],
            unconverted_cost=record["cost"] if record["unconverted"] else Decimal(0),
        ),
    )


def _by_key(rows: Iterable[Row]) -> list[Row]:
    """One row a key and currency.

    Calls without a price have no currency: they are counted with their neighbours of the same key, if these have one.
    """
    by_key: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_by_falling_cost):
        by_key[row.key].append(row)
    merged: list[Row] = []
    for key, same in by_key.items():
        currencies = list(dict.fromkeys(row.currency for row in same if row.currency))
        merged.append(_sum(key, [row for row in same if row.currency in (*currencies[:1], None)]))
        merged += [_sum(key, [row for row in same if row.currency == other]) for other in currencies[1:]]
    return merged


def _sum(key: tuple[str, ...], rows: Sequence[Row]) -> Row:
    fields = Coverage.__dataclass_fields__
    coverage = Coverage(**{name: sum(getattr(row.coverage, name) for row in rows) for name in fields})
    return Row(
        key=key,
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost=added(row.cost for row in rows),
        currency=next((row.currency for row in rows if row.currency), None),
        coverage=coverage,
        amounts=_merged(amount for row in rows for amount in row.amounts),
        quantity=added(row.quantity for row in rows),
        unit=next((row.unit for row in rows if row.unit), ""),
    )


def _merged(amounts: Iterable[Amount]) -> tuple[Amount, ...]:
    by_currency: dict[str, list[Amount]] = defaultdict(list)
    for amount in amounts:
        by_currency[amount.currency].append(amount)
    merged = (
        Amount(
            currency=currency,
            cost=added(amount.cost for amount in same) or Decimal(0),
            unconverted_cost=added(amount.unconverted_cost for amount in same) or Decimal(0),
            billed_cost=added(amount.billed_cost for amount in same),
        )
        for currency, same in by_currency.items()
    )
    return tuple(sorted(merged, key=lambda amount: (-amount.cost, amount.currency)))


def _by_falling_cost(row: Row) -> tuple[Decimal, tuple[str, ...], str]:
    return (-(row.cost or Decimal(0)), row.key, row.currency or "")


def _share(part: int, whole: int) -> Decimal:
    return Decimal(part * 10_000 // whole if whole else 10_000).scaleb(-4)
