"""What surrounds an answer's rows: headers, compression, an error after the first row."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Mapping
from importlib import import_module
from typing import Final, Protocol

from .engine import Tally
from .faults import Fault
from .handshake import DISPLAY_NAME

_SMALL: Final = 512
"""Bytes below which compression costs more than it saves."""

_CONTENT_TYPES: Final = (
    ("jsoneachrow", "application/x-ndjson; charset=UTF-8"),
    ("jsoncompacteachrow", "application/x-ndjson; charset=UTF-8"),
    ("jsonlines", "application/x-ndjson; charset=UTF-8"),
    ("ndjson", "application/x-ndjson; charset=UTF-8"),
    ("json", "application/json; charset=UTF-8"),
    ("csvwithnames", "text/csv; charset=UTF-8; header=present"),
    ("csv", "text/csv; charset=UTF-8; header=absent"),
    ("tabseparated", "text/tab-separated-values; charset=UTF-8"),
    ("tsv", "text/tab-separated-values; charset=UTF-8"),
    ("xml", "application/xml; charset=UTF-8"),
    ("native", "application/octet-stream"),
    ("rowbinary", "application/octet-stream"),
    ("parquet", "application/octet-stream"),
    ("arrow", "application/octet-stream"),
    ("orc", "application/octet-stream"),
    ("avro", "application/octet-stream"),
    ("msgpack", "application/octet-stream"),
    ("bson", "application/octet-stream"),
)


class Encoder(Protocol):
    """Compresses a body piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Take a piece and return what is ready to be sent."""

    def flush(self) -> bytes:
        """Return the end."""


def of_format(format: str) -> dict[str, str]:
    """Return the headers of an answer in a format."""
    lower = format.lower()
    found = (kind for start, kind in _CONTENT_TYPES if lower.startswith(start))
    return {"Content-Type": next(found, "text/plain; charset=UTF-8"), "X-ClickHouse-Format": format}


def common(query_id: str, timezone: str) -> dict[str, str]:
    """Return the headers of every answer."""
    return {
        "X-ClickHouse-Server-Display-Name": DISPLAY_NAME,
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": timezone,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def summary(tally: Tally, elapsed_ns: int) -> str:
    """Return what a query has read, as clients parse it from a header."""
    values: Mapping[str, int] = {
        "read_rows": tally.read_rows,
        "read_bytes": tally.read_bytes,
        "written_rows": 0,
        "written_bytes": 0,
        "total_rows_to_read": tally.read_rows,
        "result_rows": tally.result_rows,
        "result_bytes": tally.result_bytes,
        "elapsed_ns": elapsed_ns,
    }
    return json.dumps({name: str(value) for name, value in values.items()}, separators=(",", ":"))


def failure_tail(fault: Fault, version: str, tag: str) -> bytes:
    """Return the error that ends a body whose beginning has been sent; its headers have named `tag`."""
    text = fault.body(version)
    mark = tag.encode()
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (mark, text, len(text), mark)


def encoder(accepted: str, size: int | None) -> tuple[str, Encoder] | None:
    """Return the name and the encoder of an answer of `size` bytes, None while that is not known; or None."""
    if size is not None and size < _SMALL:
        return None
    offered = {
        name.strip().lower()
        for name, _, weight in (one.partition(";") for one in accepted.split(","))
        if weight.replace(" ", "") not in ("q=0", "q=0.0")
    }
    for name in ("zstd", "lz4", "gzip", "deflate"):
        if name in offered and (found := _encoder(name)) is not None:
            return name, found
    return None


def _encoder(name: str) -> Encoder | None:
    if name == "zstd":
        return _zstd()
    if name == "lz4":
        return _lz4()
    return zlib.compressobj(1, wbits=31 if name == "gzip" else 15)


def _zstd() -> Encoder | None:
    try:
        # The standard library has it under another name from Python 3.14 on.
        module = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        return None
    found: Encoder = module.ZstdCompressor(level=1)
    return found


def _lz4() -> Encoder | None:
    try:
        module = import_module("lz4.frame")
    except ImportError:
        return None
    return _Lz4(module.LZ4FrameCompressor())


class _Frame(Encoder, Protocol):
    def begin(self) -> bytes: ...


class _Lz4:
    """One LZ4 frame, whose head is written before its first bytes."""

    def __init__(self, frame: _Frame) -> None:
        self._frame = frame
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head = b"" if self._begun else self._frame.begin()
        self._begun = True
        return head + self._frame.compress(data)

    def flush(self) -> bytes:
        return self._frame.flush()
