"""What lacks a price, why, and the money at risk in it: what the nearest rate cards would have charged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pennytrace_collectors.reports.amounts import added


@dataclass(frozen=True, slots=True)
class Candidate:
    """What calls without a price would have cost by the prices of another model; a bound for people, never charged."""

    rate_card: str
    calls: int
    """Those that it has prices for."""
    cost: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Calls without a full price, and why."""

    provider: str
    model: str
    reason: str
    calls: int
    tokens: int
    candidates: tuple[Candidate, ...] = ()
    """The nearest rate cards, cheapest first; none when nothing has a similar name."""


@dataclass(frozen=True, slots=True)
class AtRisk:
    """What all calls without a price would have cost, in the currency of their candidates: from least to most."""

    currency: str
    calls: int
    """Those that have a candidate, over the whole days of the period."""
    low: Decimal
    high: Decimal


def in_all(causes: Sequence[Unpriced]) -> tuple[AtRisk, ...]:
    """The bounds of all of it, by currency."""
    bounds: dict[str, list[list[Candidate]]] = defaultdict(list)
    for cause in causes:
        for currency in dict.fromkeys(candidate.currency for candidate in cause.candidates):
            bounds[currency].append([one for one in cause.candidates if one.currency == currency])
    return tuple(
        AtRisk(
            currency=currency,
            calls=sum(max(candidate.calls for candidate in same) for same in found),
            low=added(same[0].cost for same in found) or Decimal(0),
            high=added(same[-1].cost for same in found) or Decimal(0),
        )
        for currency, found in sorted(bounds.items())
    )


def unpriced(
    records: Sequence[Mapping[str, Any]], at_risk: Sequence[Mapping[str, Any]]
) -> tuple[Unpriced, ...]:
    """What lacks a price and why, by falling tokens.

    Args:
        records: What `sql/spend.sql` answers.
        at_risk: What `sql/at_risk.sql` answers for the same period.
    """
    calls: Counter[tuple[str, str, str]] = Counter()
    tokens: Counter[tuple[str, str, str]] = Counter()
    for record in records:
        if record["lacking_reason"] and record["counted"]:
            cause = (record["lacking_provider"], record["lacking_model"], record["lacking_reason"])
            calls[cause] += record["calls"]
            tokens[cause] += record["input_tokens"] + record["output_tokens"]
    candidates = _candidates(at_risk)
    causes = sorted(calls, key=lambda cause: (-tokens[cause], -calls[cause], cause))
    return tuple(
        Unpriced(*cause, calls=calls[cause], tokens=tokens[cause], candidates=candidates.get(cause, ()))
        for cause in causes
    )


def _candidates(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], tuple[Candidate, ...]]:
    found: dict[tuple[str, str, str], list[Candidate]] = defaultdict(list)
    for record in records:
        candidate = Candidate(record["candidate"], record["calls"], record["cost"], record["currency"])
        found[record["provider"], record["model"], record["reason"]].append(candidate)
    return {
        cause: tuple(sorted(same, key=lambda one: (one.currency, one.cost, one.rate_card)))
        for cause, same in found.items()
    }
