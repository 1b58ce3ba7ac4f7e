"""Closed months: what they came to is kept, their prices stay, and what comes later is seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.errors import OrderError
from pennytrace_collectors.store import Store, connect, parse_address
from pennytrace_collectors.store.months import ClosedMonth, close_month, closed_in, read_closed_months
from pennytrace_collectors.store.reprice import Terms, reprice
from pennytrace_collectors.store.selection import Selection
from tests.collectors import otlp
from tests.collectors.calls import load_and_settle, spend

from .pricelists import price_list, with_prices

MAY = "2026-05"
FIRST = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def store(fresh_store: Path, tmp_path: Path) -> Iterator[Store]:
    folder = Path(shutil.copytree(fresh_store, tmp_path / "store", symlinks=True))
    address = parse_address(f"chdb://{folder}")
    store = Store(connect(address), address, price_list("none"))
    yield with_prices(store, price_list("list", known=10))
    store.close()


def call(model: str, moment: datetime, **more: Any) -> Span:
    """A call of two million tokens."""
    attributes: dict[str, str | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": 1_000_000,
        "gen_ai.usage.output_tokens": 1_000_000,
    }
    made = otlp.span(attributes | more)
    made.start_time_unix_nano = int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
    made.end_time_unix_nano = made.start_time_unix_nano + 10**9
    return made


def closed(store: Store) -> ClosedMonth:
    (month,) = read_closed_months(store)
    return month


def test_closing_records_what_the_month_came_to_from_its_first_moment_to_its_last(store: Store) -> None:
    load_and_settle(
        store,
        [
            call("known", FIRST - timedelta(microseconds=1)),
            call("known", FIRST),
            call("unknown", FIRST + timedelta(days=3)),
            call("known", FIRST + timedelta(days=4), **{"pennytrace.usage.source": "estimated"}),
            call("known", FIRST + timedelta(days=31) - timedelta(microseconds=1)),
            call("known", FIRST + timedelta(days=31)),
        ],
    )

    month = close_month(store, MAY, note="as invoiced")

    assert (month.month, month.note, month.catalog) == (MAY, "as invoiced", "list")
    assert (month.closed.calls, month.closed.unpriced_calls, month.closed.estimated_calls) == (4, 1, 1)
    assert month.closed.costs == month.closed.billed_costs == {"USD": Decimal(60)}
    assert month.closed == month.now
    assert (month.arrived_calls, month.corrected_calls) == (0, 0)
    assert abs(datetime.now(UTC) - month.closed_at) < timedelta(minutes=2)
    assert closed(store) == month


def test_a_month_without_calls_can_be_closed(store: Store) -> None:
    month = close_month(store, "2025-12")

    assert (month.month, month.closed.calls, month.closed.costs, month.now.calls) == ("2025-12", 0, {}, 0)


def test_a_month_is_closed_once(store: Store) -> None:
    close_month(store, MAY)

    with pytest.raises(
        OrderError, match=r"2026-05 is closed since 20..-..-.. ..:.. UTC; nothing was changed"
    ):
        close_month(store, MAY)

    assert len(read_closed_months(store)) == 1


def test_a_month_that_is_not_over_is_not_closed(store: Store) -> None:
    for month in (f"{datetime.now(UTC):%Y-%m}", "2199-01"):
        with pytest.raises(OrderError, match="is not over yet"):
            close_month(store, month)

    assert read_closed_months(store) == ()


@pytest.mark.parametrize(
    "text", ["2026", "2026-13", "2026-00", "05-2026", "2026-5", "", "may", "2026-05-01", "0000-01"]
)
def test_what_is_no_month_is_refused(store: Store, text: str) -> None:
    with pytest.raises(OrderError, match="not a month"):
        close_month(store, text)


def test_what_arrives_after_the_close_is_priced_and_seen(store: Store) -> None:
    load_and_settle(store, [call("known", FIRST)])
    close_month(store, MAY)

    load_and_settle(store, [call("known", FIRST + timedelta(days=1)), call("unseen", FIRST)])

    month = closed(store)
    assert (month.arrived_calls, month.corrected_calls) == (2, 0)
    assert (month.closed.calls, month.now.calls, month.now.unpriced_calls) == (1, 3, 1)
    assert (month.closed.costs, month.now.costs) == ({"USD": Decimal(20)}, {"USD": Decimal(40)})


def test_a_replay_is_no_arrival(store: Store) -> None:
    spans = [call("known", FIRST)]
    load_and_settle(store, spans)
    close_month(store, MAY)

    load_and_settle(store, spans)

    assert closed(store).arrived_calls == 0
    assert closed(store).now == closed(store).closed


def test_a_new_price_list_prices_what_was_unpriced_but_not_in_a_closed_month(store: Store) -> None:
    load_and_settle(store, [call("later", FIRST), call("later", FIRST + timedelta(days=40))])
    close_month(store, MAY)

    after = with_prices(store, price_list("longer", known=10, later=7))
    load_and_settle(after, [call("later", FIRST + timedelta(days=2))])

    assert [row["cost"] for row in spend(after, "cost")] == [None, 14, 14]
    assert (closed(after).arrived_calls, closed(after).now.unpriced_calls) == (1, 1)


def test_what_is_corrected_after_the_close_is_seen(store: Store) -> None:
    load_and_settle(store, [call("known", FIRST), call("known", FIRST + timedelta(days=1))])
    close_month(store, MAY)
    after = with_prices(store, price_list("cheaper", known=9))
    selection = Selection(since=FIRST, until=FIRST + timedelta(hours=1))

    steps = reprice(after, selection, Terms(catalog="cheaper", closed_too=True), correction="c")
    for _ in steps:
        pass

    month = closed(after)
    assert (month.corrected_calls, month.arrived_calls) == (1, 0)
    assert (month.closed.costs, month.now.costs) == ({"USD": Decimal(40)}, {"USD": Decimal(38)})


def test_a_month_is_touched_by_any_part_of_it(store: Store) -> None:
    close_month(store, MAY)
    close_month(store, "2025-12")
    after = datetime(2026, 6, 1, tzinfo=UTC)
    second = timedelta(seconds=1)

    assert closed_in(store, FIRST, after) == (MAY,)
    assert closed_in(store, after - second, after + second) == (MAY,)
    assert closed_in(store, FIRST - second, FIRST + second) == (MAY,)
    assert closed_in(store, after, after + second) == ()
    assert closed_in(store, FIRST - second, FIRST) == ()
    assert closed_in(store, datetime(2025, 12, 31, tzinfo=UTC), after) == ("2025-12", MAY)
