"""The hand-written OTLP: whatever is encoded decodes to the same with the official classes."""

from __future__ import annotations

import math
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OfficialSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from pennytrace._delivery import otlp as _otlp
from tests.instrumentation.sink import values

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
numbers = st.integers(min_value=-(2**63), max_value=2**63 - 1)
attributes = st.dictionaries(
    texts, st.one_of(texts, numbers, st.booleans(), st.floats(allow_nan=False)), max_size=20
)
spans = st.builds(
    _otlp.Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_id=st.none() | st.binary(min_size=8, max_size=8),
    name=texts,
    started_ns=st.integers(min_value=0, max_value=2**64 - 1),
    ended_ns=st.integers(min_value=0, max_value=2**64 - 1),
    attributes=attributes,
    failed=st.booleans(),
)


def decoded(*encoded: bytes, resource: dict[str, Any] | None = None) -> ExportTraceServiceRequest:
    body = _otlp.encode_request(
        _otlp.encode_resource(resource or {}), _otlp.encode_scope("pennytrace", "1"), encoded
    )
    return ExportTraceServiceRequest.FromString(body)


def as_typed(pairs: dict[str, Any]) -> dict[str, tuple[type, Any]]:
    return {name: (type(value), value) for name, value in pairs.items()}


@given(spans)
def test_a_span_decodes_to_itself(span: _otlp.Span) -> None:
    (official,) = decoded(_otlp.encode_span(span)).resource_spans[0].scope_spans[0].spans
    assert official.trace_id == span.trace_id
    assert official.span_id == span.span_id
    assert official.parent_span_id == (span.parent_id or b"")
    assert official.name == span.name
    kind = OfficialSpan.SPAN_KIND_INTERNAL if span.internal else OfficialSpan.SPAN_KIND_CLIENT
    assert official.kind == kind
    assert official.start_time_unix_nano == span.started_ns
    assert official.end_time_unix_nano == span.ended_ns
    assert as_typed(values(official.attributes)) == as_typed(dict(span.attributes))
    assert (official.status.code == Status.STATUS_CODE_ERROR) == span.failed
    assert official.flags & 1, "always sampled"


@given(spans)
def test_nothing_is_written_that_the_official_classes_do_not_know(span: _otlp.Span) -> None:
    request = decoded(_otlp.encode_span(span))
    again = ExportTraceServiceRequest()
    again.CopyFrom(request)
    again.DiscardUnknownFields()
    assert again.SerializeToString(deterministic=True) == request.SerializeToString(deterministic=True)


@given(st.lists(spans, max_size=20), attributes)
def test_a_batch_keeps_every_span_and_its_order(batch: list[_otlp.Span], resource: dict[str, Any]) -> None:
    request = decoded(*map(_otlp.encode_span, batch), resource=resource)
    (resource_spans,) = request.resource_spans
    (scope_spans,) = resource_spans.scope_spans
    assert (scope_spans.scope.name, scope_spans.scope.version) == ("pennytrace", "1")
    assert [span.span_id for span in scope_spans.spans] == [span.span_id for span in batch]
    assert as_typed(values(resource_spans.resource.attributes)) == as_typed(resource)


@given(st.text(max_size=50))
def test_text_that_is_no_valid_unicode_is_still_sent(text: str) -> None:
    span = _otlp.Span(b"t" * 16, b"s" * 8, None, text, 0, 0, {"k": text}, False)
    assert decoded(_otlp.encode_span(span)).resource_spans


def test_one_and_true_and_one_point_zero_stay_apart() -> None:
    for value in (1, True, 1.0, 0, False, 0.0, -0.0):
        span = _otlp.Span(b"t" * 16, b"s" * 8, None, "n", 0, 0, {"k": value}, False)
        (official,) = decoded(_otlp.encode_span(span)).resource_spans[0].scope_spans[0].spans
        got = values(official.attributes)["k"]
        assert (type(got), got) == (type(value), value)


def test_doubles_keep_every_bit() -> None:
    for value in (math.pi, 5e-324, math.inf, -math.inf):
        span = _otlp.Span(b"t" * 16, b"s" * 8, None, "n", 0, 0, {"k": value}, False)
        (official,) = decoded(_otlp.encode_span(span)).resource_spans[0].scope_spans[0].spans
        assert struct.pack("<d", values(official.attributes)["k"]) == struct.pack("<d", value)
