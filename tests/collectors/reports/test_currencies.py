"""Reports in one currency: exact conversion by the rate of the day, and what cannot be converted, named."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal, localcontext
from pathlib import Path
from random import Random

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collectors import otlp
from tests.collectors.reports.reporting import add_calls, printed, state_folder

RATE: str = "0.923456789012"
PRICES = f"""
currency = "EUR"

[[price]]
model = "dollars"
input_mtok = 1.1
output_mtok = 3.3
cache_read_mtok = 0.37

[[price]]
model = "euros"
currency = "EUR"
input_mtok = 2
output_mtok = 2

[[price]]
model = "yuan"
currency = "CNY"
input_mtok = 4
output_mtok = 12

[[price]]
model = "half"
input_mtok = 1

[[exchange_rate]]
from = "USD"
to = "EUR"
date = 2026-05-01
rate = "{RATE}"

[[exchange_rate]]
from = "CNY"
to = "EUR"
date = 2026-05-28
rate = "0.125"
"""
DAYS = (datetime(2026, 5, 20, 12, tzinfo=UTC), datetime(2026, 5, 28, 12, tzinfo=UTC))
MAY = ("--since", "2026-05-01", "--until", "2026-06-01")


def _call(model: str, when: datetime, input_tokens: int, output_tokens: int, cached: int = 0) -> Span:
    made = otlp.span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai_compatible",
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": input_tokens,
            "gen_ai.usage.output_tokens": output_tokens,
            "gen_ai.usage.cache_read.input_tokens": cached,
            "pennytrace.feature": "chat",
        }
    )
    made.start_time_unix_nano = int(when.timestamp()) * 10**9
    return made


def _calls() -> Iterator[Span]:
    yield _call("euros", DAYS[0], 1000, 0)
    yield _call("yuan", DAYS[0], 500_000, 0)
    yield _call("yuan", DAYS[1], 1_000_000, 0)
    yield _call("half", DAYS[1], 7, 7)
    random = Random(4)
    for _ in range(200):
        tokens = random.randrange(1, 1_000_000)
        yield _call("dollars", random.choice(DAYS), tokens, random.randrange(9999), random.randrange(tokens))


@pytest.fixture(scope="module")
def state(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return state_folder(fresh_store, tmp_path_factory.mktemp("state"), PRICES, _calls())


def _dollars() -> Iterator[tuple[Decimal, Decimal]]:
    """What each of the calls in dollars costs, and what that is in euros: cut at the last of 18 decimals."""
    for span in _calls():
        values = {entry.key: entry.value.int_value for entry in span.attributes}
        text = {entry.key: entry.value.string_value for entry in span.attributes}
        if text["gen_ai.request.model"] == "dollars":
            cached = values["gen_ai.usage.cache_read.input_tokens"]
            whole = values["gen_ai.usage.input_tokens"] - cached
            cost = (whole * Decimal("1.1") + cached * Decimal("0.37")) / 10**6
            cost += values["gen_ai.usage.output_tokens"] * Decimal("3.3") / 10**6
            yield cost, _in_euros(cost)


def _in_euros(dollars: Decimal) -> Decimal:
    with localcontext(prec=60):
        return (dollars * Decimal(RATE)).quantize(Decimal("1e-18"), ROUND_DOWN)


def test_amounts_are_converted_by_the_rate_of_their_day_and_both_are_told(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json", "--by", "model", *MAY))
    rows = {row["model"]: row for row in report["rows"]}
    in_dollars, in_euros = (sum(amounts) for amounts in zip(*_dollars(), strict=True))

    assert report["currency"] == "EUR"
    assert (Decimal(rows["dollars"]["cost"]), rows["dollars"]["currency"]) == (in_euros, "EUR")
    (amount,) = rows["dollars"]["amounts"]
    assert (amount["currency"], Decimal(amount["cost"]), Decimal(amount["billed_cost"])) == (
        "USD",
        in_dollars,
        in_euros,
    )
    assert (rows["euros"]["cost"], rows["euros"]["currency"]) == ("0.002", "EUR")


def test_a_day_without_a_rate_is_left_out_and_said(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(printed(capsys, state, "--json", "--by", "model", *MAY))
    (yuan,) = [row for row in report["rows"] if row["model"] == "yuan"]

    assert (yuan["cost"], yuan["currency"], yuan["calls"]) == ("0.5", "EUR", 2)
    assert yuan["amounts"] == [{"currency": "CNY", "cost": "6", "billed_cost": "0.5", "not_converted": "2"}]
    assert report["not_converted"] == [{"currency": "CNY", "calls": 1, "cost": "2", "since": "2026-05-20"}]
    table = " ".join(printed(capsys, state, *MAY).split())
    assert (
        "not in the sums: 1 call, 2.000 CNY, from 2026-05-20 on: no exchange rate from CNY to EUR on their days"
        in table
    )
    assert "in the currencies of their prices: " in table


def test_original_amounts_stay_in_their_own_currencies(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json", "--original", "--by", "model", *MAY))
    totals = {total["currency"]: Decimal(total["cost"]) for total in report["totals"]}

    assert totals == {
        "USD": sum(cost for cost, _ in _dollars()) + Decimal("0.000007"),
        "CNY": Decimal(6),
        "EUR": Decimal("0.002"),
    }
    assert report["not_converted"] == []


@pytest.mark.parametrize("by", ["model", "day", "feature", "tier,provider"])
def test_by_meter_the_parts_add_up_to_the_last_digit(
    state: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    whole = json.loads(printed(capsys, state, "--json", "--by", by, *MAY))
    parts = json.loads(printed(capsys, state, "--json", "--by", f"{by},meter", *MAY))
    names = by.split(",")

    for row in whole["rows"]:
        same = [part for part in parts["rows"] if all(part[name] == row[name] for name in names)]
        assert sum(Decimal(part["cost"]) for part in same if part["cost"]) == Decimal(row["cost"])
    assert parts["totals"] == whole["totals"]
    assert parts["not_converted"] == whole["not_converted"]


def test_a_meter_s_row_says_how_much_was_used_of_what(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json", "--by", "model,meter", *MAY))
    rows = {(row["model"], row["meter"]): row for row in report["rows"]}

    assert (rows["yuan", "input"]["quantity"], rows["yuan", "input"]["unit"]) == ("1500000", "tokens")
    assert "input_tokens" not in rows["yuan", "input"]
    assert "tokens" in printed(capsys, state, "--by", "meter", *MAY)


def test_a_meter_without_a_price_has_no_cost_rather_than_none_to_pay(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json", "--by", "model,meter", *MAY))
    costs = {row["meter"]: row["cost"] for row in report["rows"] if row["model"] == "half"}

    assert costs["output"] is None
    assert Decimal(costs["input"]) == (Decimal("0.000007") * Decimal(RATE)).quantize(
        Decimal("1e-18"), ROUND_DOWN
    )


def test_csv_has_both_amounts(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {
        line["model"]: line for line in csv.DictReader(printed(capsys, state, "--csv", *MAY).splitlines())
    }

    assert (lines["yuan"]["cost"], lines["yuan"]["currency"]) == ("0.5", "EUR")
    assert (lines["yuan"]["original_cost"], lines["yuan"]["not_converted"]) == ("6 CNY", "2 CNY")
    assert lines["euros"]["not_converted"] == ""


def test_a_rate_that_comes_later_counts_for_the_calls_that_waited_for_it(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = Path(shutil.copytree(state, tmp_path / "later", symlinks=True))
    add_calls(later, PRICES.replace("2026-05-28", "2026-05-01"), [])
    report = json.loads(printed(capsys, later, "--json", "--by", "model", *MAY))
    costs = {row["model"]: row["cost"] for row in report["rows"]}

    assert report["not_converted"] == []
    assert costs["yuan"] == "0.75"


def test_in_another_currency_nothing_is_added_one_to_one(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = Path(shutil.copytree(state, tmp_path / "later", symlinks=True))
    add_calls(later, PRICES.replace('currency = "EUR"', 'currency = "CNY"', 1), [])
    report = json.loads(printed(capsys, later, "--json", "--by", "model", *MAY))
    rows = {row["model"]: row for row in report["rows"]}

    assert report["currency"] == "CNY"
    assert (rows["yuan"]["cost"], rows["yuan"]["currency"]) == ("6", "CNY")
    assert {row["currency"] for row in report["rows"]} == {"CNY", None}
    assert {found["currency"]: found["calls"] for found in report["not_converted"]} == {"EUR": 1, "USD": 201}
    assert [(total["cost"], total["currency"]) for total in report["totals"]] == [("6", "CNY")]
