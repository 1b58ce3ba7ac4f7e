"""A call of a self-hosted model is charged once, at its client, with the GPU time that its engine measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.errors import StoreUnavailable
from pennytrace_collectors.store import Store
from pennytrace_collectors.store.months import close_month, read_closed_months
from pennytrace_collectors.store.reprice import Terms, reprice
from pennytrace_collectors.store.selection import Selection
from tests.collectors.calls import load, load_and_settle, spend
from tests.collectors.store.gpus import HOUR, NOON, client, engine, rows
from tests.collectors.store.pricelists import with_prices, written

RATE = '[[gpu]]\npool = "cellar"\nkind = "on_demand"\nper_gpu_hour = 3.6\n'  # 0.001 a second
TOKENS = RATE + '[[price]]\nprovider = "openai"\nmodel = "llama"\ninput_mtok = 1\noutput_mtok = 5\n'
BECAUSE = "its GPU time is counted at the client's call"
_NUMBERS = count()


@pytest.fixture
def priced(store: Store, tmp_path: Path) -> Callable[[str], Store]:
    return lambda text: with_prices(store, written(f"list {next(_NUMBERS)}", tmp_path, text))


@pytest.fixture
def gpus(priced: Callable[[str], Store]) -> Store:
    return priced(RATE)


def _left_out(store: Store) -> list[dict[str, Any]]:
    return rows(store, "left_out", f"left_out_because = '{BECAUSE.replace(chr(39), chr(92) + chr(39))}'")


def test_the_clients_call_takes_the_gpu_time_and_the_engines_record_is_left_out(gpus: Store) -> None:
    told = engine("chatcmpl-1", 2.5, pennytrace__usage__queue_seconds=0.5, pennytrace__gpu__preemptions=1)
    load_and_settle(gpus, [told, client("chatcmpl-1")])

    (row,) = spend(gpus)
    assert (row["provider"], row["feature"], row["gpu_source"]) == ("openai", "search", "joined")
    assert (row["gpu_pool"], row["gpu_model"], row["gpu_count"]) == ("cellar", "H100", 2)
    assert (row["gpu_method"], row["gpu_confidence"], row["gpu_preemptions"]) == (
        "steps:roofline",
        "medium",
        1,
    )
    assert row["details"] == {
        "gpu_seconds": Decimal("2.5"),
        "gpu_prefill_seconds": Decimal("0.625"),
        "gpu_decode_seconds": Decimal("1.875"),
        "queue_seconds": Decimal("0.5"),
    }
    assert (row["cost"], row["status"], row["reason"]) == (Decimal("0.0025"), "priced", "")
    assert row["rate_card"] == "gpu:cellar"
    (record,) = _left_out(gpus)
    assert record["span_id"] == told.span_id.hex()
    stored = "feature, feature_source, team, customer, user, session, tags, service"
    (who,) = gpus.client.query(
        f"SELECT {stored} FROM pennytrace.calls FINAL WHERE gpu_source = 'engine'"
    ).result_rows
    assert who == ("search", "code", "growth", "acme", "chatcmpl-1", "s-1", {"plan": "free"}, "shop")


def test_without_a_client_an_engines_record_stands_alone(gpus: Store) -> None:
    load_and_settle(
        gpus, [engine("chatcmpl-1", 2.5), client("chatcmpl-2"), client("", gen_ai__response__id="")]
    )

    alone = spend(gpus, where="gpu_source = 'engine'")
    assert [(row["provider"], row["model"], row["cost"]) for row in alone] == [
        ("vllm", "llama", Decimal("0.0025"))
    ]
    assert {row["gpu_source"] for row in spend(gpus)} == {"engine", ""}
    assert _left_out(gpus) == []


def test_the_records_of_all_hours_of_a_call_are_one_charge(gpus: Store) -> None:
    long = client("chatcmpl-1", when=NOON - HOUR / 2, took_s=2 * 3600)
    parts = [
        engine("chatcmpl-1", 1.25, when=NOON - HOUR / 2, took_s=1800),
        engine("chatcmpl-1", 2, when=NOON, took_s=3600),
        engine("chatcmpl-1", 0.75, when=NOON + HOUR, took_s=1800),
    ]
    for span in (parts[1], long, parts[0], parts[2]):
        load_and_settle(gpus, [span])

    (row,) = spend(gpus)
    assert (row["details"]["gpu_seconds"], row["cost"]) == (Decimal(4), Decimal("0.004"))
    assert len(_left_out(gpus)) == 3


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.permutations([0, 1, 2, 3, 0, 1, 3, "settle", "settle"]))
def test_any_order_of_arrival_and_any_replay_is_one_charge(gpus: Store, steps: list[int | str]) -> None:
    response = f"chatcmpl-order-{next(_NUMBERS)}"
    spans = [
        client(response),
        engine(response, 1.25),
        engine(response, 1.5),
        # A framework's span of the same call: it says neither the usage nor the feature.
        client(response, pennytrace__usage__source="missing", pennytrace__feature="", when=NOON - HOUR / 60),
    ]
    for step in steps:
        if isinstance(step, int):
            load(gpus, [spans[step]])
        else:
            gpus.settle()
    gpus.settle()

    before = rows(gpus, "calls FINAL", f"user = '{response}'", "span_id")
    charged = spend(gpus, where=f"user = '{response}'")
    gpus.settle()

    assert [row["cost"] for row in charged if row["feature"]] == [Decimal("0.00275")]
    assert sum(row["details"].get("gpu_seconds", 0) for row in charged) == Decimal("2.75")
    assert len(before) == 4
    assert rows(gpus, "calls FINAL", f"user = '{response}'", "span_id") == before


def test_a_call_that_tokens_price_keeps_the_price_it_was_charged_at(priced: Callable[[str], Store]) -> None:
    store = priced(TOKENS)
    load_and_settle(store, [client("chatcmpl-1")])
    charged = spend(store)[0]
    assert charged["cost"] == Decimal("0.002")

    dear = priced(TOKENS.replace("input_mtok = 1", "input_mtok = 100"))
    load_and_settle(dear, [engine("chatcmpl-1", 2.5)])

    (row,) = spend(dear)
    assert (row["cost"], row["rate_card"], row["catalog"]) == (
        charged["cost"],
        charged["rate_card"],
        charged["catalog"],
    )
    by_meter = dict(zip(row["meters"], zip(row["quantities"], row["costs"], strict=True), strict=True))
    assert by_meter["gpu_seconds"] == (Decimal("2.5"), Decimal(0))
    assert sum(row["costs"]) == row["cost"]
    assert len(_left_out(dear)) == 1


def test_a_call_that_was_joined_late_costs_what_it_costs_when_it_is_priced_anew(
    priced: Callable[[str], Store],
) -> None:
    store = priced(TOKENS)
    load_and_settle(store, [client("a"), client("b")])
    load_and_settle(store, [engine("a", 2.5), engine("b", 1)])
    joined = spend(store)
    made = _reprice(store)

    assert made.comparison.changed_calls == 0
    assert spend(store) == joined


def test_a_stream_that_was_cut_off_has_the_engines_tokens(gpus: Store) -> None:
    said = engine("chatcmpl-1", 2.5, gen_ai__usage__cache_read__input_tokens=400, error__type="abort")
    cut = client("chatcmpl-1", pennytrace__usage__source="missing", error__type="CancelledError")
    _without_usage(cut)
    load_and_settle(gpus, [cut, said])

    (row,) = spend(gpus)
    assert (row["usage_source"], row["usage_method"]) == ("measured", "engine")
    assert (row["input_tokens"], row["output_tokens"]) == (1000, 200)
    used = dict(zip(row["meters"], row["quantities"], strict=True))
    assert used == {"input": 600, "cache_read": 400, "output": 200, "gpu_seconds": Decimal("2.5")}
    assert (row["cost"], row["status"]) == (Decimal("0.0025"), "priced")


def test_the_engines_tokens_are_priced_where_a_list_prices_tokens(priced: Callable[[str], Store]) -> None:
    store = priced(TOKENS)
    cut = client("chatcmpl-1", pennytrace__usage__source="missing")
    _without_usage(cut)
    load_and_settle(store, [cut])
    assert spend(store)[0]["cost"] is None
    load_and_settle(store, [engine("chatcmpl-1", 2.5)])

    (row,) = spend(store)
    assert (row["cost"], row["rate_card"], row["usage_method"]) == (
        Decimal("0.002"),
        "file:openai/llama",
        "engine",
    )


def test_what_was_estimated_gives_way_and_what_was_measured_does_not(gpus: Store) -> None:
    estimated = client("a", gen_ai__usage__output_tokens=190, pennytrace__usage__source="estimated")
    load_and_settle(gpus, [engine("a", 1), estimated])
    load_and_settle(gpus, [engine("b", 1), client("b", gen_ai__usage__output_tokens=190)])

    found = {row["user"]: (row["output_tokens"], row["usage_method"]) for row in spend(gpus)}
    assert found == {"a": (200, "engine"), "b": (190, "")}


def test_a_better_record_of_the_client_is_joined_as_well(gpus: Store) -> None:
    poor = client("chatcmpl-1", pennytrace__usage__source="missing", pennytrace__feature="")
    _without_usage(poor)
    load_and_settle(gpus, [poor])
    load_and_settle(
        gpus, [engine("chatcmpl-1", 2.5, gen_ai__usage__output_tokens=0, pennytrace__usage__source="missing")]
    )
    better = client("chatcmpl-1")
    better.trace_id, better.span_id = poor.trace_id, poor.span_id
    load_and_settle(gpus, [better])

    (row,) = spend(gpus)
    assert (row["feature"], row["cost"], row["gpu_source"]) == ("search", Decimal("0.0025"), "joined")
    (work,) = rows(gpus, "gpu_work")
    assert (work["feature"], work["gpu_seconds"]) == ("search", Decimal("2.5"))


def test_only_the_better_of_two_clients_records_takes_the_gpu_time(gpus: Store) -> None:
    framework = client("chatcmpl-1", pennytrace__feature="", when=NOON - timedelta(seconds=1))
    load(gpus, [framework], "opentelemetry.instrumentation.langchain")
    load_and_settle(gpus, [engine("chatcmpl-1", 2.5)])
    assert [row["cost"] for row in spend(gpus)] == [Decimal("0.0025")]
    load_and_settle(gpus, [client("chatcmpl-1")])

    (row,) = spend(gpus)
    assert (row["feature"], row["cost"], row["gpu_source"]) == ("search", Decimal("0.0025"), "joined")
    (repeat,) = rows(gpus, "left_out", "counted_at_span_id != ''")
    assert (repeat["span_id"], repeat["counted_at_span_id"]) == (framework.span_id.hex(), row["span_id"])


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(hours=5), timedelta(days=40)])
def test_a_record_that_comes_after_many_settles_is_joined(gpus: Store, ago: timedelta) -> None:
    when = datetime.now(UTC) - ago - timedelta(seconds=5)
    load_and_settle(gpus, [engine("a", 2.5, when=when), client("b", when=when)])
    # As if all of it had been a long time ago.
    gpus.client.command("INSERT INTO pennytrace.gpu_joins VALUES (now64(3) + INTERVAL 5 SECOND)")
    for _ in range(3):
        gpus.settle()
    load_and_settle(gpus, [client("a", when=when - timedelta(seconds=2)), engine("b", 1.5, when=when)])

    assert {row["user"]: row["cost"] for row in spend(gpus)} == {
        "a": Decimal("0.0025"),
        "b": Decimal("0.0015"),
    }


@pytest.mark.parametrize("after", range(3))
def test_a_settle_that_was_cut_off_is_done_by_the_next(gpus: Store, after: int) -> None:
    load(gpus, [client("chatcmpl-1"), engine("chatcmpl-1", 2.5)])
    gpus.settle()
    load(gpus, [engine("chatcmpl-1", 1)])
    with pytest.raises(StoreUnavailable):
        replace(gpus, client=cast(Client, _Failing(gpus.client, after))).settle()
    gpus.settle()

    (row,) = spend(gpus)
    assert (row["cost"], row["feature"]) == (Decimal("0.0035"), "search")
    assert [row["feature"] for row in _left_out(gpus)] == ["search", "search"]


class _Failing:
    """A store that goes away after so many statements that write."""

    def __init__(self, client: Any, after: int) -> None:
        self._client, self._left = client, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def command(self, statement: str, **more: Any) -> Any:
        if statement.startswith("--"):
            self._write()
        return self._client.command(statement, **more)

    def insert(self, *what: Any, **more: Any) -> Any:
        self._write()
        return self._client.insert(*what, **more)

    def _write(self) -> None:
        if not self._left:
            raise OperationalError("gone")
        self._left -= 1


def test_a_request_that_was_aborted_in_the_queue_costs_nothing(gpus: Store) -> None:
    aborted = engine("a", 0, gen_ai__usage__output_tokens=0, error__type="abort")
    load_and_settle(gpus, [aborted, engine("b", 0), client("b")])

    assert [(row["status"], row["cost"]) for row in spend(gpus)] == [("priced", 0), ("priced", 0)]


def test_a_model_whose_tokens_have_a_price_is_never_priced_by_its_gpu_first(
    priced: Callable[[str], Store],
) -> None:
    store = priced(TOKENS.replace('"openai"', '"vllm"'))
    load_and_settle(store, [engine("a", 1, gen_ai__request__model="other", gen_ai__response__model="other")])
    load_and_settle(store, [engine("b", 1)])

    (row,) = spend(store, where="model = 'llama'")
    assert (row["rate_card"], row["cost"]) == ("file:vllm/llama", Decimal("0.002"))


def test_a_gpu_without_a_rate_is_said_of_the_joined_call_and_priced_once_there_is_one(
    priced: Callable[[str], Store],
) -> None:
    store = priced("")
    load_and_settle(store, [engine("chatcmpl-1", 2.5), client("chatcmpl-1")])
    (row,) = spend(store)
    assert (row["status"], row["reason"], row["cost"]) == ("unpriced", "no rate for its GPU", None)

    (row,) = spend(priced(RATE))
    assert (row["status"], row["cost"], row["feature"]) == ("priced", Decimal("0.0025"), "search")


def test_a_process_that_measured_its_own_call_is_charged_by_itself(gpus: Store) -> None:
    own = engine("chatcmpl-1", 2.5, pennytrace__gpu__source="process", pennytrace__feature="batch")
    load_and_settle(gpus, [own, client("chatcmpl-1")])

    assert {row["feature"]: row["cost"] for row in spend(gpus)} == {
        "batch": Decimal("0.0025"),
        "search": None,
    }


def test_what_is_joined_after_a_month_was_closed_is_charged_and_shown(gpus: Store) -> None:
    load_and_settle(gpus, [client("a"), client("b"), engine("b", 1)])
    closed = close_month(gpus, "2026-06")
    assert closed.closed.costs == {"USD": Decimal("0.001")}
    load_and_settle(gpus, [engine("a", 2.5)])

    (month,) = read_closed_months(gpus)
    assert (month.now.costs, month.now.calls, month.closed.calls) == ({"USD": Decimal("0.0035")}, 2, 2)
    assert month.arrived_calls == 1


def test_no_correction_touches_what_is_left_out_and_joined_calls_keep_what_they_have(
    priced: Callable[[str], Store],
) -> None:
    store = priced(RATE)
    load_and_settle(store, [engine("chatcmpl-1", 2.5), client("chatcmpl-1")])
    joined, left_out = spend(store)[0], _left_out(store)

    made = _reprice(priced(RATE.replace("3.6", "7.2")))

    assert (made.calls, made.comparison.changed_calls) == (1, 1)
    (row,) = spend(store)
    assert row["cost"] == Decimal("0.005")
    kept = [name for name in row if name not in ("costs", "cost", "billed_cost", "catalog")]
    assert {name: row[name] for name in kept} == {name: joined[name] for name in kept}
    assert _left_out(store) == left_out


def test_without_engines_nothing_is_noted(gpus: Store) -> None:
    load_and_settle(gpus, [client("chatcmpl-1")])

    assert rows(gpus, "gpu_records") == rows(gpus, "gpu_joins") == []


def _without_usage(span: Span) -> None:
    for place in reversed(range(len(span.attributes))):
        if span.attributes[place].key.startswith("gen_ai.usage."):
            del span.attributes[place]


def _reprice(store: Store) -> Any:
    work = reprice(
        store,
        Selection(since=NOON - 24 * HOUR, until=NOON + 24 * HOUR),
        Terms(catalog=store.catalog.identity),
        correction="c1",
    )
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value
