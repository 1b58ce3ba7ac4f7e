"""SQL prices against an independent implementation: genai-prices' own `calc_price`, all of its catalog, all units.

Where we differ on purpose, `_compare` names the case and the reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, PriceCalculation, StartDateConstraint, TieredPrices
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.catalog import Catalog
from pennytrace_collectors.store import Store, open_store
from tests.collectors import otlp
from tests.collectors.calls import load_and_settle, spend
from tests.collectors.store.pricelists import with_prices

MODELS = [
    (provider, model) for provider in get_snapshot().providers for model in provider.models if model.prices
]
# Few models are priced by anything but text: they are drawn as often as all others.
COMMON = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"}
TIERS = ("", "default", "flex", "priority", "fast")
CALLS_A_DRAW = 2_000
Stored: TypeAlias = Callable[[Sequence["Drawn"]], dict[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A call and what it used; every detail is a part of its total."""

    provider: str
    model: str
    tier: str
    processing: str
    at: datetime
    cache_read: int
    cache_write: int
    """Of any or of no stated duration; those of 5 minutes and of an hour come on top."""
    cache_write_5m: int
    cache_write_1h: int
    audio_in: int
    cache_audio: int
    image_in: int
    cache_image: int
    plain_in: int
    reasoning: int
    audio_out: int
    image_out: int
    plain_out: int
    video_in: int
    cache_video: int
    video_out: int
    citations: int
    """A part of the output to genai-prices, and billed apart from it here."""
    characters: int
    audio_milliseconds: int
    pages: int
    annotated_pages: int
    """Not among the pages."""
    searches: int
    web_searches: int
    file_searches: int
    code_executions: int

    @property
    def input_tokens(self) -> int:
        uncached = self.audio_in - self.cache_audio + self.image_in - self.cache_image
        uncached += self.video_in - self.cache_video
        return self.plain_in + self.cache_read + self.cache_writes + uncached

    @property
    def cache_writes(self) -> int:
        return self.cache_write + self.cache_write_5m + self.cache_write_1h

    @property
    def output_tokens(self) -> int:
        return self.plain_out + self.reasoning + self.audio_out + self.image_out + self.video_out

    @property
    def details(self) -> dict[str, int | float]:
        """What is billed apart from tokens, under the names that calls have for it."""
        return {
            "citation_tokens": self.citations,
            "characters": self.characters,
            "audio_seconds": self.audio_milliseconds / 1000,
            "pages": self.pages,
            "annotated_pages": self.annotated_pages,
            "searches": self.searches,
            "web_searches": self.web_searches,
            "file_searches": self.file_searches,
            "code_executions": self.code_executions,
        }


def _units(model: ModelInfo) -> set[str]:
    prices = (
        [model.prices] if isinstance(model.prices, ModelPrice) else [dated.prices for dated in model.prices]
    )
    return {name for price in prices for name, amount in vars(price).items() if amount is not None}


UNCOMMON = [(provider, model) for provider, model in MODELS if _units(model) - COMMON]


def drawn_call(chance: Random) -> Drawn:
    """Any model, any tier, any size; the sizes and the days on which prices change come up often."""
    provider, model = chance.choice(chance.choice((MODELS, UNCOMMON)))
    small, large = partial(chance.randint, 0, 5_000), partial(chance.randint, 0, 2_000_000)
    cache_read, audio_in, image_in = small(), chance.choice((0, 0, 0, 700)), chance.choice((0, 0, 0, 900))
    cache_audio = chance.randint(0, min(cache_read, audio_in))
    cache_image = chance.randint(0, min(cache_read - cache_audio, image_in))
    video_in = chance.choice((0, 0, 0, 800))
    seldom = partial(chance.choice, (0,) * 9 + (1, 7, 100_000))
    return Drawn(
        provider=provider.id,
        model=model.id,
        tier=chance.choice(TIERS),
        processing=chance.choice(("", "", "batch")),
        at=_moment(model, chance),
        cache_read=cache_read,
        cache_write=chance.choice((0, 0, 1, 1234)),
        cache_write_5m=chance.choice((0, 0, 555)),
        cache_write_1h=chance.choice((0, 0, 777)),
        audio_in=audio_in,
        cache_audio=cache_audio,
        image_in=image_in,
        cache_image=cache_image,
        plain_in=chance.choice((small(), large(), 128_000, 200_000, 200_001, 272_000, 272_001)),
        reasoning=chance.choice((0, small())),
        audio_out=chance.choice((0, 0, 0, 300)),
        image_out=chance.choice((0, 0, 0, 400)),
        plain_out=chance.choice((small(), large())),
        video_in=video_in,
        cache_video=chance.randint(0, min(cache_read - cache_audio - cache_image, video_in)),
        video_out=chance.choice((0, 0, 0, 200)),
        citations=seldom(),
        characters=seldom(),
        audio_milliseconds=seldom(),
        pages=seldom(),
        annotated_pages=seldom(),
        searches=seldom(),
        web_searches=seldom(),
        file_searches=seldom(),
        code_executions=seldom(),
    )


