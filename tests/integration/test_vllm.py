"""From one line in an app to the spend by feature, on a real engine: every reading agrees with what vLLM counted.

The app has one `pennytrace.init()`, uses the real openai client and knows nothing of prices. What is right comes from
the engine (its usage in responses, its own counters) and from genai-prices' arithmetic.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from genai_prices import Usage
from genai_prices.types import ModelPrice

from tests.collectors.service.process import REAL, Collector, collector
from tests.instrumentation.processes import run

from .engine import MODEL, Engine
from .reading import (
    Record,
    ask_the_board,
    board_queries,
    exact,
    metrics,
    records,
    report_json,
    sql,
    wait_until_priced,
)

pytestmark = pytest.mark.engines

APP: Final = Path(__file__).parent / "apps" / "vllm_shop.py"
PRICE: Final = {"input_mtok": "0.07", "cache_read_mtok": "0.013", "output_mtok": "0.41"}
# One is left before its end, the other never begins: the engine has no usage of them to compare with.
UNFINISHED: Final = {"misspelt", "abandoned"}


@dataclass(frozen=True, slots=True)
class Used:
    """What calls used; cached tokens are a part of the input."""

    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int

    @property
    def cost(self) -> Decimal:
        """What genai-prices makes of it. Its prices are per token, so the sum may be priced like a call."""
        price = ModelPrice(**{name: Decimal(amount) for name, amount in PRICE.items()})
        usage = Usage(
            input_tokens=self.input_tokens,
            cache_read_tokens=self.cached_tokens,
            output_tokens=self.output_tokens,
        )
        return price.calc_price(usage)["total_price"]


@dataclass(frozen=True, slots=True)
class Told:
    """What the app told of one feature."""

    seen: Mapping[str, Any]

    @property
    def by_engine(self) -> Used:
        """What the engine counted while the feature ran."""
        return Used(**self.seen["engine"])

    @property
    def by_responses(self) -> Used | None:
        """The sum of the usage that the app saw; None when not every response showed it."""
        usages = self.seen["usages"]
        if len(usages) < self.seen["calls"]:
            return None
        fields = ("input_tokens", "cached_tokens", "output_tokens")
        return Used(self.seen["calls"], *(sum(usage[name] for usage in usages) for name in fields))

    @property
    def used(self) -> Used:
        """What is billed: what the responses say, where they show it."""
        return self.by_responses or self.by_engine


@dataclass(frozen=True, slots=True)
class Scene:
    """The app has run with pennytrace and without; the collector has priced its calls and still runs."""

    told: Mapping[str, Told]
    without: Mapping[str, Told]
    collector: Collector
    state: Path
    sql: Client

    @property
    def used(self) -> dict[str, Used]:
        """What was used, by feature, of all calls that came to their end."""
        return {feature: told.used for feature, told in self.told.items() if feature not in UNFINISHED}

    @property
    def calls(self) -> int:
        """How many calls the app made."""
        return sum(used.calls for used in self.used.values()) + len(UNFINISHED)


@pytest.fixture(scope="module")
def scene(vllm: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    prices, state = folder / "prices.toml", folder / "state"
    fields = "\n".join(f"{name} = {amount}" for name, amount in PRICE.items())
    prices.write_text(f'[[price]]\nmodel = "{MODEL}"\n{fields}\n', "utf-8")
    without = run_app(vllm, {"PENNYTRACE_DISABLED": "true"})
    with (
        collector(REAL, state, "--sql", "127.0.0.1:0", "--prices", str(prices)) as running,
        sql(running.found) as client,
    ):
        told = run_app(vllm, {"OTEL_EXPORTER_OTLP_ENDPOINT": running.found.http or ""})
        scene = Scene(told, without, running, state, client)
        wait_until_priced(running, client, calls=scene.calls)
        yield scene
        assert running.stop() == 0


def run_app(vllm: Engine, settings: Mapping[str, str]) -> dict[str, Told]:
    """Run the app as a process of its own, and return what it told, by feature."""
    environment = {"OPENAI_BASE_URL": vllm.url, "OPENAI_API_KEY": "none", **settings}
    done = run([sys.executable, APP], environment=environment, seconds=180)
    assert done.returncode == 0, f"{done.stderr}\n{vllm.last_words()}"
    assert done.stderr == ""
    found = map(json.loads, done.stdout.splitlines())
    return {seen["feature"]: Told(seen) for seen in found}


def test_what_responses_say_is_what_the_engine_counts(scene: Scene) -> None:
    """Else it could not be what the report is compared with."""
    both = {
        feature: told for feature, told in scene.told.items() if told.by_responses and told.seen["usages"]
    }
    drafts = both.pop("drafts")
    assert both.keys() == {"vllm_shop.recommend", "translate", "summaries", "/basket"}
    for told in both.values():
        assert told.by_responses == told.by_engine
    # Three answers to one prompt: billed once, worked on three times.
    assert (drafts.used.input_tokens * 3, drafts.used.output_tokens) == (
        drafts.by_engine.input_tokens,
        drafts.by_engine.output_tokens,
    )


def test_the_report_is_what_vllm_counted_by_feature_and_model(scene: Scene) -> None:
    rows = {(row["feature"], row["model"]): row for row in report_json(scene.state)["rows"]}
    finished = {key: row for key, row in rows.items() if key[0] not in UNFINISHED}
    assert {
        feature: (row["calls"], row["input_tokens"], row["output_tokens"])
        for (feature, _), row in finished.items()
    } == {
        feature: (used.calls, used.input_tokens, used.output_tokens) for feature, used in scene.used.items()
    }
    assert {model for _, model in finished} == {MODEL}
    assert rows.keys() - finished.keys() == {("misspelt", "tiny-lama"), ("abandoned", MODEL)}


def test_the_money_is_genai_prices_arithmetic_to_the_last_digit(scene: Scene) -> None:
    rows = {row["feature"]: row for row in report_json(scene.state)["rows"]}
    assert {feature: exact(rows[feature]["cost"]) for feature in scene.used} == {
        feature: used.cost for feature, used in scene.used.items()
    }
    assert all(rows[feature]["currency"] == "USD" for feature in scene.used)
    assert all(rows[feature]["coverage"]["calls"] == "1" for feature in scene.used)


def test_what_the_engine_had_in_its_cache_is_priced_as_that(scene: Scene) -> None:
    cached = {
        row["feature"]: row["tokens"]
        for row in records(
            scene.sql,
            "SELECT feature, sum(quantity) AS tokens FROM spend ARRAY JOIN meters AS meter, quantities AS quantity "
            "WHERE meter = 'cache_read' GROUP BY feature",
        )
    }
    assert cached == {
        feature: used.cached_tokens for feature, used in scene.used.items() if used.cached_tokens
    }
    assert {"faq", "summaries"} <= cached.keys()


def test_the_sql_port_agrees_with_the_report(scene: Scene) -> None:
    by_sql = {
        row.pop("feature"): row
        for row in records(
            scene.sql,
            "SELECT feature, model, count() AS calls, sum(input_tokens) AS input_tokens, "
            "sum(output_tokens) AS output_tokens, sum(cost) AS cost FROM spend GROUP BY feature, model",
        )
    }
    reported = report_json(scene.state)["rows"]
    assert len(reported) == len(by_sql)
    for row in reported:
        found = by_sql[row["feature"]]
        assert {**found, "cost": exact(row["cost"])} == {name: row[name] for name in found} | {
            "cost": found["cost"]
        }


def test_every_query_of_the_board_runs_and_its_totals_are_the_reports(scene: Scene) -> None:
    (total,) = report_json(scene.state)["totals"]
    money = pytest.approx(float(total["cost"]), rel=1e-12)
    shown = {query.path: ask_the_board(scene.sql, query.path) for query in board_queries()}
    assert shown["spend/spend"] == [{"Spend": money, "Calls priced": 1}]
    (behind,) = shown["spend/behind_it"]
    assert (behind["Calls"], behind["Tokens"]) == (
        scene.calls,
        total["input_tokens"] + total["output_tokens"],
    )
    assert behind["Calls estimated"] == pytest.approx(1 / scene.calls)
    for path in ("by_feature", "by_model"):
        rows = shown[f"spend/{path}"]
        assert sum(row["Spend"] or 0 for row in rows) == money
        assert sum(row["Calls"] for row in rows) == scene.calls
    for path in ("feature_over_time", "model_over_time"):
        assert sum(row["spend"] for row in shown[f"spend/{path}"]) == money
    assert shown["spend/unpriced"] == []
    assert {row["value"] for row in shown["variables/feature"]} == scene.told.keys()
    assert shown["variables/currency"] == [{"currency": "USD"}]


def test_the_board_shows_of_one_feature_what_the_report_says_of_it(scene: Scene) -> None:
    reported = {row["Feature"]: row for row in ask_the_board(scene.sql, "spend/by_feature")}
    for feature, used in scene.used.items():
        row = reported[feature]
        assert (row["Calls"], row["Input tokens"], row["Output tokens"]) == (
            used.calls,
            used.input_tokens,
            used.output_tokens,
        )
        assert row["Spend"] == pytest.approx(float(used.cost), rel=1e-12)


def test_the_collectors_metrics_count_each_call_once(scene: Scene) -> None:
    found = metrics(scene.collector)
    counted = ("received_spans_total", "journaled_spans_total", "loaded_spans_total")
    assert {found[name] for name in counted} == {scene.calls}
    assert found["rejected_spans_total"] == found["load_failures_total"] == found["journal_bytes"] == 0


def test_the_app_gets_the_answers_and_streams_that_it_gets_without_us(scene: Scene) -> None:
    """Texts, usage and what chunks carry; not how many chunks, because vLLM joins tokens that are read late."""
    one_by_one = ("vllm_shop.recommend", "search", "translate", "variants", "/basket")
    compared = ("calls", "texts", "usage_chunks", "empty_chunks", "usages")
    for feature in one_by_one:
        ours, theirs = scene.told[feature].seen, scene.without[feature].seen
        assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}
    silent = scene.told["search"].seen
    assert (silent["calls"], silent["usage_chunks"], silent["empty_chunks"]) == (2, 0, 0)
    assert scene.told["translate"].seen["usage_chunks"] == 2


def test_a_call_inside_a_span_of_the_app_joins_its_trace(scene: Scene) -> None:
    (row,) = records(
        scene.sql,
        "SELECT lower(hex(trace_id)) AS trace_id, lower(hex(parent_span_id)) AS parent, feature_source "
        "FROM calls FINAL WHERE feature = '/basket'",
    )
    seen = scene.told["/basket"].seen
    assert row == {"trace_id": seen["trace_id"], "parent": seen["span_id"], "feature_source": "route"}


def test_an_abandoned_stream_is_an_estimated_call(scene: Scene) -> None:
    (row,) = (row for row in report_json(scene.state)["rows"] if row["feature"] == "abandoned")
    assert (row["calls"], row["coverage"]["estimated_calls"]) == (1, 1)
    delivered = sum(map(len, scene.told["abandoned"].seen["texts"]))
    assert row["output_tokens"] == -(-delivered // 4)
    assert row["input_tokens"] > 0
    assert exact(row["cost"]) == Used(1, row["input_tokens"], 0, row["output_tokens"]).cost
    others = (row for row in report_json(scene.state)["rows"] if row["feature"] != "abandoned")
    assert all(row["coverage"]["estimated_calls"] == 0 for row in others)


def test_a_call_that_the_engine_refused_is_there_and_costs_nothing(scene: Scene) -> None:
    assert scene.told["misspelt"].seen["error"] == "NotFoundError"
    rows = records(
        scene.sql,
        "SELECT input_tokens, output_tokens, cost, error_type, reason FROM spend WHERE feature = 'misspelt'",
    )
    assert rows == [
        {
            "input_tokens": 0,
            "output_tokens": 0,
            "cost": 0,
            "error_type": "openai.NotFoundError",
            "reason": "failed before it was billed",
        }
    ]


def test_who_spent_it_is_kept_with_every_call(scene: Scene) -> None:
    def who(feature: str) -> list[Record]:
        return records(
            scene.sql,
            "SELECT DISTINCT service, feature_source AS source, team, customer, user, streamed FROM spend "
            f"WHERE feature = '{feature}'",
        )

    nobody = {"service": "vllm_shop", "team": "", "customer": "", "user": ""}
    assert who("vllm_shop.recommend") == [{**nobody, "source": "function", "streamed": 0}]
    assert who("search") == [{**nobody, "source": "tag", "streamed": 1, "team": "growth", "customer": "acme"}]
    assert who("chat") == [{**nobody, "source": "tag", "streamed": 1, "user": "u-7"}]
