"""LiteLLM: the real library over a real socket, against servers that answer as the providers document.

Skipped where litellm is not installed: the newest keeps openai back, so `test_newest_litellm.py` runs this in an
environment of its own.
"""

from __future__ import annotations

import asyncio
import binascii
import gc
import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread
from typing import Any

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch its prices when it is imported
litellm = pytest.importorskip("litellm")

import pennytrace  # noqa: E402
from pennytrace import semconv  # noqa: E402
from pennytrace._calls import asking as _asking  # noqa: E402
from tests.instrumentation import provider as openai_server  # noqa: E402
from tests.instrumentation.conftest import Calls  # noqa: E402
from tests.instrumentation.provider import Provider  # noqa: E402
from tests.instrumentation.server import QuietServer  # noqa: E402
from tests.instrumentation.sink import Recorded, Sink  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # those of litellm itself

QUESTION = "What does a penny weigh?"  # 24 characters
MESSAGES = [{"role": "user", "content": QUESTION}]
WORDS = ("A penny ", "weighs ", "3.56 g.")
CLAUDE = "claude-sonnet-4-5-20250929"
CLAUDE_USAGE: dict[str, Any] = {
    "input_tokens": 20,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 9,
    "service_tier": "standard",
}
GEMINI_USAGE = {
    "promptTokenCount": 21,
    "candidatesTokenCount": 9,
    "thoughtsTokenCount": 4,
    "cachedContentTokenCount": 8,
    "totalTokenCount": 34,
}


@dataclass
class Answer:
    content: bytes
    media: str = "application/json"
    status: int = 200
    cut: bool = False
    hangs: bool = False


def document(**fields: Any) -> Answer:
    return Answer(json.dumps(fields).encode())


@dataclass
class Server:
    """Answers every request with the next of what it is told, and then with the last again."""

    port: int = 0
    answers: list[Answer] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    resume: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            return

        def do_GET(self) -> None:
            self._send(Answer(b"{}"))

        def do_POST(self) -> None:
            told.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            told.paths.append(self.path.partition("?")[0])
            self._send(told.next())

        def _send(self, answer: Answer) -> None:
            if not answer.status:  # says nothing, and hangs up
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.media)
            self.send_header(
                "Content-Length", str(len(answer.content) + (10 if answer.cut or answer.hangs else 0))
            )
            self.end_headers()
            self.wfile.write(answer.content)
            if answer.hangs:
                self.wfile.flush()
                told.resume.wait(10)

    http = QuietServer(("127.0.0.1", 0), Handler)
    told.port = http.server_port
    Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield told
    told.resume.set()
    http.shutdown()
    http.server_close()


@pytest.fixture(autouse=True)
def as_new() -> Iterator[None]:
    """Leave no client or cache to the next test, nor what was learnt of a server."""
    litellm.in_memory_llm_clients_cache.flush_cache()
    litellm.cache = None
    _asking.hosts_without_usage.clear()
    yield
    litellm.cache = None


def asynchronously(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


# --- what the providers answer ------------------------------------------------------------------------------


def claude() -> Answer:
    return document(
        id="msg_1",
        type="message",
        role="assistant",
        model=CLAUDE,
        content=[{"type": "text", "text": "".join(WORDS)}],
        stop_reason="end_turn",
        usage=CLAUDE_USAGE,
    )


def claude_events() -> list[dict[str, Any]]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "content": []}
    first = {**CLAUDE_USAGE, "output_tokens": 1}
    return [
        {"type": "message_start", "message": {**message, "usage": first}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in WORDS
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]


def sent_events(events: list[dict[str, Any]], *, cut: bool = False, hangs: bool = False) -> Answer:
    lines = [
        f"event: {event.get('type', 'chunk')}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    ]
    return Answer(b"".join(lines), "text/event-stream", cut=cut, hangs=hangs)


def gemini(*, text: str = "".join(WORDS), usage: dict[str, int] | None = None) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, "finishReason": "STOP"}
    counts = GEMINI_USAGE if usage is None else usage
    return {
        "candidates": [candidate],
        "usageMetadata": counts,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r-1",
    }


def ollama_lines() -> bytes:
    head = {"model": "gemma3", "created_at": "2026-11-22T05:00:00Z"}
    lines: list[dict[str, Any]] = [
        {**head, "message": {"role": "assistant", "content": word}, "done": False} for word in WORDS
    ]
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    lines.append({**head, **last, "prompt_eval_count": 11, "eval_count": 18})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def frame(kind: str, event: dict[str, Any]) -> bytes:
    """Return a message of AWS's event stream."""
    names = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in names.items()
    )
    payload = json.dumps(event).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))


