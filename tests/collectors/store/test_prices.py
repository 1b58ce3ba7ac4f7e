"""Every meter, image sizes, GPUs, currencies and money at risk: priced to the last digit, as a price file says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.store import Store, open_store
from tests.collectors import otlp
from tests.collectors.calls import load, load_and_settle, spend
from tests.collectors.store.pricelists import with_prices, written

Attributes: TypeAlias = Mapping[str, str | float]
USAGE = "pennytrace.usage."
SEEN: Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "me",
    "gen_ai.request.model": "m",
}
TEXT: Attributes = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
# A price key of the file, the quantity that it prices, and how many of it the price is for.
METERS = (
    ("mchars", "characters", 1_000_000),
    ("audio_minute", "audio_seconds", 60),
    ("video_second", "video_seconds", 1),
    ("image", "images", 1),
    ("page", "pages", 1),
    ("annotated_page", "annotated_pages", 1),
    ("search", "searches", 1),
    ("web_search", "web_searches", 1),
    ("file_search", "file_searches", 1),
    ("code_execution", "code_executions", 1),
    ("tool_call", "tool_calls", 1),
    ("trained_mtok", "trained_tokens", 1_000_000),
)
SMALLEST = Decimal("1e-18")
_lists = count()


@pytest.fixture(scope="module")
def store(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("prices") / "store"
    shutil.copytree(fresh_store, folder, symlinks=True)
    opened = open_store(f"chdb://{folder}")
    yield opened
    opened.close()


class Priced:
    """The store, pricing by what a price file says from now on."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder

    def __call__(self, text: str, *, identity: str = "") -> Store:
        return with_prices(self.store, written(identity or f"list {next(_lists)}", self.folder, text))


@pytest.fixture
def priced_by(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Priced:
    for table in ("calls", "models", "unresolved"):
        store.client.command(f"TRUNCATE TABLE pennytrace.{table}")
    return Priced(store, tmp_path_factory.mktemp("file"))


def _one(store: Store, *parts: Attributes) -> dict[str, Any]:
    """What a single call becomes."""
    made = _span(*parts)
    load_and_settle(store, [made])
    (row,) = spend(store, where=f"span_id = '{made.span_id.hex()}'")
    return row


def _span(*parts: Attributes, at: str = "2026-05-28") -> Span:
    attributes: dict[str, str | float] = dict(SEEN)
    for part in parts:
        attributes |= part
    made = otlp.span(attributes)
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    made.start_time_unix_nano = int(moment.timestamp()) * 10**9
    return made


def _costs(row: Mapping[str, Any]) -> dict[str, Decimal]:
    return dict(zip(row["meters"], row["costs"], strict=True))


# --- every meter --------------------------------------------------------------------------------------------


# A seed does not get simpler by shrinking.
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32))
def test_every_quantity_costs_its_price_to_the_last_digit(priced_by: Priced, seed: int) -> None:
    chance = Random(seed)
    prices = {key: Decimal(chance.randrange(1, 10**6)).scaleb(-chance.randrange(7)) for key, _, _ in METERS}
    file = "".join(f"{key} = {price:f}\n" for key, price in prices.items())
    store = priced_by(f'[[price]]\nmodel = "m"\ninput_mtok = 3\noutput_mtok = 15\n{file}')
    drawn = [
        {name: chance.randrange(1, 10**9) / 1000 for _, name, _ in METERS if chance.random() < 0.3}
        for _ in range(300)
    ]
    spans = [
        _span(TEXT, {USAGE + name: amount for name, amount in used.items()}, {"session.id": str(number)})
        for number, used in enumerate(drawn)
    ]

    store.client.command("TRUNCATE TABLE pennytrace.calls")
    load_and_settle(store, spans)

    rows = {row["session"]: row for row in spend(store)}
    for number, used in enumerate(drawn):
        row, tokens = rows[str(number)], {"input": Decimal("0.003"), "output": Decimal("0.0015")}
        expected = {name: _product(used[name], prices[key], per) for key, name, per in METERS if name in used}
        assert (row["status"], row["reason"]) == ("priced", "")
        assert _costs(row) == tokens | expected
        with localcontext(prec=60):
            assert row["cost"] == sum(row["costs"])


