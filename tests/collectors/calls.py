"""Loads calls into a store as a collector does, and reads them back through the view that everyone reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store import Store
from tests.collectors import otlp


def load(store: Store, spans: Sequence[Span], scope: str = "pennytrace") -> None:
    """Load spans as one request."""
    body = otlp.request(spans, scope).SerializeToString()
    store.load(varint(len(body)) + body)


def load_and_settle(store: Store, spans: Sequence[Span]) -> None:
    """Load spans and price what the load could not."""
    load(store, spans)
    store.settle()


def spend(store: Store, columns: str = "*", where: str = "1") -> list[dict[str, Any]]:
    """Rows of the view `spend`, by time and id."""
    found = store.client.query(
        f"SELECT {columns} FROM pennytrace.spend WHERE {where} ORDER BY started_at, span_id"
    )
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


def one_call(store: Store, attributes: Mapping[str, str | float]) -> dict[str, Any]:
    """What a single call becomes."""
    made = otlp.span(attributes)
    load_and_settle(store, [made])
    (row,) = spend(store, where=f"span_id = '{made.span_id.hex()}'")
    return row
