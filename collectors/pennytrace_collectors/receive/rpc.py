"""OTLP over gRPC, on raw bytes: the body is decoded once, by the check."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from pennytrace_collectors.errors import (
    BadRequest,
    Forbidden,
    ListenError,
    OverAllowance,
    Overloaded,
    TooLarge,
    Unauthenticated,
)

from .address import Address
from .bearer import Bearer
from .intake import BODY_BYTES, Intake
from .signals import SIGNALS, Signal, not_collected
from .status import encode, failure
from .tls import Tls

_OTHER_SERVICES: Final = {"opentelemetry.proto.collector.logs.v1.LogsService": "logs"}
_TIMES: Final = (
    # A client that connects and says nothing, or not what HTTP/2 begins with.
    ("grpc.server_handshake_timeout_ms", 15_000),
    # One that asks for nothing is sent away, which clients understand: they connect again with their next call.
    ("grpc.max_connection_idle_ms", 300_000),
    # One that is gone without having said so.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
_DETAILS: Final = "grpc-status-details-bin"

Context = grpc.aio.ServicerContext[bytes, bytes]


def server(intake: Intake, address: Address, tls: Tls | None = None) -> tuple[grpc.aio.Server, int]:
    """Return a server that is not started yet and the port that it has bound.

    Raises:
        ListenError: The address cannot be listened on.
    """
    # gRPC writes several lines to standard error when it cannot bind, so the address is tried first.
    address.bind().close()
    made = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", BODY_BYTES),
            # Without it two collectors would share the port, each getting some of the traffic.
            ("grpc.so_reuseport", 0),
            *_TIMES,
        ],
        compression=None,
    )
    made.add_generic_rpc_handlers(
        (*(_Taken(intake, signal) for signal in SIGNALS), *map(_elsewhere, _OTHER_SERVICES))
    )
    try:
        if tls is not None:
            return made, made.add_secure_port(address.target, tls.server_credentials())
        return made, made.add_insecure_port(address.target)
    except RuntimeError as error:
        raise ListenError(address.refused(str(error))) from None


class _Taken(grpc.GenericRpcHandler):
    """Takes a signal; who is not let in is answered before anything of the body is read."""

    def __init__(self, intake: Intake, signal: Signal) -> None:
        self._intake = intake
        self._signal = signal

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if details.method != f"/{self._signal.service}/Export":
            return None
        self._intake.count_request("grpc")
        try:
            bearer = self._intake.admit(_authorization(details))
        except (BadRequest, Overloaded) as error:
            return self._turned_away(error)

        async def export(body: bytes, context: Context) -> bytes:
            return await self._export(body, context, bearer)

        return grpc.unary_unary_rpc_method_handler(export)

    async def _export(self, body: bytes, context: Context, bearer: Bearer) -> bytes:
        try:
            with self._intake.budget.hold() as hold:
                hold.grow(len(body))
                checked = await self._intake.accept_protobuf(body, self._signal, bearer)
        except (BadRequest, Overloaded) as error:
            self._intake.count_rejection(error)
            await _abort(error, context)
        return encode(self._signal.success(checked), as_json=False)

    def _turned_away(self, error: BadRequest | Overloaded) -> grpc.RpcMethodHandler[bytes, bytes]:
        self._intake.count_rejection(error)

        async def refuse(bodies: object, context: Context) -> bytes:
            await _abort(error, context)

        # As a stream, because gRPC would read the one body of a plain call before it asks.
        return grpc.stream_unary_rpc_method_handler(refuse)


def _authorization(details: grpc.HandlerCallDetails) -> str:
    for name, value in details.invocation_metadata or ():
        if name == "authorization":
            return value.decode("latin-1") if isinstance(value, bytes) else value
    return ""


def _elsewhere(service: str) -> grpc.GenericRpcHandler:
    async def export(body: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, not_collected(_OTHER_SERVICES[service]))

    return grpc.method_handlers_generic_handler(
        service, {"Export": grpc.unary_unary_rpc_method_handler(export)}
    )


async def _abort(error: BadRequest | Overloaded, context: Context) -> NoReturn:
    details: Any = ((_DETAILS, encode(failure(error), as_json=False)),)
    await context.abort(_code(error), str(error), details)


def _code(error: BadRequest | Overloaded) -> grpc.StatusCode:
    match error:
        case Unauthenticated():
            return grpc.StatusCode.UNAUTHENTICATED
        case Forbidden():
            return grpc.StatusCode.PERMISSION_DENIED
        case TooLarge() | OverAllowance():
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case BadRequest():
            return grpc.StatusCode.INVALID_ARGUMENT
        case _:
            return grpc.StatusCode.UNAVAILABLE
