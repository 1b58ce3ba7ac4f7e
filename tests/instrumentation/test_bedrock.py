"""Bedrock: the real boto3 over a real socket, against a server that speaks AWS's own framing of events."""

from __future__ import annotations

import base64
import gc
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote

import boto3
import botocore.exceptions
import genai_prices
import pytest
import urllib3.exceptions
from botocore.config import Config
from botocore.eventstream import EventStream
from botocore.response import StreamingBody

import pennytrace
from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.server import QuietServer
from tests.instrumentation.sink import Recorded, Sink

MODEL = "eu.anthropic.claude-sonnet-4-20250514-v1:0"
SECRET = "What does a penny weigh?"  # 24 characters
MESSAGES = [{"role": "user", "content": [{"text": SECRET}]}]
WORDS = ("A penny ", "weighs ", "3.56 g.")
CONVERSED: dict[str, Any] = {
    "inputTokens": 20,
    "outputTokens": 9,
    "totalTokens": 54,
    "cacheReadInputTokens": 15,
    "cacheWriteInputTokens": 10,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 6}],
}
USAGE = {
    semconv.INPUT_TOKENS: 45,
    semconv.OUTPUT_TOKENS: 9,
    semconv.CACHE_READ_INPUT_TOKENS: 15,
    semconv.CACHE_WRITE_INPUT_TOKENS: 10,
    semconv.CACHE_WRITE_5M: 6,
    semconv.CACHE_WRITE_1H: 4,
}
ANTHROPIC = {
    "input_tokens": 20,
    "output_tokens": 9,
    "cache_read_input_tokens": 15,
    "cache_creation_input_tokens": 10,
    "cache_creation": {"ephemeral_5m_input_tokens": 6, "ephemeral_1h_input_tokens": 4},
}
ASKED = json.dumps({"messages": [{"role": "user", "content": SECRET}], "max_tokens": 10})


def frame(content: dict[str, Any], kind: str = "event", name: str = "chunk") -> bytes:
    """Return one event as AWS frames it: a prelude with its checksum, headers, payload, checksum."""
    names = {":message-type": kind, f":{kind}-type": name, ":content-type": "application/json"}
    headers = b"".join(
        struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for key, value in names.items()
    )
    payload = json.dumps(content).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


def chunk(document: dict[str, Any]) -> bytes:
    return frame({"bytes": base64.b64encode(json.dumps(document).encode()).decode()})


def conversation(usage: dict[str, Any] | None) -> list[bytes]:
    said = [
        frame({"contentBlockIndex": 0, "delta": {"text": word}}, name="contentBlockDelta") for word in WORDS
    ]
    end = {"serviceTier": {"type": "priority"}, "metrics": {"latencyMs": 9}}
    return [
        frame({"role": "assistant"}, name="messageStart"),
        *said,
        frame({"stopReason": "end_turn"}, name="messageStop"),
        frame(end if usage is None else {**end, "usage": usage}, name="metadata"),
    ]


