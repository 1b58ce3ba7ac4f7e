"""Anthropic: the real library over a real socket, against a server that answers as its documentation says."""

from __future__ import annotations

import asyncio
import base64
import binascii
import gc
import json
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anthropic
import pydantic
import pytest
from genai_prices import extract_usage
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import pennytrace
from pennytrace import semconv
from pennytrace._calls import later as _later
from pennytrace.providers.anthropic import name_of_host
from tests.instrumentation import scripted
from tests.instrumentation.conftest import Calls
from tests.instrumentation.scripted import Answer, Server, document, events
from tests.instrumentation.sink import Recorded, Sink

MODEL = "claude-opus-4-6"
MESSAGES: list[Any] = [{"role": "user", "content": "What does a penny weigh?"}]  # 24 characters
WORDS = ("A penny ", "weighs ", "3.56 g.")
USAGE: dict[str, Any] = {
    "input_tokens": 11,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 18,
    "output_tokens_details": {"thinking_tokens": 7},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 5},
    "service_tier": "priority",
    "speed": "fast",
    "inference_geo": "us",
    "something_new": {"of": 1},
}
MEASURED: dict[str, Any] = {
    semconv.INPUT_TOKENS: 141,
    semconv.CACHE_READ_INPUT_TOKENS: 100,
    semconv.CACHE_WRITE_INPUT_TOKENS: 30,
    semconv.CACHE_WRITE_5M: 10,
    semconv.CACHE_WRITE_1H: 20,
    semconv.OUTPUT_TOKENS: 18,
    semconv.REASONING_OUTPUT_TOKENS: 7,
    semconv.WEB_SEARCHES: 2,
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-4-6-20260205",
    "content": [{"type": "text", "text": "".join(WORDS)}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}
STARTED_USAGE = {**USAGE, "output_tokens": 1, "output_tokens_details": None, "server_tool_use": None}
FINAL_USAGE = {
    "input_tokens": 11,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "output_tokens": 18,
    "output_tokens_details": {"thinking_tokens": 7},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 5},
}


def stream_of(words: tuple[str, ...] = WORDS, final: Any = FINAL_USAGE) -> list[dict[str, Any]]:
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": STARTED_USAGE}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in words
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": final,
        },
        {"type": "message_stop"},
    ]


def sse(*args: Any, **more: Any) -> Answer:
    return events(stream_of(*args), named=True, **more)


@pytest.fixture
def server() -> Iterator[Server]:
    _later._who.clear()
    with scripted.running() as server:
        server.says(document(MESSAGE))
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="none", base_url=server.url, max_retries=0) as client:
        yield client


def asynchronously(server: Server, work: Callable[[anthropic.AsyncAnthropic], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with anthropic.AsyncAnthropic(api_key="none", base_url=server.url, max_retries=0) as client:
            return await work(client)

    return asyncio.run(run())


def ask(client: Any, **more: Any) -> Any:
    return client.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES, **more)


def usage_of(call: Recorded) -> dict[str, Any]:
    marks = (semconv.USAGE_SOURCE, semconv.USAGE_METHOD)
    return {name: value for name, value in call.attributes.items() if ".usage." in name and name not in marks}


def assert_measured(call: Recorded, provider: str = "anthropic_compatible") -> None:
    attributes = call.attributes
    assert attributes[semconv.OPERATION_NAME] == "chat"
    assert attributes[semconv.PROVIDER_NAME] == provider
    assert attributes[semconv.REQUEST_MODEL] == MODEL
    assert attributes[semconv.RESPONSE_MODEL] == MESSAGE["model"]
    assert attributes[semconv.RESPONSE_ID] == "msg_1"
    assert attributes[semconv.USAGE_SOURCE] == "measured"
    assert attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "priority+fast+us"
    assert attributes[semconv.SPEED] == "fast"
    assert attributes[semconv.GEO] == "us"
    assert usage_of(call) == MEASURED
    assert not call.failed


def test_a_message(client: anthropic.Anthropic, calls: Calls) -> None:
    message = ask(client, service_tier="auto")
    assert type(message) is anthropic.types.Message
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.OPENAI_REQUEST_SERVICE_TIER] == "auto"
    assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"


