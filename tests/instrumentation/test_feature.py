"""Every call gets a feature, from the most specific thing that is known, and says which that was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

import pennytrace
from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.provider import MODEL
from tests.instrumentation.sink import Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]
Runner = Callable[[Callable[[Any], Any]], Any]


def ask(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=MODEL, messages=MESSAGES)


def found(calls: Calls) -> tuple[str, str]:
    (call,) = calls()
    return call.attributes[semconv.FEATURE], call.attributes[semconv.FEATURE_SOURCE]


@pytest.fixture
def tracer() -> trace.Tracer:
    return TracerProvider(sampler=ALWAYS_ON).get_tracer("app")


class TestOrder:
    def test_a_tag_comes_before_baggage(self, client: openai.OpenAI, calls: Calls) -> None:
        token = context.attach(baggage.set_baggage("pennytrace.feature", "from upstream"))
        try:
            with pennytrace.tag(feature="tagged"):
                ask(client)
        finally:
            context.detach(token)
        assert found(calls) == ("tagged", "tag")

    def test_baggage_comes_before_the_route(
        self, client: openai.OpenAI, calls: Calls, tracer: trace.Tracer
    ) -> None:
        with tracer.start_as_current_span("GET", attributes={"http.route": "/search"}):
            token = context.attach(baggage.set_baggage("pennytrace.feature", "from upstream"))
            ask(client)
            context.detach(token)
        assert found(calls) == ("from upstream", "baggage")

    @pytest.mark.parametrize(
        ("attribute", "source"),
        [
            ("http.route", "route"),
            ("messaging.destination.name", "messaging"),
            ("celery.task_name", "task"),
        ],
    )
    def test_the_enclosing_span_comes_before_what_init_was_given(
        self, client: openai.OpenAI, sink: Sink, tracer: trace.Tracer, attribute: str, source: str
    ) -> None:
        pennytrace.init(endpoint=sink.url, feature="whole app")
        with tracer.start_as_current_span("work", attributes={attribute: "orders"}):
            ask(client)
        assert pennytrace.flush()
        assert sink.spans[0].attributes[semconv.FEATURE] == "orders"
        assert sink.spans[0].attributes[semconv.FEATURE_SOURCE] == source

    def test_what_init_was_given_comes_before_the_function(self, client: openai.OpenAI, sink: Sink) -> None:
        pennytrace.init(endpoint=sink.url, feature="whole app")
        ask(client)
        assert pennytrace.flush()
        assert sink.spans[0].attributes[semconv.FEATURE] == "whole app"
        assert sink.spans[0].attributes[semconv.FEATURE_SOURCE] == "init"

    def test_the_function_comes_before_the_service(self, client: openai.OpenAI, calls: Calls) -> None:
        ask(client)
        assert found(calls) == (f"{__name__}.ask", "function")

    def test_the_service_is_the_last_resort(self, client: openai.OpenAI, calls: Calls) -> None:
        with ThreadPoolExecutor(1) as pool:  # no function of the app on that thread's stack
            pool.submit(client.chat.completions.create, model=MODEL, messages=MESSAGES).result()
        assert found(calls) == ("shop", "service")


class TestTheCallingFunction:
    def test_is_named_with_its_class(self, client: openai.OpenAI, calls: Calls) -> None:
        ask_from_here = [client.chat.completions.create(model=MODEL, messages=MESSAGES) for _ in range(1)]
        assert ask_from_here
        name = f"{__name__}.TestTheCallingFunction.test_is_named_with_its_class"
        assert found(calls) == (name, "function")

    def test_of_a_coroutine_is_that_coroutine(self, with_async_client: Runner, calls: Calls) -> None:
        async def summarise(client: openai.AsyncOpenAI) -> None:
            await client.chat.completions.create(model=MODEL, messages=MESSAGES)

        with_async_client(summarise)
        assert found(calls)[0].endswith(".summarise")

    def test_of_a_bare_task_is_not_who_started_the_event_loop(
        self, with_async_client: Runner, calls: Calls
    ) -> None:
        async def start(client: openai.AsyncOpenAI) -> None:
            create: Any = client.chat.completions.create(model=MODEL, messages=MESSAGES)
            await asyncio.gather(create)

        with_async_client(start)
        assert found(calls) == ("shop", "service")

    def test_of_a_stream_is_who_made_it_and_not_who_reads_it(
        self, client: openai.OpenAI, calls: Calls
    ) -> None:
        def make() -> Any:
            return client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)

        list(make())
        assert found(calls)[0].endswith(".make")


class TestBaggage:
    def test_says_who_where_no_tag_does(self, client: openai.OpenAI, calls: Calls) -> None:
        carried = context.get_current()
        for name in ("pennytrace.team", "pennytrace.customer", "user.id", "session.id", "secret"):
            carried = baggage.set_baggage(name, f"{name} from upstream", carried)
        token = context.attach(carried)
        with pennytrace.tag(team="tagged"):
            ask(client)
        context.detach(token)
        (call,) = calls()
        assert call.attributes[semconv.TEAM] == "tagged"
        assert call.attributes[semconv.CUSTOMER] == "pennytrace.customer from upstream"
        assert call.attributes[semconv.USER_ID] == "user.id from upstream"
        assert call.attributes[semconv.SESSION_ID] == "session.id from upstream"
        assert "secret from upstream" not in call.attributes.values()


class TestTheAppsTracing:
    def test_is_joined(self, client: openai.OpenAI, calls: Calls, tracer: trace.Tracer) -> None:
        with tracer.start_as_current_span("work") as span:
            ask(client)
        where = span.get_span_context()
        (call,) = calls()
        assert call.trace_id == where.trace_id.to_bytes(16, "big")
        assert call.parent_id == where.span_id.to_bytes(8, "big")

    def test_that_samples_nothing_is_joined_and_left_alone(self, client: openai.OpenAI, calls: Calls) -> None:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ALWAYS_OFF)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("app").start_as_current_span("work") as span:
            ask(client)
            assert trace.get_current_span() is span
        (call,) = calls()
        assert call.trace_id == span.get_span_context().trace_id.to_bytes(16, "big")
        assert call.flags & 1
        assert exporter.get_finished_spans() == ()

    def test_gets_no_span_of_ours(self, client: openai.OpenAI, calls: Calls) -> None:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ALWAYS_ON)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("app").start_as_current_span("work"):
            ask(client)
        assert [span.name for span in exporter.get_finished_spans()] == ["work"]
        assert len(calls()) == 1

    def test_that_is_not_there_gives_each_call_its_own_trace(
        self, client: openai.OpenAI, calls: Calls
    ) -> None:
        ask(client)
        ask(client)
        first, second = calls()
        assert first.trace_id != second.trace_id
        assert first.span_id != second.span_id
        assert first.parent_id == b""
