"""Reads protobuf field by field: as much of it as our own requests and a collector's answer need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_DELIMITED: Final = 2
_FIXED: Final = {1: 8, 5: 4}  # bytes, by wire type
_LONGEST_VARINT: Final = 10  # bytes


class Field(NamedTuple):
    """One field of a message."""

    number: int
    content: bytes
    """What is inside a text or a message; empty for numbers."""
    value: int
    """A varint's number; 0 for everything else."""
    whole: bytes
    """The field as it stands in the message, with its key and length."""


def fields(message: bytes) -> Iterator[Field]:
    """Read the fields of a message, in their order.

    Raises:
        ValueError: The message is cut short, or is no protobuf.
    """
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        value, content = 0, b""
        if kind == 0:
            value, at = _varint(message, at)
        else:
            length, at = _length(message, at, kind)
            content = message[at : at + length] if kind == _DELIMITED else b""
            at += length
        if not number or at > len(message):
            raise ValueError("the message is cut short")
        yield Field(number, content, value, message[start:at])


def _length(message: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind == _DELIMITED:
        return _varint(message, at)
    if kind not in _FIXED:
        raise ValueError(f"there is no wire type {kind}")
    return _FIXED[kind], at


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError("the message is cut short")
