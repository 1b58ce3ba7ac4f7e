"""Checks that the comparison measures what it says, with the two contestants that need nothing installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks import peers
from tests.benchmarks.comparison import environments, figures, sink, workers
from tests.benchmarks.comparison.environments import OTEL_SDK, PEERS, PENNYTRACE, Contestant
from tests.benchmarks.comparison.figures import Figures, Sizes
from tests.benchmarks.comparison.workers import Sink

_SIZES = Sizes(rounds=3, batches=1, batch=16, starts=1, memory_calls=64)


@pytest.fixture(scope="module")
def contestants() -> list[Contestant]:
    here = environments.here()
    return [Contestant(peer, here, here) for peer in (PENNYTRACE, OTEL_SDK)]


@pytest.fixture(scope="module")
def measured(contestants: list[Contestant]) -> dict[str, Figures]:
    said: list[str] = []
    found = {one.name: one for one in figures.measure(contestants, _SIZES, said.append)}
    assert any("chat" in line for line in said)
    return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Sink]:
    with workers.sink() as running:
        yield running


def test_every_kind_of_call_is_measured_for_each(measured: dict[str, Figures]) -> None:
    assert set(measured) == {"pennytrace", "otel-sdk"}
    for one in measured.values():
        assert set(one.added) == {"chat", "stream", "async"}
        assert all(added.delivery_us > 0 for added in one.added.values())


def test_the_hand_written_span_is_the_floor(measured: dict[str, Figures]) -> None:
    assert {added.times_the_floor for added in measured["otel-sdk"].added.values()} == {1.0}


def test_versions_and_the_rest_are_told(measured: dict[str, Figures]) -> None:
    one = measured["pennytrace"]
    assert one.openai == environments.here().openai
    assert one.starting.wall_ms > 0
    assert one.starting.wall_with_variables_ms > 0
    assert one.holding.over_bare_mib > 0
    assert one.holding.threads == 1  # its sender


def test_the_table_has_a_line_for_each(measured: dict[str, Figures]) -> None:
    heading, *lines = peers.table(list(measured.values())).splitlines()
    assert "stream" in heading
    assert {line.split()[0] for line in lines} == set(measured)


def test_a_call_that_was_not_delivered_stops_the_run(collector: Sink, contestants: list[Contestant]) -> None:
    bare = contestants[0].bare.python
    with (
        workers.worker(bare, "bare", collector, name="silent") as silent,
        pytest.raises(RuntimeError, match="silent delivered 0 spans of 2 calls"),
    ):
        figures.checked(silent, collector, "chat", 2)


def test_a_peer_that_cannot_be_started_says_why(collector: Sink, contestants: list[Contestant]) -> None:
    with (
        pytest.raises(RuntimeError, match="No module named 'langfuse'"),
        workers.worker(contestants[0].environment.python, "langfuse", collector),
    ):
        pass


def test_spans_are_counted_as_the_official_classes_write_them() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

    spans = [Span(name="x" * 300), Span(), Span(name="y")]
    scopes = [ScopeSpans(spans=spans[:2], schema_url="s"), ScopeSpans(spans=spans[2:])]
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=scopes, schema_url="r"), ResourceSpans()]
    )
    assert sink.spans(request.SerializeToString()) == 3


def test_each_peer_can_be_started_by_its_name() -> None:
    from tests.benchmarks.comparison import starts

    assert {peer.name for peer in PEERS} | {environments.BARE} == set(starts.STARTS)
