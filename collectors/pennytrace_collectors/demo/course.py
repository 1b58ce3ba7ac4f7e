"""The course of the demo: start everything, let the shop work, report, compare, write the boards, stop everything."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

from pennytrace_collectors.demo import children, endpoint
from pennytrace_collectors.demo.books import Sums, differences, reported, total
from pennytrace_collectors.demo.endpoint import Endpoint
from pennytrace_collectors.demo.errors import BooksDiffer, DemoError
from pennytrace_collectors.demo.folder import Folder, taken
from pennytrace_collectors.demo.provider import Books
from pennytrace_collectors.demo.screen import Screen
from pennytrace_collectors.reports import Period, Reader, Spend, open_reader, read_spend
from pennytrace_collectors.running import RunningCollector

SIMULATED_CALLS: Final = 300
REAL_CALLS: Final = 7
_LOADED_WITHIN_S: Final = 30.0
_USUAL_SQL_PORT: Final = 8123
_PAUSE_S: Final = 2.0
_DIMENSIONS: Final = ("feature", "model")
_NOT_PRICED_YET: Final = "unresolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the demo was asked for."""

    out: Path
    keep: bool
    real: bool
    model: str
    """For all calls of `real`; the simulated shop has one for each feature."""
    calls: int | None


@dataclass(frozen=True, slots=True)
class _Stage:
    """What is there while the demo runs."""

    folder: Folder
    endpoint: Endpoint
    collector: RunningCollector
    script: Path
    screen: Screen

    @contextlib.contextmanager
    def shop(self, *options: str) -> Iterator[Iterator[int]]:
        """Run the shop until the block is left; gives the number of answered calls, as it grows."""
        model = ("--model", self.endpoint.model) if self.endpoint.model else ()
        environment = {**self.endpoint.environment, "PENNYTRACE_ENDPOINT": self.collector.http or ""}
        with children.shop(self.script, (*options, *model), environment) as process:
            yield children.answered(process)


def play(wish: Wish, screen: Screen) -> None:
    """Run the demo; nothing that it has started is left when this returns or raises.

    Raises:
        ConfigurationError: `--real` lacks an endpoint.
        DemoError: It cannot go on.
    """
    calls = wish.calls or (REAL_CALLS if wish.real else SIMULATED_CALLS)
    os.environ.update(children.past_proxies())  # the report is read over HTTP too
    with _ended_by_signals(), ExitStack() as stack:
        try:
            stage = _set_up(wish, calls, screen, stack)
            _perform(stage, calls, keep=wish.keep)
        except KeyboardInterrupt:
            screen.stopping()
            raise
        if wish.keep:
            screen.running(stage.collector, stage.endpoint)
            with contextlib.suppress(KeyboardInterrupt):
                _keep_open(stage)
            screen.stopping()


def _perform(stage: _Stage, calls: int, *, keep: bool) -> None:
    """Make the calls and show what came of them."""
    since = datetime.now(UTC)
    answered = _let_the_shop_work(stage, calls)
    spend = _loaded(stage.folder, since, answered)
    books, prices = stage.endpoint.books, stage.endpoint.prices
    stage.screen.report(spend, simulated=books is not None)
    if books is not None:
        stage.screen.agreed(_compared(books, spend))
    _write_boards(stage, keep=keep)
    sql = stage.collector.sql if keep else None
    stage.screen.where(stage.folder, stage.script, prices=prices, sql=sql)


def _set_up(wish: Wish, calls: int, screen: Screen, stack: ExitStack) -> _Stage:
    own = endpoint.real(wish.model, os.environ) if wish.real else None
    folder = stack.enter_context(taken(wish.out))
    folder.clear_state()
    script = _place("shop.py", folder, screen)
    chosen = own or stack.enter_context(endpoint.simulated(_place("prices.toml", folder, screen)))
    screen.opening(chosen, calls=calls)
    with screen.waiting("starting the collector"):
        collector = stack.enter_context(children.collector(folder, prices=chosen.prices))
    return _Stage(folder, chosen, collector, script, screen)


def _place(name: str, folder: Folder, screen: Screen) -> Path:
    text = files("pennytrace_collectors.demo").joinpath(name).read_text("utf-8")
    path, aside = folder.place(name, text)
    if aside is not None:
        screen.set_aside(path, aside)
    return path


def _let_the_shop_work(stage: _Stage, calls: int) -> int:
    answered = 0
    with stage.shop("--calls", str(calls)) as counts, stage.screen.progress(calls) as show:
        for answered in counts:
            show(answered)
    return answered


def _loaded(folder: Folder, since: datetime, calls: int) -> Spend:
    """Return the report once all calls are in the store, with their prices."""
    deadline = time.monotonic() + _LOADED_WITHIN_S
    reader = open_reader(None, state=folder.state)
    try:
        while time.monotonic() < deadline:
            spend = _spend(reader, since)
            if _is_settled(spend, calls):
                return spend
            time.sleep(0.2)
    finally:
        reader.close()
    raise DemoError(
        f"the store did not have all {calls} calls and their prices within {_LOADED_WITHIN_S:.0f} s; the "
        f"collector's log is {str(folder.log)!r}"
    )


def _is_settled(spend: Spend, calls: int) -> bool:
    """Tell whether all calls are there, and nothing of the report was read while prices were still being found."""
    coverage = [row.coverage for row in spend.rows]
    # The rows and the reasons are read one after the other, so they may be of before and after a settle.
    not_priced = sum(part.unpriced_calls + part.partly_priced_calls for part in coverage)
    at_one = not_priced == sum(unpriced.calls for unpriced in spend.unpriced)
    waiting = any(unpriced.reason == _NOT_PRICED_YET for unpriced in spend.unpriced)
    return at_one and not waiting and sum(part.calls for part in coverage) >= calls


def _spend(reader: Reader, since: datetime) -> Spend:
    return read_spend(reader, _DIMENSIONS, Period(since, datetime.now(UTC) + timedelta(seconds=60)))


def _compared(books: Books, spend: Spend) -> Sums:
    """Return what the provider has billed in all, if the report says the same of every model."""
    billed = {
        model: Sums(
            calls=line.calls, input_tokens=line.input_tokens, output_tokens=line.output_tokens, cost=line.cost
        )
        for model, line in books.lines().items()
    }
    found = list(differences(billed, reported(spend)))
    if found:
        raise BooksDiffer("the report does not say what the provider billed:\n  " + "\n  ".join(found))
    return total(billed.values())


def _write_boards(stage: _Stage, *, keep: bool) -> None:
    # Without --keep the free port is gone when the demo ends: the boards then look where `collect` listens.
    port = urlsplit(stage.collector.sql or "").port if keep else None
    arguments: Sequence[str] = (
        "grafana",
        "build",
        str(stage.folder.grafana),
        "--clickhouse-port",
        str(port or _USUAL_SQL_PORT),
    )
    with stage.screen.waiting("writing the Grafana files"):
        children.pennytrace(*arguments)


def _keep_open(stage: _Stage) -> None:
    while stage.endpoint.books is None:
        signal.pause()  # calls to a real endpoint cost money: none are made just to have something to see
    with stage.shop("--pause", str(_PAUSE_S)) as counts:
        for _ in counts:
            pass


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does, with everything stopped."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
