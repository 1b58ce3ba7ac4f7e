"""A collector that takes everything and does nothing but count spans when asked.

`python sink.py [PORT]` prints its port, once it listens; a free one where none is given.

Each process that is measured delivers below a path of its own, `/NAME`. `GET /NAME` says how many spans and bytes
have come there since the last time; only then are the bodies looked into, when nothing is being measured.
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator

_bodies: defaultdict[str, list[bytes]] = defaultdict(list)
_changing = threading.Lock()


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes a body, at once."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, name, rest = self.path.split("/", 2)
        if rest.endswith("v1/traces"):
            with _changing:
                _bodies[name].append(body)
        self._reply(b"")

    def do_GET(self) -> None:
        with _changing:
            bodies = _bodies.pop(self.path.strip("/"), [])
        counted = {"spans": sum(map(spans, bodies)), "bytes": sum(map(len, bodies))}
        self._reply(json.dumps(counted).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def spans(request: bytes) -> int:
    """Return the number of spans in an ExportTraceServiceRequest, which nests them three deep: 1, 2, 2."""
    return sum(
        1
        for resource_spans in _messages(request, 1)
        for scope_spans in _messages(resource_spans, 2)
        for _ in _messages(scope_spans, 2)
    )


def _messages(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the nested messages with this field number."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        assert tag & 7 == 2, "these messages hold nothing but messages and strings"
        length, at = _varint(message, at)
        if tag >> 3 == number:
            yield message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0), Sink)
    print(server.server_port, flush=True)  # noqa: T201
    server.serve_forever()
