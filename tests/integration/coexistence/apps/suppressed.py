"""An app that makes each of its calls under some suppression; pennytrace tells by the feature which it has recorded.

Run as a module with the name of a set of cases, and the base URL of a provider.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import openai
from opentelemetry import context
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

import pennytrace

Around = Callable[[], AbstractContextManager[object]]


@contextmanager
def value_set(key: str, value: object) -> Iterator[None]:
    token = context.attach(context.set_value(key, value))
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def in_span(sampler: Sampler, **attributes: str) -> Iterator[None]:
    """Suppress inside a span of the app."""
    tracer = TracerProvider(sampler, shutdown_on_exit=False).get_tracer("app")
    with tracer.start_as_current_span("work", attributes=attributes), suppress_instrumentation():
        yield


def ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "What does a penny weigh?"}], **more
    )


def opentelemetry_cases(client: openai.OpenAI) -> None:
    openinference = import_module("openinference.instrumentation")
    language_models = import_module("opentelemetry.semconv_ai").SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY
    inference = import_module("opentelemetry.util.genai.handler").TelemetryHandler().inference
    cases: dict[str, Around] = {
        "suppress_instrumentation": suppress_instrumentation,
        "the plain key": lambda: value_set("suppress_instrumentation", True),
        "suppress_tracing": openinference.suppress_tracing,
        "in a span": lambda: in_span(ALWAYS_ON),
        "in a span that is not sampled": lambda: in_span(ALWAYS_OFF),
        "in an agent's span": lambda: in_span(ALWAYS_ON, **{"gen_ai.operation.name": "invoke_agent"}),
        "in a model call's span": lambda: in_span(ALWAYS_ON, **{"gen_ai.operation.name": "chat"}),
        "suppress_http_instrumentation": suppress_http_instrumentation,
        "suppress_language_model_instrumentation": lambda: value_set(language_models, True),
        "an inference of util-genai": lambda: inference(provider="openai", request_model="gpt-4o-mini"),
    }
    for name, around in cases.items():
        with pennytrace.tag(feature=name), around():
            ask(client)
    _streams(client)
    _elsewhere(client)


def _streams(client: openai.OpenAI) -> None:
    with pennytrace.tag(feature="a stream begun outside"):
        stream = ask(client, stream=True)
    with suppress_instrumentation():
        list(stream)
    with pennytrace.tag(feature="a stream begun inside"), suppress_instrumentation():
        stream = ask(client, stream=True)
    list(stream)


def _elsewhere(client: openai.OpenAI) -> None:
    async def in_a_task() -> None:
        with pennytrace.tag(feature="a task begun inside"), suppress_instrumentation():
            task = asyncio.create_task(asyncio.to_thread(ask, client))
        await task

    asyncio.run(in_a_task())

    def in_a_thread() -> None:
        with pennytrace.tag(feature="a thread begun inside"):
            ask(client)

    with suppress_instrumentation():  # OpenTelemetry's context stays behind, and so does what it says
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()


def logfire_cases(client: openai.OpenAI) -> None:
    logfire = import_module("logfire")
    for name, share in {"sampled": 1.0, "not sampled": 0.0}.items():
        sampling = logfire.SamplingOptions(head=share)
        logfire.configure(send_to_logfire=False, console=False, metrics=False, sampling=sampling)
        with logfire.instrument_openai():
            with pennytrace.tag(feature=f"Logfire, {name}"):
                ask(client)
            with pennytrace.tag(feature=f"Logfire's suppression, {name}"):
                with logfire.suppress_instrumentation():
                    ask(client)
                with logfire.span("work"), logfire.suppress_instrumentation():
                    ask(client)


def openlit_cases(client: openai.OpenAI) -> None:
    import_module("openlit.__helpers").set_framework_llm_active()
    with pennytrace.tag(feature="a framework's call that OpenLIT records"):
        ask(client)


def main(cases: str, url: str) -> None:
    pennytrace.init()
    with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
        {"opentelemetry": opentelemetry_cases, "logfire": logfire_cases, "openlit": openlit_cases}[cases](
            client
        )
    json.dump({"delivered": pennytrace.flush(30)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
