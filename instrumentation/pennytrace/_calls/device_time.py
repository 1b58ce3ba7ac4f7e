"""How long work takes on a device: by events on the device's own clock, or by the wall's where it has none.

Nobody waits for the device: an event is asked whether it has been reached, at once and later by a thread of ours.

What works on a device at the same time shares it: each second goes in equal parts to those that are at work in it. So
the times of all work together are the time in which the device was worked on, and never more.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from pennytrace import semconv
from pennytrace._calls.ending import end_with_the_process
from pennytrace._guard import never_break_the_host

_AT_THE_END: Final = 1.0  # seconds that the end of the process waits for work that a device has not finished
_SHORTEST: Final = 0.001  # seconds between two looks at what is not finished
_LONGEST: Final = 0.05
_MILLISECONDS: Final = 1000


class Mark(Protocol):
    """A moment on a device's clock, which the device may not have come to yet."""

    def reached(self) -> bool:
        """Tell whether the device has come to it, without waiting."""
        ...

    def since(self, earlier: Any) -> float:
        """Return the seconds from another mark of the same clock; both have been reached."""
        ...


Clock = Callable[[Any], Mark]
"""Makes a mark for now, on a stream of the device; None is the current one."""


class Timed(NamedTuple):
    """What is known of some work when it is over."""

    seconds: float
    """Seconds of one device, over all devices that worked."""
    first: float | None
    """The part of them up to the moment that was noted; None when none was."""
    method: str
    confidence: str
    """`high` when nothing else of this process worked there, `medium` when it was shared, `low` when it is guessed."""


class _Moment:
    __slots__ = ("change", "crowded", "lent", "mark")

    def __init__(self, mark: Mark, change: int) -> None:
        self.mark = mark
        self.change = change
        self.lent: float | None = None
        self.crowded = 0.0


class Line:
    """The time line of one device: what is at work on it, and what each of that has had of it so far."""

    def __init__(self, clock: Clock, method: str, alone: str = semconv.HIGH) -> None:
        self.method = method
        self.alone = alone
        """The confidence in the time of work that had the device for itself."""
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[_Moment] = []
        self._working = 0
        self._lent = 0.0  # seconds that work has had which has been there all the time
        self._crowded = -1.0  # how much that was when it last was lent to several at once
        self._last: Mark | None = None

    def mark(self, change: int, stream: Any = None) -> _Moment:
        """Mark this moment, at which so much more is at work."""
        with self._lock:
            moment = _Moment(self._clock(stream), change)
            self._waiting.append(moment)
        return moment

    def advance(self) -> None:
        """Settle what the device has come to by now."""
        with self._lock:
            # The newest is asked first: what is before it on its stream is then found to be reached too.
            reached = [moment for moment in reversed(self._waiting) if moment.mark.reached()]
            if reached:
                reached.reverse()
                first = reached[0].mark
                for moment in sorted(reached, key=lambda moment: moment.mark.since(first)):
                    self._pass(moment)
                self._waiting = [moment for moment in self._waiting if moment.lent is None]

    def _pass(self, moment: _Moment) -> None:
        if self._working and self._last is not None:
            self._lent += max(0.0, moment.mark.since(self._last)) / self._working
            if self._working > 1:
                self._crowded = self._lent
        self._working += moment.change
        self._last = moment.mark
        moment.lent, moment.crowded = self._lent, self._crowded


Then = Callable[[Timed], None]


class Timing:
    """The time of one piece of work on its devices, from now until `stop`."""

    def __init__(self, lines: Sequence[Line], stream: Any = None) -> None:
        self._lines = lines
        self._stream = stream
        self._noted: list[_Moment] = []
        self._ends: list[_Moment] = []
        self._then: Then | None = None
        self._telling = threading.Lock()
        self._began = time.perf_counter()
        self._wall = 0.0
        self._starts = [line.mark(1, stream) for line in lines]

    def note(self) -> None:
        """Note the moment at which the first part of the work is done; only the first time counts."""
        if not self._noted:
            self._noted = [line.mark(0, self._stream) for line in self._lines]

    def stop(self, then: Then) -> None:
        """Note the end of the work; `then` is called once with its time, now or later in another thread."""
        self._wall = time.perf_counter() - self._began
        self._then = then
        if not _mark_the_end(self):
            self.give_up()
        elif not self.look():
            end_with_the_process(self)
            _poller.watch(self)

    def mark_the_end(self) -> None:
        """Mark the end of the work on its devices."""
        self._ends = [line.mark(-1, self._stream) for line in self._lines]

    def look(self) -> bool:
        """Tell what is known to whom it concerns, if the devices have come to the end of the work."""
        for line in self._lines:
            line.advance()
        if any(end.lent is None for end in self._ends):
            return False
        self._tell(self._timed())
        return True

    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """Wait a little for the devices, then take the time of the wall: the process ends."""
        until = time.monotonic() + _AT_THE_END
        while not _look(self):
            if time.monotonic() > until:
                self.give_up()
                return
            time.sleep(_SHORTEST)

    def disown(self) -> None:
        """Leave the work to the process that began it."""
        self._telling.acquire(blocking=False)

    def give_up(self) -> None:
        """Take the time of the wall: the devices tell no other."""
        self._tell(Timed(self._wall * len(self._lines), None, semconv.BY_WALL, semconv.LOW))

    def _timed(self) -> Timed:
        pairs = list(zip(self._starts, self._ends, strict=True))
        alone = all(end.crowded <= _had(start) for start, end in pairs)
        noted = sum(map(_between, self._starts, self._noted)) if self._noted else None
        return Timed(
            sum(_between(start, end) for start, end in pairs),
            noted,
            self._lines[0].method,
            self._lines[0].alone if alone else semconv.MEDIUM,
        )

    def _tell(self, timed: Timed) -> None:
        if self._then is not None and self._telling.acquire(blocking=False):
            self._then(timed)


