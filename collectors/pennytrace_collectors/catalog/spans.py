"""Prices of one variant laid out over time: cut, put over each other, and changed for a part of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from pennytrace_collectors.catalog.prices import SECOND, Price


@dataclass(frozen=True, slots=True)
class Span:
    """All prices that hold for some time; `valid_to` is inclusive, to the second."""

    valid_from: datetime
    valid_to: datetime
    prices: tuple[Price, ...]


Timeline: TypeAlias = tuple[Span, ...]
"""Spans in order that do not overlap; there may be gaps, where there is no price."""


def timelines(prices: Iterable[Price]) -> dict[str, Timeline]:
    """The prices of a rate card, by variant."""
    found: dict[str, dict[tuple[datetime, datetime], list[Price]]] = defaultdict(lambda: defaultdict(list))
    for price in prices:
        found[price.variant][price.valid_from, price.valid_to].append(price)
    return {
        variant: tuple(Span(start, end, tuple(spans[start, end])) for start, end in sorted(spans))
        for variant, spans in found.items()
    }


def flat(by_variant: Mapping[str, Timeline]) -> tuple[Price, ...]:
    """The prices of timelines, each with its variant and its time."""
    return tuple(
        price
        if (price.variant, price.valid_from, price.valid_to) == (variant, span.valid_from, span.valid_to)
        else replace(price, variant=variant, valid_from=span.valid_from, valid_to=span.valid_to)
        for variant in sorted(by_variant)
        for span in by_variant[variant]
        for price in span.prices
    )


def cut(timeline: Timeline, edges: Iterable[datetime]) -> Timeline:
    """The same prices, with a span ending wherever one of the edges is."""
    marks = sorted(set(edges))
    return tuple(part for span in timeline for part in _cut(span, marks))


def _cut(span: Span, marks: list[datetime]) -> Iterator[Span]:
    start = span.valid_from
    for mark in marks:
        if start < mark <= span.valid_to:
            yield Span(start, mark - SECOND, span.prices)
            start = mark
    yield Span(start, span.valid_to, span.prices)


def edges(valid_from: datetime, valid_to: datetime) -> tuple[datetime, datetime]:
    """Where a timeline is cut so that a span is either within a time or outside of it."""
    return valid_from, valid_to + SECOND


def over(under: Timeline, upper: Timeline) -> Timeline:
    """Two timelines as one: where the upper one says anything, the lower one is not asked."""
    parts = cut(under, [edge for span in upper for edge in edges(span.valid_from, span.valid_to)])
    taken = [(span.valid_from, span.valid_to) for span in upper]
    left = [part for part in parts if not any(start <= part.valid_from <= end for start, end in taken)]
    return tuple(sorted([*left, *upper], key=lambda span: span.valid_from))


def changed(
    timeline: Timeline, at: Iterable[datetime], change: Callable[[Span], tuple[Price, ...]]
) -> Timeline:
    """Every span's prices changed, after it was cut at the times where the change itself changes."""
    return tuple(Span(span.valid_from, span.valid_to, change(span)) for span in cut(timeline, at))
