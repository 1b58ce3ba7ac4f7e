"""A server that answers a path with what a test puts there: JSON, bytes, or a stream of events, over a real socket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.instrumentation.server import QuietServer


@dataclass
class Events:
    """A stream of server-sent events."""

    events: Sequence[dict[str, Any]]
    done: bool = False
    """Whether it ends with `[DONE]`."""
    cut: bool = False
    """Whether the connection breaks where it should end."""
    named: bool = True
    """Whether each event says its type beside its data."""


@dataclass
class Content:
    """An answer that is not JSON."""

    content: bytes
    type: str = "application/octet-stream"


@dataclass
class Failure:
    """An answer with an error status."""

    status: int
    body: dict[str, Any] = field(default_factory=lambda: {"error": {"message": "no", "type": "refused"}})
    headers: dict[str, str] = field(default_factory=lambda: {"retry-after-ms": "1"})


@dataclass
class Slow:
    """No answer for a while."""

    seconds: float


class OpenAI:
    """What the server answers, by method and path, and what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, Any] = {}
        """A list holds one answer for each request in turn; the last one stays."""
        self.requests: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def next_answer(self, request: str) -> Any:
        answer = self.answers[request]
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: OpenAI

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        is_json = self.headers["Content-Type"].startswith("application/json")
        self._answer(json.loads(content) if is_json and content else content)

    def _answer(self, asked: Any) -> None:
        request = f"{self.command} {urlsplit(self.path).path.removeprefix('/v1')}"
        self.told.requests.append((request, asked))
        answer = self.told.next_answer(request)
        match answer:
            case Slow(seconds):
                time.sleep(seconds)
                self.close_connection = True
            case Failure(status, body, headers):
                self._send(status, json.dumps(body).encode(), "application/json", headers)
            case Content(content, type):
                self._send(200, content, type)
            case Events():
                self._stream(answer)
            case _:
                self._send(200, json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, content: bytes, type: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, stream: Events) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in stream.events:
                name = f"event: {event['type']}\n" if stream.named and "type" in event else ""
                self._chunk(f"{name}data: {json.dumps(event)}\n\n".encode())
            if stream.cut:
                self.close_connection = True
                return
            if stream.done:
                self._chunk(b"data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has left
            self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


@contextmanager
def running(told: OpenAI | None = None) -> Iterator[OpenAI]:
    told = told or OpenAI()

    class Handler(_Handler):
        pass

    Handler.told = told
    server = QuietServer(("127.0.0.1", 0), Handler)
    told.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
