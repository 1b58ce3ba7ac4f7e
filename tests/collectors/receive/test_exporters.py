"""The exporters that applications really use."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from pennytrace_collectors.errors import TooMuchInFlight
from tests.collectors import otlp

from .receiver import Receiver


def over_http(receiver: Receiver) -> SpanExporter:
    return HttpExporter(endpoint=f"http://127.0.0.1:{receiver.http_port}/v1/traces")


def over_http_gzipped(receiver: Receiver) -> SpanExporter:
    endpoint = f"http://127.0.0.1:{receiver.http_port}/v1/traces"
    return HttpExporter(endpoint=endpoint, compression=Compression.Gzip)


def over_grpc(receiver: Receiver) -> SpanExporter:
    return GrpcExporter(endpoint=f"127.0.0.1:{receiver.grpc_port}", insecure=True)


@pytest.mark.parametrize("exporter", [over_http, over_http_gzipped, over_grpc])
def test_spans_of_the_otel_sdk_arrive(
    receiver: Receiver, exporter: Callable[[Receiver], SpanExporter]
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter(receiver)))
    with provider.get_tracer("shop").start_as_current_span("chat gpt-4o", attributes=dict(otlp.CALL)) as span:
        span_id = span.get_span_context().span_id
    provider.shutdown()
    [body] = receiver.memory.bodies
    [kept] = otlp.message_spans(ExportTraceServiceRequest.FromString(body))
    assert int.from_bytes(kept.span_id, "big") == span_id
    assert {attribute.key for attribute in kept.attributes} == set(otlp.CALL)


@pytest.mark.parametrize("exporter", [over_http, over_grpc])
def test_an_exporter_that_is_refused_tries_again(
    receiver: Receiver, exporter: Callable[[Receiver], SpanExporter]
) -> None:
    receiver.memory.refusal, receiver.memory.refusals = TooMuchInFlight("full for a moment"), 1
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter(receiver)))
    with provider.get_tracer("shop").start_as_current_span("chat"):
        pass
    provider.shutdown()
    assert (receiver.memory.refusals, receiver.memory.spans) == (0, 1)
