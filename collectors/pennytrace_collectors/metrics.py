"""What `/metrics` shows, in Prometheus' text format: read from the parts when asked, so counting is free."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pennytrace_collectors.journal import JournalState
from pennytrace_collectors.load import LoaderState
from pennytrace_collectors.receive.intake import Tally
from pennytrace_collectors.refused import Refused

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX: Final = "pennytrace_collector_"


class _Readings(Collector):
    """Turns the parts' states into metrics."""

    def __init__(
        self,
        tally: Tally,
        journal: Callable[[], JournalState],
        loader: Callable[[], LoaderState],
        refused: Callable[[], Sequence[Refused]],
    ) -> None:
        self._tally = tally
        self._journal = journal
        self._loader = loader
        self._refused = refused

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as of now."""
        yield from _received(self._tally)
        yield from _journaled(self._journal())
        yield from _loaded(self._loader())
        yield from _set_aside(self._refused())


def exposition(
    tally: Tally,
    journal: Callable[[], JournalState],
    loader: Callable[[], LoaderState],
    refused: Callable[[], Sequence[Refused]],
) -> Callable[[], bytes]:
    """Return a function that writes all metrics as of the moment when it is called."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Readings(tally, journal, loader, refused))
    return lambda: generate_latest(registry)


def lag_s(journal: JournalState) -> float:
    """Return the age in seconds of the oldest acknowledged body that is not loaded; 0 when all are."""
    return max(time.time() - journal.oldest_at, 0.0) if journal.oldest_at is not None else 0.0


def _received(tally: Tally) -> Iterator[Metric]:
    yield _by(
        "received_requests", "Requests that arrived, whatever became of them.", "protocol", tally.requests
    )
    yield _counter("received_spans", "Spans that were acknowledged.", tally.spans)
    yield _by("rejected_requests", "Requests answered with an error.", "reason", tally.rejected_requests)
    yield _counter(
        "rejected_spans", "Spans left out of acknowledged requests, for their ids.", tally.rejected_spans
    )
    yield _counter("received_points", "Data points of GPUs that were acknowledged.", tally.points)
    yield _counter(
        "rejected_points",
        "Data points of GPUs left out of acknowledged requests; the answer said why.",
        tally.rejected_points,
    )


def _journaled(journal: JournalState) -> Iterator[Metric]:
    yield _counter("journaled_bytes", "Bytes written to the journal.", journal.appended_bytes)
    yield _counter("journaled_spans", "Spans written to the journal.", journal.appended_spans)
    yield _counter("journaled_requests", "Bodies written to the journal.", journal.appended_bodies)
    yield _counter("journal_syncs", "Groups of bodies made durable together.", journal.syncs)
    yield _counter("journal_torn_segments", "Segments whose damaged end was set aside.", journal.torn)
    yield _gauge("journal_bytes", "Bytes in the journal, waiting to be loaded.", journal.bytes)
    yield _gauge("journal_segments", "Files in the journal, waiting to be loaded.", journal.segments)
    yield _gauge("lag_seconds", "Age of the oldest acknowledged body that is not loaded.", lag_s(journal))


def _loaded(loader: LoaderState) -> Iterator[Metric]:
    yield _counter("loaded_segments", "Journal segments that the store has.", loader.loaded_segments)
    yield _counter("loaded_spans", "Spans that the store has.", loader.loaded_spans)
    yield _counter("load_failures", "Failed tries to load or settle.", loader.failures)
    yield _counter(
        "refused_requests", "Bodies that the store will never take, set aside.", loader.refused_bodies
    )
    for name, value in sorted(loader.figures.items()):
        yield _gauge(name, "Counted by the store when it was last settled.", value)


def _set_aside(refused: Sequence[Refused]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        _PREFIX + "refused_waiting",
        "Bodies that the store refused, waiting to be replayed or dropped, by ClickHouse's code.",
        labels=["reason"],
    )
    for kind, bodies in sorted(Counter(one.kind for one in refused).items()):
        waiting.add_metric([kind], bodies)
    yield waiting
    yield _gauge("refused_waiting_bytes", "Bytes of these bodies.", sum(one.bytes for one in refused))


def _counter(name: str, what: str, value: int) -> Metric:
    return CounterMetricFamily(_PREFIX + name, what, value=value)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, what, value=value)


def _by(name: str, what: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, what, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
