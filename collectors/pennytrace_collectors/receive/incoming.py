"""The body of one HTTP request: read in pieces, unpacked, bounded in size and time, or read past."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final, Protocol

from starlette.types import Receive

from pennytrace_collectors.errors import Malformed

from .budget import Hold

_READ_PAST_BYTES: Final = 256 * 1024**2
_READ_PAST_S: Final = 10.0


class Unpacker(Protocol):
    """Unpacks a stream piece by piece; raises Malformed where it cannot."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes unpack to, in pieces small enough to stop between them."""
        ...

    def finish(self) -> None:
        """Say that the stream ends here."""
        ...


class ClientGone(Exception):
    """The client went away in the middle of a body, so that nobody reads an answer."""


class Incoming:
    """A body on its way in."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive, *, limit_s: float) -> None:
        """Give the client `limit_s` seconds to send all of it."""
        self._receive = receive
        self._limit_s = limit_s
        self._ended = False
        announced = headers.get(b"content-length", b"")
        self._announced = int(announced) if announced.isdigit() else 0
        self._waits_for_consent = headers.get(b"expect", b"").lower() == b"100-continue"

    async def read(self, hold: Hold, *, unpacker: Unpacker | None) -> bytes:
        """Return the body, unpacked if there is an `unpacker`, with its size added to `hold`.

        Raises:
            TooLarge: It is too large, as announced or as it turns out.
            Overloaded: There is no room for it now.
            Malformed: It cannot be unpacked, or does not arrive in time.
            ClientGone: The client went away.
        """
        hold.require(self._announced)
        try:
            async with asyncio.timeout(self._limit_s):
                pieces = await (self._unpacked(hold, unpacker) if unpacker else self._plain(hold))
        except TimeoutError:
            self._ended = True
            raise Malformed(f"the body did not arrive within {self._limit_s:g} seconds") from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read_past(self) -> None:
        """Read the rest of a body that is not wanted, within limits.

        A client that is still sending would otherwise find its connection reset, and never see the answer.
        """
        if self._waits_for_consent or self._announced > _READ_PAST_BYTES:
            return
        with contextlib.suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(_READ_PAST_S):
                size = 0
                async for piece in self._pieces():
                    size += len(piece)
                    if size > _READ_PAST_BYTES:
                        return

    async def _plain(self, hold: Hold) -> list[bytes]:
        pieces = []
        async for piece in self._pieces():
            hold.grow(len(piece))
            pieces.append(piece)
        return pieces

    async def _unpacked(self, hold: Hold, unpacker: Unpacker) -> list[bytes]:
        pieces = []
        async for packed in self._pieces():
            for piece in unpacker.feed(packed):
                hold.grow(len(piece))
                pieces.append(piece)
        unpacker.finish()
        return pieces

    async def _pieces(self) -> AsyncIterator[bytes]:
        while not self._ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._ended = True
                raise ClientGone
            self._ended = not message.get("more_body", False)
            if body := message.get("body", b""):
                yield body
