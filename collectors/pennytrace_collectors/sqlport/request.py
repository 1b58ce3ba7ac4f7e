"""Reads one HTTP request as ClickHouse's server reads it: statement, parameters, settings, format."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final
from uuid import uuid4

from starlette.requests import Request

from .access import Credentials, credentials
from .faults import Code, Fault
from .limits import Limits

_OWN: Final = frozenset(("query", "database", "user", "password", "query_id", "client_protocol_version"))
_PARAMETER: Final = re.compile(r"param_(\w+)", re.ASCII)
_QUERY_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_BODY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asks."""

    text: str
    parameters: Mapping[str, str]
    """The values of `{name:Type}`, written as in a tab-separated file."""
    settings: Mapping[str, str]
    database: str
    """Empty when the client names none."""
    format: str | None
    who: Credentials
    protocol: int
    """The revision of the native protocol that the client speaks; 0 when it does not say."""
    waits: bool
    """Whether the client wants nothing before the query has ended."""
    encodings: str
    """Its Accept-Encoding, or empty when the answer is not to be compressed."""


def query_id(request: Request) -> str:
    """Return the client's own id of the query where it can stand in a header, else a new one."""
    asked = request.query_params.get("query_id", "")
    return asked if _QUERY_ID.fullmatch(asked) else str(uuid4())


async def read(request: Request, limits: Limits) -> Ask:
    """Read a request.

    Raises:
        Fault: It is too large or too slow, cannot be decoded, or uses what is not offered here.
    """
    query = dict(request.query_params)
    who = credentials(request.headers, query)
    form, body = _split(request, await _body(request, limits))
    values = {**query, **form}
    text = "\n".join(part for part in (values.get("query", ""), _text(body)) if part)
    if len(text.encode()) > limits.query_bytes:
        raise _too_large(limits)
    _require_offered(values)
    parameters = {found[1]: value for name, value in values.items() if (found := _PARAMETER.fullmatch(name))}
    return Ask(
        text=text,
        parameters=parameters,
        settings={name: value for name, value in values.items() if _is_setting(name)},
        database=values.get("database", "") or request.headers.get("x-clickhouse-database", ""),
        format=values.get("default_format") or request.headers.get("x-clickhouse-format"),
        who=who,
        protocol=_protocol(values.get("client_protocol_version", "0")),
        waits=values.get("wait_end_of_query", "0") not in ("0", "false"),
        encodings=_encodings(request, values),
    )


def _is_setting(name: str) -> bool:
    return name not in _OWN and not _PARAMETER.fullmatch(name)


def _encodings(request: Request, values: Mapping[str, str]) -> str:
    if values.get("enable_http_compression") in ("0", "false"):
        return ""
    return request.headers.get("accept-encoding", "")


def _protocol(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _require_offered(values: Mapping[str, str]) -> None:
    for name in ("compress", "decompress"):
        if values.get(name, "0") not in ("0", "false", ""):
            raise Fault(
                Code.NOT_IMPLEMENTED,
                f"{name}=1, ClickHouse's own compression, is not offered here; use HTTP's",
            )


async def _body(request: Request, limits: Limits) -> bytes:
    """Return the decompressed body."""
    pieces = bytearray()
    limit = _wire_limit(limits)
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.stream():
                pieces += piece
                if len(pieces) > limit:
                    raise _too_large(limits)
    except TimeoutError:
        raise Fault(209, "the request did not arrive in time", name="SOCKET_TIMEOUT") from None
    return _decoded(bytes(pieces), request.headers.get("content-encoding", ""), limits)


def _wire_limit(limits: Limits) -> int:
    # A form adds its own lines and carries the parameters beside the statement.
    return 4 * limits.query_bytes


def _decoded(body: bytes, encoding: str, limits: Limits) -> bytes:
    if not body or encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "deflate"):
        raise Fault(Code.UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method: {encoding!r}; send gzip")
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = stream.decompress(body, _wire_limit(limits) + 1)
    except zlib.error:
        raise Fault(Code.CANNOT_DECOMPRESS, f"the body is not {encoding}") from None
    if len(plain) > _wire_limit(limits):
        raise _too_large(limits)
    if not stream.eof or stream.unused_data:
        raise Fault(Code.CANNOT_DECOMPRESS, f"the body is not one whole {encoding} stream")
    return plain


def _split(request: Request, body: bytes) -> tuple[dict[str, str], bytes]:
    """Take a multipart form apart, which carries the statement and parameters that are too long for a URL."""
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        return {}, body
    return dict(_fields(kind, body)), b""


def _fields(kind: str, body: bytes) -> Iterator[tuple[str, str]]:
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1", "replace")
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str) or part.get_filename() is not None:
            raise Fault(Code.NOT_IMPLEMENTED, "external data in a form is not offered here")
        payload = part.get_payload(decode=True)
        yield name, _text(payload if isinstance(payload, bytes) else b"")


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Fault(Code.BAD_ARGUMENTS, "the statement is not UTF-8") from None


def _too_large(limits: Limits) -> Fault:
    return Fault(Code.QUERY_IS_TOO_LARGE, f"Max query size exceeded: more than {limits.query_bytes} bytes")
