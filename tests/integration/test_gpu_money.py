"""The bill of a self-hosted engine, from its steps to the report: real vLLM, real clients, a real collector.

Half of the calls are made by an app with pennytrace, half by one without. What is right comes from the test's own
clock, from the engine's counters, and from the rate in the price file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client

from tests.collectors.service.process import REAL, Collector, collector
from tests.collectors.waiting import eventually
from tests.engines import beside
from tests.instrumentation.processes import run

from .engine import MODEL, serving
from .reading import Record, exact, metrics, records, report, sql

pytestmark = pytest.mark.engines

APP: Final = Path(__file__).parent / "apps" / "gpu_shop.py"
RATE: Final = Decimal("36")  # USD an hour: a cent a second
A_SECOND: Final = RATE / 3600
PRICES: Final = f'[[gpu]]\npool = "lab"\nkind = "on_demand"\nper_gpu_hour = {RATE}\n'


@dataclass(frozen=True, slots=True)
class Scene:
    """The engine has come and gone; all that it has said is in the store."""

    told: Mapping[str, Record]
    """By feature, of the instrumented app."""
    plain: Mapping[str, Record]
    state: Path
    sql: Client
    used_s: float
    """For how long its clients used it."""
    wall_s: float
    """For how long there was any process of it."""

    def rows(self, query: str) -> list[Record]:
        """The rows of a query."""
        return records(self.sql, query)

    def gpu(self, *options: str) -> Any:
        """The GPU report for machines."""
        return json.loads(report(self.state, "--gpu", "--json", *options))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("gpu_money")
    prices, state = folder / "prices.toml", folder / "state"
    prices.write_text(PRICES, "utf-8")
    with (
        collector(REAL, state, "--sql", "127.0.0.1:0", "--prices", str(prices)) as running,
        sql(running.found) as client,
    ):
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": running.found.http or ""}
        plugin = {**beside.install(folder / "install"), **endpoint, "PENNYTRACE_GPU_POOL": "lab"}
        began = time.monotonic()
        # Else it kills the engine's process at once, and with it the last that it has to say.
        orderly = ("--shutdown-timeout", "10")
        with serving(folder, variables=plugin, options=orderly) as engine:
            ready = time.monotonic()
            plain = run_app(engine.url, endpoint, "plain")
            told = run_app(engine.url, endpoint)
            used_s = time.monotonic() - ready
        wall_s = time.monotonic() - began
        wait_until_settled(running, client, calls=24)
        yield Scene(told, plain, state, client, used_s, wall_s)
        assert running.stop() == 0


def run_app(url: str, settings: Mapping[str, str], *arguments: str) -> dict[str, Record]:
    """Run the app, and return what it told by feature."""
    environment = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", **settings}
    done = run([sys.executable, APP, *arguments], environment=environment, seconds=180)
    assert (done.returncode, done.stderr) == (0, "")
    return {told["feature"]: told for told in map(json.loads, done.stdout.splitlines())}


def wait_until_settled(running: Collector, client: Client, *, calls: int) -> None:
    """Wait until each call is there once, with the time that the engine spent on it."""

    def settled() -> bool:
        assert running.process.poll() is None, "the collector has ended"
        found = client.query(
            "SELECT count(), countIf(details['gpu_seconds'] > 0 AND status = 'priced') FROM spend"
        )
        return tuple(found.result_rows[0]) == (calls, calls) and metrics(running)["journal_bytes"] == 0

    eventually(settled, within_s=60, what=f"{calls} calls with their GPU time")


def test_each_call_is_charged_once_for_its_gpu_time(scene: Scene) -> None:
    charged = scene.rows(
        "SELECT gpu_source, feature, team, service, rate_card, input_tokens, output_tokens, cost, "
        "details['gpu_seconds'] AS seconds FROM spend"
    )
    assert len(charged) == 24
    for row in charged:
        assert row["rate_card"] == "gpu:lab"
        assert row["cost"] == row["seconds"] * A_SECOND
    joined = [row for row in charged if row["gpu_source"] == "joined"]
    assert {row["service"] for row in joined} == {"gpu_shop"}
    for feature, told in scene.told.items():
        of_it = [row for row in joined if row["feature"] == feature]
        assert len(of_it) == len(told["ids"])
        assert sum(row["input_tokens"] for row in of_it) == told["input_tokens"]
        assert sum(row["output_tokens"] for row in of_it) == told["output_tokens"]


def test_what_no_client_reports_stands_alone(scene: Scene) -> None:
    alone = scene.rows(
        "SELECT model, provider, input_tokens, output_tokens FROM spend WHERE gpu_source = 'engine'"
    )
    assert len(alone) == 12
    assert {(row["provider"], row["model"]) for row in alone} == {("vllm", MODEL)}
    for name in ("input_tokens", "output_tokens"):
        assert sum(row[name] for row in alone) == sum(told[name] for told in scene.plain.values())


def test_what_was_left_out_can_be_seen(scene: Scene) -> None:
    found = scene.rows("SELECT feature, left_out_because FROM left_out")
    assert sorted(row["feature"] for row in found) == ["report"] * 6 + ["search"] * 6
    assert len({row["left_out_because"] for row in found}) == 1


def test_direct_and_idle_are_the_bill_in_every_hour(scene: Scene) -> None:
    hours = scene.rows("SELECT * FROM gpu_hours")
    assert hours
    for hour in hours:
        assert (hour["gpu_pool"], hour["gpu_model"], hour["gpus"]) == ("lab", "cpu", 1)
        assert hour["direct_cost"] + hour["idle_cost"] == hour["bill"]
        assert hour["bill"] == pytest.approx(hour["provisioned_seconds"] * A_SECOND, rel=Decimal("1e-12"))
        assert hour["unreported_seconds"] == 0
    charged = scene.rows("SELECT sum(cost) AS cost FROM spend")[0]["cost"]
    assert sum(hour["direct_cost"] for hour in hours) == charged


def test_the_engine_is_billed_for_its_life(scene: Scene) -> None:
    (total,) = scene.rows("SELECT sum(provisioned_seconds) AS seconds FROM gpu_hours")
    # From the start of its own process, some seconds after the server's, to its end, a little before the server's.
    assert scene.used_s < float(total["seconds"]) <= scene.wall_s


def test_attributed_and_idle_are_what_the_engine_measured(scene: Scene) -> None:
    measured = {
        row["metric"]: row["seconds"]
        for row in scene.rows("SELECT metric, sum(value) AS seconds FROM gpu_points FINAL GROUP BY metric")
    }
    (found,) = scene.rows(
        "SELECT sum(attributed_seconds) AS attributed, sum(provisioned_seconds) AS provisioned FROM gpu_hours"
    )
    busy, idle = measured["pennytrace.gpu.busy"], measured["pennytrace.gpu.idle"]
    # Not quite the busy time: some steps have no request, and more of them on a machine that does other things too.
    assert float(found["attributed"]) + idle == pytest.approx(busy + idle, rel=0.01)
    assert float(found["attributed"]) == pytest.approx(busy, rel=0.05)
    # What is left is the time in which it loaded its model.
    assert busy + idle < float(found["provisioned"])
    assert float(found["provisioned"]) == pytest.approx(measured["pennytrace.gpu.provisioned"], abs=1e-4)


def test_idle_is_given_to_who_used_the_pool(scene: Scene) -> None:
    (idle,) = scene.rows("SELECT sum(idle_cost) AS cost FROM gpu_hours")
    for policy in ("idle_proportional", "idle_even"):
        rows = scene.rows(f"SELECT sum({policy}) AS cost FROM gpu_spend")
        assert rows[0]["cost"] == idle["cost"]


def test_the_report_says_the_same(scene: Scene) -> None:
    document = scene.gpu()
    (pool,) = document["pools"]
    (hours,) = scene.rows(
        "SELECT sum(bill) AS bill, sum(direct_cost) AS direct, sum(idle_cost) AS idle FROM gpu_hours"
    )
    assert (exact(pool["bill"]), exact(pool["direct_cost"]), exact(pool["idle_cost"])) == (
        hours["bill"],
        hours["direct"],
        hours["idle"],
    )
    (model,) = document["models"]
    everybody = [*scene.told.values(), *scene.plain.values()]
    assert model["calls"] == 24
    for name in ("input_tokens", "output_tokens"):
        assert model[name] == sum(told[name] for told in everybody)
