"""OTLP metrics: the points of GPUs are kept, whatever else an app sends is acknowledged and not kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from pennytrace_collectors.errors import JournalFull
from pennytrace_collectors.journal import carried, carries_metrics
from pennytrace_collectors.receive.http import JSON, PROTOBUF
from tests.collectors import otlp
from tests.collectors.capacity import Device, at, counter, held, point, reading, request, time

from .receiver import Answer, Receiver

METRICS = "/v1/metrics"
SERVICE = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def send(receiver: Receiver, *metrics: Metric) -> Answer:
    return receiver.post(request(metrics).SerializeToString(), path=METRICS)


def kept(receiver: Receiver) -> list[ExportMetricsServiceRequest]:
    """What the journal was given."""
    prefix = carried(b"")[:-1]
    return [
        ExportMetricsServiceRequest.FromString(body[len(prefix) + _length_of_varint(body, len(prefix)) :])
        for body in receiver.memory.bodies
    ]


def _length_of_varint(body: bytes, place: int) -> int:
    return next(count for count in range(1, 6) if body[place + count - 1] < 0x80)


def partial(answer: Answer) -> tuple[int, str]:
    assert answer.status == 200
    found = ExportMetricsServiceResponse.FromString(answer.body).partial_success
    return found.rejected_data_points, found.error_message


def test_a_heartbeat_is_kept_as_it_came(receiver: Receiver) -> None:
    heartbeat = [
        held(0, 15),
        time("pennytrace.gpu.busy", 0, 15, 7.5),
        reading("hw.gpu.utilization", 15, 0.5),
        counter("hw.energy", 15, 4711.0),
    ]
    answer = send(receiver, *heartbeat)

    assert (answer.status, answer.headers["content-type"], answer.body) == (200, PROTOBUF, b"")
    (found,) = kept(receiver)
    (resource,) = found.resource_metrics
    assert resource.resource == request([]).resource_metrics[0].resource
    metrics = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    for sent in heartbeat:
        assert [*metrics[sent.name].gauge.data_points] == [*sent.gauge.data_points]
        assert [*metrics[sent.name].sum.data_points] == [*sent.sum.data_points]
    assert receiver.memory.spans == 0


def test_a_journal_tells_whether_metrics_are_in_it() -> None:
    metrics = carried(request([held(0, 15)]).SerializeToString())
    assert carries_metrics(otlp.body(3) + metrics)
    assert not carries_metrics(otlp.body(3))


def test_other_metrics_are_acknowledged_and_not_kept(receiver: Receiver) -> None:
    duration = Metric(name="http.server.request.duration")
    duration.histogram.data_points.add(count=1)
    of_ours = Metric(name="hw.gpu.utilization")
    of_ours.histogram.data_points.add(count=1)
    fan = reading("hw.energy", 15, 3.0)
    fan.gauge.data_points[0].attributes[1].value.string_value = "fan"
    answer = send(receiver, reading("process.cpu.time", 15, 3.0), duration, of_ours, fan)

    assert (answer.status, answer.body) == (200, b"")
    assert receiver.memory.bodies == []


def test_the_utilisation_of_a_part_of_a_gpu_is_not_taken_for_the_whole(receiver: Receiver) -> None:
    decoder, whole = reading("hw.gpu.utilization", 15, 0.1), reading("hw.gpu.utilization", 15, 0.9)
    decoder.gauge.data_points[0].attributes.add(key="hw.gpu.task").value.string_value = "decoder"
    send(receiver, decoder, whole)

    values = [
        found.as_double
        for message in kept(receiver)
        for metric in message.resource_metrics[0].scope_metrics[0].metrics
        for found in metric.gauge.data_points
    ]
    assert values == [0.9]


def test_a_point_without_a_value_is_left_out(receiver: Receiver) -> None:
    gone = reading("hw.gpu.utilization", 15, 0.0)
    gone.gauge.data_points[0].flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK

    assert partial(send(receiver, gone)) == (0, "")
    assert receiver.memory.bodies == []


def _cumulative() -> Metric:
    made = held(0, 15)
    made.sum.aggregation_temporality = counter("", 0, 0).sum.aggregation_temporality
    return made


BAD: list[tuple[Callable[[], Metric], str]] = [
    (lambda: held(0, 15, Device(gpu="")), "a point needs the attribute hw.id, the GPU's uuid"),
    (
        lambda: reading("hw.gpu.utilization", 15, 1, Device(gpu="")),
        "a point needs the attribute hw.id, the GPU's uuid",
    ),
    (lambda: reading("hw.gpu.utilization", 15, math.nan), "a point needs a finite value"),
    (lambda: reading("hw.gpu.utilization", -(10**9), 1), "a point's time must lie between 2015 and 2100"),
    (
        lambda: held(15, 15),
        "GPU time must not be negative, and its interval must end after it starts, within 366 days",
    ),
    (
        lambda: held(15, 0),
        "GPU time must not be negative, and its interval must end after it starts, within 366 days",
    ),
    (
        lambda: held(-367 * 86400, 0),
        "GPU time must not be negative, and its interval must end after it starts, within 366 days",
    ),
    (
        lambda: time("pennytrace.gpu.busy", 0, 15, -1),
        "GPU time must not be negative, and its interval must end after it starts, within 366 days",
    ),
    (_cumulative, "GPU time must be a sum of delta temporality"),
]


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_a_point_that_cannot_be_used_is_rejected_with_the_reason_and_the_others_kept(
    receiver: Receiver, bad: Callable[[], Metric], why: str
) -> None:
    answer = send(receiver, held(0, 15), bad())

    assert partial(answer) == (1, f"1 of 2 data points of GPUs were rejected: {why}")
    (found,) = kept(receiver)
    (metric,) = found.resource_metrics[0].scope_metrics[0].metrics
    assert [*metric.sum.data_points] == [*held(0, 15).sum.data_points]


def test_when_every_point_is_rejected_nothing_is_kept(receiver: Receiver) -> None:
    assert partial(send(receiver, held(0, 15, Device(gpu=""))))[0] == 1
    assert receiver.memory.bodies == []


def test_a_json_body_is_kept_as_the_same_protobuf(receiver: Receiver) -> None:
    message = request([held(0, 15), counter("hw.energy", 15, 4711.0)])
    assert receiver.post(message.SerializeToString(), path=METRICS).status == 200
    document = MessageToDict(message, use_integers_for_enums=True)
    (provisioned, _) = document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    # Ids are in hex in OTLP's JSON, which base64 may not be able to read.
    provisioned["sum"]["dataPoints"][0]["exemplars"] = [{"asDouble": 1.0, "traceId": "0" * 31 + "1"}]
    provisioned["invented"] = [1]
    answer = receiver.post(json.dumps(document).encode(), JSON, path=METRICS)

    assert (answer.status, answer.headers["content-type"], answer.body) == (200, JSON, b"{}")
    from_protobuf, from_json = receiver.memory.bodies
    assert from_json == from_protobuf


def test_json_says_how_many_points_were_rejected(receiver: Receiver) -> None:
    body = json.dumps(MessageToDict(request([held(0, 15, Device(gpu=""))]), use_integers_for_enums=True))
    answer = json.loads(receiver.post(body.encode(), JSON, path=METRICS).body)

    assert answer["partialSuccess"]["rejectedDataPoints"] == "1"


@pytest.mark.parametrize(("content_type", "body"), [(PROTOBUF, b"nonsense"), (JSON, b"[]"), (JSON, b"{")])
def test_a_malformed_body_is_refused(receiver: Receiver, content_type: str, body: bytes) -> None:
    assert receiver.post(body, content_type, path=METRICS).status == 400
    assert receiver.memory.bodies == []


def test_a_gzipped_body_is_kept_unpacked(receiver: Receiver) -> None:
    body = request([held(0, 15)]).SerializeToString()
    receiver.post(body, path=METRICS)
    receiver.post(otlp.gzipped(body), path=METRICS, headers={"Content-Encoding": "gzip"})

    plain, unpacked = receiver.memory.bodies
    assert plain == unpacked


def test_under_pressure_the_sender_is_told_when_to_come_back(receiver: Receiver) -> None:
    receiver.memory.refusal = JournalFull("the journal is full")
    answer = send(receiver, held(0, 15))

    assert (answer.status, answer.headers["retry-after"]) == (503, str(JournalFull.retry_after_s))
    receiver.memory.refusal = None
    assert send(receiver, held(0, 15)).status == 200


def test_get_is_answered_with_the_right_method(receiver: Receiver) -> None:
    assert receiver.post(b"", path=METRICS, method="GET").headers["allow"] == "POST"


@pytest.fixture
def channel(receiver: Receiver) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel:
        yield channel


def test_over_grpc_the_same_is_kept_and_the_same_rejected(receiver: Receiver, channel: grpc.Channel) -> None:
    body = request([held(0, 15), held(0, 15, Device(gpu=""))]).SerializeToString()
    export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SERVICE)
    answer = ExportMetricsServiceResponse.FromString(export(body, timeout=60))
    receiver.post(body, path=METRICS)

    assert answer.partial_success.rejected_data_points == 1
    over_grpc, over_http = receiver.memory.bodies
    assert over_grpc == over_http


def test_points_are_counted_apart_from_spans(receiver: Receiver) -> None:
    tally = receiver.intake.tally
    before = (tally.spans, tally.points, tally.rejected_spans, tally.rejected_points)
    send(receiver, held(0, 15), reading("hw.gpu.utilization", 15, 1), held(0, 15, Device(gpu="")))
    receiver.post(otlp.body(3))

    after = (tally.spans, tally.points, tally.rejected_spans, tally.rejected_points)
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 2, 0, 1]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_an_exporter_of_opentelemetry_may_send_everything_here(receiver: Receiver, protocol: str) -> None:
    exporter: MetricExporter = (
        GrpcExporter(endpoint=f"http://127.0.0.1:{receiver.grpc_port}", insecure=True)
        if protocol == "grpc"
        else HttpExporter(endpoint=f"http://127.0.0.1:{receiver.http_port}{METRICS}")
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=Resource({"host.name": "node-1"}))
    meter = provider.get_meter("a driver's exporter")
    meter.create_counter("requests").add(3)
    meter.create_histogram("durations").record(3)
    meter.create_gauge("hw.gpu.utilization", unit="1").set(0.25, {"hw.id": "GPU-1", "hw.type": "gpu"})
    assert provider.force_flush()
    provider.shutdown()

    (found,) = [
        metric
        for message in kept(receiver)[:1]
        for metric in message.resource_metrics[0].scope_metrics[0].metrics
    ]
    assert (found.name, found.gauge.data_points[0].as_double) == ("hw.gpu.utilization", 0.25)


def test_integers_are_kept(receiver: Receiver) -> None:
    made = Metric(name="hw.gpu.memory.usage")
    made.gauge.data_points.append(point(Device().attributes, at(15), 0))
    made.gauge.data_points[0].as_int = 80 * 2**30
    send(receiver, made)

    (found,) = kept(receiver)
    assert found.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].as_int == 80 * 2**30
