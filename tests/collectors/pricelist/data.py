"""Data files as genai-prices publishes them, and a real HTTP server to fetch them from."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def provider(models: list[dict[str, Any]], provider_id: str = "acme") -> dict[str, Any]:
    return {
        "id": provider_id,
        "name": "Acme",
        "api_pattern": rf"https://api\.{provider_id}\.example",
        "models": models,
    }


def model(name: str, *prices: tuple[str | None, dict[str, Any]]) -> dict[str, Any]:
    """A model with the prices of each start date; a None date is the beginning."""
    dated = [
        {"prices": said} if start is None else {"constraint": {"start_date": start}, "prices": said}
        for start, said in prices
    ]
    return {"id": name, "match": {"equals": name}, "prices": dated}


def data(*models: dict[str, Any]) -> bytes:
    return json.dumps([provider(list(models))]).encode()


OLD = data(
    model("road-1", (None, {"input_mtok": 1, "output_mtok": 2})),
    model("gone-1", (None, {"input_mtok": 9})),
    model(
        "coyote-2",
        (None, {"input_mtok": 3, "output_mtok": 4}),
        ("2027-01-01", {"input_mtok": 2, "output_mtok": 4}),
    ),
)
NEW = data(
    model(
        "road-1",
        (None, {"input_mtok": 1, "output_mtok": 2}),
        ("2027-03-01", {"input_mtok": 0.5, "output_mtok": 2}),
    ),
    model(
        "coyote-2",
        (None, {"input_mtok": 3, "output_mtok": 4}),
        ("2027-01-01", {"input_mtok": 2, "output_mtok": 4}),
    ),
    model("anvil-3", (None, {"input_mtok": 0.1, "output_mtok": 0.2})),
)


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve every GET by `answer` on a real port; yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def body(content: bytes, *, announced: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for as long as anybody listens."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"[")
            time.sleep(0.05)
    except OSError:
        return
