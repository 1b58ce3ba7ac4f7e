"""Puts what is known of devices into OpenTelemetry's metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from pennytrace import semconv
from pennytrace._capacity.device import Device, Reading
from pennytrace._capacity.held import Since
from pennytrace._delivery.metrics import Kind, Metric, Point

_READINGS: Final = (
    (semconv.GPU_UTILIZATION_METRIC, "1", Kind.GAUGE, attrgetter("utilization")),
    (semconv.GPU_MEMORY_USAGE_METRIC, "By", Kind.GAUGE, attrgetter("memory_usage")),
    (semconv.GPU_MEMORY_LIMIT_METRIC, "By", Kind.GAUGE, attrgetter("memory_limit")),
    (semconv.GPU_ENERGY_METRIC, "J", Kind.CUMULATIVE, attrgetter("energy")),
)


def of_time(since: Sequence[Since], pool: str | None) -> Iterator[Metric]:
    """Return in which time devices were held, and what was done in it: one point a device and metric."""
    found: dict[str, list[Point]] = {}
    for one in since:
        seconds = {semconv.GPU_PROVISIONED_METRIC: one.interval.seconds, **one.more}
        for name, value in seconds.items():
            point = Point(_attributes(one.device, pool), one.interval.end_ns, value, one.interval.start_ns)
            found.setdefault(name, []).append(point)
    for name, points in found.items():
        yield Metric(name, "s", Kind.DELTA, points)


def of_readings(readings: Mapping[Device, Reading], time_ns: int, pool: str | None) -> Iterator[Metric]:
    """Return what devices say of themselves; of what none of them says there is no metric."""
    for name, unit, kind, value_in in _READINGS:
        points = [
            Point(_attributes(device, pool), time_ns, value_in(reading))
            for device, reading in readings.items()
            if value_in(reading) is not None
        ]
        if points:
            yield Metric(name, unit, kind, points)


def _attributes(device: Device, pool: str | None) -> dict[str, str]:
    named = {
        semconv.HW_ID: device.id,
        semconv.HW_TYPE: device.kind,
        semconv.HW_MODEL: device.model,
        semconv.HW_VENDOR: device.vendor,
        semconv.HW_PARENT: device.parent,
        semconv.GPU_POOL: pool or "",
    }
    return {name: value for name, value in named.items() if value}
