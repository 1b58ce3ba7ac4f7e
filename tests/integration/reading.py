"""Reads the spend in every way that people have: the report, the SQL port, the board, the metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from pennytrace_collectors.running import RunningCollector
from pennytrace_dashboards.board import Query
from pennytrace_dashboards.boards import discover
from pennytrace_dashboards.queries import read
from tests.collectors.service.process import Collector
from tests.collectors.waiting import eventually
from tests.dashboards.plugin import ALL, Range, Variables, expand
from tests.instrumentation.processes import BIN, run

Record = dict[str, Any]
EVERYTHING: Final[Variables] = {
    "currency": "USD",
    **{name: [ALL] for name in ("environment", "team", "feature", "provider", "model")},
}
SAMPLE: Final = re.compile(r"^pennytrace_collector_(\S+) (\S+)$", re.MULTILINE)


def pennytrace(*arguments: object, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run the command as a person does."""
    return run([BIN / "pennytrace", *arguments], environment=environment)


def report(state: Path, *options: str) -> str:
    """What `pennytrace report` prints."""
    done = pennytrace("report", "--state", state, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def report_json(state: Path, by: str = "feature,model", *options: str) -> Record:
    """What it prints for machines."""
    document: Record = json.loads(report(state, "--by", by, "--json", *options))
    return document


@contextmanager
def sql(found: RunningCollector) -> Iterator[Client]:
    """A client of the SQL port, as any program has one."""
    place = urlsplit(found.sql or "")
    client = clickhouse_connect.get_client(
        host=place.hostname or "", port=place.port or 0, database="pennytrace"
    )
    try:
        yield client
    finally:
        client.close()


def records(client: Client, query: str) -> list[Record]:
    """The rows of a query by column name."""
    found = client.query(query)
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


def metrics(collector: Collector) -> dict[str, float]:
    """The collector's metrics by name, `pennytrace_collector_` left out."""
    status, text = collector.get("/metrics")
    assert status == 200
    return {name: float(value) for name, value in SAMPLE.findall(text)}


def wait_until_priced(collector: Collector, client: Client, *, calls: int) -> None:
    """Wait until the store has that many calls, and has looked for the price of each."""

    def priced() -> bool:
        assert collector.process.poll() is None, "the collector has ended"
        ((found, waiting),) = client.query(
            "SELECT count(), countIf(reason = 'unresolved') FROM spend"
        ).result_rows
        assert found <= calls, f"{found} calls where {calls} were made"
        return (found, waiting) == (calls, 0) and metrics(collector)["journal_bytes"] == 0

    eventually(priced, within_s=60, what=f"{calls} calls to be priced")


def board_queries() -> Sequence[Query]:
    """Every query of every board: of its panels and of its variables."""
    boards = discover().values()
    found = {panel.query for board in boards for panel in board.panels if panel.query}
    found |= {variable.query for board in boards for variable in board.variables}
    return sorted(found, key=lambda query: query.path)


def ask_the_board(client: Client, path: str, variables: Variables = EVERYTHING) -> list[Record]:
    """What a panel shows for the last six hours, in steps of a minute."""
    now = datetime.now(UTC)
    span = Range(now - timedelta(hours=6), now + timedelta(minutes=1), step_s=60)
    return records(client, expand(read(Query(path)), variables, span))


def exact(text: str | None) -> Decimal:
    """Money of a report, which is known."""
    assert text is not None, "the money is not known"
    return Decimal(text)
