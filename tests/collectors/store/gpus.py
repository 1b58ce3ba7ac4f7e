"""Spans as inference engines and their clients send them, and what is known of the GPUs that there were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.store import Store
from tests.collectors import otlp

Attributes = dict[str, str | float]

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
USED: Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "llama",
    "gen_ai.response.model": "llama",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
}


def at(made: Span, moment: datetime, took_s: float = 1.0) -> Span:
    """The span, at that moment."""
    made.start_time_unix_nano = (
        int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
    )
    made.end_time_unix_nano = made.start_time_unix_nano + int(took_s * 1e9)
    return made


def engine(
    response: str, seconds: float, *, when: datetime = NOON, took_s: float = 1.0, **more: str | float
) -> Span:
    """What an engine tells of a request: a quarter of its GPU time went into reading the input."""
    attributes: Attributes = USED | {
        "gen_ai.provider.name": "vllm",
        "gen_ai.response.id": response,
        "pennytrace.usage.source": "measured",
        "pennytrace.usage.gpu_seconds": seconds,
        "pennytrace.usage.gpu_prefill_seconds": seconds / 4,
        "pennytrace.usage.gpu_decode_seconds": seconds * 3 / 4,
        "pennytrace.gpu.pool": "cellar",
        "pennytrace.gpu.model": "H100",
        "pennytrace.gpu.count": 2,
        "pennytrace.gpu.source": "engine",
        "pennytrace.gpu.method": "steps:roofline",
        "pennytrace.gpu.confidence": "medium",
    }
    return at(otlp.span(attributes | _named(more)), when, took_s)


def client(response: str, *, when: datetime = NOON, took_s: float = 1.5, **more: str | float) -> Span:
    """What the client of a self-hosted server tells of the same call."""
    attributes: Attributes = USED | {
        "gen_ai.provider.name": "openai",
        "server.address": "llm.internal",
        "gen_ai.response.id": response,
        "pennytrace.feature": "search",
        "pennytrace.feature.source": "code",
        "pennytrace.team": "growth",
        "pennytrace.customer": "acme",
        "user.id": response,
        "session.id": "s-1",
        "pennytrace.tag.plan": "free",
    }
    return at(otlp.span(attributes | _named(more)), when, took_s)


def provision(
    store: Store,
    since: datetime,
    seconds: float,
    *,
    gpu: str = "GPU-1",
    pool: str = "cellar",
    model: str = "H100",
) -> None:
    """Store that a GPU was held, within one hour."""
    until = since + timedelta(seconds=seconds)
    row = {
        "metric": "pennytrace.gpu.provisioned",
        "hour": since.replace(minute=0, second=0, microsecond=0),
        "gpu": gpu,
        "instance": "i-1",
        "time": until,
        "start": since,
        "value": seconds,
        "gpu_model": model,
        "gpu_pool": pool,
        "node": "rack-1",
    }
    store.client.insert("gpu_points", [list(row.values())], list(row), database="pennytrace")


def rows(store: Store, view: str, where: str = "1", order: str = "ALL") -> list[dict[str, Any]]:
    """Rows of a view as dictionaries."""
    found = store.client.query(f"SELECT * FROM pennytrace.{view} WHERE {where} ORDER BY {order}")
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


def total(found: Sequence[dict[str, Any]], column: str) -> Decimal:
    """The sum of a column."""
    return sum((row[column] for row in found), Decimal(0))


def _named(more: dict[str, str | float]) -> Attributes:
    """Keyword arguments to attributes: `gen_ai__usage__input_tokens=1`."""
    return {name.replace("__", "."): value for name, value in more.items()}
