"""What a report says of calls without a price: why, and what the nearest models would have charged for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collectors import otlp
from tests.collectors.reports.reporting import printed, state_folder

NOON = datetime(2026, 5, 28, 12, tzinfo=UTC)
DAY = ("--since", "2026-05-28", "--until", "2026-05-29")
AFTER_TWO = ("--since", "2026-05-28T14:00", "--until", "2026-05-29")
SNAPSHOT = "gpt-4o-2031-01-01"
"""Of a known model, and unknown: it is not priced as its sibling, but it may well cost the same."""


def _calls() -> Iterator[Span]:
    for hour in range(4):
        for model in (SNAPSHOT, "zzzz-nothing-like-it"):
            made = otlp.span(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": model,
                    "gen_ai.response.model": model,
                    "gen_ai.usage.input_tokens": 1_000_000,
                    "gen_ai.usage.output_tokens": 100_000,
                }
            )
            made.start_time_unix_nano = (int(NOON.timestamp()) + hour * 3600) * 10**9
            yield made


@pytest.fixture(scope="module")
def state(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return state_folder(fresh_store, tmp_path_factory.mktemp("state"), "", _calls())


def test_unpriced_calls_say_what_their_nearest_models_would_have_cost(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json", *DAY))
    unpriced = {found["model"]: found for found in report["unpriced"]}
    candidates = {found["as"]: found for found in unpriced[SNAPSHOT]["would_have_cost"]}
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000)
    right = calc_price(usage, "gpt-4o", provider_id="openai", genai_request_timestamp=NOON).total_price

    assert 0 < len(candidates) <= 3
    assert Decimal(candidates["openai/gpt-4o"]["cost"]) == 4 * right
    assert {(found["calls"], found["currency"]) for found in candidates.values()} == {(4, "USD")}
    costs = [Decimal(found["cost"]) for found in unpriced[SNAPSHOT]["would_have_cost"]]
    assert costs == sorted(costs)


def test_money_at_risk_is_in_no_sum(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(printed(capsys, state, "--json", *DAY))

    assert [(row["cost"], row["currency"]) for row in report["rows"]] == [(None, None), (None, None)]
    assert [total["cost"] for total in report["totals"]] == [None]
    (found,) = [one["would_have_cost"] for one in report["unpriced"] if one["would_have_cost"]]
    assert report["at_risk"] == [
        {"currency": "USD", "calls": 4, "low": found[0]["cost"], "high": found[-1]["cost"]}
    ]


def test_the_table_says_the_bounds_and_who_sets_them(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, state, "--json", *DAY))["unpriced"]
    (cheapest, *_, dearest) = next(one["would_have_cost"] for one in found if one["model"] == SNAPSHOT)
    table = " ".join(printed(capsys, state, *DAY).split())

    assert "would have cost between " in table
    assert f"(as {cheapest['as']} … {dearest['as']})" in table
    assert "of those whole days" not in table


def test_a_period_that_cuts_a_day_says_that_money_at_risk_is_of_whole_days(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = " ".join(printed(capsys, state, *AFTER_TWO).split())

    assert "2 calls, 2,200,000 tokens of openai/gpt-4o-2031-01-01" in table
    assert "4 calls of those whole days would have cost between" in table