def _moment(model: ModelInfo, chance: Random) -> datetime:
    """Any time from 2023 to 2027, or a second around the start of a day on which a price of this model starts."""
    constraints = [variant.constraint for variant in model.price_variants or ()]
    if not isinstance(model.prices, ModelPrice):
        constraints += [price.constraint for price in model.prices]
    starts = [c.start_date for c in constraints if isinstance(c, StartDateConstraint)]
    if starts and chance.random() < 0.5:
        day = chance.choice(starts)
        edge = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return edge + timedelta(seconds=chance.randint(-1, 1))
    return datetime.fromtimestamp(chance.randint(1_672_531_200, 1_830_297_599), tz=UTC)


@pytest.fixture(scope="module")
def stored(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("oracle") / "store"
    shutil.copytree(fresh_store, folder, symlinks=True)
    opened = open_store(f"chdb://{folder}")
    # The list alone: what the project's supplement adds to it is tested by itself.
    listed = Catalog("the list alone", "0", datetime(2026, 1, 1, tzinfo=UTC), get_snapshot())
    yield partial(_stored, with_prices(opened, listed))
    opened.close()


def _stored(store: Store, calls: Sequence[Drawn]) -> dict[str, dict[str, Any]]:
    """What calls become, by their number."""
    store.client.command("TRUNCATE TABLE pennytrace.calls")
    load_and_settle(store, [_span(number, call) for number, call in enumerate(calls)])
    return {row["session"]: row for row in spend(store)}


# A seed does not get simpler by shrinking.
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32))
def test_the_price_in_sql_is_the_price_of_genai_prices(stored: Stored, seed: int) -> None:
    # The draw is a seed and not the calls: a load has thousands, more than hypothesis can draw one by one in time.
    chance = Random(seed)
    calls = [drawn_call(chance) for _ in range(CALLS_A_DRAW)]

    found = stored(calls)

    assert len(found) == len(calls)
    for number, call in enumerate(calls):
        _compare(call, found[str(number)])


def _span(number: int, call: Drawn) -> Span:
    attributes: dict[str, str | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.model,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": call.cache_read,
        "gen_ai.usage.cache_write.input_tokens": call.cache_writes,
        "pennytrace.usage.cache_write_5m": call.cache_write_5m,
        "pennytrace.usage.cache_write_1h": call.cache_write_1h,
        "pennytrace.processing": call.processing,
        "gen_ai.usage.audio.input_tokens": call.audio_in,
        "gen_ai.usage.audio.cache_read.input_tokens": call.cache_audio,
        "gen_ai.usage.image.input_tokens": call.image_in,
        "gen_ai.usage.image.cache_read.input_tokens": call.cache_image,
        "gen_ai.usage.image.output_tokens": call.image_out,
        "gen_ai.usage.reasoning.output_tokens": call.reasoning,
        "gen_ai.usage.audio.output_tokens": call.audio_out,
        "openai.response.service_tier": call.tier,
        "pennytrace.usage.video_input": call.video_in,
        "pennytrace.usage.video_cache_read": call.cache_video,
        "pennytrace.usage.video_output": call.video_out,
        "session.id": str(number),
        **{f"pennytrace.usage.{name}": amount for name, amount in call.details.items() if amount},
    }
    made = otlp.span(attributes)
    made.start_time_unix_nano = int(call.at.timestamp()) * 10**9
    return made


