"""The real listeners on real sockets, in a thread, keeping bodies in memory."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from pennytrace_collectors.errors import Overloaded
from pennytrace_collectors.receive import http as otlp_http
from pennytrace_collectors.receive import rpc
from pennytrace_collectors.receive.address import Address
from pennytrace_collectors.receive.bearer import Doors
from pennytrace_collectors.receive.budget import Budget
from pennytrace_collectors.receive.connection import Manners
from pennytrace_collectors.receive.intake import Intake
from pennytrace_collectors.receive.listen import listen
from pennytrace_collectors.receive.tls import Tls


@dataclass(slots=True)
class Memory:
    """Keeps bodies, or refuses them."""

    bodies: list[bytes] = field(default_factory=list)
    spans: int = 0
    refusal: Overloaded | None = None
    refusals: int = 1_000_000
    """How often `refusal` is raised before bodies are taken again."""

    async def append(self, body: bytes, *, spans: int) -> None:
        if self.refusal is not None and self.refusals:
            self.refusals -= 1
            raise self.refusal
        self.bodies.append(body)
        self.spans += spans


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Receiver:
    memory: Memory
    intake: Intake
    http_port: int
    grpc_port: int

    def post(
        self,
        body: bytes,
        content_type: str = otlp_http.PROTOBUF,
        *,
        path: str = "/v1/traces",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": content_type, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()


_Started = tuple[Receiver, asyncio.AbstractEventLoop, asyncio.Event]


@contextmanager
def receiving(
    *,
    budget: Budget | None = None,
    body_time_s: float = 30.0,
    doors: Doors | None = None,
    tls: Tls | None = None,
    manners: Manners | None = None,
) -> Iterator[Receiver]:
    """Run both listeners until the block ends."""
    started: Future[_Started] = Future()
    memory = Memory()
    intake = Intake(memory, budget=budget, doors=doors)
    thread = threading.Thread(
        target=asyncio.run, args=(_serve(started, memory, intake, body_time_s, tls, manners or Manners()),)
    )
    thread.start()
    try:
        receiver, loop, stop = started.result(30)
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _serve(
    started: Future[_Started],
    memory: Memory,
    intake: Intake,
    body_time_s: float,
    tls: Tls | None,
    manners: Manners,
) -> None:
    bound = Address("127.0.0.1", 0, "--http").bind()
    port: int = bound.getsockname()[1]
    pages = {"/health": lambda: otlp_http.Reply(200, "text/plain", b"well")}
    app = otlp_http.application(intake, pages, body_time_s=body_time_s)
    context = tls.context if tls else None
    listener = await listen(app, bound, grace_s=1, manners=manners, tls=context)
    server, grpc_port = rpc.server(intake, Address("127.0.0.1", 0, "--grpc"), tls)
    await server.start()
    stop = asyncio.Event()
    started.set_result((Receiver(memory, intake, port, grpc_port), asyncio.get_running_loop(), stop))
    await stop.wait()
    await asyncio.gather(listener.close(), server.stop(1))
    intake.close()
