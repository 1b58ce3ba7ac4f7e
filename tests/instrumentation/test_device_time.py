"""The time of devices: shared by what works at once, told when the device is done, and by nobody waited for."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennytrace import semconv
from pennytrace._calls import device_time
from pennytrace._calls.device_time import Line, Timed, Timing
from tests.instrumentation.processes import python


class Device:
    """One that works on what it is given, in order, when it is told to; its clock counts in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.marks: list[Mark] = []

    def clock(self, stream: Any) -> Mark:
        mark = Mark(self)
        self.marks.append(mark)
        return mark

    def works(self, seconds: float) -> None:
        """Come to all marks that are there, and then work."""
        for mark in self.marks:
            mark.at = self.now if mark.at is None else mark.at
        self.now += seconds


class Mark:
    def __init__(self, device: Device) -> None:
        self.device = device
        self.at: float | None = None

    def reached(self) -> bool:
        return self.at is not None

    def since(self, earlier: Mark) -> float:
        assert self.at is not None
        assert earlier.at is not None
        return self.at - earlier.at


def line(device: Device) -> Line:
    return Line(device.clock, semconv.BY_EVENTS)


@pytest.fixture
def told() -> list[Timed]:
    return []


def test_work_has_the_time_between_its_marks(told: list[Timed]) -> None:
    device = Device()
    timing = Timing([line(device)])
    device.works(2)
    timing.note()
    device.works(3)
    timing.stop(told.append)
    device.works(0)
    assert device_time.wait(10)
    assert told == [Timed(5.0, 2.0, "events", "high")]


def test_nobody_waits_for_the_device(told: list[Timed]) -> None:
    device = Device()
    timing = Timing([line(device)])
    device.works(1)
    timing.stop(told.append)
    assert not device_time.wait(0.05)
    assert told == []
    device.works(0)
    assert device_time.wait(10)
    assert [timed.seconds for timed in told] == [1.0]


def test_what_is_done_when_it_is_stopped_is_told_at_once(told: list[Timed]) -> None:
    device = Device()
    timing = Timing([line(device)])
    device.works(1)
    stopped = device.clock

    def done(stream: Any) -> Mark:
        mark = stopped(stream)
        device.works(0)
        return mark

    timing._lines[0]._clock = done
    timing.stop(told.append)
    assert [timed.seconds for timed in told] == [1.0]


def test_work_at_the_same_time_shares_the_device(told: list[Timed]) -> None:
    device = Device()
    shared = line(device)
    long = Timing([shared])
    device.works(1)
    short = Timing([shared])
    device.works(4)
    short.stop(told.append)
    device.works(1)
    long.stop(told.append)
    device.works(0)
    assert device_time.wait(10)
    assert sorted(told) == [Timed(2.0, None, "events", "medium"), Timed(4.0, None, "events", "medium")]


def test_work_has_the_time_of_each_of_its_devices(told: list[Timed]) -> None:
    one, other = Device(), Device()
    timing = Timing([line(one), line(other)])
    one.works(2)
    other.works(3)
    timing.stop(told.append)
    one.works(0)
    other.works(0)
    assert device_time.wait(10)
    assert [timed.seconds for timed in told] == [5.0]


def test_the_times_of_one_after_the_other_are_high_in_confidence(told: list[Timed]) -> None:
    device = Device()
    shared = line(device)
    for _ in range(2):
        timing = Timing([shared])
        device.works(1)
        timing.stop(told.append)
        device.works(0)
        assert device_time.wait(10)
        device.works(7)  # idle: nobody's
    assert told == [Timed(1.0, None, "events", "high")] * 2


# Each step: whose work begins or ends (a number), and how long the device works after it.
steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=30)


