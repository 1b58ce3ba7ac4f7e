"""A call is charged once, however many spans tell of it, in whatever order and however often they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store import Store
from pennytrace_collectors.store.months import close_month
from tests.collectors import otlp
from tests.collectors.calls import spend
from tests.collectors.store.gpus import NOON, at, rows

_NUMBERS = count(1)
PRICE = Decimal("1200") * Decimal("0.0000025") + Decimal("300") * Decimal("0.00001")
"""Of otlp.CALL, by gpt-4o's list price."""
NOTHING: dict[str, str | float] = {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}


@dataclass(frozen=True)
class Told:
    """A span, and which instrumentation and service it is of."""

    span: Span
    scope: str = "pennytrace"
    service: str = "shop"

    @property
    def id(self) -> str:
        return self.span.span_id.hex()


def told(
    trace: bytes,
    *,
    within: Told | None = None,
    scope: str = "pennytrace",
    service: str = "shop",
    after_s: float = 0.0,
    took_s: float = 1.0,
    when: datetime = NOON,
    without: Sequence[str] = ("pennytrace.feature",),
    **more: Any,
) -> Told:
    """A chat call in a trace; one span within another begins later and ends earlier."""
    attributes = {key: value for key, value in otlp.CALL.items() if key not in without}
    attributes |= {name.replace("__", "."): value for name, value in more.items()}
    made = otlp.span(attributes, trace_id=trace)
    at(made, when + timedelta(seconds=after_s), took_s)
    if within is not None:
        made.parent_span_id = within.span.span_id
    return Told(made, scope, service)


def trace() -> bytes:
    return next(_NUMBERS).to_bytes(16, "big")


def load(store: Store, spans: Iterable[Told]) -> None:
    for each in spans:
        message = ExportTraceServiceRequest()
        message.CopyFrom(otlp.request([each.span]))
        message.resource_spans[0].scope_spans[0].scope.name = each.scope
        message.resource_spans[0].resource.attributes[0].value.string_value = each.service
        body = message.SerializeToString()
        store.load(varint(len(body)) + body)


def charged(store: Store, *, where: str = "1") -> list[str]:
    return [row["span_id"] for row in spend(store, where=where)]


def left_out(store: Store) -> dict[str, tuple[str, str]]:
    return {
        row["span_id"]: (row["left_out_because"], row["counted_at_span_id"])
        for row in rows(store, "left_out")
    }


def nested(trace: bytes, **more: Any) -> tuple[Told, Told]:
    """A framework's span and that of the client inside it."""
    outer = told(trace, scope="openinference.instrumentation.langchain", took_s=2, **more)
    inner = told(trace, within=outer, after_s=0.1)
    return outer, inner


def test_a_framework_and_its_client_are_one_call_at_the_client(store: Store) -> None:
    outer, inner = nested(trace(), pennytrace__feature="checkout", user__id="ada", session__id="s-1")
    load(store, [outer, inner])
    store.settle()

    (row,) = spend(store)
    assert (row["span_id"], row["cost"]) == (inner.id, PRICE)
    assert (row["feature"], row["user"], row["session"]) == ("checkout", "ada", "s-1")
    assert left_out(store) == {outer.id: ("a span inside it is charged", inner.id)}


def test_the_innermost_of_three_is_charged(store: Store) -> None:
    one = trace()
    outer = told(one, scope="openinference.instrumentation.langchain", took_s=3, pennytrace__team="growth")
    middle = told(one, within=outer, scope="litellm", after_s=0.1, took_s=2, user__id="ada")
    inner = told(one, within=middle, after_s=0.2)
    load(store, [middle, inner, outer])
    store.settle()

    (row,) = spend(store)
    assert (row["span_id"], row["team"], row["user"]) == (inner.id, "growth", "ada")
    assert set(left_out(store)) == {outer.id, middle.id}


def test_spans_of_other_kinds_may_stand_in_between(store: Store) -> None:
    one = trace()
    outer = told(one, scope="openinference.instrumentation.langchain", took_s=2)
    inner = told(one, after_s=0.5)
    inner.span.parent_span_id = b"wrapper."
    load(store, [outer, inner])
    store.settle()
    assert charged(store) == [inner.id]


@pytest.mark.parametrize(
    "difference",
    [
        {"gen_ai__request__model": "gpt-4o-mini", "gen_ai__response__model": "gpt-4o-mini-2024-07-18"},
        {"gen_ai__operation__name": "embeddings"},
        {"gen_ai__response__id": "chatcmpl-other"},
    ],
)
def test_another_call_inside_a_call_is_charged_too(store: Store, difference: dict[str, Any]) -> None:
    one = trace()
    outer = told(
        one, scope="opentelemetry.instrumentation.langchain", took_s=2, gen_ai__response__id="chatcmpl-1"
    )
    inner = told(one, within=outer, after_s=0.1, **difference)
    load(store, [outer, inner])
    store.settle()
    assert set(charged(store)) == {outer.id, inner.id}


