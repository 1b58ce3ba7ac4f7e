"""Follows an iterator of parsed events while the app reads it, for libraries whose HTTP body is out of reach."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any

from pennytrace._calls.call import Outcome, error_type
from pennytrace._calls.ending import end_with_the_process
from pennytrace._calls.reading import Asked, Reading
from pennytrace._calls.usage import fields
from pennytrace._guard import never_break_the_host

Meaning = Callable[[Any], Any] | None
"""Returns what an event says, where the library parses it only after it has passed."""


class _Following:
    """The events of one stream on their way to the app."""

    __slots__ = ("__weakref__", "_asked", "_ended", "_hides", "_meaning", "_reading", "requested")

    def __init__(
        self, asked: Asked, *, requested: bool = True, meaning: Meaning = None, hides: bool = False
    ) -> None:
        self.requested = requested
        """Whether the request has been sent; a generator of the library sends it when it is first read."""
        self._asked = asked
        self._hides = hides
        self._meaning = meaning
        self._reading = Reading(asked.operation, asked.body)
        self._ended = False
        end_with_the_process(self)

    @never_break_the_host("reading an event of a stream")
    def take(self, event: Any) -> bool:
        """Note an event; tell whether it is there only because we asked for usage."""
        if not self._reading.began:
            self._asked.call.first_chunk()
        said = event if self._meaning is None else self._meaning(event)
        self._reading.take(said)
        self._reading.take_text(said)
        return self._hides and bool(self._asked.operation.only_reports_usage(fields(said)))

    @never_break_the_host("ending a stream of events")
    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call; only the first time counts."""
        if not self._ended and self.requested:
            self._ended = True
            abandoned = isinstance(error, GeneratorExit)
            self._asked.call.finish(
                functools.partial(self._outcomes, None if abandoned else error_type(error), complete)
            )

    def _outcomes(self, error: str | None, complete: bool) -> Iterable[Outcome]:
        return (self._reading.outcome(error, estimate=True, cut=not complete),)

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._ended = True
        self._asked.call.disown()

    def __del__(self) -> None:
        self.end()


def generator(inner: Generator[Any, Any, Any], asked: Asked) -> Generator[Any, None, None]:
    """Return a generator in the place of one that the app itself may hold."""
    return _generator(inner, _Following(asked, requested=False))


def _generator(inner: Generator[Any, Any, Any], following: _Following) -> Generator[Any, None, None]:
    # One that is dropped before it has begun runs none of this: then `following`, which only it holds, goes too.
    following.requested = True
    try:
        for event in inner:
            following.take(event)
            yield event
        following.end(complete=True)
    except BaseException as error:
        following.end(error)
        raise
    finally:
        inner.close()


def async_generator(inner: AsyncGenerator[Any, Any], asked: Asked) -> AsyncGenerator[Any, None]:
    """The same for an asynchronous generator."""
    return _async_generator(inner, _Following(asked, requested=False))


async def _async_generator(
    inner: AsyncGenerator[Any, Any], following: _Following
) -> AsyncGenerator[Any, None]:
    following.requested = True
    try:
        async for event in inner:
            following.take(event)
            yield event
        following.end(complete=True)
    except BaseException as error:
        following.end(error)
        raise
    finally:
        await inner.aclose()


class Items:
    """Takes the place of an iterator.

    A class and not a generator: a generator that was never started runs none of its code when it is dropped.
    """

    def __init__(
        self, inner: Iterator[Any], asked: Asked, *, meaning: Meaning = None, hides: bool = False
    ) -> None:
        self._inner = inner
        self._following = _Following(asked, meaning=meaning, hides=hides)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            try:
                event = next(self._inner)
            except StopIteration:
                self._following.end(complete=True)
                raise
            except BaseException as error:
                self._following.end(error)
                raise
            if not self._following.take(event):
                return event

    def end(self) -> None:
        """End the call; the stream may go on."""
        self._following.end()

    def close(self) -> None:
        """End the call and the stream."""
        self.end()
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._following.end()


class AsyncItems:
    """The same for an asynchronous iterator."""

    def __init__(
        self, inner: AsyncIterator[Any], asked: Asked, *, meaning: Meaning = None, hides: bool = False
    ) -> None:
        self._inner = inner
        self._following = _Following(asked, meaning=meaning, hides=hides)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while True:
            try:
                event = await anext(self._inner)
            except StopAsyncIteration:
                self._following.end(complete=True)
                raise
            except BaseException as error:
                self._following.end(error)
                raise
            if not self._following.take(event):
                return event

    async def aclose(self) -> None:
        """End the call and the stream."""
        self._following.end()
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._following.end()
