"""Serves ASGI applications on sockets that are already bound, several in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

_IDLE_CONNECTION_S: Final = 75
"""Longer than exporters wait between two batches, so that they do not meet a connection being closed."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the process it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Listener:
    """An application being served."""

    _server: _Server
    _task: asyncio.Task[None]

    async def close(self) -> None:
        """Take no more connections; return when the requests in flight are answered or their time is up."""
        self._server.should_exit = True
        await self._task


async def listen(
    app: ASGIApp, bound: socket.socket, *, grace_s: int, tls: ssl.SSLContext | None = None
) -> Listener:
    """Serve `app` on a bound socket; when it closes, requests in flight have `grace_s` seconds to finish."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_CONNECTION_S,
        timeout_graceful_shutdown=grace_s,
        backlog=2048,
    )
    if tls is not None:
        # Instead of the names of files, which uvicorn would read once.
        config.load()
        config.ssl = tls
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started and not task.done():
        await asyncio.sleep(0.005)
    if task.done():
        task.result()
    return Listener(server, task)
