"""The signals that are taken: where each comes in, how its bodies are checked, and how they are answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from . import otlp_json
from .check import Checked, check, check_request
from .points import check_points, check_points_of
from .status import success_of_metrics, success_of_traces


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of telemetry."""

    path: str
    """Of its HTTP requests."""
    service: str
    """Of its gRPC calls."""
    check: Callable[[bytes], Checked]
    check_json: Callable[[bytes], Checked]
    success: Callable[[Checked], Message]
    """The answer to a body that was kept."""


TRACES: Final = Signal(
    "/v1/traces",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    check,
    lambda body: check_request(otlp_json.parse_traces(body)),
    success_of_traces,
)
METRICS: Final = Signal(
    "/v1/metrics",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    check_points,
    lambda body: check_points_of(otlp_json.parse_metrics(body)),
    success_of_metrics,
)
SIGNALS: Final = (TRACES, METRICS)


def not_collected(signal: str) -> str:
    """Return what a sender of such a signal is told."""
    return (
        f"pennytrace does not collect {signal}; "
        f"send only traces here, to {TRACES.path!r}, and metrics of GPUs, to {METRICS.path!r}"
    )
