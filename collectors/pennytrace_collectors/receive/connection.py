"""One HTTP connection with manners: its client has only so long, and so many bytes, to say what it wants."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FULL: Final = b"503 Service Unavailable\r\nretry-after: 1"
_TOO_LARGE: Final = b"431 Request Header Fields Too Large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What a client may do with a connection besides sending bodies, which have limits of their own."""

    connections: int = 4096
    """How many there are of one listener at once."""
    idle_s: int = 75
    """Longer than exporters wait between two batches, so that they do not meet a connection being closed."""
    headers_s: float = 15.0
    """From the first byte of a request to the last of its headers."""
    headers_bytes: int = 64 * 1024
    """Of a request's headers, and of trailers after a body."""


class Connection(HttpToolsProtocol):
    """Closed when its client is too slow with its headers, sends too many, or asks for nothing.

    uvicorn by itself has a limit only between two requests: a client that never asks, or asks a byte at a time, would
    hold its connection for ever. When there are too many, a new one takes the place of the one that has been idle for
    the longest; when all of them are busy, it is refused.
    """

    manners: ClassVar[Manners] = Manners()

    _timer: asyncio.TimerHandle | None = None
    _idle_since: float = 0.0
    _reads_headers: bool = False
    _unread: int = 0
    """Bytes since the parser last told of anything but headers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for it, or refuse it."""
        full = len(self.connections) >= self.manners.connections and not self._make_room()
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if full:
            self._refuse(_FULL)
        else:
            self._give(self.manners.idle_s)

    def data_received(self, data: bytes) -> None:
        """Start the clock of the headers with their first byte, even if that is an empty line."""
        self._unread += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unread > self.manners.headers_bytes:
            self._refuse(_TOO_LARGE)
        elif self._is_idle and not self._reads_headers:
            self._reads_headers = True
            self._give(self.manners.headers_s)

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._unread = 0
        self._stop_clock()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Begin to count again: what is read is no header."""
        self._unread = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Remember since when nothing has been asked."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being worked on; before the first there is no cycle, whatever its type says."""
        cycle = cast("object | None", self.cycle)
        return cycle is None or self.cycle.response_complete

    def _make_room(self) -> bool:
        """Close the connection that has been idle for the longest; return whether there was one."""
        others = [cast(Connection, other) for other in self.connections]
        idle = [other for other in others if other._is_idle and not other.transport.is_closing()]
        if not idle:
            return False
        min(idle, key=lambda other: other._idle_since).transport.close()
        return True

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _give(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_clock(self) -> None:
        self._reads_headers = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def with_manners(manners: Manners) -> type[Connection]:
    """Return connections of these manners, for a server that makes them by itself."""
    return type("MannerlyConnection", (Connection,), {"manners": manners})
