"""OTLP over gRPC: the same promises as over HTTP, in gRPC's words."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pennytrace_collectors.errors import JournalFull, ListenError
from pennytrace_collectors.receive import rpc
from pennytrace_collectors.receive.address import Address
from pennytrace_collectors.receive.intake import BODY_BYTES
from tests.collectors import otlp

from .receiver import Receiver

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
def channel(receiver: Receiver) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel:
        yield channel


def export(
    channel: grpc.Channel, body: bytes, *, method: str = TRACES, compression: grpc.Compression | None = None
) -> bytes:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return call(body, timeout=60, compression=compression)


def failure(channel: grpc.Channel, body: bytes, method: str = TRACES) -> tuple[grpc.StatusCode, str, Status]:
    with pytest.raises(grpc.RpcError) as caught:
        export(channel, body, method=method)
    error = caught.value
    assert isinstance(error, grpc.Call)
    metadata = dict(error.trailing_metadata() or ())
    return (
        error.code(),
        error.details() or "",
        Status.FromString(metadata.get("grpc-status-details-bin", b"")),
    )


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_body_is_kept_in_its_original_bytes(
    receiver: Receiver, channel: grpc.Channel, compression: grpc.Compression
) -> None:
    body = otlp.body(10)
    assert export(channel, body, compression=compression) == b""
    assert receiver.memory.bodies == [body]


def test_spans_without_usable_ids_are_rejected_and_the_others_kept(
    receiver: Receiver, channel: grpc.Channel
) -> None:
    body = otlp.request([otlp.span(), otlp.span(span_id=b"1")]).SerializeToString()
    partial = ExportTraceServiceResponse.FromString(export(channel, body)).partial_success
    assert partial.rejected_spans == 1
    assert receiver.memory.spans == 1


def test_a_malformed_body_is_an_invalid_argument(receiver: Receiver, channel: grpc.Channel) -> None:
    code, details, status = failure(channel, b"nonsense")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a protobuf ExportTraceServiceRequest" in details
    assert status.message == details
    assert receiver.memory.bodies == []


def test_under_pressure_the_client_is_told_when_to_come_back(
    receiver: Receiver, channel: grpc.Channel
) -> None:
    receiver.memory.refusal = JournalFull("the journal is full")
    code, details, status = failure(channel, otlp.body())
    assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "the journal is full")
    retry = RetryInfo()
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.seconds == JournalFull.retry_after_s


def test_a_body_above_the_limit_is_refused(receiver: Receiver, channel: grpc.Channel) -> None:
    code, _, _ = failure(channel, bytes(BODY_BYTES + 1))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert receiver.memory.bodies == []


def test_a_gzip_bomb_is_refused(receiver: Receiver) -> None:
    # What gRPC would itself compress: the server must count what comes out, not what goes in.
    with (
        grpc.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        export(channel, bytes(2 * BODY_BYTES), compression=grpc.Compression.Gzip)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_other_signals_are_not_implemented_and_told_why(channel: grpc.Channel) -> None:
    code, details, _ = failure(channel, b"", "/opentelemetry.proto.collector.logs.v1.LogsService/Export")
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert details.startswith("pennytrace does not collect logs; send only traces here")


def test_a_port_in_use_is_named_with_its_option(receiver: Receiver) -> None:
    with pytest.raises(ListenError, match=rf"port {receiver.grpc_port} is in use.*--grpc HOST:PORT"):
        rpc.server(receiver.intake, Address("127.0.0.1", receiver.grpc_port, "--grpc"))


def test_a_connection_that_says_nothing_is_closed(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.grpc_port), timeout=60) as connection:
        # The server begins with its settings; it then waits for the client's, but not for ever.
        assert b"".join(iter(lambda: connection.recv(4096), b""))
