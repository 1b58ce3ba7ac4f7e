"""OTLP over HTTP as an ASGI application, and the pages that stand beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from starlette.types import ASGIApp, Receive, Scope, Send

from pennytrace_collectors.errors import BadRequest, Overloaded, Unauthenticated, Unsupported

from .gzipped import Gunzip
from .incoming import ClientGone, Incoming, Unpacker
from .intake import Intake
from .signals import METRICS, SIGNALS, TRACES, Signal, not_collected
from .status import encode, failure, http_status, refusal
from .zstd import Unzstd

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_UNPACKERS: Final[Mapping[str, Callable[[], Unpacker]]] = {"gzip": Gunzip, "zstd": Unzstd}
_PLAIN: Final = ("identity", "")
# In an answer it tells the sender which encodings of requests are read here (RFC 9110, 12.5.3).
_TAKEN: Final = ((b"accept-encoding", ", ".join(_UNPACKERS).encode()),)

_SIGNALS: Final = {signal.path: signal for signal in SIGNALS}
_OTHER_SIGNALS: Final = {"/v1/logs": "logs", "/v1development/profiles": "profiles"}
_BODY_TIME_S: Final = 60.0
"""How long a client may take to send one body."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


Page = Callable[[], Reply]
"""Answers a GET."""


def application(intake: Intake, pages: Mapping[str, Page], *, body_time_s: float = _BODY_TIME_S) -> ASGIApp:
    """Return the application that takes every signal at its path, and shows `pages` by theirs."""
    return _Application(intake, pages, body_time_s)


@dataclass(frozen=True, slots=True)
class _Application:
    _intake: Intake
    _pages: Mapping[str, Page]
    _body_time_s: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        incoming = Incoming(headers, receive, limit_s=self._body_time_s)
        try:
            reply = await self._route(scope["method"], scope["path"], headers, incoming)
        except ClientGone:
            self._intake.tally.rejected_requests["client_gone"] += 1
            return
        if reply.status >= 400:
            await incoming.read_past()
        await _send(reply, send)

    async def _route(
        self, method: str, path: str, headers: Mapping[bytes, bytes], incoming: Incoming
    ) -> Reply:
        if signal := _SIGNALS.get(path):
            if method != "POST":
                return _wrong_method(method, "POST")
            return await self._export(signal, headers, incoming)
        if page := self._pages.get(path):
            return page() if method in ("GET", "HEAD") else _wrong_method(method, "GET")
        return _not_found(path, headers)

    async def _export(self, signal: Signal, headers: Mapping[bytes, bytes], incoming: Incoming) -> Reply:
        as_json = _media_type(headers) == JSON
        self._intake.count_request("http/json" if as_json else "http/protobuf")
        try:
            return await self._take(signal, headers, incoming, as_json=as_json)
        except (BadRequest, Overloaded) as error:
            self._intake.count_rejection(error)
            return _error(error, as_json=_media_type(headers) != PROTOBUF)

    async def _take(
        self, signal: Signal, headers: Mapping[bytes, bytes], incoming: Incoming, *, as_json: bool
    ) -> Reply:
        bearer = self._intake.admit(headers.get(b"authorization", b"").decode("latin-1"))
        _require_readable(headers)
        with self._intake.budget.hold() as hold:
            unpacker = _UNPACKERS.get(_encoding(headers))
            body = await incoming.read(hold, unpacker=unpacker and unpacker())
            accept = self._intake.accept_json if as_json else self._intake.accept_protobuf
            checked = await accept(body, signal, bearer)
        return _message(200, signal.success(checked), as_json=as_json, headers=_TAKEN)


def _media_type(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()


def _encoding(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()


def _require_readable(headers: Mapping[bytes, bytes]) -> None:
    if (media_type := _media_type(headers)) not in (PROTOBUF, JSON):
        raise Unsupported(f"the Content-Type is {media_type!r}; send {PROTOBUF!r} or {JSON!r}")
    if (encoding := _encoding(headers)) not in (*_UNPACKERS, *_PLAIN):
        raise Unsupported(
            f"the Content-Encoding is {encoding!r}; send {' or '.join(map(repr, _UNPACKERS))} or none"
        )


def _error(error: BadRequest | Overloaded, *, as_json: bool) -> Reply:
    # Not all of the body may have been read, so that nothing else can follow on this connection.
    headers: tuple[tuple[bytes, bytes], ...] = (*_TAKEN, (b"connection", b"close"))
    if isinstance(error, Overloaded):
        headers += ((b"retry-after", b"%d" % error.retry_after_s),)
    if isinstance(error, Unauthenticated):
        headers += ((b"www-authenticate", b'Bearer realm="pennytrace"'),)
    return _message(http_status(error), failure(error), as_json=as_json, headers=headers)


def _wrong_method(method: str, right: str) -> Reply:
    status = refusal(405, f"{method} is not possible here; use {right}")
    return _message(
        405, status, as_json=True, headers=((b"allow", right.encode()), (b"connection", b"close"))
    )


def _not_found(path: str, headers: Mapping[bytes, bytes]) -> Reply:
    reason = (
        f"there is nothing at {path!r}; send traces to {TRACES.path!r}, metrics of GPUs to {METRICS.path!r}"
    )
    if signal := _OTHER_SIGNALS.get(path):
        reason = not_collected(signal)
    as_json = _media_type(headers) != PROTOBUF
    return _message(404, refusal(404, reason), as_json=as_json, headers=((b"connection", b"close"),))


def _message(
    status: int, message: Message, *, as_json: bool, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Reply:
    return Reply(status, JSON if as_json else PROTOBUF, encode(message, as_json=as_json), headers)


async def _send(reply: Reply, send: Send) -> None:
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
