"""Writes metrics as OTLP protobuf, by hand, as otlp.py writes calls.

The messages are those of opentelemetry/proto/metrics/v1/metrics.proto. What stands around a metric has the field
numbers of what stands around a span, so the same envelope fits.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from pennytrace._delivery.otlp import Value, delimited, key_value, text

_fixed64 = struct.Struct("<Q").pack
_signed64 = struct.Struct("<q").pack
_double = struct.Struct("<d").pack


class Kind(Enum):
    """What the values of a metric are, as the tail of its Gauge or Sum."""

    GAUGE = b""
    """What holds at that time."""
    DELTA = b"\x10\x01\x18\x01"
    """What came in the interval; never less than nothing."""
    CUMULATIVE = b"\x10\x02\x18\x01"
    """What has come together."""


# Sum.aggregation_temporality = 2 (1 delta, 2 cumulative), Sum.is_monotonic = 3
_GAUGE: Final = b"\x2a"  # Metric.gauge = 5
_SUM: Final = b"\x3a"  # Metric.sum = 7


class Point(NamedTuple):
    """One value."""

    attributes: Mapping[str, Value]
    time_ns: int
    """Nanoseconds since 1970, UTC: when it held, or the end of its interval."""
    value: float
    """Written as an integer when it is one."""
    start_ns: int | None = None
    """The start of its interval; None where there is none, or nobody knows."""


class Metric(NamedTuple):
    """Points that tell of the same thing."""

    name: str
    unit: str
    kind: Kind
    points: Sequence[Point]


def encode_metric(metric: Metric) -> bytes:
    """Return `metric` as one element of ScopeMetrics.metrics, its own key and length included."""
    data = b"".join(map(_point, metric.points)) + metric.kind.value
    return delimited(
        b"\x12",  # ScopeMetrics.metrics = 2
        delimited(b"\x0a", text(metric.name))  # Metric.name = 1
        + delimited(b"\x1a", text(metric.unit))  # Metric.unit = 3
        + delimited(_GAUGE if metric.kind is Kind.GAUGE else _SUM, data),
    )


def _point(point: Point) -> bytes:
    # NumberDataPoint: start_time_unix_nano = 2, time_unix_nano = 3, as_double = 4, as_int = 6, attributes = 7;
    # Gauge.data_points = 1, Sum.data_points = 1
    start = b"" if point.start_ns is None else b"\x11" + _fixed64(point.start_ns)
    whole = isinstance(point.value, int)
    value = b"\x31" + _signed64(int(point.value)) if whole else b"\x21" + _double(point.value)
    attributes = b"".join(delimited(b"\x3a", key_value(*item)) for item in point.attributes.items())
    return delimited(b"\x0a", start + b"\x19" + _fixed64(point.time_ns) + value + attributes)
