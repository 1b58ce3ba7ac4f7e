"""What the tests of the app side share: a provider, a collector, clients, and a clean process."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

import pennytrace
from pennytrace import _guard
from pennytrace._calls import asking as _asking
from pennytrace._delivery import exit as _exit
from pennytrace._delivery.queue import QueuedDelivery
from tests.instrumentation import provider as providers
from tests.instrumentation import sink as sinks
from tests.instrumentation.provider import Provider
from tests.instrumentation.sink import Recorded, Sink

Calls = Callable[[], list[Recorded]]


@pytest.fixture(scope="session")
def provider_server() -> Iterator[Provider]:
    with providers.running() as provider:
        yield provider


@pytest.fixture(scope="session")
def sink_server() -> Iterator[Sink]:
    with sinks.running() as sink:
        yield sink


@pytest.fixture
def provider(provider_server: Provider) -> Iterator[Provider]:
    provider_server.reset()
    yield provider_server
    provider_server.reset()


@pytest.fixture
def sink(sink_server: Sink) -> Sink:
    sink_server.reset()
    return sink_server


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Leave nothing to the next test: settings, what was said once, what servers refused, open streams, the spool."""
    for name in os.environ:
        if name.startswith(("OTEL_", "PENNYTRACE_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    _guard._told.clear()
    _asking.hosts_without_usage.clear()
    yield
    pennytrace.shutdown(timeout=0)
    gc.collect()  # a stream that a test left in a cycle ends now, when nobody records, and not during another test
    gc.freeze()  # so that the next time has only what is new to go through
    for delivery in list(_exit._all):  # what a test left undelivered on purpose must not hold up the end
        assert isinstance(delivery, QueuedDelivery)
        delivery._queue.clear()
        delivery._courier.in_hand = delivery._courier.spool = None
        delivery._bell.ring()
    _exit.forget_all()


@pytest.fixture
def recording(sink: Sink) -> None:
    pennytrace.init(endpoint=sink.url, service="shop")


@pytest.fixture
def calls(recording: None, sink: Sink) -> Calls:
    """Return what has been recorded, delivered first."""

    def delivered() -> list[Recorded]:
        assert pennytrace.flush(30)
        return list(sink.spans)

    return delivered


@pytest.fixture
def client(provider: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=provider.url, max_retries=0) as client:
        yield client


@pytest.fixture
def with_async_client(provider: Provider) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    """Run a coroutine function with an asynchronous client, in an event loop of its own."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[openai.AsyncOpenAI]:
        async with openai.AsyncOpenAI(api_key="none", base_url=provider.url, max_retries=0) as client:
            yield client

    def run(work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with opened() as client:
                return await work(client)

        return asyncio.run(main())

    return run
