"""Orders: what commands ask of a collector through files is done, once, and answered, whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pennytrace_collectors import running
from pennytrace_collectors.errors import NoSpend, OrderError, StoreUnavailable
from pennytrace_collectors.orders import (
    CloseOrder,
    Months,
    MonthsOrder,
    Order,
    OrderFolder,
    OrderWork,
    Progress,
    RepriceOrder,
    Selection,
    Steps,
    Terms,
    TrialOrder,
    ask,
)
from tests.collectors.waiting import eventually

SELECTION = Selection(
    since=datetime(2026, 10, 1, tzinfo=UTC), until=datetime(2026, 11, 1, tzinfo=UTC), model="gpt*"
)
REPRICE = RepriceOrder(selection=SELECTION, terms=Terms(catalog="list", note="„süß“ & 'quoted'"))
NONE = Months(months=())


@dataclass
class Doing:
    """Does nothing in three portions, and remembers it."""

    begun: list[tuple[str, Order]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    judge: Callable[[int], None] = lambda _: None

    def __call__(self, order: Order, name: str) -> Steps:
        self.begun.append((name, order))
        try:
            for number in range(3):
                self.judge(number)
                yield Progress(number + 1, 3, SELECTION.since)
        finally:
            self.left.append(name)
        self.finished.append(name)
        return NONE


@pytest.fixture
def folder(tmp_path: Path) -> OrderFolder:
    return OrderFolder(tmp_path / "state" / "orders")


@pytest.fixture
def doing() -> Doing:
    return Doing()


def finish(work: OrderWork, *, steps: int = 20) -> None:
    for _ in range(steps):
        work.step()


@pytest.mark.parametrize(
    "order", [TrialOrder(selection=SELECTION), REPRICE, CloseOrder(month="2026-10", note="n"), MonthsOrder()]
)
def test_an_order_arrives_as_it_was_given_and_its_answer_comes_back(
    folder: OrderFolder, doing: Doing, order: Order
) -> None:
    name = folder.place(order)
    assert folder.answer(name) is None

    finish(OrderWork(folder, doing))

    assert doing.begun == [(name, order)]
    assert folder.answer(name) == NONE
    folder.forget(name)
    assert list(folder.path.iterdir()) == []


def test_it_is_done_a_portion_at_a_time_and_says_how_far_it_is(folder: OrderFolder, doing: Doing) -> None:
    name = folder.place(REPRICE)
    work = OrderWork(folder, doing)

    assert work.step()
    assert folder.progress(name) == Progress(1, 3, SELECTION.since)
    assert folder.is_begun(name)
    assert (work.step(), work.step()) == (True, True)
    assert folder.answer(name) is None
    assert not work.step()
    assert folder.answer(name) == NONE


def test_orders_are_done_in_the_order_in_which_they_came(folder: OrderFolder, doing: Doing) -> None:
    names = [folder.place(REPRICE) for _ in range(5)]

    finish(OrderWork(folder, doing), steps=30)

    assert doing.finished == names


def test_two_commands_at_once_get_an_answer_each(folder: OrderFolder, doing: Doing) -> None:
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(folder.place(REPRICE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    finish(OrderWork(folder, doing), steps=60)

    assert sorted(doing.finished) == sorted(names)
    assert [folder.answer(name) for name in names] == [NONE] * 8


def test_without_orders_there_is_nothing_to_do(folder: OrderFolder, doing: Doing) -> None:
    assert not OrderWork(folder, doing).step()
    assert not folder.path.exists()


def test_one_that_is_withdrawn_in_time_is_not_done(folder: OrderFolder, doing: Doing) -> None:
    name = folder.place(REPRICE)

    assert folder.withdraw(name)
    finish(OrderWork(folder, doing))

    assert doing.begun == []


def test_one_that_is_begun_cannot_be_withdrawn_and_is_done_by_the_next_collector(
    folder: OrderFolder, doing: Doing
) -> None:
    waiting_before = folder.place(CloseOrder(month="2026-01"))
    OrderWork(folder, doing).step()
    later = folder.place(REPRICE)
    assert not folder.withdraw(waiting_before)

    finish(OrderWork(folder, doing))

    assert [name for name, _ in doing.begun] == [waiting_before, waiting_before, later]
    assert folder.answer(waiting_before) == NONE


def test_a_collector_that_stops_leaves_nothing_open_and_the_order_to_the_next_one(
    folder: OrderFolder, doing: Doing
) -> None:
    name = folder.place(REPRICE)
    work = OrderWork(folder, doing)
    work.step()

    work.stop()
    assert (doing.left, doing.finished) == ([name], [])

    finish(OrderWork(folder, doing))
    assert doing.finished == [name]


def test_one_that_was_answered_right_before_a_crash_is_not_done_again(
    folder: OrderFolder, doing: Doing
) -> None:
    name = folder.place(REPRICE)
    OrderWork(folder, doing).step()
    taken = (folder.path / f"{name}.taken.json").read_text()
    finish(OrderWork(folder, doing))
    (folder.path / f"{name}.taken.json").write_text(taken)
    doing.begun.clear()

    finish(OrderWork(folder, doing))

    assert doing.begun == []
    assert folder.answer(name) == NONE
    assert not (folder.path / f"{name}.taken.json").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "the order cannot be read"),
        ("[]", "the order cannot be read"),
        ("", "the order cannot be read"),
        ('{"format": 2, "order": {}}', "newer pennytrace .format 2.*restart the collector"),
        ('{"format": 1}', "cannot read the order"),
        ('{"format": 1, "order": {"kind": "erase"}}', "cannot read the order"),
        (
            '{"format": 1, "order": {"kind": "close", "month": "2026-10", "gently": true}}',
            "cannot read the order.*gently",
        ),
        ('{"format": 1, "order": {"kind": "close", "month": 5}}', "cannot read the order.*month"),
    ],
)
def test_one_that_cannot_be_read_is_answered_so_and_the_next_is_done(
    folder: OrderFolder, doing: Doing, content: str, complaint: str
) -> None:
    broken = folder.place(REPRICE)
    (folder.path / f"{broken}.json").write_text(content)
    good = folder.place(REPRICE)

    finish(OrderWork(folder, doing))

    with pytest.raises(OrderError, match=complaint):
        folder.answer(broken)
    assert doing.finished == [good]


def test_what_is_no_order_is_left_alone(folder: OrderFolder, doing: Doing) -> None:
    folder.path.mkdir(parents=True)
    for name in ("notes.txt", ".json", "a b.json", "half.json.new", "x.answer.json", "x.progress.json"):
        (folder.path / name).write_text("{}")

    finish(OrderWork(folder, doing))

    assert doing.begun == []
    assert len(list(folder.path.iterdir())) == 6


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (OrderError("2026-10 is closed"), "^2026-10 is closed$"),
        (StoreUnavailable("the disk is full"), "^the disk is full$"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero; the collector's log says more"),
    ],
)
def test_what_goes_wrong_is_the_answer_and_does_not_stop_the_rest(
    folder: OrderFolder, error: Exception, complaint: str
) -> None:
    def fail_second(number: int) -> None:
        if number == 1:
            raise error

    doing = Doing(judge=fail_second)
    name, other = folder.place(REPRICE), folder.place(REPRICE)
    work = OrderWork(folder, doing)
    for _ in range(2):
        work.step()
    doing.judge = lambda _: None
    finish(work)

    with pytest.raises(OrderError, match=complaint):
        folder.answer(name)
    assert doing.finished == [other]


def test_an_answer_for_which_there_is_no_room_is_given_when_there_is(
    folder: OrderFolder, doing: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = folder.place(REPRICE)
    work = OrderWork(folder, doing)
    fsync = os.fsync

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    finish(work)
    assert (folder.answer(name), doing.finished) == (None, [name])

    monkeypatch.setattr(os, "fsync", fsync)
    finish(work)
    assert (folder.answer(name), doing.finished) == (NONE, [name])


def test_where_no_order_can_be_left_it_says_so(folder: OrderFolder) -> None:
    folder.path.parent.mkdir(parents=True)
    folder.path.write_text("a file in the way")

    with pytest.raises(
        OrderError, match=r"cannot leave an order for the collector in .*File exists.*nothing was changed"
    ):
        folder.place(REPRICE)
    assert not OrderWork(folder, Doing()).step()


def test_only_this_user_may_read_orders(folder: OrderFolder) -> None:
    name = folder.place(REPRICE)

    assert (folder.path / f"{name}.json").stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_answers_that_nobody_fetched_are_forgotten_after_a_day(folder: OrderFolder, doing: Doing) -> None:
    old, new = folder.place(REPRICE), folder.place(REPRICE)
    work = OrderWork(folder, doing)
    finish(work)
    yesterday = time.time() - 90_000
    os.utime(folder.path / f"{old}.answer.json", (yesterday, yesterday))

    folder.place(REPRICE)
    finish(work)

    assert (folder.answer(old), folder.answer(new)) == (None, NONE)


def test_a_command_without_a_store_is_told_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(NoSpend, match=r"no store in .*pennytrace collect"):
        ask(MonthsOrder(), state=tmp_path)


class Announced:
    """A process that is announced as a collector, and does what orders say when it is told to."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.state = state
        running.announce(
            state, running.RunningCollector(pid=self.process.pid, version="0", http=None, grpc=None, sql=None)
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def announced(folder: OrderFolder) -> Iterator[Announced]:
    made = Announced(folder.path.parent)
    yield made
    made.kill()


def asked(order: Order, state: Path) -> tuple[threading.Thread, list[Any]]:
    """Ask on a thread; the list gets the answer or the error."""
    got: list[Any] = []

    def run() -> None:
        try:
            got.append(ask(order, state=state))
        except OrderError as error:
            got.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, got


def test_a_command_asks_the_collector_and_leaves_no_files(
    folder: OrderFolder, doing: Doing, announced: Announced
) -> None:
    thread, got = asked(REPRICE, announced.state)
    work = OrderWork(folder, doing)
    eventually(lambda: work.step() or got)
    finish(work)
    thread.join(20)

    assert got == [NONE]
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize(("order", "kept"), [(REPRICE, True), (TrialOrder(selection=SELECTION), False)])
def test_when_the_collector_dies_in_the_middle_the_command_says_so_and_only_changes_are_kept_for_the_next(
    folder: OrderFolder, doing: Doing, announced: Announced, order: Order, *, kept: bool
) -> None:
    thread, got = asked(order, announced.state)
    work = OrderWork(folder, doing)
    eventually(lambda: work.step() or doing.begun)
    announced.kill()
    thread.join(20)

    assert "the collector has stopped before it was done" in got[0]
    finish(OrderWork(folder, doing))
    assert len(doing.finished) == kept


def test_an_order_that_was_not_begun_when_the_collector_died_is_never_done(
    folder: OrderFolder, doing: Doing, announced: Announced
) -> None:
    thread, got = asked(REPRICE, announced.state)
    eventually(lambda: folder.path.exists() and list(folder.path.glob("*.json")))
    announced.kill()
    thread.join(20)

    finish(OrderWork(folder, doing))
    assert ("the collector has stopped" in got[0], doing.begun) == (True, [])


def test_a_collector_that_does_not_look_at_orders_is_not_waited_for_for_ever(
    folder: OrderFolder, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pennytrace_collectors.orders.asking._TAKEN_WITHIN_S", 0.3)
    thread, got = asked(REPRICE, announced.state)
    thread.join(20)

    assert "has not looked at the order" in got[0]
    assert "nothing was changed" in got[0]
    assert list(folder.path.iterdir()) == []