def anthropic_events() -> list[bytes]:
    start = {"id": "msg-1", "model": "claude-sonnet-4", "usage": {**ANTHROPIC, "output_tokens": 1}}
    return [
        chunk({"type": "message_start", "message": start}),
        *(
            chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
            for word in WORDS
        ),
        chunk({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        chunk(
            {
                "type": "message_stop",
                "amazon-bedrock-invocationMetrics": {"inputTokenCount": 20, "outputTokenCount": 9},
            }
        ),
    ]


@dataclass
class Server:
    """Answers as told."""

    port: int = 0
    status: int = 200
    failures: int = 0
    """Requests that are refused before one is answered."""
    answer: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=lambda: conversation(CONVERSED))
    cut: bool = False
    slow: bool = False
    paths: list[str] = field(default_factory=list)
    release: Event = field(default_factory=Event)

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": [{"text": "".join(WORDS)}]}
        return {
            "output": {"message": message},
            "stopReason": "end_turn",
            "usage": CONVERSED,
            "metrics": {"latencyMs": 9},
            "serviceTier": {"type": "priority"},
            "someNewField": 1,
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Server

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_POST(self) -> None:
        told = self.told
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told.paths.append(unquote(self.path))
        if told.slow:
            told.release.wait(10)
        if told.failures:
            told.failures -= 1
            self._send(503, {"message": "overloaded"}, {"x-amzn-ErrorType": "ServiceUnavailableException"})
        elif told.status != 200:
            self._send(told.status, {"message": "no"}, {"x-amzn-ErrorType": "ValidationException"})
        elif "stream" in self.path:
            self._stream()
        else:
            self._send(200, told.answer if told.answer is not None else told.whole(), told.headers)

    do_GET = do_POST

    def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("x-amzn-RequestId", "req-1")
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.told.cut

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("x-amzn-RequestId", "req-1")
        self.end_headers()
        for data in self.told.events:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if self.told.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    http = QuietServer(("127.0.0.1", 0), type("Told", (Handler,), {"told": server}))
    server.port = http.server_port
    Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.release.set()
    http.shutdown()
    http.server_close()


@pytest.fixture(scope="module")
def session() -> boto3.Session:
    return boto3.Session("none", "none", region_name="eu-west-1")


@pytest.fixture
def aws(server: Server, session: boto3.Session) -> Iterator[Callable[..., Any]]:
    made = []

    def client(service: str = "bedrock-runtime", **options: Any) -> Any:
        config = Config(retries={"total_max_attempts": 1, "mode": "standard"}, **options)
        url = f"http://127.0.0.1:{server.port}"
        made.append(session.client(service, endpoint_url=url, config=config))
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def bedrock(aws: Callable[..., Any]) -> Any:
    return aws()


def usage_of(call: Recorded) -> dict[str, Any]:
    not_counts = (semconv.USAGE_SOURCE, semconv.USAGE_METHOD)
    return {
        name: value
        for name, value in call.attributes.items()
        if name.startswith(("gen_ai.usage.", "pennytrace.usage.")) and name not in not_counts
    }


def assert_measured(call: Recorded, usage: dict[str, int] = USAGE) -> None:
    assert call.name == f"chat {MODEL}"
    assert call.attributes[semconv.PROVIDER_NAME] == "aws.bedrock"
    assert call.attributes[semconv.REQUEST_MODEL] == MODEL
    assert semconv.RESPONSE_MODEL not in call.attributes
    assert call.attributes[semconv.RESPONSE_ID] == "req-1"
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert usage_of(call) == usage
    assert not call.failed
    assert "weigh" not in str(call.attributes)


def converse(bedrock: Any, **more: Any) -> Any:
    return bedrock.converse(modelId=MODEL, messages=MESSAGES, **more)


def test_a_conversation(bedrock: Any, calls: Calls) -> None:
    assert converse(bedrock)["output"]["message"]["content"][0]["text"] == "A penny weighs 3.56 g."
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "priority"


def test_genai_prices_reads_the_same(bedrock: Any, server: Server, calls: Calls) -> None:
    converse(bedrock)
    known = {**server.whole(), "model": "anthropic.claude-sonnet-4-20250514-v1:0"}
    oracle = genai_prices.extract_usage(known, provider_id="aws").usage
    assert usage_of(calls()[0]) == {
        semconv.INPUT_TOKENS: oracle.input_tokens,
        semconv.OUTPUT_TOKENS: oracle.output_tokens,
        semconv.CACHE_READ_INPUT_TOKENS: oracle.cache_read_tokens,
        semconv.CACHE_WRITE_INPUT_TOKENS: oracle.cache_write_tokens,
        semconv.CACHE_WRITE_5M: oracle.cache_write_5m_tokens,
        semconv.CACHE_WRITE_1H: oracle.cache_write_1h_tokens,
    }


def test_cached_tokens_that_the_total_says_are_included(bedrock: Any, server: Server, calls: Calls) -> None:
    usage = {"inputTokens": 45, "outputTokens": 9, "totalTokens": 54, "cacheReadInputTokens": 15}
    server.answer = {**server.whole(), "usage": usage}
    converse(bedrock)
    expected = {semconv.INPUT_TOKENS: 45, semconv.OUTPUT_TOKENS: 9, semconv.CACHE_READ_INPUT_TOKENS: 15}
    assert_measured(calls()[0], expected)


@pytest.mark.parametrize(("model", "total"), [("openai.gpt-5.6", 45), (MODEL, 60)])
def test_openai_includes_cached_tokens_in_streams(
    bedrock: Any, server: Server, calls: Calls, model: str, total: int
) -> None:
    usage = {"inputTokens": 45, "outputTokens": 9, "totalTokens": 69, "cacheReadInputTokens": 15}
    server.events = conversation(usage)
    list(bedrock.converse_stream(modelId=model, messages=MESSAGES)["stream"])
    assert calls()[0].attributes[semconv.INPUT_TOKENS] == total


def test_latency_and_router(bedrock: Any, server: Server, calls: Calls) -> None:
    arn = "arn:aws:bedrock:eu-west-1:123456789012:default-prompt-router/anthropic.claude:1"
    server.answer = {
        **server.whole(),
        "performanceConfig": {"latency": "optimized"},
        "trace": {"promptRouter": {"invokedModelId": MODEL}},
    }
    bedrock.converse(modelId=arn, messages=MESSAGES, serviceTier={"type": "default"})
    (call,) = calls()
    assert call.attributes[semconv.REQUEST_MODEL] == arn
    assert call.attributes[semconv.RESPONSE_MODEL] == MODEL
    assert call.attributes[semconv.OPENAI_REQUEST_SERVICE_TIER] == "default"
    assert call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "optimized"


def test_a_stream_is_what_it_was(bedrock: Any, sink: Sink) -> None:
    def read() -> tuple[type, list[Any]]:
        stream = bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
        return type(stream), list(stream)

    without = read()
    pennytrace.init(endpoint=sink.url, service="shop")  # after the client was made
    assert read() == without
    assert without[0] is EventStream
    assert pennytrace.flush(30)
    (call,) = sink.spans
    assert_measured(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    assert call.attributes[semconv.TIME_TO_FIRST_CHUNK] > 0
    assert call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "priority"


def test_a_stream_that_is_read_in_two_goes(bedrock: Any, calls: Calls) -> None:
    stream = bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
    assert "messageStart" in next(iter(stream))
    assert len(list(stream)) == 5
    (call,) = calls()
    assert_measured(call)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # botocore leaves its socket open
@pytest.mark.parametrize("way", ["close", "drop"])
def test_a_stream_that_is_left(bedrock: Any, calls: Calls, way: str) -> None:
    stream = bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
    for event in stream:
        if "contentBlockDelta" in event:
            break
    if way == "close":
        stream.close()
    else:
        del stream
        gc.collect()  # botocore's own stream is in a cycle
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 6
    assert call.attributes[semconv.OUTPUT_TOKENS] == 2
    assert not call.failed


def test_a_stream_that_is_cut(bedrock: Any, server: Server, calls: Calls) -> None:
    server.events, server.cut = server.events[:4], True
    stream = bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
    with pytest.raises(urllib3.exceptions.ProtocolError):  # botocore lets it pass as it is
        list(stream)
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "urllib3.exceptions.ProtocolError"
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.OUTPUT_TOKENS] == 6
    assert call.failed


def test_an_exception_in_a_stream(bedrock: Any, server: Server, calls: Calls) -> None:
    failure = frame({"message": "slow down"}, kind="exception", name="throttlingException")
    server.events = [*server.events[:4], failure]
    stream = bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
    with pytest.raises(botocore.exceptions.EventStreamError, match="slow down"):
        list(stream)
    stream.close()
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "throttlingException"
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.failed


@pytest.mark.parametrize("usage", [None, {}])
def test_a_stream_without_usage_is_estimated(
    bedrock: Any, server: Server, calls: Calls, usage: dict[str, Any] | None
) -> None:
    server.events = conversation(usage)
    list(bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])
    assert calls()[0].attributes[semconv.USAGE_SOURCE] == "estimated"


@pytest.mark.parametrize("usage", [None, {}, {"inputTokens": None}])
def test_no_usage_is_missing_usage(
    bedrock: Any, server: Server, calls: Calls, usage: dict[str, Any] | None
) -> None:
    server.answer = {**server.whole(), "usage": usage}
    converse(bedrock)
    assert calls()[0].attributes[semconv.USAGE_SOURCE] == "missing"


def test_an_error_is_the_librarys_own(bedrock: Any, server: Server, calls: Calls) -> None:
    server.status = 400
    with pytest.raises(bedrock.exceptions.ValidationException, match="no"):
        converse(bedrock)
    with pytest.raises(bedrock.exceptions.ValidationException):
        bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)
    for call in calls():
        assert call.attributes[semconv.ERROR_TYPE] == "botocore.errorfactory.ValidationException"
        assert call.attributes[semconv.USAGE_SOURCE] == "missing"
        assert call.failed


