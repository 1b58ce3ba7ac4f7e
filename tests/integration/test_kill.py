"""Kill -9 the collector at any moment: what it acknowledged is there once, and nothing is there by half.

PENNYTRACE_KILL_ROUNDS says how often; PENNYTRACE_KILL_SEED, when.
"""

from __future__ import annotations

import http.client
import itertools
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import grpc
import pytest

from tests.collectors import otlp
from tests.collectors.service.process import REAL, Collector, collector, spawn
from tests.collectors.waiting import eventually
from tests.instrumentation import provider as providers
from tests.instrumentation.processes import clean_environment
from tests.instrumentation.provider import Provider

from .engine import free_port
from .reading import metrics, records, sql

_log = logging.getLogger(__name__)

ROUNDS: Final = int(os.environ.get("PENNYTRACE_KILL_ROUNDS", "3"))
APP_ROUNDS: Final = max(ROUNDS - 1, 1)
SEED: Final = int(os.environ.get("PENNYTRACE_KILL_SEED", "11"))
SIZES: Final = (1, 1, 1, 1, 20, 250, 2000)
"""Calls of a body: most clients send few, and the longer one is written, the likelier it is cut."""
LONGEST_S: Final = 3.0
"""Longer than it takes to load a segment and to settle, so that each is hit."""
EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
BUSY: Final = Path(__file__).parent / "apps" / "busy_shop.py"


@dataclass(frozen=True, slots=True)
class Body:
    """A body of calls, each of which carries the number of its body."""

    number: str
    spans: int
    content: bytes


class Bodies:
    """What was sent, by whom, and what became of it: safe for all senders at once."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.sent: dict[str, Body] = {}
        self.acknowledged: set[str] = set()
        self.resent = 0

    def new(self, chance: Random) -> Body:
        number, size = f"body {next(self._numbers)}", chance.choice(SIZES)
        spans = [otlp.span({**otlp.CALL, "session.id": number}) for _ in range(size)]
        body = Body(number, size, otlp.request(spans).SerializeToString())
        self.sent[number] = body
        return body


@dataclass(slots=True)
class Sender:
    """A client that sends a body again when nobody has acknowledged it, unless it has given it up."""

    bodies: Bodies
    chance: Random
    send: Callable[[Collector, bytes], bool]
    """Returns whether it was acknowledged; raises when the connection is lost."""
    left: Body | None = None

    def until_it_dies(self, running: Collector) -> None:
        try:
            while True:
                self.bodies.resent += self.left is not None
                body = self.left = self.left or self.bodies.new(self.chance)
                if self.send(running, body.content):
                    self.bodies.acknowledged.add(body.number)
                    self.left = None
        except (OSError, http.client.HTTPException, grpc.RpcError):
            # Every third is given up, so that some stay without an acknowledgement for good.
            if self.chance.random() < 1 / 3:
                self.left = None


def over_http(running: Collector, content: bytes) -> bool:
    return running.post(content) == 200


def over_grpc(running: Collector, content: bytes) -> bool:
    with grpc.insecure_channel((running.found.grpc or "").removeprefix("http://")) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        return call(content, timeout=60) == b""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providers.running() as running:
        yield running


def test_every_acknowledged_call_is_there_once_and_no_body_by_half(tmp_path: Path) -> None:
    state, bodies, chance = tmp_path / "state", Bodies(), Random(SEED)
    senders = [
        Sender(bodies, Random(SEED + number), send)
        for number, send in enumerate((over_http, over_http, over_grpc, over_grpc))
    ]
    waiting = 0
    for round_ in range(ROUNDS):
        if chance.random() < 1 / 8:
            kill_while_it_starts(state, chance)
        with collector(REAL, state) as running:
            sending = [threading.Thread(target=sender.until_it_dies, args=(running,)) for sender in senders]
            for thread in sending:
                thread.start()
            # Each time at another moment of receiving, writing, loading and settling.
            time.sleep(chance.uniform(0, LONGEST_S))
            running.process.kill()
            for thread in sending:
                thread.join()
        waiting += any((state / "journal").glob("*.segment"))
        _log.info("round %d: %d bodies acknowledged", round_ + 1, len(bodies.acknowledged))
    assert waiting, "every kill came when nothing waited to be loaded"
    found = loaded(state)
    _log.info(
        "%d rounds, %d with a journal to load: %d bodies acknowledged, %d sent again, %d of %d others found",
        ROUNDS, waiting, len(bodies.acknowledged), bodies.resent,
        len(found.keys() - bodies.acknowledged), len(bodies.sent) - len(bodies.acknowledged),
    )  # fmt: skip
    assert bodies.acknowledged
    assert found.keys() <= bodies.sent.keys()
    assert bodies.acknowledged <= found.keys()
    assert found == {number: (bodies.sent[number].spans,) * 2 for number in found}


def kill_while_it_starts(state: Path, chance: Random) -> None:
    with spawn(REAL, state) as starting:
        time.sleep(chance.uniform(0, LONGEST_S))
        starting.kill()


def loaded(state: Path) -> dict[str, tuple[int, int]]:
    """How many calls of each body are in the spend, and how many different spans they have."""
    with collector(REAL, state, "--sql", "127.0.0.1:0") as running, sql(running.found) as client:
        eventually(lambda: metrics(running)["journal_bytes"] == 0, within_s=120, what="the rest to be loaded")
        found = records(
            client,
            "SELECT session, count() AS calls, uniqExact(span_id) AS spans FROM spend GROUP BY session",
        )
        assert running.stop() == 0
    return {row["session"]: (row["calls"], row["spans"]) for row in found}


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
