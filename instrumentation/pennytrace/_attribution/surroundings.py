"""The only module that reads OpenTelemetry's context: the current trace, baggage and enclosing span.

OpenTelemetry is looked up among the loaded modules and never imported from here: an app that has not imported
it has no trace to join, and should not pay for the import.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pennytrace._guard import never_break_the_host

_NOTHING: Final[Mapping[str, Any]] = {}


class Surroundings(NamedTuple):
    """What OpenTelemetry knows about the place where a call is made."""

    trace_id: bytes | None = None
    """16 bytes; None when no trace is current."""
    span_id: bytes | None = None
    """8 bytes: the span that encloses the call."""
    sampled: bool = True
    """Whether the app keeps that trace, as far as it has decided."""
    attributes: Mapping[str, Any] = _NOTHING
    """What the enclosing span carries, as far as it can be read."""
    baggage: Mapping[str, object] = _NOTHING


NOWHERE: Final = Surroundings()


def surroundings() -> Surroundings:
    """Return what OpenTelemetry's current context says; `NOWHERE` when it says nothing."""
    otel = sys.modules.get("opentelemetry.context")
    if otel is None:
        return NOWHERE
    return _read(otel) or NOWHERE


@never_break_the_host("reading the current trace")
def _read(otel: Any) -> Surroundings:
    context = otel.get_current()
    if not context:
        return NOWHERE
    return Surroundings(*_enclosing_span(context), _baggage(context))


def _enclosing_span(context: Any) -> tuple[bytes | None, bytes | None, bool, Mapping[str, Any]]:
    trace = sys.modules.get("opentelemetry.trace")
    span = trace.get_current_span(context) if trace else None
    where = span.get_span_context() if span else None
    if where is None or not where.is_valid:
        return None, None, True, _NOTHING
    attributes = getattr(span, "attributes", None)
    return (
        where.trace_id.to_bytes(16, "big"),
        where.span_id.to_bytes(8, "big"),
        bool(where.trace_flags & 1),
        attributes or _NOTHING,
    )


def _baggage(context: Any) -> Mapping[str, object]:
    baggage = sys.modules.get("opentelemetry.baggage")
    found: Mapping[str, object] = baggage.get_all(context) if baggage else _NOTHING
    return found
