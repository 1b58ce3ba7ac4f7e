"""What the demo shows to people: a few lines, progress, the report, and where everything is."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from pennytrace_collectors.demo.books import Sums
from pennytrace_collectors.demo.endpoint import Endpoint
from pennytrace_collectors.demo.folder import Folder
from pennytrace_collectors.reports import Spend, shown
from pennytrace_collectors.running import RunningCollector

_WITHOUT_TERMINAL: Final = 120  # columns
_STEPS: Final = 4


class Screen:
    """Standard output, with colours and bars where it is a terminal and plain lines where it is not."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _WITHOUT_TERMINAL
        self._console = Console(file=sys.stdout, highlight=False, width=width, soft_wrap=True)

    def opening(self, endpoint: Endpoint, *, calls: int) -> None:
        """Say what is about to happen, and what of it is simulated."""
        if endpoint.books is None:
            self._say(
                "REAL CALLS", f"{calls} small calls of {endpoint.model} to {endpoint.url}: they cost money."
            )
            return
        self._say(
            "SIMULATED",
            f"a provider that speaks OpenAI's language ({endpoint.url}), its models, answers and prices, and the "
            "shoppers.",
        )
        self._say(
            "REAL", "the openai SDK, the shop's calls over HTTP, the collector, its store and the report."
        )

    def set_aside(self, path: Path, aside: Path) -> None:
        """Say that a file was changed by hand, and where it is now."""
        self._line(f"You had changed {_short(path)}: yours is now {_short(aside)}.")

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show that something takes its time."""
        if self._console.is_terminal:
            with self._console.status(what):
                yield
        else:
            self._line(f"{what} ...")
            yield

    @contextlib.contextmanager
    def progress(self, calls: int) -> Iterator[Callable[[int], None]]:
        """Show how many of the calls are answered; gives the function to tell it by."""
        if not self._console.is_terminal:
            yield self._by_lines(calls)
            return
        columns = (TextColumn("the shop's calls"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task("", total=calls)
            yield lambda answered: bar.update(task, completed=answered)

    def report(self, spend: Spend, *, simulated: bool) -> None:
        """Print the report as `pennytrace report` does."""
        self._line()
        if simulated:
            self._say("SIMULATED", "what follows was spent at the simulated provider.")
        sys.stdout.flush()
        shown.write_table(spend, sys.stdout, now=datetime.now(UTC))

    def agreed(self, billed: Sums) -> None:
        """Say that the provider's books and the report say the same."""
        self._line()
        self._say(
            "AGREED", f"the simulated provider's own books say the same of every model: {billed}.", "green"
        )

    def where(self, folder: Folder, script: Path, *, prices: Path | None, sql: str | None) -> None:
        """Say where everything is and what to try with it; `sql` is the SQL port that stays open, if one does."""
        command, state = program(), _short(folder.state)
        own_prices = f" --prices {_short(prices)}" if prices else ""
        provisioning = shlex.quote(str(folder.grafana.absolute() / "provisioning"))
        serve = f"{command} collect --state {state}{own_prices} (then at http://127.0.0.1:8123)"
        entries = {
            "report again": f"{command} report --state {state} --by team,customer",
            "sample app": f"{_short(script)} (one line counts all its calls; copy from it)",
            "prices": f"{_short(prices)} (simulated; yours look the same)" if prices else "the built-in list",
            "SQL": f"{sql} (read-only, ClickHouse's HTTP protocol)" if sql else serve,
            "Grafana": f"GF_PATHS_PROVISIONING={provisioning} and its plugin grafana-clickhouse-datasource; "
            "it reads from the SQL port",
            "log": _short(folder.log),
        }
        self._line()
        self._entries(entries)

    def running(self, collector: RunningCollector, endpoint: Endpoint) -> None:
        """Say what else stays on, and how to end it."""
        entries = {
            "collector": f"{collector.http} (OTLP; also /health and /metrics), OTLP over gRPC at {collector.grpc}",
            "provider": f"{endpoint.url} ({'simulated' if endpoint.books else 'yours'})",
        }
        self._entries(entries)
        calls = "and the shop goes on slowly" if endpoint.books else "without further calls"
        self._line(f"\nStill running, {calls}: Ctrl-C stops everything.")

    def stopping(self) -> None:
        """Say that everything is being stopped."""
        self._line("\nstopping ...")

    def _by_lines(self, calls: int) -> Callable[[int], None]:
        told = 0

        def show(answered: int) -> None:
            nonlocal told
            step = answered * _STEPS // calls
            if step > told:
                told = step
                self._line(f"{answered} of {calls} calls answered")

        return show

    def _say(self, label: str, what: str, style: str = "yellow") -> None:
        self._console.print(Text.assemble((f"{label:<10} ", f"bold {style}"), what))
        sys.stdout.flush()

    def _line(self, line: str = "") -> None:
        self._console.print(Text(line))
        sys.stdout.flush()

    def _entries(self, entries: dict[str, str]) -> None:
        # Not a table: its cells would break commands and paths that people want to copy.
        for name, what in entries.items():
            self._console.print(Text.assemble((f"{name:<14}", "bold"), what))
        sys.stdout.flush()


def program() -> str:
    """Return how a person starts pennytrace here: by name, if that finds the one that runs, else by its path."""
    started = Path(sys.argv[0])
    found = shutil.which("pennytrace")
    if found is not None and started.exists() and os.path.samefile(found, started):
        return "pennytrace"
    return (
        _short(started)
        if started.name == "pennytrace"
        else f"{_short(Path(sys.executable))} -m pennytrace.cli"
    )


def _short(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        path = path.absolute().relative_to(Path.cwd())
    except ValueError:
        path = path.absolute()
    return shlex.quote(str(path))
