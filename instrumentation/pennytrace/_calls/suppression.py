"""Knows whether the app has asked that nothing be recorded; docs/decisions/0004-suppression.md says which keys ask."""

from __future__ import annotations

import sys
from typing import Any, Final

from pennytrace import semconv
from pennytrace._guard import never_break_the_host

_PLAIN_KEY: Final = "suppress_instrumentation"
_LOGFIRE: Final = "logfire._internal.integrations.llm_providers.llm_provider"
_DEEPEST: Final = 40  # frames between Logfire's wrapper and here: a handful, and those of others who wrap too


def is_suppressed() -> bool:
    """Tell whether the app has suppressed instrumentation around the place that this is called from.

    An instrumentation that suppresses the others while it makes the very call, to have it once in its own pipeline,
    is not the app: ours is another pipeline, and the money is spent all the same.
    """
    otel = sys.modules.get("opentelemetry.context")  # who has not imported it has suppressed nothing
    return otel is not None and bool(_read(otel))


@never_break_the_host("looking whether recording is suppressed")
def _read(otel: Any) -> bool:
    context = otel.get_current()
    if not context or not (context.get(otel._SUPPRESS_INSTRUMENTATION_KEY) or context.get(_PLAIN_KEY)):
        return False
    return not (_is_in_a_model_call(context) or _is_in_logfires_call())


def _is_in_a_model_call(context: Any) -> bool:
    """Tell whether the current span is that of a model call: then who made it suppresses only its repetition."""
    trace = sys.modules.get("opentelemetry.trace")
    span = trace.get_current_span(context) if trace else None
    attributes = getattr(span, "attributes", None) or {}
    operation = attributes.get(semconv.OPERATION_NAME)
    return operation is not None and operation not in semconv.OPERATIONS_AROUND_CALLS


def _is_in_logfires_call() -> bool:
    # A span that Logfire does not sample carries nothing to know it by, and its key is the app's own. But its wrapper
    # is on the stack, with a span in hand; when the app has suppressed it, it calls straight through without one.
    frame = sys._getframe(1)
    for _ in range(_DEEPEST):
        if frame.f_globals.get("__name__") == _LOGFIRE and "span" in frame.f_locals:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
