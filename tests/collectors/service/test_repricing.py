"""`pennytrace reprice` and `pennytrace close` as people run them: with a collector, without one, and killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pennytrace_collectors.store import Store, connect, parse_address
from tests.collectors import otlp
from tests.collectors.calls import load_and_settle, spend
from tests.collectors.store.pricelists import price_list, with_prices
from tests.collectors.waiting import eventually

from .process import REAL, ROOT, Collector, collector

KILLS = int(os.environ.get("PENNYTRACE_KILL_ROUNDS", "2"))
SINCE = ("--since", "2026-05-01", "--until", "2026-08-01")
CALLS = 60

CHEAPER = """
[[price]]
provider = "openai"
model = "gpt-4o-2024-08-06"
input_mtok = 1
output_mtok = 2
source = "our contract"
"""


def pennytrace(*arguments: str, state: Path, status: int = 0, stdin: str | None = None) -> str:
    """What the command prints; with `status` 1 what it complains about."""
    done = subprocess.run(
        [sys.executable, "-m", "pennytrace.cli", *arguments, "--state", str(state)],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


@contextmanager
def store_in(state: Path) -> Iterator[Store]:
    address = parse_address(f"chdb://{state / 'store'}")
    store = Store(connect(address), address, price_list("none"))
    yield store
    store.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def made(state: Path, fresh_store: Path) -> Path:
    """The state folder of a collector that has run, and has stopped."""
    shutil.copytree(fresh_store, state / "store", symlinks=True)
    return state


def posted(running: Collector, calls: int) -> None:
    assert running.post(otlp.body(calls)) == 200
    eventually(lambda: f"loaded_spans_total {calls}.0\n" in running.get("/metrics")[1], within_s=120)


def test_a_correction_goes_through_the_collector_that_has_the_store_open(state: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(CHEAPER)
    with collector(REAL, state) as running:
        posted(running, 10)
        assert running.stop(within_s=120) == 0
    with collector(REAL, state, "--prices", str(prices)) as running:
        said = json.loads(pennytrace("reprice", *SINCE, "--dry-run", "--json", state=state))
        assert pennytrace("reprice", *SINCE, state=state, status=1, stdin="").count("--yes") == 1
        closed = json.loads(pennytrace("close", "2026-05", "--json", state=state))
        refused = pennytrace("reprice", *SINCE, "--yes", state=state, status=1)
        shown = pennytrace("reprice", *SINCE, "--yes", "--closed-too", "--note", "contract", state=state)
        nothing = pennytrace("reprice", *SINCE, "--yes", state=state)
        again = pennytrace("close", "2026-05", state=state, status=1)
        listed = json.loads(pennytrace("close", "--list", "--json", state=state))["months"][0]
        assert list((state / "orders").iterdir()) == []
        assert running.post(otlp.body(1)) == 200
        assert running.stop(within_s=120) == 0
    # 1,200 tokens in and 300 out: $2.50 and $10 a million on the list, $1 and $2 by contract.
    (one,) = said["comparison"]["differences"]
    assert (one["feature"], one["model"], one["calls"]) == ("checkout", "gpt-4o-2024-08-06", 10)
    assert (one["was"], one["would_be"], one["difference"]) == ("0.06", "0.018", "-0.042")
    assert said["closed_months"] == []
    assert "2026-05 is closed: nothing was changed" in refused
    assert "10 calls of 10 would change" in shown
    assert "closed: 2026-05" in shown
    assert "Corrected 10 calls of 10 as 20" in shown
    assert "Nothing differs: the price list would change nothing about 10 calls." in nothing
    assert "2026-05 is closed since" in again
    assert (closed["months"][0]["closed"]["costs"], listed["closed"]["costs"]) == (
        {"USD": "0.06"},
        {"USD": "0.06"},
    )
    assert (listed["now"]["costs"], listed["corrected_calls"], listed["arrived_calls"]) == (
        {"USD": "0.018"},
        10,
        0,
    )


def test_without_a_collector_the_command_opens_the_store_itself(made: Path, tmp_path: Path) -> None:
    assert "no store in" in pennytrace("reprice", *SINCE, "--yes", state=tmp_path / "empty", status=1)
    with store_in(made) as store:
        load_and_settle(with_prices(store, price_list("old", gpt=5)), [a_call("gpt")])
        with_prices(store, price_list("new", gpt=4))
        in_force = spend(store, "cost")

    pennytrace("reprice", *SINCE, "--yes", state=made)

    with store_in(made) as store:
        assert (in_force, spend(store, "cost")) == ([{"cost": 10}], [{"cost": 8}])


def a_call(model: str, hours: int = 0) -> Any:
    """A call of two million tokens."""
    made = otlp.span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "acme",
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": 1_000_000,
            "gen_ai.usage.output_tokens": 1_000_000,
        }
    )
    made.start_time_unix_nano += hours * 3600 * 10**9
    made.end_time_unix_nano += hours * 3600 * 10**9
    return made


def test_killed_at_any_moment_and_run_again_it_ends_in_the_same_state(made: Path) -> None:
    with store_in(made) as store:
        load_and_settle(
            with_prices(store, price_list("old", gpt=5)), [a_call("gpt", hours) for hours in range(CALLS)]
        )
        with_prices(store, price_list("new", gpt=4))
    draw = random.Random(4)
    seen = []
    for _ in range(KILLS):
        killed_in_portion(made, draw.randint(1, 4), after_s=draw.uniform(0, 0.3))
        with store_in(made) as store:
            costs = [row["cost"] for row in spend(store, "cost")]
            corrected = store.client.command("SELECT count() FROM pennytrace.corrections_made")
            charged = store.client.command("SELECT sum(cost) FROM pennytrace.charged")
        seen.append((costs.count(8), corrected, charged))

    pennytrace("reprice", *SINCE, "--yes", state=made)

    assert all(changed == corrected and charged == 10 * CALLS for changed, corrected, charged in seen), seen
    assert 0 < seen[-1][0] < CALLS, f"it was never killed in the middle: {seen}"
    with store_in(made) as store:
        assert spend(store, "cost") == [{"cost": Decimal(8)}] * CALLS
        sums = "SELECT count(), sum(old_cost), sum(new_cost) FROM pennytrace.corrections_made"
        assert store.client.query(sums).result_rows == [(CALLS, 10 * CALLS, 8 * CALLS)]


def killed_in_portion(state: Path, number: int, *, after_s: float) -> None:
    command = [sys.executable, "-m", "tests.collectors.service.portions", "reprice", *SINCE, "--yes"]
    with subprocess.Popen(
        [*command, "--state", str(state)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        begun = 0
        for line in process.stdout:
            begun += line == "portion\n"
            if begun == number:
                break
        assert begun == number, process.stderr.read() if process.stderr else ""
        time.sleep(after_s)
        process.kill()


def test_a_collector_that_is_killed_in_the_middle_goes_on_when_it_is_started_again(made: Path) -> None:
    with store_in(made) as store:
        load_and_settle(
            with_prices(store, price_list("old", gpt=5)), [a_call("gpt", hours) for hours in range(CALLS)]
        )
    prices = made / "prices.toml"
    prices.write_text('[[price]]\nmodel = "gpt"\ninput_mtok = 4\noutput_mtok = 4\n')
    portions = (sys.executable, "-m", "tests.collectors.service.portions", "collect")
    arguments = ("reprice", *SINCE, "--yes", "--state", str(made))
    with collector(portions, made, "--prices", str(prices)) as running:
        command = [sys.executable, "-m", "pennytrace.cli", *arguments]
        with subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as asking:
            eventually(lambda: asking.poll() is not None or is_correcting(made), within_s=120)
            assert asking.poll() is None, asking.communicate()
            assert running.post(otlp.body(1)) == 200
            running.process.kill()
            _, complaint = asking.communicate(timeout=120)
    assert (asking.returncode, "the collector has stopped before it was done" in complaint) == (1, True)

    with collector(REAL, made, "--prices", str(prices)) as running:
        eventually(lambda: not list((made / "orders").glob("*.taken.json")), within_s=120)
        assert running.stop(within_s=120) == 0

    with store_in(made) as store:
        costs = [row["cost"] for row in spend(store, "cost", "provider = 'acme'")]
        assert costs == [Decimal(8)] * CALLS
        assert len(spend(store)) == CALLS + 1
        assert (
            store.client.command("SELECT sum(cost) FROM pennytrace.charged WHERE provider = 'acme'")
            == 10 * CALLS
        )
        assert (
            len(store.client.query("SELECT DISTINCT correction FROM pennytrace.corrections_made").result_rows)
            == 1
        )


def is_correcting(state: Path) -> bool:
    taken = (state / "orders").glob("*.taken.json")
    return any('"kind": "reprice"' in path.read_text() for path in taken)
