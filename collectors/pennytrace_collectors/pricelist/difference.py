"""What two price lists say differently: models that one of them lacks, and prices that changed, with their days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final

from pennytrace_collectors.catalog import METERS, Price, RateCard
from pennytrace_collectors.catalog.prices import periods
from pennytrace_collectors.pricelist.amounts import starts_and_ends

_ORDER: Final = {meter.name: place for place, meter in enumerate(METERS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A price that differs for some days; None is none."""

    model: str
    """As 'provider/model'."""
    variant: str
    meter: str
    above: int
    """It is so when the whole input is more tokens than this, up to the next change of this meter."""
    window_from: int
    """From this second of the UTC day on, up to the next change of this meter."""
    valid_from: datetime
    valid_to: datetime
    old: Price | None
    new: Price | None


@dataclass(frozen=True, slots=True)
class Differences:
    """From one price list to another, by model: 'provider/model'."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def differences(old: Mapping[str, RateCard], new: Mapping[str, RateCard]) -> Differences:
    """What `new` says differently from `old`, in the order of names."""
    changed: list[Change] = []
    for name in sorted(old.keys() & new.keys()):
        changed += _changes(name, old[name].prices, new[name].prices)
    return Differences(
        tuple(sorted(new.keys() - old.keys())), tuple(sorted(old.keys() - new.keys())), tuple(changed)
    )


def _changes(name: str, old: Sequence[Price], new: Sequence[Price]) -> Iterator[Change]:
    if {_whole(price) for price in old} == {_whole(price) for price in new}:
        return
    before, after = _by_meter(old), _by_meter(new)
    for variant, meter in sorted(before.keys() | after.keys(), key=lambda kind: (kind[0], _ORDER[kind[1]])):
        was, becomes = before.get((variant, meter), []), after.get((variant, meter), [])
        yield from _of_one(name, variant, meter, was, becomes)


def _of_one(
    name: str, variant: str, meter: str, old: Sequence[Price], new: Sequence[Price]
) -> Iterator[Change]:
    """The changes of one meter's price; those that hold for every input size, or the whole day, are one."""
    told: set[tuple[object, ...]] = set()
    for above in sorted({price.above for price in (*old, *new)}):
        for window in sorted({price.window_from for price in (*old, *new)}):
            for start, end, was, becomes in _through_time(old, new, above, window):
                what = (start, end, _amount(was), _amount(becomes))
                if what not in told:
                    told.add(what)
                    yield Change(
                        model=name,
                        variant=variant,
                        meter=meter,
                        above=above,
                        window_from=window,
                        valid_from=start,
                        valid_to=end,
                        old=was,
                        new=becomes,
                    )


def _through_time(
    old: Sequence[Price], new: Sequence[Price], above: int, window: int
) -> Iterator[tuple[datetime, datetime, Price | None, Price | None]]:
    spans = [
        (start, end, _holding(old, start, above, window), _holding(new, start, above, window))
        for start, end in periods(starts_and_ends([*old, *new]))
    ]
    for (was, becomes), run in groupby(spans, key=lambda span: (_amount(span[2]), _amount(span[3]))):
        if was != becomes:
            found = list(run)
            yield found[0][0], found[-1][1], found[0][2], found[0][3]


def _by_meter(prices: Iterable[Price]) -> dict[tuple[str, str], list[Price]]:
    found: dict[tuple[str, str], list[Price]] = {}
    for price in prices:
        found.setdefault((price.variant, price.meter), []).append(price)
    return found


def _holding(prices: Sequence[Price], moment: datetime, above: int, window: int) -> Price | None:
    """What one list says at a moment, for an input of more than `above` tokens, from a second of the day on."""
    then = [
        price
        for price in prices
        if price.valid_from <= moment <= price.valid_to
        and price.above <= above
        and price.window_from <= window
    ]
    return max(then, key=lambda price: (price.window_from, price.above), default=None)


def _amount(price: Price | None) -> tuple[Decimal, str] | None:
    return (price.unit_price, price.currency) if price else None


def _whole(price: Price) -> tuple[object, ...]:
    return (
        price.variant,
        price.meter,
        price.above,
        price.window_from,
        price.valid_from,
        price.valid_to,
        price.unit_price,
        price.currency,
    )
