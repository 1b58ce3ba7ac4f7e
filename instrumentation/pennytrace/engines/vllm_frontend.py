"""vLLM's front end: hands what came with a request, or who asks inside this process, on to the engine core.

Hooked are `AsyncLLM.add_request`, which forgets the trace headers of a request unless vLLM itself traces, and
`OutputProcessor.add_request`, which every request of `vllm serve`, `AsyncLLM` and `LLM` passes just before it is
sent to the engine core, each of `n` answers too. Tried with vLLM 0.32.

- `vllm serve`: what the client sent, as it is. Without a client that sends anything, nothing.
- `LLM` and `AsyncLLM` in an app that records: who spends here and now, and the app's trace if there is one; what the
  app itself hands to `AsyncLLM` stays.
- Where vLLM traces (`--otlp-traces-endpoint`), the parents of its spans stay what they would be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

from pennytrace._attribution import traceparent, tracestate
from pennytrace._attribution.feature import who_spends
from pennytrace._attribution.surroundings import surroundings
from pennytrace._attribution.tags import current_tags
from pennytrace._calls import active
from pennytrace._calls.provider import Hook
from pennytrace._calls.suppression import is_suppressed
from pennytrace._guard import never_break_the_host

_Headers = Mapping[str, str]

_TRACE_HEADERS: Final = "trace_headers"
_PLACE: Final = 6  # of `trace_headers` among the positional arguments of `AsyncLLM.add_request`

_given: ContextVar[_Headers | None] = ContextVar("pennytrace.trace_headers", default=None)
"""The headers of the request that is being added."""


async def _add(
    wrapped: Callable[..., Awaitable[Any]], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    # A context and not an argument: between the two methods the request is made, in a thread at times.
    before = _given.get()
    _given.set(args[_PLACE] if len(args) > _PLACE else kwargs.get(_TRACE_HEADERS))
    try:
        return await wrapped(*args, **kwargs)
    finally:
        _given.set(before)  # without a token: a coroutine that is dropped ends in anybody's context


def _send(wrapped: Callable[..., Any], processor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    _put(processor, args[0] if args else kwargs["request"])
    return wrapped(*args, **kwargs)


@never_break_the_host("telling the engine who asks")
def _put(processor: Any, request: Any) -> None:
    if request.trace_headers is None:
        request.trace_headers = _headers(_given.get() or {}, traces=processor.tracing_enabled) or None


def _headers(given: _Headers, *, traces: bool) -> _Headers:
    """Return the headers that were given, and in them who spends here and now where this process records."""
    recorder, header = active.recorder, given.get(tracestate.HEADER, "")
    if recorder is None or is_suppressed() or tracestate.read(header):
        return given
    around = surroundings()
    who = who_spends(tags=current_tags(), around=around, defaults=recorder.defaults, service=recorder.service)
    headers = {**given, tracestate.HEADER: tracestate.merged(header, tracestate.write(who, longest=None))}
    if around.trace_id is not None and around.span_id is not None and not traces:
        parent = traceparent.write(around.trace_id, around.span_id, sampled=around.sampled)
        headers.setdefault(traceparent.HEADER, parent)
    return headers


HOOKS: Final[Sequence[Hook]] = (
    Hook("vllm.v1.engine.async_llm", "AsyncLLM.add_request", _add, optional=True),
    Hook("vllm.v1.engine.output_processor", "OutputProcessor.add_request", _send, optional=True),
)