def test_a_time_out(aws: Callable[..., Any], server: Server, calls: Calls) -> None:
    server.slow = True
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        converse(aws(read_timeout=0.05))
    server.release.set()
    assert calls()[0].attributes[semconv.ERROR_TYPE] == "botocore.exceptions.ReadTimeoutError"


def test_retries_are_one_call(
    aws: Callable[..., Any], server: Server, calls: Calls, session: boto3.Session
) -> None:
    server.failures = 1
    url = f"http://127.0.0.1:{server.port}"
    config = Config(retries={"total_max_attempts": 2, "mode": "standard"})
    client = session.client("bedrock-runtime", endpoint_url=url, config=config)
    converse(client)
    client.close()
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.ATTEMPTS] == 2


def test_other_services_and_free_calls_pass(
    aws: Callable[..., Any], bedrock: Any, server: Server, calls: Calls
) -> None:
    server.answer = {"inputTokens": 7, "TableNames": []}
    bedrock.count_tokens(modelId=MODEL, input={"converse": {"messages": MESSAGES}})
    assert aws("dynamodb").list_tables()["TableNames"] == []
    assert len(server.paths) == 2
    assert calls() == []


def invoked(bedrock: Any, model: str = MODEL, body: str = ASKED) -> Any:
    return bedrock.invoke_model(modelId=model, body=body)["body"]


