"""One device that this process holds: what has been reported of it, and what has not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pennytrace._capacity.device import Device
from pennytrace._capacity.timeline import Interval, Moment, Timeline
from pennytrace._guard import never_break_the_host

Readings = Callable[[], Mapping[str, float]]
"""What has come together so far, by the name of its metric."""


class Since(NamedTuple):
    """What is new about a device since the last time that was asked."""

    device: Device
    interval: Interval
    """In which the device was held."""
    more: Mapping[str, float]
    """By how much the readings have grown, by the name of their metric."""


class Held:
    """A device, from the moment on since when it is held."""

    __slots__ = ("_readings", "_timeline", "device")

    def __init__(self, device: Device, start: Moment) -> None:
        self.device = device
        self._timeline = Timeline(start)
        self._readings: list[_Reported] = []

    def follow(self, readings: Readings) -> None:
        """Report the growth of these readings too; the same ones once."""
        if all(one.readings != readings for one in self._readings):
            self._readings.append(_Reported(readings))

    def until(self, moment: Moment) -> Since:
        """Return what is new, and take it as reported."""
        more: dict[str, float] = {}
        for one in list(self._readings):
            for name, value in (one.growth() or {}).items():
                more[name] = more.get(name, 0.0) + value
        return Since(self.device, self._timeline.until(moment), more)


class _Reported:
    """Readings, and what was reported of them."""

    __slots__ = ("_before", "readings")

    def __init__(self, readings: Readings) -> None:
        self.readings = readings
        self._before: Mapping[str, float] = {}

    @never_break_the_host("reading what an engine has done")
    def growth(self) -> Mapping[str, float]:
        before, self._before = self._before, dict(self.readings())
        return {name: value - before.get(name, 0.0) for name, value in self._before.items()}
