"""Intervals: as long as the time that passed, without gaps, whatever is done to the clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennytrace._capacity import timeline as _timeline
from pennytrace._capacity.timeline import Interval, Moment, Timeline

SECOND = 1_000_000_000
START = Moment(1_800_000_000 * SECOND, 5_000 * SECOND)

passing = st.integers(0, 86_400 * SECOND)
set_by = st.integers(-86_400 * SECOND, 86_400 * SECOND)


def intervals(passed: list[int], set_by: list[int]) -> list[Interval]:
    """Return the intervals up to each moment, when the clock was set by so much before it."""
    timeline = Timeline(START)
    moments = zip(accumulate(passed), accumulate(set_by), strict=True)
    return [
        timeline.until(Moment(START.wall + ticks + ahead, START.ticks + ticks)) for ticks, ahead in moments
    ]


@given(st.lists(passing))
def test_each_begins_where_the_last_one_ended(passed: list[int]) -> None:
    found = intervals(passed, [0] * len(passed))
    assert [one.start_ns for one in found] == [START.wall, *(one.end_ns for one in found)][: len(found)]
    assert sum(one.end_ns - one.start_ns for one in found) == sum(passed)


@given(st.lists(st.tuples(passing, set_by)))
def test_a_clock_that_is_set_makes_none_longer_shorter_or_negative(steps: list[tuple[int, int]]) -> None:
    passed, ahead = [step[0] for step in steps], [step[1] for step in steps]
    found = intervals(passed, ahead)
    assert [one.end_ns - one.start_ns for one in found] == passed
    for one, ticks, by in zip(found, accumulate(passed), accumulate(ahead), strict=True):
        assert abs(one.end_ns - (START.wall + ticks + by)) <= SECOND, "it is where the clock says, or nearly"


@given(st.lists(st.tuples(passing, st.integers(0, 1000)), max_size=10))
def test_small_corrections_of_the_clock_leave_no_gap(steps: list[tuple[int, int]]) -> None:
    found = intervals([step[0] for step in steps], [step[1] for step in steps])
    assert all(before.end_ns == after.start_ns for before, after in pairwise(found))


def test_the_start_of_a_process_is_that_of_the_process_not_of_the_import() -> None:
    code = (
        "import time; time.sleep(0.3); began = time.time_ns()\n"
        "from pennytrace._capacity.timeline import process_start; print(began - process_start().wall)"
    )
    before = time.time_ns()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.29 * SECOND < int(ran.stdout) < time.time_ns() - before


def test_where_the_system_does_not_say_it_is_that_of_the_import() -> None:
    code = (
        "import builtins, time\n"
        "def refuse(*args, **kwargs): raise FileNotFoundError\n"
        "from pennytrace._capacity import timeline; builtins.open = refuse\n"
        "time.sleep(0.05); print((timeline.now().wall - timeline.process_start().wall) / 1e9)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.05 <= float(ran.stdout) < 10


def test_a_process_that_was_stopped_and_goes_on_has_held_what_it_held() -> None:
    code = (
        "from pennytrace._capacity.timeline import Timeline, now\n"
        "timeline = Timeline(now()); print('ready', flush=True); input()\n"
        "print(timeline.until(now()).seconds)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert float(process.stdout.readline()) >= 0.3


def test_a_moment_is_looked_at_again_when_the_process_stood_still_between_the_clocks() -> None:
    ticks = iter([0, 7 * SECOND, 7 * SECOND, 7 * SECOND + 10])
    walls = iter([100, 200])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_timeline, "_ticks", lambda: next(ticks))
        patch.setattr("time.time_ns", lambda: next(walls))
        assert _timeline.now() == Moment(200, 7 * SECOND + 10)
