"""Follows a stream of chunks: hands on what the app would see without us, and ends the call on every path."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from . import semconv
from ._call import Call, outcome
from ._guard import never_break_the_host
from ._provider import Body, Fields, Operation, Usage
from ._usage import estimate, fields


class Ending(Protocol):
    """A call whose end depends on what the app does with a response."""

    def finish(self, error: BaseException | None = None) -> None:
        """End the call; only the first time counts."""
        ...


_open: weakref.WeakSet[Ending] = weakref.WeakSet()


def end_with_the_process(ending: Ending) -> None:
    """End a call at the latest when the process does: an abandoned stream may never be collected."""
    _open.add(ending)


@atexit.register
def _end_all() -> None:
    for ending in list(_open):
        ending.finish()


class Meter:
    """What one stream has delivered so far."""

    __slots__ = ("__weakref__", "_body", "_call", "_characters", "_chunk", "_hides", "_operation", "_usage")

    def __init__(self, call: Call, operation: Operation, body: Body, *, hides_usage_chunk: bool) -> None:
        self._call = call
        self._operation = operation
        self._body = body
        self._hides = hides_usage_chunk
        self._characters = 0
        self._chunk: Fields | None = None
        self._usage: Usage | None = None
        end_with_the_process(self)

    @property
    def hides(self) -> bool:
        """Whether there is a chunk that the app did not ask for."""
        return self._hides

    @never_break_the_host("reading a chunk of a stream")
    def take(self, chunk: Any) -> bool:
        """Note what a chunk carries; True when the app must not see it, because only we asked for it."""
        if self._chunk is None:
            self._call.first_chunk()
        held = self._chunk = fields(chunk)
        operation = self._operation
        usage = operation.usage(held)
        if usage is not None:
            # Some servers report as they go, and some twice: the last one counts, never the sum.
            self._usage = usage
            if self._hides and operation.is_usage_chunk(held):
                return True
        self._characters += operation.chunk_characters(held)
        return False

    @never_break_the_host("ending a stream")
    def finish(self, error: BaseException | None = None) -> None:
        """End the call; what the provider did not count is estimated from what was delivered."""
        usage, source = self._usage, semconv.MEASURED
        if usage is None:
            usage, source = self._estimate(), semconv.ESTIMATED
        self._call.finish(outcome(self._chunk or {}, usage=usage, source=source, error=error))

    def _estimate(self) -> Usage:
        return estimate(
            request_characters=self._operation.request_characters(self._body),
            delivered_characters=self._characters if self._chunk is not None else None,
        )


class Chunks:
    """Takes the place of a stream's iterator.

    A class and not a generator: a generator that was never started runs none of its code when it is dropped.
    """

    __slots__ = ("__weakref__", "_inner", "_meter", "_reading", "_unhook")

    def __init__(self, inner: Iterator[Any], meter: Meter, response: Any) -> None:
        self._inner = inner
        self._meter = meter
        self._reading = False
        self._unhook = _on_close(response, "close", self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._reading = True
        try:
            chunk = next(self._inner)
            while self._meter.take(chunk):
                chunk = next(self._inner)
        except StopIteration:
            self.end()
            raise
        except BaseException as error:
            self.end(error)
            raise
        finally:
            self._reading = False
        return chunk

    def end(self, error: BaseException | None = None) -> None:
        """End the call; only the first time counts."""
        self._meter.finish(error)
        self._unhook()

    def closed(self) -> None:
        """Note that the response was closed; while a chunk is read, the reading knows better why."""
        if not self._reading:
            self.end()

    def __del__(self) -> None:
        self.end()


class AsyncChunks:
    """The same for an asynchronous stream."""

    __slots__ = ("__weakref__", "_inner", "_meter", "_reading", "_unhook")

    def __init__(self, inner: AsyncIterator[Any], meter: Meter, response: Any) -> None:
        self._inner = inner
        self._meter = meter
        self._reading = False
        self._unhook = _on_close(response, "aclose", self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        self._reading = True
        try:
            chunk = await self._inner.__anext__()
            while self._meter.take(chunk):
                chunk = await self._inner.__anext__()
        except StopAsyncIteration:
            self.end()
            raise
        except BaseException as error:
            self.end(error)
            raise
        finally:
            self._reading = False
        return chunk

    def end(self, error: BaseException | None = None) -> None:
        """End the call; only the first time counts."""
        self._meter.finish(error)
        self._unhook()

    def closed(self) -> None:
        """Note that the response was closed; while a chunk is read, the reading knows better why."""
        if not self._reading:
            self.end()

    def __del__(self) -> None:
        self.end()


def _on_close(response: Any, method: str, chunks: Chunks | AsyncChunks) -> Callable[[], None]:
    """Tell `chunks` when `response` is closed; return what takes that back.

    On the response, because the helpers of the SDK close that and not the stream. Only weakly, so that a
    stream which is dropped goes at once, and not with the next run of the garbage collector.
    """
    close = getattr(response, method)
    told = weakref.ref(chunks)

    def closing(*args: Any, **kwargs: Any) -> Any:
        open_chunks = told()
        if open_chunks is not None:
            open_chunks.closed()
        return close(*args, **kwargs)

    setattr(response, method, closing)
    return lambda: vars(response).pop(method, None)
