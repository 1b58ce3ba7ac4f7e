"""What a token makes calls say: a field after the body, so that nobody decodes a span; and the refusal of others.

    number 150020002, message   1: the team, 2: the environment; '' leaves what the call itself says

OTLP has no such field, and none that a client sends is kept: see `check`. The store's view reads it beside the spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from pennytrace_collectors.errors import Forbidden, TooLarge
from pennytrace_collectors.journal import opened
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store.dialects import attribute_names

from .bearer import Bearer
from .check import Checked

_LENGTH_DELIMITED: Final = 2
_STAMP: Final = varint(150_020_002 << 3 | _LENGTH_DELIMITED)
_TEAMS: Final = attribute_names("team")
_ENVIRONMENTS: Final = attribute_names("environment")


def stamped(checked: Checked, bearer: Bearer) -> bytes:
    """Return the body with its stamp, if the bearer's calls get one.

    Raises:
        TooLarge: It has more spans than the token may send in one body.
        Forbidden: It says a team or an environment that the token may not.
    """
    if bearer.spans_per_body is not None and checked.spans > bearer.spans_per_body:
        raise TooLarge(
            f"the body has {checked.spans} spans, and this token may send {bearer.spans_per_body} in one; "
            "let the exporter send smaller batches"
        )
    if bearer.restricted:
        _require_own(checked, bearer)
    if not (bearer.team or bearer.environment):
        return checked.body
    said = _text(1, bearer.team) + _text(2, bearer.environment)
    return b"".join((checked.body, _STAMP, varint(len(said)), said))


def _text(number: int, text: str) -> bytes:
    encoded = text.encode()
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(encoded)) + encoded if encoded else b""


def _require_own(checked: Checked, bearer: Bearer) -> None:
    resources, spans = _attributes_of_points(checked) if checked.points else _attributes_of_spans(checked)
    if bearer.environment:
        _require_one(resources, _ENVIRONMENTS, bearer.environment, bearer.name)
    if bearer.team:
        _require_one(spans, _TEAMS, bearer.team, bearer.name)


_Attributes = Sequence[KeyValue]


def _attributes_of_spans(checked: Checked) -> tuple[Iterable[_Attributes], Iterator[_Attributes]]:
    request = ExportTraceServiceRequest.FromString(checked.body)
    spans = (
        span.attributes
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )
    return [resource.resource.attributes for resource in request.resource_spans], spans


def _attributes_of_points(checked: Checked) -> tuple[Iterable[_Attributes], Iterator[_Attributes]]:
    request = ExportMetricsServiceRequest.FromString(opened(checked.body))
    return [resource.resource.attributes for resource in request.resource_metrics], iter(())


def _require_one(things: Iterable[_Attributes], names: Sequence[str], right: str, token: str) -> None:
    for attributes in things:
        for pair in attributes:
            if pair.key in names and pair.value.string_value not in ("", right):
                raise Forbidden(
                    f"the token {token!r} may send {names[0]} {right!r} only, and the body says another; "
                    "nothing of it was taken: correct the app, or send it with the token that it belongs to"
                )
