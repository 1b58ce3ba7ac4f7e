"""What a price file does to the prices below it: corrects, discounts, or makes a variant times a factor of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from pennytrace_collectors.catalog.matching import Match
from pennytrace_collectors.catalog.meters import METERS
from pennytrace_collectors.catalog.pricefile import Correction, Discount, Surcharge
from pennytrace_collectors.catalog.pricefile.entries import Dated
from pennytrace_collectors.catalog.pricefile.keys import BILLED_BY, KEYS
from pennytrace_collectors.catalog.prices import ALWAYS, Price, first_second, last_second, per_unit
from pennytrace_collectors.catalog.spans import Span, Timeline, changed, edges

_TOKENS: Final = frozenset(meter.name for meter in METERS if meter.of == "tokens")


def corrected(
    timeline: Timeline, variant: str, corrections: Iterable[Match[Correction]], layer: str
) -> Timeline:
    """The prices with single numbers replaced, the most exact correction last."""
    for match in sorted(corrections, key=lambda match: (match.exactness, _start(match.entry))):
        if match.entry.variant == variant:
            timeline = _within(timeline, match.entry, _correction(match.entry, layer))
    return timeline


def discounted(
    timeline: Timeline, variant: str, discounts: Iterable[Match[Discount]], layer: str
) -> Timeline:
    """The prices with discounts taken off; of several for the same price, the most exact one holds alone."""
    parts = variant.split("+")
    fitting = [
        match.entry
        for match in sorted(discounts, key=_discount_order)
        if all(part in parts for part in (match.entry.tier, match.entry.processing) if part is not None)
    ]
    if not fitting:
        return timeline

    def change(span: Span) -> tuple[Price, ...]:
        now = [entry for entry in fitting if _holds(entry, span)]
        return tuple(_off(price, now, layer) for price in span.prices)

    return changed(timeline, [edge for entry in fitting for edge in _edges(entry)], change)


def surcharged(timeline: Timeline, surcharge: Surcharge, layer: str) -> Timeline:
    """The prices of a variant that costs what the given one does, times a factor, for as long as that holds."""
    multiplied = _TOKENS if surcharge.meters is None else frozenset(surcharge.meters)

    def change(span: Span) -> tuple[Price, ...]:
        return tuple(
            _times(price, surcharge.factor, f"times {surcharge.factor} ({surcharge.written})", layer)
            if price.meter in multiplied
            else price
            for price in span.prices
        )

    made = changed(timeline, _edges(surcharge), change)
    return tuple(
        replace(span, prices=tuple(replace(price, variant=surcharge.variant) for price in span.prices))
        for span in made
        if _holds(surcharge, span)
    )


def _within(timeline: Timeline, entry: Dated, change: Callable[[Span], tuple[Price, ...]]) -> Timeline:
    return changed(timeline, _edges(entry), lambda span: change(span) if _holds(entry, span) else span.prices)


def _edges(entry: Dated) -> tuple[datetime, datetime]:
    return edges(first_second(entry.valid_from), last_second(entry.valid_to))


def _start(entry: Dated) -> datetime:
    return first_second(entry.valid_from)


def _holds(entry: Dated, span: Span) -> bool:
    return first_second(entry.valid_from) <= span.valid_from <= last_second(entry.valid_to)


def _correction(entry: Correction, layer: str) -> Callable[[Span], tuple[Price, ...]]:
    above = ALWAYS if entry.above_input_tokens is None else entry.above_input_tokens

    def change(span: Span) -> tuple[Price, ...]:
        prices = list(span.prices)
        if above not in {price.above for price in prices}:
            below = max((price.above for price in prices if price.above < above), default=None)
            prices += [replace(price, above=above) for price in prices if price.above == below]
        kept = [price for price in prices if price.above != above]
        for window in sorted({price.window_from for price in prices}):
            cell = [price for price in prices if price.above == above and price.window_from == window]
            kept += _corrected_cell(cell, entry, layer)
        return tuple(kept)

    return change


def _corrected_cell(prices: Sequence[Price], entry: Correction, layer: str) -> Iterator[Price]:
    """The prices of one band at one time of the day, with the given ones in the place of theirs."""
    if not prices:
        return
    by_meter = {price.meter: price for price in prices}
    amounts = entry.amounts
    for meter, keys in BILLED_BY.items():
        price, key = by_meter.pop(meter, None), next((key for key in keys if key in amounts), None)
        if key is None or (
            price and price.price_key in keys and keys.index(price.price_key) < keys.index(key)
        ):
            if price:
                yield price
            continue
        amount = per_unit(amounts[key], per=KEYS[key])
        yield replace(
            price or prices[0],
            meter=meter,
            unit_price=amount,
            list_price=amount,
            price_key=key,
            layer=layer,
            source=entry.written,
        )
    yield from by_meter.values()


def _discount_order(match: Match[Discount]) -> tuple[object, ...]:
    entry = match.entry
    narrowed = (entry.tier is not None, entry.processing is not None, entry.meters is not None)
    return (match.exactness, sum(narrowed), narrowed, _start(entry))


def _off(price: Price, discounts: Sequence[Discount], layer: str) -> Price:
    fitting = [entry for entry in discounts if entry.meters is None or price.meter in entry.meters]
    if not fitting or not fitting[-1].off:
        return price
    chosen = fitting[-1]
    less = _times(price, 1 - chosen.off / 100, f"less {chosen.off.normalize():f} % ({chosen.written})", layer)
    return replace(less, list_price=price.list_price)


def _times(price: Price, factor: Decimal, how: str, layer: str) -> Price:
    with localcontext() as context:
        context.prec = 50
        unit_price, list_price = price.unit_price * factor, price.list_price * factor
    return replace(
        price,
        unit_price=per_unit(unit_price, per=1),
        list_price=per_unit(list_price, per=1),
        layer=layer,
        source=f"{price.source}, {how}",
    )
