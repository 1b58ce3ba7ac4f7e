"""Writes what a request used of an engine as a span: a call like any other, made by nobody in this process."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from pennytrace import semconv
from pennytrace._attribution import identity, traceparent, tracestate
from pennytrace._attribution.tags import Tags
from pennytrace._calls.call import Recorder
from pennytrace._delivery.otlp import Span, Value, encode_span
from pennytrace.engines.steps import Part

_SECOND: Final = 1_000_000_000  # in nanoseconds
_DECIMALS: Final = 6  # of seconds
_PARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class Served(NamedTuple):
    """What the records of one engine have in common."""

    engine: str
    """The value of `gen_ai.provider.name`."""
    gpu_model: str | None
    gpus: int
    pool: str | None
    method: str


class Request(NamedTuple):
    """What is known of one request, or of its part in one hour."""

    operation: str
    model: str | None
    id: str | None
    """The one that the client saw; None where there was no client to see one."""
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    preemptions: int
    confidence: str
    error: str | None
    headers: Mapping[str, str]
    """What came with it, by names in lower case."""


def encoded(recorder: Recorder, served: Served, request: Request, part: Part) -> bytes:
    """Return the span."""
    trace_id, parent_id = _parent(request.headers.get(traceparent.HEADER, ""))
    ids = os.urandom(24)  # not `random`: apps seed it, and would send the same ids after every start
    model = request.model
    return encode_span(
        Span(
            trace_id=trace_id or ids[8:],
            span_id=ids[:8],
            parent_id=parent_id,
            name=f"{request.operation} {model}" if model else request.operation,
            started_ns=round(part.started * _SECOND),
            ended_ns=round(part.ended * _SECOND),
            attributes={**_attributes(served, request, part), **_who(recorder, request)},
            failed=request.error is not None,
            internal=True,
        )
    )


def _attributes(served: Served, request: Request, part: Part) -> dict[str, Value | None]:
    # To the microsecond, as the meter counts them, so that what is said is what is charged.
    prefill, decode = round(part.prefill, _DECIMALS), round(part.decode, _DECIMALS)
    return {
        semconv.OPERATION_NAME: request.operation,
        semconv.PROVIDER_NAME: served.engine,
        semconv.REQUEST_MODEL: request.model,
        semconv.RESPONSE_MODEL: request.model,
        semconv.RESPONSE_ID: request.id,
        semconv.ERROR_TYPE: request.error,
        semconv.USAGE_SOURCE: semconv.MEASURED,
        semconv.INPUT_TOKENS: request.input_tokens,
        semconv.CACHE_READ_INPUT_TOKENS: request.cached_tokens,
        semconv.OUTPUT_TOKENS: request.output_tokens,
        semconv.GPU_SECONDS: round(prefill + decode, _DECIMALS),
        semconv.GPU_PREFILL_SECONDS: prefill,
        semconv.GPU_DECODE_SECONDS: decode,
        semconv.QUEUE_SECONDS: part.waited,
        semconv.GPU_POOL: served.pool,
        semconv.GPU_MODEL: served.gpu_model,
        semconv.GPU_COUNT: served.gpus,
        semconv.GPU_SOURCE: semconv.FROM_ENGINE,
        semconv.GPU_METHOD: served.method,
        semconv.GPU_CONFIDENCE: request.confidence,
        semconv.PREEMPTIONS: request.preemptions or None,
    }


def _who(recorder: Recorder, request: Request) -> Tags:
    """Return who spends: what came with the request, else what holds for the whole engine."""
    told = tracestate.read(request.headers.get(tracestate.HEADER, ""))
    who = {**recorder.defaults, **told}
    if semconv.FEATURE in told:
        who.setdefault(semconv.FEATURE_SOURCE, semconv.FROM_BAGGAGE)
    elif semconv.FEATURE in who:
        who[semconv.FEATURE_SOURCE] = semconv.FROM_INIT
    else:
        who[semconv.FEATURE], who[semconv.FEATURE_SOURCE] = recorder.service, semconv.FROM_SERVICE
    identity.protect(who)
    return who


def _parent(header: str) -> tuple[bytes | None, bytes | None]:
    found = _PARENT.fullmatch(header.strip())
    trace_id, span_id = map(bytes.fromhex, found.groups()) if found else (b"", b"")
    return (trace_id, span_id) if any(trace_id) and any(span_id) else (None, None)
