"""For every pool and hour what GPUs did and what they idled comes to their bill, whichever way it is shared out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.store import Store
from tests.collectors.calls import load_and_settle, spend
from tests.collectors.store.gpus import HOUR, NOON, client, engine, provision, rows, total
from tests.collectors.store.pricelists import with_prices, written

# 32.77 / 8 / 3600 has no end: 0.001137847222222222 a second.
RATE = '[[gpu]]\ngpu = "H100*"\nkind = "reserved"\ninstance_per_hour = 32.77\ngpus = 8\n'
SECOND = Decimal("0.001137847222222222")
_POOLS = count()


@pytest.fixture
def priced(store: Store, tmp_path: Path) -> Callable[[str], Store]:
    return lambda text: with_prices(store, written(f"list {next(_POOLS)}", tmp_path, text))


def test_an_hour_is_what_calls_took_and_what_was_idle(priced: Callable[[str], Store]) -> None:
    store = priced(RATE)
    provision(store, NOON, 3600)
    provision(store, NOON, 1800, gpu="GPU-2")
    load_and_settle(store, [engine("a", 400), client("a"), engine("b", 200)])

    (hour,) = rows(store, "gpu_hours")
    assert (hour["hour"], hour["gpu_pool"], hour["gpu_model"], hour["gpus"]) == (
        _naive(NOON),
        "cellar",
        "H100",
        2,
    )
    assert (hour["provisioned_seconds"], hour["attributed_seconds"], hour["idle_seconds"]) == (
        5400,
        600,
        4800,
    )
    assert hour["unreported_seconds"] == 0
    assert (hour["rate_card"], hour["unit_price"], hour["currency"]) == ("gpu:H100*", SECOND, "USD")
    assert (hour["direct_cost"], hour["idle_cost"], hour["bill"]) == (
        600 * SECOND,
        4800 * SECOND,
        5400 * SECOND,
    )

    by_feature = {row["feature"]: row for row in rows(store, "gpu_spend")}
    assert {row["kind"] for row in by_feature.values()} == {"call"}
    search, unknown = by_feature["search"], by_feature[""]
    assert (search["team"], search["customer"], search["user"], search["session"]) == (
        "growth",
        "acme",
        "a",
        "s-1",
    )
    assert (search["calls"], search["input_tokens"], search["output_tokens"]) == (1, 1000, 200)
    assert (search["gpu_seconds"], search["prefill_seconds"], search["decode_seconds"]) == (400, 100, 300)
    assert (search["direct_cost"], unknown["direct_cost"]) == (400 * SECOND, 200 * SECOND)
    assert (search["idle_proportional"], unknown["idle_proportional"]) == (3200 * SECOND, 1600 * SECOND)
    assert (search["idle_even"], unknown["idle_even"]) == (2400 * SECOND, 2400 * SECOND)


def test_the_even_share_of_a_feature_goes_by_time_within_it(priced: Callable[[str], Store]) -> None:
    store = priced(RATE.replace("instance_per_hour = 32.77", "instance_per_hour = 28.8"))  # 0.001 a second
    provision(store, NOON, 3600)
    spans = [
        engine("a", 300, user__id="ann", pennytrace__feature="search"),
        engine("b", 100, user__id="bob", pennytrace__feature="search"),
        engine("c", 200, user__id="bob", pennytrace__feature="chat"),
    ]
    load_and_settle(store, spans)

    shares = {(row["feature"], row["user"]): row["idle_even"] for row in rows(store, "gpu_spend")}
    assert shares == {
        ("search", "ann"): Decimal("1.125"),
        ("search", "bob"): Decimal("0.375"),
        ("chat", "bob"): Decimal("1.5"),
    }


def test_the_idle_time_of_hours_that_nobody_used_is_a_row_of_its_own(priced: Callable[[str], Store]) -> None:
    store = priced(RATE)
    provision(store, NOON, 3600)
    provision(store, NOON, 3600, gpu="GPU-9", pool="attic", model="A100")
    store.client.command(
        "INSERT INTO pennytrace.unresolved SELECT 'gpu:', gpu_pool, gpu_model, '', min(start), max(time) "
        "FROM pennytrace.gpu_points GROUP BY gpu_pool, gpu_model"
    )
    store.settle()

    found = {row["gpu_pool"]: row for row in rows(store, "gpu_spend")}
    idle = found["cellar"]
    assert (idle["kind"], idle["calls"], idle["gpu_seconds"], idle["direct_cost"]) == ("idle", 0, 0, 0)
    assert idle["idle_proportional"] == idle["idle_even"] == 3600 * SECOND
    # Without a rate nothing is known of its money, and that is not zero.
    assert (found["attic"]["idle_proportional"], found["attic"]["direct_cost"]) == (None, None)
    (attic,) = rows(store, "gpu_hours", "gpu_pool = 'attic'")
    assert (attic["provisioned_seconds"], attic["bill"], attic["unit_price"], attic["currency"]) == (
        3600,
        None,
        None,
        "",
    )


def test_what_calls_took_and_nobody_reported_was_provisioned_all_the_same(
    priced: Callable[[str], Store],
) -> None:
    store = priced(RATE)
    provision(store, NOON, 10)
    load_and_settle(store, [engine("a", 400)])

    (hour,) = rows(store, "gpu_hours")
    assert (hour["provisioned_seconds"], hour["idle_seconds"], hour["unreported_seconds"]) == (400, 0, 390)
    assert (hour["bill"], hour["direct_cost"], hour["idle_cost"]) == (400 * SECOND, 400 * SECOND, 0)


def test_an_hour_has_the_rate_of_its_own_time_without_the_utilisation_that_calls_bear(
    priced: Callable[[str], Store],
) -> None:
    store = priced(
        '[[gpu]]\npool = "cellar"\nkind = "reserved"\nper_gpu_hour = 3.6\nutilisation = 0.5\n'
        '[[gpu]]\npool = "cellar"\nkind = "reserved"\nper_gpu_hour = 7.2\nutilisation = 0.5\nvalid_from = 2026-06-02\n'
    )
    tomorrow = NOON + 24 * HOUR
    load_and_settle(store, [engine("a", 100), engine("b", 100, when=tomorrow)])

    hours = rows(store, "gpu_hours")
    assert [hour["unit_price"] for hour in hours] == [Decimal("0.001"), Decimal("0.002")]
    assert [hour["direct_cost"] for hour in hours] == [Decimal("0.1"), Decimal("0.2")]
    assert [row["cost"] for row in spend(store)] == [Decimal("0.2"), Decimal("0.4")]


def test_a_call_that_ran_across_full_hours_is_cut_there_to_the_microsecond(
    priced: Callable[[str], Store],
) -> None:
    store = priced(RATE)
    half_past = NOON + HOUR / 2
    took = 2 * 3600
    span = engine("", 1.000001, when=half_past, took_s=took, pennytrace__gpu__source="process")
    load_and_settle(store, [span])

    work = rows(store, "gpu_work", order="hour")
    assert [row["hour"] for row in work] == [_naive(NOON + n * HOUR) for n in range(3)]
    assert [row["gpu_seconds"] for row in work] == [Decimal("0.25"), Decimal("0.5"), Decimal("0.250001")]
    assert total(work, "decode_seconds") == Decimal("0.75")
    assert [row["calls"] for row in work] == [1, 0, 0]
    assert [row["input_tokens"] for row in work] == [1000, 0, 0]


def test_a_call_that_ends_with_the_hour_is_in_that_hour_alone(priced: Callable[[str], Store]) -> None:
    store = priced(RATE)
    load_and_settle(
        store, [engine("a", 2, when=NOON + HOUR / 2, took_s=1800), engine("b", 3, when=NOON + HOUR)]
    )

    assert [(row["hour"], row["gpu_seconds"]) for row in rows(store, "gpu_work", order="hour")] == [
        (_naive(NOON), 2),
        (_naive(NOON + HOUR), 3),
    ]


class _Call(NamedTuple):
    """A call: its GPU seconds, when it began after noon, how long it took, and who spent it, where its client tells."""

    seconds: float
    start_s: int
    took_s: float
    feature: str
    user: str
    has_client: bool


_SECONDS = st.decimals("0.000001", "5000", places=6).map(float)
_CALLS = st.lists(
    st.builds(
        _Call,
        seconds=_SECONDS,
        start_s=st.integers(0, 3 * 3600 - 1),
        took_s=st.floats(0.001, 7200),
        feature=st.sampled_from(["search", "chat", ""]),
        user=st.sampled_from(["ann", "bob"]),
        has_client=st.booleans(),
    ),
    max_size=8,
)
_HELD = st.lists(
    st.tuples(st.sampled_from(["GPU-1", "GPU-2"]), st.integers(0, 3), st.integers(1, 3600)), max_size=5
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=_CALLS, held=_HELD, price=st.sampled_from(["32.77", "0.000001", "98765.4321"]))
def test_direct_and_idle_come_to_the_bill_and_the_shares_to_the_idle(
    priced: Callable[[str], Store], calls: list[_Call], held: list[tuple[str, int, int]], price: str
) -> None:
    store = priced(RATE.replace("32.77", price))
    pool = f"pool {next(_POOLS)}"
    load_and_settle(store, [span for number, call in enumerate(calls) for span in _told(call, pool, number)])
    for gpu, hour, seconds in held:
        provision(store, NOON + hour * HOUR, seconds, gpu=gpu, pool=pool)

    hours = {row["hour"]: row for row in rows(store, "gpu_hours", f"gpu_pool = '{pool}'")}
    shares = defaultdict(list)
    for row in rows(store, "gpu_spend", f"gpu_pool = '{pool}'"):
        shares[row["hour"]].append(row)

    assert set(shares) == set(hours)
    for hour, found in hours.items():
        assert found["provisioned_seconds"] == found["attributed_seconds"] + found["idle_seconds"]
        assert total(shares[hour], "gpu_seconds") == found["attributed_seconds"]
        # A pool without any call has no rate here: in a collector the points themselves see to it as they come in.
        assert (found["bill"] is None) == (not calls)
        if calls:
            _assert_it_comes_to_the_bill(found, shares[hour])
    took = sum((Decimal(str(call.seconds)) for call in calls), Decimal(0))
    assert total(list(hours.values()), "attributed_seconds") == took
    if calls:
        _assert_calls_are_charged_what_hours_cost(store, pool, total(list(hours.values()), "direct_cost"))


def _told(call: _Call, pool: str, number: int) -> list[Span]:
    when, response = NOON + timedelta(seconds=call.start_s), f"{pool} {number}"
    told = engine(response, call.seconds, when=when, took_s=call.took_s, pennytrace__gpu__pool=pool)
    by_client = client(
        response, when=when, took_s=call.took_s, pennytrace__feature=call.feature, user__id=call.user
    )
    return [told, by_client] if call.has_client else [told]


def _assert_it_comes_to_the_bill(hour: dict[str, Any], shares: list[dict[str, Any]]) -> None:
    assert hour["direct_cost"] + hour["idle_cost"] == hour["bill"]
    assert total(shares, "direct_cost") == hour["direct_cost"]
    for policy in ("idle_proportional", "idle_even"):
        assert total(shares, policy) == hour["idle_cost"]
        assert min(row[policy] for row in shares) >= 0


def _assert_calls_are_charged_what_hours_cost(store: Store, pool: str, direct: Decimal) -> None:
    """To the last digit, but for the calls that were cut at a full hour: each part of them is rounded."""
    charged = spend(store, where=f"gpu_pool = '{pool}'")
    assert {row["status"] for row in charged} == {"priced"}
    work = rows(store, "gpu_work", f"gpu_pool = '{pool}'")
    cut = {row["span_id"] for row in work if not row["calls"]}
    parts = sum(row["span_id"] in cut for row in work)
    assert abs(total(charged, "cost") - direct) <= Decimal("1e-18") * parts


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
