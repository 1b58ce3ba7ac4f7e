"""The framing of one journaled body, such that ClickHouse reads a file of records as it is.

A record is the length of what follows as a varint, the body, and two more fields of the same message:

    number 15001, fixed32   how many spans the body holds
    number 15000, fixed32   CRC-32 of everything from the start of the body up to this field

No OTLP message uses these numbers, and every protobuf reader skips fields that it does not know, so a file of
records is a valid stream of length-delimited `ExportTraceServiceRequest` messages.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final


def varint(number: int) -> bytes:
    """Encode a number >= 0 as protobuf does."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_FIXED32: Final = 5
_SPANS_TAG: Final = varint(15001 << 3 | _FIXED32)
_CRC_TAG: Final = varint(15000 << 3 | _FIXED32)
_COUNT: Final = struct.Struct("<3sI")
_TRAILER: Final = struct.Struct("<3sI3sI")
_COVERED: Final = _TRAILER.size - _COUNT.size
"""How many bytes of the trailer come before the checksum's own field, and are covered by it."""

_LONGEST_PREFIX: Final = 5
"""Bytes of a length prefix: five hold every length below 32 GiB, far above the largest body."""


@dataclass(frozen=True, slots=True)
class Framing:
    """What goes before and after a body."""

    prefix: bytes
    trailer: bytes


def frame(body: bytes, spans: int) -> Framing:
    """Return what makes a record of `body`, without copying it."""
    count = _COUNT.pack(_SPANS_TAG, spans)
    checksum = zlib.crc32(count, zlib.crc32(body))
    return Framing(varint(len(body) + _TRAILER.size), count + _COUNT.pack(_CRC_TAG, checksum))


def framed_size(body_bytes: int) -> int:
    """Return how many bytes the record of a body of `body_bytes` bytes takes."""
    size = body_bytes + _TRAILER.size
    return (max(size.bit_length(), 1) + 6) // 7 + size


@dataclass(frozen=True, slots=True)
class Scan:
    """The good records at the start of some bytes."""

    ends: tuple[int, ...]
    """The offset after each good record; a record starts where the one before it ends."""
    spans: int
    fault: str
    """Why the scan stopped before the end of the bytes; empty when it did not."""

    @property
    def good_bytes(self) -> int:
        """How many bytes the good records take."""
        return self.ends[-1] if self.ends else 0


def scan(data: bytes) -> Scan:
    """Verify records from the start of `data` until the first that is torn or damaged."""
    ends: list[int] = []
    spans = offset = 0
    fault = ""
    view = memoryview(data)
    while offset < len(data) and not fault:
        start, end = _bounds(view, offset)
        fault = _fault(view, start, end)
        if not fault:
            spans += _TRAILER.unpack_from(view, end - _TRAILER.size)[1]
            ends.append(end)
            offset = end
    return Scan(tuple(ends), spans, fault)


def _bounds(view: memoryview, offset: int) -> tuple[int, int]:
    """Return where a record's message starts and ends; a start of -1 when its length cannot be read."""
    length = 0
    for index, byte in enumerate(view[offset : offset + _LONGEST_PREFIX]):
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            start = offset + index + 1
            return start, start + length
    return -1, -1


def _fault(view: memoryview, start: int, end: int) -> str:
    if start < 0:
        return "the length of a record is cut off or damaged"
    if end > len(view):
        return f"a record is cut off: {end - len(view)} bytes are missing"
    if end - start < _TRAILER.size:
        return "a record is too short to be one"
    spans_tag, _, crc_tag, checksum = _TRAILER.unpack_from(view, end - _TRAILER.size)
    if (spans_tag, crc_tag) != (_SPANS_TAG, _CRC_TAG):
        return "a record does not end as records do"
    if zlib.crc32(view[start : end - _TRAILER.size + _COVERED]) != checksum:
        return "the checksum of a record does not match"
    return ""
