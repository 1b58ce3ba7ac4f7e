"""The life of one call: begun before the request, finished exactly once, then a span on its way."""

from __future__ import annotations

import functools
import os
import threading
import time
from typing import Any, Final, NamedTuple

from . import semconv
from ._context import Surroundings, surroundings
from ._delivery import Delivery
from ._feature import who_spends
from ._otlp import Span, Value, encode_span
from ._provider import Fields, Usage
from ._tags import Tags, current_tags
from ._usage import text

_SECOND: Final = 1_000_000_000  # in nanoseconds


class Request(NamedTuple):
    """What is known of a call before it is made."""

    operation: str
    provider: str
    model: str | None
    host: str
    port: int
    stream: bool
    service_tier: str | None = None


class Outcome(NamedTuple):
    """What is known of a call when it is over."""

    usage: Usage
    source: str
    """`measured`, `estimated` or `missing`."""
    model: str | None
    id: str | None
    service_tier: str | None
    error: str | None
    """The type of the exception that ended it. Not the exception: that holds on to the app's variables."""


def outcome(response: Fields, *, usage: Usage, source: str, error: BaseException | None) -> Outcome:
    """Return the outcome of a call whose response, or last chunk, has these fields."""
    return Outcome(
        usage,
        source,
        text(response.get("model")),
        text(response.get("id")),
        text(response.get("service_tier")),
        None if error is None else _qualified_name(type(error)),
    )


class Recorder(NamedTuple):
    """What one configuration records calls with."""

    delivery: Delivery
    service: str
    defaults: Tags
    """What holds for every call of the app, unless a tag or baggage says otherwise."""


class Call:
    """A call that has begun; `finish` sends it off once, whoever comes first."""

    __slots__ = ("_around", "_first_chunk", "_open", "_recorder", "_started", "_ticks", "_who", "request")

    def __init__(self, recorder: Recorder, request: Request) -> None:
        around = surroundings()
        self._recorder = recorder
        self.request = request
        self._around: Surroundings = around
        self._who = who_spends(
            tags=current_tags(), around=around, defaults=recorder.defaults, service=recorder.service
        )
        self._first_chunk: int | None = None
        self._open = threading.Lock()
        self._started = time.time_ns()
        self._ticks = time.perf_counter_ns()

    def first_chunk(self) -> None:
        """Note that the first chunk of a stream is here."""
        self._first_chunk = time.perf_counter_ns() - self._ticks

    def finish(self, outcome: Outcome) -> None:
        """Send the call off as a span; every time but the first does nothing."""
        if self._open.acquire(blocking=False):
            # The clock of the machine may be set while a call runs; what elapsed comes from one that is not.
            elapsed = time.perf_counter_ns() - self._ticks
            # Encoded when it is sent: many in a row take a third of the time of one between other work.
            self._recorder.delivery.put(functools.partial(self._encoded, outcome, elapsed))

    def disown(self) -> None:
        """Let `finish` do nothing: another process has this call too, and will finish it."""
        self._open.acquire(blocking=False)

    def _encoded(self, outcome: Outcome, elapsed: int) -> bytes:
        ids = os.urandom(24)  # not `random`: apps seed it, and would send the same ids after every start
        request = self.request
        span = Span(
            trace_id=self._around.trace_id or ids[8:],
            span_id=ids[:8],
            parent_id=self._around.span_id,
            name=f"{request.operation} {request.model}" if request.model else request.operation,
            started_ns=self._started,
            ended_ns=self._started + elapsed,
            attributes=self._attributes(outcome),
            failed=outcome.error is not None,
        )
        return encode_span(span)

    def _attributes(self, outcome: Outcome) -> dict[str, Value | None]:
        request, first = self.request, self._first_chunk
        return {
            semconv.OPERATION_NAME: request.operation,
            semconv.PROVIDER_NAME: request.provider,
            semconv.REQUEST_MODEL: request.model,
            semconv.SERVER_ADDRESS: request.host,
            semconv.SERVER_PORT: request.port,
            semconv.OPENAI_REQUEST_SERVICE_TIER: request.service_tier,
            semconv.OPENAI_RESPONSE_SERVICE_TIER: outcome.service_tier,
            semconv.RESPONSE_MODEL: outcome.model,
            semconv.RESPONSE_ID: outcome.id,
            semconv.REQUEST_STREAM: True if request.stream else None,
            semconv.TIME_TO_FIRST_CHUNK: None if first is None else first / _SECOND,
            semconv.ERROR_TYPE: outcome.error,
            semconv.USAGE_SOURCE: outcome.source,
            **outcome.usage,
            **self._who,
        }


def _qualified_name(kind: type[Any]) -> str:
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
