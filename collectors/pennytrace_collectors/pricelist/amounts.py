"""Prices as people read them: per million tokens, per minute, per page, with the days and hours for which they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Final

from pennytrace_collectors.catalog import METERS, Meter, Price
from pennytrace_collectors.catalog.prices import ALWAYS, BEGINNING, END, SECOND

METER: Final = {meter.name: meter for meter in METERS}
_MILLION: Final = 1_000_000
_DAY_S: Final = 86_400
# What is finer than this is the dust of cutting a unit price at 18 decimals.
_FINEST: Final = Decimal(1).scaleb(-12)


def natural(unit_price: Decimal, meter: Meter) -> Decimal:
    """A unit price for as many units as prices of the meter are quoted for."""
    with localcontext() as context:
        context.prec = 50
        return (unit_price * meter.per).quantize(_FINEST)


def text(amount: Decimal) -> str:
    """An amount with every digit that it has, and at least two decimals."""
    plain = f"{amount:f}".rstrip("0") if "." in f"{amount:f}" else f"{amount:f}."
    whole, _, decimals = plain.partition(".")
    return f"{int(whole):,}.{decimals:0<2}"


def per(meter: Meter) -> str:
    """What a price of the meter is quoted for: '1M tokens', 'minute', 'page'."""
    if meter.per == _MILLION:
        return f"1M {meter.of}"
    if meter.of == "seconds":
        return {1: "second", 60: "minute", 3600: "hour"}[meter.per]
    one = meter.name.replace("_", " ")
    return one.removesuffix("es") if one.endswith("ches") else one.removesuffix("s")


def day(moment: datetime) -> str:
    """A day on which prices start or end; empty where they always did or will."""
    return "" if moment in (BEGINNING, END) else moment.date().isoformat()


def starts_and_ends(prices: Iterable[Price]) -> set[datetime]:
    """Every moment at which one of the prices starts to hold, or has just ceased to."""
    edges = {price.valid_from for price in prices}
    return edges | {price.valid_to + SECOND for price in prices if price.valid_to != END}


@dataclass(frozen=True, slots=True)
class Line:
    """A price of one meter, with the input sizes and the hours of the day for which it holds."""

    price: Price
    input_size: str
    """'over 200,000', 'up to 200,000'; empty when it does not matter."""
    hours: str
    """'16:30-00:30' in UTC; empty when they do not matter."""


def lines(prices: Iterable[Price]) -> list[Line]:
    """The prices of one variant at one moment, in the order of the meters; what differs in nothing is one line."""
    by_meter: dict[str, list[Price]] = {}
    for price in sorted(prices, key=lambda price: (price.window_from, price.above)):
        by_meter.setdefault(price.meter, []).append(price)
    starts = sorted({price.window_from for own in by_meter.values() for price in own})
    found = []
    for meter in METERS:
        for hours, bands in _windows(by_meter.get(meter.name, []), starts):
            found += [Line(price, size, hours) for size, price in _bands(bands)]
    return found


def _windows(prices: Sequence[Price], starts: Sequence[int]) -> Iterator[tuple[str, list[Price]]]:
    """The bands of each part of the day; parts that say the same are one, also over midnight."""
    by_start = {start: [price for price in prices if price.window_from == start] for start in starts}
    runs = [list(run) for _, run in groupby(by_start.items(), key=lambda item: _said(item[1]))]
    if len(runs) > 1 and _said(runs[0][0][1]) == _said(runs[-1][0][1]):
        runs[0] = [*runs.pop(), *runs[0]]
    starts = [run[0][0] for run in runs]
    for number, run in enumerate(runs):
        until = starts[(number + 1) % len(starts)]
        hours = f"{clock(starts[number])}-{clock(until)}" if len(runs) > 1 else ""
        yield hours, run[0][1]


def _said(bands: Sequence[Price]) -> tuple[object, ...]:
    return tuple((price.above, price.unit_price, price.list_price, price.currency) for price in bands)


def _bands(bands: Sequence[Price]) -> Iterator[tuple[str, Price]]:
    """Each price with its input sizes; neighbours that say the same are one."""
    runs = [
        list(run)
        for _, run in groupby(bands, key=lambda price: (price.unit_price, price.list_price, price.currency))
    ]
    for number, run in enumerate(runs):
        low = run[0].above
        if len(runs) == 1 and low == ALWAYS:
            yield "", run[0]
        elif low == ALWAYS:
            yield f"up to {runs[number + 1][0].above:,}", run[0]
        else:
            yield f"over {low:,}", run[0]


def clock(second: int) -> str:
    """A second of the day as '16:30'."""
    minutes = second % _DAY_S // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


def summary(prices: Iterable[Price]) -> str:
    """The first two prices of a card in one line: 'input 2.50, output 10.00 USD per 1M tokens'."""
    found = lines(prices)
    chosen = [line for line in found if line.price.meter in ("input", "output")] or found
    firsts = list({line.price.meter: line for line in reversed(chosen)}.values())[::-1][:2]
    units = {per(METER[line.price.meter]) for line in firsts}
    one_unit = f" per {units.pop()}" if len(units) == 1 else ""
    said = [
        f"{line.price.meter.replace('_', ' ')} {text(natural(line.price.unit_price, METER[line.price.meter]))}"
        + ("" if one_unit else f" per {per(METER[line.price.meter])}")
        for line in firsts
    ]
    return f"{', '.join(said)} {firsts[0].price.currency}{one_unit}" if firsts else "no price"
