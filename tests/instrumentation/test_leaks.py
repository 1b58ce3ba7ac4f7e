"""A process that makes many calls holds no more after them than after the first, and has lost none of them."""

from __future__ import annotations

import json
import sys

import pytest

from tests.benchmarks import leaks
from tests.benchmarks.leaks import Held
from tests.instrumentation import processes

_PROGRAM = processes.ROOT / "tests" / "benchmarks" / "leaks.py"
_FLAT = [
    Held(calls=n, delivered=n, memory_blocks=5000, objects=900, resident_bytes=2**26, threads=3, files=9)
    for n in (1, 2, 3, 4, 5)
]


def test_calls_of_every_kind_leave_nothing_behind_though_the_collector_comes_and_goes() -> None:
    # In a process of its own: what other tests left would blur the count. The full run is 100,000 calls.
    ended = processes.run([sys.executable, _PROGRAM, "--calls", "2000", "--laps", "5"], seconds=300)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    last = json.loads(ended.stdout.splitlines()[-1])
    assert last["calls"] == last["delivered"] == 2000


@pytest.mark.parametrize("what", ["memory_blocks", "objects", "resident_bytes", "threads", "files"])
def test_what_rises_with_every_lap_is_told(what: str) -> None:
    rising = [_with(lap, what, getattr(lap, what) * lap.calls) for lap in _FLAT]
    assert [found.split()[0] for found in leaks.leaks(rising)] == [what]


def test_a_call_that_did_not_arrive_is_told() -> None:
    assert leaks.leaks(_FLAT) == []
    assert leaks.leaks([*_FLAT[:-1], _with(_FLAT[-1], "delivered", 4)]) == ["1 calls were not delivered"]


def _with(lap: Held, what: str, value: int) -> Held:
    fields = {name: getattr(lap, name) for name in Held.__dataclass_fields__}
    return Held(**{**fields, what: value})
