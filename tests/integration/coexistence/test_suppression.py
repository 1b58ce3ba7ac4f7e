"""What the app suppresses is not recorded; what one instrumentation keeps from the others is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.instrumentation.provider import Provider
from tests.instrumentation.sink import Sink
from tests.integration.coexistence.environments import run

RECORDED = {
    ("newest", "opentelemetry"): {
        "in a model call's span",
        "suppress_http_instrumentation",
        "suppress_language_model_instrumentation",
        "an inference of util-genai",
        "a stream begun outside",
        "a thread begun inside",
    },
    ("newest", "logfire"): {"Logfire, sampled", "Logfire, not sampled"},
    ("below-openai-3", "openlit"): {"a framework's call that OpenLIT records"},
}


@pytest.mark.parametrize(("environment", "cases"), RECORDED)
def test_only_what_the_app_suppresses_is_left_out(
    environment: str, cases: str, python_of: Callable[[str], Path], answering: Provider, sink: Sink
) -> None:
    sink.reset()

    ran = run(python_of(environment), "suppressed", cases, answering.url, sink=sink)

    assert ran == {"delivered": True}
    features = Counter(call.attributes["pennytrace.feature"] for call in sink.spans)
    assert features == Counter(list(RECORDED[environment, cases]))
    assert {call.attributes["pennytrace.usage.source"] for call in sink.spans} == {"measured"}
