"""Tags reach an engine of one's own by the W3C tracestate header, and nobody else's server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import httpx2
import huggingface_hub
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context, propagate, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState

import pennytrace
from pennytrace import semconv
from pennytrace._attribution.tags import cleaned
from pennytrace._attribution.text import clean
from pennytrace._attribution.tracestate import merged, read, write
from pennytrace._calls.own_servers import is_own
from pennytrace.errors import ConfigurationError
from tests.instrumentation.conftest import Calls
from tests.instrumentation.provider import MODEL, Answer, Provider
from tests.instrumentation.sink import Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]
COMPATIBLE: Final = semconv.OPENAI_COMPATIBLE
THEIR_PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
MEMBER: Final = re.compile(r"pennytrace=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
"""A list-member, as the standard's grammar has it."""
TAGGED: Final = "pennytrace=feature:search;team:shop;session:s-1;source:tag"

Headers = dict[str, str]


@pytest.fixture(autouse=True)
def delivered() -> Iterator[None]:
    """Leave no call on its way to the next test's collector."""
    yield
    pennytrace.flush(30)


known = st.sampled_from(
    [semconv.FEATURE, semconv.TEAM, semconv.CUSTOMER, semconv.SESSION_ID, semconv.USER_ID, semconv.USER_HASH]
)
own = st.text(max_size=20).map(lambda name: semconv.TAG_PREFIX + (clean(name) or "unnamed"))
tags = st.dictionaries(known | own, st.text(max_size=300), max_size=8).map(lambda given: cleaned(given, {}))
sources = st.sampled_from([semconv.FROM_TAG, semconv.FROM_ROUTE, semconv.FROM_FUNCTION])


class TestTheMember:
    @given(tags, sources)
    def test_says_all_where_there_is_room(self, said: Mapping[str, str], source: str) -> None:
        everything = {**said, semconv.FEATURE_SOURCE: source}
        assert read(write(everything, longest=None)) == everything

    @given(tags, st.integers(0, 300))
    def test_is_as_the_standard_wants_it_and_what_it_says_is_true(
        self, said: Mapping[str, str], longest: int
    ) -> None:
        member = write(said, longest=longest)
        assert len(member) <= len("pennytrace=") + longest
        if member and longest <= 256:
            assert MEMBER.fullmatch(member)
            assert TraceState.from_header([member]).get("pennytrace") == member.partition("=")[2]
        assert read(member).items() <= said.items()

    def test_the_feature_comes_before_all_others(self) -> None:
        said = {f"{semconv.TAG_PREFIX}{number}": "x" * 60 for number in range(9)}
        assert read(write({**said, semconv.FEATURE: "f" * 200})) == {semconv.FEATURE: "f" * 200}

    def test_a_name_for_which_there_is_no_room_is_not_cut(self) -> None:
        assert read(write({semconv.FEATURE: "ü" * 100, semconv.TEAM: "t"})) == {semconv.TEAM: "t"}

    def test_is_short(self) -> None:
        said = {semconv.TEAM: "a team", semconv.FEATURE: "/v1/search:x", semconv.SESSION_ID: "ü"}
        assert write(said) == "pennytrace=feature:/v1/search%3Ax;team:a%20team;session:%C3%BC"

    def test_says_nothing_else_than_who_spends(self) -> None:
        assert write({semconv.REQUEST_MODEL: "m", semconv.HTTP_ROUTE: "/"}) == write({}) == ""

    def test_an_unknown_source_or_name_counts_for_nothing(self) -> None:
        assert read("pennytrace=feature:f;source:me;gen_ai.usage.input_tokens:7;:;x") == {
            semconv.FEATURE: "f"
        }

    @given(st.text(max_size=400), st.text(max_size=400))
    def test_anybodys_header_can_be_read(self, before: str, value: str) -> None:
        for attribute, text in read(f"{before},pennytrace={value}").items():
            assert attribute.startswith((semconv.TAG_PREFIX, "pennytrace.", "user.", "session."))
            assert text.isprintable()
            assert 0 < len(text) <= 256

    def test_what_is_not_utf_8_or_too_long_counts_for_nothing(self) -> None:
        assert read("pennytrace=feature:%ff;team:t") == {semconv.TEAM: "t"}
        assert read("pennytrace=feature:f" + "," * 70_000) == {}
        assert len(read("pennytrace=" + ";".join(f"tag.{number}:x" for number in range(1000)))) == 40


member = st.from_regex(r"[a-z][a-z0-9]{0,9}=[a-z]{1,200}", fullmatch=True)


