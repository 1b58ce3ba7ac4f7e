"""`pennytrace report` as people and machines use it, over a real store."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace import cli
from pennytrace.errors import ConfigurationError
from pennytrace_collectors.checks import check
from pennytrace_collectors.reports.period import read_moment, read_period
from pennytrace_collectors.store import open_store
from tests.collectors import otlp
from tests.collectors.calls import load_and_settle
from tests.collectors.reports.reporting import printed, state_folder

NOW_NS = int(datetime.now(UTC).timestamp()) * 10**9
PRICES = """
[[price]]
model = "tiny"
input_mtok = 1
output_mtok = 3

[[price]]
model = "euro"
currency = "EUR"
input_mtok = 2
output_mtok = 2
"""


def _spans() -> Iterator[Span]:
    for feature, model, count, tokens in (
        ("search", "tiny", 3, 1000),
        ("search", "gpt-4o", 2, 100),
        ("chat", "tiny", 1, 7),
        ("chat", "euro", 1, 500_000),
        ("chat", "nobody-knows", 4, 10),
        ("=cmd|'/c calc'!A1", "nobody-knows", 1, 1),
    ):
        for number in range(count):
            attributes = dict(otlp.CALL) | {
                "gen_ai.request.model": model,
                "gen_ai.response.model": model,
                "gen_ai.usage.input_tokens": tokens,
                "gen_ai.usage.output_tokens": tokens,
                "pennytrace.feature": feature,
            }
            made = otlp.span(attributes)
            made.start_time_unix_nano = NOW_NS - number * 10**9
            yield made


def _said_besides() -> Iterator[Span]:
    """Two calls with their provider's own figure, one of which has none of ours, and 15 calls that were lost."""
    routed = dict(otlp.CALL) | {
        "gen_ai.operation.name": "rerank",
        "gen_ai.usage.input_tokens": 0,
        "gen_ai.usage.output_tokens": 1_000_000,
        "pennytrace.cost.reported": "3.5",
    }
    yield otlp.span(routed | {"gen_ai.response.model": "tiny"})
    yield otlp.span(
        routed | {"gen_ai.response.model": "nobody-knows", "gen_ai.request.model": "nobody-knows"}
    )
    for lost, reason in ((12, "spool full"), (2, "spool full"), (1, "too large")):
        yield otlp.span({"pennytrace.lost.calls": lost, "pennytrace.lost.reason": reason})