def _product(amount: float, price: Decimal, per: int) -> Decimal:
    """An amount times the price of one, which has 18 decimals, as the amount of money has."""
    with localcontext(prec=60):
        unit_price = (price / per).quantize(SMALLEST)
        return (Decimal(repr(amount)) * unit_price).quantize(SMALLEST, ROUND_HALF_UP)


def test_a_request_and_tokens_of_video_have_prices_of_their_own(priced_by: Priced) -> None:
    store = priced_by(
        '[[price]]\nmodel = "m"\ninput_mtok = 1\ninput_video_mtok = 4\noutput_mtok = 2\n'
        "output_video_mtok = 10\nrequest = 0.005\n"
    )

    row = _one(store, TEXT, {USAGE + "video_input": 600, USAGE + "video_output": 90})

    assert _costs(row) == {
        "input": Decimal("0.0004"),
        "input_video": Decimal("0.0024"),
        "output": Decimal("0.00002"),
        "output_video": Decimal("0.0009"),
        "requests": Decimal("0.005"),
    }


def test_a_quantity_below_a_microunit_is_none(priced_by: Priced) -> None:
    row = _one(priced_by('[[price]]\nmodel = "m"\naudio_minute = 1\n'), {USAGE + "audio_seconds": 4e-7})

    assert (row["status"], row["cost"], row["meters"]) == ("priced", Decimal(0), [])


def test_the_dearest_call_that_can_be_said_does_not_lose_its_load(priced_by: Priced) -> None:
    store = priced_by('[[price]]\nmodel = "m"\npage = 99999999\n')

    row = _one(store, {USAGE + "pages": 999_999_999_999})

    assert row["cost"] == Decimal(99_999_999) * 999_999_999_999


@pytest.mark.parametrize(
    ("operation", "used", "status"),
    [
        ("image_generation", {USAGE + "images": 2}, "priced"),
        ("speech", {USAGE + "characters": 40}, "priced"),
        ("transcription", {USAGE + "audio_seconds": 1.5}, "priced"),
        ("chat", {USAGE + "images": 2}, "partly_priced"),
        ("speech", {USAGE + "images": 2}, "partly_priced"),
    ],
)
def test_what_is_said_in_two_measures_is_billed_by_the_one_that_has_a_price(
    priced_by: Priced, operation: str, used: Attributes, status: str
) -> None:
    store = priced_by('[[price]]\nmodel = "m"\ninput_mtok = 1\noutput_mtok = 1\n')

    row = _one(store, TEXT, used, {"gen_ai.operation.name": operation})

    assert (row["status"], row["cost"]) == (status, Decimal("0.0011"))


def test_tokens_of_what_is_priced_by_another_measure_are_in_its_price(priced_by: Priced) -> None:
    store = priced_by('[[price]]\nmodel = "m"\nsearch = 0.002\n')

    ranked = _one(store, TEXT, {USAGE + "searches": 3}, {"gen_ai.operation.name": "rerank"})
    asked = _one(store, TEXT, {USAGE + "searches": 3})

    assert (ranked["status"], ranked["cost"]) == ("priced", Decimal("0.006"))
    assert (asked["status"], asked["reason"]) == ("partly_priced", "a meter has no price")


# --- sizes and qualities ------------------------------------------------------------------------------------

SIZED = """
[[price]]
model = "m"
image = 0.04
[[price]]
model = "m"
size = "1024x1792"
image = 0.08
[[price]]
model = "m"
size = "1024x1792"
quality = "hd"
image = 0.12
"""


