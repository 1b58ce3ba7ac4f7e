"""What the store makes of heartbeats: each GPU's seconds once, hour by hour, whoever said them and however often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennytrace_collectors.journal import carried
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store import Store, open_store
from tests.collectors import capacity, otlp
from tests.collectors.calls import spend
from tests.collectors.capacity import HOUR, Device, counter, held, load, reading, time

HOURS = [datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in (14, 15, 16)]


def seconds(store: Store) -> list[tuple[datetime, str, Decimal]]:
    return [
        (row["hour"].replace(tzinfo=UTC), row["gpu"], row["provisioned_seconds"])
        for row in capacity.capacity(store)
    ]


def test_heartbeats_that_follow_each_other_are_one_time(store: Store) -> None:
    load(store, [held(0.5, 15), held(15, 30), held(30, 45.25)])

    (row,) = capacity.capacity(store)
    assert row["provisioned_seconds"] == Decimal("44.75")
    assert (row["gpu"], row["gpu_model"], row["gpu_pool"], row["node"]) == (
        "GPU-1",
        capacity.H100,
        "",
        "node-1",
    )
    assert (row["processes"], row["utilization"], row["energy_joules"], row["busy_seconds"]) == (
        1,
        None,
        None,
        None,
    )
    assert row["first_at"].replace(tzinfo=UTC).timestamp() == HOUR.timestamp() + 0.5
    assert row["last_at"].replace(tzinfo=UTC).timestamp() == HOUR.timestamp() + 45.25


def test_two_processes_on_one_gpu_count_it_once(store: Store) -> None:
    load(store, [held(0, 60)], instance="one")
    load(store, [held(40, 100)], instance="two")

    (row,) = capacity.capacity(store)
    assert (row["provisioned_seconds"], row["processes"]) == (100, 2)


def test_a_time_in_which_nobody_held_it_is_not_provisioned(store: Store) -> None:
    load(store, [held(0, 60)], instance="one")
    load(store, [held(3000, 3010)], instance="two")

    assert [second for _, _, second in seconds(store)] == [70]


def test_what_is_replayed_counts_once(store: Store) -> None:
    said = [
        held(0, 60),
        time("pennytrace.gpu.busy", 0, 60, 12),
        reading("hw.gpu.utilization", 30, 0.25),
        reading("hw.gpu.utilization", 60, 0.75),
        reading("hw.gpu.utilization", 90, 0.8),
    ]
    load(store, said)
    load(store, said[:4])

    (row,) = capacity.capacity(store)
    assert (row["provisioned_seconds"], row["busy_seconds"]) == (60, 12.0)
    assert row["utilization"] == pytest.approx(0.6)


def test_a_long_interval_is_cut_at_full_hours_with_what_was_done_in_it(store: Store) -> None:
    load(store, [held(1800, 9000), time("pennytrace.gpu.busy", 1800, 9000, 720)])

    rows = capacity.capacity(store)
    assert [row["hour"].replace(tzinfo=UTC) for row in rows] == HOURS
    assert [row["provisioned_seconds"] for row in rows] == [1800, 3600, 1800]
    assert [row["busy_seconds"] for row in rows] == [180.0, 360.0, 180.0]


def test_an_interval_that_ends_with_the_hour_is_in_that_hour_alone(store: Store) -> None:
    load(store, [held(3585, 3600)])

    assert seconds(store) == [(HOURS[0], "GPU-1", Decimal(15))]


def test_energy_is_what_the_counter_rose_by_also_between_two_hours_and_not_when_it_is_set_back(
    store: Store,
) -> None:
    readings = [(3000, 500.0), (3590, 1500.0), (3605, 1510.0), (3620, 1520.0), (4000, 10.0), (7190, 110.0)]
    load(store, [held(0, 7200), *(counter("hw.energy", *one) for one in readings)])

    assert [row["energy_joules"] for row in capacity.capacity(store)] == [1010.0, 110.0]


def test_one_reading_of_the_counter_says_nothing_of_energy(store: Store) -> None:
    load(store, [held(0, 60), counter("hw.energy", 500, 77.0)])

    assert [row["energy_joules"] for row in capacity.capacity(store)] == [None]


def test_a_named_pool_counts_before_none_and_the_one_named_last_before_others(store: Store) -> None:
    load(store, [held(0, 60, Device(pool="chat"))], instance="one")
    load(store, [held(60, 120, Device(pool="search"))], instance="two")
    load(store, [held(120, 180)], instance="agent")

    (row,) = capacity.capacity(store)
    assert (row["gpu_pool"], row["provisioned_seconds"]) == ("search", 180)


def test_slices_count_in_the_place_of_the_gpu_that_they_are_of(store: Store) -> None:
    slices = [Device(gpu=f"MIG-{name}", model="NVIDIA H100 MIG 1g.10gb", parent="GPU-1") for name in "ab"]
    load(store, [held(0, 3600), held(3600, 4000), *(held(0, 600, one) for one in slices)])

    assert seconds(store) == [
        (HOURS[0], "MIG-a", Decimal(600)),
        (HOURS[0], "MIG-b", Decimal(600)),
        (HOURS[1], "GPU-1", Decimal(400)),
    ]


def test_readings_of_a_gpu_that_nobody_holds_are_no_capacity(store: Store) -> None:
    load(store, [reading("hw.gpu.utilization", 30, 0.25), counter("hw.energy", 30, 1.0)])

    assert capacity.capacity(store) == []


def test_names_are_fit_for_panels_and_terminals(store: Store) -> None:
    load(store, [held(0, 60, Device(pool="a\\b\nc"))], node="n\x1b[31m")

    (row,) = capacity.capacity(store)
    assert (row["gpu_pool"], row["node"]) == ("a_b_c", "n_[31m")


def test_calls_and_heartbeats_go_into_the_store_by_one_load(store: Store) -> None:
    calls = otlp.request([otlp.span(), otlp.span()]).SerializeToString()
    heartbeat = carried(capacity.request([held(0, 60)]).SerializeToString())
    store.load(b"".join(varint(len(body)) + body for body in (calls, heartbeat, otlp.body())))

    assert len(spend(store)) == 3
    assert seconds(store) == [(HOURS[0], "GPU-1", Decimal(60))]


PRICES = """
currency = "USD"