# --- what is asserted ---------------------------------------------------------------------------------------


def usage_of(call: Recorded) -> dict[str, Any]:
    return {
        name: value
        for name, value in call.attributes.items()
        if name.startswith(("gen_ai.usage.", "pennytrace.usage."))
    }


CLAUDE_COUNTED = {
    semconv.INPUT_TOKENS: 150,
    semconv.CACHE_READ_INPUT_TOKENS: 100,
    semconv.CACHE_WRITE_INPUT_TOKENS: 30,
    semconv.CACHE_WRITE_5M: 10,
    semconv.CACHE_WRITE_1H: 20,
    semconv.OUTPUT_TOKENS: 9,
    semconv.USAGE_SOURCE: semconv.MEASURED,
}
OPENAI_COUNTED = {
    semconv.INPUT_TOKENS: 21,
    semconv.CACHE_READ_INPUT_TOKENS: 8,
    semconv.CACHE_WRITE_INPUT_TOKENS: 3,
    semconv.AUDIO_INPUT_TOKENS: 2,
    semconv.OUTPUT_TOKENS: 9,
    semconv.REASONING_OUTPUT_TOKENS: 4,
    semconv.AUDIO_OUTPUT_TOKENS: 1,
    semconv.USAGE_SOURCE: semconv.MEASURED,
}


def assert_claude(call: Recorded) -> None:
    assert usage_of(call) == CLAUDE_COUNTED
    assert call.name == f"chat {CLAUDE}"
    assert call.attributes[semconv.PROVIDER_NAME] == "anthropic"
    assert call.attributes[semconv.REQUEST_MODEL] == CLAUDE
    assert call.attributes[semconv.RESPONSE_MODEL] == CLAUDE
    assert call.attributes[semconv.RESPONSE_ID] == "msg_1"
    assert not call.failed


def once_dropped(calls: Calls) -> Recorded:
    """Return the call of a stream that the app has let go: litellm's own threads hold it a moment longer."""
    for _ in range(500):
        gc.collect()
        if found := calls():
            (call,) = found
            return call
        time.sleep(0.01)
    raise AssertionError("no call")


