"""Serves the provider on a thread of its own, on a free port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Final

from starlette.types import ASGIApp

from pennytrace_collectors.receive.listen import listen

_START_S: Final = 10.0
_STOP_S: Final = 3.0


@contextlib.contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve until the block is left; gives the base URL, without `/v1`."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(_serve(app, bound, started)), name="provider", daemon=True
        )
        thread.start()
        loop, stop = started.result(_START_S)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(stop.set)
            thread.join(_STOP_S)


async def _serve(
    app: ASGIApp, bound: socket.socket, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
) -> None:
    try:
        listener = await listen(app, bound, grace_s=1)
    except Exception as error:  # noqa: BLE001 - it goes to the thread that waits for the start
        started.set_exception(error)
        return
    stop = asyncio.Event()
    started.set_result((asyncio.get_running_loop(), stop))
    await stop.wait()
    await listener.close()
