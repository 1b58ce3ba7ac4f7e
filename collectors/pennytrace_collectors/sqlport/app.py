"""The ASGI application: which requests are answered, and how an answer gets from a worker to its client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import reply
from .access import Access
from .answering import Answering, Reply
from .engine import Answer, Engine
from .faults import Code, Fault
from .limits import Limits
from .request import Ask, query_id, read
from .sending import Body, send_whole
from .statement import Inspector
from .turns import Turns

_SENDING_SECONDS: Final = 30.0
"""How much longer than a query may run, its client may take to read the answer."""


def application(
    folder: Path, *, database: str, limits: Limits | None = None, access: Access | None = None
) -> ASGIApp:
    """Return the application that answers ClickHouse's HTTP clients from the store in `folder`, read only.

    The store is already open in this process, and stays open until the application has ended: each query gets
    a session of its own on the engine of that folder. Only `database`, and what describes it, can be read.

    Raises:
        ValueError: The database is one in which a name may mean a file.
    """
    if database in ("default", "system") or not database.isidentifier():
        raise ValueError(f"the database {database!r} cannot be served: give the store a database of its own")
    limits = limits or Limits()
    engine = Engine(folder, database)
    answering = Answering(engine, Inspector(engine.look, database), database, limits)
    return _Application(answering, access or Access())


class _Application:
    def __init__(self, answering: Answering, access: Access) -> None:
        self._answering = answering
        self._access = access
        self._turns = Turns(answering.limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send, self._warm, self._end)
        elif scope["type"] == "http":
            await self._respond(Request(scope, receive), send)

    def _warm(self) -> None:
        # Before the first client waits for it; where it fails now, that client is told.
        self._turns.work(self._answering.inspector.ask)

    def _end(self) -> None:
        with suppress(Fault):
            self._answering.engine.stop()
        self._turns.end()

    async def _respond(self, request: Request, send: Send) -> None:
        identity = query_id(request)
        try:
            self._access.require(request.headers)
            if page := _page(request):
                await page(request.scope, request.receive, send)
                return
            ask = await read(request, self._answering.limits)
            self._access.require_user(ask.who)
            async with self._turns.turn():
                begun = await self._begin(ask, request)
                headers = {**reply.common(identity, begun.timezone), **reply.of_format(begun.format)}
                if begun.rest is not None:
                    await self._send_rest(begun.head, begun.rest, ask, headers, request, send)
                    return
            # All is read and the turn is over: a client that is slow to take it holds up nobody.
            headers["X-ClickHouse-Summary"] = reply.summary(begun.tally, begun.elapsed_ns)
            await send_whole(begun.head, ask.encodings, headers, request, send)
        except Fault as fault:
            await self._fail(fault, identity, request, send)

    async def _begin(self, ask: Ask, request: Request) -> Reply:
        name = str(uuid4())
        spend_only = not self._access.accounts.sees_all(ask.who.user)
        working = asyncio.ensure_future(
            self._turns.work(lambda: self._answering.begin(ask, name, spend_only=spend_only))
        )
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                # Nobody waits for the answer; not in a worker, because all of them may be busy.
                await asyncio.to_thread(self._answering.engine.stop, name)
            return await working
        finally:
            leaving.cancel()
            working.cancel()

    async def _send_rest(
        self, head: bytes, rest: Answer, ask: Ask, headers: dict[str, str], request: Request, send: Send
    ) -> None:
        body = Body(send, reply.encoder(ask.encodings, None))
        try:
            async with asyncio.timeout(self._answering.limits.seconds + _SENDING_SECONDS):
                await self._stream(head, rest, body, headers, request)
        except TimeoutError:
            pass  # the body has no end, by which the client knows that it has not all of it
        finally:
            # In a worker, because the engine may still be making the next piece.
            await asyncio.shield(self._turns.work(rest.close))

    async def _stream(
        self, head: bytes, rest: Answer, body: Body, headers: dict[str, str], request: Request
    ) -> None:
        tag = uuid4().hex[:16]
        headers["X-ClickHouse-Exception-Tag"] = tag
        await body.start(headers)
        piece: bytes | None = head
        try:
            while piece is not None and not await request.is_disconnected():
                await body.send(piece)
                piece = await self._turns.work(rest.read)
        except Fault as fault:
            # Without its last chunk the body cannot be taken for a whole one.
            await body.send(reply.failure_tail(fault, self._version(), tag), flush=True)
            return
        await body.end()

    async def _fail(self, fault: Fault, identity: str, request: Request, send: Send) -> None:
        headers = reply.common(identity, "UTC")
        headers["Content-Type"] = "text/plain; charset=UTF-8"
        headers["X-ClickHouse-Exception-Code"] = str(fault.code)
        response = Response(fault.body(self._version()), fault.status, headers)
        await response(request.scope, request.receive, send)

    def _version(self) -> str:
        return self._answering.inspector.version


def _page(request: Request) -> Response | None:
    """Return the answer to a request that asks nothing of the store.

    Raises:
        Fault: The method is none that is answered.
    """
    path, method = request.url.path, request.method
    if method not in ("GET", "HEAD", "POST"):
        raise Fault(Code.NOT_IMPLEMENTED, f"the method {method} is not answered")
    if path in ("/ping", "/replicas_status"):
        return Response("Ok.\n", media_type="text/html")
    if path != "/":
        text = f"There is no handle {path}\n\nUse / or /ping for health checks.\n"
        return Response(text, 404, media_type="text/plain")
    asks = method == "POST" or request.query_params.get("query")
    return None if asks else Response("Ok.\n", media_type="text/html")


async def _left(request: Request) -> None:
    """Return when the client has gone away; its request has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _live(receive: Receive, send: Send, begin: Callable[[], None], end: Callable[[], None]) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            begin()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await asyncio.to_thread(end)
            await send({"type": "lifespan.shutdown.complete"})
            return
