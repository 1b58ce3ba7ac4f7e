"""A layer of the price list that comes from price files: what it says of a model, put over what lies below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pennytrace_collectors.catalog.changes import corrected, discounted, surcharged
from pennytrace_collectors.catalog.matching import ANY, Entries, Match, Wanted, fits_provider
from pennytrace_collectors.catalog.own import own_timelines
from pennytrace_collectors.catalog.pricefile import (
    Correction,
    Discount,
    OwnPrice,
    PriceFile,
    Surcharge,
)
from pennytrace_collectors.catalog.prices import PRICE_FILE, RateCard, card_of
from pennytrace_collectors.catalog.spans import Timeline, flat, over

AnyMatch: TypeAlias = Match[OwnPrice] | Match[Correction] | Match[Surcharge] | Match[Discount]


@dataclass(frozen=True, slots=True)
class Layer:
    """The project's supplement, or one of the user's price files."""

    name: str
    """'supplement' or 'price file'."""
    file: PriceFile
    _prices: Entries[OwnPrice] = field(init=False, repr=False, compare=False)
    _corrections: Entries[Correction] = field(init=False, repr=False, compare=False)
    _surcharges: Entries[Surcharge] = field(init=False, repr=False, compare=False)
    _discounts: Entries[Discount] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_prices", Entries(self.file.prices))
        object.__setattr__(self, "_corrections", Entries(self.file.corrections))
        object.__setattr__(self, "_surcharges", Entries(self.file.surcharges))
        object.__setattr__(self, "_discounts", Entries(self.file.discounts))

    def own(self) -> Iterator[tuple[str, dict[str, Timeline]]]:
        """The prices that it gives by itself, under the name of the rate card that they are on."""
        for matches in self._prices.groups():
            (timelines,) = own_timelines(matches, self.name)
            yield own_card_name(self.name, matches[0]), timelines

    def knows(self, wanted: Wanted) -> bool:
        """Whether it gives a model any price by itself."""
        return bool(self._prices.about(wanted))

    def sells(self, sellers: tuple[str, ...]) -> bool:
        """Whether it gives prices of a seller's models."""
        named = {entry.provider for entry in self.file.prices} - {ANY}
        return any(fits_provider(provider, sellers) for provider in named)

    def about(self, wanted: Wanted) -> Said:
        """All that the layer says of a model."""
        return Said(
            self.name,
            self._prices.about(wanted),
            self._corrections.about(wanted),
            self._surcharges.about(wanted),
            self._discounts.about(wanted),
        )


@dataclass(frozen=True, slots=True)
class Said:
    """What a layer says of one model, the least exact entries first."""

    layer: str
    prices: tuple[Match[OwnPrice], ...] = ()
    corrections: tuple[Match[Correction], ...] = ()
    surcharges: tuple[Match[Surcharge], ...] = ()
    discounts: tuple[Match[Discount], ...] = ()

    @property
    def all(self) -> tuple[AnyMatch, ...]:
        """Everything it says."""
        return (*self.prices, *self.corrections, *self.surcharges, *self.discounts)

    @property
    def only_prices(self) -> bool:
        """Whether it does not depend on what lies below."""
        return not (self.corrections or self.surcharges or self.discounts)


def put_over(below: Mapping[str, Timeline], said: Said) -> dict[str, Timeline]:
    """The prices of a model, by variant, with a layer put over them.

    First the numbers below are corrected, then discounts are taken off them, then the layer's own prices replace them
    where it has any, last the variants are made that cost what another one does, times a factor.
    """
    found = {
        variant: discounted(
            corrected(timeline, variant, said.corrections, said.layer), variant, said.discounts, said.layer
        )
        for variant, timeline in below.items()
    }
    for own in own_timelines(said.prices, said.layer):
        for variant, timeline in own.items():
            found[variant] = over(found.get(variant, ()), timeline)
    for match in said.surcharges:
        made = surcharged(found.get(match.entry.of, ()), match.entry, said.layer)
        found[match.entry.variant] = over(found.get(match.entry.variant, ()), made)
    return found


def own_cards(layers: Sequence[Layer]) -> Iterator[RateCard]:
    """A rate card for each model that a price file names, of nothing but what the files say of it by that name.

    'file:openai/gpt-4o' is of the user's files, 'supplement:anyscale/...' of the project's own.
    """
    found: dict[str, dict[str, Timeline]] = {}
    for layer in layers:
        for name, timelines in layer.own():
            card = found.setdefault(name, {})
            for variant, timeline in timelines.items():
                card[variant] = over(card.get(variant, ()), timeline)
    for name, by_variant in found.items():
        yield card_of(name, flat(by_variant))


def own_card_name(layer: str, match: Match[OwnPrice]) -> str:
    """The name of the rate card that has an entry's prices and no other layer's."""
    return f"{'file' if layer == PRICE_FILE else layer}:{match.entry.provider}/{match.pattern}"
