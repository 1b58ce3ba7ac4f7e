"""The figures of a comparison: what calls were charged beside what they would be, by feature, model and currency."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final, TypeAlias

Rows: TypeAlias = Sequence[Mapping[str, Any]]

_UNPRICED: Final = "unpriced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The calls of one feature and model whose price differs, and what they come to in one currency.

    Calls that change their currency are counted in two of these: one has what they were, one what they would be.
    """

    feature: str
    provider: str
    model: str
    currency: str
    calls: int
    was: Decimal
    would_be: Decimal
    difference: Decimal
    """`was` + `difference` = `would_be`, to the last digit; so it is in every total."""
    newly_priced: int
    """Calls of these that had no price."""
    no_longer_priced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What all calls whose price differs come to in one currency."""

    currency: str
    was: Decimal
    would_be: Decimal
    difference: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """Calls that go from one status to another, such as from `unpriced` to `priced`."""

    was: str
    would_be: str
    reason: str
    """Why they are not fully priced: before, or, if they were, from then on."""
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that differs."""

    changed_calls: int
    differences: tuple[Difference, ...]
    """By feature, model and currency, the largest difference first."""
    totals: tuple[Total, ...]
    """By the currency of the prices."""
    billed: tuple[Total, ...]
    """By the currency of the reports, for the calls with an exchange rate."""
    status_changes: tuple[StatusChange, ...]


def compare(rows: Iterable[Mapping[str, Any]]) -> Comparison:
    """Add up rows of sql/reprice/figures.sql, exactly, in whichever order and however many for the same calls' kind."""
    found = list(rows)
    with localcontext() as context:
        # Sums of Decimal(38, 18) must not be rounded to Python's usual 28 digits.
        context.prec = 80
        differences = _differences(found)
        return Comparison(
            changed_calls=sum(row["calls"] for row in found),
            differences=differences,
            totals=_totals(found, "currency", "cost"),
            billed=_totals(found, "billing_currency", "billed_cost"),
            status_changes=_status_changes(found),
        )


def _differences(rows: Rows) -> tuple[Difference, ...]:
    parts: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        for currency in {row["old_currency"], row["new_currency"]} - {""}:
            parts[row["feature"], row["provider"], row["model"], currency].append(row)
    found = [_difference(key, part) for key, part in parts.items()]
    return tuple(sorted(found, key=lambda one: (-abs(one.difference), one.feature, one.model, one.currency)))


def _difference(key: tuple[str, str, str, str], rows: Rows) -> Difference:
    feature, provider, model, currency = key
    was, would_be = _sums(rows, currency, "currency", "cost")
    return Difference(
        feature=feature,
        provider=provider,
        model=model,
        currency=currency,
        calls=sum(row["calls"] for row in rows),
        was=was,
        would_be=would_be,
        difference=would_be - was,
        newly_priced=sum(row["calls"] for row in rows if row["old_status"] == _UNPRICED),
        no_longer_priced=sum(row["calls"] for row in rows if row["new_status"] == _UNPRICED),
    )


def _totals(rows: Rows, currency: str, amount: str) -> tuple[Total, ...]:
    named = sorted({row[f"{side}_{currency}"] for row in rows for side in ("old", "new")} - {""})
    found = []
    for name in named:
        was, would_be = _sums(rows, name, currency, amount)
        found.append(Total(currency=name, was=was, would_be=would_be, difference=would_be - was))
    return tuple(found)


def _sums(rows: Rows, name: str, currency: str, amount: str) -> tuple[Decimal, Decimal]:
    was, would_be = (
        sum((row[f"{side}_{amount}"] for row in rows if row[f"{side}_{currency}"] == name), Decimal(0))
        for side in ("old", "new")
    )
    return was, would_be


def _status_changes(rows: Rows) -> tuple[StatusChange, ...]:
    calls: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        was, would_be = row["old_status"], row["new_status"]
        if was != would_be:
            reason = row["old_reason"] if would_be == "priced" or was == _UNPRICED else row["new_reason"]
            calls[was, would_be, reason] += row["calls"]
    return tuple(
        StatusChange(was=was, would_be=would_be, reason=reason, calls=count)
        for (was, would_be, reason), count in sorted(calls.items())
    )
