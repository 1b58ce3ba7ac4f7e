"""Serves ASGI applications on sockets that are already bound, several in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from .connection import Manners, with_manners

_MOST_FILES: Final = 16_384
"""Files and connections that a collector asks for; many systems begin with 1,024 and allow more on demand."""
_OWN_FILES: Final = 256
"""What the journal, the embedded store and gRPC keep open besides."""


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


def allowed() -> Manners:
    """Raise this process's limit of open files as far as that is possible; return what one listener may hold of it.

    The rest is for the other listeners and for the files of the journal and the store, which must never be out of them
    because of clients that only hold on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = _MOST_FILES if soft == resource.RLIM_INFINITY else soft
    return Manners(connections=max(16, min((files - _OWN_FILES) // 4, Manners().connections)))


async def listen(
    app: ASGIApp,
    bound: socket.socket,
    *,
    grace_s: int,
    manners: Manners = Manners(),  # noqa: B008 - it is frozen
    tls: ssl.SSLContext | None = None,
) -> Listener:
    """Serve `app` on a bound socket; when it closes, requests in flight have `grace_s` seconds to finish."""
    config = uvicorn.Config(
        app,
        http=with_manners(manners),
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=manners.idle_s,
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