def read_at_once(body: StreamingBody) -> bytes:
    return bytes(body.read())


def read_in_chunks(body: StreamingBody) -> bytes:
    return b"".join(body.iter_chunks(16))


def read_as_lines(body: StreamingBody) -> bytes:
    return b"".join(body.iter_lines(16))


def read_into(body: StreamingBody) -> bytes:
    buffer = bytearray(1000)
    size = body.readinto(buffer)
    body.close()
    return bytes(buffer[:size])


def read_inside(body: StreamingBody) -> bytes:
    with body as raw:
        return bytes(raw.read())


def read_by_json(body: StreamingBody) -> bytes:
    return json.dumps(json.load(body)).encode()


@pytest.mark.parametrize(
    "read", [read_at_once, read_in_chunks, read_as_lines, read_into, read_inside, read_by_json]
)
def test_an_invocation(
    bedrock: Any, server: Server, calls: Calls, read: Callable[[StreamingBody], bytes]
) -> None:
    server.answer = {"id": "msg-1", "type": "message", "content": [{"text": "3.56 g"}], "usage": ANTHROPIC}
    body = invoked(bedrock)
    assert type(body) is StreamingBody
    assert calls() == []  # nothing is read ahead
    assert json.loads(read(body)) == server.answer
    (call,) = calls()
    assert_measured(call)


def test_an_invocation_that_is_cut(bedrock: Any, server: Server, calls: Calls) -> None:
    server.answer, server.headers = {"usage": ANTHROPIC}, {**HEADERS, "Content-Length": "1000"}
    server.cut = True
    with pytest.raises(botocore.exceptions.ResponseStreamingError):
        invoked(bedrock).read()
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE].startswith("urllib3.exceptions.")
    assert call.attributes[semconv.INPUT_TOKENS] == 20
    assert call.failed


HEADERS = {"x-amzn-bedrock-input-token-count": "20", "x-amzn-bedrock-output-token-count": "9"}


@pytest.mark.parametrize("way", ["close", "drop"])
def test_an_invocation_that_is_not_read_counts_by_its_headers(
    bedrock: Any, server: Server, calls: Calls, way: str
) -> None:
    server.answer, server.headers = {"usage": ANTHROPIC}, HEADERS
    body = invoked(bedrock)
    body.read(5)
    if way == "close":
        body.close()
    else:
        del body
        gc.collect()
    assert_measured(calls()[0], {semconv.INPUT_TOKENS: 20, semconv.OUTPUT_TOKENS: 9})


BOTH = {semconv.INPUT_TOKENS: 20, semconv.OUTPUT_TOKENS: 9}


@pytest.mark.parametrize(
    ("model", "answer", "headers", "usage"),
    [
        (
            "amazon.nova-pro-v1:0",
            {"usage": {"inputTokens": 20, "outputTokens": 9, "cacheReadInputTokenCount": 3}},
            {},
            {**BOTH, semconv.INPUT_TOKENS: 23, semconv.CACHE_READ_INPUT_TOKENS: 3},
        ),
        (
            "amazon.titan-text-express-v1",
            {"inputTextTokenCount": 20, "results": [{"tokenCount": 4}, {"tokenCount": 5}]},
            HEADERS,
            BOTH,
        ),
        (
            "meta.llama3-1-70b-instruct-v1:0",
            {"prompt_token_count": 20, "generation_token_count": 9},
            {},
            BOTH,
        ),
        (
            "openai.gpt-oss-120b-1:0",
            {
                "usage": {
                    "prompt_tokens": 20,
                    "completion_tokens": 9,
                    "prompt_tokens_details": {"cached_tokens": 8},
                    "completion_tokens_details": {"reasoning_tokens": 5},
                }
            },
            {},
            {**BOTH, semconv.CACHE_READ_INPUT_TOKENS: 8, semconv.REASONING_OUTPUT_TOKENS: 5},
        ),
        ("mistral.mistral-large-2402-v1:0", {"outputs": [{"text": "3.56 g"}]}, HEADERS, BOTH),
        ("cohere.command-r-v1:0", {"text": "3.56 g"}, HEADERS, BOTH),
    ],
)
def test_what_other_models_report(
    bedrock: Any,
    server: Server,
    calls: Calls,
    model: str,
    answer: dict[str, Any],
    headers: dict[str, str],
    usage: dict[str, int],
) -> None:
    server.answer, server.headers = answer, headers
    invoked(bedrock, model).read()
    (call,) = calls()
    assert call.name == f"chat {model}"
    assert usage_of(call) == usage


