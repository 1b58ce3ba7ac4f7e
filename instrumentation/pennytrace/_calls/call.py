"""The life of one call: begun before the request, finished exactly once, then a span on its way."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._attribution import traceparent
from pennytrace._attribution.feature import who_spends
from pennytrace._attribution.surroundings import Surroundings, surroundings
from pennytrace._attribution.tags import Tags, current_tags
from pennytrace._calls import later
from pennytrace._calls.provider import NOTHING, Identity, Usage
from pennytrace._delivery.otlp import Span, Value, encode_span
from pennytrace._delivery.queue import Delivery
from pennytrace._guard import never_break_the_host

_SECOND: Final = 1_000_000_000  # in nanoseconds


class Request(NamedTuple):
    """What is known of a call before it is made."""

    operation: str
    provider: str
    model: str | None
    host: str
    """Empty, like a port of 0, where no server is asked."""
    port: int
    stream: bool
    service_tier: str | None = None
    later: bool = False
    """Whether it costs nothing itself, and only tells of jobs that do."""


class Outcome(NamedTuple):
    """What is known of a call when it is over."""

    usage: Usage
    source: str
    """`measured`, `estimated` or `missing`."""
    method: str | None = None
    """How it was estimated."""
    model: str | None = None
    id: str | None = None
    service_tier: str | None = None
    error: str | None = None
    """The type of the exception that ended it. Not the exception: that holds on to the app's variables."""
    about: Mapping[str, Value | None] = NOTHING
    identity: Identity | None = None
    """What it is charged under once, when it may be read more than once."""
    beside: tuple[Outcome, ...] = ()
    """Other calls that were made for this one, which are charged apart."""


Outcomes = Callable[[], Iterable[Outcome]]
"""Works out how a call ended; nearly always there is one outcome, and for a file or page of jobs several."""


class Recorder(NamedTuple):
    """What one configuration records calls with."""

    delivery: Delivery
    service: str
    defaults: Tags
    """What holds for every call of the app, unless a tag or baggage says otherwise."""
    gpu_pool: str | None = None
    """Whose GPUs this process works on; only its own work is charged with them."""


