"""A small server that answers as OpenAI documents it, over a real socket, and really streams."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.instrumentation.server import QuietServer

MODEL = "gpt-4o-mini"
SERVED_MODEL = "gpt-4o-mini-2024-07-18"
RESPONSE_ID = "chatcmpl-123"
USAGE: dict[str, Any] = {
    "prompt_tokens": 21,
    "completion_tokens": 9,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 2, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 1},
}


@dataclass
class Answer:
    """How the server answers, until a test says otherwise."""

    words: tuple[str, ...] = ("A penny ", "weighs ", "3.56 g.")
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(USAGE))
    model: str = SERVED_MODEL
    service_tier: str | None = None
    finish_reason: str = "stop"
    status: int = 200
    error: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Chunks of a stream before the connection breaks."""
    pause_after: int | None = None
    """Chunks of a stream before it waits for `resume`."""
    knows_stream_options: bool = True


class Provider:
    """What the server is told to do, and what it was asked."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[list[tuple[str, str]]] = []
        """Of the same requests, with names in small letters."""
        self.paused = threading.Event()
        self.resume = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        self.resume.set()
        self.answer = Answer()
        self.requests.clear()
        self.headers.clear()
        self.paused.clear()
        self.resume = threading.Event()


@contextmanager
def running() -> Iterator[Provider]:
    provider = Provider()

    class Handler(_Handler):
        told = provider

    server = QuietServer(("127.0.0.1", 0), Handler)
    provider.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.resume.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Provider

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._send_json(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.requests.append(body)
        self.told.headers.append([(name.lower(), value) for name, value in self.headers.items()])
        answer = self.told.answer
        if body.get("stream_options") and not answer.knows_stream_options:
            message = "Unrecognized request argument supplied: stream_options"
            self._send_json(400, {"error": {"message": message, "type": "invalid_request_error"}})
        elif answer.status != 200:
            self._send_json(answer.status, {"error": answer.error or {"message": "no"}}, answer.headers)
        elif self.path.endswith("/embeddings"):
            self._send_json(200, _embeddings(body, answer))
        elif body.get("stream"):
            self._stream(body, answer)
        else:
            self._send_json(200, _completion(body, answer), answer.headers)

    def _send_json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, body: dict[str, Any], answer: Answer) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        resume = self.told.resume
        for number, chunk in enumerate(_chunks(body, answer)):
            if number == answer.cut_after:
                self.close_connection = True
                return
            if number == answer.pause_after:
                self.told.paused.set()
                resume.wait(10)
            try:
                self._event(json.dumps(chunk))
            except OSError:  # the client has left
                self.close_connection = True
                return
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()


def _completion(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(answer.words)}
    choice = {"message": message, "finish_reason": answer.finish_reason}
    return _without_none(
        id=RESPONSE_ID,
        object="chat.completion",
        created=1,
        model=answer.model,
        service_tier=answer.service_tier,
        choices=[{"index": index, **choice} for index in range(body.get("n") or 1)],
        usage=answer.usage,
    )


def _chunks(body: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    head = {
        "id": RESPONSE_ID,
        "object": "chat.completion.chunk",
        "created": 1,
        "model": answer.model,
        "service_tier": answer.service_tier,
    }
    for word in answer.words:
        for index in range(body.get("n") or 1):
            choice = {"index": index, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
            yield _without_none(**head, choices=[choice])
    yield _without_none(**head, choices=[{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}])
    if (body.get("stream_options") or {}).get("include_usage") and answer.usage is not None:
        yield _without_none(**head, choices=[], usage=answer.usage)


def _embeddings(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": index, "embedding": [0.25, 0.5]} for index in range(len(texts))]
    return _without_none(object="list", model="text-embedding-3-small", data=data, usage=answer.usage)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
