"""Ollama: the real library over a real socket, against a server that answers as its documentation says."""

from __future__ import annotations

import asyncio
import gc
import json
import types
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any

import ollama
import pytest

import pennytrace
from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.server import QuietServer
from tests.instrumentation.sink import Recorded, Sink

MODEL = "gemma3"
MESSAGES = [{"role": "user", "content": "What does a penny weigh?"}]  # 24 characters
WORDS = ("A penny ", "weighs ", "3.56 g.")
COUNTS = {"prompt_eval_count": 11, "eval_count": 18, "total_duration": 174560334}


class Server:
    """Answers as told."""

    def __init__(self) -> None:
        self.port = 0
        self.status = 200
        self.counts: dict[str, int] = COUNTS
        self.cut = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, path: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events of a stream; the last one is complete."""
        head = {"model": asked["model"], "created_at": "2026-11-22T05:00:00Z"}
        if path == "/api/embed":
            return [{**head, "embeddings": [[0.1, 0.2]], "prompt_eval_count": 8}]
        whole = [self._part(path, "".join(WORDS))] if not asked.get("stream") else []
        words = [] if whole else [{**head, **self._part(path, word), "done": False} for word in WORDS]
        last = whole[0] if whole else self._part(path, "")
        return [*words, {**head, **last, "done": True, "done_reason": "stop", **self.counts}]

    @staticmethod
    def _part(path: str, text: str) -> dict[str, Any]:
        if path == "/api/generate":
            return {"response": text}
        return {"message": {"role": "assistant", "content": text}}


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            return

        def do_GET(self) -> None:
            self._send(200, b'{"models": []}')

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if told.status != 200:
                self._send(told.status, b'{"error": "model not found"}')
                return
            lines = [json.dumps(answer).encode() + b"\n" for answer in told.answers(self.path, asked)]
            self._send(200, b"".join(lines[:2] if told.cut else lines))

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Content-Length", str(len(body) + (10 if told.cut else 0)))
            self.end_headers()
            self.wfile.write(body)

    http = QuietServer(("127.0.0.1", 0), Handler)
    told.port = http.server_port
    Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield told
    http.shutdown()
    http.server_close()


@pytest.fixture
def client(server: Server) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url) as client:
        yield client


def asynchronously(server: Server, work: Callable[[ollama.AsyncClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with ollama.AsyncClient(host=server.url) as client:
            return await work(client)

    return asyncio.run(run())


def assert_measured(call: Recorded, operation: str = "chat") -> None:
    assert call.attributes[semconv.OPERATION_NAME] == operation
    assert call.attributes[semconv.PROVIDER_NAME] == "ollama"
    assert call.attributes[semconv.REQUEST_MODEL] == MODEL
    assert call.attributes[semconv.RESPONSE_MODEL] == MODEL
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert call.attributes[semconv.INPUT_TOKENS] == 11
    assert call.attributes[semconv.OUTPUT_TOKENS] == 18
    assert not call.failed


def test_a_chat(client: ollama.Client, calls: Calls) -> None:
    answer = client.chat(model=MODEL, messages=MESSAGES)
    assert type(answer) is ollama.ChatResponse
    assert answer.message.content == "A penny weighs 3.56 g."
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"


def test_a_generation(client: ollama.Client, calls: Calls) -> None:
    assert client.generate(model=MODEL, prompt="Why?").response == "A penny weighs 3.56 g."
    assert_measured(calls()[0], "text_completion")


def test_embeddings(client: ollama.Client, calls: Calls) -> None:
    client.embed(model=MODEL, input=["one", "two"])
    (call,) = calls()
    assert call.attributes[semconv.OPERATION_NAME] == "embeddings"
    assert call.attributes[semconv.INPUT_TOKENS] == 8
    assert semconv.OUTPUT_TOKENS not in call.attributes


def test_a_stream_is_a_generator_of_the_same_events(
    client: ollama.Client, server: Server, calls: Calls, sink: Sink
) -> None:
    stream = client.chat(model=MODEL, messages=MESSAGES, stream=True)
    assert isinstance(stream, types.GeneratorType)
    seen = list(stream)
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    pennytrace.shutdown()
    assert seen == list(client.chat(model=MODEL, messages=MESSAGES, stream=True))


@pytest.mark.parametrize("leave", ["close", "drop", "break"])
def test_a_stream_that_is_left_is_estimated(client: ollama.Client, calls: Calls, leave: str) -> None:
    stream: Any = client.chat(model=MODEL, messages=MESSAGES, stream=True)
    for _ in stream:
        break
    if leave == "close":
        stream.close()
    del stream
    gc.collect()
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 6
    assert call.attributes[semconv.OUTPUT_TOKENS] == 2
    assert not call.failed


def test_a_stream_that_is_never_read_was_never_asked_for(client: ollama.Client, calls: Calls) -> None:
    stream: Any = client.chat(model=MODEL, messages=MESSAGES, stream=True)
    del stream
    gc.collect()
    assert calls() == []


def test_a_stream_cut_by_the_server(client: ollama.Client, server: Server, calls: Calls) -> None:
    server.cut = True
    with pytest.raises(Exception, match="peer closed"):
        list(client.chat(model=MODEL, messages=MESSAGES, stream=True))
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.OUTPUT_TOKENS] == 4  # 15 characters


def test_an_error_is_the_librarys_own(client: ollama.Client, server: Server, calls: Calls) -> None:
    server.status = 404
    with pytest.raises(ollama.ResponseError, match="model not found"):
        client.chat(model=MODEL, messages=MESSAGES)
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.ERROR_TYPE] == "ollama._types.ResponseError"
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"


def test_counts_that_are_not_there_are_not_zero(client: ollama.Client, server: Server, calls: Calls) -> None:
    server.counts = {}
    client.chat(model=MODEL, messages=MESSAGES)
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"
    assert semconv.INPUT_TOKENS not in call.attributes


def test_what_generates_nothing_costs_nothing(client: ollama.Client, calls: Calls) -> None:
    client.list()
    assert calls() == []


def test_asynchronous(server: Server, calls: Calls) -> None:
    async def work(client: ollama.AsyncClient) -> Any:
        whole = await client.chat(model=MODEL, messages=MESSAGES)
        stream = await client.chat(model=MODEL, messages=MESSAGES, stream=True)
        assert isinstance(stream, types.AsyncGeneratorType)
        return whole, [event async for event in stream]

    whole, events = asynchronously(server, work)
    assert whole.message.content == "A penny weighs 3.56 g."
    assert len(events) == 4
    for call in calls():
        assert_measured(call)
    assert len(calls()) == 2


def test_an_asynchronous_stream_that_is_left(server: Server, calls: Calls) -> None:
    async def work(client: ollama.AsyncClient) -> None:
        stream: Any = await client.chat(model=MODEL, messages=MESSAGES, stream=True)
        async for _ in stream:
            break
        await stream.aclose()

    asynchronously(server, work)
    assert calls()[0].attributes[semconv.OUTPUT_TOKENS] == 2


def test_no_content_leaves(client: ollama.Client, calls: Calls) -> None:
    client.chat(model=MODEL, messages=MESSAGES)
    assert "penny weigh" not in repr(calls())