@pytest.mark.parametrize(
    ("size", "quality", "variant", "cost"),
    [
        ("", "", "", Decimal("0.08")),
        ("1024x1792", "", "1024x1792", Decimal("0.16")),
        ("1024x1792", "standard", "1024x1792", Decimal("0.16")),
        ("1024x1792", "hd", "hd+1024x1792", Decimal("0.24")),
        ("9x9", "hd", "hd+9x9", None),
    ],
)
def test_images_are_priced_by_size_and_quality(
    priced_by: Priced, size: str, quality: str, variant: str, cost: Decimal | None
) -> None:
    said: Attributes = {
        "pennytrace.image.size": size,
        "pennytrace.image.quality": quality,
        USAGE + "images": 2,
    }

    row = _one(priced_by(SIZED), said)

    assert (row["variant"], row["cost"]) == (variant, cost)
    assert row["reason"] == ("" if cost else "no price for its size and quality")


def test_sizes_do_not_matter_where_no_price_depends_on_them(priced_by: Priced) -> None:
    store = priced_by('[[price]]\nmodel = "m"\nimage = 0.04\n')

    row = _one(store, {"pennytrace.image.size": "9x9", USAGE + "images": 2})

    assert (row["variant"], row["cost"]) == ("", Decimal("0.08"))


# --- GPUs ---------------------------------------------------------------------------------------------------

GPUS = """
[[gpu]]
pool = "h100-eu"
kind = "reserved"
per_gpu_hour = 1.8
[[gpu]]
pool = "h100-eu"
kind = "reserved"
per_gpu_hour = 3.6
valid_from = 2026-06-01
[[gpu]]
gpu = "NVIDIA H100*"
kind = "on_demand"
per_gpu_hour = 7.2
[[gpu]]
cpu = true
kind = "on_demand"
per_gpu_hour = 0.36
"""


@pytest.mark.parametrize(
    ("pool", "gpu", "at", "card", "cost"),
    [
        ("h100-eu", "NVIDIA H100 80GB HBM3", "2026-05-31", "gpu:h100-eu", "0.00625"),
        ("h100-eu", "NVIDIA H100 80GB HBM3", "2026-06-01", "gpu:h100-eu", "0.0125"),
        ("elsewhere", "NVIDIA H100 80GB HBM3", "2026-06-01", "gpu:NVIDIA H100*", "0.025"),
        ("", "cpu", "2026-06-01", "gpu:cpu", "0.00125"),
    ],
)
def test_the_time_of_a_gpu_prices_a_call_that_no_list_prices(
    priced_by: Priced, pool: str, gpu: str, at: str, card: str, cost: str
) -> None:
    store = priced_by(GPUS)
    spent: Attributes = {
        USAGE + "gpu_seconds": 12.5,
        "pennytrace.gpu.pool": pool,
        "pennytrace.gpu.model": gpu,
    }

    load_and_settle(store, [_span(TEXT, spent, {USAGE + "images": 1}, at=at)])

    (row,) = spend(store)
    assert (row["status"], row["reason"], row["rate_card"]) == ("priced", "", card)
    assert (row["cost"], _costs(row)["gpu_seconds"]) == (Decimal(cost), Decimal(cost))
    assert (row["gpu_pool"], row["gpu_model"]) == (pool, gpu)


def test_gpu_time_is_not_charged_on_top_of_tokens_that_have_a_price(priced_by: Priced) -> None:
    store = priced_by(GPUS + '[[price]]\nmodel = "m"\ninput_mtok = 1\noutput_mtok = 1\n')

    row = _one(store, TEXT, {USAGE + "gpu_seconds": 12.5, "pennytrace.gpu.pool": "h100-eu"})

    assert (row["status"], row["cost"]) == ("priced", Decimal("0.0011"))
    assert dict(zip(row["meters"], row["quantities"], strict=True))["gpu_seconds"] == Decimal("12.5")