def said(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def contents(chunks: list[Any]) -> list[dict[str, Any]]:
    """Return chunks without what is new in every run."""
    return [chunk.model_dump(exclude={"id", "created"}) for chunk in chunks]


# --- over litellm's own HTTP client -------------------------------------------------------------------------


def ask_claude(server: Server, **more: Any) -> Any:
    return litellm.completion(
        f"anthropic/{CLAUDE}", MESSAGES, api_base=server.url, api_key="none", max_retries=0, **more
    )


def ask_claude_async(server: Server, **more: Any) -> Any:
    return litellm.acompletion(
        model=f"anthropic/{CLAUDE}", messages=MESSAGES, api_base=server.url, api_key="none", **more
    )


def test_a_message_of_anthropic(server: Server, calls: Calls) -> None:
    server.says(claude())
    answer = ask_claude(server)
    assert type(answer) is litellm.ModelResponse
    assert said(answer) == "".join(WORDS)
    (call,) = calls()
    assert_claude(call)
    assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "standard"


def test_a_message_of_anthropic_asynchronously(server: Server, calls: Calls) -> None:
    server.says(claude())
    assert said(asynchronously(lambda: ask_claude_async(server))) == "".join(WORDS)
    (call,) = calls()
    assert_claude(call)


def test_a_stream_is_litellms_own_with_the_same_chunks(server: Server, calls: Calls) -> None:
    server.says(sent_events(claude_events()))
    stream = ask_claude(server, stream=True)
    assert type(stream) is litellm.CustomStreamWrapper
    seen = contents(list(stream))
    del stream
    call = once_dropped(calls)
    assert_claude(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    pennytrace.shutdown()
    assert seen == contents(list(ask_claude(server, stream=True)))


def test_an_asynchronous_stream(server: Server, calls: Calls) -> None:
    server.says(sent_events(claude_events()))

    async def work() -> list[Any]:
        stream = await ask_claude_async(server, stream=True)
        assert type(stream) is litellm.CustomStreamWrapper
        return [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in asynchronously(work)) == "".join(WORDS)
    (call,) = calls()
    assert_claude(call)


def test_a_stream_that_is_left_is_estimated(server: Server, calls: Calls) -> None:
    server.says(sent_events(claude_events()[:4], hangs=True))
    stream = ask_claude(server, stream=True)
    assert next(stream).choices[0].delta.content == WORDS[0]
    del stream
    call = once_dropped(calls)
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 150
    assert not call.failed


def test_an_asynchronous_stream_that_is_left(server: Server, calls: Calls) -> None:
    server.says(sent_events(claude_events()[:4], hangs=True))

    async def work() -> None:
        stream = await ask_claude_async(server, stream=True)
        assert (await anext(stream)).choices[0].delta.content == WORDS[0]
        await stream.aclose()

    asynchronously(work)
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 150


def test_a_stream_cut_by_the_server(server: Server, calls: Calls) -> None:
    server.says(sent_events(claude_events()[:4], cut=True))
    with pytest.raises(Exception, match="peer closed"):
        list(ask_claude(server, stream=True))
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.OUTPUT_TOKENS] == 4  # 15 characters


def test_an_error_is_litellms_own(server: Server, calls: Calls) -> None:
    refusal = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
    server.says(Answer(json.dumps(refusal).encode(), status=429))
    with pytest.raises(litellm.RateLimitError, match="slow down"):
        ask_claude(server)
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_time_out(server: Server, calls: Calls) -> None:
    server.says(Answer(b"", hangs=True))
    with pytest.raises(litellm.Timeout):
        ask_claude(server, timeout=0.2)
    (call,) = calls()
    assert call.failed


def test_a_usage_that_is_null_is_missing_and_not_litellms_guess(server: Server, calls: Calls) -> None:
    head = {"model": "gemma3", "created_at": "2026-11-22T05:00:00Z", "done": True}
    server.says(document(**head, message={"role": "assistant", "content": "3.56 g."}))
    answer = litellm.completion("ollama_chat/gemma3", MESSAGES, api_base=server.url)
    assert answer.usage.completion_tokens > 0  # made up, and not marked
    (call,) = calls()
    assert usage_of(call) == {semconv.USAGE_SOURCE: "missing"}


def test_gemini(server: Server, calls: Calls) -> None:
    server.says(document(**gemini()))
    answer = litellm.completion("gemini/gemini-2.5-flash", MESSAGES, api_base=server.url, api_key="none")
    assert said(answer) == "".join(WORDS)
    (call,) = calls()
    assert call.attributes[semconv.PROVIDER_NAME] == "gcp.gemini"
    assert usage_of(call) == {
        semconv.INPUT_TOKENS: 21,
        semconv.CACHE_READ_INPUT_TOKENS: 8,
        semconv.OUTPUT_TOKENS: 13,
        semconv.REASONING_OUTPUT_TOKENS: 4,
        semconv.USAGE_SOURCE: semconv.MEASURED,
    }


def test_ollama(server: Server, calls: Calls) -> None:
    server.says(Answer(ollama_lines(), "application/x-ndjson"))
    stream = litellm.completion("ollama_chat/gemma3", MESSAGES, api_base=server.url, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "".join(WORDS)
    (call,) = calls()
    assert call.attributes[semconv.PROVIDER_NAME] == "ollama"
    assert call.attributes[semconv.REQUEST_MODEL] == "gemma3"
    assert usage_of(call) == {
        semconv.INPUT_TOKENS: 11,
        semconv.OUTPUT_TOKENS: 18,
        semconv.USAGE_SOURCE: semconv.MEASURED,
    }


BEDROCK = "anthropic.claude-sonnet-4-5-20250929-v1:0"
AWS = {
    "aws_access_key_id": "none",
    "aws_secret_access_key": "none",
    "aws_region_name": "us-east-1",
}


@pytest.mark.parametrize("stream", [False, True])
def test_bedrock(server: Server, calls: Calls, stream: bool) -> None:
    usage = {"inputTokens": 20, "outputTokens": 9, "totalTokens": 59, "cacheReadInputTokens": 30}
    message = {"role": "assistant", "content": [{"text": "".join(WORDS)}]}
    events = b"".join(
        (
            frame("messageStart", {"role": "assistant"}),
            *(
                frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}})
                for word in WORDS
            ),
            frame("messageStop", {"stopReason": "end_turn"}),
            frame("metadata", {"usage": usage, "metrics": {"latencyMs": 3}}),
        )
    )
    whole = document(
        output={"message": message}, stopReason="end_turn", usage=usage, metrics={"latencyMs": 3}
    )
    server.says(Answer(events, "application/vnd.amazon.eventstream") if stream else whole)
    answer = litellm.completion(
        f"bedrock/{BEDROCK}", MESSAGES, aws_bedrock_runtime_endpoint=server.url, stream=stream, **AWS
    )
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer) == "".join(WORDS)
    (call,) = calls()
    assert call.attributes[semconv.PROVIDER_NAME] == "aws.bedrock"
    assert call.attributes[semconv.REQUEST_MODEL] == BEDROCK
    assert usage_of(call) == {
        semconv.INPUT_TOKENS: 50,
        semconv.CACHE_READ_INPUT_TOKENS: 30,
        semconv.OUTPUT_TOKENS: 9,
        semconv.USAGE_SOURCE: semconv.MEASURED,
    }


