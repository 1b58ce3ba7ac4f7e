"""What a price file says is put over the layers below it: for its models, variants and days, and for no others."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from genai_prices.data_snapshot import DataSnapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from pennytrace_collectors.catalog import Catalog, Layer, PriceFile, SeenModel, compile_catalog
from pennytrace_collectors.catalog.pricefile import OwnPrice
from tests.collectors.catalog.cards import card_of, catalog_of, per_million, price_of

OWN = """
[[price]]
provider = "openai"
model = "gpt-5-mini"
valid_from = 2026-06-01
valid_to = 2026-08-31
input_mtok = 0.20
output_mtok = 1.50
source = "our contract"
"""


def test_a_price_replaces_the_list_for_its_variant_and_its_days_alone(tmp_path: Path) -> None:
    listed, own = card_of(compile_catalog(), "gpt-5-mini"), card_of(catalog_of(tmp_path, OWN), "gpt-5-mini")

    for at in ("2026-05-31", "2026-09-01", "2026-11-20"):
        for variant in {price.variant for price in listed.prices}:
            assert per_million(own, "input", at, variant=variant) == per_million(
                listed, "input", at, variant=variant
            )
    for at in ("2026-06-01", "2026-08-31"):
        assert per_million(own, "input", at) == Decimal("0.20")
        assert per_million(own, "output", at) == Decimal("1.50")
        assert per_million(own, "cache_read", at) == Decimal("0.20")  # wholly: the list's cheaper one is gone
        assert per_million(own, "web_searches", at) is None
    first = datetime(2026, 6, 1, tzinfo=UTC)
    assert per_million(own, "input", first) == Decimal("0.20")
    assert per_million(own, "input", first - timedelta(seconds=1)) != Decimal("0.20")


def test_a_price_says_which_layer_it_is_of_and_where_it_is_written(tmp_path: Path) -> None:
    card = card_of(catalog_of(tmp_path, OWN), "gpt-5-mini")

    own, listed = price_of(card, "input", "2026-07-01"), price_of(card, "input", "2026-11-20")

    assert own is not None
    assert listed is not None
    assert (own.layer, own.source) == ("price file", "prices.toml:2 our contract")
    assert (listed.layer, listed.source) == ("genai-prices", f"genai-prices {compile_catalog().genai_prices}")


def test_history_of_one_model_follows_itself(tmp_path: Path) -> None:
    card = card_of(
        catalog_of(
            tmp_path,
            """
            price = [
              { model = "m", valid_from = 2026-03-01, input_mtok = 2 },
              { model = "m", input_mtok = 1, valid_to = 2026-01-31 },
              { model = "m", valid_from = 2026-05-01, input_mtok = 3 },
            ]
            """,
        ),
        "m",
        provider="vllm",
    )

    assert card.name == "file:*/m"
    found = [
        per_million(card, "input", at) for at in ("2020-01-01", "2026-01-31", "2026-02-01", "2026-03-01")
    ]
    assert found == [1, 1, None, 2]
    assert [per_million(card, "input", at) for at in ("2026-04-30", "2026-05-01", "2105-01-01")] == [2, 3, 3]


def test_the_exact_name_is_before_a_wildcard_and_a_provider_before_any(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        """
        price = [
          { provider = "vllm", model = "llama-8b", input_mtok = 1 },
          { model = "llama-8b", input_mtok = 2 },
          { provider = "vllm", model = "llama-*", input_mtok = 3 },
          { model = "llama-*", input_mtok = 4 },
          { model = "*", input_mtok = 5 },
        ]
        """,
    )

    def found(provider: str, model: str) -> Decimal | None:
        return per_million(card_of(catalog, model, provider=provider), "input")

    assert found("vllm", "Llama-8B") == 1
    assert found("tgi", "llama-8b") == 2
    assert found("vllm", "llama-70b") == 3
    assert found("tgi", "llama-70b") == 4
    assert found("tgi", "other") == 5


def test_a_later_file_wins_over_an_earlier_one(tmp_path: Path) -> None:
    first = '[[price]]\nmodel = "m"\ninput_mtok = 1\n[[price]]\nmodel = "n"\ninput_mtok = 5'
    second = '[[price]]\nmodel = "m"\nvalid_from = 2026-06-01\ninput_mtok = 2'
    catalog = catalog_of(tmp_path, first, second)

    card = card_of(catalog, "m", provider="vllm")

    assert [per_million(card, "input", at) for at in ("2026-05-31", "2026-06-01")] == [1, 2]
    assert per_million(card_of(catalog, "n", provider="vllm"), "input") == 5


def test_bands_of_input_size_say_only_what_is_other_than_below(tmp_path: Path) -> None:
    card = card_of(
        catalog_of(
            tmp_path,
            """
            price = [
              { model = "m", input_mtok = 1, output_mtok = 4, cache_read_mtok = 0.1, web_search = 0.01 },
              { model = "m", above_input_tokens = 200_000, input_mtok = 2, cache_read_mtok = 0.2 },
              { model = "m", above_input_tokens = 500_000, input_mtok = 3 },
            ]
            """,
        ),
        "m",
        provider="vllm",
    )

    def at(tokens: int) -> list[Decimal | None]:
        return [
            per_million(card, meter, tokens=tokens)
            for meter in ("input", "cache_read", "output", "web_searches")
        ]

    assert at(200_000) == [1, Decimal("0.1"), 4, 10_000]
    assert at(200_001) == [2, Decimal("0.2"), 4, 10_000]
    assert at(500_001) == [3, Decimal("0.2"), 4, 10_000]


@pytest.mark.parametrize(
    ("key", "meter", "unit_price"),
    [
        ("mchars", "characters", Decimal("0.000018")),
        ("audio_minute", "audio_seconds", Decimal("0.3")),
        ("trained_mtok", "trained_tokens", Decimal("0.000018")),
        *(
            (key, meter, Decimal(18))
            for key, meter in (
                ("video_second", "video_seconds"),
                ("image", "images"),
                ("page", "pages"),
                ("annotated_page", "annotated_pages"),
                ("search", "searches"),
                ("web_search", "web_searches"),
                ("file_search", "file_searches"),
                ("code_execution", "code_executions"),
                ("tool_call", "tool_calls"),
                ("request", "requests"),
            )
        ),
    ],
)
def test_a_key_is_the_price_of_its_unit(tmp_path: Path, key: str, meter: str, unit_price: Decimal) -> None:
    card = card_of(catalog_of(tmp_path, f'[[price]]\nmodel = "m"\n{key} = 18'), "m", provider="vllm")

    found = price_of(card, meter)

    assert found is not None
    assert (found.unit_price, found.price_key) == (unit_price, key)


def test_images_are_priced_by_size_and_quality_when_a_file_says_so(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        """
        price = [
          { provider = "openai", model = "draw-1", image = 0.04 },
          { provider = "openai", model = "draw-1", size = "1024x1792", quality = "hd", image = 0.12 },
        ]
        """,
    )

    found = catalog.resolve(SeenModel("openai", "", "draw-1", ""))
    card = card_of(catalog, "draw-1")

    assert found.sized
    assert per_million(card, "images") == Decimal(40_000)
    assert per_million(card, "images", variant="hd+1024x1792") == Decimal(120_000)
    assert not catalog.resolve(SeenModel("openai", "", "gpt-4o", "")).sized


def test_a_correction_changes_one_number_and_what_is_billed_by_it(tmp_path: Path) -> None:
    text = """
    [[correction]]
    provider = "openai"
    model = "gpt-5-mini"
    valid_from = 2026-06-01
    input_mtok = 9
    source = "mail of 3 June"
    """
    listed, own = card_of(compile_catalog(), "gpt-5-mini"), card_of(catalog_of(tmp_path, text), "gpt-5-mini")

    assert per_million(own, "input", "2026-05-31") == per_million(listed, "input", "2026-05-31")
    after = price_of(own, "input", "2026-06-01")
    assert after is not None
    assert (after.unit_price * 1_000_000, after.layer) == (Decimal(9), "price file")
    assert after.source == "prices.toml:2 mail of 3 June"
    # the cached and the spoken have prices of their own or not: what the list bills as plain input follows
    for price in listed.prices:
        if price.variant == "" and price.valid_from <= datetime(2026, 7, 1, tzinfo=UTC) <= price.valid_to:
            found = per_million(own, price.meter, "2026-07-01")
            assert found == (9 if price.price_key == "input_mtok" else price.unit_price * 1_000_000), (
                price.meter
            )
    assert per_million(own, "input", variant="batch") == per_million(listed, "input", variant="batch")


def test_a_correction_of_nothing_is_no_price(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, '[[correction]]\nmodel = "unheard-of"\ninput_mtok = 1')

    found = catalog.resolve(SeenModel("openai", "", "unheard-of", ""))

    assert (found.rate_card, found.reason) == ("", "unknown model")


def test_a_correction_of_a_band_leaves_the_others(tmp_path: Path) -> None:
    model = "gemini-2.5-pro"
    text = f'[[correction]]\nmodel = "{model}"\nabove_input_tokens = 200_000\noutput_mtok = 11'
    listed = card_of(compile_catalog(), model, provider="gcp.gemini")
    own = card_of(catalog_of(tmp_path, text), model, provider="gcp.gemini")

    assert per_million(listed, "output", tokens=200_001) not in (11, None)
    assert per_million(own, "output", tokens=200_001) == 11
    assert per_million(own, "output", tokens=200_000) == per_million(listed, "output", tokens=200_000)
    assert per_million(own, "input", tokens=200_001) == per_million(listed, "input", tokens=200_001)


def test_a_discount_is_taken_off_what_the_layers_below_say(tmp_path: Path) -> None:
    text = """
    [[discount]]
    provider = "openai"
    percent = 12.5
    valid_from = 2026-06-01
    source = "contract 7"

    [[price]]
    provider = "openai"
    model = "gpt-4o"
    input_mtok = 2
    """
    catalog, listed = catalog_of(tmp_path, text), card_of(compile_catalog(), "gpt-5-mini")

    mini = card_of(catalog, "gpt-5-mini")

    for variant in ("", "batch", "flex"):
        for meter in ("input", "cache_read", "output"):
            full = per_million(listed, meter, variant=variant)
            assert full is not None
            found = price_of(mini, meter, variant=variant)
            assert found is not None
            assert found.unit_price * 1_000_000 == full * Decimal("0.875")
            assert found.list_price * 1_000_000 == full
            assert found.layer == "price file"
            assert found.source.endswith(", less 12.5 % (prices.toml:2 contract 7)")
    assert per_million(mini, "input", "2026-05-31") == per_million(listed, "input", "2026-05-31")
    assert per_million(card_of(catalog, "gpt-4o"), "input") == 2  # the file's own price is what is paid


@pytest.mark.parametrize(
    ("entries", "factors"),
    [
        # the most exact of several discounts holds alone
        ("{ percent = 10 }, { model = 'gpt-5-mini', percent = 20 }", {"": "0.8", "batch": "0.8"}),
        ("{ model = 'gpt-5*', percent = 30 }, { percent = 10 }", {"": "0.7", "batch": "0.7"}),
        ("{ percent = 10 }, { processing = 'batch', percent = 0 }", {"": "0.9", "batch": "1"}),
        ("{ tier = 'flex', percent = 50 }", {"": "1", "flex": "0.5", "batch": "1"}),
        ("{ meters = ['output'], percent = 50 }", {"": "1"}),
        ("{ meters = ['input', 'output'], percent = 50 }", {"": "0.5"}),
        ("{ percent = 50, valid_to = 2026-11-19 }", {"": "1"}),
        ("{ percent = 50, valid_from = 2026-11-20 }, { percent = 20 }", {"": "0.5"}),
        (
            "{ committed = 60000, steps = [{from = 0, percent = 5}, {from = 50000, percent = 12},"
            " {from = 60001, percent = 90}] }",
            {"": "0.88"},
        ),
        (
            "{ committed = 50000, steps = [{from = 50000, percent = 12}, {from = 0, percent = 5}] }",
            {"": "0.88"},
        ),
        ("{ percent = 100 }", {"": "0"}),
    ],
)
def test_of_several_discounts_the_most_exact_one_holds(
    tmp_path: Path, entries: str, factors: dict[str, str]
) -> None:
    listed = card_of(compile_catalog(), "gpt-5-mini")
    own = card_of(catalog_of(tmp_path, f"discount = [{entries}]"), "gpt-5-mini")

    for variant, factor in factors.items():
        full = per_million(listed, "input", variant=variant)
        assert full is not None
        assert per_million(own, "input", variant=variant) == full * Decimal(factor)


def test_discounts_of_several_files_multiply(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, "[[discount]]\npercent = 10", "[[discount]]\npercent = 50")

    full = per_million(card_of(compile_catalog(), "gpt-5-mini"), "input")
    assert full is not None
    found = price_of(card_of(catalog, "gpt-5-mini"), "input")
    assert found is not None
    assert found.unit_price * 1_000_000 == full * Decimal("0.45")
    assert found.list_price * 1_000_000 == full


def test_a_surcharge_makes_a_variant_of_another_one(tmp_path: Path) -> None:
    text = """
    surcharge = [
      { model = "m*", variant = "us", factor = 1.1 },
      { model = "m*", variant = "batch+us", of = "batch", factor = 1.1, valid_from = 2026-06-01 },
      { model = "m*", variant = "eu", factor = 2, meters = ["web_searches"] },
    ]
    price = [
      { model = "m1", input_mtok = 3, output_mtok = 15, web_search = 0.01 },
      { model = "m1", processing = "batch", input_mtok = 1.5 },
    ]
    """
    card = card_of(catalog_of(tmp_path, text), "m1", provider="vllm")

    assert per_million(card, "input", variant="us") == Decimal("3.3")
    assert per_million(card, "output", variant="us") == Decimal("16.5")
    assert per_million(card, "web_searches", variant="us") == 10_000  # by default only tokens cost more
    assert per_million(card, "input", variant="batch+us") == Decimal("1.65")
    assert per_million(card, "input", "2026-05-31", variant="batch+us") is None
    assert per_million(card, "input", variant="eu") == 3
    assert per_million(card, "web_searches", variant="eu") == 20_000
    assert per_million(card, "input") == 3


def test_a_card_of_several_currencies_says_the_currency_with_each_price(tmp_path: Path) -> None:
    text = '[[price]]\nprovider = "openai"\nmodel = "gpt-5-mini"\ncurrency = "EUR"\ninput_mtok = 0.2'
    card = card_of(catalog_of(tmp_path, text), "gpt-5-mini")

    standard, batch = price_of(card, "input"), price_of(card, "input", variant="batch")

    assert standard is not None
    assert batch is not None
    assert (standard.currency, batch.currency, card.currency) == ("EUR", "USD", "")


def test_calls_that_the_same_entries_are_about_share_a_card_and_others_do_not(tmp_path: Path) -> None:
    text = '[[discount]]\nmodel = ["gpt-5-mini*"]\npercent = 10\n[[price]]\nmodel = "gpt-5-mini-2025-08-07"\nimage = 1'
    catalog = catalog_of(tmp_path, text)

    def name(asked: str, answered: str) -> str:
        return catalog.resolve(SeenModel("openai", "", asked, answered)).rate_card

    assert name("gpt-5-mini", "") == name("gpt-5-mini", "gpt-5-mini")
    assert name("gpt-5-mini", "") != name("gpt-5-mini", "gpt-5-mini-2025-08-07")
    assert name("gpt-5-mini", "").startswith("openai/gpt-5-mini+")


def test_the_same_sources_have_one_identity_and_others_another(tmp_path: Path) -> None:
    one, two = tmp_path / "a.toml", tmp_path / "b.toml"
    one.write_text('[[price]]\nmodel = "m"\ninput_mtok = 1')
    two.write_text('[[price]]\nmodel = "m"\ninput_mtok = 2')

    identities = [
        compile_catalog(files).identity for files in ([], [one], [one], [two], [one, two], [two, one])
    ]

    assert identities[1] == identities[2]
    assert len(set(identities)) == 5


def test_a_card_of_one_layer_is_under_its_own_name_too(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, OWN)

    alone = catalog.rate_card("file:openai/gpt-5-mini")

    assert alone is not None
    assert {price.layer for price in alone.prices} == {"price file"}
    assert alone in catalog.rate_cards()
    assert catalog.rate_card("openai/no-such-model") is None


def test_a_card_never_has_two_prices_for_the_same_thing(tmp_path: Path) -> None:
    """Over all models of the supplement, with a file over it that changes all of them for some days."""
    text = """
    discount = [{ percent = 10, valid_from = 2024-02-01, valid_to = 2026-10-15 }, { tier = "flex", percent = 20 }]
    correction = [{ model = "*", valid_from = 2025-01-01, valid_to = 2025-06-30, image = 1, above_input_tokens = 9 }]
    surcharge = [{ model = "*", variant = "eu", factor = 1.1, valid_from = 2024-06-01 }]
    price = [{ model = "gpt-*", valid_from = 2026-01-01, valid_to = 2026-01-31, input_mtok = 1 }]
    """
    catalog = catalog_of(tmp_path, text)
    for entry in catalog.layers[0].file.prices:
        for model in entry.model:
            card = card_of(catalog, model.replace("*", "x"), provider=entry.provider)
            cells = Counter((p.variant, p.valid_from, p.window_from, p.above, p.meter) for p in card.prices)
            assert max(cells.values()) == 1, card.name
            spans = {(p.variant, p.valid_from, p.valid_to) for p in card.prices}
            for (one, _, end), (other, start, _) in pairwise(sorted(spans)):
                assert one != other or end < start, card.name


DAYS = [date(2026, 1, 1) + timedelta(days=offset) for offset in range(0, 60, 5)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_at_any_time_the_topmost_layer_that_says_anything_is_heard(seed: int) -> None:
    """Against a second implementation that asks, at one moment, every layer in turn."""
    chance = Random(seed)
    files = [_drawn_file(chance) for _ in range(chance.randint(1, 3))]
    nothing = DataSnapshot(providers=[], from_auto_update=False)
    catalog = Catalog(
        "drawn",
        "none",
        datetime(2026, 1, 1, tzinfo=UTC),
        nothing,
        tuple(Layer("price file", one) for one in files),
    )
    found = catalog.resolve(SeenModel("vllm", "", "m1", ""))
    card = catalog.rate_card(found.rate_card)

    for _ in range(20):
        at = datetime.combine(chance.choice(DAYS), time(), UTC) + timedelta(seconds=chance.randint(-1, 1))
        variant = chance.choice(["", "batch"])
        expected = _heard(files, variant, at)
        assert (per_million(card, "input", at, variant=variant) if card else None) == expected


def _drawn_file(chance: Random) -> PriceFile:
    drawn: Counter[tuple[object, ...]] = Counter()
    prices = []
    for _ in range(chance.randint(1, 5)):
        provider, model = chance.choice(["*", "vllm", "other"]), chance.choice(["m1", "m*", "*"])
        start, processing = chance.choice([None, *DAYS]), chance.choice([None, "batch"])
        following = chance.choice([None, chance.choice(DAYS)])
        drawn[provider, model, start or DAYS[0], processing] += 1
        if drawn[provider, model, start or DAYS[0], processing] == 1:
            end = max(start or DAYS[0], following) if following else None
            prices.append(
                OwnPrice.model_validate(
                    {
                        "provider": provider,
                        "model": model,
                        "valid_from": start,
                        "valid_to": end,
                        "processing": processing,
                        "input_mtok": chance.randint(1, 10**6),
                    }
                )
            )
    return PriceFile(prices=tuple(prices))


# An exact name before a wildcard, then a provider before any, then the longer wildcard.
ORDER = [("m1", "vllm"), ("m1", "*"), ("m*", "vllm"), ("*", "vllm"), ("m*", "*"), ("*", "*")]


def _heard(files: list[PriceFile], variant: str, at: datetime) -> Decimal | None:
    for file in reversed(files):
        for model, provider in ORDER:
            series = [
                p for p in file.prices if (p.model, p.provider, p.variant) == ((model,), provider, variant)
            ]
            started = [p for p in series if (p.valid_from or date.min) <= at.date()]
            last = max(started, key=lambda price: price.valid_from or date.min, default=None)
            if last and (last.valid_to is None or at.date() <= last.valid_to):
                return last.amounts["input_mtok"]
    return None
