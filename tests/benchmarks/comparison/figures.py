"""Takes the figures of the comparison: short blocks of all workers in turns, in an order that changes every round."""

from __future__ import annotations

import math
import os
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks.comparison.environments import BARE, OTEL_SDK, Contestant
from tests.benchmarks.comparison.workers import USUAL_VARIABLES, Held, Sink, Spent, Worker, sink, worker

KINDS: Final[Mapping[str, int]] = {"chat": 16, "stream": 4, "async": 16}
"""The calls in a block of each kind: short, so that what else the machine does falls on all alike."""
_DELIVERED_LIKE: Final = {"chat": "chat", "stream": "stream", "async": "chat"}
_LONG_RUN: Final = "chat"


class Sizes(NamedTuple):
    """How much is measured."""

    rounds: int
    """Blocks of each kind for each worker."""
    batches: int
    """Full batches whose delivery is measured, for each kind."""
    batch: int
    """Spans in a full batch."""
    starts: int
    """Fresh processes, with and without OTEL_* variables."""
    memory_calls: int
    """Calls before memory, threads and files are looked at again."""


def sizes(rounds: int) -> Sizes:
    """Return what goes with a number of rounds; a batch is full as OpenTelemetry's SDK and pennytrace have it."""
    return Sizes(
        rounds,
        batches=max(1, rounds // 100),
        batch=512,
        starts=max(3, rounds // 50),
        memory_calls=20_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Microseconds of CPU time that one call takes more: medians."""

    calls_us: float
    """In the thread that makes the call."""
    give_or_take_us: float
    """How far off the median of that may be, nineteen times in twenty: what says that a run was too noisy."""
    delivery_us: float
    """For writing the span down and sending it, in a full batch, by whichever thread."""
    times_the_floor: float
    """The sum of both over that of a hand-written span."""

    @property
    def us(self) -> float:
        """The sum."""
        return self.calls_us + self.delivery_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a process holds after many calls."""

    over_bare_mib: float
    """Resident memory more than the same calls leave without the peer."""
    growth_mib: float
    """The part of it that came during the calls."""
    threads: int
    """More than without the peer, after the calls."""
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """What the import and the start of a peer take in a fresh process that has loaded the SDK: medians."""

    wall_ms: float
    cpu_ms: float
    wall_with_variables_ms: float
    """The same with the usual OTEL_* variables set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All figures of one peer."""

    name: str
    version: str
    openai: str
    records_content: bool
    added: Mapping[str, Added]
    """By the kind of call."""
    holding: Holding
    starting: Starting


Say = Callable[[str], object]


def measure(contestants: Sequence[Contestant], size: Sizes, say: Say) -> list[Figures]:
    """Take all figures of all contestants; the hand-written span has to be among them.

    Raises:
        RuntimeError: A peer could not be started, or did not deliver one span for every call.
    """
    with sink() as collector:
        added = _added(contestants, collector, size, say)
        say("memory, threads and files")
        holding = _holding(contestants, collector, size)
        say("starts")
        starting = _starting(contestants, collector, size)
    return [
        Figures(
            name=contestant.peer.name,
            version=contestant.version,
            openai=contestant.environment.openai,
            records_content=contestant.peer.content,
            added=added[contestant.peer.name],
            holding=holding[contestant.peer.name],
            starting=starting[contestant.peer.name],
        )
        for contestant in contestants
    ]


def bare_name(contestant: Contestant) -> str:
    """Return what the worker is called that makes the same calls without the peer."""
    return f"{BARE}-{contestant.bare.openai}"


Taken = dict[str, list[float]]
"""Microseconds a call, in the order they were measured, by worker."""


def _added(
    contestants: Sequence[Contestant], collector: Sink, size: Sizes, say: Say
) -> dict[str, dict[str, Added]]:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker(python, peer, collector, name=name))
            for name, (python, peer) in _all(contestants).items()
        ]
        say("warming up")
        for kind, calls in KINDS.items():
            _take_turns(workers, collector, kind, calls=4 * calls, rounds=1)
        called, delivered = {}, {}
        for kind, calls in KINDS.items():
            say(f"{kind}: {size.rounds} rounds of {calls} calls")
            called[kind] = _take_turns(workers, collector, kind, calls=calls, rounds=size.rounds)[0]
        for kind in set(_DELIVERED_LIKE.values()):
            say(f"{kind}: {size.batches} full batches")
            delivered[kind] = _take_turns(workers, collector, kind, calls=size.batch, rounds=size.batches)[1]
    return _compared(contestants, called, delivered)


def _all(contestants: Sequence[Contestant]) -> dict[str, tuple[Path, str]]:
    """Return the python and the peer of every worker: the contestants, and once each what they stand against."""
    found = {
        contestant.peer.name: (contestant.environment.python, contestant.peer.name)
        for contestant in contestants
    }
    return found | {bare_name(contestant): (contestant.bare.python, BARE) for contestant in contestants}


def _take_turns(
    workers: Sequence[Worker], collector: Sink, kind: str, *, calls: int, rounds: int
) -> tuple[Taken, Taken]:
    """Return what the calls took and what their delivery took."""
    called: Taken = {worker.name: [] for worker in workers}
    delivered: Taken = {worker.name: [] for worker in workers}
    for _ in range(rounds):
        for one in random.sample(workers, len(workers)):
            spent = checked(one, collector, kind, calls)
            called[one.name].append(spent.calls_s / calls * 1e6)
            delivered[one.name].append((spent.meanwhile_s + spent.flush_s) / calls * 1e6)
    return called, delivered


def checked(one: Worker, collector: Sink, kind: str, calls: int) -> Spent:
    """Make calls, and see that not one of them was lost: what is dropped costs nothing."""
    spent = one.make(kind, calls)
    expected = 0 if one.name.startswith(BARE) else calls
    spans = collector.spans(one.name)
    if spans != expected:
        raise RuntimeError(f"{one.name} delivered {spans} spans of {calls} calls ({kind}), not {expected}")
    return spent


def _compared(
    contestants: Sequence[Contestant], called: Mapping[str, Taken], delivered: Mapping[str, Taken]
) -> dict[str, dict[str, Added]]:
    sums = {
        contestant.peer.name: {kind: _parts(contestant, kind, called, delivered) for kind in KINDS}
        for contestant in contestants
    }
    floor = sums[OTEL_SDK.name]
    return {
        name: {
            kind: Added(
                calls_us=round(part.calls, 1),
                give_or_take_us=round(part.give_or_take, 1),
                delivery_us=round(part.delivery, 1),
                times_the_floor=round(part.sum / floor[kind].sum, 2),
            )
            for kind, part in parts.items()
        }
        for name, parts in sums.items()
    }


class _Parts(NamedTuple):
    calls: float
    give_or_take: float
    delivery: float

    @property
    def sum(self) -> float:
        return self.calls + self.delivery


def _parts(
    contestant: Contestant, kind: str, called: Mapping[str, Taken], delivered: Mapping[str, Taken]
) -> _Parts:
    ours, bare = called[kind][contestant.peer.name], called[kind][bare_name(contestant)]
    more = sorted(one - other for one, other in zip(ours, bare, strict=True))
    # The median of n values lies, in 95 of 100 cases, within the square root of n places around the middle one.
    middle, places = len(more) // 2, round(math.sqrt(len(more)))
    low, high = more[max(0, middle - places)], more[min(len(more) - 1, middle + places)]
    return _Parts(
        calls=statistics.median(more),
        give_or_take=(high - low) / 2,
        delivery=statistics.median(delivered[_DELIVERED_LIKE[kind]][contestant.peer.name]),
    )


def _holding(contestants: Sequence[Contestant], collector: Sink, size: Sizes) -> dict[str, Holding]:
    workers = _all(contestants)

    def long_run(name: str) -> tuple[Held, Held]:
        python, peer = workers[name]
        with worker(python, peer, collector, name=name) as one:
            checked(one, collector, _LONG_RUN, size.batch)
            before = one.holds()
            for _ in range(-(-size.memory_calls // size.batch)):
                checked(one, collector, _LONG_RUN, size.batch)
            return before, one.holds()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        held = dict(zip(workers, pool.map(long_run, workers), strict=True))
    return {
        contestant.peer.name: _held_more(held[contestant.peer.name], held[bare_name(contestant)])
        for contestant in contestants
    }


def _held_more(ours: tuple[Held, Held], bare: tuple[Held, Held]) -> Holding:
    (before, after), (bare_before, bare_after) = ours, bare
    growth = after.bytes - before.bytes - (bare_after.bytes - bare_before.bytes)
    return Holding(
        over_bare_mib=round((after.bytes - bare_after.bytes) / 2**20, 1),
        growth_mib=round(growth / 2**20, 2),
        threads=after.threads - bare_after.threads,
        files=after.files - bare_after.files,
    )


def _starting(contestants: Sequence[Contestant], collector: Sink, size: Sizes) -> dict[str, Starting]:
    turns = [
        (contestant, variables) for contestant in contestants for variables in ({}, USUAL_VARIABLES)
    ] * size.starts
    random.shuffle(turns)
    plain: dict[str, list[tuple[float, float]]] = {contestant.peer.name: [] for contestant in contestants}
    with_variables: dict[str, list[float]] = {contestant.peer.name: [] for contestant in contestants}
    for contestant, variables in turns:
        name = contestant.peer.name
        with worker(contestant.environment.python, name, collector, variables=variables) as one:
            if variables:
                with_variables[name].append(one.start.wall_s)
            else:
                plain[name].append(one.start)
    return {
        name: Starting(
            wall_ms=_median_ms([wall for wall, _ in starts]),
            cpu_ms=_median_ms([cpu for _, cpu in starts]),
            wall_with_variables_ms=_median_ms(with_variables[name]),
        )
        for name, starts in plain.items()
    }


def _median_ms(seconds: Sequence[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)
