"""The catalog of the genai-prices package (MIT), compiled to rate cards; nothing of its data is kept here.

Which price holds when is asked of genai-prices itself, once for every period, part of the day, input size and
service tier that one of its constraints distinguishes, so that no rule of it is written down a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Any, Final, TypeAlias

from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceContext,
    PriceVariant,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from pennytrace_collectors.catalog.meters import METERS, Meter
from pennytrace_collectors.catalog.prices import (
    ALWAYS,
    GENAI_PRICES,
    Price,
    RateCard,
    first_second,
    per_unit,
    periods,
)
from pennytrace_collectors.catalog.variants import variant_name

_TIER: Final = "service_tier"
_PROCESSING: Final = "processing"
_SPEED: Final = "speed"  # Anthropic's fast mode; its calls say `fast` as their tier
_CONDITIONS: Final = frozenset({_PROCESSING, _TIER, _SPEED})
"""What a price may depend on that calls tell of; not Perplexity's kind of search or OpenRouter's chosen route."""

DECISION: Final = "decision"
"""The variant of calls that ask a model for a decision: the same model, at a price of its own."""
_DECISIONS: Final = "-decisions"

Amount: TypeAlias = Decimal | TieredPrices


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that genai-prices puts a price on, for instance a million cache-read tokens."""

    price_key: str
    per: int
    dimensions: frozenset[tuple[str, str]]


_UNITS: Final = {
    key: Unit(raw["price_key"], raw["per"], frozenset(raw["dimensions"].items()))
    for key, raw in unit_data.items()
}
_UNITS_BY_PRICE: Final = {unit.price_key: unit for unit in _UNITS.values()}


def catalog_snapshot() -> DataSnapshot:
    """The price list that is installed."""
    return get_snapshot()


def package_version() -> str:
    """The version of genai-prices that is installed."""
    return version("genai-prices")


@dataclass(frozen=True, slots=True)
class Sold:
    """A model of the price list and its provider's id."""

    provider: str
    model: ModelInfo
    decisions: ModelInfo | None = None
    """What the provider asks for the model's decisions, which the list has as a provider of their own."""


def models(snapshot: DataSnapshot) -> dict[str, Sold]:
    """Every model of a price list, by the name of the model's rate card."""
    decisions = {
        (provider.id.removesuffix(_DECISIONS), model.id): model
        for provider in snapshot.providers
        for model in provider.models
        if provider.id.endswith(_DECISIONS)
    }
    return {
        card_name(provider.id, model.id): Sold(provider.id, model, decisions.get((provider.id, model.id)))
        for provider in snapshot.providers
        for model in provider.models
    }


def newest_price_date(snapshot: DataSnapshot, *, today: date) -> date:
    """The latest start of a dated price that is already in force: the list is at least as young as that."""
    dates = (
        edge for provider in snapshot.providers for model in provider.models for edge in _start_dates(model)
    )
    return max((edge for edge in dates if edge <= today), default=date(1970, 1, 1))


def rate_card(sold: Sold, *, source: str) -> RateCard:
    """The rate card of a model; it has no prices when the list has the model without one."""
    prices = [*_prices(sold.model, source)]
    if sold.decisions:
        prices += [
            replace(price, variant=DECISION) for price in _prices(sold.decisions, source) if not price.variant
        ]
    return RateCard(card_name(sold.provider, sold.model.id), "USD", tuple(prices))


def is_priced(model: ModelInfo) -> bool:
    """Whether the price list has any price for a model; some are listed without one."""
    periods_prices = (
        [model.prices] if isinstance(model.prices, ModelPrice) else [p.prices for p in model.prices]
    )
    return any(amount is not None for prices in periods_prices for amount in vars(prices).values())


def card_name(provider_id: str, model_id: str) -> str:
    """The name of a model's rate card."""
    return f"{provider_id}/{model_id}"


