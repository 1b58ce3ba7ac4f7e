"""A seen model's rate card, put together of what every layer says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pennytrace_collectors.catalog.layers import Said, own_card_name, put_over
from pennytrace_collectors.catalog.prices import RateCard, card_of
from pennytrace_collectors.catalog.spans import flat, timelines
from pennytrace_collectors.catalog.variants import STANDARD


@dataclass(frozen=True, slots=True)
class Composition:
    """A rate card, and how it came about."""

    card: RateCard
    new: bool
    """Whether it was put together here, and is not the card of one layer."""
    tiered: bool
    sized: bool
    why: tuple[str, ...]


def composed(name: str, base: RateCard | None, own: bool, said: Sequence[Said]) -> Composition | None:
    """The price list's card with every layer put over it; None when nothing of it is a price.

    Of a card that is another provider's than the seller (`own` is false), only the standard prices count: its
    service tiers are not sold here.
    """
    said = [one for one in said if one.all]
    if not said:
        return Composition(base, False, own, False, ()) if base else None
    variants = timelines(base.prices if base else ())
    if not own:
        variants = {STANDARD: variants[STANDARD]} if STANDARD in variants else {}
    for one in said:
        variants = put_over(variants, one)
    prices = flat(variants)
    if not prices:
        return None
    alone = "" if base else _alone(said)
    card = card_of(alone or _name(base.name if base else name, own, said), prices)
    sized = any(match.entry.size or match.entry.quality for one in said for match in one.prices)
    return Composition(card, not alone, True, sized, tuple(_why(said)))


def _alone(said: Sequence[Said]) -> str:
    """The name of the one own card that says everything there is to say; '' when it takes more than one."""
    names = {own_card_name(one.layer, match) for one in said for match in one.prices}
    return names.pop() if len(names) == 1 and all(one.only_prices for one in said) else ""


def _name(start: str, own: bool, said: Sequence[Said]) -> str:
    """Two models have one card when the same entries are put over the same base."""
    entries = [(one.layer, one.prices, one.corrections, one.surcharges, one.discounts) for one in said]
    return f"{start}+{hashlib.sha256(repr((own, entries)).encode()).hexdigest()[:8]}"


def _why(said: Sequence[Said]) -> Iterator[str]:
    for one in said:
        for match in one.all:
            what = f"[[{match.entry.table}]] for {match.pattern!r}"
            yield f"{one.layer}: {what} ({match.entry.written or 'no source given'})"
