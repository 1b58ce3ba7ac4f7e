"""A server that answers every request as a test says, over a real socket, and notes what was asked."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.instrumentation.server import QuietServer


@dataclass(frozen=True)
class Answer:
    """One answer."""

    body: bytes
    kind: str = "application/json"
    status: int = 200
    cut: bool = False
    """Whether the connection breaks after the body, before all that was promised has come."""
    silent: bool = False
    """Whether nothing comes at all, until the test is over."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """Answers with the next answers in turn, and with the last one ever after."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: deque[Answer] = deque()
        self.asked: list[Asked] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, *answers: Answer) -> None:
        self.answers = deque(answers)

    def next_answer(self) -> Answer:
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]


def document(content: Any, status: int = 200, **more: Any) -> Answer:
    return Answer(json.dumps(content).encode(), status=status, **more)


def events(contents: Iterable[Any], *, named: bool = False, done: bool = False, cut: bool = False) -> Answer:
    """Return a stream of server-sent events, with the names that some providers give them."""
    lines = []
    for content in contents:
        lines += [f"event: {content['type']}\n"] if named else []
        lines += [f"data: {json.dumps(content)}\n\n"]
    body = "".join(lines) + ("data: [DONE]\n\n" if done else "")
    return Answer(body.encode(), "text/event-stream", cut=cut)


class _Handler(BaseHTTPRequestHandler):
    told: Server

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        return b"".join(parts)

    def _answer(self, body: bytes) -> None:
        self.told.asked.append(Asked(self.command, self.path, body))
        answer = self.told.next_answer()
        if answer.silent:
            self.told.over.wait(30)
            return
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.kind, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) + (10 if answer.cut else 0)))
        self.end_headers()
        self.wfile.write(answer.body)


@contextmanager
def running() -> Iterator[Server]:
    told = Server()

    class Handler(_Handler):
        pass

    Handler.told = told
    server = QuietServer(("127.0.0.1", 0), Handler)
    told.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield told
    finally:
        told.over.set()
        server.shutdown()
        server.server_close()
