"""Writes a finished call as OTLP protobuf, by hand: the shortest way from a call to valid bytes.

The messages are those of opentelemetry/proto/trace/v1/trace.proto; field numbers stand beside their use. A
key is the field number shifted left by three, plus the wire type: 0 varint, 1 eight bytes, 2 delimited by its
length, 5 four bytes. The tests decode what is written here with the official classes and compare.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

Value = str | int | float
"""What an attribute may hold; a bool is an int here as everywhere in Python, and is written as a bool."""

_CLIENT: Final = b"\x30\x03"  # Span.kind = 6, SPAN_KIND_CLIENT
_INTERNAL: Final = b"\x30\x01"  # SPAN_KIND_INTERNAL
_ERROR: Final = b"\x7a\x02\x18\x02"  # Span.status = 15, Status.code = 3, STATUS_CODE_ERROR
_FLAGS: Final = b"\x85\x01" + struct.pack("<I", 0x101)  # Span.flags = 16: sampled; the parent is not remote
_LONGEST_TEXT: Final = 4096  # characters; a provider that answers with a novel for a model name is cut

_fixed64 = struct.Struct("<Q").pack
_double = struct.Struct("<d").pack


class Span(NamedTuple):
    """A finished call, ready to be written."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    name: str
    started_ns: int
    """Nanoseconds since 1970, UTC."""
    ended_ns: int
    attributes: Mapping[str, Value | None]
    """None says nothing, and is not written."""
    failed: bool
    internal: bool = False
    """It is no call, but something of our own."""


def encode_span(span: Span) -> bytes:
    """Return `span` as one element of ScopeSpans.spans, its own key and length included."""
    parts = [
        b"\x0a\x10",  # Span.trace_id = 1
        span.trace_id,
        b"\x12\x08",  # Span.span_id = 2
        span.span_id,
    ]
    if span.parent_id is not None:
        parts += (b"\x22\x08", span.parent_id)  # Span.parent_span_id = 4
    parts += (
        _name(span.name),
        _INTERNAL if span.internal else _CLIENT,
        b"\x39",  # Span.start_time_unix_nano = 7
        _fixed64(span.started_ns),
        b"\x41",  # Span.end_time_unix_nano = 8
        _fixed64(span.ended_ns),
    )
    parts += map(_span_attribute, span.attributes, span.attributes.values())
    if span.failed:
        parts.append(_ERROR)
    parts.append(_FLAGS)
    return delimited(b"\x12", b"".join(parts))  # ScopeSpans.spans = 2


def encode_resource(attributes: Mapping[str, Value]) -> bytes:
    """Return the resource as ResourceSpans.resource, its own key and length included."""
    # Resource.attributes = 1, ResourceSpans.resource = 1
    return delimited(b"\x0a", b"".join(delimited(b"\x0a", key_value(*item)) for item in attributes.items()))


def encode_scope(name: str, version: str) -> bytes:
    """Return the scope as ScopeSpans.scope, its own key and length included."""
    # InstrumentationScope.name = 1, .version = 2; ScopeSpans.scope = 1
    return delimited(b"\x0a", delimited(b"\x0a", text(name)) + delimited(b"\x12", text(version)))


def encode_request(resource: bytes, scope: bytes, spans: Iterable[bytes]) -> bytes:
    """Return an ExportTraceServiceRequest around parts that were encoded before."""
    scope_spans = delimited(b"\x12", scope + b"".join(spans))  # ResourceSpans.scope_spans = 2
    return delimited(b"\x0a", resource + scope_spans)  # ExportTraceServiceRequest.resource_spans = 1


@functools.lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    return delimited(b"\x2a", text(name))  # Span.name = 5


# Most values come again and again; response ids do not, and only pass through, so the cache is small. `typed`
# because 1, 1.0 and True are equal.
@functools.lru_cache(maxsize=1024, typed=True)
def _span_attribute(name: str, value: Value | None) -> bytes:
    if value is None:
        return b""
    return delimited(b"\x4a", key_value(name, value))  # Span.attributes = 9


def key_value(name: str, value: Value) -> bytes:
    """Return an attribute as the inside of a KeyValue."""
    return delimited(b"\x0a", text(name)) + delimited(b"\x12", _any_value(value))  # KeyValue.key, .value


def _any_value(value: Value) -> bytes:
    if isinstance(value, str):
        return delimited(b"\x0a", text(value))  # AnyValue.string_value = 1
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"  # AnyValue.bool_value = 2
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFFFFFFFFFFFFFF)  # AnyValue.int_value = 3, two's complement
    return b"\x21" + _double(value)  # AnyValue.double_value = 4


def text(content: str) -> bytes:
    """Return a text as the inside of a string field."""
    return content[:_LONGEST_TEXT].encode("utf-8", "replace")


def delimited(key: bytes, content: bytes) -> bytes:
    """Return a field that is delimited by its length."""
    return key + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    if number < 0x80:
        return number.to_bytes(1, "little")
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
