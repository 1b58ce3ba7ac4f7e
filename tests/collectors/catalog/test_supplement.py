"""The project's own prices: where they are written, that nobody else has them, and that they are the right ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider, TieredPrices

from pennytrace_collectors.catalog import Catalog, SeenModel, compile_catalog
from pennytrace_collectors.catalog.pricefile import (
    Amounts,
    Correction,
    ForModels,
    OwnPrice,
    PriceFile,
    Surcharge,
    read_price_file,
)
from pennytrace_collectors.catalog.pricefile.keys import KEYS

FOLDER: Final = Path(str(files("pennytrace_collectors.catalog").joinpath("supplement")))
FILES: Final = {path.stem: read_price_file(path, supplement=True) for path in sorted(FOLDER.glob("*.toml"))}
TODAY: Final = datetime.now(UTC).date()
MILLION: Final = 1_000_000

# What genai-prices calls the sellers that calls name otherwise.
_LISTED_AS: Final = {"aws.bedrock": "aws", "gcp.gemini": "google", "mistral_ai": "mistral"}
# Its keys for what a price file gives for one, and how many it gives the price of.
_SAME_AS: Final = {
    "mchars": ("input_mchars", 1),
    "audio_minute": ("input_audio_hours", 60),
    "page": ("input_document_kpages", 1000),
    "search": ("rerank_searches_kcount", 1000),
    "web_search": ("web_searches_kcount", 1000),
    "file_search": ("storage_searches_kcount", 1000),
    "request": ("requests_kcount", 1000),
}


def entries(file: PriceFile) -> tuple[ForModels, ...]:
    return (*file.prices, *file.corrections, *file.surcharges)


ENTRIES: Final = [
    pytest.param(entry, id=f"{name}:{entry.line}") for name, file in FILES.items() for entry in entries(file)
]
AMOUNTS: Final = [param for param in ENTRIES if isinstance(param.values[0], Amounts)]
SURCHARGES: Final = [param for param in ENTRIES if isinstance(param.values[0], Surcharge)]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return compile_catalog()


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_file_is_the_prices_of_one_seller_and_nothing_else(file: PriceFile) -> None:
    sellers = {entry.provider for entry in entries(file)}

    assert len(sellers) == 1
    assert "*" not in sellers
    assert file == PriceFile(file.name, "", file.prices, file.corrections, file.surcharges)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_says_where_it_is_written_and_when_that_was_looked_at(entry: ForModels) -> None:
    assert entry.source.startswith("https://")
    assert entry.checked is not None
    assert date(2026, 11, 1) <= entry.checked <= TODAY


@pytest.mark.parametrize("entry", AMOUNTS)
def test_no_entry_says_what_genai_prices_says_anyway(entry: Amounts) -> None:
    """Fails when genai-prices learns a price: then the entry goes."""
    first, last = ends(entry)
    for name in entry.model:
        said = [listed(entry, name, day) for day in (first, last)]
        repeated = [all(known.get(key) == amount for key, amount in asked(entry).items()) for known in said]

        assert not all(repeated), f"genai-prices has {name} from {first} to {last}: {said[0]}"


@pytest.mark.parametrize("entry", AMOUNTS)
def test_every_entry_is_what_its_models_cost_on_its_first_and_last_day(
    entry: Amounts, catalog: Catalog
) -> None:
    """No other entry hides it, by a better name, a wildcard or a later start."""
    for name in entry.model:
        called = name.replace("*", "1")
        card = catalog.rate_card(catalog.resolve(SeenModel(entry.provider, "", called, called)).rate_card)
        assert card is not None
        for noon in (datetime.combine(day, time(12), UTC) for day in ends(entry)):
            holding = {
                each.price_key: each.unit_price * KEYS[each.price_key]
                for each in card.prices
                if (each.variant, each.source) == (entry.variant, entry.written)
                and each.valid_from <= noon <= each.valid_to
                and each.above == (-1 if entry.above_input_tokens is None else entry.above_input_tokens)
            }

            assert {key: round(amount, 12) for key, amount in holding.items()} == entry.amounts, (name, noon)


@pytest.mark.parametrize("entry", SURCHARGES)
def test_no_surcharge_makes_a_variant_that_genai_prices_has(entry: Surcharge) -> None:
    first, last = ends(entry)
    when = {"batch": ("processing", "batch"), "fast": ("speed", "fast")}.get(entry.variant)
    for model in models_of(entry):
        if when is not None:
            assert not any(conditions(model, *when, day) for day in (first, last)), model.id


def ends(entry: ForModels) -> tuple[date, date]:
    """The first and the last day of an entry that can be asked about."""
    return entry.valid_from or date(2023, 1, 1), min(entry.valid_to or TODAY, TODAY)


def asked(entry: Amounts) -> dict[str, Decimal]:
    """What an entry says, in the terms of genai-prices."""
    return {
        _SAME_AS.get(key, (key, 1))[0]: amount * _SAME_AS.get(key, (key, 1))[1]
        for key, amount in entry.amounts.items()
    }


def listed(entry: Amounts, name: str, day: date) -> dict[str, Decimal]:
    """What genai-prices has for one of an entry's models in the entry's variant, by its own keys."""
    seller = sold_by(entry.provider)
    model = seller and seller.find_model(name.replace("*", "1"), all_providers=get_snapshot().providers)
    if not model or (isinstance(entry, OwnPrice) and entry.currency != "USD") or entry.size or entry.quality:
        return {}
    when = [("processing", entry.processing), ("service_tier", entry.tier)]
    context = {kind: value for kind, value in when if value}
    if any(not conditions(model, kind, value, day) for kind, value in context.items()):
        return {}
    prices = vars(model.get_prices(datetime.combine(day, time(12), UTC), context))
    return {key: amount_above(entry, price) for key, price in prices.items() if price is not None}


def amount_above(entry: Amounts, price: Decimal | TieredPrices) -> Decimal:
    if isinstance(price, Decimal):
        return price
    above = entry.above_input_tokens or 0
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= above), price.base)


def conditions(model: ModelInfo, kind: str, value: str, day: date) -> bool:
    """Whether genai-prices has prices of their own for a way to call a model, on a day."""
    noon = datetime.combine(day, time(12), UTC)
    return any(
        dict(variant.when) == {kind: value}
        and (variant.constraint is None or variant.constraint.active(noon))
        for variant in model.price_variants or ()
    )


def models_of(entry: ForModels) -> Iterator[ModelInfo]:
    seller = sold_by(entry.provider)
    for model in seller.models if seller else ():
        if any(fnmatchcase(model.id, pattern) for pattern in entry.model):
            yield model


def sold_by(provider: str) -> Provider | None:
    wanted = _LISTED_AS.get(provider, provider)
    return next((seller for seller in get_snapshot().providers if seller.id == wanted), None)


# --- the prices themselves, against figures that were written down elsewhere -----------------------------------------


def price(
    catalog: Catalog,
    seen: SeenModel,
    day: str,
    meter: str,
    *,
    variant: str = "",
    input_tokens: int = 1,
) -> tuple[Decimal, str, str]:
    """What one unit of a meter costs in a call of noon of a day, in what currency, and which layer says so."""
    found = catalog.resolve(seen)
    assert found.rate_card, f"{seen} is not priced: {found.reason}"
    card = catalog.rate_card(found.rate_card)
    assert card is not None
    noon = datetime.combine(date.fromisoformat(day), time(12), UTC)
    holding = [
        each
        for each in card.prices
        if (each.variant, each.meter) == (variant, meter)
        and each.valid_from <= noon <= each.valid_to
        and each.above < input_tokens
    ]
    assert holding, f"{found.rate_card} has no price for {meter} on {day}"
    best = max(holding, key=lambda each: (each.above, each.window_from))
    return best.unit_price, best.currency, best.layer


def openai(model: str) -> SeenModel:
    return SeenModel("openai", "api.openai.com", model, model)


def anthropic(model: str) -> SeenModel:
    return SeenModel("anthropic", "api.anthropic.com", model, model)


def together(model: str) -> SeenModel:
    return SeenModel("together", "api.together.xyz", model, model)


def anyscale(model: str) -> SeenModel:
    return compatible("api.endpoints.anyscale.com", model)


def databricks(model: str) -> SeenModel:
    return SeenModel("databricks", "acme.cloud.databricks.com", model, "")


def compatible(host: str, model: str) -> SeenModel:
    return SeenModel("openai_compatible", host, model, model)


# From the issue: 1,000 requests of 8,000 input and 500 output tokens.
@pytest.mark.parametrize(
    ("seen", "day", "dollars"),
    [
        (openai("gpt-3.5-turbo-1106"), "2024-01-15", "9.00"),
        (openai("gpt-4-1106-preview"), "2024-01-15", "95.00"),
        (openai("gpt-4-turbo-2024-04-09"), "2024-05-15", "95.00"),
        (together("mistralai/Mixtral-8x7B-Instruct-v0.1"), "2024-01-15", "5.10"),
        (together("mistralai/Mistral-7B-Instruct-v0.1"), "2024-01-15", "1.70"),
    ],
)
def test_the_seed_calculations_hold_to_the_cent(
    catalog: Catalog, seen: SeenModel, day: str, dollars: str
) -> None:
    (for_input, currency, _), (for_output, _, _) = (price(catalog, seen, day, m) for m in ("input", "output"))

    assert 1_000 * (8_000 * for_input + 500 * for_output) == Decimal(dollars)
    assert currency == "USD"


# Money per million tokens of input and output. The figures are those that were published when each was announced.
@pytest.mark.parametrize(
    ("seen", "day", "currency", "for_input", "for_output"),
    [
        # the 2023-24 history: GPT-4 8K and 32K, GPT-4 Turbo, GPT-3.5 Turbo of each date
        (openai("gpt-4-0314"), "2023-04-01", "USD", "30", "60"),
        (openai("gpt-4-0613"), "2023-07-01", "USD", "30", "60"),
        (openai("gpt-4-32k-0314"), "2023-04-01", "USD", "60", "120"),
        (openai("gpt-4-32k-0613"), "2023-07-01", "USD", "60", "120"),
        (openai("gpt-4-0125-preview"), "2024-02-01", "USD", "10", "30"),
        (openai("gpt-3.5-turbo-0301"), "2023-04-01", "USD", "2", "2"),
        (openai("gpt-3.5-turbo-0301"), "2023-08-01", "USD", "1.5", "2"),
        (openai("gpt-3.5-turbo-0613"), "2023-08-01", "USD", "1.5", "2"),
        (openai("gpt-3.5-turbo-16k-0613"), "2023-08-01", "USD", "3", "4"),
        (openai("gpt-3.5-turbo-0125"), "2024-03-01", "USD", "0.5", "1.5"),
        (openai("gpt-4o-2024-05-13"), "2024-06-01", "USD", "5", "15"),
        (openai("o1-mini-2024-09-12"), "2024-12-01", "USD", "3", "12"),
        (openai("o1-mini-2024-09-12"), "2025-02-01", "USD", "1.1", "4.4"),
        # Claude Instant, 2, 3
        (anthropic("claude-instant-1.2"), "2023-10-01", "USD", "1.63", "5.51"),
        (anthropic("claude-instant-1.2"), "2024-04-01", "USD", "0.80", "2.40"),
        (anthropic("claude-2.0"), "2023-10-01", "USD", "11.02", "32.68"),
        (anthropic("claude-2.1"), "2023-12-01", "USD", "8", "24"),
        (anthropic("claude-3-opus-20240229"), "2024-04-01", "USD", "15", "75"),
        (anthropic("claude-3-sonnet-20240229"), "2024-04-01", "USD", "3", "15"),
        (anthropic("claude-3-haiku-20240307"), "2024-04-01", "USD", "0.25", "1.25"),
        (anthropic("claude-3-5-haiku-20241022"), "2024-11-20", "USD", "1", "5"),
        # open models, by who sold them
        (anyscale("mistralai/Mixtral-8x7B-Instruct-v0.1"), "2024-01-15", "USD", "0.50", "0.50"),
        (anyscale("mistralai/Mistral-7B-Instruct-v0.1"), "2024-01-15", "USD", "0.15", "0.15"),
        (anyscale("meta-llama/Llama-2-70b-chat-hf"), "2023-11-15", "USD", "1", "1"),
        (together("meta-llama/Llama-2-70b-chat-hf"), "2024-01-15", "USD", "0.9", "0.9"),
        (SeenModel("replicate", "api.replicate.com", "meta/llama-2-70b-chat", ""), "2024-01-15", "USD", "0.65", "2.75"),
        (SeenModel("aws.bedrock", "", "meta.llama2-70b-chat-v1", ""), "2024-01-15", "USD", "1.95", "2.56"),
        (SeenModel("aws.bedrock", "", "anthropic.claude-v2:1", ""), "2024-01-15", "USD", "8", "24"),
        (SeenModel("gcp.gemini", "", "gemini-1.5-pro", ""), "2024-07-01", "USD", "3.5", "10.5"),
        # what genai-prices has no seller for, in the currency it is sold in
        (compatible("qianfan.baidubce.com", "ernie-4.0-8k"), "2024-03-01", "CNY", "120", "120"),
        (compatible("qianfan.baidubce.com", "ernie-4.5-turbo-128k"), "2026-03-01", "CNY", "0.8", "3.2"),
        (compatible("aip.baidubce.com", "ERNIE-Speed-8K"), "2024-06-01", "CNY", "0", "0"),
        (compatible("dashscope.aliyuncs.com", "qwen-max"), "2025-06-01", "CNY", "2.4", "9.6"),
        (compatible("dashscope-intl.aliyuncs.com", "qwen-max"), "2025-06-01", "USD", "1.6", "6.4"),
        (compatible("api.hunyuan.cloud.tencent.com", "hunyuan-pro"), "2024-08-01", "CNY", "30", "100"),
        (compatible("api.hunyuan.cloud.tencent.com", "hunyuan-turbos-latest"), "2025-06-01", "CNY", "0.8", "2"),
        (compatible("api.baichuan-ai.com", "Baichuan4-Turbo"), "2025-01-15", "CNY", "15", "15"),
        (compatible("api.ai21.com", "jamba-1.5-large"), "2025-01-15", "USD", "2", "8"),
        (databricks("databricks-dbrx-instruct"), "2024-06-01", "USD", "0.74998", "2.25001"),
        (SeenModel("mistral_ai", "api.mistral.ai", "mistral-small", ""), "2024-01-15", "EUR", "0.6", "1.8"),
        # fine-tuned models are not their bases
        (openai("ft:gpt-3.5-turbo-0613:acme::7p4lURel"), "2023-09-15", "USD", "12", "16"),
        (openai("ft:gpt-3.5-turbo-0613:acme::7p4lURel"), "2023-12-15", "USD", "3", "6"),
        (openai("ft:gpt-4.1-mini-2025-04-14:acme::7p4lURel"), "2025-06-15", "USD", "0.8", "3.2"),
        (openai("ft:davinci-002:acme::7p4lURel"), "2024-06-15", "USD", "12", "12"),
    ],
)  # fmt: skip
def test_what_was_sold_is_priced_as_it_was_sold(
    catalog: Catalog, seen: SeenModel, day: str, currency: str, for_input: str, for_output: str
) -> None:
    for meter, figure in (("input", for_input), ("output", for_output)):
        unit_price, its_currency, _ = price(catalog, seen, day, meter)

        assert (unit_price * MILLION, its_currency) == (Decimal(figure), currency)


# Money for one of what is counted: a character, second, image, search, ...
@pytest.mark.parametrize(
    ("seen", "meter", "variant", "figure"),
    [
        (openai("dall-e-3"), "images", "", "0.04"),
        (openai("dall-e-3"), "images", "hd+1024x1792", "0.12"),
        (openai("dall-e-3"), "images", "1792x1024", "0.08"),
        (openai("dall-e-2"), "images", "256x256", "0.016"),
        (openai("sora-2"), "video_seconds", "1280x720", "0.1"),
        (openai("sora-2-pro"), "video_seconds", "1792x1024", "0.5"),
        (openai("tts-1-hd-1106"), "characters", "", "0.00003"),
        (openai("gpt-4o-mini-2024-07-18"), "trained_tokens", "", "0.000003"),
        (openai("gpt-3.5-turbo-0125"), "trained_tokens", "", "0.000008"),
        (openai("omni-moderation-latest"), "input", "", "0"),
        (openai("gpt-5-search-api"), "web_searches", "", "0.01"),
        (SeenModel("cohere", "api.cohere.com", "rerank-v3.5", ""), "searches", "", "0.002"),
        (SeenModel("elevenlabs", "", "eleven_multilingual_v2", ""), "characters", "", "0.0001"),
        (SeenModel("elevenlabs", "", "eleven_flash_v2_5", ""), "characters", "", "0.00005"),
        (SeenModel("runwayml", "api.dev.runwayml.com", "gen4_turbo", ""), "video_seconds", "", "0.05"),
    ],
)
def test_what_is_not_sold_by_the_token_has_its_price(
    catalog: Catalog, seen: SeenModel, meter: str, variant: str, figure: str
) -> None:
    assert price(catalog, seen, "2026-07-01", meter, variant=variant)[0] == Decimal(figure)


@pytest.mark.parametrize(
    ("seen", "last_day", "next_day", "before", "after"),
    [
        (openai("gpt-3.5-turbo"), "2023-06-12", "2023-06-13", "2", "1.5"),
        (openai("gpt-3.5-turbo"), "2024-02-15", "2024-02-16", "1.5", "0.5"),
        (openai("text-embedding-ada-002"), "2023-06-12", "2023-06-13", "0.4", "0.1"),
        (openai("gpt-4o"), "2024-10-01", "2024-10-02", "5", "2.5"),
        (anthropic("claude-2"), "2023-11-20", "2023-11-21", "11.02", "8"),
        (anthropic("claude-3-5-haiku-20241022"), "2024-12-02", "2024-12-03", "1", "0.8"),
    ],
)
def test_a_price_ends_with_its_last_day(
    catalog: Catalog, seen: SeenModel, last_day: str, next_day: str, before: str, after: str
) -> None:
    old, new = (price(catalog, seen, day, "input") for day in (last_day, next_day))

    assert (old[0] * MILLION, new[0] * MILLION) == (Decimal(before), Decimal(after))
    assert old[2] == "supplement"


def test_where_no_page_tells_the_price_there_is_none(catalog: Catalog) -> None:
    with pytest.raises(AssertionError, match="no price for input on 2024-01-15"):
        price(catalog, anthropic("claude-instant-1.2"), "2024-01-15", "input")


@pytest.mark.parametrize(
    ("model", "day", "variant", "of", "factor"),
    [
        ("claude-opus-4-6", "2026-06-01", "us", "", "1.1"),
        ("claude-opus-4-6", "2026-06-01", "fast", "", "6"),
        ("claude-opus-4-6", "2026-06-01", "fast+us", "fast", "1.1"),
        ("claude-opus-4-8", "2026-11-01", "fast+us", "fast", "1.1"),
        ("claude-fable-5", "2026-06-01", "batch+us", "batch", "1.1"),
        ("claude-fable-5", "2026-11-01", "batch+us", "batch", "1.1"),
        ("claude-sonnet-4-5-20250929", "2026-06-01", "batch", "", "0.5"),
        ("claude-3-opus-20240229", "2024-12-01", "batch", "", "0.5"),
    ],
)
def test_a_surcharge_multiplies_every_token_price(
    catalog: Catalog, model: str, day: str, variant: str, of: str, factor: str
) -> None:
    for meter in ("input", "cache_read", "cache_write", "cache_write_1h", "output", "output_reasoning"):
        dearer = price(catalog, anthropic(model), day, meter, variant=variant)
        base = price(catalog, anthropic(model), day, meter, variant=of)

        assert dearer[0] == base[0] * Decimal(factor), meter


def test_a_surcharge_leaves_searches_alone(catalog: Catalog) -> None:
    for variant in ("us", "batch"):
        searched = price(catalog, anthropic("claude-opus-4-6"), "2026-06-01", "web_searches", variant=variant)

        assert searched[0] == Decimal("0.01")


def test_fast_mode_of_a_long_context_is_dearer_still(catalog: Catalog) -> None:
    """Until 2026-03-13 Opus 4.6 cost twice as much beyond 200,000 tokens of input: $60 and $225 in fast mode."""
    seen = anthropic("claude-opus-4-6")
    long = [
        price(catalog, seen, "2026-03-01", meter, variant="fast", input_tokens=200_001)[0] * MILLION
        for meter in ("input", "output")
    ]

    assert long == [Decimal(60), Decimal(225)]


@pytest.mark.parametrize(
    ("model", "day", "variant", "for_input", "for_output"),
    [
        ("gpt-4o-2024-08-06", "2025-01-15", "batch", "1.25", "5"),
        ("gpt-4o-2024-05-13", "2024-07-15", "batch", "2.5", "7.5"),
        ("gpt-4-turbo-2024-04-09", "2024-07-15", "batch", "5", "15"),
        ("o3-2025-04-16", "2025-07-15", "flex", "1", "4"),
        ("gpt-5", "2025-09-15", "priority", "2.5", "20"),
    ],
)
def test_batches_and_tiers_have_their_price_before_genai_prices_has_it(
    catalog: Catalog, model: str, day: str, variant: str, for_input: str, for_output: str
) -> None:
    for meter, figure in (("input", for_input), ("output", for_output)):
        assert price(catalog, openai(model), day, meter, variant=variant)[0] * MILLION == Decimal(figure)


def test_a_name_before_a_wildcard_and_no_entry_for_an_unknown_model(catalog: Catalog) -> None:
    assert catalog.resolve(openai("dall-e-99")).rate_card == ""
    assert catalog.resolve(compatible("api.baichuan-ai.com", "Baichuan99")).reason


def test_the_corrections_are_single_prices() -> None:
    corrections = [param.values[0] for param in AMOUNTS if isinstance(param.values[0], Correction)]

    assert corrections
    assert all(len(correction.amounts) == 1 for correction in corrections)
