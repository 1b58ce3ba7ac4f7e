"""Whatever fails inside pennytrace, the app's calls give the same results: each step is broken in turn."""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import openai
import pytest

import pennytrace
from pennytrace._guard import never_break_the_host
from tests.instrumentation.provider import MODEL, Answer, Provider
from tests.instrumentation.sink import Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]


def guarded_steps() -> dict[str, FunctionType]:
    """Return every function of the package that stands behind the guard, by what it does."""
    steps: dict[str, FunctionType] = {}
    for module in pkgutil.walk_packages(pennytrace.__path__, "pennytrace."):
        if "_bootstrap" in module.name:
            continue
        for thing in vars(importlib.import_module(module.name)).values():
            for candidate in (thing, *vars(thing).values()) if isinstance(thing, type) else (thing,):
                if isinstance(candidate, FunctionType) and hasattr(candidate, "guards"):
                    assert steps.setdefault(candidate.guards, candidate) is candidate, candidate.guards
    return steps


STEPS = guarded_steps()


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let one step raise whenever it is taken."""
    step: str = request.param
    (cell,) = [cell for cell in STEPS[step].__closure__ or () if isinstance(cell.cell_contents, FunctionType)]
    real = cell.cell_contents

    def raises(*args: object, **kwargs: object) -> object:
        raise RuntimeError("broken on purpose")

    cell.cell_contents = raises
    yield step
    cell.cell_contents = real


def test_the_steps_are_many() -> None:
    assert len(STEPS) >= 15, sorted(STEPS)


@pytest.mark.parametrize("broken", sorted(STEPS), indirect=True)
def test_a_step_that_fails_changes_nothing_for_the_app(
    broken: str, client: openai.OpenAI, provider: Provider, sink: Sink
) -> None:
    pennytrace.init(endpoint=sink.url)
    with pennytrace.tag(feature="f"):
        answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == "A penny weighs 3.56 g."
    stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    assert type(stream) is openai.Stream
    text = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert text == ["A penny ", "weighs ", "3.56 g.", None]
    left = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    next(left)
    left.close()
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
    assert raw.parse().id == answer.id
    with client.chat.completions.with_streaming_response.create(model=MODEL, messages=MESSAGES) as response:
        assert response.parse().id == answer.id
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=MESSAGES, stream=True
    ) as response:
        assert len(list(response.iter_lines())) >= 5
    asyncio.run(_asynchronous(provider))
    provider.answer = Answer(status=404)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    pennytrace.flush(0.2)
    pennytrace.shutdown(0.2)


async def _asynchronous(provider: Provider) -> None:
    async with openai.AsyncOpenAI(api_key="none", base_url=provider.url) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert answer.choices[0].message.content == "A penny weighs 3.56 g."
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        assert len([chunk async for chunk in stream if chunk.choices]) == 4


class TestTheGuard:
    def test_says_once_what_failed_and_with_the_traceback(self, caplog: pytest.LogCaptureFixture) -> None:
        @never_break_the_host("counting pennies")
        def fails() -> int:
            raise ValueError("no pennies")

        with caplog.at_level(logging.WARNING, logger="pennytrace"):
            assert fails() is None
            assert fails() is None
        (record,) = caplog.records
        assert "counting pennies" in record.getMessage()
        assert record.exc_info is not None

    def test_lets_the_apps_own_interruptions_pass(self) -> None:
        @never_break_the_host("waiting")
        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()

    def test_survives_a_log_handler_that_raises(self) -> None:
        class Broken(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise RuntimeError("log is down")

        @never_break_the_host("logging")
        def fails() -> None:
            raise ValueError

        handler = Broken()
        logger = logging.getLogger("pennytrace")
        logger.addHandler(handler)
        try:
            assert fails() is None
        finally:
            logger.removeHandler(handler)