def test_a_gpu_without_a_rate_is_said_and_priced_once_there_is_one(priced_by: Priced) -> None:
    spent: Attributes = {USAGE + "gpu_seconds": 12.5, "pennytrace.gpu.pool": "h100-eu"}
    store = priced_by("")

    before = _one(store, spent)
    priced_by(GPUS)

    assert (before["status"], before["reason"], before["cost"]) == ("unpriced", "no rate for its GPU", None)
    assert [row["cost"] for row in spend(store)] == [Decimal("0.00625")]


# --- currencies ---------------------------------------------------------------------------------------------

EURO = """
currency = "EUR"
[[price]]
model = "m"
currency = "USD"
input_mtok = 2
output_mtok = 0
"""
MILLION: Attributes = {"gen_ai.usage.input_tokens": 1_000_000}


def _rate(day: str, rate: str, base: str = "USD", quote: str = "EUR") -> str:
    return f'[[exchange_rate]]\nfrom = "{base}"\nto = "{quote}"\ndate = {day}\nrate = "{rate}"\n'


def _billed(store: Store) -> list[tuple[object, ...]]:
    columns = "cost, currency, billed_cost, billing_currency, exchange_rate"
    return [tuple(row.values()) for row in spend(store, columns)]


def test_each_amount_is_kept_in_its_own_currency_and_in_that_of_the_reports(priced_by: Priced) -> None:
    store = priced_by(EURO + _rate("2026-05-01", "0.9") + _rate("2026-06-01", "0.85"))
    days = ("2026-04-30T23:59:59", "2026-05-01", "2026-05-31T23:59:59", "2026-06-01")

    load_and_settle(store, [_span(MILLION, at=day) for day in days])

    two = Decimal(2)
    assert _billed(store) == [
        (two, "USD", None, "EUR", None),
        (two, "USD", Decimal("1.8"), "EUR", Decimal("0.9")),
        (two, "USD", Decimal("1.8"), "EUR", Decimal("0.9")),
        (two, "USD", Decimal("1.7"), "EUR", Decimal("0.85")),
    ]


def test_a_missing_rate_is_never_one_and_is_filled_in_when_it_comes(priced_by: Priced) -> None:
    store = priced_by(EURO)
    load_and_settle(store, [_span(MILLION)])
    before = _billed(store)

    # The list has become dearer as well: what the call was charged stays.
    priced_by(EURO.replace("input_mtok = 2", "input_mtok = 7") + _rate("2026-05-01", "0.9"))

    assert before == [(Decimal(2), "USD", None, "EUR", None)]
    assert _billed(store) == [(Decimal(2), "USD", Decimal("1.8"), "EUR", Decimal("0.9"))]


def test_a_rate_that_was_used_stays_when_another_is_stated(priced_by: Priced) -> None:
    store = priced_by(EURO + _rate("2026-05-01", "0.9"))
    load_and_settle(store, [_span(MILLION)])

    priced_by(EURO + _rate("2026-05-01", "0.5"))

    assert _billed(store) == [(Decimal(2), "USD", Decimal("1.8"), "EUR", Decimal("0.9"))]


def test_reports_in_another_currency_convert_what_is_stored(priced_by: Priced) -> None:
    store = priced_by(EURO + _rate("2026-05-01", "0.9"))
    load_and_settle(store, [_span(MILLION)])

    priced_by(EURO.replace("EUR", "CHF") + _rate("2026-05-01", "0.8", quote="CHF"))

    assert _billed(store) == [(Decimal(2), "USD", Decimal("1.6"), "CHF", Decimal("0.8"))]


def test_nothing_is_nothing_in_every_currency(priced_by: Priced) -> None:
    store = priced_by(EURO)

    load_and_settle(store, [_span({"gen_ai.usage.output_tokens": 9})])

    assert _billed(store) == [(Decimal(0), "USD", Decimal(0), "EUR", None)]


# --- money at risk, history ---------------------------------------------------------------------------------