def test_calls_beside_each_other_are_calls(store: Store) -> None:
    one = trace()
    agent = told(one, scope="agents", took_s=9, gen_ai__operation__name="invoke_agent")
    spans = [told(one, within=agent, after_s=number) for number in range(3)]
    other = told(trace(), scope="openinference.instrumentation.openai")
    load(store, [agent, *spans, other])
    store.settle()
    assert set(charged(store)) == {each.id for each in (*spans, other)}


def test_a_span_around_several_calls_repeats_them_all(store: Store) -> None:
    one = trace()
    outer = told(
        one,
        scope="langchain",
        took_s=9,
        gen_ai__usage__input_tokens=3600,
        gen_ai__usage__output_tokens=900,
        pennytrace__customer="acme",
    )
    inside = [
        told(one, within=outer, after_s=number, gen_ai__response__id=f"chatcmpl-{number}")
        for number in range(3)
    ]
    load(store, [*inside, outer])
    store.settle()

    found = spend(store)
    assert {row["span_id"] for row in found} == {each.id for each in inside}
    assert {row["customer"] for row in found} == {"acme"}
    assert left_out(store)[outer.id][0] == "the calls inside it are charged"


def test_an_app_and_its_gateway_are_one_call_by_the_response_id(store: Store) -> None:
    app = told(
        trace(),
        took_s=2,
        gen_ai__response__id="chatcmpl-gw",
        pennytrace__feature="search",
        gen_ai__provider__name="litellm",
    )
    gateway = told(
        trace(), service="gateway", scope="litellm", after_s=0.2, gen_ai__response__id="chatcmpl-gw"
    )
    load(store, [app, gateway])
    store.settle()

    (row,) = spend(store)
    assert (row["span_id"], row["feature"], row["service"]) == (gateway.id, "search", "gateway")
    assert left_out(store) == {app.id: ("another span with its response id is charged", gateway.id)}


def test_of_two_instrumentations_of_one_client_ours_is_charged(store: Store) -> None:
    one = trace()
    theirs = told(
        one,
        scope="opentelemetry.instrumentation.openai",
        gen_ai__response__id="chatcmpl-2",
        gen_ai__usage__output_tokens=301,
    )
    ours = told(one, after_s=-0.001, took_s=1.002, gen_ai__response__id="chatcmpl-2")
    load(store, [theirs, ours])
    store.settle()
    assert charged(store) == [ours.id]


def test_a_response_that_is_read_again_later_costs_nothing(store: Store) -> None:
    created = told(trace(), gen_ai__response__id="resp_1")
    read = told(trace(), scope="openlit.openai", after_s=600, gen_ai__response__id="resp_1")
    load(store, [created, read])
    store.settle()
    (row,) = spend(store)
    assert row["cost"] == PRICE


def test_a_server_that_gives_an_id_again_has_answered_two_calls(store: Store) -> None:
    first = told(trace(), gen_ai__response__id="chatcmpl-123")
    second = told(trace(), after_s=60, gen_ai__response__id="chatcmpl-123", gen_ai__usage__input_tokens=7)
    load(store, [first, second])
    store.settle()
    assert set(charged(store)) == {first.id, second.id}


def test_a_server_that_always_gives_one_id_has_answered_many_calls(store: Store) -> None:
    """Also when they are under way at the same time, and two instrumentations tell of each."""
    spans = []
    for number in range(4):
        one = trace()
        ours = told(one, after_s=number * 0.3, gen_ai__response__id="chatcmpl-0")
        theirs = told(
            one, scope="litellm", after_s=number * 0.3 - 0.01, took_s=1.02, gen_ai__response__id="chatcmpl-0"
        )
        spans += [ours, theirs]
    load(store, spans)
    store.settle()
    assert len(charged(store)) == 4
    assert len(left_out(store)) == 4


def test_services_that_ask_such_a_server_at_the_same_time_have_calls_of_their_own(store: Store) -> None:
    spans = [
        told(trace(), service=service, after_s=number * 0.1, gen_ai__response__id="chatcmpl-0")
        for number in range(3)
        for service in ("shop", "blog")
    ]
    for each in spans:
        load(store, [each])
    store.settle()
    assert len(charged(store)) == 6