class TestTheHeader:
    @given(st.lists(member, max_size=40, unique=True), st.sampled_from(["", TAGGED]))
    def test_ours_comes_first_and_others_stay_as_they_are(self, others: list[str], ours: str) -> None:
        found = merged(",".join(others), ours).split(",") if others or ours else []
        kept = found[1:] if ours else found
        if ours:
            assert found[0] == ours
        assert [other for other in others if other in kept] == kept
        assert len(found) <= 32
        assert len(",".join(found)) <= 512
        whole = [ours, *others] if ours else others
        if len(whole) <= 32 and len(",".join(whole)) <= 512:
            assert kept == others

    def test_long_ones_go_first(self) -> None:
        long, short = "long=" + "x" * 300, [f"k{number}=v" for number in range(20)]
        assert merged(",".join([long, *short]), "pennytrace=" + "t" * 200).split(",")[1:] == short

    def test_ours_takes_the_place_of_an_earlier_one(self) -> None:
        assert merged("a=1, pennytrace=feature:old ,b=2", TAGGED) == f"{TAGGED},a=1,b=2"


class TestWhichServersAreOnesOwn:
    @pytest.mark.parametrize(
        "host",
        [
            *(
                "localhost",
                "vllm",
                "VLLM",
                "vllm.default.svc",
                "vllm.ml.svc.cluster.local",
                "gpu-1.lan",
                "nas.local",
            ),
            *(
                "gpu.internal",
                "ip-10-0-0-7.eu-west-1.compute.internal",
                "gpu.home.arpa",
                "gpu.corp.",
                "a.intranet",
            ),
            *(
                "127.0.0.1",
                "127.8.9.1",
                "10.1.2.3",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "169.254.7.7",
            ),
            *("::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "::ffff:10.0.0.1", "0.0.0.0"),
        ],
    )
    def test_those_in_private_places(self, host: str, recording: None) -> None:
        assert is_own(COMPATIBLE, host)

    @pytest.mark.parametrize(
        "host",
        [
            *(
                "llm.example.com",
                "localhost.example.com",
                "internal.example.com",
                "x.svc.example.com",
                "local.ai",
            ),
            *(
                "8.8.8.8",
                "172.32.0.1",
                "11.0.0.1",
                "2001:4860::8888",
                "::ffff:8.8.8.8",
                "127.1",
                "1.2.3.4.5",
                "",
            ),
        ],
    )
    def test_and_no_others(self, host: str, recording: None) -> None:
        assert not is_own(COMPATIBLE, host)

    @pytest.mark.parametrize("provider", ["openai", "azure.ai.openai", "anthropic", "together"])
    def test_a_known_provider_is_somebody_else_wherever_it_is(self, provider: str, sink: Sink) -> None:
        pennytrace.init(endpoint=sink.url, engine_hosts="127.0.0.1")
        assert not is_own(provider, "127.0.0.1")

    def test_those_that_are_named(self, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
        pennytrace.init(endpoint=sink.url, engine_hosts=["llm.example.com", "*.GPU.example.com"])
        named = ("llm.example.com", "a.gpu.example.com", "LLM.example.com", "localhost")
        assert [is_own(COMPATIBLE, host) for host in named] == [True] * 4
        assert not is_own(COMPATIBLE, "gpu.example.com")
        monkeypatch.setenv("PENNYTRACE_ENGINE_HOSTS", "other.example.com, 8.8.8.8")
        pennytrace.init(endpoint=sink.url)
        assert is_own(COMPATIBLE, "other.example.com")
        assert is_own(COMPATIBLE, "8.8.8.8")
        assert not is_own(COMPATIBLE, "llm.example.com")

    @pytest.mark.parametrize("wrong", ["http://gpu", "gpu:8000", "gpu/v1", "*", 7, ["a b"]])
    def test_what_is_no_name_is_refused(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="engine_hosts: expected"):
            pennytrace.init(engine_hosts=wrong)


@pytest.fixture
def tagged(calls: Calls) -> Iterator[None]:
    with pennytrace.tag(feature="search", team="shop", session="s-1", user="u-1", secret="x"):
        yield


def trace_headers(provider: Provider) -> list[Headers]:
    """What each request told the server, and nothing else."""
    found = []
    for headers in provider.headers:
        ours = [header for header in headers if header[0] in ("traceparent", "tracestate", "baggage")]
        assert len(dict(ours)) == len(ours), "a header is there twice"
        found.append(dict(ours))
    return found


def parent_of(call: Any, flags: str = "01") -> str:
    return f"00-{call.trace_id.hex()}-{call.span_id.hex()}-{flags}"


def whole(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=MODEL, messages=MESSAGES)


def streamed(client: openai.OpenAI) -> None:
    for _ in client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
        pass


def raw(client: openai.OpenAI) -> None:
    client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES).parse()


def raw_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=MESSAGES, stream=True
    ) as response:
        list(response.iter_lines())


