"""Cohere: the real library over a real socket, against a server that answers as its documentation says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread
from typing import Any

import cohere
import genai_prices
import httpx
import pytest
from cohere.core.api_error import ApiError

import pennytrace
from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.server import QuietServer
from tests.instrumentation.sink import Recorded, Sink

MODEL = "command-a-03-2025"
SECRET = "What does a penny weigh?"  # 24 characters
MESSAGES: Any = [{"role": "user", "content": SECRET}]
WORDS = ("A penny ", "weighs ", "3.56 g.")
COUNTS: dict[str, Any] = {
    "billed_units": {"input_tokens": 7.0, "output_tokens": 9.0},
    "tokens": {"input_tokens": 502, "output_tokens": 11},
    "cached_tokens": 3,
    "someNewCount": 5,
}
USAGE = {semconv.INPUT_TOKENS: 7, semconv.OUTPUT_TOKENS: 9, semconv.CACHE_READ_INPUT_TOKENS: 3}


@dataclass
class Server:
    """Answers as told."""

    port: int = 0
    status: int = 200
    failures: int = 0
    """Requests that are refused before one is answered."""
    counts: dict[str, Any] | None = field(default_factory=lambda: dict(COUNTS))
    answer: dict[str, Any] | None = None
    cut: bool = False
    slow: bool = False
    requests: list[str] = field(default_factory=list)
    release: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def whole(self, path: str) -> dict[str, Any]:
        if path == "/v1/chat":
            return {"text": "".join(WORDS), "generation_id": "gen-1", "meta": self.counts}
        message = {"role": "assistant", "content": [{"type": "text", "text": "".join(WORDS)}]}
        return {"id": "chat-1", "message": message, "finish_reason": "COMPLETE", "usage": self.counts}

    def events(self, path: str) -> list[bytes]:
        if path == "/v1/chat":
            said = [{"event_type": "text-generation", "text": word, "is_finished": False} for word in WORDS]
            end = {"event_type": "stream-end", "is_finished": True, "response": self.whole(path)}
            start = {"event_type": "stream-start", "generation_id": "gen-1", "is_finished": False}
            return [json.dumps(event).encode() + b"\n" for event in (start, *said, end)]
        deltas = [
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}}
            for word in WORDS
        ]
        end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": self.counts}}
        start = {"type": "message-start", "id": "chat-1", "delta": {"message": {"role": "assistant"}}}
        events = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (start, *deltas, end)]
        return [event.encode() for event in (*events, "data: [DONE]\n\n")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Server

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_POST(self) -> None:
        told = self.told
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told.requests.append(self.path)
        if told.slow:
            told.release.wait(10)
        if told.failures:
            told.failures -= 1
            self._send(503, {"message": "overloaded"})
        elif told.status != 200:
            self._send(told.status, {"message": "no such model"})
        elif asked.get("stream"):
            self._stream()
        else:
            self._send(200, told.answer if told.answer is not None else told.whole(self.path))

    def _send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        kind = "application/stream+json" if self.path == "/v1/chat" else "text/event-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = self.told.events(self.path)
        for data in events[:4] if self.told.cut else events:
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


@pytest.fixture
def client(server: Server) -> Iterator[cohere.ClientV2]:
    with httpx.Client() as http:
        yield cohere.ClientV2("none", base_url=server.url, httpx_client=http)


@pytest.fixture
def first_version(server: Server) -> Iterator[cohere.Client]:
    with httpx.Client() as http:
        yield cohere.Client("none", base_url=server.url, httpx_client=http)


def asynchronously(server: Server, work: Callable[[cohere.AsyncClientV2], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with httpx.AsyncClient() as http:
            return await work(cohere.AsyncClientV2("none", base_url=server.url, httpx_client=http))

    return asyncio.run(run())


def usage_of(call: Recorded) -> dict[str, Any]:
    not_counts = (semconv.USAGE_SOURCE, semconv.USAGE_METHOD)
    return {
        name: value
        for name, value in call.attributes.items()
        if name.startswith(("gen_ai.usage.", "pennytrace.usage.")) and name not in not_counts
    }


def assert_measured(call: Recorded, id: str = "chat-1") -> None:
    assert call.name == f"chat {MODEL}"
    assert call.attributes[semconv.PROVIDER_NAME] == "cohere"
    assert call.attributes[semconv.REQUEST_MODEL] == MODEL
    assert call.attributes[semconv.RESPONSE_ID] == id
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert usage_of(call) == USAGE
    assert not call.failed
    assert "weigh" not in str(call.attributes)


def test_a_chat(client: cohere.ClientV2, server: Server, calls: Calls) -> None:
    answer = client.chat(model=MODEL, messages=MESSAGES)
    assert type(answer) is cohere.V2ChatResponse
    (call,) = calls()
    assert_measured(call)
    known = {**server.whole("/v2/chat"), "model": MODEL}
    oracle = genai_prices.extract_usage(known, provider_id="cohere").usage
    assert (oracle.input_tokens, oracle.output_tokens) == (7, 9)


def test_the_first_version(first_version: cohere.Client, calls: Calls) -> None:
    assert first_version.chat(model=MODEL, message=SECRET).text == "A penny weighs 3.56 g."
    events = list(first_version.chat_stream(model=MODEL, message=SECRET))
    assert [event.event_type for event in events][-1] == "stream-end"
    whole, streamed = calls()
    assert_measured(whole, "gen-1")
    assert_measured(streamed, "gen-1")


def test_an_asynchronous_chat(server: Server, calls: Calls) -> None:
    asynchronously(server, lambda client: client.chat(model=MODEL, messages=MESSAGES))
    assert_measured(calls()[0])


def test_a_stream_is_what_it_was(client: cohere.ClientV2, sink: Sink) -> None:
    def read() -> tuple[type, list[Any]]:
        stream = client.chat_stream(model=MODEL, messages=MESSAGES)
        return type(stream), list(stream)

    without = read()
    pennytrace.init(endpoint=sink.url, service="shop")  # after the client was made
    assert read() == without
    assert len(without[1]) == 5
    assert pennytrace.flush(30)
    (call,) = sink.spans
    assert_measured(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    assert call.attributes[semconv.TIME_TO_FIRST_CHUNK] > 0


def test_an_asynchronous_stream(server: Server, calls: Calls) -> None:
    async def read(client: cohere.AsyncClientV2) -> list[Any]:
        return [event async for event in client.chat_stream(model=MODEL, messages=MESSAGES)]

    assert len(asynchronously(server, read)) == 5
    assert_measured(calls()[0])


def test_a_raw_response(client: cohere.ClientV2, calls: Calls) -> None:
    with client.with_raw_response.chat_stream(model=MODEL, messages=MESSAGES) as response:
        assert len(list(response.data)) == 5
    assert_measured(calls()[0])


def test_a_stream_that_is_left(client: cohere.ClientV2, calls: Calls) -> None:
    for event in client.chat_stream(model=MODEL, messages=MESSAGES):
        if event.type == "content-delta":
            break
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 6
    assert call.attributes[semconv.OUTPUT_TOKENS] >= 2  # as much as had been read from the socket
    assert not call.failed


def test_a_stream_that_is_never_read_costs_nothing(
    client: cohere.ClientV2, server: Server, calls: Calls
) -> None:
    client.chat_stream(model=MODEL, messages=MESSAGES)
    assert server.requests == []
    assert calls() == []


def test_a_stream_that_is_cut(client: cohere.ClientV2, server: Server, calls: Calls) -> None:
    server.cut = True
    with pytest.raises(httpx.RemoteProtocolError):
        list(client.chat_stream(model=MODEL, messages=MESSAGES))
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "httpx.RemoteProtocolError"
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.OUTPUT_TOKENS] == 6  # 22 characters


def test_an_error_is_the_librarys_own(client: cohere.ClientV2, server: Server, calls: Calls) -> None:
    server.status = 404
    with pytest.raises(cohere.NotFoundError, match="no such model"):
        client.chat(model=MODEL, messages=MESSAGES)
    with pytest.raises(cohere.NotFoundError, match="no such model"):
        list(client.chat_stream(model=MODEL, messages=MESSAGES))
    for call in calls():
        assert call.attributes[semconv.ERROR_TYPE] == "404"
        assert call.attributes[semconv.USAGE_SOURCE] == "missing"
        assert call.failed


@pytest.mark.parametrize("stream", [False, True])
def test_a_time_out(server: Server, calls: Calls, stream: bool) -> None:
    server.slow = True
    with httpx.Client(timeout=0.05) as http:
        client = cohere.ClientV2("none", base_url=server.url, httpx_client=http, timeout=0.05, max_retries=0)

        def ask() -> None:
            list(client.chat_stream(model=MODEL, messages=MESSAGES))

        with pytest.raises(httpx.ReadTimeout):
            ask() if stream else client.chat(model=MODEL, messages=MESSAGES)
    server.release.set()
    assert calls()[0].attributes[semconv.ERROR_TYPE] == "httpx.ReadTimeout"


def test_retries_are_one_call(
    client: cohere.ClientV2, server: Server, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cohere.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.001)
    server.failures = 2
    client.chat(model=MODEL, messages=MESSAGES)
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.ATTEMPTS] == 3


def test_retries_that_are_in_vain(
    client: cohere.ClientV2, server: Server, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cohere.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.001)
    server.failures = 9
    with pytest.raises(ApiError):
        client.chat(model=MODEL, messages=MESSAGES)
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "503"
    assert call.attributes[semconv.ATTEMPTS] == 3


@pytest.mark.parametrize(
    "counts", [None, {}, {"billed_units": None}, {"billed_units": {"input_tokens": None}}]
)
def test_no_usage_is_missing_usage(
    client: cohere.ClientV2, server: Server, calls: Calls, counts: dict[str, Any] | None
) -> None:
    server.counts = counts
    client.chat(model=MODEL, messages=MESSAGES)
    assert calls()[0].attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_server_of_ones_own_bills_nothing(client: cohere.ClientV2, server: Server, calls: Calls) -> None:
    server.counts = {"tokens": COUNTS["tokens"]}
    client.chat(model=MODEL, messages=MESSAGES)
    assert usage_of(calls()[0]) == {semconv.INPUT_TOKENS: 502, semconv.OUTPUT_TOKENS: 11}


@pytest.mark.parametrize(
    ("billed", "usage"),
    [
        ({"input_tokens": 8}, {semconv.INPUT_TOKENS: 8}),
        (
            {"text_tokens": 8, "image_tokens": 1005, "images": 1},
            {semconv.INPUT_TOKENS: 1013, semconv.IMAGE_INPUT_TOKENS: 1005},
        ),
        ({"images": 2}, {semconv.IMAGES: 2}),
    ],
)
def test_embeddings(
    client: cohere.ClientV2, server: Server, calls: Calls, billed: dict[str, int], usage: dict[str, int]
) -> None:
    meta = {"api_version": {"version": "2"}, "billed_units": billed}
    server.answer = {"id": "e-1", "embeddings": {"float": [[0.1]]}, "texts": ["one"], "meta": meta}
    client.embed(model="embed-v4.0", input_type="search_query", texts=["one"], embedding_types=["float"])
    (call,) = calls()
    assert call.name == "embeddings embed-v4.0"
    assert usage_of(call) == usage


def test_ranking(client: cohere.ClientV2, server: Server, calls: Calls) -> None:
    meta = {"billed_units": {"search_units": 2}}
    server.answer = {"id": "r-1", "results": [{"index": 0, "relevance_score": 0.9}], "meta": meta}
    client.rerank(model="rerank-v4.0", query=SECRET, documents=["one"])
    (call,) = calls()
    assert call.name == "rerank rerank-v4.0"
    assert usage_of(call) == {semconv.SEARCHES: 2}


def test_what_is_free(first_version: cohere.Client, server: Server, calls: Calls) -> None:
    server.answer = {"tokens": [1], "token_strings": ["a"]}
    assert first_version.tokenize(model=MODEL, text="a", offline=False).tokens == [1]
    assert calls() == []


def test_what_others_bill(server: Server, calls: Calls) -> None:
    """Their clients rewrite every request on its way; here its own address is put back after that."""
    theirs = cohere.BedrockClientV2(aws_region="eu-west-1", aws_access_key="none", aws_secret_key="none")
    with theirs._client_wrapper.httpx_client.httpx_client as http:
        (rewrite, *_) = http.event_hooks["request"]

        def stay(request: httpx.Request) -> None:
            request.url = httpx.URL(f"{server.url}/v2/chat")

        with httpx.Client(event_hooks={"request": [rewrite, stay]}) as ours:
            client = cohere.ClientV2("none", base_url=server.url, httpx_client=ours)
            client.chat(model=MODEL, messages=MESSAGES)
    assert server.requests == ["/v2/chat"]
    assert calls() == []


def test_a_subclass(server: Server, calls: Calls) -> None:
    class Ours(cohere.ClientV2):
        pass

    with httpx.Client() as http:
        Ours("none", base_url=server.url, httpx_client=http).chat(model=MODEL, messages=MESSAGES)
    assert_measured(calls()[0])
