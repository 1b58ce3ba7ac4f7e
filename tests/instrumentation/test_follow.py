"""Bodies on their way to the app: compressed, cut into odd pieces, long, read twice, by old and new httpx."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.server import QuietServer

MESSAGES: Any = [{"role": "user", "content": "What does a penny weigh?"}]
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
USAGE = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}


@dataclass
class Script:
    """The pieces in which a server sends its body, each in a chunk and a packet of its own."""

    pieces: Sequence[bytes] = ()
    headers: dict[str, str] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    with _running(Script()) as script:
        yield script


@contextmanager
def _running(script: Script) -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            return

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            for name, value in {"Content-Type": "text/event-stream", **script.headers}.items():
                self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in script.pieces:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

    server = QuietServer(("127.0.0.1", 0), Handler)
    script.port = server.server_port
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def client(script: Script) -> Iterator[openai.OpenAI]:
    script.headers = {}
    with openai.OpenAI(api_key="none", base_url=script.url, max_retries=0) as client:
        yield client


def event(separator: str = "\n\n", **more: object) -> bytes:
    return f"data: {json.dumps({**HEAD, **more})}{separator}".encode()


def body(words: Sequence[str], separator: str = "\n\n") -> bytes:
    chunks = [
        event(
            separator, choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}], usage=None
        )
        for word in words
    ]
    end = event(separator, choices=[], usage=USAGE) + f"data: [DONE]{separator}".encode()
    return b"".join(chunks) + end


def read(client: openai.OpenAI) -> list[str]:
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in stream]  # the usage chunk would raise here


def assert_measured(calls: Calls) -> None:
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert call.attributes[semconv.OUTPUT_TOKENS] == 9
    assert call.attributes[semconv.RESPONSE_MODEL] == "m-1"
    assert call.attributes[semconv.RESPONSE_ID] == "chatcmpl-1"


@pytest.mark.parametrize("separator", ["\n\n", "\r\n\r\n", "\r\r"])
def test_every_way_to_end_an_event_is_understood(
    client: openai.OpenAI, script: Script, calls: Calls, separator: str
) -> None:
    script.pieces = [body(["a", "b"], separator)]
    assert read(client) == ["a", "b"]
    assert_measured(calls)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 700), max_size=12), separator=st.sampled_from(["\n\n", "\r\n\r\n"]))
def test_wherever_the_network_cuts_the_body(
    client: openai.OpenAI, script: Script, calls: Calls, cuts: list[int], separator: str
) -> None:
    whole = body(["one ", "two ", "drei €"], separator)
    edges = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    script.pieces = [whole[begin:end] for begin, end in itertools.pairwise(edges)]
    before = len(calls())
    assert read(client) == ["one ", "two ", "drei €"]
    call = calls()[before]
    assert call.attributes[semconv.OUTPUT_TOKENS] == 9
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"


def test_a_compressed_stream_is_read_where_it_is_not(
    client: openai.OpenAI, script: Script, calls: Calls
) -> None:
    packed = gzip.compress(body(["a", "b"]))
    script.headers = {"Content-Encoding": "gzip"}
    script.pieces = [packed[:20], packed[20:60], packed[60:]]
    assert read(client) == ["a", "b"]
    assert_measured(calls)


def test_a_compressed_document_is_read_where_it_is_not(
    client: openai.OpenAI, script: Script, calls: Calls
) -> None:
    message = {"role": "assistant", "content": "3.56 g"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    document = {**HEAD, "object": "chat.completion", "choices": choices, "usage": USAGE}
    packed = gzip.compress(json.dumps(document).encode())
    script.headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    script.pieces = [packed[:20], packed[20:]]
    with client.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES) as response:
        assert response.parse().usage is not None
    assert_measured(calls)


def test_a_very_long_stream_is_not_kept(client: openai.OpenAI, script: Script, calls: Calls) -> None:
    words = ["x" * 1000] * 1000
    whole = body(words)
    script.pieces = [whole[begin : begin + 8192] for begin in range(0, len(whole), 8192)]
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    followed: Any = stream.response.stream
    kept = followed._content.kept
    most = 0
    for _ in stream:
        most = max(most, sum(map(len, kept)))
    assert 0 < most < 400_000 < len(whole)
    assert_measured(calls)


def test_a_long_stream_that_is_left_is_estimated_from_all_of_it(
    client: openai.OpenAI, script: Script, calls: Calls
) -> None:
    script.pieces = [event(choices=[{"index": 0, "delta": {"content": "x" * 1000}}])] * 1000
    read(client)
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.USAGE_METHOD] == "characters/4"
    assert call.attributes[semconv.OUTPUT_TOKENS] == 250_000


def test_an_error_inside_a_stream_fails_the_call(client: openai.OpenAI, script: Script, calls: Calls) -> None:
    failure = b'data: {"error": {"type": "server_error", "message": "we are sorry"}}\n\n'
    script.pieces = [event(choices=[{"index": 0, "delta": {"content": "word"}}]), failure]
    with pytest.raises(openai.APIError, match="we are sorry"):
        read(client)
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.ERROR_TYPE] == "server_error"
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"


def test_the_stream_of_bytes_is_still_one_of_the_librarys(
    client: openai.OpenAI, script: Script, calls: Calls
) -> None:
    script.pieces = [body(["a"])]
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    kinds = {kind.__name__ for kind in type(stream.response.stream).__mro__}
    assert "SyncByteStream" in kinds
    list(stream)
    assert stream.response.is_closed
    assert stream.response.is_stream_consumed
    assert stream.response.elapsed.total_seconds() > 0
