"""Compiled unit prices against an independent implementation: genai-prices' own `calc_price`, one unit at a time."""

from __future__ import annotations

import copy
import json
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from random import Random
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pennytrace_collectors.catalog import METERS, Catalog, Meter, SeenModel, compile_catalog
from pennytrace_collectors.errors import PriceFileError
from tests.collectors.catalog.cards import price_of

SOLD = [(provider, model) for provider in get_snapshot().providers for model in provider.models]
PRICED = [meter for meter in METERS if meter.unit]
DRAWS = 400
# What genai-prices distinguishes and calls do not tell of; their standard prices are compiled.
UNTOLD = {"search_type", "route"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return compile_catalog()


def constraints(model: ModelInfo) -> list[Any]:
    found = [variant.constraint for variant in model.price_variants or ()]
    return found + (
        [] if isinstance(model.prices, ModelPrice) else [price.constraint for price in model.prices]
    )


def moment(model: ModelInfo, chance: Random) -> datetime:
    """Any time from 2023 to 2027, or a second around the start of a day or an hour on which a price changes."""
    at = datetime.fromtimestamp(chance.randint(1_672_531_200, 1_830_297_599), tz=UTC)
    edge = chance.choice(constraints(model) or [None])
    if isinstance(edge, StartDateConstraint) and chance.random() < 0.7:
        at = datetime(edge.start_date.year, edge.start_date.month, edge.start_date.day, tzinfo=UTC)
    elif isinstance(edge, TimeOfDateConstraint):
        start = chance.choice([edge.start_time, edge.end_time])
        at = datetime.combine(at.date(), start, start.tzinfo or UTC).astimezone(UTC)
    return at + timedelta(seconds=chance.randint(-1, 1))


def tokens(model: ModelInfo, chance: Random) -> int:
    """A size of the input, often one at which a price changes."""
    prices = (
        [model.prices] if isinstance(model.prices, ModelPrice) else [price.prices for price in model.prices]
    )
    starts = [
        tier.start
        for amounts in prices
        for amount in vars(amounts).values()
        if isinstance(amount, TieredPrices)
        for tier in amount.tiers
    ]
    return max(1, chance.choice([*starts, chance.randint(1, 2_000_000)]) + chance.randint(-1, 1))


def variant_name(variant: PriceVariant | None) -> str:
    when = variant.when if variant else {}
    return "+".join(when[key] for key in ("processing", "service_tier", "speed") if key in when)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_unit_costs_what_genai_prices_says_it_costs(catalog: Catalog, seed: int) -> None:
    chance = Random(seed)
    for _ in range(DRAWS):
        provider, model = chance.choice(SOLD)
        at, size = moment(model, chance), tokens(model, chance)
        told = [v for v in model.price_variants or () if not v.when.keys() & UNTOLD]
        variant = chance.choice([None, *(v for v in told if v.constraint is None or v.constraint.active(at))])
        if variant and variant.when == {"service_tier": "default"}:
            variant = None  # calls that say so are priced as those that say nothing
        card = catalog.rate_card(f"{provider.id}/{model.id}")
        assert card is not None
        for meter in PRICED:
            found = price_of(card, meter.name, at, variant=variant_name(variant), tokens=size)
            expected = unit_price(model, provider, meter, at, size, variant)
            assert (found.unit_price if found else 0) == expected, (
                provider.id,
                model.id,
                meter.name,
                at,
                size,
                variant,
            )


def unit_price(
    model: ModelInfo, provider: Provider, meter: Meter, at: datetime, size: int, variant: PriceVariant | None
) -> Decimal:
    """What one more unit of a meter adds to the price of a call with an input of a size, to 18 decimals."""
    context = variant.when if variant else None
    if meter.name == "requests":
        return ModelPrice(requests_kcount=model.get_prices(at, context).requests_kcount).calc_price(Usage())[
            "total_price"
        ]
    with localcontext() as exact:
        exact.prec = 60
        prices = without_requests(model.get_prices(at, context))
        million = 1_000_000  # so that no rounding of a unit hides in the division
        used = usage(meter, million, size)
        total = price_at(prices, used, size)
        return (total / million).quantize(Decimal(1).scaleb(-18))


def without_requests(prices: ModelPrice) -> ModelPrice:
    return ModelPrice(**{key: value for key, value in vars(prices).items() if key != "requests_kcount"})


def usage(meter: Meter, count: int, size: int) -> Usage:
    """A million units of one meter and nothing else: what holds them holds nothing but them."""
    wanted = unit_data[meter.unit]["dimensions"].items()
    holders = {key for key, unit in unit_data.items() if unit["dimensions"].items() <= wanted} - {"requests"}
    return Usage(**dict.fromkeys(holders, count))


def price_at(prices: ModelPrice, used: Usage, size: int) -> Decimal:
    """The same with the band of the given input size, which the million units would else decide themselves."""
    flat = {key: banded(value, size) for key, value in vars(prices).items() if value is not None}
    return ModelPrice(**flat).calc_price(used)["total_price"]


def banded(value: Decimal | TieredPrices, size: int) -> Decimal:
    """A price as it is at a size, asked of genai-prices with that many tokens."""
    if isinstance(value, Decimal):
        return value
    return ModelPrice(input_mtok=value).calc_price(Usage(input_tokens=size))["total_price"] * 1_000_000 / size


def test_every_unit_of_the_list_has_a_meter_or_is_left_out_on_purpose() -> None:
    used = {
        key
        for _, model in SOLD
        for prices in (
            [model.prices] if isinstance(model.prices, ModelPrice) else [p.prices for p in model.prices]
        )
        for key, value in vars(prices).items()
        if value is not None
    }
    metered = {unit_data[meter.unit]["price_key"] for meter in PRICED} | {"audio_hours"}

    # Messages of a live voice session, which no call reports.
    assert used - metered == {"input_text_messages_kcount"}


def test_a_decision_has_a_price_of_its_own(catalog: Catalog) -> None:
    """The list has them as a provider of their own; calls have them as an operation of the same provider."""
    (decisions,) = [provider for provider in get_snapshot().providers if provider.id == "openai-decisions"]
    for model in decisions.models:
        card = catalog.rate_card(f"openai/{model.id}")
        apart = catalog.rate_card(f"openai-decisions/{model.id}")
        assert card is not None
        assert apart is not None
        mine = [(p.meter, p.above, p.unit_price) for p in card.prices if p.variant == "decision"]
        assert mine == [(p.meter, p.above, p.unit_price) for p in apart.prices]
        assert mine


DATA: list[dict[str, Any]] = [
    {
        "id": "acme",
        "name": "Acme",
        "api_pattern": "https://api\\.acme\\.test",
        "models": [
            {
                "id": "acme-1",
                "match": {"or": [{"equals": "acme-1"}, {"starts_with": "acme-1-"}]},
                "prices": [
                    {
                        "prices": {
                            "input_mtok": 0.1,
                            "output_mtok": {"base": 4, "tiers": [{"start": 9, "price": 5}]},
                        }
                    },
                    {"constraint": {"start_date": "2026-11-20"}, "prices": {"input_mtok": 0.3}},
                ],
                "price_variants": [{"when": {"processing": "batch"}, "prices": {"input_mtok": 0.05}}],
            }
        ],
    }
]


MODEL = {"id": "x", "match": {"equals": "x"}, "prices": {"input_mtok": 1}}


def with_model(**other: object) -> str:
    """A data file of one model that is almost right."""
    return json.dumps([{**DATA[0], "models": [{**MODEL, **other}]}])


def data_file(folder: Path, data: object) -> Path:
    file = folder / "data.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    return file


def test_a_data_file_takes_the_place_of_the_installed_list(tmp_path: Path) -> None:
    file = data_file(tmp_path, DATA)

    catalog = compile_catalog(genai_data=file)

    card = catalog.rate_card("acme/acme-1")
    assert card is not None
    old, new = (price_of(card, "input", f"2026-11-{day}", tokens=5) for day in (19, 20))
    batch = price_of(card, "input", "2026-11-19", variant="batch", tokens=5)
    above = price_of(card, "output", "2026-11-19", tokens=10)
    assert [p and p.unit_price * 1_000_000 for p in (old, new, batch, above)] == [
        Decimal("0.1"),
        Decimal("0.3"),
        Decimal("0.05"),
        5,
    ]
    assert catalog.genai_prices.startswith("data 2026-11-20 ")
    assert old is not None
    assert old.source == f"genai-prices {catalog.genai_prices}"
    assert catalog.resolve(SeenModel("", "api.acme.test", "acme-1", "")).rate_card == "acme/acme-1"
    assert catalog.rate_card("openai/gpt-4o") is None
    assert catalog.identity != compile_catalog().identity


def test_another_data_file_is_another_list(tmp_path: Path) -> None:
    first = compile_catalog(genai_data=data_file(tmp_path, DATA)).identity
    changed = copy.deepcopy(DATA)
    changed[0]["models"][0]["prices"][0]["prices"]["input_mtok"] = 0.2

    assert compile_catalog(genai_data=data_file(tmp_path, changed)).identity != first
    assert compile_catalog(genai_data=data_file(tmp_path, DATA)).identity == first


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "is no data file of genai-prices"),
        ("<html>", "is no data file of genai-prices"),
        ("{}", "expected a list of providers, got dict"),
        ("[]", "expected a list of providers, got an empty one"),
        ("[1]", "is no data file of genai-prices: 1 mistakes, the first at 0"),
        ('[{"id": "a"}]', "the first at 0.name: Field required"),
        (with_model(match={"sounds_like": "x"}), "the first at 0.models.0.match"),
        (with_model(prices={"input_mtok": "dear"}), "is no data file of genai-prices"),
        (with_model(prices={"input_mtok": -1}), "acme/x input_mtok: a price of -1"),
        (with_model(match={"regex": "("}), "acme/x: the pattern '(' is none"),
        (with_model(prices=[]), "acme/x: no prices"),
        (json.dumps([{**DATA[0], "api_pattern": "*"}]), "acme: the pattern '*' is none"),
        ("[" * 100_000, "is no data file of genai-prices"),
    ],
)
def test_what_is_no_data_file_is_refused_with_the_reason(tmp_path: Path, data: str, said: str) -> None:
    file = data_file(tmp_path, data)

    with pytest.raises(PriceFileError) as caught:
        compile_catalog(genai_data=file)

    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_data_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match="cannot read the price list"):
        compile_catalog(genai_data=tmp_path / "none.json")


def test_units_that_came_later_than_the_package_are_no_fault(tmp_path: Path) -> None:
    data = copy.deepcopy(DATA)
    data[0]["models"][0]["prices"] = {"input_mtok": 1, "smell_gram": 3}
    data[0]["extractors"] = [
        {"root": "usage", "mappings": [{"path": "smells", "dest": "smell_grams"}], "api_flavor": "default"}
    ]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        card = compile_catalog(genai_data=data_file(tmp_path, data)).rate_card("acme/acme-1")

    assert card is not None
    assert {price.price_key for price in card.prices} == {"input_mtok"}
