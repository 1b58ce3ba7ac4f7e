"""Which row of a span is the call: the best evidence, at the price it was charged at, in whatever order it all came."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.store import Store, open_store
from tests.collectors import otlp
from tests.collectors.calls import load, load_and_settle, spend
from tests.collectors.store.pricelists import price_list, with_prices

CALLS = 30
TOKENS = "gen_ai.usage.input_tokens"
SOURCE = "pennytrace.usage.source"
# What is said of one call at different times, the better evidence last; each uses another number of tokens.
SAID: Sequence[Mapping[str, str | int]] = (
    {SOURCE: "missing"},
    {SOURCE: "missing", "error.type": "openai.RateLimitError"},
    {SOURCE: "estimated", TOKENS: 2_000_000},
    {SOURCE: "measured", TOKENS: 3_000_000},
)
KNOWN = ("status", "usage_source", "input_tokens", "cost")
BECOMES = (
    ("unpriced", "missing", 0, None),
    ("priced", "missing", 0, Decimal(0)),
    ("priced", "estimated", 2_000_000, Decimal(2)),
    ("priced", "measured", 3_000_000, Decimal(3)),
)
_runs = count()
patient = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True, slots=True)
class Job:
    """A span that is sent again and again, each time with what is known by then."""

    model: str
    trace_id: bytes
    span_id: bytes

    def said(self, evidence: int) -> Span:
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": self.model}
        return otlp.span({**attributes, **SAID[evidence]}, trace_id=self.trace_id, span_id=self.span_id)


@pytest.fixture(scope="module")
def store(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("evidence") / "store"
    shutil.copytree(fresh_store, folder, symlinks=True)
    opened = open_store(f"chdb://{folder}")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _empty(store: Store) -> None:
    for table in ("calls", "models", "unresolved", "batch_lines", "losses"):
        store.client.command(f"TRUNCATE TABLE pennytrace.{table}")


def _jobs(chance: Random, model: str) -> list[Job]:
    return [Job(model, chance.randbytes(16), chance.randbytes(8)) for _ in range(CALLS)]


def _rows(store: Store, model: str) -> dict[str, dict[str, Any]]:
    return {row["span_id"]: row for row in spend(store, where=f"model = '{model}'")}


@patient
@given(seed=st.integers(0, 2**32))
def test_any_order_any_repetition_and_any_settling_end_in_the_same_spend(store: Store, seed: int) -> None:
    chance, model = Random(seed), f"model{next(_runs)}"
    store = with_prices(store, price_list(f"one {model}", **{model: 1}))
    jobs = _jobs(chance, model)
    seen: dict[bytes, set[int]] = {job.span_id: set() for job in jobs}
    for _ in range(6):
        sent = [(job, chance.randrange(len(SAID))) for job in chance.choices(jobs, k=CALLS)]
        for job, evidence in sent:
            seen[job.span_id].add(evidence)
        load(store, [job.said(evidence) for job, evidence in sent])
        if chance.random() < 0.4:
            store.settle()
        if chance.random() < 0.2:
            store.client.command("OPTIMIZE TABLE pennytrace.calls FINAL")
    store.settle()

    found = _rows(store, model)

    assert {span_id.hex() for span_id, said in seen.items() if said} == set(found)
    for span_id, said in seen.items():
        if said:
            row = found[span_id.hex()]
            assert tuple(row[name] for name in KNOWN) == BECOMES[max(said)]


@patient
@given(seed=st.integers(0, 2**32))
def test_what_was_charged_stays_whatever_is_replayed_under_whatever_prices(store: Store, seed: int) -> None:
    chance, model = Random(seed), f"model{next(_runs)}"
    store = with_prices(store, price_list(f"first {model}", **{model: 1}))
    jobs = _jobs(chance, model)
    before: dict[str, dict[str, Any]] = {}
    for price in range(1, 7):
        if chance.random() < 0.6:
            store = with_prices(store, price_list(f"{price} {model}", **{model: price}))
        load(store, [job.said(chance.randrange(len(SAID))) for job in chance.choices(jobs, k=CALLS)])
        if chance.random() < 0.6:
            store.settle()
        after = _rows(store, model)
        for span_id, row in before.items():
            if (
                (row["status"], row["usage_source"], row["error_type"])
                == tuple(after[span_id][name] for name in ("status", "usage_source", "error_type"))
                and row["status"] == "priced"
                and row["rate_card"]
            ):  # or it failed, and cost nothing
                assert after[span_id] == row
        before = after


def test_a_replay_after_a_new_price_list_does_not_change_the_price_of_a_call(store: Store) -> None:
    made = otlp.span(dict(otlp.CALL) | {"gen_ai.request.model": "tiny", "gen_ai.response.model": "tiny"})
    cheap = with_prices(store, price_list("cheap", tiny=1))
    load_and_settle(cheap, [made])
    charged = spend(cheap)

    dear = with_prices(store, price_list("dear", tiny=5))
    load_and_settle(dear, [made])
    load_and_settle(dear, [otlp.span(dict(otlp.CALL) | {"gen_ai.response.model": "tiny"})])

    assert charged[0]["cost"] == Decimal("0.0015")
    assert [row["cost"] for row in spend(dear) if row["span_id"] == charged[0]["span_id"]] == [
        Decimal("0.0015")
    ]
    assert sum(row["cost"] for row in spend(dear)) == Decimal("0.0015") + Decimal("0.0075")


BATCH: Mapping[str, str | int] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "tiny",
    "pennytrace.usage.source": "measured",
}


def _batch(key: str) -> dict[str, Span]:
    """The total of a batch and its two lines."""
    of = {**BATCH, "pennytrace.batch": key}
    return {
        "total": otlp.span({**of, "pennytrace.batch.total": True, TOKENS: 3_000_000}),
        "first line": otlp.span({**of, TOKENS: 1_000_000}),
        "second line": otlp.span({**of, TOKENS: 2_000_000}),
    }


def test_a_batch_is_charged_by_its_lines_once_one_is_stored_in_any_order(store: Store) -> None:
    store = with_prices(store, price_list("one", tiny=1))
    orders = list(permutations(("total", "first line", "second line")))
    batches = [_batch(f"openai/batch_{number}") for number in range(len(orders))]

    charged = []
    for place in range(3):
        load_and_settle(
            store, [batch[order[place]] for batch, order in zip(batches, orders, strict=True)] * 2
        )
        rows = {row["span_id"]: row["cost"] for row in spend(store)}
        charged.append(
            [
                sum(rows.get(batch[part].span_id.hex(), Decimal(0)) for part in order)
                for batch, order in zip(batches, orders, strict=True)
            ]
        )
        store.client.command("OPTIMIZE TABLE pennytrace.calls FINAL")

    alone = {"total": Decimal(3), "first line": Decimal(1), "second line": Decimal(2)}
    assert charged[0] == [alone[order[0]] for order in orders]
    assert charged[1] == [sum(alone[part] for part in order[:2] if part != "total") for order in orders]
    assert charged[2] == [Decimal(3)] * len(orders)


def test_the_total_of_a_batch_without_lines_is_charged(store: Store) -> None:
    store = with_prices(store, price_list("one", tiny=1))

    load_and_settle(store, [_batch("openai/batch_1")["total"], _batch("openai/batch_2")["first line"]])

    assert sorted(row["cost"] for row in spend(store)) == [Decimal(1), Decimal(3)]


def test_what_is_left_out_can_be_seen_with_the_reason(store: Store) -> None:
    batch = _batch("openai/batch_1")
    load_and_settle(with_prices(store, price_list("one", tiny=1)), list(batch.values()))

    found = store.client.query(
        "SELECT span_id, cost, currency, left_out_because FROM pennytrace.left_out"
    ).result_rows

    assert found == [
        (
            batch["total"].span_id.hex(),
            Decimal(3),
            "USD",
            "the total of a batch whose calls are charged one by one",
        )
    ]


def test_a_lost_call_is_counted_once_and_is_no_call(store: Store) -> None:
    made = [
        otlp.span({"pennytrace.lost.calls": lost, "pennytrace.lost.reason": "spool full"}) for lost in (12, 3)
    ]

    for _ in range(2):
        load_and_settle(store, made)

    found = store.client.query(
        "SELECT service, reason, sum(calls) FROM pennytrace.losses FINAL GROUP BY ALL"
    ).result_rows
    assert found == [("shop", "spool full", 15)]
    assert spend(store) == []
    assert store.figures()["lost_calls"] == 15
    assert store.client.query("SELECT count() FROM pennytrace.unresolved").result_rows == [(0,)]
