"""`pennytrace prices show`: what a model costs, which layer says so and why, and what is nearest when nothing does."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import genai_prices
import pytest

from pennytrace_collectors import running

from .conftest import Prices

File = Callable[[str], str]

CONTRACT = """
currency = "EUR"

[[price]]
provider = "acme"
model = "road-1"
valid_from = 2026-01-01
input_mtok = 2
output_mtok = 6

[[price]]
provider = "acme"
model = "road-1"
valid_from = 2026-01-01
above_input_tokens = 200_000
input_mtok = 4

[[price]]
provider = "acme"
model = "road-1"
processing = "batch"
input_mtok = 1

[[price]]
provider = "acme"
model = "voice-1"
mchars = 150
audio_minute = 0.006
request = 0.001
currency = "CNY"

[[discount]]
provider = "openai"
model = "gpt-4o"
percent = 12.5
meters = "input"
valid_from = 2026-01-01
source = "contract 4711"

[[deployment]]
provider = "azure"
name = "prod-chat"
model = "gpt-4o-2024-08-06"

[[gpu]]
pool = "cellar"
kind = "owned"
currency = "EUR"
purchase_price = 35_040
lifetime_years = 4
power_watts = 1_000
electricity_per_kwh = 0.25
pue = 1.2
operations_per_year = 876
utilisation = 0.5
"""


def by_meter(shown: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {price["meter"]: (price["price"], price["per"], price["currency"]) for price in shown["prices"]}


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o"), ("anthropic", "claude-3-5-haiku-latest"), ("mistral", "mistral-large-latest")],
)
def test_it_says_what_genai_prices_calculates(provider: str, model: str, prices: Prices) -> None:
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    shown = prices.json("show", model, "--provider", provider, "--at", "2026-11-20T12:00")

    costs = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=1_000_000, output_tokens=1_000_000),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
    )
    found = by_meter(shown)
    assert Decimal(found["input"][0]) == costs.input_price
    assert Decimal(found["output"][0]) == costs.output_price
    assert {price["layer"] for price in shown["prices"]} == {"genai-prices"}


def test_a_model_is_shown_at_its_maker_and_the_others_are_named(prices: Prices) -> None:
    shown = prices.json("show", "gpt-4o")

    assert shown["provider"] == "openai"
    assert "azure" in shown["other_providers"]
    assert by_meter(shown)["input"] == ("2.50", "1M tokens", "USD")
    assert any("'openai/gpt-4o' in genai-prices" in sentence for sentence in shown["why"])


def test_the_past_is_shown_at_its_own_price_with_the_other_dates_beside(prices: Prices) -> None:
    text = prices("show", "gpt-4o", "--at", "2024-06-01")

    assert "on 2024-06-01 UTC" in text
    assert _row(text, "input")[:4] == ["input", "5.00", "1M", "tokens"]
    assert "2024-10-02 to now on" in text
    assert "input 2.50, output 10.00 USD per 1M tokens" in text


def test_a_price_is_shown_with_all_the_days_for_which_it_does_not_change(prices: Prices, file: File) -> None:
    shown = prices.json("show", "gpt-4o", "--at", "2026-11-20")
    starts = {price["meter"]: price["valid_from"] for price in shown["prices"]}

    # The list cuts gpt-4o's time in 2026 for the sake of its batch price; its standard one is older.
    assert starts["input"] == "2024-10-02T00:00:00+00:00"
    assert {price["valid_to"] for price in shown["prices"]} == {None}


def test_bands_currencies_and_lines_of_a_price_file(prices: Prices, file: File) -> None:
    text = prices("show", "road-1", "--provider", "acme", "--prices", file(CONTRACT), "--at", "2026-02-01")

    assert "up to 200,000" in text
    assert "over 200,000" in text
    assert "[1] prices.toml:4" in text
    assert "[2] prices.toml:11" in text
    assert "Other variants then: batch" in text
    assert "As output: output reasoning" in text


def test_what_is_not_counted_in_tokens_is_shown_in_its_own_unit(prices: Prices, file: File) -> None:
    shown = prices.json("show", "voice-1", "--provider", "acme", "--prices", file(CONTRACT))

    assert by_meter(shown) == {
        "characters": ("150.00", "1M characters", "CNY"),
        "audio_seconds": ("0.006", "minute", "CNY"),
        "requests": ("0.001", "request", "CNY"),
    }
    assert {price["unit_price"] for price in shown["prices"]} == {
        "0.000150000000000000",
        "0.000100000000000000",
        "0.001000000000000000",
    }


def test_a_discount_is_shown_beside_the_list_price_with_both_sources(prices: Prices, file: File) -> None:
    shown = prices.json("show", "gpt-4o", "--prices", file(CONTRACT))
    found = {price["meter"]: price for price in shown["prices"]}

    assert (found["input"]["price"], found["input"]["list_price"]) == ("2.1875", "2.50")
    assert (found["output"]["price"], found["output"]["list_price"]) == ("10.00", "10.00")
    assert "prices.toml:32 contract 4711" in found["input"]["source"]
    assert "genai-prices" in found["input"]["source"]
    assert found["input"]["layer"] == "price file"
    assert found["output"]["layer"] == "genai-prices"
    text = prices("show", "gpt-4o", "--prices", file(CONTRACT))
    assert _row(text, "input")[1:3] == ["2.1875", "2.50"]


def test_hours_of_the_day_are_shown_where_they_matter(prices: Prices) -> None:
    text = prices("show", "deepseek-chat", "--provider", "deepseek", "--at", "2025-05-01")

    assert "16:30-00:30" in text
    assert "00:30-16:30" in text
    assert "hours, UTC" not in prices("show", "gpt-4o")


@pytest.mark.parametrize("tier", ["default", "standard", "auto"])
def test_the_names_of_the_standard_tier_are_the_standard_price(tier: str, prices: Prices) -> None:
    assert prices.json("show", "gpt-4o", "--tier", tier)["variant"] == ""


@pytest.mark.parametrize("options", [["--batch"], ["--tier", "batch"]])
def test_a_batch_is_shown_at_its_own_price(options: list[str], prices: Prices, file: File) -> None:
    shown = prices.json("show", "road-1", "--provider", "acme", "--prices", file(CONTRACT), *options)

    assert shown["variant"] == "batch"
    assert by_meter(shown)["input"] == ("1.00", "1M tokens", "USD")
    assert "output" not in by_meter(shown)


def test_a_variant_without_a_price_is_not_shown_at_the_standard_one(prices: Prices, file: File) -> None:
    path = file(CONTRACT)
    text = prices("show", "road-1", "--provider", "acme", "--prices", path, "--tier", "flex", status=1)

    assert "No price: no price for service tier" in text
    assert "Other variants then: standard, batch" in text


def test_a_tier_of_the_maker_is_none_of_a_reseller(prices: Prices) -> None:
    assert prices.json("show", "gpt-4o", "--tier", "priority")["reason"] == ""

    shown = prices.json("show", "gpt-4o", "--provider", "azure", "--tier", "priority", status=1)
    assert shown["reason"] == "no price for service tier"
    assert shown["variants"] == [""]


def test_before_the_first_price_there_is_none(prices: Prices, file: File) -> None:
    options = ("--provider", "acme", "--prices", file(CONTRACT), "--at", "2025-12-31")
    text = prices("show", "road-1", *options, status=1)

    assert "No price: no price for its meters at that date" in text
    assert "2026-01-01 to now on" in text


def test_an_unknown_model_is_told_with_the_nearest_names_and_their_prices(prices: Prices) -> None:
    shown = prices.json("show", "gpt-4o-nano", "--provider", "openai", status=1)

    assert shown["reason"] == "unknown model"
    assert shown["prices"] == []
    assert 1 <= len(shown["candidates"]) <= 3
    text = prices("show", "gpt-4o-nano", status=1)
    assert "Nearest by name (never charged for it):" in text
    assert "openai/gpt-4o-mini: input 0.15, output 0.60 USD per 1M tokens" in text


def test_a_fine_tuned_model_is_not_its_base_model(prices: Prices) -> None:
    shown = prices.json("show", "ft:gpt-5.1:acme::abc", "--provider", "openai", status=1)

    assert "fine-tuned" in shown["reason"]


def test_an_unknown_provider_is_told(prices: Prices) -> None:
    assert "No price: unknown provider" in prices("show", "gpt-4o", "--provider", "nobody", status=1)


def test_a_deployment_is_shown_as_the_model_that_it_means(prices: Prices, file: File) -> None:
    path = file(CONTRACT)
    shown = prices.json("show", "prod-chat", "--host", "ours.openai.azure.com", "--prices", path)

    assert any("the deployment 'prod-chat' is 'gpt-4o-2024-08-06'" in why for why in shown["why"])
    assert by_meter(shown)["input"][0] == "2.50"


def test_the_rate_of_a_pool_is_shown_with_its_arithmetic(prices: Prices, file: File) -> None:
    text = prices("show", "--gpu", "cellar", "--prices", file(CONTRACT))

    # 35,040 / (4 x 8,760) = 1; 1 kW x 1.2 x 0.25 = 0.3; 876 / 8,760 = 0.1; 1.4 an hour, 2.8 a busy one.
    for part in ("= 1 an hour", "= 0.3 an hour", "= 0.1 an hour", "1.4 EUR", "2.8 EUR per busy hour"):
        assert part in text
    (record,) = prices.json("show", "--gpu", "cellar", "--prices", file(CONTRACT))
    assert Decimal(record["per_gpu_hour"]) == Decimal("1.4")


def test_a_pool_without_a_rate_is_told_with_those_that_have_one(prices: Prices, file: File) -> None:
    text = prices("show", "--gpu", "attic", "--prices", file(CONTRACT), status=1)

    assert "No rate for 'attic'" in text
    assert "cellar" in text


def test_the_files_of_the_collector_that_runs_are_used(prices: Prices, file: File) -> None:
    prices.state.mkdir()
    collector = running.RunningCollector(
        pid=os.getpid(), version="0", http=None, grpc=None, sql=None, prices=(file(CONTRACT),)
    )
    running.announce(prices.state, collector)

    assert by_meter(prices.json("show", "road-1", "--provider", "acme"))["output"][0] == "6.00"


def test_the_files_of_the_environment_are_used(
    prices: Prices, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENNYTRACE_PRICES", file(CONTRACT))

    assert "prices.toml" in prices("show", "road-1", "--provider", "acme")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a model, or --gpu; not both"),
        (["gpt-4o", "--gpu", "x"], "give a model, or --gpu; not both"),
        (["gpt-4o", "--at", "yesterday"], "--at must be an age such as"),
        (
            ["gpt-4o", "--prices", "/no/such.toml"],
            "--prices must name a file that exists; got '/no/such.toml'",
        ),
    ],
)
def test_wrong_options_are_told(arguments: list[str], said: str, prices: Prices) -> None:
    assert said in prices("show", *arguments, status=1)


def test_a_mistake_in_a_price_file_is_told_with_its_line(prices: Prices, file: File) -> None:
    text = prices("show", "gpt-4o", "--prices", file('[[price]]\nmodel = "x"\ninput_mtok = -1\n'), status=1)

    assert "prices.toml:3: [[price]] input_mtok" in text


def _row(text: str, meter: str) -> list[str]:
    """The cells of a meter's line."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [meter])
