"""What a call says besides its tokens: kept, priced where there is a price, and never taken for free."""

from __future__ import annotations

import csv
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.store import Store, open_store
from tests.collectors import otlp
from tests.collectors.calls import load_and_settle, one_call, spend
from tests.collectors.store.pricelists import price_list, with_prices

CALL = dict(otlp.CALL)
SPEECH: dict[str, str | float] = {
    "gen_ai.operation.name": "speech",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "pennytrace.usage.characters": 4000,
}
CLAUDE: dict[str, str | float] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-fable-5-2",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
}


@pytest.mark.parametrize(
    "operation",
    [
        "image_generation",
        "video_generation",
        "speech",
        "transcription",
        "translation",
        "moderation",
        "rerank",
        "ocr",
        "fine_tuning",
        "realtime",
        "decision",
    ],
)
def test_every_operation_that_costs_money_is_a_call(store: Store, operation: str) -> None:
    assert one_call(store, CALL | {"gen_ai.operation.name": operation})["operation"] == operation


def test_all_quantities_are_kept_whole_and_broken_known_and_unknown(store: Store) -> None:
    row = one_call(
        store,
        CALL
        | {
            "pennytrace.usage.tool_prompt": 7,
            "pennytrace.usage.audio_seconds": 12.35,
            "pennytrace.usage.moon_phases": 0,
            "pennytrace.usage.source": "estimated",
            "pennytrace.usage.method": "tiktoken:o200k_base",
        },
    )

    assert row["details"] == {
        "tool_prompt": Decimal(7),
        "audio_seconds": Decimal("12.35"),
        "moon_phases": Decimal(0),
    }
    assert (row["usage_source"], row["usage_method"]) == ("estimated", "tiktoken:o200k_base")


@pytest.mark.parametrize(
    ("quantities", "status", "reason"),
    [
        ({"pennytrace.usage.images": 2}, "partly_priced", "a meter has no price"),
        ({"pennytrace.usage.moon_phases": 0.5}, "partly_priced", "no meter for moon_phases"),
        ({"pennytrace.usage.images": 0}, "priced", ""),
        ({"pennytrace.usage.rejected_prediction": 9}, "priced", ""),
        ({"pennytrace.usage.images": -1}, "unpriced", "absurd usage"),
        ({"pennytrace.usage.audio_seconds": float("nan")}, "unpriced", "absurd usage"),
        ({"pennytrace.usage.audio_seconds": float("-inf")}, "unpriced", "absurd usage"),
        ({"pennytrace.usage.trained_tokens": 2**62}, "unpriced", "absurd usage"),
        ({"pennytrace.usage.images": 10**12}, "unpriced", "absurd usage"),
        ({"pennytrace.usage.images": 10**12 - 1}, "partly_priced", "a meter has no price"),
    ],
)
def test_what_is_billed_and_no_meter_counts_is_never_free(
    store: Store, quantities: dict[str, str | float], status: str, reason: str
) -> None:
    row = one_call(store, CALL | quantities)

    assert (row["status"], row["reason"]) == (status, reason)
    assert row["cost"] == (None if status == "unpriced" else Decimal("0.006"))


def test_a_call_that_used_nothing_but_such_a_quantity_is_unpriced(store: Store) -> None:
    row = one_call(store, SPEECH)

    assert (row["status"], row["reason"], row["cost"]) == ("unpriced", "a meter has no price", None)
    assert row["usage_source"] == "measured"


def test_the_table_of_quantities_says_what_is_billed(store: Store) -> None:
    text = (
        files("pennytrace_collectors.store").joinpath("sql", "dialects", "quantities.csv").read_text("utf-8")
    )
    table = list(csv.DictReader(text.splitlines()))
    spans = [
        otlp.span(CALL | {f"pennytrace.usage.{row['name']}": 0.5, "user.id": row["name"]}) for row in table
    ]

    load_and_settle(store, spans)

    # These have a price for gpt-4o, citations that of the output; the time of a GPU is in the price of the tokens.
    priced = {row["name"] for row in table if row["billed"] == "no"} | {
        *("web_searches", "file_searches", "trained_tokens", "citation_tokens", "gpu_seconds")
    }
    expected = {row["name"]: "priced" if row["name"] in priced else "partly_priced" for row in table}
    assert {row["user"]: row["status"] for row in spend(store, "user, status")} == expected
    assert {row["billed"] for row in table} == {"yes", "no"}


def test_cache_writes_are_priced_by_how_long_they_last(store: Store) -> None:
    row = one_call(
        store,
        CLAUDE
        | {
            "gen_ai.usage.cache_write.input_tokens": 600,
            "pennytrace.usage.cache_write_5m": 100,
            "pennytrace.usage.cache_write_1h": 400,
        },
    )

    # claude-fable-5-2: $8 a million, $10 written to the cache, $16 for an hour, $40 output
    assert dict(zip(row["meters"], row["costs"], strict=True)) == {
        "input": Decimal("0.0032"),
        "cache_write": Decimal("0.001"),
        "cache_write_5m": Decimal("0.001"),
        "cache_write_1h": Decimal("0.0064"),
        "output": Decimal("0.008"),
    }
    assert sum(row["quantities"]) == 1200


