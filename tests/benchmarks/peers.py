"""Compares what pennytrace costs an app with what its peers do: `python tests/benchmarks/peers.py`.

docs/reference/benchmarks.md says what is measured, and how.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder only

from tests.benchmarks.comparison import environments, figures
from tests.benchmarks.comparison.figures import Figures

_HEADINGS: Final = (
    "", "version", "openai", "content", "chat µs", "", "stream µs", "", "async µs", "",
    "memory MiB", "growth MiB", "threads", "files", "start ms", "with OTEL_*",
)  # fmt: skip


def table(measured: Sequence[Figures]) -> str:
    """Return the figures as a table, the cheapest chat call first."""
    rows = [_HEADINGS, *map(_row, sorted(measured, key=lambda one: one.added["chat"].us))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _row(one: Figures) -> tuple[str, ...]:
    added = [text for kind in figures.KINDS for text in _added(one.added[kind])]
    return (
        one.name,
        one.version,
        one.openai,
        "yes" if one.records_content else "no",
        *added,
        f"{one.holding.over_bare_mib:.1f}",
        f"{one.holding.growth_mib:.1f}",
        f"{one.holding.threads:+d}",
        f"{one.holding.files:+d}",
        f"{one.starting.wall_ms:.0f}",
        f"{one.starting.wall_with_variables_ms:.0f}",
    )


def _added(added: figures.Added) -> tuple[str, str]:
    return f"{added.us:.0f} ±{added.give_or_take_us:.0f}", f"{added.times_the_floor:.2f}x"


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    with ExitStack() as stack:
        folder = arguments.envs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _say("making the virtual environments")
        contestants = environments.contestants(environments.PEERS, folder)
        measured = figures.measure(contestants, figures.sizes(arguments.rounds), _say)
    as_json = json.dumps([asdict(one) for one in measured], indent=2)
    print(as_json if arguments.json else table(measured))  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=400, help="blocks of each kind of call (default: %(default)s)"
    )
    parser.add_argument(
        "--envs", type=Path, help="keep the virtual environments here, and take those that are"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, with the parts that the table adds up"
    )
    return parser.parse_args()


def _say(what: str) -> None:
    print(f"==> {what}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