def test_the_counts_are_those_of_the_price_list(client: anthropic.Anthropic, calls: Calls) -> None:
    ask(client)
    theirs = extract_usage(MESSAGE, provider_id="anthropic", api_flavor="default").usage
    (call,) = calls()
    for name, key in {
        "input_tokens": semconv.INPUT_TOKENS,
        "cache_read_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cache_write_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,
        "cache_write_5m_tokens": semconv.CACHE_WRITE_5M,
        "cache_write_1h_tokens": semconv.CACHE_WRITE_1H,
        "output_tokens": semconv.OUTPUT_TOKENS,
        "output_reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS,
        "web_searches": semconv.WEB_SEARCHES,
    }.items():
        assert getattr(theirs, name) == call.attributes[key], name


def test_counts_that_are_null_or_zero_are_left_out(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    nothing_cached = {
        "cache_read_input_tokens": None,
        "cache_creation_input_tokens": 0,
        "cache_creation": None,
    }
    server.says(document({**MESSAGE, "usage": {"input_tokens": 11, "output_tokens": 18, **nothing_cached}}))
    ask(client)
    assert usage_of(calls()[0]) == {semconv.INPUT_TOKENS: 11, semconv.OUTPUT_TOKENS: 18}


def test_a_usage_that_is_not_there_is_missing(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    server.says(document({**MESSAGE, "usage": None}))
    ask(client)
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"
    assert usage_of(call) == {}


def test_a_compaction_is_added_and_an_advisor_is_charged_apart(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    compaction = {
        "type": "compaction",
        "input_tokens": 1000,
        "output_tokens": 200,
        "cache_read_input_tokens": 5,
    }
    advice = {"type": "advisor_message", "model": "claude-fable-5", "input_tokens": 800, "output_tokens": 90}
    advice["cache_read_input_tokens"] = 50
    usage = {**USAGE, "iterations": [{"type": "message", "input_tokens": 11}, compaction, advice]}
    server.says(
        document({**MESSAGE, "usage": usage}), events(stream_of(WORDS, {**FINAL_USAGE, **usage}), named=True)
    )
    client.beta.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES)
    list(client.beta.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES, stream=True))
    whole, apart, streamed, streamed_apart = calls()
    expected = {**MEASURED, semconv.INPUT_TOKENS: 1146, semconv.OUTPUT_TOKENS: 218}
    expected[semconv.CACHE_READ_INPUT_TOKENS] = 105
    assert usage_of(whole) == usage_of(streamed) == expected
    for call in (apart, streamed_apart):
        assert (
            call.attributes[semconv.REQUEST_MODEL]
            == call.attributes[semconv.RESPONSE_MODEL]
            == "claude-fable-5"
        )
        assert call.name == "chat claude-fable-5"
        assert semconv.RESPONSE_ID not in call.attributes
        assert usage_of(call) == {
            semconv.INPUT_TOKENS: 850,
            semconv.CACHE_READ_INPUT_TOKENS: 50,
            semconv.OUTPUT_TOKENS: 90,
        }


def test_a_stream_read_to_its_end(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    server.says(sse())
    stream = ask(client, stream=True)
    assert type(stream) is anthropic.Stream
    seen = list(stream)
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    assert call.attributes[semconv.TIME_TO_FIRST_CHUNK] > 0
    pennytrace.shutdown()
    assert seen == list(ask(client, stream=True))


def test_a_final_usage_without_input_leaves_that_of_the_beginning(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    server.says(sse(WORDS, {"output_tokens": 18}))
    list(ask(client, stream=True))
    (call,) = calls()
    assert call.attributes[semconv.INPUT_TOKENS] == 141
    assert call.attributes[semconv.OUTPUT_TOKENS] == 18
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"


def test_the_stream_helper(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    server.says(sse())
    with client.messages.stream(model=MODEL, max_tokens=100, messages=MESSAGES) as stream:
        assert type(stream) is anthropic.MessageStream
        assert "".join(stream.text_stream) == "".join(WORDS)
        assert stream.get_final_message().usage.output_tokens == 18
    (call,) = calls()
    assert_measured(call)


@pytest.mark.parametrize("leave", ["close", "drop", "with"])
def test_a_stream_that_is_left_has_measured_input_and_estimated_output(
    client: anthropic.Anthropic, server: Server, calls: Calls, leave: str
) -> None:
    server.says(sse(WORDS * 4000))
    stream: Any = ask(client, stream=True)
    if leave == "with":
        with stream:
            next(stream)
    said = 0
    for event in stream if leave != "with" else ():
        said += event.type == "content_block_delta"
        if said == 2:
            break
    if leave == "close":
        stream.close()
    del stream
    gc.collect()
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 141
    assert call.attributes[semconv.OUTPUT_TOKENS] >= (0 if leave == "with" else 4)
    assert call.attributes[semconv.OUTPUT_TOKENS] < 12000
    assert not call.failed


def test_a_stream_that_is_left_after_its_last_event_is_measured(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    server.says(sse())
    stream = ask(client, stream=True)
    for event in stream:
        if event.type == "message_stop":
            break
    stream.close()
    assert_measured(calls()[0])


def test_a_stream_cut_by_the_server(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    cut = events(stream_of()[:5], named=True, cut=True)
    server.says(cut)
    with pytest.raises(Exception, match="peer closed"):
        list(ask(client, stream=True))
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.INPUT_TOKENS] == 141
    assert call.attributes[semconv.OUTPUT_TOKENS] == 4  # 15 characters


def test_an_error_in_a_stream(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.says(events([*stream_of()[:5], error], named=True))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(ask(client, stream=True))
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.ERROR_TYPE] == "overloaded_error"
    assert call.attributes[semconv.INPUT_TOKENS] == 141


def test_an_error_is_the_librarys_own(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    error = {"type": "error", "error": {"type": "not_found_error", "message": "no such model"}}
    server.says(document(error, 404))
    with pytest.raises(anthropic.NotFoundError, match="no such model"):
        ask(client)
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.ERROR_TYPE] == "anthropic.NotFoundError"
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_time_out(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    server.says(Answer(b"", silent=True))
    with pytest.raises(anthropic.APITimeoutError):
        ask(client, timeout=0.2)
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "anthropic.APITimeoutError"


def test_retries_are_one_call(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    soon = {"retry-after-ms": "1"}
    server.says(document({}, 529, headers=soon), document({}, 529, headers=soon), document(MESSAGE))
    ask(client.with_options(max_retries=2))
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.ATTEMPTS] == 3


def test_counting_tokens_costs_nothing(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    server.says(document({"input_tokens": 11}))
    assert client.messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens == 11
    assert calls() == []


def test_raw_and_streamed_responses(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=100, messages=MESSAGES)
    assert raw.parse().id == "msg_1"
    with client.messages.with_streaming_response.create(
        model=MODEL, max_tokens=100, messages=MESSAGES
    ) as response:
        assert response.parse().id == "msg_1"
    first, second = calls()
    assert_measured(first)
    assert_measured(second)


class Weight(pydantic.BaseModel):
    grams: float


def test_a_parsed_answer_that_does_not_fit_was_paid_for(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    fits = {**MESSAGE, "content": [{"type": "text", "text": '{"grams": 3.56}'}]}
    server.says(document(fits), document(MESSAGE))
    parse = client.messages.parse
    answer = parse(model=MODEL, max_tokens=100, messages=MESSAGES, output_format=Weight)
    assert answer.parsed_output == Weight(grams=3.56)
    with pytest.raises(pydantic.ValidationError):
        parse(model=MODEL, max_tokens=100, messages=MESSAGES, output_format=Weight)
    good, bad = calls()
    assert_measured(good)
    assert usage_of(bad) == MEASURED


def test_each_turn_of_the_tool_runner_is_a_call(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    @anthropic.beta_tool
    def weigh(coin: str) -> str:
        """Weigh a coin."""
        return f"{coin}: 3.56 g"

    use = {"type": "tool_use", "id": "toolu_1", "name": "weigh", "input": {"coin": "penny"}}
    server.says(document({**MESSAGE, "content": [use], "stop_reason": "tool_use"}), document(MESSAGE))
    runner = client.beta.messages.tool_runner(model=MODEL, max_tokens=100, messages=MESSAGES, tools=[weigh])
    assert runner.until_done().content[0].text == "".join(WORDS)  # type: ignore[union-attr]
    assert [usage_of(call) for call in calls()] == [MEASURED, MEASURED]


def test_clients_made_before_copied_and_subclassed(server: Server, sink: Sink) -> None:
    class Ours(anthropic.Anthropic):
        pass

    with Ours(api_key="none", base_url=server.url, max_retries=0) as client:
        messages = client.messages
        pennytrace.init(endpoint=sink.url)
        messages.create(model=MODEL, max_tokens=100, messages=MESSAGES)
        ask(client.copy(timeout=5))
        client.beta.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES)
    assert pennytrace.flush(30)
    assert len(sink.spans) == 3
    for call in sink.spans:
        assert_measured(call)


def test_a_library_that_traces_itself_is_one_call_of_ours(server: Server, calls: Calls) -> None:
    exported = InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exported))
    with anthropic.Anthropic(
        api_key="none", base_url=server.url, open_telemetry={"tracer_provider": tracing}
    ) as client:
        ask(client)
        server.says(sse())
        list(ask(client, stream=True))
    assert len(exported.get_finished_spans()) >= 2
    first, second = calls()
    assert_measured(first)
    assert_measured(second)


def test_asynchronous(server: Server, calls: Calls) -> None:
    server.says(document(MESSAGE), sse())

    async def work(client: anthropic.AsyncAnthropic) -> Any:
        whole = await ask(client)
        stream = await ask(client, stream=True)
        assert type(stream) is anthropic.AsyncStream
        return whole, [event async for event in stream]

    whole, seen = asynchronously(server, work)
    assert whole.id == "msg_1"
    assert len(seen) == len(stream_of()) - 1  # the ping is the library's
    first, second = calls()
    assert_measured(first)
    assert_measured(second)


def test_an_asynchronous_stream_helper_that_is_left(server: Server, calls: Calls) -> None:
    server.says(sse(WORDS * 4000))

    async def work(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(model=MODEL, max_tokens=100, messages=MESSAGES) as stream:
            async for _ in stream.text_stream:
                break

    asynchronously(server, work)
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 141


def test_no_content_leaves(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    ask(client, system="You are a numismatist.")
    server.says(sse())
    next(ask(client, stream=True))
    gc.collect()
    told = repr(calls())
    assert "penny" not in told.replace("pennytrace", "")
    assert "numismatist" not in told


# --- batches -----------------------------------------------------------------------------------------------
BATCH: dict[str, Any] = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 0},
    "created_at": "2026-11-22T05:00:00Z",
    "ended_at": "2026-11-22T05:20:00Z",
    "expires_at": "2026-11-23T05:00:00Z",
    "archived_at": None,
    "cancel_initiated_at": None,
}


def results(*, advised: bool = False) -> Answer:
    usage = {**USAGE, "service_tier": "batch"}
    if advised:
        usage["iterations"] = [
            {"type": "advisor_message", "model": "claude-fable-5", "input_tokens": 800, "output_tokens": 90}
        ]
    good = [{**MESSAGE, "id": f"msg_{number}", "usage": usage} for number in (1, 2)]
    lines: list[Any] = [{"type": "succeeded", "message": message} for message in good]
    lines.append(
        {"type": "errored", "error": {"type": "error", "error": {"type": "api_error", "message": ""}}}
    )
    body = [json.dumps({"custom_id": str(number), "result": line}) for number, line in enumerate(lines)]
    return Answer("\n".join(body).encode(), "application/x-jsonl")


def batch_of(server: Server) -> Answer:
    return document({**BATCH, "results_url": f"{server.url}/v1/messages/batches/msgbatch_1/results"})


def test_results_of_a_batch_are_charged_once_to_who_asked_for_it(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    pending = {**BATCH, "processing_status": "in_progress", "ended_at": None, "results_url": None}
    server.says(document(pending), *[batch_of(server), results()] * 2)
    params: Any = {"model": MODEL, "max_tokens": 100, "messages": MESSAGES}
    with pennytrace.tag(feature="nightly"):
        client.messages.batches.create(requests=[{"custom_id": "0", "params": params}])
    with pennytrace.tag(feature="reader"):
        read = [list(client.messages.batches.results("msgbatch_1")) for _ in range(2)]
    assert read[0] == read[1]
    assert [line.custom_id for line in read[0]] == ["0", "1", "2"]
    recorded = calls()
    assert len(recorded) == 4
    assert len({(call.trace_id, call.span_id) for call in recorded}) == 2
    for call in recorded:
        assert usage_of(call) == MEASURED
        assert call.seconds == 1200
        assert call.attributes[semconv.FEATURE] == "nightly"
        assert call.attributes[semconv.PROCESSING] == "batch"
        assert call.attributes[semconv.BATCH] == "msgbatch_1"
        assert call.attributes[semconv.REQUEST_MODEL] == MESSAGE["model"]


def test_results_that_are_not_read_to_their_end_are_charged_when_they_are(
    client: anthropic.Anthropic, server: Server, calls: Calls
) -> None:
    server.says(batch_of(server), results(advised=True))
    for _ in client.beta.messages.batches.results("msgbatch_1"):
        break
    gc.collect()
    server.says(batch_of(server), results(advised=True))
    list(client.beta.messages.batches.results("msgbatch_1"))
    recorded = calls()
    assert len({call.span_id for call in recorded}) == 4
    advice = [call for call in recorded if call.attributes[semconv.REQUEST_MODEL] == "claude-fable-5"]
    assert {call.attributes[semconv.PROCESSING] for call in advice} == {"batch"}
    assert {call.seconds for call in advice} == {1200}


def test_results_of_a_batch_asynchronously(server: Server, calls: Calls) -> None:
    server.says(batch_of(server), results())

    async def work(client: anthropic.AsyncAnthropic) -> Any:
        return [line async for line in await client.messages.batches.results("msgbatch_1")]

    assert len(asynchronously(server, work)) == 3
    assert [usage_of(call) for call in calls()] == [MEASURED, MEASURED]


def test_a_dream_is_charged_once(client: anthropic.Anthropic, server: Server, calls: Calls) -> None:
    counts = {"input_tokens": 11, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 30}
    dream = {
        "id": "drm_1",
        "type": "dream",
        "status": "completed",
        "created_at": "2026-11-22T05:00:00Z",
        "ended_at": "2026-11-22T05:01:00Z",
        "model": {"id": MODEL},
        "usage": {**counts, "output_tokens": 18},
    }
    server.says(document(dream))
    client.beta.dreams.retrieve("drm_1")
    client.beta.dreams.retrieve("drm_1")
    first, again = calls()
    assert first.span_id == again.span_id
    assert first.attributes[semconv.REQUEST_MODEL] == MODEL
    assert first.attributes[semconv.INPUT_TOKENS] == 141


# --- other platforms ---------------------------------------------------------------------------------------
def frame(event: dict[str, Any]) -> bytes:
    """Return a message of AWS's event stream, with an event of Anthropic's in it."""
    names = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in names.items()
    )
    content = base64.b64encode(json.dumps(event).encode()).decode()
    payload = json.dumps({"bytes": content, "p": "abcdef"}).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))


def test_bedrock(server: Server, calls: Calls) -> None:
    frames = Answer(b"".join(map(frame, stream_of())), "application/vnd.amazon.eventstream")
    server.says(document(MESSAGE), frames)
    keys: Any = {"aws_access_key": "a", "aws_secret_key": "b", "aws_region": "us-east-1"}
    with anthropic.AnthropicBedrock(**keys, base_url=server.url, max_retries=0) as client:
        ask(client)
        seen = list(ask(client, stream=True))
        server.says(
            Answer(b"".join(map(frame, stream_of()[:5])), "application/vnd.amazon.eventstream", cut=True)
        )
        with pytest.raises(Exception, match="peer closed"):
            list(ask(client, stream=True))
    assert server.asked[0].path == f"/model/{MODEL}/invoke"
    assert len(seen) == len(stream_of()) - 1
    whole, streamed, cut = calls()
    assert_measured(whole, "aws.bedrock")
    assert_measured(streamed, "aws.bedrock")
    assert cut.attributes[semconv.INPUT_TOKENS] == 141
    assert cut.attributes[semconv.OUTPUT_TOKENS] == 4


def test_vertex(server: Server, calls: Calls) -> None:
    server.says(document(MESSAGE), sse())
    with anthropic.AnthropicVertex(
        region="us", project_id="mint", access_token="t", base_url=server.url, max_retries=0
    ) as client:
        ask(client)
        list(ask(client, stream=True))
    assert server.asked[0].path.endswith(f"/models/{MODEL}:rawPredict")
    whole, streamed = calls()
    assert_measured(whole, "gcp.vertex_ai")
    assert_measured(streamed, "gcp.vertex_ai")


def test_foundry(server: Server, calls: Calls) -> None:
    with anthropic.AnthropicFoundry(api_key="none", base_url=server.url, max_retries=0) as client:
        ask(client)
    assert_measured(calls()[0])


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.anthropic.com", "anthropic"),
        ("aws-external-anthropic.us-east-1.api.aws", "anthropic"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
        ("us-east5-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("mint.services.ai.azure.com", "azure.ai.inference"),
        ("openrouter.ai", "openrouter"),
        ("llm.mint.example", "anthropic_compatible"),
    ],
)
def test_the_provider_of_a_host(host: str, provider: str) -> None:
    assert name_of_host(host) == provider