def embedding(client: openai.OpenAI) -> None:
    client.embeddings.create(model=MODEL, input="?", encoding_format="float")


def asynchronous(client: openai.OpenAI) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(api_key="none", base_url=client.base_url, max_retries=0) as twin:
            await twin.chat.completions.create(model=MODEL, messages=MESSAGES)

    asyncio.run(ask())


def hugging_face(client: openai.OpenAI) -> None:
    huggingface_hub.InferenceClient(base_url=str(client.base_url)).chat_completion(MESSAGES)


def hugging_face_stream(client: openai.OpenAI) -> None:
    hub = huggingface_hub.InferenceClient(base_url=str(client.base_url))
    for _ in hub.chat_completion(MESSAGES, stream=True):
        pass


def hugging_face_asynchronous(client: openai.OpenAI) -> None:
    async def ask() -> None:
        async with huggingface_hub.AsyncInferenceClient(base_url=str(client.base_url)) as hub:
            await hub.chat_completion(MESSAGES)

    asyncio.run(ask())


@pytest.mark.parametrize(
    "ask",
    [
        *(whole, streamed, raw, raw_stream, embedding, asynchronous),
        *(hugging_face, hugging_face_stream, hugging_face_asynchronous),
    ],
)
def test_a_server_of_ones_own_is_told_who_spends_and_in_which_call(
    ask: Callable[[openai.OpenAI], None],
    tagged: None,
    client: openai.OpenAI,
    provider: Provider,
    calls: Calls,
) -> None:
    ask(client)
    (headers,) = trace_headers(provider)
    (call,) = calls()
    assert headers == {"tracestate": TAGGED, "traceparent": parent_of(call)}


