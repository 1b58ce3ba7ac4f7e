"""Compares what a provider has billed with what the report says, model by model, to the last token and digit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce

from pennytrace_collectors.reports import Spend


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What is known of some calls."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    """None when nothing of it has a price."""

    def __add__(self, other: Sums) -> Sums:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Sums(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=sum(costs, Decimal(0)) if costs else None,
        )

    def __str__(self) -> str:
        cost = "no price" if self.cost is None else f"{self.cost.normalize():,f} USD"
        return f"{self.calls:,} calls, {self.input_tokens:,} input tokens, {self.output_tokens:,} output tokens, {cost}"


def total(sums: Iterable[Sums]) -> Sums:
    """Return the sum of sums."""
    return reduce(Sums.__add__, sums, Sums())


def reported(spend: Spend) -> Mapping[str, Sums]:
    """Return what a report says of each model; `model` must be among its dimensions."""
    position = spend.dimensions.index("model")
    models: dict[str, Sums] = {}
    for row in spend.rows:
        found = Sums(
            calls=row.coverage.calls,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost=row.cost,
        )
        models[row.key[position]] = models.get(row.key[position], Sums()) + found
    return models


def differences(billed: Mapping[str, Sums], found: Mapping[str, Sums]) -> Iterator[str]:
    """Yield a sentence for each model of which the two do not say the same."""
    for model in sorted({*billed, *found}):
        theirs, ours = billed.get(model, Sums()), found.get(model, Sums())
        if theirs != ours:
            yield f"{model}: the provider billed {theirs}; the report says {ours}"
