"""`pennytrace prices list`: every model that has a price, with the layers put together."""

from __future__ import annotations

from collections.abc import Callable

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot

from .conftest import Prices

OWN = """
[[price]]
provider = "acme"
model = ["Road-1", "road-2"]
valid_from = 2026-01-01
input_mtok = 2
output_mtok = 6

[[price]]
provider = "acme"
model = "wild-*"
input_mtok = 2

[[price]]
model = "everywhere"
image = 0.04
"""


def test_models_of_all_layers_are_listed(prices: Prices, file: Callable[[str], str]) -> None:
    found = prices.json("list", "--prices", file(OWN))
    names = {(one["provider"], one["model"]) for one in found}

    assert {("acme", "Road-1"), ("acme", "road-2"), ("*", "everywhere"), ("openai", "gpt-4o")} <= names
    assert not any("wild" in model for _, model in names), "a wildcard has no end"
    assert {price["layer"] for one in found for price in one["prices"]} == {
        "genai-prices",
        "supplement",
        "price file",
    }
    assert len(names) == len(found) > 2000


def test_every_model_is_listed_that_genai_prices_has_a_price_for(prices: Prices) -> None:
    listed = {(one["provider"], one["model"]) for one in prices.json("list")}
    known = {
        (provider.id, model.id)
        for provider in get_snapshot().providers
        for model in provider.models
        if not isinstance(model.prices, list) and any(vars(model.prices).values())
    }

    assert len(known) > 1500
    assert known <= listed


@pytest.mark.parametrize("text", ["ROAD", "road-1"])
def test_a_part_of_the_name_narrows_it(text: str, prices: Prices, file: Callable[[str], str]) -> None:
    out = prices("list", "--provider", "acme", "--model", text, "--prices", file(OWN))

    assert "Road-1" in out
    assert "input 2.00, output 6.00 USD per 1M tokens" in out
    assert "2026-01-01" in out
    assert "openai" not in out


def test_the_date_counts(prices: Prices, file: Callable[[str], str]) -> None:
    path = file(OWN)

    out = prices("list", "--provider", "acme", "--at", "2025-12-31", "--prices", path, status=1)
    assert "No model with a price is called that" in out


def test_a_layer_narrows_it(prices: Prices, file: Callable[[str], str]) -> None:
    found = prices.json("list", "--layer", "price file", "--prices", file(OWN))

    assert {one["model"] for one in found} == {"Road-1", "road-2", "everywhere"}
    assert "--layer must be one of 'genai-prices'" in prices("list", "--layer", "mine", status=1)


def test_a_listed_price_is_the_price_of_the_list(prices: Prices) -> None:
    for one in prices.json("list", "--provider", "cohere", "--layer", "genai-prices"):
        prices_of = {price["meter"]: price for price in one["prices"] if price["variant"] == ""}
        if prices_of.keys() >= {"input", "output"} and "above_input_tokens" not in prices_of["input"]:
            cost = genai_prices.calc_price(
                genai_prices.Usage(input_tokens=10**6), one["model"], provider_id="cohere"
            )
            assert f"{cost.total_price}" == prices_of["input"]["price"]
