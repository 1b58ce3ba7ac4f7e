"""Says what of a body of traces can be kept: the one place where the collector looks into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from pennytrace_collectors.errors import Malformed

from .guard import guard

_NO_TRACE_ID: Final = bytes(16)
_NO_SPAN_ID: Final = bytes(8)


@dataclass(frozen=True, slots=True)
class Checked:
    """The part of a body that can be kept."""

    body: bytes
    """As the journal keeps it: of traces the client's own bytes, unless spans were rejected; metrics are carried."""
    spans: int = 0
    """How many spans `body` holds."""
    points: int = 0
    """How many data points it holds; without either there is nothing to keep."""
    rejected_spans: int = 0
    rejected_points: int = 0
    reason: str = ""
    """Why spans or points were rejected; empty when none were."""


def check(body: bytes) -> Checked:
    """Check a protobuf body, strings included.

    Raises:
        Malformed: It is not an ExportTraceServiceRequest.
    """
    guard(body, ExportTraceServiceRequest.DESCRIPTOR)
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise Malformed(
            f"the body is not a protobuf ExportTraceServiceRequest ({error}); "
            "check that the exporter speaks OTLP and that nothing on the way changes bodies"
        ) from None
    return check_request(request, body)


def check_request(request: ExportTraceServiceRequest, body: bytes | None = None) -> Checked:
    """Check a decoded request; `body` is its serialised form when there is one already."""
    if len(UnknownFieldSet(request)):
        # Fields that OTLP does not have are the collector's own there: stamps, and metrics that were checked.
        request.DiscardUnknownFields()  # type: ignore[no-untyped-call, unused-ignore]
        body = None
    groups = list(_groups(request))
    total = sum(len(group.spans) for group in groups)
    bad = [group for group in groups if not all(map(_is_good, group.spans))]
    if not bad:
        return Checked(request.SerializeToString() if body is None else body, spans=total)
    kept = total - sum(map(_keep_good, bad))
    if kept == total:
        return Checked(request.SerializeToString(), spans=total)
    reason = (
        f"{total - kept} of {total} spans were rejected: "
        "a trace_id must have 16 bytes and a span_id 8, not all of them zero"
    )
    return Checked(request.SerializeToString(), spans=kept, rejected_spans=total - kept, reason=reason)


def _groups(request: ExportTraceServiceRequest) -> Iterator[ScopeSpans]:
    for resource in request.resource_spans:
        yield from resource.scope_spans


def _is_good(span: Span) -> bool:
    return _has_ids(span) and len(span.parent_span_id) in (0, 8)


def _has_ids(span: Span) -> bool:
    trace_id, span_id = span.trace_id, span.span_id
    return len(trace_id) == 16 and len(span_id) == 8 and trace_id != _NO_TRACE_ID and span_id != _NO_SPAN_ID


def _keep_good(group: ScopeSpans) -> int:
    """Remove the spans without usable ids, and return how many they were; a parent's id that is none is forgotten.

    Who called whom is not worth a call's cost.
    """
    good = [span for span in group.spans if _has_ids(span)]
    rejected = len(group.spans) - len(good)
    for span in good:
        if len(span.parent_span_id) not in (0, 8):
            span.ClearField("parent_span_id")
    kept = ScopeSpans(spans=good)
    group.ClearField("spans")
    group.spans.extend(kept.spans)
    return rejected
