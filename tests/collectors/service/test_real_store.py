"""The collector with its real store: what it acknowledged is in the tables, once, however it was stopped."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path
from urllib.parse import urlsplit

from clickhouse_connect import get_client

from tests.collectors import otlp
from tests.collectors.waiting import eventually

from .process import REAL, Collector, collector

SPANS = 25


def calls_by_span_id(running_collector: Collector) -> dict[str, int]:
    """Read the store as Grafana does: through the read-only port, while the collector runs."""
    place = urlsplit(running_collector.found.sql or "")
    client = get_client(host=place.hostname or "", port=place.port or 0)
    try:
        rows = client.query("SELECT span_id, count() FROM pennytrace.spend GROUP BY 1").result_rows
        return {span_id: calls for span_id, calls in rows}
    finally:
        client.close()


def test_killed_while_it_loads_it_has_every_acknowledged_call_once_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    acknowledged: set[str] = set()
    with collector(REAL, state) as running_collector:
        posting = threading.Thread(target=post_until_it_dies, args=(running_collector, acknowledged))
        posting.start()
        # Some are loaded by now, some are being loaded, some only journaled.
        eventually(lambda: loaded(running_collector) > 0)
        running_collector.process.kill()
        posting.join()
    assert list((state / "journal").glob("*.segment"))
    with collector(REAL, state, "--sql", "127.0.0.1:0") as running_collector:
        eventually(lambda: "journal_bytes 0.0\n" in running_collector.get("/metrics")[1])
        found = calls_by_span_id(running_collector)
        assert running_collector.stop() == 0
    assert acknowledged <= set(found)
    assert set(found.values()) == {1}


def loaded(running_collector: Collector) -> int:
    _, metrics = running_collector.get("/metrics")
    [line] = [
        line for line in metrics.splitlines() if "loaded_spans_total " in line and not line.startswith("#")
    ]
    return int(float(line.split()[1]))


def post_until_it_dies(running_collector: Collector, acknowledged: set[str]) -> None:
    while True:
        spans = [otlp.span() for _ in range(SPANS)]
        try:
            if running_collector.post(otlp.request(spans).SerializeToString()) == 200:
                acknowledged.update(span.span_id.hex() for span in spans)
        except (OSError, http.client.HTTPException):
            return
