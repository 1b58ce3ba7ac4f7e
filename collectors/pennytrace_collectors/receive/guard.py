"""Refuses bodies that would fill the memory when they are decoded: a field of two bytes becomes a message of 160."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from google.protobuf.descriptor import Descriptor

from pennytrace_collectors.errors import Malformed

LARGE: Final = 1024**2
"""Bytes from which a body is looked at; a smaller one can do little harm, and most are smaller."""

_TIMES: Final = 8
"""How many times its size a body may take in memory; calls of real applications take about 3 times theirs."""
_MESSAGE_BYTES: Final = 16
_FIELD_BYTES: Final = 8
"""About what a decoded message takes: its head, and each of its fields that can be there at once."""

_VARINT: Final = 0
_LENGTH_DELIMITED: Final = 2
_FIXED: Final = {1: 8, 5: 4}

_NOT_TINY: Final = bytes(range(4, 256))
_TINY_SHARE: Final = 12
"""One byte in so many may be below 4 before the smallest parts of a body are looked at, too."""
_JSON_BYTES_A_PART: Final = 6
"""The shortest attribute has three times as many bytes for each of its two parts."""
_STRUCTURE: Final = frozenset(
    {"resource_spans", "scope_spans", "spans", "resource_metrics", "scope_metrics", "metrics"}
)


def guard(body: bytes, root: Descriptor) -> None:
    """Look at a body that claims to be a message of the type `root`, without decoding it.

    Raises:
        Malformed: Decoded, it would take many times its size: it consists of empty parts.
    """
    if len(body) < LARGE:
        return
    # A tiny part has a tiny length: where there are few such bytes, the parts of spans need not be walked through,
    # which takes longer than decoding them.
    tiny = len(body.translate(None, _NOT_TINY))
    walk = _Walk(body, limit=_TIMES * len(body), deep=tiny * _TINY_SHARE > len(body))
    walk.through(root)
    if walk.left < 0:
        raise Malformed(
            f"the body's {len(body)} bytes would take more than {_TIMES} times as much memory: "
            "it has too many empty parts"
        )


def guard_json(body: bytes) -> None:
    """Look at a JSON body, without reading it.

    Raises:
        Malformed: It consists of empty parts.
    """
    if len(body) >= LARGE and (body.count(b"{") + body.count(b"[")) * _JSON_BYTES_A_PART > len(body):
        raise Malformed(f"the body's {len(body)} bytes of JSON have too many empty parts")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type of message: what one takes in memory, and which of its fields are messages."""

    size: int
    structure: Mapping[int, Descriptor]
    """Of these fields, those that hold the body together."""
    messages: Mapping[int, Descriptor]


@cache
def _kind(descriptor: Descriptor) -> _Kind:
    fields = [(field, field.message_type) for field in descriptor.fields if field.message_type is not None]
    at_once = {field.containing_oneof or field for field in descriptor.fields}
    return _Kind(
        _MESSAGE_BYTES + _FIELD_BYTES * len(at_once),
        {field.number: kind for field, kind in fields if field.name in _STRUCTURE},
        {field.number: kind for field, kind in fields},
    )


class _Walk:
    """Subtracts what each part takes from what is left, and stops when nothing is."""

    def __init__(self, body: bytes, *, limit: int, deep: bool) -> None:
        self._body = body
        self._deep = deep
        self.left = limit

    def through(self, root: Descriptor) -> None:
        """Walk through a message; what protobuf cannot read is left for it to say so."""
        self.left -= _kind(root).size
        todo = [(root, 0, len(self._body))]
        while todo and self.left >= 0:
            descriptor, start, end = todo.pop()
            kind = _kind(descriptor)
            for number, first, last in self._parts(start, end):
                child = (kind.messages if self._deep else kind.structure).get(number)
                if child is None:
                    continue
                self.left -= _kind(child).size
                if self.left < 0:
                    return
                if first < last and (self._deep or _kind(child).structure):
                    todo.append((child, first, last))

    def _parts(self, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The fields of a message that have a length: number, start and end of each."""
        body = self._body
        while offset < end:
            tag = body[offset]
            offset += 1
            if tag >= 0x80:
                tag, offset = _varint(body, offset - 1, end)
            wire = tag & 7
            if wire == _LENGTH_DELIMITED:
                length = body[offset] if offset < end else 0
                offset += 1
                if length >= 0x80:
                    length, offset = _varint(body, offset - 1, end)
                yield tag >> 3, offset, min(offset + length, end)
                offset += length
            elif wire == _VARINT:
                _, offset = _varint(body, offset, end)
            elif (size := _FIXED.get(wire)) is not None:
                offset += size
            else:
                # A group, which OTLP does not have, or nonsense.
                return


def _varint(body: bytes, offset: int, end: int) -> tuple[int, int]:
    """The number at `offset` and the offset after it; after one that is cut off or too long, the end."""
    number = 0
    for shift in range(0, 70, 7):
        if offset >= end:
            break
        byte = body[offset]
        number |= (byte & 0x7F) << shift
        offset += 1
        if byte < 0x80:
            return number, offset
    return 0, end