[[gpu]]
pool = "chat"
kind = "reserved"
per_gpu_hour = "2.00"

[[gpu]]
gpu = "NVIDIA H100*"
kind = "on_demand"
per_gpu_hour = "3.60"
"""


def test_a_gpu_gets_its_rate_though_nobody_has_made_a_call_on_it(fresh_store: Path, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(PRICES, "utf-8")
    store = open_store(f"chdb://{tmp_path / 'store'}", price_files=[file])
    try:
        load(
            store,
            [
                held(0, 60),
                held(0, 60, Device(gpu="GPU-2", pool="chat")),
                held(0, 60, Device(gpu="3", model="TPU")),
            ],
        )
        store.settle()

        known = store.client.query(
            "SELECT host, request_model, rate_card, reason FROM pennytrace.models WHERE provider = 'gpu:' ORDER BY ALL"
        ).result_rows
        assert known == [
            ("", capacity.H100, "gpu:NVIDIA H100*", ""),
            ("", "TPU", "", "no rate for its GPU"),
            ("chat", capacity.H100, "gpu:chat", ""),
        ]
        assert store.client.query("SELECT count() FROM pennytrace.unresolved").result_rows == [(0,)]
    finally:
        store.close()


SAID = st.lists(
    st.tuples(st.integers(0, 8000), st.integers(1, 5000), st.sampled_from("ab")), min_size=1, max_size=12
)


def test_the_seconds_of_all_hours_are_those_in_which_anybody_held_it(store: Store) -> None:
    numbers = count()

    @settings(max_examples=25, deadline=None)
    @given(said=SAID)
    def check(said: Sequence[tuple[int, int, str]]) -> None:
        device = Device(gpu=f"GPU-{next(numbers)}")
        for instance in "ab":
            theirs = [held(start, start + length, device) for start, length, who in said if who == instance]
            load(store, theirs, instance=instance)

        seconds_held = {second for start, length, _ in said for second in range(start, start + length)}
        by_hour = Counter(HOUR + timedelta(hours=second // 3600) for second in seconds_held)
        assert {at: value for at, gpu, value in seconds(store) if gpu == device.gpu} == by_hour

    check()
