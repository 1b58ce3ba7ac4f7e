"""Kill -9 the collector while it loads: what it acknowledged is there once, and nothing is there by half."""

from __future__ import annotations

import http.client
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.collectors import otlp
from tests.collectors.service.process import REAL, Collector, collector
from tests.collectors.waiting import eventually
from tests.instrumentation import provider as providers
from tests.instrumentation.processes import clean_environment
from tests.instrumentation.provider import Provider

from .engine import free_port
from .reading import metrics, records, sql

ROUNDS: Final = int(os.environ.get("PENNYTRACE_KILL_ROUNDS", "3"))
APP_ROUNDS: Final = max(ROUNDS - 1, 1)
SPANS: Final = 250
SENDERS: Final = 3
BODIES: Final = 20
"""At least so many are acknowledged before each kill: 5,000 calls."""
BUSY: Final = Path(__file__).parent / "apps" / "busy_shop.py"


class Bodies:
    """Bodies of many calls each, of which every call carries the number of its body; and what became of them."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.sent: list[str] = []
        self.acknowledged: list[str] = []

    def post_until_it_dies(self, running: Collector) -> None:
        while True:
            number = f"body {next(self._numbers)}"
            spans = [otlp.span({**otlp.CALL, "session.id": number}) for _ in range(SPANS)]
            content = otlp.request(spans).SerializeToString()
            self.sent.append(number)
            try:
                if running.post(content) == 200:
                    self.acknowledged.append(number)
            except (OSError, http.client.HTTPException):
                return


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providers.running() as running:
        yield running


def test_every_acknowledged_call_is_there_once_and_no_body_by_half(tmp_path: Path) -> None:
    state, bodies, chance = tmp_path / "state", Bodies(), Random(11)
    waiting = 0
    for _ in range(ROUNDS):
        with collector(REAL, state) as running:
            acknowledged_before = len(bodies.acknowledged)
            senders = [
                threading.Thread(target=bodies.post_until_it_dies, args=(running,)) for _ in range(SENDERS)
            ]
            for sender in senders:
                sender.start()
            eventually(
                lambda: len(bodies.acknowledged) >= acknowledged_before + BODIES,  # noqa: B023 - in this round only
                what="bodies to be acknowledged",
            )
            # Each time at another moment of receiving, writing, loading and settling.
            senders[0].join(chance.uniform(0, 1.5))
            running.process.kill()
            for sender in senders:
                sender.join()
        waiting += len(list((state / "journal").glob("*.segment")))
    assert waiting, "every kill came when nothing waited to be loaded"
    with collector(REAL, state, "--sql", "127.0.0.1:0") as running, sql(running.found) as client:
        eventually(lambda: metrics(running)["journal_bytes"] == 0, within_s=60, what="the rest to be loaded")
        found = {
            row["session"]: (row["calls"], row["spans"])
            for row in records(
                client,
                "SELECT session, count() AS calls, uniqExact(span_id) AS spans FROM spend GROUP BY session",
            )
        }
        assert running.stop() == 0
    assert found.keys() <= set(bodies.sent)
    assert set(bodies.acknowledged) <= found.keys()
    assert set(found.values()) == {(SPANS, SPANS)}


def test_an_app_whose_collector_is_killed_loses_no_call_and_pays_for_none_twice(
    tmp_path: Path, provider: Provider
) -> None:
    provider.reset()
    state, enough = tmp_path / "state", tmp_path / "enough"
    ports = ("--http", f"127.0.0.1:{free_port()}", "--sql", "127.0.0.1:0")
    with app(provider, f"http://{ports[1]}", enough) as calling:
        for _ in range(APP_ROUNDS):
            with collector(REAL, state, *ports) as running:
                eventually(lambda: metrics(running)["received_spans_total"] > 0, what="calls to arrive")
                running.process.kill()
        with collector(REAL, state, *ports) as running, sql(running.found) as client:
            eventually(lambda: metrics(running)["loaded_spans_total"] > 0, what="calls to be loaded")
            enough.touch()
            output, errors = calling.communicate(timeout=90)
            assert calling.returncode == 0, errors
            eventually(lambda: metrics(running)["journal_bytes"] == 0, what="the rest to be loaded")
            found = records(client, "SELECT session, input_tokens, output_tokens FROM spend")
            assert running.stop() == 0
    calls = int(output)
    assert calls >= APP_ROUNDS
    assert sorted(row["session"] for row in found) == sorted(f"call {number}" for number in range(calls))
    usage = providers.USAGE
    assert {(row["input_tokens"], row["output_tokens"]) for row in found} == {
        (usage["prompt_tokens"], usage["completion_tokens"])
    }


@contextmanager
def app(provider: Provider, endpoint: str, enough: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the busy app, and make sure that it is gone after the block."""
    settings = {
        "OPENAI_BASE_URL": provider.url,
        "OPENAI_API_KEY": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
    }
    with subprocess.Popen(
        [sys.executable, str(BUSY), str(enough)],
        env=clean_environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