@given(steps, st.booleans())
def test_all_work_together_has_the_time_in_which_there_was_some(
    script: list[tuple[int, int]], looks: bool
) -> None:
    device, begun, busy = Device(), 0, 0
    shared, told = line(device), list[Timed]()
    running: dict[int, Timing] = {}
    for whose, seconds in script:
        if whose in running:
            running.pop(whose).stop(told.append)
        else:
            begun += 1
            running[whose] = Timing([shared])
        device.works(seconds)
        busy += seconds if running else 0
        if looks:
            shared.advance()
    for timing in running.values():
        timing.stop(told.append)
    device.works(0)
    shared.advance()
    assert device_time.wait(10)
    assert len(told) == begun
    assert sum(timed.seconds for timed in told) == pytest.approx(busy, abs=1e-9)


def test_a_device_that_fails_leaves_the_time_of_the_wall(
    told: list[Timed], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Mark):
        def reached(self) -> bool:
            if threading.current_thread() is threading.main_thread():
                return False
            raise RuntimeError("a device that has failed")

    broken = Line(lambda stream: Broken(Device()), semconv.BY_EVENTS)
    began = time.perf_counter()
    timing = Timing([broken])
    timing.stop(told.append)
    assert device_time.wait(10)
    (timed,) = told
    assert (timed.method, timed.confidence) == ("wall", "low")
    assert 0 < timed.seconds < time.perf_counter() - began
    assert "asking a device whether it is done" in caplog.text


AT_THE_END = """
import sys, time
from pennytrace._calls import device_time
class Never:
    def __init__(self, stream): pass
    def reached(self): return False
device_time._AT_THE_END = 0.05
timing = device_time.Timing([device_time.Line(Never, "events")])
timing.stop(lambda timed: sys.stdout.write(f"{timed.method} {timed.confidence} {timed.seconds > 0}"))
"""


def test_the_end_of_the_process_waits_a_little_and_takes_the_time_of_the_wall() -> None:
    done = python(AT_THE_END)
    assert (done.stdout, done.stderr) == ("wall low True", "")


IN_A_FORK = """
import os, sys
from pennytrace._calls import device_time
class Never:
    def __init__(self, stream): pass
    def reached(self): return False
device_time._AT_THE_END = 0.05
timing = device_time.Timing([device_time.Line(Never, "events")])
timing.stop(lambda timed: print("told by", "child" if child else "parent", flush=True))
child = False
if os.fork() == 0:
    child = True
    sys.exit()
os.wait()
"""


def test_a_fork_leaves_the_work_to_the_process_that_began_it() -> None:
    done = python(IN_A_FORK)
    assert (done.stdout, done.stderr) == ("told by parent\n", "")


class FakeTorch:
    """As much of torch as events need: a device whose clock counts milliseconds."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.streams: list[object] = []
        self.accelerator = SimpleNamespace(current_stream=lambda device: f"the current one of {device}")

    def Event(self, *, device: object, enable_timing: bool) -> SimpleNamespace:
        assert enable_timing
        event = SimpleNamespace(at=None, query=lambda: True)

        def record(stream: object) -> None:
            self.streams.append(stream)
            event.at = self.now_ms

        event.record = record
        event.elapsed_time = lambda later: later.at - event.at
        return event


class FakeDevice(SimpleNamespace):
    def __str__(self) -> str:
        return f"{self.type}:{self.index}"


def test_events_are_put_on_the_current_stream_of_their_device(
    told: list[Timed], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(device_time, "_lines", {})
    timing = device_time.begin([FakeDevice(type="cuda", index=1)])
    torch.now_ms += 2500
    timing.stop(told.append)
    assert told == [Timed(2.5, None, "events", "high")]
    assert set(torch.streams) == {"the current one of cuda:1"}


def test_a_device_without_events_has_the_time_of_the_wall(
    told: list[Timed], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    monkeypatch.setattr(device_time, "_lines", {})
    device_time.begin([FakeDevice(type="tpu", index=0)]).stop(told.append)
    ((seconds, first, method, confidence),) = told
    assert seconds > 0
    assert (first, method, confidence) == (None, "wall", "low")
    assert "whether a device has events" in caplog.text
