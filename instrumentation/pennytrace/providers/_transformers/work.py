"""One call that a model of this process answers: its devices' time, its tokens, and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._calls import active, device_time
from pennytrace._calls.asking import Question, ask
from pennytrace._calls.call import Call, Outcome, error_type
from pennytrace._calls.device_time import Timed
from pennytrace._calls.ending import end_with_the_process
from pennytrace._calls.provider import Provider
from pennytrace._capacity import devices, holding
from pennytrace._guard import never_break_the_host
from pennytrace.providers._transformers.models import Placed, placed

Count = Callable[[], Mapping[str, int]]
"""Counts tokens, by attribute name; called when the devices are done, so that nothing waits for them."""

_METHOD: Final = "RUN"
"""What stands in the place of HTTP's method in the names of operations."""

at_work: Final[ContextVar[Work | None]] = ContextVar("pennytrace.transformers.at_work", default=None)
"""The call that is being answered here; what runs inside of it is a part of it."""


class Begun(NamedTuple):
    """A call that has begun, and what it is charged with besides time."""

    call: Call
    model: Placed
    about: Mapping[str, str | int | None]
    """What is known of the devices, by attribute name."""


def begin(provider: Provider, operation: str, model: Any, *, stream: bool = False) -> Begun | None:
    """Begin a call; None where nobody records it, or another process of the same model does."""
    recorder = active.recorder
    if recorder is None:
        return None
    where = placed(model)
    held = [devices.of_torch(device) for device in where.devices]
    holding.hold(held)
    if not where.leads:
        return None
    asked = ask(provider, Question(_METHOD, operation, {}, "", 0, stream=stream, model=where.name))
    if asked is None:
        return None
    about = {
        semconv.GPU_POOL: recorder.gpu_pool,
        semconv.GPU_MODEL: held[0].model,
        semconv.GPU_COUNT: len(held) * where.ranks,
        semconv.GPU_SOURCE: semconv.FROM_PROCESS,
    }
    return Begun(asked.call, where, about)


def outcome(begun: Begun, usage: Mapping[str, int | float], how: Timed, error: str | None) -> Outcome:
    """Return how a call ended."""
    about = {
        **begun.about,
        semconv.GPU_METHOD: how.method,
        semconv.GPU_CONFIDENCE: how.confidence,
    }
    return Outcome(usage, semconv.MEASURED, model=begun.model.name, error=error, about=about)


class Work:
    """A call that is answered by one run of a model, from now until `end`."""

    __slots__ = ("__weakref__", "_begun", "_counts", "_ended", "_error", "_timing", "model")

    def __init__(self, begun: Begun, model: Any) -> None:
        self.model = model
        self._begun = begun
        self._counts: list[Count] = []
        self._error: str | None = None
        self._ended = False
        self._timing = device_time.begin(begun.model.devices)
        end_with_the_process(self)

    @property
    def call(self) -> Call:
        """The call that is being answered."""
        return self._begun.call

    def read(self) -> None:
        """Note that the model has read what it was given, and begins to write."""
        self._timing.note()

    def used(self, count: Count) -> None:
        """Let tokens be counted when the devices are done."""
        self._counts.append(count)

    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call; only the first time counts."""
        if not self._ended:
            self._ended = True
            self._error = error_type(error)
            self.call.over()
            self._timing.stop(self._finish)

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._ended = True
        self.call.disown()

    def _finish(self, how: Timed) -> None:
        usage = {**_counted(self._counts), **self._gpu_seconds(how)}
        self._counts.clear()
        end = outcome(self._begun, usage, how, self._error)
        self.call.finish(lambda: (end,))

    def _gpu_seconds(self, how: Timed) -> Mapping[str, float]:
        ranks = self._begun.model.ranks
        seconds = {semconv.GPU_SECONDS: how.seconds * ranks}
        if how.first is not None:
            seconds[semconv.GPU_PREFILL_SECONDS] = how.first * ranks
            seconds[semconv.GPU_DECODE_SECONDS] = (how.seconds - how.first) * ranks
        return seconds


def _counted(counts: list[Count]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for name, tokens in (_count(count) or {}).items():
            total[name] = total.get(name, 0) + tokens
    return total


@never_break_the_host("counting the tokens of a model in this process")
def _count(count: Count) -> Mapping[str, int]:
    return count()


@never_break_the_host("beginning a call of a model in this process")
def begin_work(provider: Provider, operation: str, model: Any, *, stream: bool = False) -> Work | None:
    """Begin a call that one run of `model` answers; None where nobody records it."""
    begun = begin(provider, operation, model, stream=stream)
    return None if begun is None else Work(begun, model)


@never_break_the_host("ending a call of a model in this process")
def end_work(work: Work, error: BaseException | None = None) -> None:
    """End a call, with the exception that the app is about to see if there is one."""
    work.end(error)