def _compare(call: Drawn, row: dict[str, object]) -> None:
    asked = _context(call)
    expected = _oracle(call, asked)
    if expected is None:
        # The ids of some entries are not matched by their own rules: nothing prices a call by that name.
        assert row["status"] == "unpriced", (call, row)
        assert row["reason"] in ("unknown model", "fine-tuned model without a price of its own"), (call, row)
    elif not any(amount is not None for amount in vars(expected.model_price).values()):
        # On purpose: the list has the model without a price, for that day at least, and genai-prices answers 0.
        assert row["reason"] in (
            "model without a price",
            "no price for its meters at that date",
            "no price for service tier",
            "no price for batch processing",
        )
        assert row["cost"] is None, (call, row)
    elif asked and not _has_prices(expected.model, expected.provider.models, asked, call.at):
        # On purpose: genai-prices answers with the standard price for what it has no price for.
        reason = "no price for batch processing" if call.processing else "no price for service tier"
        assert (row["status"], row["reason"], row["cost"]) == ("unpriced", reason, None), call
    elif (
        call.provider == "groq" and call.model.startswith("whisper") and 0 < call.audio_milliseconds < 10_000
    ):
        # Not on purpose, and known: Groq bills 10 seconds at least, and no price here has a least quantity.
        assert row["cost"] == Dusty(expected.total_price * call.audio_milliseconds / 10_000), (call, row)
    elif row["status"] == "unpriced":
        # On purpose: nothing that was used has a price (that of another unit, as of pages, is none), and genai-prices
        # answers 0.
        assert row["reason"] in (
            "a meter has no price",
            "no price for its meters at that date",
            "no price for service tier",
            "no price for batch processing",
        ), (call, row)
        assert expected.total_price == 0, (call, row)
    else:
        assert row["cost"] == _without_dust(expected), (call, row, expected)


def _context(call: Drawn) -> dict[str, str]:
    fast = (
        call.provider == "anthropic" and call.tier == "fast"
    )  # there it is a speed, with the tier beside it
    tier = "" if call.tier == "default" else call.tier
    named = {"speed" if fast else "service_tier": tier, "processing": call.processing}
    return {key: value for key, value in named.items() if value}


def _oracle(call: Drawn, asked: dict[str, str]) -> PriceCalculation | None:
    usage = Usage(
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens + call.citations,
        output_citation_tokens=call.citations,
        input_video_tokens=call.video_in,
        cache_video_read_tokens=call.cache_video,
        output_video_tokens=call.video_out,
        input_characters=call.characters,
        audio_seconds=Decimal(call.audio_milliseconds) / 1000,
        input_audio_seconds=Decimal(call.audio_milliseconds) / 1000,
        input_document_pages=call.pages + call.annotated_pages,
        input_annotated_document_pages=call.annotated_pages,
        rerank_searches=call.searches,
        web_searches=call.web_searches,
        storage_searches=call.file_searches,
        code_executions=call.code_executions,
        cache_read_tokens=call.cache_read,
        cache_write_tokens=call.cache_writes,
        cache_write_5m_tokens=call.cache_write_5m,
        cache_write_1h_tokens=call.cache_write_1h,
        input_audio_tokens=call.audio_in,
        cache_audio_read_tokens=call.cache_audio,
        input_image_tokens=call.image_in,
        cache_image_read_tokens=call.cache_image,
        output_image_tokens=call.image_out,
        output_reasoning_tokens=call.reasoning,
        output_audio_tokens=call.audio_out,
    )
    try:
        return calc_price(
            usage,
            call.model,
            provider_id=call.provider,
            genai_request_timestamp=call.at,
            price_context=asked,
        )
    except LookupError:
        return None


def _has_prices(model: ModelInfo, own: list[ModelInfo], asked: dict[str, str], at: datetime) -> bool:
    return any(model is one for one in own) and any(
        variant.when == asked and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )


def _without_dust(expected: PriceCalculation) -> Decimal:
    """The oracle's total; to where 18 decimals a unit end where a price has more of them.

    With the dust of a float (0.18000000000000002 a million tokens), or by the hour: no decimal writes out a 3600th.
    """
    amounts: list[Decimal] = []
    for price in vars(expected.model_price).values():
        if isinstance(price, TieredPrices):
            amounts += [price.base, *(tier.price for tier in price.tiers)]
        elif price is not None:
            amounts.append(price)
    by_the_hour = any(
        name.endswith("_hours") and amount for name, amount in vars(expected.model_price).items()
    )
    if all(int(amount.as_tuple().exponent) >= -12 for amount in amounts) and not by_the_hour:
        return expected.total_price
    return Dusty(expected.total_price)


class Dusty(Decimal):
    """Equal to what differs by no more than the cut of a price at 18 decimals can make, for 10 million units."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decimal) and abs(Decimal(self) - other) <= Decimal("5e-12")

    __hash__ = Decimal.__hash__
