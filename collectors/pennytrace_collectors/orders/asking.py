"""The command's side of orders: ask the collector that has the store open, or do it on the store oneself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, overload

from pennytrace_collectors import running
from pennytrace_collectors.errors import OrderError
from pennytrace_collectors.orders.folder import OrderFolder, new_name
from pennytrace_collectors.orders.order import (
    Answer,
    CloseOrder,
    Months,
    MonthsOrder,
    Order,
    RepriceOrder,
    TrialOrder,
    changes_something,
)
from pennytrace_collectors.orders.perform import perform
from pennytrace_collectors.store import Address, parse_address
from pennytrace_collectors.store.reprice import Correction
from pennytrace_collectors.store.selection import Progress
from pennytrace_collectors.store.tables import opened_tables
from pennytrace_collectors.store.trial import Trial

_LOOK_EVERY_S: Final = 0.1
_TAKEN_WITHIN_S: Final = 120.0
"""A collector looks for orders after each segment; one that does not, for so long, is stuck or of an older version."""
_BACK_WITHIN_S: Final = 3.0
"""How long a collector may be away before it counts as stopped: one that is restarted goes on."""
_STOPPED: Final = (
    "the collector has stopped before it was done: what was done stays done. Run the same command again: it does what "
    "is left, and without a collector it opens the store itself"
)


Tell: TypeAlias = Callable[[Progress], None]


def _silent(progress: Progress) -> None:
    pass


@overload
def ask(order: TrialOrder, *, state: Path, store: str | None = None, tell: Tell = _silent) -> Trial: ...
@overload
def ask(
    order: RepriceOrder, *, state: Path, store: str | None = None, tell: Tell = _silent
) -> Correction: ...
@overload
def ask(
    order: CloseOrder | MonthsOrder, *, state: Path, store: str | None = None, tell: Tell = _silent
) -> Months: ...
def ask(order: Order, *, state: Path, store: str | None = None, tell: Tell = _silent) -> Answer:
    """Have an order carried out and return the answer; `tell` gets the progress, if it takes long.

    An embedded store belongs to the collector that runs on the state folder, so the order goes through it; otherwise
    the store is opened here.

    Raises:
        OrderError: it cannot be done, or the collector did not do it; the message says what was changed.
        NoSpend: there is no store.
        StoreUnavailable: the store does not answer.
    """
    address = parse_address(store or running.embedded_store(state))
    if address.folder is None or running.find(state) is None:
        return _here(order, address, tell)
    folder = OrderFolder(state / "orders")
    name = folder.place(order)
    try:
        answer = _wait(folder, name, state, tell)
    except BaseException:
        if not folder.withdraw(name) and not changes_something(order):
            folder.forget(name)
        raise
    folder.forget(name)
    return answer


def _here(order: Order, address: Address, tell: Tell) -> Answer:
    with opened_tables(address) as tables:
        steps = perform(tables, order, new_name())
        while True:
            try:
                tell(next(steps))
            except StopIteration as done:
                answer: Answer = done.value
                return answer


def _wait(folder: OrderFolder, name: str, state: Path, tell: Tell) -> Answer:
    placed_at = seen_at = time.monotonic()
    told: Progress | None = None
    while True:
        # Looked at before the answer, so that one that was given at the last moment counts.
        is_there = running.find(state) is not None
        answer = _answer(folder, name)
        if answer is not None:
            return answer
        now = time.monotonic()
        seen_at = now if is_there else seen_at
        if now - seen_at > _BACK_WITHIN_S:
            raise OrderError(_STOPPED)
        if now - placed_at > _TAKEN_WITHIN_S and folder.withdraw(name):
            raise OrderError(
                f"the collector has not looked at the order for {_TAKEN_WITHIN_S:.0f} s, and nothing was changed: "
                "its log and /health say what it is busy with; one of an older version has to be restarted with this"
            )
        progress = folder.progress(name)
        if progress is not None and progress != told:
            tell(progress)
            told = progress
        time.sleep(_LOOK_EVERY_S)


def _answer(folder: OrderFolder, name: str) -> Answer | None:
    try:
        return folder.answer(name)
    except OrderError:
        folder.forget(name)
        raise
