"""Whatever the store does, what was acknowledged reaches it once it can."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pennytrace_collectors.errors import StoreRefused, StoreUnavailable
from pennytrace_collectors.journal import Journal, Limits
from pennytrace_collectors.load import Loader, Pace
from tests.collectors import otlp
from tests.collectors.waiting import eventually

from .stores import Memory

QUICK = Pace(settle_s=0.02, settle_idle_s=60.0, retry_s=0.01, retry_longest_s=0.05)
POISON = b"poison"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal", limits=Limits(segment_age_s=0.0))
    yield made
    made.close()


def loader(journal: Journal, store: Memory, tmp_path: Path) -> Loader:
    return Loader(journal, lambda: store, refused=tmp_path / "refused", pace=QUICK)


def append(journal: Journal, *bodies: bytes) -> list[bytes]:
    async def together() -> None:
        await asyncio.gather(*(journal.append(body, spans=1) for body in bodies))

    asyncio.run(together())
    parsed = map(ExportTraceServiceRequest.FromString, bodies)
    return [span.span_id for message in parsed for span in otlp.message_spans(message)]


def test_what_is_journaled_is_loaded_and_then_settled_on_one_thread(journal: Journal, tmp_path: Path) -> None:
    store = Memory()
    working = loader(journal, store, tmp_path)
    working.start()
    ids = append(journal, otlp.body(), otlp.body())
    eventually(lambda: store.settled and journal.state().bytes == 0)
    assert sorted(store.span_ids()) == sorted(ids)
    assert len(store.threads) == 1
    assert working.state().loaded_spans == 2
    eventually(lambda: working.state().figures == {"unpriced_calls": 7})
    assert working.finish(5)
    assert store.closed


def test_a_store_that_is_away_is_tried_again_until_it_is_back(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = threading.Event()
    away.set()

    def judge(_: bytes) -> None:
        if away.is_set():
            raise StoreUnavailable("the store is away")

    store = Memory(judge)
    working = loader(journal, store, tmp_path)
    working.start()
    with caplog.at_level(logging.INFO):
        ids = append(journal, otlp.body())
        eventually(lambda: working.state().failures >= 3)
        assert working.state().failure == "the store is away"
        assert journal.state().bytes > 0
        away.clear()
        eventually(lambda: journal.state().bytes == 0)
    assert store.span_ids() == ids
    eventually(lambda: working.state().failure == "")
    assert "loading works again" in caplog.text
    assert working.finish(5)


def test_a_store_that_cannot_be_opened_at_first_is_opened_later(journal: Journal, tmp_path: Path) -> None:
    store = Memory()
    tries: list[None] = []

    def open_store() -> Memory:
        tries.append(None)
        if len(tries) < 4:
            raise StoreUnavailable("connection refused")
        return store

    working = Loader(journal, open_store, refused=tmp_path / "refused", pace=QUICK)
    working.start()
    ids = append(journal, otlp.body())
    eventually(lambda: store.loaded)
    assert store.span_ids() == ids
    assert working.finish(5)


def test_loading_goes_on_while_settling_fails(journal: Journal, tmp_path: Path) -> None:
    class Unsettled(Memory):
        def settle(self) -> None:
            raise StoreUnavailable("cannot settle now")

    store = Unsettled()
    working = loader(journal, store, tmp_path)
    working.start()
    for _ in range(3):
        append(journal, otlp.body())
        eventually(lambda: journal.state().bytes == 0)
    assert len(store.span_ids()) == 3
    eventually(lambda: working.state().failures > 1)
    assert working.finish(5)


def test_a_bug_in_the_store_does_not_end_loading(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [KeyError("surprise")]

    def judge(_: bytes) -> None:
        if failures:
            raise failures.pop()

    store = Memory(judge)
    working = loader(journal, store, tmp_path)
    working.start()
    append(journal, otlp.body())
    eventually(lambda: store.loaded)
    assert "KeyError: 'surprise'" in caplog.text
    assert working.finish(5)


def test_a_body_that_the_store_never_takes_is_set_aside_and_the_others_are_loaded(
    journal: Journal, tmp_path: Path
) -> None:
    def judge(messages: bytes) -> None:
        if POISON in messages:
            raise StoreRefused("cannot parse the messages")

    poison = otlp.request([otlp.span({"pennytrace.feature": POISON.decode()})]).SerializeToString()
    store = Memory(judge)
    good = append(journal, *(otlp.body() for _ in range(9)))
    append(journal, poison)
    more = append(journal, *(otlp.body() for _ in range(6)))
    working = loader(journal, store, tmp_path)
    working.start()
    eventually(lambda: journal.state().bytes == 0)
    assert sorted(store.span_ids()) == sorted(good + more)
    assert working.state().refused_bodies == 1
    assert working.finish(5)
    [kept] = (tmp_path / "refused").glob("*.segment")
    assert poison in kept.read_bytes()
    assert json.loads(kept.with_suffix(".json").read_text())["reason"] == "cannot parse the messages"


def test_a_refused_body_can_be_put_back_into_a_journal(journal: Journal, tmp_path: Path) -> None:
    def judge(_: bytes) -> None:
        raise StoreRefused("not today")

    [span_id] = append(journal, otlp.body())
    working = loader(journal, Memory(judge), tmp_path)
    working.start()
    eventually(lambda: working.state().refused_bodies)
    assert working.finish(5)
    second = tmp_path / "second"
    second.mkdir()
    [kept] = (tmp_path / "refused").glob("*.segment")
    kept.rename(second / kept.name)
    again = Journal(second)
    segment = again.take(0)
    assert segment is not None
    content = again.read(segment)
    assert (otlp.span_ids(content.messages), content.torn) == ([span_id], False)
    again.close()


def test_finishing_loads_what_is_left(journal: Journal, tmp_path: Path) -> None:
    store = Memory()
    ids = append(journal, *(otlp.body() for _ in range(5)))
    working = loader(journal, store, tmp_path)
    working.start()
    assert working.finish(10)
    assert sorted(store.span_ids()) == sorted(ids)
    assert (store.settled > 0, store.closed) == (True, True)


def test_finishing_does_not_wait_for_a_store_that_is_away(journal: Journal, tmp_path: Path) -> None:
    def judge(_: bytes) -> None:
        raise StoreUnavailable("the store is away")

    append(journal, otlp.body())
    slow = Pace(retry_s=600.0, retry_longest_s=600.0)
    working = Loader(journal, lambda: Memory(judge), refused=tmp_path / "refused", pace=slow)
    working.start()
    eventually(lambda: working.state().failures)
    assert working.finish(30)
    assert journal.state().bytes > 0


def test_a_store_that_is_stuck_is_reported_and_left_alone(journal: Journal, tmp_path: Path) -> None:
    stuck = threading.Event()
    store = Memory(lambda _: assert_waited(stuck))
    append(journal, otlp.body())
    working = loader(journal, store, tmp_path)
    working.start()
    assert not working.finish(0)
    assert not store.closed
    stuck.set()
    eventually(lambda: store.closed)


def assert_waited(event: threading.Event) -> None:
    assert event.wait(60)