class Call:
    """A call that has begun; `finish` sends it off once, whoever comes first."""

    __slots__ = (
        "_around",
        "_elapsed",
        "_first_chunk",
        "_ids",
        "_open",
        "_recorder",
        "_started",
        "_ticks",
        "attempts",
        "request",
        "tells",
        "who",
    )

    def __init__(self, recorder: Recorder, request: Request) -> None:
        around = surroundings()
        self._recorder = recorder
        self.request = request
        self.attempts = 1
        """Requests sent so far."""
        self._around: Surroundings = around
        self.who: Tags = who_spends(
            tags=current_tags(), around=around, defaults=recorder.defaults, service=recorder.service
        )
        """Who spends, by attribute name."""
        self.tells = ""
        """Our member of the `tracestate` that its server is sent; empty for a server that is not one's own."""
        self._ids: bytes | None = None
        self._first_chunk: int | None = None
        self._elapsed: int | None = None
        self._open = threading.Lock()
        self._started = time.time_ns()
        self._ticks = time.perf_counter_ns()

    def traceparent(self) -> str:
        """Return the header by which a server's own record of the call finds this one; its ids are fixed from now."""
        ids = self._ids = self._ids or os.urandom(24)
        return traceparent.write(self._around.trace_id or ids[8:], ids[:8], sampled=self._around.sampled)

    def first_chunk(self) -> None:
        """Note that the first chunk of a stream is here."""
        self._first_chunk = time.perf_counter_ns() - self._ticks

    def over(self) -> None:
        """Note that the call is over now, where what it used is known only later; `finish` it then."""
        if self._elapsed is None:
            self._elapsed = time.perf_counter_ns() - self._ticks

    def finish(self, *outcomes: Outcomes) -> None:
        """Send the call off, in as many parts as are given; every time but the first does nothing."""
        if self._open.acquire(blocking=False):
            # The clock of the machine may be set while a call runs; what elapsed comes from one that is not.
            elapsed = self._elapsed
            if elapsed is None:
                elapsed = time.perf_counter_ns() - self._ticks
            # Encoded when it is sent: many in a row take a third of the time of one between other work.
            for part in outcomes:
                self._recorder.delivery.put(functools.partial(self._encoded, part, elapsed))

    def disown(self) -> None:
        """Let `finish` do nothing: another process has this call too, and will finish it."""
        self._open.acquire(blocking=False)

    def _encoded(self, outcomes: Outcomes, elapsed: int) -> bytes:
        spans = []
        read = _read(outcomes) or (UNREADABLE,)
        for outcome in chain.from_iterable((first, *first.beside) for first in read):
            identity = outcome.identity
            who = self.who if identity is None else later.who(identity, self.who)
            if _costs(self.request, outcome):
                spans.append(encode_span(self._span(outcome, who, elapsed)))
        return b"".join(spans)

    def _span(self, outcome: Outcome, who: Tags, elapsed: int) -> Span:
        identity = outcome.identity
        attributes = {**self._attributes(outcome), **outcome.about, **who}
        name, model = attributes[semconv.OPERATION_NAME], attributes[semconv.REQUEST_MODEL]
        named = f"{name} {model}" if model else str(name)
        failed = outcome.error is not None
        if identity is not None:
            return _job(self.request.provider, identity, named, attributes, failed)
        ids = self._new_ids()
        return Span(
            trace_id=self._around.trace_id or ids[8:],
            span_id=ids[:8],
            parent_id=self._around.span_id,
            name=named,
            started_ns=self._started,
            ended_ns=self._started + elapsed,
            attributes=attributes,
            failed=failed,
        )

    def _new_ids(self) -> bytes:
        """Return a span's id and a trace's; those that the server was told are for the first span, and its trace."""
        new = os.urandom(24)  # not `random`: apps seed it, and would send the same ids after every start
        fixed = self._ids
        if fixed is None:
            return new
        self._ids = new[:8] + fixed[8:]
        return fixed

    def _attributes(self, outcome: Outcome) -> dict[str, Value | None]:
        request, first = self.request, self._first_chunk
        return {
            semconv.OPERATION_NAME: request.operation,
            semconv.PROVIDER_NAME: request.provider,
            semconv.REQUEST_MODEL: request.model or (outcome.model if request.later else None),
            semconv.SERVER_ADDRESS: request.host or None,
            semconv.SERVER_PORT: request.port or None,
            semconv.OPENAI_REQUEST_SERVICE_TIER: request.service_tier,
            semconv.OPENAI_RESPONSE_SERVICE_TIER: outcome.service_tier,
            semconv.RESPONSE_MODEL: outcome.model,
            semconv.RESPONSE_ID: outcome.id,
            semconv.REQUEST_STREAM: True if request.stream else None,
            semconv.TIME_TO_FIRST_CHUNK: None if first is None else first / _SECOND,
            semconv.ERROR_TYPE: outcome.error,
            semconv.ATTEMPTS: self.attempts if self.attempts > 1 else None,
            semconv.USAGE_SOURCE: outcome.source,
            semconv.USAGE_METHOD: outcome.method,
            **outcome.usage,
        }


UNREADABLE: Final = Outcome({}, semconv.MISSING)
"""Of a call whose answer could not be read: it was made, and nothing more is known."""


@never_break_the_host("reading what a call used")
def _read(outcomes: Outcomes) -> Iterable[Outcome]:
    return list(outcomes())


def _costs(request: Request, outcome: Outcome) -> bool:
    """Tell whether an outcome is charged: a job is, when it is known what it used."""
    if outcome.identity is None:
        return not request.later
    return bool(outcome.usage)


def _job(
    provider: str, identity: Identity, name: str, attributes: Mapping[str, Value | None], failed: bool
) -> Span:
    """Return the span of a job: the same ids and the same start whoever reads of it, so that it is one row."""
    import hashlib  # here, because few apps have jobs, and it takes a while to load

    ids = hashlib.blake2b(f"{provider}\0{identity.id}".encode(), digest_size=24).digest()
    started = round(identity.started * _SECOND)
    ended = started if identity.ended is None else max(started, round(identity.ended * _SECOND))
    return Span(ids[:16], ids[16:], None, name, started, ended, attributes, failed)


def error_type(error: BaseException | None) -> str | None:
    """Return the name of an exception's type, as `error.type` has it."""
    if error is None:
        return None
    kind: type[Any] = type(error)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