@pytest.fixture(scope="module")
def state(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return state_folder(fresh_store, tmp_path_factory.mktemp("state"), PRICES, [*_spans(), *_said_besides()])


def test_json_holds_exact_money_and_its_coverage(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(printed(capsys, state, "--json"))
    rows = {(row["feature"], row["model"]): row for row in report["rows"]}

    search = rows["search", "tiny"]
    assert (search["calls"], search["input_tokens"], search["output_tokens"]) == (3, 3000, 3000)
    assert (search["cost"], search["currency"]) == ("0.012", "USD")
    assert search["coverage"]["calls"] == search["coverage"]["tokens"] == "1"
    assert rows["search", "gpt-4o"]["cost"] == "0.0025"
    assert report["currency"] == "USD"


def test_unknown_money_is_null_and_counted_in_the_coverage(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json", "--by", "model"))
    (unknown,) = [row for row in report["rows"] if row["model"] == "nobody-knows"]

    assert (unknown["calls"], unknown["cost"], unknown["currency"]) == (5, None, None)
    assert (unknown["coverage"]["calls"], unknown["coverage"]["unpriced_calls"]) == ("0", 5)
    assert report["unpriced"][0] | {"tokens": 82} == {
        "provider": "openai",
        "model": "nobody-knows",
        "reason": "unknown model",
        "calls": 5,
        "tokens": 82,
        "would_have_cost": [],
    }


def test_money_without_an_exchange_rate_is_in_no_sum_and_named(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json"))
    (euro,) = [row for row in report["rows"] if row["model"] == "euro"]

    assert (euro["calls"], euro["cost"], euro["currency"], euro["coverage"]["calls"]) == (1, None, None, "1")
    assert euro["amounts"] == [{"currency": "EUR", "cost": "2", "billed_cost": None, "not_converted": "2"}]
    (total,) = report["totals"]
    assert (total["calls"], total["cost"], total["currency"]) == (12, "0.014528", "USD")
    today = datetime.fromtimestamp(NOW_NS / 10**9, UTC).date().isoformat()
    assert report["not_converted"] == [{"currency": "EUR", "calls": 1, "cost": "2", "since": today}]
    assert "no exchange rate from EUR to USD" in " ".join(printed(capsys, state).split())


def test_original_rows_add_up_to_the_totals_and_currencies_are_not_mixed(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for by in ("feature,model", "feature", "model", "day", "provider,team"):
        report = json.loads(printed(capsys, state, "--json", "--original", "--by", by))
        totals = {total["currency"]: total for total in report["totals"]}

        assert set(totals) == {"USD", "EUR"}
        for currency, total in totals.items():
            costs = [Decimal(row["cost"]) for row in report["rows"] if row["currency"] == currency]
            assert sum(costs) == Decimal(total["cost"])
        assert sum(total["calls"] for total in totals.values()) == 12


def test_calls_without_a_price_stand_with_the_priced_ones_of_the_same_row(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(printed(capsys, state, "--json", "--original", "--by", "provider"))

    assert [(row["currency"], row["calls"]) for row in report["rows"]] == [("EUR", 6), ("USD", 6)]


def test_csv_has_one_line_a_row_and_no_formulas(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(csv.DictReader(printed(capsys, state, "--csv").splitlines()))

    assert {line["feature"] for line in lines} == {"search", "chat", "'=cmd|'/c calc'!A1"}
    assert [line["cost"] for line in lines if line["model"] == "tiny"] == ["0.012", "0.000028"]
    assert [line["cost"] for line in lines if line["model"] == "nobody-knows"] == ["", ""]


def test_the_table_says_what_is_not_in_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = printed(capsys, state)

    assert "LLM spend by feature, model" in table
    assert "2.000 EUR" in printed(capsys, state, "--original")
    assert "unpriced 5." in table
    assert "openai/nobody-knows: unknown model" in table
    assert "Prices: genai-prices" in table


BESIDES = ("--since", "2026-05-28", "--until", "2026-05-29")


def test_what_was_lost_stands_beside_the_coverage(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not in the sums: 14 calls were lost by shop: spool full" in printed(capsys, state, *BESIDES)
    assert "1 call was lost by shop: too large" in printed(capsys, state, *BESIDES)
    assert json.loads(printed(capsys, state, "--json", *BESIDES))["lost"] == [
        {"service": "shop", "environment": "", "reason": "spool full", "calls": 14},
        {"service": "shop", "environment": "", "reason": "too large", "calls": 1},
    ]
    assert "lost" not in printed(capsys, state)


def test_the_providers_figures_are_compared_with_ours_where_there_are_both(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "the provider states 3.500 USD for 1 call that are 3.000 USD in the sums"

    assert said in printed(capsys, state, *BESIDES)
    assert json.loads(printed(capsys, state, "--json", *BESIDES))["reported"] == {
        "calls": 1,
        "reported_cost": "3.5",
        "computed_cost": "3",
        "currency": "USD",
    }
    assert "states" not in printed(capsys, state)


def test_the_doctor_tells_of_calls_that_were_lost(
    fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(fresh_store, tmp_path / "store", symlinks=True)
    store = open_store(f"chdb://{tmp_path / 'store'}")
    lost = otlp.span({"pennytrace.lost.calls": 12, "pennytrace.lost.reason": "spool full"})
    lost.start_time_unix_nano = NOW_NS
    load_and_settle(store, [lost])
    store.close()
    monkeypatch.setenv("PENNYTRACE_STATE", str(tmp_path))

    found = [finding.what for finding in check() if finding.state == "warning"]

    assert "in the last 7 days, 12 calls were lost by shop: spool full" in found


def test_a_period_without_calls_says_so(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No calls in this period." in printed(
        capsys, state, "--since", "2024-01-01", "--until", "2024-02-01"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "colour"], "--by takes some of feature, model"),
        (["--by", "meter,model,meter"], "--by names meter twice"),
        (["--since", "yesterday"], "--since must be an age such as 90m"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "--until must be later"),
    ],
)
def test_a_wrong_option_is_answered_with_what_is_right(
    state: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert cli.main(["report", "--state", str(state), *options]) == 1
    assert said in capsys.readouterr().err


def test_without_a_store_it_says_where_it_looked_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", "--state", str(tmp_path / "none")]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "none") in said
    assert "pennytrace collect" in said
    assert not (tmp_path / "none").exists()


def test_moments_are_read_in_utc() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    assert read_moment("7d", option="--since", now=now) == now - timedelta(days=7)
    assert read_moment("90m", option="--since", now=now) == now - timedelta(minutes=90)
    assert read_moment("2026-11-01", option="--since", now=now) == datetime(2026, 11, 1, tzinfo=UTC)
    assert read_moment("2026-11-01T02:00+02:00", option="--since", now=now) == datetime(
        2026, 11, 1, tzinfo=UTC
    )
    with pytest.raises(ConfigurationError):
        read_period("999999w", None, now=now)
