"""What prices cost: compiling the catalog, putting it in force, pricing a call as it comes in, pricing it again.

Run as a module. It uses an embedded store of its own and prints one JSON object. Times of pricing are CPU times, on one
thread, of the SELECT that prices calls, less those of reading the same rows without pricing them. What ClickHouse takes
to plan the SELECT is paid once a load, whatever is in it, and stands apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pennytrace_collectors.catalog import compile_catalog
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store import Store, connect, parse_address
from pennytrace_collectors.store.migrate import migrate
from pennytrace_collectors.store.prices import put_in_force
from pennytrace_collectors.store.pricing import again, in_force, priced
from tests.benchmarks import collector

DATABASE = "pennytrace"
ROUNDS = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure on a fresh store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(measure(Path(folder) / "store", options.calls)) + "\n")
    return 0


def measure(folder: Path, calls: int) -> dict[str, float]:
    """All the figures, by name."""
    address = parse_address(f"chdb://{folder}")
    client = connect(address)
    migrate(client, address)
    started = time.perf_counter()
    catalog = compile_catalog()
    cards = len(catalog.rate_cards())
    compiled = time.perf_counter() - started
    put_in_force(client, address, catalog)
    in_use = time.perf_counter() - started
    store = Store(client, address, catalog)
    _fill(store, calls)
    return {
        "rate_cards": cards,
        "compile_s": round(compiled, 2),
        "compile_and_put_in_force_s": round(in_use, 2),
        **_pricing(store, calls),
        "priced_again_calls_a_second": round(_again(store)),
    }


def _fill(store: Store, calls: int) -> None:
    """Load calls whose model is known, and keep them as they are before they are priced."""
    kept = f"{DATABASE}.benchmark_usage"
    store.load(_segment(1, seed=0))
    store.settle()
    store.client.command(
        f"CREATE TABLE {kept} ENGINE = MergeTree ORDER BY () AS SELECT * FROM {DATABASE}.usage"
    )
    store.client.command(
        f"CREATE MATERIALIZED VIEW {DATABASE}.benchmark_keep TO {kept} AS SELECT * FROM {DATABASE}.usage"
    )
    for part in range(calls // 20_000):
        store.load(_segment(20, seed=part + 1))
    store.client.command(f"DROP TABLE {DATABASE}.benchmark_keep SYNC")


def _segment(bodies: int, *, seed: int) -> bytes:
    made = (collector.body(1000, seed=seed * 1000 + number) for number in range(bodies))
    return b"".join(varint(len(body)) + body for body in made)


def _pricing(store: Store, calls: int) -> dict[str, float]:
    rows = f"{DATABASE}.benchmark_usage"
    select = priced(rows, in_force(DATABASE))
    plain = _cpu_s(lambda: _run(store, f"SELECT * FROM {rows}"))
    whole = _cpu_s(lambda: _run(store, f"SELECT * FROM ({select})"))
    planned = _cpu_s(lambda: _run(store, f"SELECT * FROM ({select}) LIMIT 0"))
    return {
        "pricing_us_a_call": round((whole - planned - plain) / calls * 1e6, 2),
        "pricing_ms_a_load": round(planned * 1e3, 1),
    }


def _run(store: Store, query: str) -> None:
    store.client.command(f"{query} FORMAT Null SETTINGS max_threads = 1, query_plan_enable_optimizations = 0")


def _cpu_s(work: Callable[[], None]) -> float:
    """The least CPU time of several rounds: what it takes when nothing else is in the way."""
    spent = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return min(spent)


def _again(store: Store) -> float:
    """Calls a second that are fed back, priced and written."""
    rows = store.client.query(f"SELECT count() FROM {DATABASE}.calls FINAL").result_rows[0][0]
    started = time.perf_counter()
    store.client.command(f"INSERT INTO {DATABASE}.usage {again(DATABASE, '1')}")
    return float(rows) / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
