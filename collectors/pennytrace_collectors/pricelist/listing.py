"""Every model that has a price at one moment, with all layers put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pennytrace_collectors.catalog import Catalog, Price
from pennytrace_collectors.catalog.spans import timelines
from pennytrace_collectors.pricelist.models import known_models, priced
from pennytrace_collectors.pricelist.show import in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which models to list; an empty text wants any."""

    provider: str = ""
    model: str = ""
    """A part of the name; upper and lower case are the same."""
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model, and its prices at that moment, of every variant."""

    provider: str
    model: str
    prices: tuple[Price, ...]

    @property
    def standard(self) -> tuple[Price, ...]:
        """Those of the standard variant, else of the first that there is."""
        first = min(price.variant for price in self.prices)
        return tuple(price for price in self.prices if price.variant == first)

    @property
    def layers(self) -> tuple[str, ...]:
        """Which layers they come from."""
        return tuple(sorted({price.layer for price in self.prices}))


def listing(catalog: Catalog, wanted: Wanted, at: datetime) -> list[Listed]:
    """The models that are wanted and have a price at a moment, by provider and name."""
    found = []
    for provider, model in known_models(catalog):
        if wanted.provider not in ("", provider) or wanted.model.lower() not in model.lower():
            continue
        card = priced(catalog, provider, model)
        prices = (
            tuple(price for spans in timelines(card.prices).values() for price in in_force(spans, at))
            if card
            else ()
        )
        if prices and (not wanted.layer or any(price.layer == wanted.layer for price in prices)):
            found.append(Listed(provider, model, prices))
    return found
