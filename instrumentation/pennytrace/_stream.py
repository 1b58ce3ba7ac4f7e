"""Follows a stream of chunks: hands on what the app would see without us, and ends the call on every path."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Protocol

from . import semconv
from ._call import Call, outcome
from ._guard import never_break_the_host
from ._provider import Body, Operation, Usage
from ._usage import estimate, fields

_UNUSUAL: Final = (AttributeError, LookupError, TypeError, ValueError)
"""What a chunk of an unexpected shape makes of a quick look; then it is read with care."""


class Ending(Protocol):
    """A call whose end depends on what the app does with a response."""

    def finish(self, error: BaseException | None = None) -> None:
        """End the call; only the first time counts."""
        ...

    def disown(self) -> None:
        """Leave the call to the process that began it: this one is a copy of it."""
        ...


_open: weakref.WeakSet[Ending] = weakref.WeakSet()


def end_with_the_process(ending: Ending) -> None:
    """End a call at the latest when the process does: an abandoned stream may never be collected."""
    _open.add(ending)


@atexit.register
def _end_all() -> None:
    for ending in list(_open):
        ending.finish()


def _disown_all() -> None:
    for ending in list(_open):
        ending.disown()


os.register_at_fork(after_in_child=_disown_all)


class Meter:
    """What one stream has delivered so far.

    `take` runs for every chunk of every stream, between an app and a client library that do so much else that
    each further call in it starts cold: the chunk that nearly all are is read without one more than it takes.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_call",
        "_characters",
        "_count",
        "_delivers",
        "_last",
        "_operation",
        "_reports",
        "_usage",
        "hides",
    )

    def __init__(self, call: Call, operation: Operation, body: Body, *, hides_usage_chunk: bool) -> None:
        self._call = call
        self._operation = operation
        self._count = operation.chunk_characters
        self._delivers = operation.delivers
        self._reports = operation.reports
        self._body = body
        self._characters = 0
        self._last: Any = None
        self._usage: Usage | None = None
        self.hides = hides_usage_chunk
        """Whether there will be a chunk that the app did not ask for."""
        end_with_the_process(self)

    def take(self, chunk: Any) -> bool:
        """Note a chunk; True when the app must not see it, because only we asked for it."""
        try:
            held = chunk.__dict__
            if self._last is not None and held.get(self._reports) is None and held[self._delivers]:
                self._characters += self._count(held)
                self._last = chunk
                return False
        except _UNUSUAL:
            pass
        return bool(self._read(chunk))

    @never_break_the_host("reading a chunk of a stream")
    def _read(self, chunk: Any) -> bool:
        if self._last is None:
            self._call.first_chunk()
        self._last = chunk
        held = fields(chunk)
        self._characters += self._count(held)
        usage = self._operation.usage(held)
        if usage is not None:
            # Some servers report as they go, and some twice: the last one counts, never the sum.
            self._usage = usage
        return self.hides and usage is not None and not held.get(self._delivers)

    @never_break_the_host("ending a stream")
    def finish(self, error: BaseException | None = None) -> None:
        """End the call; what the provider did not count is estimated from what was delivered."""
        usage, source = self._usage, semconv.MEASURED
        if usage is None:
            usage, source = self._estimate(), semconv.ESTIMATED
        self._call.finish(outcome(fields(self._last), usage=usage, source=source, error=error))

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._call.disown()

    def _estimate(self) -> Usage:
        return estimate(
            request_characters=self._operation.request_characters(self._body),
            delivered_characters=self._characters if self._last is not None else None,
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
        self._unhook: Callable[[], object] = _nothing
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
        self._unhook: Callable[[], object] = _nothing
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


def _nothing() -> None:
    return


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