@pytest.mark.parametrize("named", ["rerank", "arerank"])
def test_rerank(server: Server, calls: Calls, named: str) -> None:
    results = [{"index": 0, "relevance_score": 0.9}]
    server.says(document(id="r-1", results=results, meta={"billed_units": {"search_units": 1}}))
    asked: dict[str, Any] = {
        "model": "cohere/rerank-v3.5",
        "query": QUESTION,
        "documents": ["a", "b"],
        "api_base": server.url,
        "api_key": "none",
    }
    if named == "rerank":
        litellm.rerank(**asked)
    else:
        asynchronously(lambda: litellm.arerank(**asked))
    (call,) = calls()
    assert call.name == "rerank rerank-v3.5"
    assert call.attributes[semconv.PROVIDER_NAME] == "cohere"
    assert usage_of(call) == {semconv.SEARCHES: 1, semconv.USAGE_SOURCE: semconv.MEASURED}


def test_embeddings_of_a_provider_that_reports_one_total(server: Server, calls: Calls) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}]
    server.says(document(object="list", model="voyage-3", data=data, usage={"total_tokens": 7}))
    litellm.embedding(
        "voyage/voyage-3", input=[QUESTION], api_base=f"{server.url}/v1/embeddings", api_key="none"
    )
    (call,) = calls()
    assert call.name == "embeddings voyage-3"
    assert call.attributes[semconv.PROVIDER_NAME] == "voyage"
    assert usage_of(call) == {semconv.INPUT_TOKENS: 7, semconv.USAGE_SOURCE: semconv.MEASURED}


# --- a server that speaks OpenAI's language, over litellm's client and over openai's -------------------------

ASKED = pytest.mark.parametrize("model", ["groq/gpt-4o-mini", "openai/gpt-4o-mini"])


def ask(model: str, provider: Provider, **more: Any) -> Any:
    provider.answer.service_tier = "default"  # litellm fails where Groq does not say
    return litellm.completion(model, MESSAGES, api_base=provider.url, api_key="none", max_retries=0, **more)


def assert_openai(call: Recorded, model: str) -> None:
    assert usage_of(call) == OPENAI_COUNTED
    name = "groq" if model.startswith("groq") else "openai_compatible"
    assert call.attributes[semconv.PROVIDER_NAME] == name
    assert call.attributes[semconv.REQUEST_MODEL] == "gpt-4o-mini"
    assert call.attributes[semconv.RESPONSE_ID] == openai_server.RESPONSE_ID


@ASKED
def test_a_completion_is_one_call(model: str, provider: Provider, calls: Calls) -> None:
    assert said(ask(model, provider)) == "".join(WORDS)
    (call,) = calls()
    assert_openai(call, model)


@ASKED
def test_a_completion_with_several_choices(model: str, provider: Provider, calls: Calls) -> None:
    assert len(ask(model, provider, n=2).choices) == 2
    (call,) = calls()
    assert_openai(call, model)


