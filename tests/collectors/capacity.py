"""Builds OTLP metrics as processes that hold GPUs send them, and reads what the store makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, NumberDataPoint

from pennytrace_collectors.journal import carried
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store import Store

HOUR = datetime(2026, 11, 20, 14, tzinfo=UTC)
H100 = "NVIDIA H100 80GB HBM3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, as a data point names it."""

    gpu: str = "GPU-1"
    model: str = H100
    pool: str = ""
    parent: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        named = {
            "hw.id": self.gpu,
            "hw.type": "gpu",
            "hw.model": self.model,
            "hw.vendor": "NVIDIA",
            "hw.parent": self.parent,
            "pennytrace.gpu.pool": self.pool,
        }
        return {key: value for key, value in named.items() if value}


GPU = Device()


def at(seconds: float, *, hour: datetime = HOUR) -> int:
    """So many seconds after an hour, in nanoseconds since 1970, to the microsecond."""
    return (
        round(
            (hour + timedelta(seconds=seconds) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)
        )
        * 1000
    )


def held(start: float, end: float, device: Device = GPU) -> Metric:
    """The device was held from `start` to `end`, seconds after the hour."""
    return time("pennytrace.gpu.provisioned", start, end, end - start, device)


def time(name: str, start: float, end: float, value: float, device: Device = GPU) -> Metric:
    """Seconds of an interval."""
    made = Metric(name=name, unit="s")
    made.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    made.sum.is_monotonic = True
    made.sum.data_points.append(point(device.attributes, at(end), value, start_ns=at(start)))
    return made


def reading(name: str, moment: float, value: float, device: Device = GPU) -> Metric:
    """What a gauge showed."""
    made = Metric(name=name)
    made.gauge.data_points.append(point(device.attributes, at(moment), value))
    return made


def counter(name: str, moment: float, value: float, device: Device = GPU) -> Metric:
    """What a counter had come to since it began."""
    made = Metric(name=name)
    made.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    made.sum.data_points.append(point(device.attributes, at(moment), value))
    return made


def point(attributes: Mapping[str, str], time_ns: int, value: float, *, start_ns: int = 0) -> NumberDataPoint:
    """One data point."""
    return NumberDataPoint(
        attributes=_attributes(attributes),
        time_unix_nano=time_ns,
        start_time_unix_nano=start_ns,
        as_double=value,
    )


def request(
    metrics: Iterable[Metric], *, instance: str = "one", node: str = "node-1"
) -> ExportMetricsServiceRequest:
    """A request of one process."""
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add()
    resource.resource.attributes.extend(
        _attributes(
            {
                "service.name": "vllm",
                "deployment.environment.name": "production",
                "host.name": node,
                "service.instance.id": instance,
            }
        )
    )
    resource.scope_metrics.add().metrics.extend(metrics)
    return made


def load(store: Store, metrics: Iterable[Metric], *, instance: str = "one", node: str = "node-1") -> None:
    """Load what one process said."""
    body = carried(request(metrics, instance=instance, node=node).SerializeToString())
    store.load(varint(len(body)) + body)


def capacity(store: Store, columns: str = "*") -> list[dict[str, Any]]:
    """Rows of the view `gpu_capacity`, by hour and GPU."""
    found = store.client.query(f"SELECT {columns} FROM pennytrace.gpu_capacity ORDER BY hour, gpu")
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]
