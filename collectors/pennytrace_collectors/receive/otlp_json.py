"""Reads OTLP's JSON, which writes ids in hex where protobuf's own JSON has base64."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pennytrace_collectors.errors import Malformed

from .guard import guard_json

_ID_KEYS: Final = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")


_METRIC_DATA: Final = (
    "gauge",
    "sum",
    "histogram",
    "exponentialHistogram",
    "exponential_histogram",
    "summary",
)
M = TypeVar("M", bound=Message)


def parse_traces(body: bytes) -> ExportTraceServiceRequest:
    """Return the request that a JSON body describes; fields that OTLP does not know are ignored.

    An id that is not hex becomes empty, so that its span is rejected and the others are kept.

    Raises:
        Malformed: It is not OTLP JSON.
    """
    document = _document(body, "resourceSpans")
    for holder in _holders_of_ids(document):
        _to_base64(holder)
    return _message(document, ExportTraceServiceRequest())


def parse_metrics(body: bytes) -> ExportMetricsServiceRequest:
    """Return the request that a JSON body describes, without exemplars; what OTLP does not know is ignored.

    Raises:
        Malformed: It is not OTLP JSON.
    """
    document = _document(body, "resourceMetrics")
    for point in _points(document):
        # Nobody reads them, and their ids are in hex.
        point.pop("exemplars", None)
    return _message(document, ExportMetricsServiceRequest())


def _document(body: bytes, key: str) -> dict[str, Any]:
    guard_json(body)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise Malformed(f"the body must be a JSON object with {key!r}, but is {type(document).__name__}")
    return document


def _message(document: dict[str, Any], message: M) -> M:
    try:
        return ParseDict(document, message, ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"the body is not OTLP JSON ({error})") from None


def _holders_of_ids(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every span and span link of a request, where the document has the shape of one."""
    for resource in _objects(document, "resourceSpans", "resource_spans"):
        for scope in _objects(resource, "scopeSpans", "scope_spans"):
            for span in _objects(scope, "spans"):
                yield span
                yield from _objects(span, "links")


def _points(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every data point of a request, where the document has the shape of one."""
    for resource in _objects(document, "resourceMetrics", "resource_metrics"):
        for scope in _objects(resource, "scopeMetrics", "scope_metrics"):
            for metric in _objects(scope, "metrics"):
                for data in map(metric.get, _METRIC_DATA):
                    if isinstance(data, dict):
                        yield from _objects(data, "dataPoints", "data_points")


def _objects(parent: dict[str, Any], *keys: str) -> Iterator[dict[str, Any]]:
    for key in keys:
        items = parent.get(key)
        if isinstance(items, list):
            yield from (item for item in items if isinstance(item, dict))


def _to_base64(holder: dict[str, Any]) -> None:
    for key in _ID_KEYS:
        if isinstance(value := holder.get(key), str):
            holder[key] = base64.b64encode(_from_hex(value)).decode("ascii")


def _from_hex(value: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        return b""