@ASKED
@pytest.mark.parametrize("options", [None, {"include_usage": True}])
def test_a_stream_has_its_usage_and_the_same_chunks(
    model: str, provider: Provider, calls: Calls, options: dict[str, bool] | None
) -> None:
    more = {"stream_options": options} if options else {}
    seen = contents(list(ask(model, provider, stream=True, **more)))
    call = once_dropped(calls)
    assert_openai(call, model)
    assert provider.requests[0]["stream_options"] == {"include_usage": True}
    pennytrace.shutdown()
    without = contents(list(ask(model, provider, stream=True, **more)))
    assert provider.requests[1].get("stream_options") == options
    if options:
        assert seen == without
    else:  # litellm counts for itself, and does not say so
        assert [chunk["choices"] for chunk in seen] == [chunk["choices"] for chunk in without]


@ASKED
def test_a_server_that_refuses_to_report(model: str, provider: Provider, calls: Calls) -> None:
    provider.answer.knows_stream_options = False
    assert len(list(ask(model, provider, stream=True))) == 4
    call = once_dropped(calls)
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 6


@ASKED
def test_asynchronously(model: str, provider: Provider, calls: Calls) -> None:
    provider.answer.service_tier = "default"

    async def work() -> list[Any]:
        asked: dict[str, Any] = {
            "model": model,
            "messages": MESSAGES,
            "api_base": provider.url,
            "api_key": "none",
        }
        assert said(await litellm.acompletion(**asked)) == "".join(WORDS)
        return [chunk async for chunk in await litellm.acompletion(**asked, stream=True)]

    assert len(asynchronously(work)) == 4
    whole, streamed = calls()
    assert_openai(whole, model)
    assert_openai(streamed, model)


