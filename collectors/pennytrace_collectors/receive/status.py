"""Builds the bodies that OTLP answers with."""

from __future__ import annotations

from typing import Final

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.code_pb2 import (  # type: ignore[import-untyped]
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
)
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from pennytrace_collectors.errors import (
    BadRequest,
    Forbidden,
    OverAllowance,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unsupported,
)

from .check import Checked

_HTTP_STATUS: Final = {
    Unauthenticated: 401,
    Forbidden: 403,
    TooLarge: 413,
    Unsupported: 415,
    OverAllowance: 429,
}
_CODE_OF_HTTP: Final = {404: NOT_FOUND, 405: UNIMPLEMENTED, 415: INVALID_ARGUMENT}


def success_of_traces(checked: Checked) -> ExportTraceServiceResponse:
    """Say that a body was kept, and which spans of it were not."""
    if not checked.rejected_spans:
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=checked.rejected_spans, error_message=checked.reason)
    return ExportTraceServiceResponse(partial_success=partial)


def success_of_metrics(checked: Checked) -> ExportMetricsServiceResponse:
    """Say that a body was kept, and which data points of GPUs in it were not."""
    if not checked.rejected_points:
        return ExportMetricsServiceResponse()
    partial = ExportMetricsPartialSuccess(
        rejected_data_points=checked.rejected_points, error_message=checked.reason
    )
    return ExportMetricsServiceResponse(partial_success=partial)


def failure(error: BadRequest | Overloaded) -> Status:
    """Say why a body was not kept, and when to send it again if that can help."""
    status = Status(code=_code(error), message=str(error))
    if isinstance(error, BadRequest):
        return status
    detail = Any()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=error.retry_after_s)))
    status.details.append(detail)
    return status


def _code(error: BadRequest | Overloaded) -> int:
    match error:
        case Unauthenticated():
            code = UNAUTHENTICATED
        case Forbidden():
            code = PERMISSION_DENIED
        case OverAllowance():
            code = RESOURCE_EXHAUSTED
        case _:
            code = INVALID_ARGUMENT if isinstance(error, BadRequest) else UNAVAILABLE
    return int(code)


def refusal(http_status: int, reason: str) -> Status:
    """Say that there is nothing to send a body to."""
    return Status(code=_CODE_OF_HTTP[http_status], message=reason)


def http_status(error: BadRequest | Overloaded) -> int:
    """Return the HTTP status of an error."""
    for kind, status in _HTTP_STATUS.items():
        if isinstance(error, kind):
            return status
    return 400 if isinstance(error, BadRequest) else 503


def encode(message: Message, *, as_json: bool) -> bytes:
    """Serialise a body in the encoding that the request came in."""
    if as_json:
        return MessageToJson(message, indent=None).encode()
    return message.SerializeToString()
