"""An engine's books: every GPU-second of a step is charged once, to whoever was in it, in its hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennytrace._calls.cost import Cost
from pennytrace.engines.steps import Account, Part, Steps

HOUR = 3600.0
NOON = 1_800_000_000.0 // HOUR * HOUR
"""A full hour, in seconds since 1970."""


@dataclass
class Books:
    """An engine whose clocks the test moves."""

    gpus: int = 1
    prompt: int = 10
    cost: Cost = field(default_factory=lambda: Cost(token=1.0))
    wall_of_start: float = NOON + 60
    now: float = 1000.0
    reported: list[tuple[str, Part, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.accounts: dict[str, Account] = {}
        self.started = self.now
        self.steps = Steps(
            gpus=self.gpus,
            cost=self.cost,
            opened=self._opened,
            report=lambda account, part: self.reported.append((account.request, part, account.over)),
            now=self.now,
            wall=self.wall,
        )

    @property
    def wall(self) -> float:
        return self.wall_of_start + self.now - self.started

    def _opened(self, id: str) -> Account:
        account = Account(id, prompt=self.prompt, arrived=self.arrived.get(id, self.wall))
        self.accounts[id] = account
        return account

    def issue(
        self, output: object, tokens: dict[str, int], before: dict[str, int] | None = None, drafts: int = 0
    ) -> None:
        ids = list(tokens)
        self.steps.issued(
            output,
            ids=ids,
            scheduled=list(tokens.values()),
            before=[(before or {}).get(id, 0) for id in ids],
            drafted=lambda _: drafts,
            now=self.now,
        )

    def done(self, output: object) -> None:
        self.steps.done(output, now=self.now, wall=self.wall)

    def end(self, *ids: str) -> None:
        for id in ids:
            self.steps.end(id, wall=self.wall)

    def step(self, seconds: float, tokens: dict[str, int], before: dict[str, int] | None = None) -> None:
        """One step that nothing else is under way with."""
        output = object()
        self.issue(output, tokens, before)
        self.now += seconds
        self.done(output)

    def used(self, id: str) -> float:
        return sum(part.prefill + part.decode for known, part, _ in self.reported if known == id)


def test_a_step_is_shared_by_weight_and_times_the_gpus() -> None:
    books = Books(gpus=4)
    books.step(2.0, {"a": 30, "b": 10})
    books.end("a", "b")
    assert (books.used("a"), books.used("b")) == (6.0, 2.0)


def test_what_steps_that_overlap_take_is_counted_once() -> None:
    """As with asynchronous scheduling and pipelines: the next step is issued before the last one is done."""
    books = Books()
    books.issue("first", {"a": 1}, {"a": 10})
    books.now += 1
    books.issue("second", {"b": 1}, {"b": 10})
    books.now += 1
    books.done("first")
    books.now += 3
    books.done("second")
    books.end("a", "b")
    assert (books.used("a"), books.used("b")) == (2.0, 3.0)
    assert books.steps.totals(books.now).idle == 0


def test_between_steps_is_idle_and_a_step_without_requests_is_overhead() -> None:
    books = Books(gpus=2)
    books.now += 5
    books.step(1.0, {"a": 1})
    books.now += 2
    books.step(0.5, {})
    books.now += 1
    assert books.steps.totals(books.now) == (2.0, 1.0, 16.0)


def test_reading_is_apart_from_writing() -> None:
    books = Books(prompt=100)
    books.step(1.0, {"a": 64})
    books.step(1.0, {"a": 36}, {"a": 64})  # in chunks
    books.step(0.25, {"a": 1}, {"a": 100})
    books.step(0.25, {"a": 1}, {"a": 101})
    books.end("a")
    ((_, part, _),) = books.reported
    assert (part.prefill, part.decode) == (2.0, 0.5)


def test_twice_the_output_is_twice_the_decode_time_in_a_steady_batch() -> None:
    books = Books(cost=Cost(token=2.0, step=40.0))
    books.step(1.0, {"once": 10, "twice": 10, "other": 10})
    for written in range(80):
        batch = ["once" if written < 40 else "another", "twice", "other"]
        books.step(0.25, dict.fromkeys(batch, 1), dict.fromkeys(batch, 10 + written))
    books.end("once", "twice")
    decode = {id: part.decode for id, part, _ in books.reported}
    assert decode["twice"] == pytest.approx(2 * decode["once"], rel=1e-12)


def test_guesses_are_writing_and_what_was_thrown_away_is_read_again() -> None:
    books = Books(prompt=10)
    books.issue("guessed", {"a": 4}, {"a": 12}, drafts=3)
    books.now += 1
    books.done("guessed")
    books.step(2.0, {"a": 10})  # after a preemption: the input,
    books.step(3.0, {"a": 5}, {"a": 10})  # and what it had written
    books.end("a")
    ((_, part, _),) = books.reported
    assert (part.prefill, part.decode) == (5.0, 1.0)


def test_an_encoders_tokens_weigh_too() -> None:
    books = Books()
    books.steps.issued(
        "seen",
        ids=["text", "image"],
        scheduled=[10, 10],
        before=[0, 0],
        drafted=lambda _: 0,
        besides=[(1, 60)],
        now=books.now,
    )
    books.now += 8
    books.done("seen")
    books.end("text", "image")
    assert (books.used("text"), books.used("image")) == (1.0, 7.0)


def test_a_request_that_ends_in_a_step_is_reported_when_that_is_done() -> None:
    books = Books()
    books.issue("one", {"a": 10})
    books.now += 1
    books.issue("two", {"a": 1}, {"a": 10})
    books.done("one")
    books.end("a")
    assert books.reported == []
    books.now += 1
    books.done("two")
    assert [(id, over) for id, _, over in books.reported] == [("a", True)]
    assert books.used("a") == 2.0


def test_a_request_that_never_ran_is_reported_with_its_wait() -> None:
    books = Books()
    books.arrived["a"] = books.wall
    books.now += 7
    books.end("a")
    assert books.reported == [("a", Part(0.0, 0.0, books.wall, books.wall, 7.0), True)]


def test_the_wait_is_from_arrival_to_the_first_step() -> None:
    books = Books()
    books.arrived["a"] = books.wall - 3
    books.step(1.0, {"a": 10})
    books.end("a")
    ((_, part, _),) = books.reported
    assert part.waited == 3.0
    assert (part.started, part.ended) == (books.wall - 1, books.wall)


def test_a_request_across_an_hour_leaves_a_record_for_each_and_the_step_is_split() -> None:
    books = Books(wall_of_start=NOON + HOUR - 3, prompt=5)
    books.arrived["a"] = books.wall
    books.step(2.0, {"a": 5})  # until one second before the hour
    books.step(4.0, {"a": 1, "b": 1}, {"a": 5, "b": 5})
    books.end("b")
    books.step(1.0, {"a": 1}, {"a": 6})
    books.end("a")
    full = NOON + HOUR
    assert books.reported == [
        ("a", Part(2.0, 0.5, full - 3, full, 0.0), False),
        ("b", Part(0.0, 0.5, full - 1, full, 0.0), False),
        ("b", Part(0.0, 1.5, full, full + 3, None), True),
        ("a", Part(0.0, 2.5, full, full + 4, None), True),
    ]


def test_a_step_of_hours_is_split_at_each_and_idle_hours_leave_nothing() -> None:
    books = Books(wall_of_start=NOON + 1800)
    books.now += 2 * HOUR
    books.step(1.75 * HOUR, {"a": 1})
    books.end("a")
    lengths = [(part.ended - part.started, part.prefill) for _, part, _ in books.reported]
    assert lengths == [(1800, 1800), (HOUR, HOUR), (900, 900)]


@pytest.mark.parametrize("ends_in_flight", [True, False])
def test_an_hour_is_closed_for_requests_that_are_in_no_step(ends_in_flight: bool) -> None:
    books = Books(wall_of_start=NOON + HOUR - 2)
    books.step(1.0, {"a": 10})
    books.now += 5
    if ends_in_flight:
        books.end("a")
    books.step(1.0, {"b": 10})
    books.end(*(("b",) if ends_in_flight else ("a", "b")))
    for _, part, _ in books.reported:
        assert part.started // HOUR == part.ended // HOUR
    assert (books.used("a"), books.used("b")) == (1.0, 1.0)


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    books = Books()
    books.step(1.0, {"a": 1})
    books.wall_of_start -= 2 * HOUR
    books.step(1.0, {"a": 1})
    books.end("a")
    assert books.used("a") == 2.0
    for _, part, _ in books.reported:
        assert part.started // HOUR == part.ended // HOUR


def test_steps_that_are_lost_cost_nothing_and_keep_nobody() -> None:
    books = Books()
    books.issue("lost", {"a": 1})
    books.issue("kept", {"b": 1})
    books.end("a")
    books.now += 1
    books.done("kept")
    books.done("never issued")
    books.end("b")
    assert [id for id, _, _ in books.reported] == ["a", "b"]
    assert books.used("b") == 1.0


def test_who_shared_no_step_was_alone() -> None:
    books = Books()
    books.step(1.0, {"a": 1})
    books.step(1.0, {"b": 1, "c": 1})
    books.issue("one", {"d": 1})
    books.issue("two", {"d": 1})
    books.done("one")
    books.done("two")
    books.issue("three", {"e": 1})
    books.issue("four", {"f": 1})
    books.done("three")
    books.done("four")
    books.step(1.0, {"b": 1, "c": 1, "g": 1})
    books.step(1.0, {"b": 1, "c": 1, "g": 1})
    books.step(1.0, {"h": 1})
    books.step(1.0, {"h": 1, "b": 1})
    books.step(1.0, {"i": 1})
    alone = {id: account.alone for id, account in books.accounts.items()}
    assert alone == {
        "a": True,
        "b": False,
        "c": False,
        "d": True,
        "e": False,
        "f": False,
        "g": False,
        "h": False,
        "i": True,
    }


def test_the_end_of_an_engine_leaves_nothing_unsaid() -> None:
    """Its last step is never done, and requests do not end."""
    books = Books()
    books.step(1.0, {"a": 1, "b": 1})
    books.issue("never done", {"a": 1, "b": 1})
    books.end("a")
    books.steps.report()
    books.steps.report()
    assert [(id, part.prefill, over) for id, part, over in books.reported] == [
        ("a", 0.5, True),
        ("b", 0.5, False),
    ]


def test_an_id_that_comes_again_is_another_request() -> None:
    books = Books()
    for _ in range(2):
        books.step(1.0, {"a": 1})
        books.end("a")
    assert [part.prefill for _, part, _ in books.reported] == [1.0, 1.0]


def test_what_was_there_before_the_first_step_is_known_of_each() -> None:
    """Also of a request whose input another engine has read."""
    books = Books(prompt=10)
    books.step(1.0, {"read here": 10, "cached": 2, "read elsewhere": 1}, {"cached": 8, "read elsewhere": 10})
    books.step(1.0, {"read here": 1, "cached": 1}, {"read here": 10, "cached": 10})
    assert {id: (one.cached, one.computed) for id, one in books.accounts.items()} == {
        "read here": (0, 10),
        "cached": (8, 10),
        "read elsewhere": (10, 10),
    }


def test_an_engine_that_is_gone_is_not_idle() -> None:
    books = Books()
    books.now += 3
    books.steps.close(now=books.now)
    books.now += 100
    assert books.steps.totals(books.now) == (0.0, 0.0, 3.0)


REQUESTS = ("a", "b", "c", "d", "e")
MEMBERS = st.dictionaries(st.sampled_from(REQUESTS), st.integers(1, 2048), max_size=5)
MOVES = st.one_of(
    st.tuples(st.just("issue"), MEMBERS),
    st.tuples(st.just("done"), st.none()),
    st.tuples(st.just("wait"), st.floats(0.0, 2000.0)),
    st.tuples(st.just("end"), st.sampled_from(REQUESTS)),
)


@given(moves=st.lists(MOVES, max_size=60), gpus=st.integers(1, 16), minute=st.integers(0, 59))
def test_nothing_is_lost_or_charged_twice(
    moves: Sequence[tuple[str, object]], gpus: int, minute: int
) -> None:
    """Whatever an engine does: requests, overhead and idle time are its time, and each record lies in one hour."""
    weights = Cost(token=2.0, pair=0.01, context=0.5, request=3.0, step=40.0)
    books = Books(gpus=gpus, cost=weights, wall_of_start=NOON + 60 * minute)
    under_way: list[object] = []
    gone: set[str] = set()
    for move, argument in moves:
        if move == "issue" and isinstance(argument, dict) and len(under_way) < 4:
            output = object()
            books.issue(output, {id: tokens for id, tokens in argument.items() if id not in gone})
            under_way.append(output)
        elif move == "done" and under_way:
            books.done(under_way.pop(0))
        elif move == "wait" and isinstance(argument, float):
            books.now += argument
        elif move == "end" and isinstance(argument, str) and argument not in gone:
            gone.add(argument)
            books.end(argument)
    for output in under_way:
        books.done(output)
    books.end(*(id for id in REQUESTS if id not in gone))
    totals = books.steps.totals(books.now)
    charged = sum(part.prefill + part.decode for _, part, _ in books.reported)
    assert charged == pytest.approx(totals.attributed, rel=1e-9, abs=1e-9)
    assert totals.busy + totals.idle == pytest.approx((books.now - books.started) * gpus, rel=1e-9, abs=1e-6)
    assert sorted(id for id, _, over in books.reported if over) == sorted(REQUESTS)
    for _, part, _ in books.reported:
        last = part.ended if part.ended == part.started else part.ended - 1e-6
        assert part.started // HOUR == last // HOUR
        assert min(part.prefill, part.decode) >= 0
