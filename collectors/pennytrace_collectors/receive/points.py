"""Says what of a body of metrics can be kept: the data points of GPUs, and nothing else that an app may send."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Metric,
    NumberDataPoint,
)

from pennytrace import semconv
from pennytrace_collectors.errors import Malformed
from pennytrace_collectors.journal import carried

from .check import Checked
from .guard import guard

_OURS: Final = ("hw.", "pennytrace.gpu.")
_INTERVALS: Final = frozenset(
    {semconv.GPU_PROVISIONED_METRIC, semconv.GPU_BUSY_METRIC, semconv.GPU_IDLE_METRIC}
)
_KINDS: Final = ("", "gpu", "cpu")
_TASKS: Final = ("", "general")
"""Other tasks of a GPU, such as `decoder`, are parts of its utilisation, which would be taken for the whole."""

_EARLIEST_NS: Final = 1_420_070_400_000_000_000  # 2015
_LATEST_NS: Final = 4_102_444_800_000_000_000  # 2100
_LONGEST_NS: Final = 366 * 86_400 * 1_000_000_000

_NO_ID: Final = f"a point needs the attribute {semconv.HW_ID}, the GPU's uuid"
_NO_TIME: Final = "a point's time must lie between 2015 and 2100"
_NO_NUMBER: Final = "a point needs a finite value"
_NO_DELTA: Final = "GPU time must be a sum of delta temporality"
_NO_INTERVAL: Final = (
    "GPU time must not be negative, and its interval must end after it starts, within 366 days"
)


def check_points(body: bytes) -> Checked:
    """Check a protobuf body, strings included.

    Raises:
        Malformed: It is not an ExportMetricsServiceRequest.
    """
    guard(body, ExportMetricsServiceRequest.DESCRIPTOR)
    try:
        request = ExportMetricsServiceRequest.FromString(body)
    except DecodeError as error:
        raise Malformed(
            f"the body is not a protobuf ExportMetricsServiceRequest ({error}); "
            "check that the exporter speaks OTLP and that nothing on the way changes bodies"
        ) from None
    return check_points_of(request)


def check_points_of(request: ExportMetricsServiceRequest) -> Checked:
    """Check a decoded request: what is kept of it is a new one, with the points of GPUs alone."""
    kept = ExportMetricsServiceRequest()
    faults: Counter[str] = Counter()
    points = 0
    for resource in request.resource_metrics:
        found = [_ours(metric, faults) for scope in resource.scope_metrics for metric in scope.metrics]
        if count := sum(map(_count, found)):
            points += count
            made = kept.resource_metrics.add(resource=resource.resource)
            made.scope_metrics.add(metrics=[metric for metric in found if _count(metric)])
    rejected = faults.total()
    return Checked(
        carried(kept.SerializeToString()),
        points=points,
        rejected_points=rejected,
        reason=_reason(faults, points + rejected) if rejected else "",
    )


def _reason(faults: Counter[str], total: int) -> str:
    why = "; ".join(faults)
    return f"{faults.total()} of {total} data points of GPUs were rejected: {why}"


def _count(metric: Metric) -> int:
    return len(metric.gauge.data_points) + len(metric.sum.data_points)


def _ours(metric: Metric, faults: Counter[str]) -> Metric:
    """What is kept of a metric, perhaps nothing; the points that are rejected are counted by their fault."""
    kept = Metric(name=metric.name)
    if not metric.name.startswith(_OURS):
        return kept
    for point in _said(metric):
        attributes = {pair.key: pair.value.string_value for pair in point.attributes}
        if attributes.get("hw.type", "") not in _KINDS or attributes.get("hw.gpu.task", "") not in _TASKS:
            continue
        if fault := _fault(metric, point, attributes.get(semconv.HW_ID, "")):
            faults[fault] += 1
            continue
        # A gauge or a sum as it came, but for exemplars and flags, which nobody reads.
        (kept.sum if metric.HasField("sum") else kept.gauge).data_points.append(_bare(point))
    return kept


def _said(metric: Metric) -> Iterator[NumberDataPoint]:
    """The points of a gauge or a sum that have a value at all; histograms and summaries have no such points."""
    for point in (*metric.gauge.data_points, *metric.sum.data_points):
        if not point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            yield point


def _fault(metric: Metric, point: NumberDataPoint, gpu: str) -> str:
    value = point.as_int if point.HasField("as_int") else point.as_double
    if not gpu:
        return _NO_ID
    if not _EARLIEST_NS <= point.time_unix_nano < _LATEST_NS:
        return _NO_TIME
    if not math.isfinite(value):
        return _NO_NUMBER
    return _fault_of_time(metric, point, value) if metric.name in _INTERVALS else ""


def _fault_of_time(metric: Metric, point: NumberDataPoint, value: float) -> str:
    if metric.sum.aggregation_temporality != AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA:
        return _NO_DELTA
    length = point.time_unix_nano - point.start_time_unix_nano
    return "" if value >= 0 and 0 < length <= _LONGEST_NS else _NO_INTERVAL


def _bare(point: NumberDataPoint) -> NumberDataPoint:
    bare = NumberDataPoint(
        start_time_unix_nano=point.start_time_unix_nano,
        time_unix_nano=point.time_unix_nano,
        attributes=point.attributes,
    )
    if point.HasField("as_int"):
        bare.as_int = point.as_int
    else:
        bare.as_double = point.as_double
    return bare