def test_the_best_usage_is_charged_wherever_it_is(store: Store) -> None:
    """A client whose stream brought no usage, inside a framework that knows it."""
    one = trace()
    outer = told(one, scope="langchain", took_s=2)
    inner = told(
        one, within=outer, after_s=0.1, without=("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    )
    load(store, [outer, inner])
    store.settle()
    assert charged(store) == [outer.id]
    assert left_out(store) == {inner.id: ("a span around it knows more of it, and is charged", outer.id)}


def test_the_span_that_knows_of_the_cache_is_charged(store: Store) -> None:
    one = trace()
    outer = told(one, scope="langchain", took_s=2, gen_ai__usage__cache_read__input_tokens=1000)
    inner = told(one, within=outer, after_s=0.1, scope="blind")
    load(store, [outer, inner])
    store.settle()
    assert charged(store) == [outer.id]


def test_a_tag_of_the_app_is_better_than_what_the_client_found_by_itself(store: Store) -> None:
    one = trace()
    outer = told(
        one,
        scope="langchain",
        took_s=2,
        pennytrace__feature="refunds",
        pennytrace__feature__source="tag",
        pennytrace__tag__plan="free",
        pennytrace__tag__a="outer",
    )
    inner = told(
        one,
        within=outer,
        after_s=0.1,
        pennytrace__feature="app.main",
        pennytrace__feature__source="function",
        pennytrace__tag__a="inner",
    )
    load(store, [outer, inner])
    store.settle()
    (row,) = spend(store)
    assert (row["feature"], row["feature_source"]) == ("refunds", "tag")
    assert row["tags"] == {"plan": "free", "a": "inner"}


def test_late_repeats_of_months_ago_are_found(store: Store) -> None:
    when = datetime(2025, 3, 31, 23, 59, 59, 500000, tzinfo=UTC)
    one = trace()
    outer = told(one, scope="langchain", took_s=3, when=when)
    inner = told(one, within=outer, after_s=0.7, when=when)  # in the next month
    load(store, [inner])
    store.settle()
    load(store, [outer])
    store.settle()
    assert charged(store) == [inner.id]


def test_what_a_closed_month_was_closed_with_stays_charged(store: Store) -> None:
    outer, inner = nested(trace())
    load(store, [outer])
    store.settle()
    close_month(store, "2026-06", note="")
    load(store, [inner])
    store.settle()
    assert charged(store) == [outer.id]


def _family(one: bytes, name: str) -> list[Told]:
    outer = told(one, scope="langchain", took_s=3, user__id=name, pennytrace__feature="checkout")
    middle = told(
        one, within=outer, scope="litellm", after_s=0.1, took_s=2, gen_ai__response__id=f"chatcmpl-{name}"
    )
    inner = told(
        one,
        within=middle,
        after_s=0.2,
        gen_ai__response__id=f"chatcmpl-{name}",
        gen_ai__usage__cache_read__input_tokens=200,
    )
    gateway = told(
        trace(),
        service="gateway",
        scope="litellm",
        after_s=0.3,
        took_s=0.5,
        gen_ai__response__id=f"chatcmpl-{name}",
        gen_ai__usage__cache_read__input_tokens=200,
    )
    apart = told(one, after_s=5, gen_ai__response__id=f"chatcmpl-{name}-apart", user__id=name)
    return [outer, middle, inner, gateway, apart]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.permutations([0, 1, 2, 3, 4, 0, 2, 3, "settle", "settle"]))
def test_any_order_and_any_replay_comes_to_the_same(store: Store, steps: list[int | str]) -> None:
    name = f"n{next(_NUMBERS)}"
    family = _family(trace(), name)
    for step in steps:
        if isinstance(step, int):
            load(store, [family[step]])
        else:
            store.settle()
    store.settle()

    ids = ", ".join(f"'{each.id}'" for each in family)
    found = spend(store, where=f"span_id IN ({ids})")
    assert [row["span_id"] for row in found] == [family[3].id, family[4].id]
    assert {(row["user"], row["service"]) for row in found} == {(name, "gateway"), (name, "shop")}
    before = _stored(store)
    store.settle()
    assert _stored(store) == before


def _stored(store: Store) -> list[dict[str, Any]]:
    return rows(store, "calls FINAL", "1", "started_at, trace_id, span_id") + rows(
        store, "repeats FINAL", "1", "started_at, trace_id, span_id"
    )


def test_a_settle_that_finds_nothing_writes_nothing(store: Store) -> None:
    load(store, [told(trace()), told(trace())])
    store.settle()
    assert left_out(store) == {}
    assert store.client.command("SELECT count() FROM pennytrace.repeats") == 0
