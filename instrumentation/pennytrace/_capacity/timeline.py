"""When a device was held: intervals that follow each other, measured by a clock that nobody sets."""

from __future__ import annotations

import os
import time
from typing import Final, NamedTuple

_NANOSECOND: Final = 1_000_000_000  # of them in a second
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that goes on while the machine sleeps: Linux has one of its own for that, on macOS it is the other."""
_SET: Final = _NANOSECOND
"""Nanoseconds that the time of day may be away from where it should be; beyond that, somebody has set the clock."""
_AT_ONCE: Final = 1_000_000  # nanoseconds between two looks at the clock that nothing has come between
_LOOKS: Final = 5


class Moment(NamedTuple):
    """A moment, on both clocks."""

    wall: int
    """The time of day: nanoseconds since 1970, UTC."""
    ticks: int
    """Nanoseconds on the clock that nobody sets."""


class Interval(NamedTuple):
    """A time that has passed."""

    start_ns: int
    """Nanoseconds since 1970, UTC."""
    end_ns: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / _NANOSECOND


class Timeline:
    """Intervals from `start` on, each as long as it was, and each beginning where the last one ended.

    When the clock is set they move to the new time of day, with a gap or an overlap there, but as long as they were.
    """

    __slots__ = ("_last",)

    def __init__(self, start: Moment) -> None:
        self._last = start

    def until(self, moment: Moment) -> Interval:
        """Return the interval from the last one to `moment`."""
        length = max(0, moment.ticks - self._last.ticks)
        end = self._last.wall + length
        if abs(moment.wall - end) > _SET:
            end = moment.wall
        self._last = Moment(end, moment.ticks)
        return Interval(end - length, end)


def now() -> Moment:
    """Return this moment."""
    for _ in range(_LOOKS):
        before, wall, ticks = _ticks(), time.time_ns(), _ticks()
        if ticks - before < _AT_ONCE:
            break  # else the process stood still in between, and the two clocks would not fit each other
    return Moment(wall, ticks)


def process_start() -> Moment:
    """Return when this process began; where the system does not say, when pennytrace was imported."""
    moment = now()
    age = _age(moment.ticks)
    return _imported if age is None else Moment(moment.wall - age, moment.ticks - age)


def _ticks() -> int:
    return time.clock_gettime_ns(_CLOCK)


def _age(ticks: int) -> int | None:
    """Return for how many nanoseconds this process has existed (proc_pid_stat(5): field 22, since the boot)."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            started = int(file.read().rpartition(")")[2].split()[19])
        age = ticks - started * _NANOSECOND // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return age if 0 <= age <= ticks else None


_imported: Final = now()
