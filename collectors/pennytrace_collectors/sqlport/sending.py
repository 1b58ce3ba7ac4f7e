"""Sends a body, whole or in pieces, compressed as its client accepts, without holding up the event loop."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from . import reply

_LARGE: Final = 64 * 1024
"""Bytes whose compression is left to a thread."""


class Body:
    """A body that is sent in pieces; one that has not been ended cannot be taken for a whole one."""

    def __init__(self, send: Send, encoding: tuple[str, reply.Encoder] | None) -> None:
        self._send = send
        self._name = encoding[0] if encoding else ""
        self._encoder = encoding[1] if encoding else None

    async def start(self, headers: dict[str, str]) -> None:
        """Send the headers, and say that what was asked is being answered."""
        if self._encoder:
            headers["Content-Encoding"] = self._name
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def send(self, data: bytes, *, flush: bool = False) -> None:
        """Send a piece; with `flush`, all that compression has held back too."""
        if self._encoder:
            data = await _compressed(self._encoder, data)
            data += self._encoder.flush() if flush else b""
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Say that this was all."""
        last = self._encoder.flush() if self._encoder else b""
        await self._send({"type": "http.response.body", "body": last, "more_body": False})


async def send_whole(
    body: bytes, encodings: str, headers: dict[str, str], request: Request, send: Send
) -> None:
    """Send a body that is all there, with its length."""
    if found := reply.encoder(encodings, len(body)):
        headers["Content-Encoding"] = found[0]
        body = await _compressed(found[1], body) + found[1].flush()
    await Response(body, 200, headers)(request.scope, request.receive, send)


async def _compressed(encoder: reply.Encoder, data: bytes) -> bytes:
    if len(data) < _LARGE:
        return encoder.compress(data)
    return await asyncio.to_thread(encoder.compress, data)
