"""What one model costs at one moment, how it was found, and what other variants and dates there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pennytrace_collectors.catalog import Catalog, GpuRate, Price, Resolution, SeenModel
from pennytrace_collectors.catalog.matching import fits
from pennytrace_collectors.catalog.prices import SECOND
from pennytrace_collectors.catalog.spans import Span, timelines
from pennytrace_collectors.catalog.variants import STANDARD, variant_name
from pennytrace_collectors.pricelist.models import maker, providers

# As the price view reads a service tier: these are the standard one.
_STANDARD_TIERS: Final = ("", "default", "auto", "standard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a model is called, as far as prices depend on it."""

    tier: str = ""
    batch: bool = False
    other: str = ""
    quality: str = ""
    size: str = ""

    def variant(self, *, sized: bool) -> str:
        """The variant that such a call is priced as; quality and size count where images are priced by them."""
        return variant_name(
            tier="" if self.tier in (*_STANDARD_TIERS, "batch") else self.tier,
            processing="batch" if self.batch or self.tier == "batch" else "",
            size=self.size if sized else "",
            quality=self.quality if sized else "",
            other=self.other,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rate card with a name like that of a model that has none, and what it costs."""

    rate_card: str
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a price list says of a model; `reason` says why there are no `prices`, else it is empty."""

    seen: SeenModel
    at: datetime
    variant: str
    resolution: Resolution
    reason: str
    prices: tuple[Price, ...]
    variants: tuple[str, ...]
    """Those that have prices at that moment."""
    history: tuple[Span, ...]
    """Of the variant that was asked for."""
    candidates: tuple[Candidate, ...]
    sellers: tuple[str, ...]
    """Other providers that sell a model of this name, where none was asked for."""


def show(catalog: Catalog, seen: SeenModel, way: Way, at: datetime) -> Shown:
    """What a call of `seen` in this way is priced by at a moment."""
    sellers: tuple[str, ...] = ()
    if not seen.provider and not seen.host:
        seen, sellers = _seller(catalog, seen)
    found = catalog.resolve(seen)
    card = catalog.rate_card(found.rate_card) if found.rate_card else None
    by_variant = timelines(card.prices) if card else {}
    if not found.tiered:  # what the card says of other variants is not of this seller
        by_variant = {name: spans for name, spans in by_variant.items() if name == STANDARD}
    variant = way.variant(sized=found.sized)
    prices = in_force(by_variant.get(variant, ()), at)
    return Shown(
        seen=seen,
        at=at,
        variant=variant,
        resolution=found,
        reason="" if prices else found.reason or _without_price(variant),
        prices=prices,
        variants=tuple(sorted(name for name, spans in by_variant.items() if in_force(spans, at))),
        history=history(by_variant.get(variant, ())),
        candidates=tuple(_candidate(catalog, name, at) for name in found.candidates),
        sellers=sellers,
    )


def in_force(spans: Sequence[Span], at: datetime) -> tuple[Price, ...]:
    """The prices of a variant at a moment: of every part of that day and every size of the input.

    Each with all the days around for which it does not change.
    """
    said = [(span, {_one(price) for price in span.prices}) for span in spans]
    then = (price for span in spans if span.valid_from <= at <= span.valid_to for price in span.prices)
    return tuple(_stretched(price, said) for price in then)


def history(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The prices of a variant through time; neighbours that charge the same are one."""
    found: list[Span] = []
    for span in spans:
        last = found[-1] if found else None
        if last and span.valid_from - last.valid_to == SECOND and _said(last.prices) == _said(span.prices):
            found[-1] = Span(last.valid_from, span.valid_to, last.prices)
        else:
            found.append(span)
    return tuple(found)


def gpu_rates(catalog: Catalog, name: str) -> tuple[GpuRate, ...]:
    """The rates of a pool, of a GPU by its name, or of the CPU, through time."""
    return tuple(
        rate
        for rate in catalog.gpu_rates
        if rate.name == f"gpu:{name}" or (rate.gpu and fits(rate.gpu, name))
    )


def _stretched(price: Price, said: Sequence[tuple[Span, set[tuple[object, ...]]]]) -> Price:
    """The same price, with all the days around for which it does not change."""
    start, end = price.valid_from, price.valid_to
    one = _one(price)
    same = [span for span, prices in said if one in prices]
    for span in reversed(same):
        start = span.valid_from if span.valid_from < start <= span.valid_to + SECOND else start
    for span in same:
        end = span.valid_to if span.valid_from - SECOND <= end < span.valid_to else end
    return replace(price, valid_from=start, valid_to=end)


def _one(price: Price) -> tuple[object, ...]:
    return (
        price.meter,
        price.above,
        price.window_from,
        price.unit_price,
        price.list_price,
        price.currency,
        price.source,
    )


def _said(prices: Sequence[Price]) -> frozenset[tuple[object, ...]]:
    return frozenset((p.meter, p.above, p.window_from, p.unit_price, p.currency) for p in prices)


def _seller(catalog: Catalog, seen: SeenModel) -> tuple[SeenModel, tuple[str, ...]]:
    """Who a model is looked up at when nobody was named: its maker, else the first of those who sell it."""
    if catalog.resolve(seen).rate_card:
        return seen, ()
    tried = [SeenModel(provider, "", seen.request_model, "") for provider in providers(catalog)]
    sellers = [one for one in tried if catalog.resolve(one).rate_card]
    made_by = maker(catalog, seen.request_model)
    if not sellers:
        return SeenModel(made_by, "", seen.request_model, ""), ()
    chosen = next((one for one in sellers if one.provider == made_by), sellers[0])
    return chosen, tuple(one.provider for one in sellers if one is not chosen)


def _candidate(catalog: Catalog, name: str, at: datetime) -> Candidate:
    card = catalog.rate_card(name)
    return Candidate(name, in_force(timelines(card.prices).get(STANDARD, ()), at) if card else ())


def _without_price(variant: str) -> str:
    # The words of the price view.
    if variant.startswith("batch"):
        return "no price for batch processing"
    return "no price for service tier" if variant else "no price for its meters at that date"
