"""A collector for tests: takes OTLP over a real socket and decodes it with the official classes."""

from __future__ import annotations

import gzip
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.instrumentation.server import QuietServer


@dataclass(frozen=True)
class Recorded:
    """One span as it arrived."""

    name: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    seconds: float
    failed: bool
    kind: int
    flags: int


@dataclass(frozen=True)
class Measured:
    """One data point of a metric as it arrived."""

    name: str
    unit: str
    kind: str
    """`gauge`, `delta` or `cumulative`."""
    start_ns: int
    time_ns: int
    value: float
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Reply:
    """How the sink answers one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Sink:
    """What arrived, and what will be answered."""

    def __init__(self) -> None:
        self.port = 0
        self.replies: deque[Reply] = deque()
        """For the next requests; then everything is accepted."""
        self.requests: list[dict[str, str]] = []
        """The headers of every request, and its path as `:path`."""
        self.spans: list[Recorded] = []
        """From accepted requests only."""
        self.metric_replies: deque[Reply] = deque()
        self.metric_requests: list[dict[str, str]] = []
        self.points: list[Measured] = []
        """From accepted requests only; what is said of metrics is apart from all the above."""
        self.arrived = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        with self.arrived:
            self.replies.clear()
            self.requests.clear()
            self.spans.clear()
            self.metric_replies.clear()
            self.metric_requests.clear()
            self.points.clear()

    def wait_for(self, spans: int = 0, *, requests: int = 0, seconds: float = 10.0) -> None:
        """Wait until that much has arrived."""
        with self.arrived:
            enough = self.arrived.wait_for(
                lambda: len(self.spans) >= spans and len(self.requests) >= requests, seconds
            )
        assert enough, f"{len(self.spans)} spans in {len(self.requests)} requests after {seconds} s"

    def wait_for_points(self, points: int = 0, *, requests: int = 0, seconds: float = 10.0) -> None:
        """Wait until that much has arrived of metrics."""
        with self.arrived:
            enough = self.arrived.wait_for(
                lambda: len(self.points) >= points and len(self.metric_requests) >= requests, seconds
            )
        assert enough, f"{len(self.points)} points in {len(self.metric_requests)} requests after {seconds} s"

    def take_metrics(self, headers: dict[str, str], body: bytes) -> Reply:
        with self.arrived:
            reply = self.metric_replies.popleft() if self.metric_replies else Reply()
            self.metric_requests.append(headers)
            if reply.status == 200:
                self.points += decode_metrics(body)
            self.arrived.notify_all()
        return reply

    def take(self, headers: dict[str, str], body: bytes) -> Reply:
        with self.arrived:
            reply = self.replies.popleft() if self.replies else Reply()
            self.requests.append(headers)
            if reply.status == 200:
                self.spans += decode(body)
            self.arrived.notify_all()
        return reply


@contextmanager
def running(port: int = 0) -> Iterator[Sink]:
    sink = Sink()

    class Handler(_Handler):
        told = sink

    server = QuietServer(("127.0.0.1", port), Handler)
    sink.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Sink

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._reply(Reply(200 if self.path == "/health" else 404))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        take = self.told.take_metrics if self.path.endswith("/v1/metrics") else self.told.take
        self._reply(take({**dict(self.headers.items()), ":path": self.path}, body))

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)


def decode(body: bytes) -> list[Recorded]:
    """Return the spans of an ExportTraceServiceRequest."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        _recorded(span, resource_spans.resource)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def decode_metrics(body: bytes) -> list[Measured]:
    """Return the data points of an ExportMetricsServiceRequest."""
    request = ExportMetricsServiceRequest.FromString(body)
    return [
        measured
        for resource_metrics in request.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        for measured in _measured(metric, values(resource_metrics.resource.attributes))
    ]


def _measured(metric: Metric, resource: dict[str, Any]) -> Iterator[Measured]:
    kind = "gauge"
    if metric.WhichOneof("data") != "gauge":
        assert metric.sum.is_monotonic
        kind = _TEMPORALITIES[metric.sum.aggregation_temporality]
    for point in [*metric.gauge.data_points, *metric.sum.data_points]:
        yield Measured(
            name=metric.name,
            unit=metric.unit,
            kind=kind,
            start_ns=point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            value=getattr(point, str(point.WhichOneof("value"))),
            attributes=values(point.attributes),
            resource=resource,
        )


_TEMPORALITIES = {
    AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA: "delta",
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE: "cumulative",
}


def _recorded(span: Span, resource: Resource) -> Recorded:
    return Recorded(
        name=span.name,
        attributes=values(span.attributes),
        resource=values(resource.attributes),
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        kind=span.kind,
        flags=span.flags,
    )


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    pairs: list[KeyValue] = list(attributes)
    assert len({pair.key for pair in pairs}) == len(pairs), "an attribute is there twice"
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
