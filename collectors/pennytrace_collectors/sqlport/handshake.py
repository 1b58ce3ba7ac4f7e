"""Answers the first statement of Go clients, Grafana's plugin among them, as they read it.

The client reads this one answer at the revision that it has offered, and every later one at the revision that
this answer names. It names 0, at which an answer is exactly what the engine writes for FORMAT Native.
"""

from __future__ import annotations

from typing import Final

STATEMENT: Final = "SELECT displayName(), version(), revision(), timezone()"
DISPLAY_NAME: Final = "pennytrace"

# The revisions of the native protocol that added a head to each block and a byte to each column.
_BLOCK_INFO: Final = 51903
_CUSTOM_SERIALIZATION: Final = 54454
# Field 1, is_overflows: no. Field 2, bucket_num: -1. End of fields.
_NO_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"


def is_handshake(sql: str, format: str, protocol: int) -> bool:
    """Say whether a statement, in ClickHouse's own formatting, opens a connection of a Go client."""
    return protocol >= _BLOCK_INFO and format == "Native" and sql.partition(" FORMAT ")[0] == STATEMENT


def reply(version: str, timezone: str, protocol: int) -> bytes:
    """Return the block that answers the handshake at a revision of the protocol."""
    columns = (
        ("displayName()", "String", _string(DISPLAY_NAME)),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", (0).to_bytes(4, "little")),
        ("timezone()", "String", _string(timezone)),
    )
    flag = b"\x00" if protocol >= _CUSTOM_SERIALIZATION else b""
    block = _NO_INFO + _number(len(columns)) + _number(1)
    return block + b"".join(_string(name) + _string(kind) + flag + data for name, kind, data in columns)


def _string(text: str) -> bytes:
    data = text.encode()
    return _number(len(data)) + data


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
