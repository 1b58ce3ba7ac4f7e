"""The comparison of a provider's books with a report, and the prices that both go by."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import genai_prices
import pytest

from pennytrace_collectors.catalog.pricefile import read_price_file
from pennytrace_collectors.demo.books import Sums, differences, total

FILE = Path(str(files("pennytrace_collectors.demo").joinpath("prices.toml")))
COMPARED_ON = datetime(2026, 11, 22, tzinfo=UTC)
MILLION = 1_000_000


def test_equal_books_have_no_differences_whatever_their_zeros() -> None:
    one = {"m": Sums(calls=1, input_tokens=2, output_tokens=3, cost=Decimal("0.10"))}
    other = {"m": Sums(calls=1, input_tokens=2, output_tokens=3, cost=Decimal("0.1"))}
    assert list(differences(one, other)) == []


def test_each_model_that_differs_is_named_with_both_sides() -> None:
    billed = {"a": Sums(calls=2, cost=Decimal("0.5")), "b": Sums(calls=1), "same": Sums(calls=3)}
    found = {
        "a": Sums(calls=1, cost=Decimal("0.5")),
        "c": Sums(calls=1, cost=Decimal(0)),
        "same": Sums(calls=3),
    }
    told = list(differences(billed, found))
    assert [line.partition(":")[0] for line in told] == ["a", "b", "c"]
    assert "billed 2 calls, 0 input tokens, 0 output tokens, 0.5 USD; the report says 1 calls" in told[0]


def test_no_price_is_not_a_price_of_zero() -> None:
    assert list(differences({"m": Sums(calls=1)}, {"m": Sums(calls=1, cost=Decimal(0))}))
    assert total([Sums(), Sums()]).cost is None
    assert total([Sums(), Sums(cost=Decimal("0.25"))]).cost == Decimal("0.25")


@pytest.mark.parametrize("price", read_price_file(FILE).prices, ids=lambda price: price.model[0])
def test_the_simulated_prices_are_the_list_prices_that_they_claim_to_be(price: object) -> None:
    entry = next(e for e in read_price_file(FILE).prices if e == price)
    output = 0 if entry.output_mtok is None else MILLION
    cached = 0 if entry.cache_read_mtok is None else MILLION
    listed = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=2 * MILLION, cache_read_tokens=cached or None, output_tokens=output or None
        ),
        model_ref=entry.model[0],
        provider_id="openai",
        genai_request_timestamp=COMPARED_ON,
    )
    fresh = 2 - cached // MILLION
    ours = fresh * (entry.input_mtok or 0) + (entry.cache_read_mtok or 0) + (entry.output_mtok or 0)
    assert ours == listed.total_price


def test_one_model_of_the_shop_has_no_price_on_purpose() -> None:
    models = {entry["model"] for entry in tomllib.loads(FILE.read_text())["price"]}
    shop = files("pennytrace_collectors.demo").joinpath("shop.py").read_text()
    assert all(f'"{model}"' in shop for model in models)
    assert '"house-ranker-7b"' in shop
    assert "house-ranker-7b" not in models