def _prices(model: ModelInfo, source: str) -> Iterator[Price]:
    windows = _window_starts(model)
    for valid_from, valid_to in periods(first_second(edge) for edge in _start_dates(model)):
        for context in _contexts(model, valid_from):
            variant = _variant(context)
            for window in windows:
                moment = valid_from + timedelta(seconds=window)
                for above, meter, unit, amount in _lines(model.get_prices(moment, context)):
                    price = per_unit(amount, per=unit.per)
                    yield Price(
                        variant,
                        valid_from,
                        valid_to,
                        window,
                        above,
                        meter.name,
                        unit_price=price,
                        list_price=price,
                        price_key=unit.price_key,
                        layer=GENAI_PRICES,
                        source=source,
                    )


def _variant(context: PriceContext) -> str:
    return variant_name(context.get(_TIER, ""), context.get(_PROCESSING, ""), other=context.get(_SPEED, ""))


def _lines(prices: ModelPrice) -> Iterator[tuple[int, Meter, Unit, Decimal]]:
    """Each meter's price in each band of input size, for the prices of one moment."""
    amounts = {
        key: amount for key, amount in vars(prices).items() if amount is not None and key in _UNITS_BY_PRICE
    }
    for above in _thresholds(amounts.values()):
        for meter, unit in _billing(tuple(amounts)):
            yield above, meter, unit, _amount(amounts[unit.price_key], above)


@cache
def _billing(priced: tuple[str, ...]) -> tuple[tuple[Meter, Unit], ...]:
    """The meters that such prices are for, each with the unit that it is billed by."""
    found = ((meter, _billed_by(meter, priced)) for meter in METERS if meter.unit)
    return tuple((meter, unit) for meter, unit in found if unit is not None)


def _billed_by(meter: Meter, priced: Iterable[str]) -> Unit | None:
    """The most specific priced unit that the meter's quantity belongs to; None when nothing prices it."""
    wanted = _UNITS[meter.unit].dimensions
    holders = [_UNITS_BY_PRICE[key] for key in priced if _UNITS_BY_PRICE[key].dimensions <= wanted]
    return max(holders, key=lambda unit: len(unit.dimensions), default=None)


def _thresholds(amounts: Iterable[Amount]) -> list[int]:
    starts = {tier.start for amount in amounts if isinstance(amount, TieredPrices) for tier in amount.tiers}
    return [ALWAYS, *sorted(starts)]


def _amount(amount: Amount, above: int) -> Decimal:
    """The price that holds just above a threshold: the highest tier that starts there or below (a cliff)."""
    if isinstance(amount, Decimal):
        return amount
    return next((tier.price for tier in reversed(amount.tiers) if tier.start <= above), amount.base)


def _constraints(model: ModelInfo) -> list[Any]:
    conditional: list[ConditionalPrice | PriceVariant] = list(model.price_variants or ())
    if not isinstance(model.prices, ModelPrice):
        conditional.extend(model.prices)
    return [price.constraint for price in conditional]


def _start_dates(model: ModelInfo) -> set[date]:
    return {c.start_date for c in _constraints(model) if isinstance(c, StartDateConstraint)}


def _window_starts(model: ModelInfo) -> list[int]:
    edges = {0}
    for constraint in _constraints(model):
        if isinstance(constraint, TimeOfDateConstraint):
            edges |= {_second_of_day(constraint.start_time), _second_of_day(constraint.end_time)}
    return sorted(edges)


def _contexts(model: ModelInfo, moment: datetime) -> list[PriceContext]:
    """The ways to call a model that have prices of their own at a moment, the standard one first."""
    active = (v for v in model.price_variants or () if v.constraint is None or v.constraint.active(moment))
    found = {tuple(sorted(variant.when.items())) for variant in active if variant.when.keys() <= _CONDITIONS}
    return [{}, *(dict(when) for when in sorted(found - {((_TIER, "default"),)}))]


def _second_of_day(moment: time) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    utc = datetime.combine(date(2000, 1, 2), aware).astimezone(UTC)
    return utc.hour * 3600 + utc.minute * 60 + utc.second
