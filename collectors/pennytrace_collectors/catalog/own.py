"""The prices that entries of a price file give by themselves, as timelines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from pennytrace_collectors.catalog.matching import Match, group_of
from pennytrace_collectors.catalog.pricefile import OwnPrice
from pennytrace_collectors.catalog.pricefile.keys import BILLED_BY, KEYS
from pennytrace_collectors.catalog.prices import ALWAYS, SECOND, Price, first_second, last_second, per_unit
from pennytrace_collectors.catalog.spans import Span, Timeline


def own_timelines(matches: Iterable[Match[OwnPrice]], layer: str) -> Iterator[dict[str, Timeline]]:
    """Each group of entries about the same models, the least exact first: its prices by variant."""
    groups: dict[tuple[str, str], list[OwnPrice]] = defaultdict(list)
    for match in matches:
        groups[group_of(match)].append(match.entry)
    for entries in groups.values():
        yield {
            variant: _timeline([entry for entry in entries if entry.variant == variant], layer)
            for variant in dict.fromkeys(entry.variant for entry in entries)
        }


def _timeline(entries: Sequence[OwnPrice], layer: str) -> Timeline:
    """The history of one variant: each price holds to its own end, or until the next one."""
    by_start: dict[datetime, list[OwnPrice]] = defaultdict(list)
    for entry in entries:
        by_start[first_second(entry.valid_from)].append(entry)
    starts = sorted(by_start)
    following = [start - SECOND for start in starts[1:]]
    return tuple(
        Span(start, min([last_second(by_start[start][0].valid_to), *following[place : place + 1]]), prices)
        for place, start in enumerate(starts)
        if (prices := tuple(_prices(by_start[start], layer)))
    )


def _prices(entries: Sequence[OwnPrice], layer: str) -> Iterator[Price]:
    """Each meter's price in each band of input size; a band says only what is other than below it."""
    given: dict[str, Price] = {}
    for band in sorted(entries, key=_above):
        given |= {price.price_key: price for price in _given(band, layer)}
        above = _above(band)
        for meter, keys in BILLED_BY.items():
            price = next((given[key] for key in keys if key in given), None)
            if price is not None:
                yield replace(price, meter=meter, above=above)


def _given(entry: OwnPrice, layer: str) -> Iterator[Price]:
    """The prices that an entry writes down, of no meter yet."""
    start, end = first_second(entry.valid_from), last_second(entry.valid_to)
    variant, above, source = entry.variant, _above(entry), entry.written
    for key, amount in entry.amounts.items():
        unit = per_unit(amount, per=KEYS[key])
        yield Price(variant, start, end, 0, above, "", unit, unit, key, layer, source, entry.currency)


def _above(entry: OwnPrice) -> int:
    return ALWAYS if entry.above_input_tokens is None else entry.above_input_tokens
