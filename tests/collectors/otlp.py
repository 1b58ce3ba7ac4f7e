"""Builds OTLP bodies as exporters send them, for all tests of the collector."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

MILLISECOND = 1_000_000
START_NS = 1_780_000_000_000_000_000

CALL: Mapping[str, str | int] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 300,
    "pennytrace.feature": "checkout",
}
"""The attributes of one chat call that OpenAI bills."""


def span(
    attributes: Mapping[str, str | float] = CALL, *, trace_id: bytes = b"", span_id: bytes = b""
) -> Span:
    """Return a client span of 800 ms, with ids of its own unless they are given."""
    return Span(
        trace_id=trace_id or secrets.token_bytes(16),
        span_id=span_id or secrets.token_bytes(8),
        name="chat gpt-4o",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=START_NS,
        end_time_unix_nano=START_NS + 800 * MILLISECOND,
        attributes=[_attribute(key, value) for key, value in attributes.items()],
    )


def request(spans: Iterable[Span], scope: str = "pennytrace") -> ExportTraceServiceRequest:
    """Return a request of one service with one scope."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.append(_attribute("service.name", "shop"))
    scope_spans = resource.scope_spans.add()
    scope_spans.scope.name = scope
    scope_spans.spans.extend(spans)
    return made


def body(spans: int = 1) -> bytes:
    """Return a protobuf body of that many calls."""
    return request(span() for _ in range(spans)).SerializeToString()


def json_body(message: ExportTraceServiceRequest) -> bytes:
    """Return a request as OTLP's JSON, with its ids in hex."""
    document = MessageToDict(message, use_integers_for_enums=True)
    found = zip(_spans_of(document), message_spans(message), strict=True)
    for written, original in found:
        written["traceId"] = original.trace_id.hex()
        written["spanId"] = original.span_id.hex()
    return json.dumps(document).encode()


def gzipped(data: bytes) -> bytes:
    """Return gzip as exporters make it."""
    return gzip.compress(data)


def messages(stream: bytes) -> Iterator[ExportTraceServiceRequest]:
    """Yield the messages of a length-delimited stream, without the fields that OTLP does not know."""
    offset = 0
    while offset < len(stream):
        length, start = _varint(stream, offset)
        offset = start + length
        message = ExportTraceServiceRequest.FromString(stream[start:offset])
        message.DiscardUnknownFields()  # type: ignore[no-untyped-call, unused-ignore]
        yield message


def message_spans(message: ExportTraceServiceRequest) -> Iterator[Span]:
    """Yield all spans of a request, in order."""
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def span_ids(stream: bytes) -> list[bytes]:
    """Return the ids of all spans of a length-delimited stream, in order."""
    return [found.span_id for message in messages(stream) for found in message_spans(message)]


def _varint(stream: bytes, offset: int) -> tuple[int, int]:
    """Return the number that starts at `offset` and the offset after it."""
    number = shift = 0
    while True:
        byte = stream[offset]
        number |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return number, offset


def _attribute(key: str, value: str | float) -> KeyValue:
    return KeyValue(key=key, value=_any_value(value))


def _any_value(value: str | float) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case _:
            return AnyValue(string_value=value)


def _spans_of(
    document: dict[str, list[dict[str, list[dict[str, list[dict[str, str]]]]]]],
) -> Iterator[dict[str, str]]:
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]