class TestTheRequest:
    def test_the_function_is_told_where_nobody_has_tagged(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        whole(client)
        (headers,) = trace_headers(provider)
        assert read(headers["tracestate"]) == {
            semconv.FEATURE: f"{__name__}.whole",
            semconv.FEATURE_SOURCE: semconv.FROM_FUNCTION,
        }

    def test_calls_of_one_trace_are_told_apart(
        self, tagged: None, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        span = NonRecordingSpan(SpanContext(7, 8, is_remote=False, trace_flags=TraceFlags(0)))
        with trace.use_span(span):
            whole(client)
            whole(client)
        told = [headers["traceparent"] for headers in trace_headers(provider)]
        assert told == [parent_of(call, "00") for call in calls()]
        assert len(set(told)) == 2
        assert all(parent.startswith(f"00-{7:032x}-") for parent in told)

    @pytest.mark.parametrize("by_client", [False, True])
    def test_what_the_app_says_itself_stays(
        self, tagged: None, provider: Provider, calls: Calls, by_client: bool
    ) -> None:
        theirs = {"Traceparent": THEIR_PARENT, "TraceState": "congo=t61rcWkgMzE", "X-Own": "1"}
        always, once = (theirs, None) if by_client else (None, theirs)
        with openai.OpenAI(api_key="none", base_url=provider.url, default_headers=always) as client:
            client.chat.completions.create(model=MODEL, messages=MESSAGES, extra_headers=once)
        (headers,) = trace_headers(provider)
        assert headers == {"traceparent": THEIR_PARENT, "tracestate": f"{TAGGED},congo=t61rcWkgMzE"}
        assert ("x-own", "1") in provider.headers[0]
        assert theirs == {"Traceparent": THEIR_PARENT, "TraceState": "congo=t61rcWkgMzE", "X-Own": "1"}

    def test_a_header_that_the_app_leaves_out_is_left_out(
        self, tagged: None, client: openai.OpenAI, provider: Provider
    ) -> None:
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, extra_headers={"tracestate": openai.Omit()}
        )
        assert trace_headers(provider) == [{}]

    def test_every_attempt_tells(self, tagged: None, provider: Provider, calls: Calls) -> None:
        provider.answer = Answer(status=500, headers={"retry-after-ms": "1"})
        with (
            openai.OpenAI(api_key="none", base_url=provider.url, max_retries=1) as client,
            pytest.raises(openai.InternalServerError),
        ):
            whole(client)
        (call,) = calls()
        assert trace_headers(provider) == [{"tracestate": TAGGED, "traceparent": parent_of(call)}] * 2

    def test_so_does_a_stream_that_is_asked_for_again_without_usage(
        self, tagged: None, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        provider.answer = Answer(knows_stream_options=False)
        streamed(client)
        (call,) = calls()
        assert trace_headers(provider) == [{"tracestate": TAGGED, "traceparent": parent_of(call)}] * 2

    def test_what_is_not_recorded_tells_nothing(
        self, tagged: None, client: openai.OpenAI, provider: Provider
    ) -> None:
        token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
        whole(client)
        context.detach(token)
        pennytrace.shutdown(0)
        whole(client)
        assert trace_headers(provider) == [{}, {}]

    @pytest.mark.parametrize(
        ("setting", "value", "told"),
        [
            ("propagate", "none", None),
            ("engine_hosts", "none", None),
            ("propagate", "team", "pennytrace=team:shop"),
            ("propagate", ("feature", "customer"), "pennytrace=feature:search;source:tag"),
        ],
    )
    def test_the_app_decides_what_travels(
        self,
        client: openai.OpenAI,
        provider: Provider,
        sink: Sink,
        setting: str,
        value: Any,
        told: str | None,
    ) -> None:
        pennytrace.init(endpoint=sink.url, **{setting: value})
        with pennytrace.tag(feature="search", team="shop"):
            whole(client)
        (headers,) = trace_headers(provider)
        assert headers.get("tracestate") == told
        assert ("traceparent" in headers) is (told is not None)


def sent_by(kind: type[openai.OpenAI], **settings: Any) -> Headers:
    """The headers that a client sends to wherever it is pointed."""
    sent: list[Headers] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(dict(request.headers))
        return httpx2.Response(500)

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    with (
        kind(api_key="none", max_retries=0, http_client=transport, **settings) as client,
        pytest.raises(openai.InternalServerError),
    ):
        whole(client)
    (headers,) = sent
    return {name: value for name, value in headers.items() if name.startswith("trace") or name == "baggage"}


class TestNobodyElse:
    @pytest.mark.parametrize(
        "url",
        [
            "https://api.openai.com/v1",
            "https://openrouter.ai/api/v1",
            "https://api.together.xyz/v1",
            "https://mine.openai.azure.com/openai/v1",
            "https://llm.example.com/v1",
            "http://8.8.8.8/v1",
        ],
    )
    def test_is_told_anything(self, tagged: None, url: str) -> None:
        assert sent_by(openai.OpenAI, base_url=url) == {}

    @pytest.mark.parametrize("where", ["https://mine.openai.azure.com", "http://gateway.internal"])
    def test_azure_is_not(self, tagged: None, where: str) -> None:
        azure = {"azure_endpoint": where, "api_version": "2024-10-21"}
        assert sent_by(openai.AzureOpenAI, **azure) == {}

    def test_a_named_server_is_told(self, sink: Sink) -> None:
        pennytrace.init(endpoint=sink.url, engine_hosts="llm.example.com")
        with pennytrace.tag(feature="search"):
            headers = sent_by(openai.OpenAI, base_url="https://llm.example.com/v1")
        assert headers["tracestate"] == "pennytrace=feature:search;source:tag"


@pytest.fixture
def propagator() -> Iterator[None]:
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    yield
    pennytrace.shutdown(0)
    propagate.set_global_textmap(before)


@pytest.mark.usefixtures("propagator")
class TestBesideAnInstrumentedHttpClient:
    def told(self, state: TraceState, url: str = "http://vllm/v1") -> Headers:
        """What arrives when the request's own span is injected just before it is sent."""
        span = NonRecordingSpan(
            SpanContext(7, 8, is_remote=False, trace_flags=TraceFlags(1), trace_state=state)
        )
        sent: list[Headers] = []

        def answer(request: httpx2.Request) -> httpx2.Response:
            with trace.use_span(span):
                propagate.inject(request.headers)
            sent.append(dict(request.headers))
            return httpx2.Response(500)

        http = httpx2.Client(transport=httpx2.MockTransport(answer))
        with (
            openai.OpenAI(api_key="none", base_url=url, max_retries=0, http_client=http) as client,
            pytest.raises(openai.InternalServerError),
        ):
            whole(client)
        return {name: value for name, value in sent[0].items() if name.startswith("trace")}

    def test_its_span_is_the_parent(self, tagged: None) -> None:
        assert self.told(TraceState()) == {
            "traceparent": f"00-{7:032x}-{8:016x}-01",
            "tracestate": TAGGED,
        }

    def test_its_tracestate_stays_and_ours_is_there_too(self, tagged: None) -> None:
        headers = self.told(TraceState([("congo", "t61rcWkgMzE"), ("rojo", "1")]))
        assert headers["tracestate"] == f"{TAGGED},congo=t61rcWkgMzE,rojo=1"

    def test_a_model_provider_gets_nothing_of_what_has_come_with_a_request(self, tagged: None) -> None:
        ours = ("pennytrace", "feature:upstream")
        others = self.told(TraceState([ours, ("congo", "t61rcWkgMzE")]), "https://api.openai.com/v1")
        assert others["tracestate"] == "congo=t61rcWkgMzE"
        assert self.told(TraceState([ours]), "https://api.openai.com/v1").keys() == {"traceparent"}