@pytest.mark.parametrize("model", ["hosted_vllm/m", "openai/m"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_server_of_ones_own_is_told_who_spends(
    model: str, provider: Provider, calls: Calls, stream: bool
) -> None:
    with pennytrace.tag(feature="search"):
        answer = ask(model, provider, stream=stream, extra_headers={"tracestate": "congo=1"})
        for _ in answer if stream else ():
            pass
    del answer
    call = once_dropped(calls)
    (headers,) = (dict(found) for found in provider.headers)
    assert headers["tracestate"] == "pennytrace=feature:search;source:tag,congo=1"
    assert headers["traceparent"] == f"00-{call.trace_id.hex()}-{call.span_id.hex()}-01"


def test_embeddings(provider: Provider, calls: Calls) -> None:
    asked = {"api_base": provider.url, "api_key": "none"}
    litellm.embedding("openai/text-embedding-3-small", input=["one", "two"], **asked)
    asynchronously(lambda: litellm.aembedding(model="openai/text-embedding-3-small", input=["one"], **asked))
    assert [call.name for call in calls()] == ["embeddings text-embedding-3-small"] * 2
    assert [call.attributes[semconv.INPUT_TOKENS] for call in calls()] == [21, 21]


TOKENS = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}
COUNTED = {semconv.INPUT_TOKENS: 3, semconv.OUTPUT_TOKENS: 1}
CHOICE = {"text": "x", "index": 0, "finish_reason": "stop"}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "output": [],
    "model": "m",
}
HEARD = {"type": "tokens", "input_token_details": {"audio_tokens": 3, "text_tokens": 0}}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], str, dict[str, int]]] = {
    "text_completion": (
        {"prompt": QUESTION},
        {
            "id": "c",
            "object": "text_completion",
            "created": 1,
            "model": "m",
            "choices": [CHOICE],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        },
        "text_completion",
        COUNTED,
    ),
    "image_generation": (
        {"prompt": QUESTION},
        {"created": 1, "data": [{"url": "u"}], "usage": TOKENS},
        "image_generation",
        COUNTED,
    ),
    "transcription": (
        {"file": ("a.wav", b"sound")},
        {"text": "x", "usage": {**TOKENS, **HEARD}},
        "transcription",
        {**COUNTED, semconv.AUDIO_INPUT_TOKENS: 3},
    ),
    "speech": ({"input": QUESTION, "voice": "alloy"}, {}, "speech", {semconv.CHARACTERS: len(QUESTION)}),
    "moderation": ({"input": QUESTION}, {"id": "m", "model": "m", "results": []}, "moderation", {}),
    "responses": ({"input": QUESTION}, {**RESPONSE, "usage": TOKENS}, "chat", COUNTED),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_call_is_one_call(server: Server, calls: Calls, name: str) -> None:
    asked, answer, operation, usage = KINDS[name]
    server.says(document(**answer))
    model = "m" if name == "moderation" else "openai/m"
    getattr(litellm, name)(model=model, api_base=f"{server.url}/v1", api_key="none", **asked)
    (call,) = calls()
    assert call.name == f"{operation} m"
    assert usage_of(call) == {**usage, semconv.USAGE_SOURCE: semconv.MEASURED}


# --- what is no call, and what is several -------------------------------------------------------------------


def test_what_the_cache_answers_is_no_call(server: Server, calls: Calls) -> None:
    server.says(claude())
    litellm.cache = litellm.Cache()
    first, second = ask_claude(server, caching=True), ask_claude(server, caching=True)
    assert said(first) == said(second)
    assert len(server.paths) == 1
    (call,) = calls()
    assert_claude(call)


def test_a_mock_is_no_call(calls: Calls) -> None:
    assert said(litellm.completion("openai/gpt-4o", MESSAGES, mock_response="Hi")) == "Hi"
    assert calls() == []


def test_counting_tokens_is_no_call(server: Server, calls: Calls) -> None:
    assert litellm.token_counter(model=CLAUDE, messages=MESSAGES) > 0
    assert calls() == []


def test_each_attempt_of_a_retry_is_a_call(server: Server, calls: Calls) -> None:
    server.says(Answer(b'{"error": {"message": "busy"}}', status=503), claude())
    answer = ask_claude(server, num_retries=1)
    assert said(answer) == "".join(WORDS)
    failed, answered = calls()
    assert failed.failed
    assert semconv.INPUT_TOKENS not in failed.attributes
    assert_claude(answered)


def test_what_the_client_sends_again_by_itself_is_one_call(
    server: Server, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)
    server.says(Answer(b"", status=0), claude())
    assert said(asynchronously(lambda: ask_claude_async(server))) == "".join(WORDS)
    (call,) = calls()
    assert_claude(call)
    assert call.attributes[semconv.ATTEMPTS] == 2


def test_a_fallback_of_the_router_is_a_call(server: Server, provider: Provider, calls: Calls) -> None:
    server.says(Answer(b'{"error": {"message": "busy"}}', status=503))
    provider.answer.service_tier = "default"
    there = {"model": f"anthropic/{CLAUDE}", "api_base": server.url, "api_key": "none"}
    instead = {"model": "groq/gpt-4o-mini", "api_base": provider.url, "api_key": "none"}
    router = litellm.Router(
        [
            {"model_name": "first", "litellm_params": there},
            {"model_name": "second", "litellm_params": instead},
        ],
        fallbacks=[{"first": ["second"]}],
        num_retries=0,
    )
    assert said(router.completion("first", MESSAGES)) == "".join(WORDS)
    failed, answered = calls()
    assert failed.failed
    assert failed.attributes[semconv.PROVIDER_NAME] == "anthropic"
    assert_openai(answered, "groq/gpt-4o-mini")


def test_the_functions_that_an_app_imported_before(server: Server, sink: Sink) -> None:
    completion = litellm.completion
    server.says(claude())
    pennytrace.init(endpoint=sink.url, service="shop")
    completion(f"anthropic/{CLAUDE}", MESSAGES, api_base=server.url, api_key="none")
    assert pennytrace.flush(30)
    (call,) = sink.spans
    assert_claude(call)
    pennytrace.shutdown()
    completion(f"anthropic/{CLAUDE}", MESSAGES, api_base=server.url, api_key="none")
    assert len(sink.spans) == 1


def test_callbacks_are_undisturbed(server: Server, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    server.says(claude())
    told: list[Any] = []
    monkeypatch.setattr(litellm, "input_callback", [lambda details: told.append(details["model"])])
    ask_claude(server)
    assert told == [CLAUDE]
    assert len(calls()) == 1


def test_tags_reach_the_calls(server: Server, calls: Calls) -> None:
    server.says(claude())
    with pennytrace.tag(feature="search"):
        asynchronously(lambda: ask_claude_async(server))
    (call,) = calls()
    assert call.attributes[semconv.FEATURE] == "search"


def test_no_content_leaves(server: Server, calls: Calls) -> None:
    server.says(claude())
    ask_claude(server)
    (call,) = calls()
    assert "penny " not in repr(call).replace("pennytrace", "")