def _had(moment: _Moment) -> float:
    return moment.lent or 0.0


def _between(earlier: _Moment, later: _Moment) -> float:
    return _had(later) - _had(earlier)


@never_break_the_host("marking the end of work on a device")
def _mark_the_end(timing: Timing) -> bool:
    timing.mark_the_end()
    return True


@never_break_the_host("asking a device whether it is done")
def _look(timing: Timing) -> bool:
    return timing.look()


class _Poller:
    """Looks, in a thread of its own, at the work that devices have not come to the end of."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: list[Timing] = []
        self._running = False

    def watch(self, timing: Timing) -> None:
        with self._changed:
            self._pending.append(timing)
            if not self._running:
                threading.Thread(target=self._run, name="pennytrace-devices", daemon=True).start()
                self._running = True
            self._changed.notify()

    def _run(self) -> None:
        pause = _SHORTEST
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending)
                pending = list(self._pending)
            time.sleep(pause)
            done = [timing for timing in pending if self._is_done(timing)]
            pause = _SHORTEST if done else min(2 * pause, _LONGEST)
            with self._changed:
                self._pending = [timing for timing in self._pending if timing not in done]
                self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is pending; False when that takes longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout)

    @staticmethod
    def _is_done(timing: Timing) -> bool:
        done = _look(timing)
        if done is None:
            timing.give_up()
        return done is not False


_poller = _Poller()
_lines: dict[str, Line] = {}


def begin(devices: Sequence[Any], stream: Any = None) -> Timing:
    """Begin to time work on devices of torch, and on a stream other than the current one if there is one."""
    return Timing([_line(device) for device in devices], stream)


def wait(timeout: float) -> bool:
    """Wait until all work that was stopped has been timed; False when that takes longer than `timeout` seconds."""
    return _poller.wait(timeout)


def _line(device: Any) -> Line:
    name = str(device)
    return _lines.get(name) or _lines.setdefault(name, _new_line(device))


def _new_line(device: Any) -> Line:
    if device.type == "cpu":
        return Line(_Instant, semconv.BY_WALL)
    clock = functools.partial(_Event, device)
    return Line(clock, semconv.BY_EVENTS) if _works(clock) else Line(_Instant, semconv.BY_WALL, semconv.LOW)


@never_break_the_host("finding out whether a device has events")
def _works(clock: Clock) -> bool:
    return isinstance(clock(None).reached(), bool)


class _Instant:
    """A moment on the wall's clock."""

    __slots__ = ("_ns",)

    def __init__(self, stream: Any = None) -> None:
        self._ns = time.perf_counter_ns()

    def reached(self) -> bool:
        return True

    def since(self, earlier: _Instant) -> float:
        return (self._ns - earlier._ns) / 1e9


class _Event:
    """A moment on a stream of a device: it is reached when all work is done that was there before it."""

    __slots__ = ("_event",)

    def __init__(self, device: Any, stream: Any = None) -> None:
        torch = sys.modules["torch"]
        self._event = torch.Event(device=device, enable_timing=True)
        # Of that device: the current stream of a thread is that of its current device, which may be another.
        if stream is None or stream.device != device:
            stream = torch.accelerator.current_stream(device)
        self._event.record(stream)

    def reached(self) -> bool:
        done: bool = self._event.query()
        return done

    def since(self, earlier: _Event) -> float:
        elapsed: float = earlier._event.elapsed_time(self._event)
        return elapsed / _MILLISECONDS


def _start_afresh() -> None:
    global _poller
    _poller = _Poller()  # its thread is the parent's
    _lines.clear()


os.register_at_fork(after_in_child=_start_afresh)
