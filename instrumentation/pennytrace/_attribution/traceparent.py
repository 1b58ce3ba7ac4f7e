"""Writes the W3C `traceparent` header: https://www.w3.org/TR/trace-context/ (checked 2026-11-23)."""

from __future__ import annotations

from typing import Final

HEADER: Final = "traceparent"


def write(trace_id: bytes, span_id: bytes, *, sampled: bool) -> str:
    """Return the value of the header for a span, of 16 and 8 bytes; `sampled` is what the app decided of its trace."""
    return f"00-{trace_id.hex()}-{span_id.hex()}-{'01' if sampled else '00'}"
