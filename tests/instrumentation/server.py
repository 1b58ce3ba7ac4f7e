"""The HTTP server that the tests' servers stand on."""

from __future__ import annotations

from http.server import ThreadingHTTPServer
from typing import Any


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that leave in the middle: many tests are about just that."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        return