def test_what_is_not_text(bedrock: Any, server: Server, calls: Calls) -> None:
    server.answer = {"embedding": [0.1], "inputTextTokenCount": 5}
    invoked(bedrock, "amazon.titan-embed-text-v2:0").read()
    server.answer = {"images": ["AAAA", "BBBB"], "error": None}
    invoked(bedrock, "amazon.nova-canvas-v1:0").read()
    server.answer = {"results": [{"index": 0, "relevance_score": 0.9}]}
    invoked(bedrock, "cohere.rerank-v3-5:0", json.dumps({"query": "q", "documents": ["d"] * 101})).read()
    embedded, pictured, ranked = calls()
    assert embedded.name == "embeddings amazon.titan-embed-text-v2:0"
    assert usage_of(embedded) == {semconv.INPUT_TOKENS: 5}
    assert pictured.name == "image_generation amazon.nova-canvas-v1:0"
    assert usage_of(pictured) == {semconv.IMAGES: 2}
    assert ranked.name == "rerank cohere.rerank-v3-5:0"
    assert usage_of(ranked) == {semconv.SEARCHES: 2}


def stream(bedrock: Any, model: str = MODEL) -> Any:
    return bedrock.invoke_model_with_response_stream(modelId=model, body=ASKED)["body"]


def test_an_invocation_that_is_streamed(bedrock: Any, server: Server, sink: Sink) -> None:
    server.events = anthropic_events()
    without = list(stream(bedrock))
    pennytrace.init(endpoint=sink.url, service="shop")
    assert list(stream(bedrock)) == without
    assert pennytrace.flush(30)
    (call,) = sink.spans
    assert_measured(call)


def test_metrics_of_the_last_chunk(bedrock: Any, server: Server, calls: Calls) -> None:
    metrics = {"inputTokenCount": 20, "outputTokenCount": 9, "cacheReadInputTokenCount": 3, "latency": 1}
    server.events = [
        chunk({"outputs": [{"text": "3.56 g"}]}),
        chunk({"outputs": [], "amazon-bedrock-invocationMetrics": metrics}),
    ]
    list(stream(bedrock, "mistral.mistral-large-2402-v1:0"))
    expected = {semconv.INPUT_TOKENS: 23, semconv.OUTPUT_TOKENS: 9, semconv.CACHE_READ_INPUT_TOKENS: 3}
    assert usage_of(calls()[0]) == expected


@pytest.mark.parametrize(
    "document",
    [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": WORDS[0]}},
        {"contentBlockDelta": {"delta": {"text": WORDS[0]}, "contentBlockIndex": 0}},
        {"outputText": WORDS[0], "index": 0},
        {"generation": WORDS[0], "stop_reason": None},
        {"outputs": [{"text": WORDS[0]}]},
        {"choices": [{"delta": {"role": "assistant", "content": WORDS[0]}}]},
    ],
)
def test_an_invocation_that_is_left(
    bedrock: Any, server: Server, calls: Calls, document: dict[str, Any]
) -> None:
    server.events = [chunk(document), chunk({})]
    events = stream(bedrock)
    next(iter(events))
    events.close()
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 6
    assert call.attributes[semconv.OUTPUT_TOKENS] == 2


def test_a_call_within_a_telemetry_fault_is_untouched(
    bedrock: Any, server: Server, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pennytrace._calls.reading.Reading.take", None)
    assert len(list(bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])) == 6
    server.answer = {"usage": ANTHROPIC}
    assert json.loads(invoked(bedrock).read()) == server.answer
    server.answer = None
    assert converse(bedrock)["usage"] == CONVERSED
    assert calls()