def _at_risk(store: Store) -> list[tuple[object, ...]]:
    rows = store.client.query(
        "SELECT toString(day), provider, model, reason, candidate, calls, tokens, cost, currency "
        "FROM pennytrace.at_risk ORDER BY model, candidate"
    ).result_rows
    return [tuple(row) for row in rows]


def test_unpriced_calls_say_what_their_nearest_prices_would_have_made_of_them(priced_by: Priced) -> None:
    store = priced_by('[[price]]\nprovider = "me"\nmodel = "m-large"\ninput_mtok = 3\noutput_mtok = 5\n')
    unknown = {"gen_ai.request.model": "m-larger"}

    load_and_settle(store, [_span(TEXT, unknown) for _ in range(3)])
    risk = _at_risk(store)

    assert [row[:4] for row in risk] == [("2026-05-28", "me", "m-larger", "unknown model")]
    (found,) = risk
    assert str(found[4]).endswith("m-large")
    assert found[5:] == (3, 3300, Decimal("0.0105"), "USD")
    assert [row["cost"] for row in spend(store)] == [None] * 3


def test_a_tier_without_a_price_is_at_risk_at_the_standard_rate(priced_by: Priced) -> None:
    store = priced_by('[[price]]\nmodel = "m"\ninput_mtok = 3\noutput_mtok = 5\n')

    row = _one(store, TEXT, {"openai.response.service_tier": "priority"})

    assert row["reason"] == "no price for service tier"
    (found,) = _at_risk(store)
    assert found[3:] == ("no price for service tier", row["rate_card"], 1, 1100, Decimal("0.0035"), "USD")


def test_what_has_nothing_near_is_at_risk_without_a_figure(priced_by: Priced) -> None:
    store = priced_by("")

    load_and_settle(store, [_span(TEXT)])

    (found,) = _at_risk(store)
    assert found[4:] == ("", 1, 1100, None, "")


def test_the_history_of_prices_has_both_axes_of_time(priced_by: Priced) -> None:
    entry = '[[price]]\nmodel = "history"\ninput_mtok = {0}\nvalid_from = 2026-01-01\n'
    for price in (1, 2, 1):
        priced_by(entry.format(price))

    rows = (
        priced_by(entry.format(1))
        .client.query(
            "SELECT unit_price, toString(valid_from), layer, in_force, known_from FROM pennytrace.price_history "
            "WHERE rate_card LIKE '%history' AND meter = 'input' ORDER BY known_from"
        )
        .result_rows
    )

    assert [row[:4] for row in rows] == [
        (Decimal("0.000001"), "2026-01-01 00:00:00", "price file", 1),
        (Decimal("0.000002"), "2026-01-01 00:00:00", "price file", 0),
    ]
    assert rows[0][4] < rows[1][4]


# --- a start that was cut off -------------------------------------------------------------------------------


def test_models_that_were_not_all_resolved_again_are_resolved_at_the_next_start(
    priced_by: Priced, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = priced_by("")
    load_and_settle(store, [_span(TEXT)])
    file = '[[price]]\nmodel = "m"\ninput_mtok = 1\noutput_mtok = 1\n'

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pennytrace_collectors.store.settle._price_again", cut_off)
        with pytest.raises(KeyboardInterrupt):
            priced_by(file, identity="cut off")
    unpriced = [row["cost"] for row in spend(store)]
    priced_by(file, identity="cut off")

    assert unpriced == [None]
    assert [row["cost"] for row in spend(store)] == [Decimal("0.0011")]


def test_a_load_before_any_settle_is_not_priced_as_zero(priced_by: Priced) -> None:
    store = priced_by('[[price]]\nmodel = "m"\ninput_mtok = 1\noutput_mtok = 1\n')

    load(store, [_span(TEXT)])

    assert spend(store, "status, reason, cost") == [
        {"status": "unpriced", "reason": "unresolved", "cost": None}
    ]
