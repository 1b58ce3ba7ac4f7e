"""Tags reach other services by the W3C baggage header, and never a model provider."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context, propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Setter, TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import pennytrace
from pennytrace import semconv
from pennytrace._attribution.baggage import decode, encode, merged, without
from pennytrace._attribution.tags import current_tags
from pennytrace._nesting import inside_a_call
from tests.instrumentation.conftest import Calls
from tests.instrumentation.processes import python
from tests.instrumentation.provider import MODEL, Provider
from tests.instrumentation.sink import Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]
KEYS = [semconv.FEATURE, semconv.TEAM, semconv.CUSTOMER, semconv.SESSION_ID]


def read_by_opentelemetry(headers: Mapping[str, str]) -> dict[str, object]:
    return dict(baggage.get_all(W3CBaggagePropagator().extract(headers, context.Context())))


def injected(headers: dict[str, str] | None = None) -> dict[str, str]:
    """What an HTTP client that OpenTelemetry instruments sends."""
    headers = {} if headers is None else headers
    propagate.inject(headers)
    return headers


@pytest.fixture
def upstream() -> Iterator[None]:
    """Baggage that has come with the request that is being served."""
    carried = baggage.set_baggage("theirs", "kept")
    carried = baggage.set_baggage(semconv.FEATURE, "upstream", carried)
    token = context.attach(carried)
    yield
    context.detach(token)


@pytest.fixture
def global_propagator() -> Iterator[TextMapPropagator]:
    pennytrace.shutdown(0)
    before = propagate.get_global_textmap()
    yield before
    pennytrace.shutdown(0)
    propagate.set_global_textmap(before)


class TestTheHeader:
    def test_is_read_by_opentelemetry_as_it_was_meant(self) -> None:
        tags = {semconv.FEATURE: 'a b+c,d;e=f"g\\h%20ü€', semconv.TEAM: "core"}
        assert read_by_opentelemetry({"baggage": encode(tags)}) == tags

    @given(
        st.dictionaries(
            st.sampled_from(KEYS),
            st.text(max_size=256).map(lambda text: "".join(filter(str.isprintable, text)).strip()),
        )
    )
    def test_comes_back_as_it_went(self, tags: dict[str, str]) -> None:
        header = encode(tags)
        assert header.isascii()
        assert header.isprintable()
        assert decode(header, KEYS) == {name: value for name, value in tags.items() if value}

    @given(st.text(), st.sets(st.sampled_from(KEYS)))
    def test_of_any_text_is_read_without_complaint(self, header: str, names: set[str]) -> None:
        found = decode(header, names)
        assert found.keys() <= names
        assert all(value.isprintable() and 0 < len(value) <= 256 for value in found.values())
        assert not any(name in without(header, KEYS).split("=") for name in KEYS)

    def test_is_not_read_when_it_is_too_long(self) -> None:
        member = f"{semconv.FEATURE}=f"
        padding = "x=" + "y" * (8192 - len(member) - 3)
        assert decode(f"{padding},{member}", KEYS) == {semconv.FEATURE: "f"}
        assert decode(f"{padding}y,{member}", KEYS) == {}

    def test_is_read_up_to_180_members(self) -> None:
        member = f"{semconv.FEATURE}=f"
        assert decode("x=1," * 179 + member, KEYS) == {semconv.FEATURE: "f"}
        assert decode("x=1," * 180 + member, KEYS) == {}

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("pennytrace.feature=f;prop=1;other", "f"),
            (" pennytrace.feature = f ", "f"),
            ("pennytrace.feature=first,pennytrace.feature=last", "last"),
            ("pennytrace.feature=a%0d%0aSet-Cookie:x", "aSet-Cookie:x"),
            ("pennytrace.feature=%zz", "%zz"),
            ("pennytrace.feature=%ff%fe", None),
            ("pennytrace.feature=%00", None),
            ("pennytrace.feature=", None),
            ("pennytrace.feature", None),
            (",,=,;", None),
            ("PENNYTRACE.FEATURE=f", None),
        ],
    )
    def test_is_read_strictly_but_kindly(self, header: str, value: str | None) -> None:
        assert decode(header, KEYS) == ({} if value is None else {semconv.FEATURE: value})

    def test_keeps_what_others_have_put_there_and_replaces_what_is_ours(self) -> None:
        header = merged(f"a=1;p, {semconv.FEATURE}=old ,b=%20", {semconv.FEATURE: "new"})
        assert header == f"a=1;p,b=%20,{semconv.FEATURE}=new"
        assert without(header, KEYS) == "a=1;p,b=%20"

    def test_stays_within_the_limits_of_the_standard(self) -> None:
        many = ",".join(f"k{number}=v" for number in range(63))
        both = {semconv.FEATURE: "f", semconv.TEAM: "t"}
        assert merged(many, both) == f"{many},{semconv.FEATURE}=f"
        long = "k=" + "v" * 8170
        assert merged(long, {semconv.FEATURE: "too long for the rest", semconv.TEAM: "t"}) == (
            f"{long},{semconv.TEAM}=t"
        )


@pytest.mark.usefixtures("recording")
class TestByHand:
    def test_the_tags_reach_the_other_service(self) -> None:
        with pennytrace.tag(
            feature="search", team="core", customer="a c", session="s1", user="u1", tier="gold"
        ):
            headers = pennytrace.outgoing_headers()
        assert headers == {
            "baggage": "pennytrace.feature=search,pennytrace.team=core,"
            "pennytrace.customer=a%20c,session.id=s1"
        }
        with pennytrace.received(headers):
            assert dict(current_tags()) == {
                semconv.FEATURE: "search",
                semconv.TEAM: "core",
                semconv.CUSTOMER: "a c",
                semconv.SESSION_ID: "s1",
            }
        assert dict(current_tags()) == {}

    def test_a_call_is_recorded_under_them(self, client: openai.OpenAI, calls: Calls) -> None:
        with pennytrace.received({"Baggage": "pennytrace.feature=upstream"}):
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert calls()[0].attributes[semconv.FEATURE] == "upstream"

    def test_outside_of_tags_there_is_no_header(self) -> None:
        assert pennytrace.outgoing_headers() == {}
        with pennytrace.tag(user="u1", tier="gold"):
            assert pennytrace.outgoing_headers() == {}

    def test_received_tags_are_sent_on(self) -> None:
        headers = {"baggage": "other=1,pennytrace.team=core"}
        with pennytrace.received(headers), pennytrace.tag(feature="f"):
            assert pennytrace.outgoing_headers() == {"baggage": "pennytrace.feature=f,pennytrace.team=core"}

    def test_the_user_and_what_is_unknown_are_not_believed(self) -> None:
        with pennytrace.received({"baggage": "user.id=root,pennytrace.tag.x=1,gen_ai.usage.input_tokens=9"}):
            assert dict(current_tags()) == {}

    @pytest.mark.parametrize("name", ["baggage", "Baggage", "BAGGAGE"])
    def test_the_name_may_have_any_case(self, name: str) -> None:
        with pennytrace.received({"Host": "x", name: "pennytrace.feature=f"}):
            assert current_tags()[semconv.FEATURE] == "f"

    @pytest.mark.parametrize("headers", [None, 3, [], {"baggage": 3}, {b"baggage": b"x"}, {3: 4}])
    def test_whatever_the_headers_are_the_app_goes_on(self, headers: Any) -> None:
        with pennytrace.received(headers), pennytrace.tag(team="t"):
            assert dict(current_tags()) == {semconv.TEAM: "t"}

    def test_it_is_a_decorator_too(self) -> None:
        @pennytrace.received({"baggage": "pennytrace.feature=f"})
        def serve() -> str:
            return current_tags()[semconv.FEATURE]

        assert serve() == "f"


class TestTheSetting:
    @pytest.mark.parametrize(
        ("argument", "variable", "sent"),
        [
            ("feature", None, {semconv.FEATURE}),
            (("feature", "customer"), "none", {semconv.FEATURE, semconv.CUSTOMER}),
            ((), "feature", set()),
            ("none", None, set()),
            (None, " team , session,", {semconv.TEAM, semconv.SESSION_ID}),
            (None, "none", set()),
            (None, "", set(KEYS)),
            (None, None, set(KEYS)),
        ],
    )
    def test_says_what_travels(
        self, argument: Any, variable: str | None, sent: set[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if variable is not None:
            monkeypatch.setenv("PENNYTRACE_PROPAGATE", variable)
        pennytrace.init(endpoint="http://127.0.0.1:9", propagate=argument)
        with pennytrace.received({"baggage": ",".join(f"{key}=x" for key in KEYS)}):
            assert current_tags().keys() == sent
        with pennytrace.tag(feature="x", team="x", customer="x", session="x"):
            assert read_by_opentelemetry(pennytrace.outgoing_headers()).keys() == sent
            assert read_by_opentelemetry(injected()).keys() == sent

    @pytest.mark.parametrize("value", ["user", "feature,colour", 3])
    def test_that_cannot_be_used_is_an_error(self, value: Any) -> None:
        with pytest.raises(pennytrace.errors.ConfigurationError, match="propagate: expected"):
            pennytrace.init(propagate=value)

    def test_that_cannot_be_used_as_a_variable_is_logged_and_the_default_holds(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("PENNYTRACE_PROPAGATE", "user")
        with caplog.at_level(logging.ERROR, logger="pennytrace"):
            pennytrace.init(endpoint="http://127.0.0.1:9")
        assert "PENNYTRACE_PROPAGATE" in caplog.text
        with pennytrace.tag(feature="f", user="u"):
            assert pennytrace.outgoing_headers() == {"baggage": "pennytrace.feature=f"}

    def test_holds_only_while_we_record(self) -> None:
        pennytrace.init(endpoint="http://127.0.0.1:9")
        pennytrace.shutdown(0)
        with pennytrace.tag(feature="f"):
            assert pennytrace.outgoing_headers() == {}
            assert injected() == {}


class TestWithOpenTelemetry:
    @pytest.fixture(autouse=True)
    def starting(self, global_propagator: TextMapPropagator, sink: Sink) -> None:
        pennytrace.init(endpoint=sink.url, service="shop")

    def test_the_tags_are_in_the_header_beside_the_apps_own_baggage(self, upstream: None) -> None:
        with pennytrace.tag(feature="f", user="u1"):
            assert read_by_opentelemetry(injected()) == {"theirs": "kept", semconv.FEATURE: "f"}
        assert read_by_opentelemetry(injected()) == {"theirs": "kept", semconv.FEATURE: "upstream"}

    def test_the_trace_is_sent_as_ever(self) -> None:
        where = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
        carried = TraceContextTextMapPropagator().extract({"traceparent": where})
        headers: dict[str, str] = {}
        with pennytrace.tag(feature="f"):
            propagate.inject(headers, context=carried)
        assert headers == {"traceparent": where, "baggage": "pennytrace.feature=f"}

    def test_a_header_that_the_app_has_set_by_hand_is_kept(self) -> None:
        with pennytrace.tag(feature="f"):
            assert injected({"baggage": "by=hand"}) == {"baggage": "by=hand,pennytrace.feature=f"}

    def test_without_tags_the_apps_propagator_does_it_all(self) -> None:
        assert injected() == {}

    def test_what_arrives_counts(self, client: openai.OpenAI, sink: Sink) -> None:
        token = context.attach(propagate.extract({"baggage": "pennytrace.feature=upstream"}))
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
        context.detach(token)
        pennytrace.flush(30)
        (call,) = sink.spans
        assert call.attributes[semconv.FEATURE] == "upstream"
        assert call.attributes[semconv.FEATURE_SOURCE] == "baggage"

    def test_a_propagator_that_the_app_sets_later_carries_them_too(self) -> None:
        propagate.set_global_textmap(TraceContextTextMapPropagator())
        with pennytrace.tag(feature="f"):
            assert injected() == {"baggage": "pennytrace.feature=f"}
        arrived = propagate.extract({"baggage": "pennytrace.feature=f,other=1"})
        assert dict(baggage.get_all(arrived)) == {semconv.FEATURE: "f"}
        assert propagate.get_global_textmap().fields == {"traceparent", "tracestate", "baggage"}

    def test_an_app_that_propagates_nothing_is_left_alone(self) -> None:
        nothing = CompositePropagator([])
        propagate.set_global_textmap(nothing)
        assert propagate.get_global_textmap() is nothing
        with pennytrace.tag(feature="f"):
            assert injected() == {}

    def test_an_error_of_the_apps_propagator_is_the_apps(self) -> None:
        class Broken(TraceContextTextMapPropagator):
            def inject(self, *args: Any, **kwargs: Any) -> None:
                raise KeyError("theirs")

        propagate.set_global_textmap(Broken())
        with pennytrace.tag(feature="f"), pytest.raises(KeyError, match="theirs"):
            injected()

    def test_a_carrier_that_cannot_be_written_does_not_break_the_request(self) -> None:
        with pennytrace.tag(feature="f"):
            propagate.inject((), setter=_Refusing())

    def test_a_model_provider_gets_none_of_it(self, upstream: None) -> None:
        def call_a_model() -> tuple[dict[str, str], dict[str, str]]:
            inside_a_call.set(a_call)
            return injected(), pennytrace.outgoing_headers()

        a_call: Any = object()
        with pennytrace.tag(feature="f", session="s1"):
            assert contextvars.copy_context().run(call_a_model) == ({"baggage": "theirs=kept"}, {})

    def test_a_client_library_that_calls_from_threads_sends_none_of_it_either(self) -> None:
        def send() -> None:
            with pennytrace.tag(team="t"):
                sent.append((injected(), dict(current_tags())))

        def call_a_model(pool: ThreadPoolExecutor) -> None:
            inside_a_call.set(a_call)
            pool.submit(send).result()
            thread = threading.Thread(target=send)
            thread.start()
            thread.join()

        a_call: Any = object()
        sent: list[Any] = []
        tags = {semconv.FEATURE: "f", semconv.TEAM: "t"}
        with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
            contextvars.copy_context().run(call_a_model, pool)
            assert sent == [({}, tags)] * 2
            pool.submit(send).result()
            assert read_by_opentelemetry(sent[2][0]) == tags

    def test_the_openai_client_sends_none_of_it(
        self, upstream: None, provider: Provider, with_async_client: Any
    ) -> None:
        sent = []

        # What the instrumentations of HTTP clients do.
        def instrumented(request: Any) -> None:
            propagate.inject(request.headers)
            sent.append(request.headers.get("baggage"))

        async def instrumented_later(request: Any) -> None:
            instrumented(request)

        async def ask(client: openai.AsyncOpenAI) -> None:
            client._client.event_hooks = {"request": [instrumented_later]}
            await client.chat.completions.create(model=MODEL, messages=MESSAGES)
            async for _ in await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
                pass

        with (
            openai.OpenAI(api_key="none", base_url=provider.url) as client,
            pennytrace.tag(feature="f", session="s1"),
        ):
            client._client.event_hooks = {"request": [instrumented]}
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
            list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
            client.models.list()  # costs nothing, and is not recorded
            with_async_client(ask)
        assert sent[:2] + sent[3:] == ["theirs=kept"] * 4

    def test_shutdown_puts_the_apps_propagator_back(self, global_propagator: TextMapPropagator) -> None:
        assert propagate.get_global_textmap() is not global_propagator
        pennytrace.shutdown(0)
        assert propagate.get_global_textmap() is global_propagator
        assert not hasattr(propagate.set_global_textmap, "__wrapped__")

    def test_shutdown_leaves_one_that_was_put_around_ours(self) -> None:
        around = CompositePropagator([propagate.get_global_textmap()])
        pennytrace.shutdown(0)
        propagate.set_global_textmap(around)
        with pennytrace.tag(feature="f"):
            assert injected() == {}

    def test_it_starts_again_after_shutdown(self) -> None:
        pennytrace.shutdown(0)
        pennytrace.init(endpoint="http://127.0.0.1:9")
        with pennytrace.tag(feature="f"):
            assert injected() == {"baggage": "pennytrace.feature=f"}


class _Refusing(Setter[Any]):
    def set(self, carrier: Any, key: str, value: str) -> None:
        raise TypeError("cannot be written")


def test_opentelemetry_is_not_imported_for_it() -> None:
    code = """
import sys, pennytrace
pennytrace.init(endpoint="http://127.0.0.1:9")
assert not any(name.startswith("opentelemetry") for name in sys.modules), "imported"
from opentelemetry import propagate
headers = {}
with pennytrace.tag(feature="f"):
    propagate.inject(headers)
print(headers)
"""
    ran = python(code)
    assert ran.stdout.strip() == "{'baggage': 'pennytrace.feature=f'}", ran.stderr
