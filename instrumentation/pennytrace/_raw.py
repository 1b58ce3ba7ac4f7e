"""Reads usage from a response that the app takes as bytes: its body is read along, never ahead."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, Final, Protocol

from . import semconv
from ._call import Call, Outcome, outcome
from ._guard import never_break_the_host
from ._provider import Operation
from ._stream import Ending, Meter, end_with_the_process
from ._usage import fields

_MOST_JSON: Final = (
    1 << 20
)  # bytes; beyond it (embeddings) only the end of the body is read, where usage stands
_END_OF_BODY: Final = 1 << 14  # bytes
_END_OF_EVENT: Final = re.compile(rb"\r?\n\r?\n|\r\r")


class Follower(Ending, Protocol):
    """Sees a body as it passes."""

    def feed(self, data: bytes) -> bytes | None:
        """Note `data`; return what of it (and of what was held back) the app gets."""
        ...

    def rest(self) -> bytes | None:
        """Return what was held back when the body ended."""
        ...


class JsonBody:
    """A body that is one JSON document."""

    def __init__(self, call: Call, operation: Operation) -> None:
        self._call = call
        self._operation = operation
        self._parts: list[bytes] = []
        end_with_the_process(self)

    @never_break_the_host("reading a body along")
    def feed(self, data: bytes) -> bytes:
        """Note `data` and pass it on."""
        self._parts.append(data)
        return data

    def rest(self) -> bytes | None:
        """Nothing is held back."""
        return None

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._call.disown()

    @never_break_the_host("reading usage from a body")
    def finish(self, error: BaseException | None = None) -> None:
        """End the call with the usage of the body, if all of it was read."""
        body = b"".join(self._parts)
        self._parts.clear()
        outcome = outcome_of(self._operation, _parsed(body) if body else None, error=error)
        self._call.finish(outcome)


class EventStream:
    """A body of server-sent events, from which the event that only we asked for is taken out."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._held = b""

    @never_break_the_host("reading server-sent events along")
    def feed(self, data: bytes) -> bytes:
        """Note the events that `data` completes; without anything to take out, `data` passes as it came."""
        *events, self._held = _split_events(self._held + data)
        kept = [event for event in events if not self._is_ours(event)]
        return b"".join(kept) if self._meter.hides else data

    def rest(self) -> bytes | None:
        """Return an event that the body did not end."""
        return self._held if self._meter.hides else None

    def finish(self, error: BaseException | None = None) -> None:
        """End the call."""
        self._meter.finish(error)

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._meter.disown()

    def _is_ours(self, event: bytes) -> bool:
        lines = (line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
        data = b"".join(lines)
        if not data.startswith(b"{"):  # `[DONE]`, or a comment that keeps the connection alive
            return False
        return bool(self._meter.take(json.loads(data, object_hook=_as_object)))


def outcome_of(operation: Operation, response: Any, *, error: BaseException | None = None) -> Outcome:
    """Return what a whole response says about the call; `missing` when it says nothing of usage."""
    held = fields(response)
    usage = operation.usage(held)
    if usage is None:
        return outcome(held, usage={}, source=semconv.MISSING, error=error)
    return outcome(held, usage=usage, source=semconv.MEASURED, error=error)


def follow(response: Any, follower: Follower) -> None:
    """Let `follower` see the body of an HTTP response while the app reads it, in whatever way it does."""
    if response.is_closed:
        follower.feed(response.content)
        follower.finish()
    else:
        _Following(response, follower).begin()


class _Following:
    """Stands in front of the four methods of a response through which every reading of its body goes."""

    _METHODS = ("iter_bytes", "aiter_bytes", "close", "aclose")

    def __init__(self, response: Any, follower: Follower) -> None:
        self._own = vars(response)
        self._original = {name: getattr(response, name) for name in self._METHODS}
        self._follower = follower
        self._reading = False

    def begin(self) -> None:
        self._own.update({name: getattr(self, name) for name in self._METHODS})

    def end(self, error: BaseException | None = None) -> None:
        for name in self._METHODS:
            self._own.pop(name, None)
        self._follower.finish(error)

    def close(self) -> Any:
        return self._close("close")

    def aclose(self) -> Any:
        return self._close("aclose")

    def _close(self, method: str) -> Any:
        if not self._reading:  # a body that is read to its end closes itself, before its last bytes are out
            self.end()
        return self._original[method]()

    def iter_bytes(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        inner = self._original["iter_bytes"](*args, **kwargs)
        try:
            while (data := self._next(inner)) is not None:
                yield from self._passed(data)
            yield from self._passed_last()
        except GeneratorExit:
            raise
        except BaseException as error:
            self.end(error)
            raise
        finally:
            self.end()

    async def aiter_bytes(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        inner = self._original["aiter_bytes"](*args, **kwargs)
        try:
            while (data := await self._anext(inner)) is not None:
                for passed in self._passed(data):
                    yield passed
            for passed in self._passed_last():
                yield passed
        except GeneratorExit:
            raise
        except BaseException as error:
            self.end(error)
            raise
        finally:
            self.end()

    def _next(self, inner: Iterator[bytes]) -> bytes | None:
        self._reading = True
        try:
            return next(inner, None)
        finally:
            self._reading = False

    async def _anext(self, inner: AsyncIterator[bytes]) -> bytes | None:
        self._reading = True
        try:
            return await anext(inner, None)
        finally:
            self._reading = False

    def _passed(self, data: bytes) -> tuple[bytes, ...]:
        passed = self._follower.feed(data)
        if passed is None:  # the reading along failed: the app gets what came
            return (data,)
        return (passed,) if passed else ()

    def _passed_last(self) -> tuple[bytes, ...]:
        rest = self._follower.rest()
        return (rest,) if rest else ()


def _split_events(data: bytes) -> list[bytes]:
    """Return the complete events in `data`, separators included, and the incomplete last one."""
    events, begin = [], 0
    for separator in _END_OF_EVENT.finditer(data):
        events.append(data[begin : separator.end()])
        begin = separator.end()
    return [*events, data[begin:]]


def _parsed(body: bytes) -> Any:
    try:
        if len(body) <= _MOST_JSON:
            return json.loads(body, object_hook=_as_object)
        return _parsed_end(body[-_END_OF_BODY:].decode("utf-8", "replace"))
    except ValueError:  # not JSON: nothing is known of this call's usage
        return None


def _parsed_end(body: str) -> Any:
    _, _, after = body.rpartition('"usage"')
    usage, _ = json.JSONDecoder(object_hook=_as_object).raw_decode(after.lstrip(" :\r\n\t"))
    return SimpleNamespace(usage=usage)


def _as_object(pairs: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**pairs)
