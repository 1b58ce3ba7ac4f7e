"""The body of one request to the collector: made of encoded spans, and taken apart again when it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from pennytrace._delivery.otlp import encode_request
from pennytrace._delivery.wire import fields

_RESOURCE_SPANS: Final = 1  # of ExportTraceServiceRequest
_RESOURCE: Final = 1  # of ResourceSpans
_SCOPE_SPANS: Final = 2  # of ResourceSpans
_SCOPE: Final = 1  # of ScopeSpans
_SPANS: Final = 2  # of ScopeSpans


class Body(NamedTuple):
    """A complete ExportTraceServiceRequest."""

    content: bytes
    calls: int
    """How many calls are in it: one for each span, but none in a report of losses."""

    def halves(self) -> tuple[Body, Body] | None:
        """Return it as two bodies; None when it cannot be divided."""
        if self.calls < 2:
            return None
        spans = list(_spans(self.content))
        middle = len(spans) // 2
        return _body(spans[:middle]), _body(spans[middle:])

    def is_whole(self) -> bool:
        """Tell whether nothing of it is missing, as far as the lengths inside say."""
        try:
            return any(True for _ in _spans(self.content))
        except ValueError:
            return False


class Envelope(NamedTuple):
    """What stands around the spans of one configuration, encoded."""

    resource: bytes
    scope: bytes

    def around(self, spans: Sequence[bytes], *, calls: int) -> Body:
        """Return a body with these spans."""
        return Body(encode_request(self.resource, self.scope, spans), calls)


class _Enveloped(NamedTuple):
    envelope: Envelope
    span: bytes


def _spans(content: bytes) -> Iterator[_Enveloped]:
    for resource_spans in fields(content):
        if resource_spans.number != _RESOURCE_SPANS:
            raise ValueError("this is no ExportTraceServiceRequest")
        parts = list(fields(resource_spans.content))
        resource = b"".join(part.whole for part in parts if part.number == _RESOURCE)
        for scope_spans in (part for part in parts if part.number == _SCOPE_SPANS):
            inside = list(fields(scope_spans.content))
            scope = b"".join(part.whole for part in inside if part.number == _SCOPE)
            envelope = Envelope(resource, scope)
            yield from (_Enveloped(envelope, part.whole) for part in inside if part.number == _SPANS)


def _body(spans: Sequence[_Enveloped]) -> Body:
    # Messages that are written one after the other are one message with all their repeated fields.
    content = b"".join(
        envelope.around([one.span for one in group], calls=0).content
        for envelope, group in groupby(spans, key=lambda one: one.envelope)
    )
    return Body(content, len(spans))