def test_parts_that_exceed_the_cache_writes_are_a_fault(store: Store) -> None:
    row = one_call(store, CLAUDE | {"pennytrace.usage.cache_write_1h": 5})

    assert (row["status"], row["reason"]) == ("unpriced", "usage details exceed their total")


@pytest.mark.parametrize(
    "batch", [{"pennytrace.processing": "batch"}, {"openai.response.service_tier": "batch"}]
)
def test_a_batch_is_priced_at_the_batch_rate(store: Store, batch: dict[str, str | float]) -> None:
    row = one_call(store, CLAUDE | batch)

    assert (row["status"], row["variant"], row["cost"]) == ("priced", "batch", Decimal("0.008"))


@pytest.mark.parametrize(
    "changed",
    [
        {"gen_ai.request.model": "sonar", "gen_ai.provider.name": "perplexity"},
        {"openai.response.service_tier": "priority"},
    ],
)
def test_without_a_batch_price_a_batch_is_unpriced(store: Store, changed: dict[str, str | float]) -> None:
    row = one_call(store, CLAUDE | {"pennytrace.processing": "batch"} | changed)

    assert (row["status"], row["reason"], row["cost"]) == ("unpriced", "no price for batch processing", None)
    assert row["processing"] == "batch"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0.00014", Decimal("0.00014")),
        ("1.4e-4", Decimal("0.00014")),
        ("0", Decimal(0)),
        ("a lot", None),
        ("nan", None),
        ("", None),
    ],
)
def test_the_providers_own_figure_stands_beside_ours(store: Store, text: str, kept: Decimal | None) -> None:
    row = one_call(store, CALL | {"pennytrace.cost.reported": text})

    assert (row["reported_cost"], row["cost"]) == (kept, Decimal("0.006"))


def test_the_providers_own_figure_does_not_make_a_call_priced(store: Store) -> None:
    row = one_call(
        store,
        CALL
        | {"gen_ai.response.model": "x", "gen_ai.request.model": "x"}
        | {"pennytrace.cost.reported": "1"},
    )

    assert (row["reported_cost"], row["cost"], row["status"]) == (Decimal(1), None, "unpriced")


@pytest.mark.parametrize(
    ("said", "kept"), [({}, 1), ({"pennytrace.attempts": 3}, 3), ({"pennytrace.attempts": 999}, 255)]
)
def test_attempts_are_counted(store: Store, said: dict[str, str | float], kept: int) -> None:
    assert one_call(store, CALL | said)["attempts"] == kept


def test_a_hashed_user_is_a_user_unless_there_is_a_plain_one(store: Store) -> None:
    assert one_call(store, CALL | {"user.hash": "f00"})["user"] == "f00"
    assert one_call(store, CALL | {"user.hash": "f00", "user.id": "u1"})["user"] == "u1"


def test_a_job_of_days_keeps_its_time(store: Store) -> None:
    made = otlp.span()
    made.end_time_unix_nano = made.start_time_unix_nano + 3 * 86_400 * 10**9

    load_and_settle(store, [made])

    assert [row["duration_us"] for row in spend(store)] == [3 * 86_400 * 10**6]


def test_what_is_priced_again_keeps_all_that_was_said(store: Store) -> None:
    made = otlp.span(
        CALL
        | {
            "gen_ai.response.model": "tiny",
            "gen_ai.usage.cache_write.input_tokens": 9,
            "pennytrace.usage.cache_write_1h": 4,
            "pennytrace.usage.images": 1,
            "pennytrace.usage.method": "stated",
            "pennytrace.cost.reported": "0.5",
            "pennytrace.attempts": 2,
            "pennytrace.batch": "b1",
            "pennytrace.batch.total": True,
        }
    )
    given = ("details", "usage_method", "reported_cost", "attempts", "batch_key", "batch_total", "quantities")
    before = one_of(with_prices(store, price_list("none")), made)

    after = one_of(with_prices(store, price_list("one", tiny=1)), made)

    assert (before["status"], after["status"]) == ("unpriced", "partly_priced")
    assert [after[name] for name in given] == [before[name] for name in given]


def one_of(store: Store, made: Span) -> dict[str, object]:
    load_and_settle(store, [made])
    (row,) = spend(store)
    return row


def test_a_users_own_price_knows_the_hour_long_cache(folder: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nmodel = "tiny"\ninput_mtok = 1\ncache_write_mtok = 2\ncache_write_1h_mtok = 4\noutput_mtok = 0\n'
    )
    store = open_store(f"chdb://{folder}", price_files=[prices])
    try:
        row = one_call(
            store,
            CLAUDE
            | {
                "gen_ai.request.model": "tiny",
                "gen_ai.usage.cache_write.input_tokens": 1000,
                "pennytrace.usage.cache_write_5m": 500,
                "pennytrace.usage.cache_write_1h": 500,
            },
        )
    finally:
        store.close()

    assert row["cost"] == Decimal("0.003")
